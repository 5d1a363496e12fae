package sql

import (
	"strings"
	"testing"

	"github.com/meridian-db/meridian/txn/kv/kvtest"
)

// While nodes of older builds may be there, the catalog gets nothing that they would misread.
func TestNewCatalogWaits(t *testing.T) {
	srv := newTestServer(t, kvtest.New())
	all := false
	srv.cfg.NewCatalog = func() bool { return all }
	srv.cfg.Exclusions, srv.cfg.Definitions, srv.cfg.Hstore = srv.cfg.NewCatalog, srv.cfg.NewCatalog, srv.cfg.NewCatalog
	s := newTestSession(t, srv)
	s.run("CREATE TABLE t (a int[])")
	s.run("INSERT INTO t VALUES ('{1}')")
	for _, statement := range []string{"CREATE INDEX ON t USING gin (a)", "CREATE EXTENSION citext", "CREATE EXTENSION hstore", "CREATE TABLE x (a int, EXCLUDE (a WITH =))", "CREATE TABLE heir () INHERITS (t)", "CREATE RULE r AS ON INSERT TO t DO NOTHING",
		"ALTER TABLE t ADD EXCLUDE (a WITH =)", "CREATE AGGREGATE total (int) (sfunc = int4pl, stype = int)",
		"CREATE OPERATOR ## (rightarg = int, function = int4um)"} {
		for _, all = range []bool{false, true} {
			if out := s.run(statement); strings.Contains(out, "55000") == all {
				t.Errorf("%s, when all nodes know it %v: %s", statement, all, out)
			}
		}
	}
	for _, all = range []bool{true, false} {
		s.run("ALTER TABLE t ADD COLUMN b int DEFAULT 7")
		if out := s.run("SELECT atthasmissing FROM pg_attribute WHERE attname = 'b'"); strings.Contains(out, "\nt\n") != all {
			t.Errorf("the rows lack a new column, when all nodes know that %v: %s", all, out)
		}
		if out := s.run("SELECT b FROM t"); !strings.Contains(out, "7") {
			t.Error(out)
		}
		s.run("ALTER TABLE t DROP COLUMN b")
	}
}

// A key made of an enum's value means the same to all nodes: no value gets a place between others before all know where.
func TestEnumOrderWaits(t *testing.T) {
	srv := newTestServer(t, kvtest.New())
	all := false
	srv.cfg.Writers = func() bool { return all }
	s := newTestSession(t, srv)
	s.run("CREATE TYPE e AS ENUM ('a', 'c')")
	s.run("CREATE TABLE t (v e PRIMARY KEY)")
	s.run("INSERT INTO t VALUES ('c')")
	for _, all = range []bool{false, true} {
		if out := s.run("ALTER TYPE e ADD VALUE 'b' BEFORE 'c'"); strings.Contains(out, "55000") == all {
			t.Errorf("when all nodes know it %v: %s", all, out)
		}
	}
}
