package clienttest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/meridian-db/meridian/server"
)

// needTools skips the test unless PostgreSQL's client programs are there.
func needTools(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed", name)
		}
	}
	if testing.Short() {
		t.Skip("runs other programs; left out with -short")
	}
}

// tool runs a program to its end and returns its two outputs.
func tool(t *testing.T, env []string, stdin io.Reader, name string, args ...string) (out, problems string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, stdin, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), stderr.String()
}

// noise are the lines of a dump that differ from one to the next.
var noise = regexp.MustCompile(`(?m)^(\\(un)?restrict .*|-- Dumped (from|by) .*)\n`)

func dump(t *testing.T, env []string) string {
	t.Helper()
	out, _ := tool(t, env, nil, "pg_dump")
	return noise.ReplaceAllString(out, "")
}

// equalDumps shows the first lines in which two dumps differ.
func equalDumps(t *testing.T, what, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			t.Errorf("%s: line %d is\n%s\nwant\n%s", what, i+1,
				strings.Join(g[i:min(i+8, len(g))], "\n"), strings.Join(w[i:min(i+8, len(w))], "\n"))
			return
		}
	}
	t.Errorf("%s has %d lines, want %d", what, len(g), len(w))
}

// freshCluster starts a cluster of its own and returns the environment of its clients.
func freshCluster(t *testing.T) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	d, err := server.StartDemo(ctx, server.DemoConfig{Regions: []string{"one"}, SQLAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", Data: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Stop() })
	return clientEnv(t, d.Servers[0].SQLAddr(), "postgres")
}

// inDatabase is env for another database.
func inDatabase(env []string, name string) []string {
	return append(slices.Clone(env), "PGDATABASE="+name)
}

// TestDumpRestore dumps a database with one of everything, restores it into a cluster that has never seen it,
// as a script and as an archive, and dumps it again: the dumps are equal.
func TestDumpRestore(t *testing.T) {
	needTools(t, "psql", "pg_dump", "pg_restore", "pg_dumpall")
	source := database(t, "dump_source")
	tool(t, source, nil, "psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", "testdata/schema.sql")
	want := dump(t, source)
	archive := filepath.Join(t.TempDir(), "archive")
	tool(t, source, nil, "pg_dump", "-Fc", "-f", archive)
	globals, _ := tool(t, source, nil, "pg_dumpall", "--globals-only")

	fresh := freshCluster(t)
	_, problems := tool(t, fresh, strings.NewReader(globals), "psql", "-qX")
	for line := range strings.Lines(problems) {
		if !strings.Contains(line, `role "postgres" already exists`) {
			t.Errorf("globals: %s", line)
		}
	}
	for _, name := range []string{"plain", "archive"} {
		tool(t, fresh, nil, "psql", "-qX", "-c", "create database "+name)
	}
	plain, fromArchive := inDatabase(fresh, "plain"), inDatabase(fresh, "archive")
	tool(t, plain, strings.NewReader(want), "psql", "-qX", "-v", "ON_ERROR_STOP=1")
	equalDumps(t, "the restored script", dump(t, plain), want)
	tool(t, fromArchive, nil, "pg_restore", "--exit-on-error", "-d", "archive", archive)
	equalDumps(t, "the restored archive", dump(t, fromArchive), want)
	again, _ := tool(t, fresh, nil, "pg_dumpall", "--globals-only")
	if noise.ReplaceAllString(again, "") != noise.ReplaceAllString(globals, "") {
		t.Errorf("globals of the restored cluster:\n%s\nwant\n%s", again, globals)
	}
}

// entries takes a dump apart by its headings.
func entries(text string) map[string]string {
	out := map[string]string{}
	parts := strings.Split(text, "\n--\n-- ")
	for _, p := range parts[1:] {
		heading, body, _ := strings.Cut(p, "\n")
		out[heading] = body
	}
	return out
}

// unequal are the entries that PostgreSQL dumps otherwise than it was given them: it prints queries its own
// way, and it makes the index of a partitioned table an object of its own.
var unequal = regexp.MustCompile(`Type: (MATERIALIZED )?VIEW;|Type: INDEX ATTACH;|Name: log_(2025_|rest_)?what|Name: log\w* log\w*_pkey`)

// TestDumpIntoPostgres restores a dump into PostgreSQL, and finds there what was dumped.
func TestDumpIntoPostgres(t *testing.T) {
	needTools(t, "psql", "pg_dump", "pg_dumpall")
	pg := startPostgres(t)
	source := database(t, "dump_for_postgres")
	tool(t, source, nil, "psql", "-qX", "-f", "testdata/schema.sql") // its roles may be there already
	text := dump(t, source)
	globals, _ := tool(t, source, nil, "pg_dumpall", "--globals-only")
	tool(t, pg, strings.NewReader(globals), "psql", "-qX")
	tool(t, pg, strings.NewReader(text), "psql", "-qX", "-v", "ON_ERROR_STOP=1")
	got, want := entries(dump(t, pg)), entries(text)
	for heading := range want {
		if g, ok := got[heading]; !ok && !unequal.MatchString(heading) {
			t.Errorf("PostgreSQL's dump lacks %s", heading)
		} else if g != want[heading] && !unequal.MatchString(heading) {
			t.Errorf("%s: PostgreSQL dumps\n%s\nwe dump\n%s", heading, g, want[heading])
		}
	}
	for heading := range got {
		if _, ok := want[heading]; !ok && !unequal.MatchString(heading) {
			t.Errorf("our dump lacks %s", heading)
		}
	}
}

// startPostgres starts a PostgreSQL server in a directory of its own, if one of version 15 is installed.
func startPostgres(t *testing.T) []string {
	t.Helper()
	bin := "/usr/lib/postgresql/15/bin/"
	if _, err := os.Stat(bin + "postgres"); err != nil {
		t.Skip("PostgreSQL 15 is not installed")
	}
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	var as *syscall.SysProcAttr
	if os.Getuid() == 0 { // which PostgreSQL refuses to run as
		u, err := user.Lookup("postgres")
		if err != nil {
			t.Skip("there is no user to run PostgreSQL as")
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Skip(err)
		}
		as = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	run := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(bin+name, args...)
		cmd.Dir, cmd.SysProcAttr = dir, as
		return cmd
	}
	data := filepath.Join(dir, "data")
	if out, err := run("initdb", "-D", data, "-A", "trust", "-U", "postgres", "--encoding=UTF8", "--locale=C.UTF-8", "-N").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	var log bytes.Buffer
	cmd := run("postgres", "-D", data, "-p", port, "-k", dir, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=20")
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
		if t.Failed() {
			t.Logf("PostgreSQL's log:\n%s", log.String())
		}
	})
	env := clientEnv(t, addr, "postgres")
	until(t, func() string { // pg_isready does not wait for a server that does not listen yet
		out, err := exec.Command(bin+"pg_isready", "-h", "127.0.0.1", "-p", port).CombinedOutput()
		if err == nil {
			return ""
		}
		return fmt.Sprintf("PostgreSQL does not start: %v\n%s", err, out)
	})
	return env
}
