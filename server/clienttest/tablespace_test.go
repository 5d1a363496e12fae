package clienttest

import (
	"strings"
	"testing"
)

// TestDumpTablespaces dumps a cluster whose tables, indexes, partitions and databases are in tablespaces, restores it
// into a fresh one, and dumps that: everything is where it was. Without tablespaces nothing of them is left. And psql
// shows them as PostgreSQL's users know them.
func TestDumpTablespaces(t *testing.T) {
	needTools(t, "psql", "pg_dump", "pg_dumpall")
	const schema = `
		CREATE TABLESPACE near LOCATION '' WITH (regions='one', leaders='one', replicas=1);
		CREATE TABLESPACE "Far Away" LOCATION '' WITH (global=true, leaders=follow);
		COMMENT ON TABLESPACE near IS 'it''s here';
		CREATE ROLE keeper;
		GRANT CREATE ON TABLESPACE near TO keeper;
		CREATE TABLE a (id int PRIMARY KEY, b int, c text UNIQUE) TABLESPACE near;
		CREATE INDEX a_b ON a (b);
		CREATE INDEX a_far ON a (b, c) TABLESPACE "Far Away";
		CREATE TABLE p (k text, v int, PRIMARY KEY (k, v)) PARTITION BY LIST (k) TABLESPACE "Far Away";
		CREATE TABLE p_n PARTITION OF p FOR VALUES IN ('n') TABLESPACE near;
		CREATE TABLE p_f PARTITION OF p FOR VALUES IN ('f');
		CREATE MATERIALIZED VIEW m TABLESPACE near AS SELECT 1 AS one;
		INSERT INTO a VALUES (1, 2, 'three');
		INSERT INTO p VALUES ('n', 1), ('f', 2);`
	source := freshCluster(t)
	tool(t, source, strings.NewReader(schema), "psql", "-qX", "-v", "ON_ERROR_STOP=1")
	tool(t, source, nil, "psql", "-qX", "-c", `CREATE DATABASE away TABLESPACE "Far Away"`)
	tool(t, inDatabase(source, "away"), nil, "psql", "-qX", "-c", "CREATE TABLE t (a int)")
	all, _ := tool(t, source, nil, "pg_dumpall")
	all = noise.ReplaceAllString(all, "")
	for _, want := range []string{
		"CREATE TABLESPACE near OWNER postgres LOCATION '';",
		"ALTER TABLESPACE near SET (regions=one, leaders=one, replicas=1);",
		"COMMENT ON TABLESPACE near IS 'it''s here';",
		"GRANT ALL ON TABLESPACE near TO keeper;",
		`CREATE DATABASE away WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = libc LOCALE = 'C.UTF-8' TABLESPACE = "Far Away";`,
		"SET default_tablespace = near;",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("pg_dumpall does not say %s", want)
		}
	}

	fresh := freshCluster(t)
	_, problems := tool(t, fresh, strings.NewReader(all), "psql", "-qX")
	for line := range strings.Lines(problems) {
		if !strings.Contains(line, `role "postgres" already exists`) {
			t.Errorf("restore: %s", line)
		}
	}
	again, _ := tool(t, fresh, nil, "pg_dumpall")
	equalDumps(t, "the restored cluster", noise.ReplaceAllString(again, ""), all)

	bare, _ := tool(t, source, nil, "pg_dump", "--no-tablespaces")
	if strings.Contains(bare, "tablespace") {
		t.Error("pg_dump --no-tablespaces mentions tablespaces")
	}
	for leads := ""; strings.TrimSpace(leads) != "t"; { // what the restore has just split off elects its leader yet
		leads, _ = tool(t, fresh, nil, "psql", "-qXtA", "-c", "SELECT bool_and(role = 'leader') FROM meridian.replicas")
	}
	shown, _ := tool(t, fresh, nil, "psql", "-qX", "-c", `\db`, "-c", `\db+ near`, "-c", `\d a`, "-c", `\d p_n`, "-c", `\d a_far`, "-c", `\l away`,
		"-c", "SELECT count(*) > 0 AS ok, bool_and(role = 'leader' AND region = 'one' AND size_bytes >= 0) AS leads FROM meridian.replicas", "-c", "SELECT lower(role) FROM meridian.replicas WHERE safe_time IS NOT NULL LIMIT 1")
	for _, want := range []string{
		`"a_far" btree (b, c), tablespace "Far Away"`, `Tablespace: "near"`, `Tablespace: "Far Away"`, "keeper=C/postgres", "{regions=one,leaders=one,replicas=1}", "it's here", "t  | t", "leader",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("psql does not show %s:\n%s", want, shown)
		}
	}
}
