package sql

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/meridian-db/meridian/txn/kv/kvtest"
)

// TestSignalsOfOthers: sessions of others are ended by their role's members and by pg_signal_backend, superusers' by
// superusers.
func TestSignalsOfOthers(t *testing.T) {
	srv := newTestServer(t, kvtest.New())
	root := newTestSession(t, srv)
	root.run("CREATE ROLE a LOGIN; CREATE ROLE b LOGIN; CREATE ROLE c LOGIN; CREATE ROLE d LOGIN; GRANT b TO c; GRANT pg_signal_backend TO d")
	other, err := srv.NewSession(context.Background(), SessionArgs{User: "b", Database: "postgres", Output: &memOutput{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	asker := newTestSession(t, srv)
	for _, tc := range []struct {
		role, call string
		pid        int32
		want       string
	}{
		{"a", "pg_cancel_backend", other.pid, "42501: must be a member of the role whose query is being canceled or member of pg_signal_backend"},
		{"a", "pg_terminate_backend", other.pid, "42501: must be a member of the role whose process is being terminated or member of pg_signal_backend"},
		{"d", "pg_terminate_backend", root.pid, "42501: must be a superuser to terminate superuser process"},
		{"c", "pg_cancel_backend", root.pid, "42501: must be a superuser to cancel superuser query"},
		{"a", "pg_cancel_backend", 77, "is not a PostgreSQL server process"},
		{"b", "pg_cancel_backend", other.pid, "t\n"},
		{"c", "pg_cancel_backend", other.pid, "t\n"},
		{"d", "pg_cancel_backend", other.pid, "t\n"},
		{"postgres", "pg_terminate_backend", other.pid, "t\n"},
	} {
		asker.run("SET ROLE " + tc.role)
		got := asker.run(fmt.Sprintf("SELECT %s(%d)", tc.call, tc.pid))
		if !strings.Contains(strings.ReplaceAll(got, "ERROR ", ""), tc.want) {
			t.Errorf("%s of %d by %s: %s, want %s", tc.call, tc.pid, tc.role, got, tc.want)
		}
	}
}
