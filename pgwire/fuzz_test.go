package pgwire

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/meridian-db/meridian/sql"
	"github.com/meridian-db/meridian/txn/kv/kvtest"
)

// panicHandler notices the log line of a connection that was saved by its recover.
type panicHandler struct {
	slog.Handler
	panicked *string
}

func (h panicHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h panicHandler) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "panicked") {
		r.Attrs(func(a slog.Attr) bool {
			*h.panicked += a.String() + "\n"
			return true
		})
	}
	return nil
}

// FuzzConnection sends bytes to a whole connection: with a start-up packet in front of them, or as the first
// bytes a stranger sends. Whatever they are, the connection ends and does not panic.
func FuzzConnection(f *testing.F) {
	startup := "\x00\x00\x00\x29\x00\x03\x00\x00user\x00postgres\x00database\x00postgres\x00\x00"
	seed := func(messages ...[]byte) {
		var b []byte
		for _, m := range messages {
			b = append(b, m...)
		}
		f.Add(b, true)
	}
	for _, m := range hostileMessages {
		seed(m, message('S'))
	}
	seed(message('Q', []byte("SHOW ALL\x00")...))
	seed(message('Q', []byte("BEGIN; SAVEPOINT a; SET work_mem = '1MB'; ROLLBACK TO a\x00")...), message('Q', []byte("DISCARD ALL\x00")...))
	seed(message('P', []byte("s\x00SHOW ssl\x00\x00\x00")...), message('B', []byte("p\x00s\x00\x00\x00\x00\x00\x00\x00")...),
		message('D', []byte("Pp\x00")...), message('D', []byte("Ss\x00")...), message('E', []byte("p\x00\x00\x00\x00\x02")...), message('C', []byte("Ss\x00")...), message('S'))
	seed(message('Q', []byte("PREPARE q AS SELECT 1\x00")...), message('Q', []byte("EXECUTE q\x00")...), message('H'))
	seed(message('Q', []byte("BEGIN\x00")...), message('Q', []byte("DECLARE c CURSOR FOR SELECT 1\x00")...), message('Q', []byte("FETCH ALL c\x00")...))
	seed(message('d', 1), message('c'), message('f', 0), message('X'))
	f.Add([]byte(startup), false)
	f.Add([]byte("\x00\x00\x00\x10\x04\xd2\x16\x2e\x00\x00\x00\x01\x00\x00\x00\x00"), false)
	s, err := sql.NewServer(sql.Config{DB: kvtest.New(), Catalog: emptyCatalog{}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte, started bool) {
		var panicked string
		srv, err := New(Config{SQL: s, Auth: AuthTrust, Log: slog.New(panicHandler{panicked: &panicked})})
		if err != nil {
			t.Fatal(err)
		}
		client, server := net.Pipe()
		srv.ServeConn(context.Background(), server)
		go io.Copy(io.Discard, client)
		if started {
			io.WriteString(client, startup)
		}
		client.Write(b)
		client.Close()
		srv.workers.Wait()
		if panicked != "" {
			t.Fatal(panicked)
		}
	})
}
