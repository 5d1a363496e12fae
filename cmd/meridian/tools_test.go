package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/meridian-db/meridian/server"
)

// TestTools: the shell, the doctor of a running cluster and the debug archive against a cluster.
func TestTools(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	d, err := server.StartDemo(ctx, server.DemoConfig{SQLAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", Data: filepath.Join(dir, "data"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Stop()
	url := "postgres://postgres@" + d.Servers[0].SQLAddr() + "/postgres?sslmode=disable"
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	sql := func(args ...string) string {
		t.Helper()
		out, err := try(map[string]string{"MERIDIAN_SQL_URL": url}, append([]string{"sql"}, args...)...)
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		return out
	}
	sql("-q", "-f", file("schema.sql", `create table a (id int primary key, v text not null default 'x', n numeric check (n > 0));
create table b (id int primary key, a int references a); create index b_a on b (a);
create view va as select id from a;
`))
	rows := file("rows.csv", "1,one,1.5\n2,\"two\nlines\",\n")
	out := filepath.Join(dir, "out.csv")
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"-c", `\copy a from '` + rows + `' with (format csv)`}, "COPY 2\n"},
		{[]string{"-c", `\copy (select id, v from a order by 1) to ` + out + ` with (format csv)`}, "COPY 2\n"},
		{[]string{"--csv", "-c", "select * from a order by 1"}, "id,v,n\n1,one,1.5\n2,\"two\nlines\",\n"},
		{[]string{"--json", "-c", "select * from a order by 1"}, "[{\"id\": 1, \"v\": \"one\", \"n\": 1.5},\n {\"id\": 2, \"v\": \"two\\nlines\", \"n\": null}]\n"},
		{[]string{"--json", "-c", "select 1 where false"}, "[]\n"},
		{[]string{"-A", "-t", "-c", "select id, n from a order by 1"}, "1|1.5\n2|\n"},
		{[]string{"-c", `select 1 as x \gx`}, "-[ RECORD 1 ]\nx | 1\n\n"},
		{[]string{"-c", `\d a`}, "                  Table \"public.a\"\n Column |  Type   | Collation | Nullable |  Default  \n" +
			"--------+---------+-----------+----------+-----------\n id     | integer |           | not null | \n v      | text    |           | not null | 'x'::text\n n      | numeric |           |          | \n" +
			"Indexes:\n    \"a_pkey\" PRIMARY KEY, btree (id)\nCheck constraints:\n    \"a_n_check\" CHECK (n > 0::numeric)\nReferenced by:\n    TABLE \"b\" CONSTRAINT \"b_a_fkey\" FOREIGN KEY (a) REFERENCES a(id)\n\n"},
		{[]string{"-c", `\dt a*`}, "        List of relations\n Schema | Name | Type  |  Owner   \n--------+------+-------+----------\n public | a    | table | postgres\n(1 row)\n\n"},
	} {
		if got := sql(tc.args...); got != tc.want {
			t.Errorf("%q printed\n%s\nwant\n%s", tc.args, got, tc.want)
		}
	}
	if b, err := os.ReadFile(out); err != nil || string(b) != "1,one\n2,\"two\nlines\"\n" {
		t.Errorf("copied %q, %v", b, err)
	}
	for name := range listings {
		sql("-c", name)
		sql("-c", name+"+ p*")
	}
	for _, rel := range []string{"b", "va", "b_a", "meridian.nodes"} {
		sql("-c", `\d+ `+rel)
	}

	doctor := func() (string, error) { return try(nil, "doctor", "--url", url) }
	if text, err := doctor(); err != nil || strings.Contains(text, "FAIL") || !strings.Contains(text, "ok    versions       all nodes run one build") {
		t.Errorf("doctor of a sound cluster: %v\n%s", err, text)
	}
	if err := d.Servers[2].Stop(); err != nil {
		t.Fatal(err)
	}
	if text, err := doctor(); err == nil || !strings.Contains(text, "FAIL  nodes          node 3") || !strings.Contains(text, "start it with its store") {
		t.Errorf("doctor with a node down: %v\n%s", err, text)
	}

	archive := filepath.Join(dir, "debug.zip")
	zip := func(args ...string) (string, error) {
		return try(nil, append([]string{"debug", "zip", "--cpu", "0s", "--out", archive}, args...)...)
	}
	text, err := zip("--http", "http://127.0.0.1:1,http://"+d.Servers[0].HTTPAddr())
	if err != nil || !strings.Contains(text, "node-3/") || !strings.Contains(text, " files. Made at ") {
		t.Errorf("debug zip with a node down: %v\n%s", err, text)
	}
	if err := os.Remove(archive); err != nil {
		t.Error(err)
	}
	for _, tc := range []struct{ args, want string }{
		{"--http http://127.0.0.1:1", "connection refused"}, {"--http nowhere", "give a URL"}, {"--http http://" + d.Servers[0].SQLAddr(), ""}, {"--cpu 2h", "--cpu is from"},
	} {
		if _, err := zip(strings.Fields(tc.args)...); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.args, err)
		}
	}
	if _, err := os.Stat(archive); err == nil {
		t.Error("an archive is left of an attempt that failed")
	}
}

// TestManual: every command has a page with an example, its flags are told with default and variable, and what its examples
// use exists.
func TestManual(t *testing.T) {
	flag := regexp.MustCompile(`\s--([a-z][a-z-]*)`)
	for name, p := range pages {
		if p.about == "" {
			continue // a command of commands
		}
		out, err := try(nil, append(strings.Fields(name), "--help")...)
		if err != nil || !strings.HasPrefix(out, "Usage: meridian "+name+" ") || !strings.Contains(out, p.about) {
			t.Errorf("%s --help: %v\n%s", name, err, out)
		}
		for _, x := range p.examples {
			for _, m := range flag.FindAllStringSubmatch(x, -1) {
				if !strings.Contains(out, "\n  --"+m[1]+"\n") && !strings.Contains(out, "\n  --"+m[1]+" ") {
					t.Errorf("%s has no flag --%s of its example %q", name, m[1], x)
				}
			}
		}
	}
	for _, c := range subcommands() {
		if p, ok := pages[c.name]; !ok || p.about == "" && len(p.words) == 0 {
			t.Errorf("%s has no page", c.name)
		}
	}
	out, _ := try(nil, "start", "--help")
	for _, want := range []string{"--sql-addr STRING\n      host:port for PostgreSQL clients [default 127.0.0.1:5433; MERIDIAN_SQL_ADDR]", "--insecure\n      no TLS and no passwords, on loopback only [default off; MERIDIAN_INSECURE]"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if again, err := try(nil, "help", "start"); err != nil || again != out {
		t.Errorf("`help start` is not `start --help`: %v", err)
	}
}

// TestCompletion: commands, words, flags and values are completed, and each shell has its script.
func TestCompletion(t *testing.T) {
	for words, want := range map[string]string{
		"sta":                  "start\trun a node\n",
		"node dr":              "drain\n",
		"start --log-level w":  "warn\n",
		"start --insecure-":    "--insecure-listen-anywhere\twith --insecure: listen beyond loopback too\n",
		"cert node --ho":       "--host\tnames and addresses by which clients and other nodes reach the node, separated by commas\n",
		"debug z":              "zip\n",
		"start --store /v":     "",
		"workload tpcc --ware": "--warehouses\ttpcc: warehouses\n",
		"help vers":            "version\tprint the version\n",
	} {
		out, err := try(nil, append([]string{"__complete"}, strings.Fields(words)...)...)
		if err != nil || out != want {
			t.Errorf("%s: %q, %v, want %q", words, out, err, want)
		}
	}
	for shell := range completionScripts {
		if out, err := try(nil, "completion", shell); err != nil || !strings.Contains(out, "__complete") {
			t.Errorf("%s: %v %q", shell, err, out)
		}
	}
	if _, err := try(nil, "completion", "csh"); err == nil {
		t.Error("a script for csh")
	}
}
