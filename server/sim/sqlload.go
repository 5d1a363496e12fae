package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// sqlLoad are statements through the wire, whose effects must keep what their schema and their transactions promise:
//
//   - accounts: transfers; every sum that anyone reads, in any transaction, is the same;
//   - a repeatable read transaction that reads the sum twice reads the same rows twice;
//   - rooms: a booking is made if a scan finds none; there is never more than one (phantoms);
//   - names: concurrent inserts of the same name, by unique index, of which one wins;
//   - parents and children: deletes of parents against inserts of children, which a foreign key keeps apart;
//   - leaves: whole trees come, all trees go by TRUNCATE, and an index on them comes and goes; no reader sees a part of a tree;
//   - counter: what was acknowledged is seen by whoever begins later, on any node (external consistency).
type sqlLoad struct {
	c *Cluster

	mu       sync.Mutex
	answered int
	errs     []error
	counter  int // the largest value acknowledged
}

const (
	sqlAccounts = 8
	sqlSum      = sqlAccounts * 100
	sqlParents  = 6
	sqlLeaves   = 12
)

const sqlSchema = `
create table accounts (id int primary key, balance int not null);
insert into accounts select g, 100 from generate_series(1, 8) g;
create table names (id bigint generated always as identity primary key, name text unique);
create table parents (id int primary key);
insert into parents select g from generate_series(1, 6) g;
create table children (id bigint generated always as identity primary key, parent int not null references parents);
create index on children (parent);
create table counter (id int primary key, n int not null);
insert into counter values (1, 0);
create table rooms (room int, who bigint, primary key (room, who));
create table leaves (tree bigint, leaf int, primary key (tree, leaf))`

func newSQLLoad(ctx context.Context, c *Cluster) (*sqlLoad, error) {
	l := &sqlLoad{c: c}
	conn, err := l.connect(ctx, c.Nodes()[0])
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sqlSchema)
	return l, err
}

// connect waits until a node serves SQL.
func (l *sqlLoad) connect(ctx context.Context, n *Node) (*pgx.Conn, error) {
	for {
		conn, err := n.Connect(ctx)
		if err == nil || ctx.Err() != nil {
			return conn, err
		}
		pause(ctx, 50*time.Millisecond)
	}
}

func (l *sqlLoad) fail(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.errs) < 12 {
		l.errs = append(l.errs, fmt.Errorf("sql: "+format, args...))
	}
}

// client runs transactions, each on a random node, as long as ctx lasts.
func (l *sqlLoad) client(ctx context.Context, rng *rand.Rand, think time.Duration, rest func()) {
	var conn *pgx.Conn
	defer func() {
		if conn != nil {
			conn.Close(context.WithoutCancel(ctx))
		}
	}()
	for ctx.Err() == nil {
		if rest(); ctx.Err() != nil {
			return
		}
		try, cancel := context.WithTimeout(ctx, 10*time.Second)
		if conn == nil || conn.IsClosed() || rng.IntN(10) == 0 {
			if conn != nil {
				conn.Close(try)
			}
			var err error
			if conn, err = l.c.Nodes()[rng.IntN(len(l.c.Nodes()))].Connect(try); err != nil {
				conn = nil
				cancel()
				pause(ctx, 50*time.Millisecond)
				continue
			}
		}
		err := l.once(try, conn, rng)
		cancel()
		if err == nil {
			l.mu.Lock()
			l.answered++
			l.mu.Unlock()
		}
		if err != nil || think > 0 {
			pause(ctx, time.Duration(rng.Int64N(int64(2*max(think, 10*time.Millisecond)))))
		}
	}
}

// once runs one transaction. Its error may be anything that a fault makes of it; violations go to fail.
func (l *sqlLoad) once(ctx context.Context, conn *pgx.Conn, rng *rand.Rand) error {
	switch rng.IntN(8) {
	case 0:
		return l.transfer(ctx, conn, rng)
	case 1:
		return l.sum(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly})
	case 2:
		return l.sum(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	case 3:
		_, err := conn.Exec(ctx, "insert into names (name) values ($1)", fmt.Sprint(rng.IntN(200)))
		if code(err) == "23505" {
			return nil
		}
		return err
	case 4:
		return l.family(ctx, conn, rng)
	case 5:
		return l.book(ctx, conn, rng)
	case 6:
		return l.forest(ctx, conn, rng)
	}
	return l.count(ctx, conn)
}

func code(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

func (l *sqlLoad) transfer(ctx context.Context, conn *pgx.Conn, rng *rand.Rand) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		from, to, amount := 1+rng.IntN(sqlAccounts), 1+rng.IntN(sqlAccounts), 1+rng.IntN(20)
		if _, err := tx.Exec(ctx, "update accounts set balance = balance - $2 where id = $1", from, amount); err != nil {
			return err
		}
		if err := l.look(ctx, tx, sqlSum-amount); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "update accounts set balance = balance + $2 where id = $1", to, amount)
		return err
	})
}

// look reads the sum inside a transaction.
func (l *sqlLoad) look(ctx context.Context, tx pgx.Tx, want int) error {
	var sum, n int
	if err := tx.QueryRow(ctx, "select sum(balance), count(*) from accounts").Scan(&sum, &n); err != nil {
		return err
	}
	if sum != want || n != sqlAccounts {
		l.fail("%d accounts hold %d, not %d", n, sum, want)
	}
	return nil
}

func (l *sqlLoad) sum(ctx context.Context, conn *pgx.Conn, opt pgx.TxOptions) error {
	return pgx.BeginTxFunc(ctx, conn, opt, func(tx pgx.Tx) error {
		const all = "select string_agg(balance::text, ' ' order by id) from accounts"
		var first, second string
		if err := tx.QueryRow(ctx, all).Scan(&first); err != nil {
			return err
		}
		if err := l.look(ctx, tx, sqlSum); err != nil {
			return err
		}
		pause(ctx, 3*time.Millisecond)
		if err := tx.QueryRow(ctx, all).Scan(&second); err != nil {
			return err
		}
		if first != second {
			l.fail("one snapshot read %s and then %s", first, second)
		}
		return nil
	})
}

// book books a room if it is free, and gives it back otherwise.
func (l *sqlLoad) book(ctx context.Context, conn *pgx.Conn, rng *rand.Rand) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		room := rng.IntN(4)
		var n int
		if err := tx.QueryRow(ctx, "select count(*) from rooms where room = $1", room).Scan(&n); err != nil {
			return err
		}
		if n > 1 {
			l.fail("room %d is booked %d times", room, n)
		}
		if n > 0 {
			_, err := tx.Exec(ctx, "delete from rooms where room = $1", room)
			return err
		}
		_, err := tx.Exec(ctx, "insert into rooms values ($1, $2)", room, rng.Int64())
		return err
	})
}

func (l *sqlLoad) family(ctx context.Context, conn *pgx.Conn, rng *rand.Rand) (err error) {
	parent := 1 + rng.IntN(sqlParents)
	switch rng.IntN(4) {
	case 0:
		_, err = conn.Exec(ctx, "delete from parents where id = $1", parent)
	case 1:
		_, err = conn.Exec(ctx, "insert into parents values ($1) on conflict do nothing", parent)
	case 2:
		_, err = conn.Exec(ctx, "delete from children where parent = $1", parent)
	default:
		_, err = conn.Exec(ctx, "insert into children (parent) values ($1)", parent)
	}
	if code(err) == "23503" {
		return nil
	}
	return err
}

// forest plants a tree, looks at all of them, or changes their table.
func (l *sqlLoad) forest(ctx context.Context, conn *pgx.Conn, rng *rand.Rand) (err error) {
	switch k := rng.IntN(40); {
	case k == 0:
		_, err = conn.Exec(ctx, "truncate leaves")
	case k == 1:
		_, err = conn.Exec(ctx, "create index if not exists leaves_by_leaf on leaves (leaf)")
	case k == 2:
		_, err = conn.Exec(ctx, "drop index if exists leaves_by_leaf")
	case k < 20:
		_, err = conn.Exec(ctx, "insert into leaves select $1, g from generate_series(1, $2) g", rng.Int64(), sqlLeaves)
	default:
		var trees, leaves, first int
		err = conn.QueryRow(ctx, "select count(distinct tree), count(*), (select count(*) from leaves where leaf = 1) from leaves").Scan(&trees, &leaves, &first)
		if err == nil && (leaves != trees*sqlLeaves || first != trees) {
			l.fail("%d trees have %d leaves, %d of them first ones", trees, leaves, first)
		}
	}
	return err
}

// count adds one to the counter, and looks whether it had missed anything that was acknowledged before it began.
func (l *sqlLoad) count(ctx context.Context, conn *pgx.Conn) error {
	l.mu.Lock()
	known := l.counter
	l.mu.Unlock()
	var read, n int
	if err := conn.QueryRow(ctx, "select n from counter").Scan(&read); err != nil {
		return err
	}
	if err := conn.QueryRow(ctx, "update counter set n = n + 1 returning n").Scan(&n); err != nil {
		return err
	}
	if read < known || n <= known {
		l.fail("the counter stood at %d; a later transaction read %d, another made it %d", known, read, n)
	}
	l.mu.Lock()
	l.counter = max(l.counter, n)
	l.mu.Unlock()
	return nil
}

// check looks at the end state through every node.
func (l *sqlLoad) check(ctx context.Context) []error {
	for _, n := range l.c.Nodes() {
		conn, err := l.connect(ctx, n)
		if err != nil {
			l.fail("node %d does not serve after the faults have stopped: %v", n.ID, err)
			break
		}
		for {
			var sum, twice, orphans, counter, torn int
			err = conn.QueryRow(ctx, `select (select sum(balance) from accounts),
				(select count(*) from (select name from names group by name having count(*) > 1) x),
				(select count(*) from children c where not exists (select from parents p where p.id = c.parent)),
				(select n from counter),
				(select count(*) from (select tree from leaves group by tree having count(*) <> 12) x)
				+ (select count(*) from leaves where leaf = 1) - (select count(distinct tree) from leaves)`).Scan(&sum, &twice, &orphans, &counter, &torn)
			if err == nil {
				if sum != sqlSum || twice != 0 || orphans != 0 || torn != 0 || counter < l.counter {
					l.fail("node %d: sum %d, %d names twice, %d orphans, %d trees in part, counter %d after %d was acknowledged", n.ID, sum, twice, orphans, torn, counter, l.counter)
				}
				break
			}
			if ctx.Err() != nil || conn.IsClosed() {
				l.fail("node %d does not answer after the faults have stopped: %v", n.ID, err)
				break
			}
			pause(ctx, 100*time.Millisecond)
		}
		conn.Close(ctx)
	}
	return l.errs
}
