package sql

import (
	"context"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/meridian-db/meridian/sql/pgcatalog"
	"github.com/meridian-db/meridian/txn/kv/kvtest"
)

// A backfill rests while clients are at work, and does much at a time only while there are none and it is quick.
func TestPacer(t *testing.T) {
	ms := time.Millisecond
	testPacer(t, []pacerStep{
		{10 * ms, false, 0, 1024},
		{20 * ms, false, 0, 2048},
		{60 * ms, false, 0, 2048}, // long enough
		{20 * ms, false, 0, 4096},
		{40 * ms, false, 0, 8192},
		{40 * ms, false, 0, 8192}, // as many as there may be
		{130 * ms, false, 0, 4096},
		{130 * ms, true, 390 * ms, 512}, // clients: a quarter of the time, and short locks
		{900 * ms, true, 500 * ms, 512}, // bounded
		{900 * ms, false, 0, 512},       // not below the least
	})
	// Between regions, where two round trips take longer than the rows.
	testPacer(t, []pacerStep{
		{170 * ms, false, 0, 1024},
		{190 * ms, false, 0, 2048},
		{165 * ms, false, 0, 4096},
		{230 * ms, false, 0, 4096}, // long enough
		{270 * ms, false, 0, 2048},
		{170 * ms, true, 500 * ms, 512},
	})
}

// pacerStep is a chunk that took d, and what follows it.
type pacerStep struct {
	d    time.Duration
	busy bool
	rest time.Duration
	rows int
}

func testPacer(t *testing.T, steps []pacerStep) {
	t.Helper()
	p := pacer{rows: minChunk, most: 8192}
	for i, tc := range steps {
		p.busy = tc.busy
		rest, rows := p.next(tc.d)
		if rest != tc.rest || rows != tc.rows {
			t.Errorf("step %d: rest %s and %d rows after %s, want %s and %d", i, rest, rows, tc.d, tc.rest, tc.rows)
		}
		p.rows = rows
	}
}

// What keeps a backfill slow is a client at work on any node, not one that waits for the backfill.
func TestClientsActive(t *testing.T) {
	srv := newTestServer(t, kvtest.New())
	job, client := newTestSession(t, srv), newTestSession(t, srv)
	var elsewhere []pgcatalog.Activity
	srv.cfg.Catalog.(*nodeCatalog).cfg.Providers = &pgcatalog.Providers{Activity: func(context.Context) ([]pgcatalog.Activity, error) {
		return append(srv.Activity(), elsewhere...), nil
	}}
	client.info.Remote = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	check := func(when string, want bool) {
		t.Helper()
		if got := job.clientsActive(context.Background()); got != want {
			t.Errorf("%s: %v", when, got)
		}
	}
	check("nothing goes on", false)
	client.info.State = "active"
	check("a statement goes on", true)
	client.info.State, client.info.StmtStarted = "idle", srv.cfg.Now().Add(-recently/2)
	check("between two statements", true)
	client.info.StmtStarted = srv.cfg.Now().Add(-2 * recently)
	check("it has nothing more to do", false)
	client.info.State = "active"
	client.showAwaiting(true)
	check("it waits for a job", false)
	if out := job.run("SELECT wait_event_type, wait_event FROM pg_stat_activity WHERE pid = " + strconv.Itoa(int(client.pid))); !strings.Contains(out, "JobEnd") {
		t.Error(out)
	}
	elsewhere = []pgcatalog.Activity{{State: "active", ClientAddr: "::1"}}
	check("a statement goes on at another node", true)
}
