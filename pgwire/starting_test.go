package pgwire

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/meridian-db/meridian/sql"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/txn/kv/kvtest"
)

// TestStarting: until a node serves, clients hear 57P03; then they get in through the same listener.
func TestStarting(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop, err := Starting(l, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	url := "postgres://postgres@" + l.Addr().String() + "/postgres?sslmode=prefer"
	for range 3 {
		_, err = pgx.Connect(ctx, url)
		var pe *pgconn.PgError
		if !errors.As(err, &pe) || pe.Code != pgerr.CannotConnectNow || pe.Severity != "FATAL" {
			t.Fatalf("a client of a node that is starting got %v", err)
		}
	}
	// One that has not said who it is yet does not hold up the start.
	slow, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	stop()
	stop()
	db, err := sql.NewServer(sql.Config{DB: kvtest.New(), Catalog: emptyCatalog{}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{SQL: db, Auth: AuthTrust})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	c.Close(ctx)
	s.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
