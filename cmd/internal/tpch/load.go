package tpch

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// copyRows is how many rows one COPY statement, and with it one transaction, loads.
const copyRows = 50_000

// Load creates the tables, fills them, and builds the indexes on foreign keys.
func Load(ctx context.Context, conn *pgconn.PgConn, scale float64) error {
	for _, t := range Tables() {
		if err := exec(ctx, conn, t.DDL); err != nil {
			return err
		}
		var buf bytes.Buffer
		n := 0
		flush := func() error {
			if n == 0 {
				return nil
			}
			n = 0
			_, err := conn.CopyFrom(ctx, io.NopCloser(&buf), "COPY "+t.Name+" FROM STDIN")
			buf.Reset()
			if err != nil {
				return fmt.Errorf("load %s: %w", t.Name, err)
			}
			return nil
		}
		err := t.Rows(scale, func(line []byte) error {
			buf.Write(line)
			if n++; n < copyRows {
				return nil
			}
			return flush()
		})
		if err == nil {
			err = flush()
		}
		if err != nil {
			return err
		}
		for _, ix := range t.Indexes {
			if err := exec(ctx, conn, ix); err != nil {
				return err
			}
		}
	}
	return nil
}

func exec(ctx context.Context, conn *pgconn.PgConn, text string) error {
	if _, err := conn.Exec(ctx, text).ReadAll(); err != nil {
		return fmt.Errorf("%s: %w", text, err)
	}
	return nil
}

// Answer runs a query and returns its rows as text, one a line, columns separated by "|".
func Answer(ctx context.Context, conn *pgconn.PgConn, query string) (string, error) {
	results, err := conn.Exec(ctx, query).ReadAll()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, r := range results {
		for _, row := range r.Rows {
			for i, v := range row {
				if i > 0 {
					b.WriteByte('|')
				}
				if v == nil {
					v = []byte("NULL")
				}
				b.Write(v)
			}
			b.WriteByte('\n')
		}
	}
	return b.String(), nil
}
