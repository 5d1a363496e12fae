package sql

import (
	"strings"
	"testing"

	"github.com/meridian-db/meridian/txn/kv/kvtest"
)

// While nodes of older builds may be there, which would write rows without it, nothing depends on xmin. Rows from then
// show PostgreSQL's number for rows that all transactions see.
func TestXminWaits(t *testing.T) {
	srv := newTestServer(t, kvtest.New())
	all := false
	srv.cfg.Writers = func() bool { return all }
	s := newTestSession(t, srv)
	s.run("CREATE TABLE t (a int PRIMARY KEY, b int)")
	s.run("INSERT INTO t VALUES (1, 1), (2, 2)")
	for _, q := range []string{"SELECT xmin FROM t", "SELECT t.xmin FROM t", "UPDATE t SET b = 3 WHERE xmin = 2::text::xid", "UPDATE t SET b = 3 RETURNING xmin"} {
		if out := s.run(q); !strings.Contains(out, "55000") {
			t.Errorf("%s: %s", q, out)
		}
	}
	all = true
	frozen := "SELECT count(*) FROM t WHERE xmin::text = '2'"
	if out := s.run(frozen); !strings.Contains(out, "\n2\n") {
		t.Error(out)
	}
	if out := s.run("UPDATE t SET b = 10 WHERE a = 1 RETURNING xmin = pg_current_xact_id()::xid AS mine"); !strings.Contains(out, "\nt\n") {
		t.Error(out)
	}
	if out := s.run(frozen); !strings.Contains(out, "\n1\n") {
		t.Error(out)
	}
	// FOR UPDATE compares the row that it has locked with the one that it has found, byte by byte.
	if out := s.run("BEGIN ISOLATION LEVEL READ COMMITTED; SELECT a FROM t WHERE b IN (2, 10) ORDER BY a FOR UPDATE; COMMIT"); !strings.Contains(out, "1\n2\n") {
		t.Error(out)
	}
	all = false
	s.run("UPDATE t SET b = 11 WHERE a = 1")
	all = true
	if out := s.run(frozen); !strings.Contains(out, "\n2\n") {
		t.Error(out)
	}
}

// A row is found by its ctid where that stands for the key, and not by reading the table.
func TestFindByTID(t *testing.T) {
	s := newTestSession(t, newTestServer(t, kvtest.New()))
	s.run("CREATE TABLE bare (a int); CREATE TABLE keyed (a int PRIMARY KEY); CREATE TABLE named (a text PRIMARY KEY)")
	s.run("INSERT INTO bare VALUES (1), (2); INSERT INTO keyed VALUES (-1), (7), (70000); INSERT INTO named VALUES ('a'), ('b')")
	for q, point := range map[string]bool{
		"SELECT a FROM bare WHERE ctid = (SELECT min(ctid) FROM bare)":                                          true,
		"UPDATE bare SET a = 3 WHERE ctid = (SELECT ctid FROM bare WHERE a = 1 LIMIT 1 FOR UPDATE SKIP LOCKED)": true,
		"DELETE FROM keyed WHERE ctid IN ('(0,7)', '(1,2)')":                                                    true,
		"SELECT a FROM keyed WHERE '(0,7)' = ctid":                                                              true,
		"SELECT a FROM keyed WHERE ctid < '(0,7)'":                                                              false,
		"SELECT a FROM named WHERE ctid = '(0,7)'":                                                              false,
	} {
		out := s.run("EXPLAIN (COSTS OFF) " + q)
		if found := strings.Contains(out, "Index Cond: "); found != point {
			t.Errorf("%s: %s", q, out)
		}
	}
	for q, want := range map[string]string{
		"SELECT a, ctid FROM keyed ORDER BY ctid":                                       "7 | (0,7)\n70000 | (1,4464)\n-1 | (2596148429267413814546723141320703,65535)",
		"SELECT a FROM keyed WHERE ctid = '(1,4464)'":                                   "\n70000\n",
		"SELECT a FROM keyed WHERE ctid = '(2596148429267413814546723141320703,65535)'": "\n-1\n",
		"SELECT a FROM keyed WHERE ctid = '(65536,7)' OR ctid = '(4294967296,7)'":       "SELECT 0",
		"SELECT a FROM keyed WHERE ctid = '(65536,7)'":                                  "SELECT 0",
		"SELECT tidsend(ctid) FROM named":                                               "0A000",
		"SELECT count(*) FROM named x JOIN named y ON x.ctid = y.ctid::text::tid":       "\n2\n",
		"UPDATE bare SET a = a WHERE ctid = (SELECT max(ctid) FROM bare) RETURNING a":   "\n2\n",
	} {
		if out := s.run(q); !strings.Contains(out, want) {
			t.Errorf("%s: %s", q, out)
		}
	}
	s.run("CREATE TABLE parted (a int PRIMARY KEY) PARTITION BY RANGE (a); CREATE TABLE p1 PARTITION OF parted FOR VALUES FROM (0) TO (10)")
	if out := s.run("INSERT INTO parted VALUES (1) RETURNING ctid"); !strings.Contains(out, "0A000") {
		t.Error(out)
	}
	s.run("INSERT INTO parted VALUES (1), (2)")
	if out := s.run("DELETE FROM parted WHERE ctid IN (SELECT max(ctid) FROM parted) RETURNING a"); !strings.Contains(out, "\n2\n") {
		t.Error(out)
	}
}
