// bun, over its own driver: its migrations, relations, arrays and COPY.
package main

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/driver/pgdriver"
	"github.com/uptrace/bun/migrate"

	"github.com/meridian-db/meridian/server/clienttest/goclients/internal/check"
)

type Author struct {
	ID    int64          `bun:",pk,autoincrement"`
	Name  string         `bun:",unique,notnull"`
	Tags  []string       `bun:",array"`
	Info  map[string]any `bun:"type:jsonb"`
	Born  time.Time      `bun:",nullzero"`
	Books []*Book        `bun:"rel:has-many,join:id=author_id"`
}

type Book struct {
	ID       int64 `bun:",pk,autoincrement"`
	AuthorID int64 `bun:",notnull"`
	Title    string
	Price    float64 `bun:"type:numeric(10,2)"`
	Author   *Author `bun:"rel:belongs-to,join:author_id=id"`
}

// wrote is how many books there are.
const wrote int64 = 200

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db := bun.NewDB(sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(check.URL()))), pgdialect.New())
	defer db.Close()

	steps := migrate.NewMigrations()
	steps.Add(migrate.Migration{Name: "1", Up: func(ctx context.Context, m *migrate.Migrator, _ *migrate.Migration) error {
		if _, err := db.NewCreateTable().Model((*Author)(nil)).Exec(ctx); err != nil {
			return err
		}
		_, err := db.NewCreateTable().Model((*Book)(nil)).ForeignKey(`("author_id") REFERENCES "authors" ("id") ON DELETE CASCADE`).Exec(ctx)
		return err
	}, Down: func(ctx context.Context, m *migrate.Migrator, _ *migrate.Migration) error {
		_, err := db.NewDropTable().Model((*Book)(nil)).Exec(ctx)
		return err
	}})
	migrator := migrate.NewMigrator(db, steps)
	check.OK(migrator.Init(ctx))
	check.OK(migrator.Lock(ctx))
	check.Equal(len(check.Must(migrator.Migrate(ctx)).Migrations), 1)
	check.Equal(len(check.Must(migrator.Migrate(ctx)).Migrations), 0)
	check.OK(migrator.Unlock(ctx))

	ann := &Author{Name: "Ann", Tags: []string{"a", "b,c"}, Info: map[string]any{"k": "v"}}
	check.Must(db.NewInsert().Model(ann).Exec(ctx))
	books := []*Book{}
	for i := range wrote {
		books = append(books, &Book{AuthorID: ann.ID, Title: strings.Repeat("t", int(i%7)), Price: float64(i)})
	}
	check.Must(db.NewInsert().Model(&books).Exec(ctx))
	got := new(Author)
	check.OK(db.NewSelect().Model(got).Relation("Books", func(q *bun.SelectQuery) *bun.SelectQuery { return q.Where("price > 190").Order("price") }).
		Where("info->>'k' = ?", "v").Scan(ctx))
	check.Equal([]any{got.Tags, len(got.Books), got.Books[0].Price}, []any{[]string{"a", "b,c"}, 9, 191.0})
	check.Equal(check.Must(db.NewSelect().Model((*Book)(nil)).Where("author_id IN (?)", bun.In([]int64{ann.ID, 7})).Count(ctx)), wrote)
	check.Must(db.NewInsert().Model(&Author{Name: "Ann", Tags: []string{"z"}}).On("CONFLICT (name) DO UPDATE").Set("tags = EXCLUDED.tags").Exec(ctx))
	check.Must(db.NewUpdate().Model(ann).Set("born = ?", time.Now()).WherePK().Exec(ctx))

	// Transactions and errors.
	check.Equal(db.RunInTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable}, func(ctx context.Context, tx bun.Tx) error {
		check.Must(tx.NewDelete().Model((*Book)(nil)).Where("true").Exec(ctx))
		return errors.New("no")
	}).Error(), "no")
	check.Equal(check.Must(db.NewSelect().Model((*Book)(nil)).Count(ctx)), wrote)
	_, err := db.NewInsert().Model(&Book{AuthorID: 999}).Exec(ctx)
	var e pgdriver.Error
	check.Equal(errors.As(err, &e), true)
	check.Equal([]any{e.Field('C'), e.IntegrityViolation()}, []any{"23503", true})

	// COPY, and notifications.
	conn := check.Must(db.Conn(ctx))
	check.Must(pgdriver.CopyFrom(ctx, conn, strings.NewReader("1\tone\n1\ttwo\n"), "COPY books (author_id, title) FROM STDIN"))
	var out strings.Builder
	check.Must(pgdriver.CopyTo(ctx, conn, &out, "COPY (SELECT title FROM books WHERE price IS NULL ORDER BY id) TO STDOUT"))
	check.Equal(out.String(), "one\ntwo\n")
	check.OK(conn.Close())
	listener := pgdriver.NewListener(db)
	check.OK(listener.Listen(ctx, "ch"))
	check.OK(pgdriver.Notify(ctx, db, "ch", "x"))
	_, payload, err := listener.Receive(ctx)
	check.OK(err)
	check.Equal(payload, "x")
	check.OK(listener.Close())
	check.Must(migrator.Rollback(ctx))
	check.Done()
}
