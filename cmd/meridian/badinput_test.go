package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/meridian-db/meridian/cmd/internal/proc"
)

// TestBadInput gives a running cluster, and nodes that are to join it, everything that can be wrong: flags, environment,
// stores, ports, time sources, files, messages, statements. Each gets one clear message that names the flag and the fix,
// or a SQLSTATE; no screen shows the inside of the program, and the data stay as they were.
func TestBadInput(t *testing.T) {
	c := startCluster(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	admin := connect(t, ctx, c.Nodes[0].URL())
	defer admin.Close(ctx)
	mustExec(t, ctx, admin, `create table t (id int primary key, v smallint not null, filler text)`)
	mustExec(t, ctx, admin, `insert into t select g, g % 100, repeat('x', 300) from generate_series(1, 3000) g`)
	awaitReplication(t, ctx, c)
	const sumSQL = `select count(*)::text || ' ' || sum(v) || ' ' || sum(length(filler)) from t`
	unchanged := func(t *testing.T, what string) {
		t.Helper()
		var got string
		if err := admin.QueryRow(ctx, sumSQL).Scan(&got); err != nil || got != "3000 148500 900000" {
			t.Errorf("after %s: the table holds %q, %v", what, got, err)
		}
	}

	dir := t.TempDir()
	loop := []string{"--sql-addr", "127.0.0.1:0", "--rpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"}
	start := func(store string, rest ...string) []string {
		return append(append([]string{"start", "--insecure", "--store", filepath.Join(dir, store)}, loop...), rest...)
	}
	sources := timeSources(c)

	t.Run("start", func(t *testing.T) {
		// The store of a cluster of its own.
		runUntil(t, "is ready", start("other", sources...)...)
		copyStore(t, filepath.Join(dir, "other"), filepath.Join(dir, "newer"))
		edit(t, filepath.Join(dir, "newer", "IDENTITY"), func(b []byte) []byte {
			return []byte(strings.Replace(string(b), "meridian-store 1", "meridian-store 7", 1))
		})
		copyStore(t, filepath.Join(dir, "other"), filepath.Join(dir, "noidentity"))
		os.Remove(filepath.Join(dir, "noidentity", "IDENTITY"))
		n := c.Nodes[0]
		for _, tc := range []struct {
			name string
			args []string
			env  string
			want []string // all of them in the message
			code int
		}{
			{name: "unknown flag", args: []string{"start", "--bogus"}, want: []string{"-bogus", "`meridian start --help`"}, code: 2},
			{name: "value of a wrong type", args: start("x", "--drain-timeout", "soon"), want: []string{"drain-timeout", "soon"}, code: 2},
			{name: "environment of a wrong type", args: start("x"), env: "MERIDIAN_DRAIN_TIMEOUT=soon", want: []string{"MERIDIAN_DRAIN_TIMEOUT", "soon"}, code: 2},
			{name: "unknown value in the environment", args: start("x"), env: "MERIDIAN_LOG_LEVEL=loud", want: []string{"MERIDIAN_LOG_LEVEL", "loud", "debug, info, warn or error"}, code: 1},
			{name: "address in the environment", args: []string{"start", "--insecure", "--store", "x"}, env: "MERIDIAN_SQL_ADDR=nowhere", want: []string{"MERIDIAN_SQL_ADDR", `"nowhere" is no address`, "host:port"}, code: 1},
			{name: "store of another cluster", args: start("other", slices.Concat([]string{"--join", n.RPCAddr}, sources)...), want: []string{"another cluster", "--store and --join"}, code: 1},
			{name: "newer format", args: start("newer"), want: []string{"--store", "format 7, newer than 1", "start it with the release"}, code: 1},
			{name: "store without identity", args: start("noidentity"), want: []string{"--store", "IDENTITY is missing"}, code: 1},
			{name: "store in use", args: append([]string{"start", "--insecure", "--store", n.Store}, loop...), want: []string{"--store", "in use by another process"}, code: 1},
			{name: "SQL port taken", args: start("x", "--sql-addr", n.SQLAddr), want: []string{"--sql-addr", "address already in use", "end the process"}, code: 1},
			{name: "node port taken", args: start("x", "--rpc-addr", n.RPCAddr), want: []string{"--rpc-addr", "address already in use", "end the process"}, code: 1},
			{name: "HTTP port taken", args: start("x", "--http-addr", n.HTTPAddr), want: []string{"--http-addr", "address already in use", "end the process"}, code: 1},
			{name: "no time source", args: start("x", "--join", n.RPCAddr), want: []string{"--time-source", "is required", "ntp://host:port"}, code: 1},
			{name: "no such kind of time source", args: start("x", "--time-source", "sundial://garden"), want: []string{"--time-source", "sundial", "ntp://host:port"}, code: 1},
			{name: "demo on a taken port", args: []string{"demo", "--sql-addr", n.SQLAddr}, want: []string{"--sql-addr", "address already in use"}, code: 1},
		} {
			before := tree(t, filepath.Join(dir, "other"))
			var env []string
			if tc.env != "" {
				env = []string{tc.env}
			}
			out, code := runToEnd(t, env, tc.args...)
			if code != tc.code {
				t.Errorf("%s: exit status %d, want %d:\n%s", tc.name, code, tc.code, out)
			}
			last := lastLine(out)
			for _, want := range tc.want {
				if !strings.Contains(last, want) {
					t.Errorf("%s: the last line does not say %q:\n%s", tc.name, want, out)
				}
			}
			noTrace(t, tc.name, out)
			if tc.name != "store of another cluster" { // opened by its own node, for a moment
				if after := tree(t, filepath.Join(dir, "other")); after != before {
					t.Errorf("%s: the store was changed:\n%s\nbefore:\n%s", tc.name, after, before)
				}
			}
		}
		for _, source := range []string{"ntp://127.0.0.1:1", "ntp://no.such.host.invalid"} {
			out := runUntil(t, "waiting for the time", start("x", "--time-source", source)...)
			noTrace(t, source, out)
			if !strings.Contains(out, "MERIDIAN_TIME_SOURCE") || !strings.Contains(out, "check that the servers run") {
				t.Errorf("unreachable time source: the screen does not name flag and fix:\n%s", out)
			}
		}
		out := runUntil(t, "waiting for a node to join through", start("x", append(sources, "--join", "127.0.0.1:1")...)...)
		noTrace(t, "unreachable member", out)
		unchanged(t, "bad starts")
	})

	t.Run("store", func(t *testing.T) {
		n := c.Nodes[2]
		n.Stop() // what it has applied is flushed
		old := filepath.Join(dir, "old")
		copyStore(t, n.Store, old)
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
		if err := n.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
		for range 20 { // so that damage in the middle of the log is not at its end
			mustExec(t, ctx, admin, `update t set filler = replace(filler, 'x', 'y') where id = 1`)
		}
		local := connect(t, ctx, n.URL())
		mustExec(t, ctx, local, `set meridian.exact_staleness = '10ms'`) // what this replica has itself
		for filler := ""; !strings.HasPrefix(filler, "y"); {
			if err := local.QueryRow(ctx, `select filler from t where id = 1`).Scan(&filler); err != nil {
				t.Fatal(err)
			}
		}
		local.Close(ctx)
		n.Stop()
		for _, tc := range []struct {
			name, from string
			glob       string // files that are damaged in the middle
			want       string
		}{
			{"raft log", n.Store, "raftlog/*.log", "cannot be opened"},
			{"raft log's list of files", n.Store, "raftlog/MANIFEST-*", "cannot be opened"},
			{"state engine's list of files", n.Store, "state/MANIFEST-*", "cannot be opened"},
			{"old copy", old, "", "an old copy: move it away"},
			{"state engine's tables", n.Store, "state/*.sst", "damaged"},
		} {
			store := filepath.Join(dir, "damaged")
			copyStore(t, tc.from, store)
			if tc.glob != "" {
				files, _ := filepath.Glob(filepath.Join(store, tc.glob))
				if len(files) == 0 {
					t.Fatalf("%s: no such file", tc.glob)
				}
				for _, path := range files {
					edit(t, path, func(b []byte) []byte {
						middle := len(bytes.TrimRight(b, "\x00")) / 2 // log files have zeros ahead of their end
						for i := range b[middle:min(middle+64, len(b))] {
							b[middle+i] ^= 0xff
						}
						return b
					})
				}
			}
			args := append([]string{"start", "--insecure", "--store", store, "--sql-addr", n.SQLAddr, "--rpc-addr", n.RPCAddr,
				"--http-addr", n.HTTPAddr, "--region", n.Region, "--join", c.Nodes[0].RPCAddr}, sources...)
			// A damaged table is met when it is read; until then the node may well be ready.
			p := launch(t, ctx, "is ready", args...)
			for running := true; running; {
				if conn, err := pgx.Connect(ctx, n.URL()); err == nil {
					var got string
					_, err := conn.Exec(ctx, `set meridian.exact_staleness = '100ms'`) // what this replica has itself
					if err == nil {
						err = conn.QueryRow(ctx, sumSQL).Scan(&got)
					}
					if err == nil && got != "3000 148500 900000" {
						t.Errorf("%s: the damaged node answers %q", tc.name, got)
					}
					conn.Close(ctx)
				}
				select {
				case <-p.ended:
					running = false
				case <-ctx.Done():
					t.Fatalf("%s: the node does not end: %s", tc.name, p.out.String())
				default:
				}
			}
			out, code := p.out.String(), p.cmd.ProcessState.ExitCode()
			last := lastLine(out)
			if code != 1 || !strings.Contains(last, "--store") || !strings.Contains(last, tc.want) || !strings.Contains(last, "move it away") {
				t.Errorf("%s: exit status %d, want 1 and a message of --store: %s", tc.name, code, out)
			}
			noTrace(t, tc.name, out)
			os.RemoveAll(store)
			unchanged(t, tc.name)
		}
	})

	t.Run("messages", func(t *testing.T) {
		hostileMessages(t, c.Nodes[0])
		unchanged(t, "hostile messages")
	})

	t.Run("statements", func(t *testing.T) {
		for _, tc := range []struct{ name, sql, code string }{
			{"oversized", "select '" + strings.Repeat("x", 16<<20) + "'", "54000"},
			{"too many words", "select 1 in (" + strings.Repeat("1,", 1<<19) + "1)", "54000"},
			{"nested parentheses", "select " + strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000), "54001"},
			{"nested selects", strings.Repeat("select (", 1000) + "select 1" + strings.Repeat(")", 1000), "54001"},
			{"nested arrays", "select " + strings.Repeat("array[", 2000) + "1" + strings.Repeat("]", 2000), "54001"},
			{"long chain", "select 1" + strings.Repeat("+1", 20000), "54001"},
			{"integer", "update t set v = 2147483648::int where id = 1", "22003"},
			{"smallint", "insert into t values (9999, 40000)", "22003"},
			{"sum", "update t set id = id + 2147483647 where id > 5", "22003"},
			{"double precision", "select 1e400::float8", "22003"},
			{"not UTF-8", "select '\xff\xfe'", "22021"},
			{"not SQL", "drop everything", "42601"},
		} {
			_, err := admin.PgConn().Exec(ctx, tc.sql).ReadAll()
			var pg *pgconn.PgError
			if !errors.As(err, &pg) || pg.Code != tc.code {
				t.Errorf("%s: %.200v, want SQLSTATE %s", tc.name, err, tc.code)
				continue
			}
			noTrace(t, tc.name, pg.Message+pg.Detail+pg.Hint)
		}
		unchanged(t, "bad statements")
	})
	for i, n := range c.Nodes {
		log, err := os.ReadFile(n.LogPath())
		if err != nil {
			t.Fatal(err)
		}
		noTrace(t, fmt.Sprintf("log of node %d", i+1), string(log))
	}
}

// hostileMessages speaks PostgreSQL's protocol badly, before and after authentication, and noise to the node port.
func hostileMessages(t *testing.T, n *proc.Node) {
	startup := func(body string) string {
		return string(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4))) + body
	}
	hello := startup("\x00\x03\x00\x00user\x00postgres\x00database\x00postgres\x00\x00")
	message := func(typ byte, body string) string {
		return string(typ) + string(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4))) + body
	}
	for _, tc := range []struct {
		name, send string
		code       string // of the answer; empty: the connection ends, and that is all
	}{
		{"empty start-up packet", "\x00\x00\x00\x04", "08P01"},
		{"start-up packet of 2 GiB", "\x7f\xff\xff\xff\x00\x03\x00\x00", "08P01"},
		{"HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "08P01"},
		{"protocol 2", startup("\x00\x02\x00\x00user\x00postgres\x00\x00"), "0A000"},
		{"unterminated start-up packet", startup("\x00\x03\x00\x00user\x00postgres"), "08P01"},
		{"no user", startup("\x00\x03\x00\x00database\x00postgres\x00\x00"), "28000"},
		{"truncated start-up packet", hello[:20], ""},
		{"cancel request for nobody", startup("\x04\xd2\x16\x2e\x00\x00\x00\x01\xde\xad\xbe\xef"), ""},
		{"unknown message", hello + message('!', "x"), "08P01"},
		{"message shorter than its length", hello + "Q\x00\x00\x00\x02", "08P01"},
		{"message of 2 GiB", hello + "Q\x7f\xff\xff\xff", "54000"},
		{"empty query message", hello + message('Q', ""), "08P01"},
		{"parameter of length -2", hello + message('P', "\x00select $1::int\x00\x00\x00") + message('B', "\x00\x00\x00\x00\x00\x01\xff\xff\xff\xfe\x00\x00") + message('S', ""), "08P01"},
		{"more parameters than bytes", hello + message('P', "\x00select $1::int\x00\x00\x00") + message('B', "\x00\x00\x00\x00\xff\xff") + message('S', ""), "08P01"},
		{"integer of three bytes", hello + message('P', "\x00select $1::int\x00\x00\x00") + message('B', "\x00\x00\x00\x01\x00\x01\x00\x01\x00\x00\x00\x03abc\x00\x00") + message('S', ""), "08P01"},
		{"function call", hello + message('F', "\x00\x00\x00\x01"), "08P01"},
		{"COPY data without COPY", hello + message('d', "x") + message('Q', "select 1/0\x00"), "22012"},
		{"truncated query", hello + message('Q', "select 1\x00")[:8], ""},
	} {
		got, err := exchange(n.SQLAddr, tc.send)
		if err != nil || tc.code == "" && strings.Contains(got, "C08") || tc.code != "" && !strings.Contains(got, "\x00C"+tc.code+"\x00") {
			t.Errorf("%s: answer %q, %v; want %q", tc.name, got, err, tc.code)
		}
		noTrace(t, tc.name, got)
	}
	for _, noise := range []string{"GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x16\x03\x01\x00\x05hello", strings.Repeat("\x00", 5000)} {
		if _, err := exchange(n.RPCAddr, noise); err != nil {
			t.Errorf("node port, %.10q: %v", noise, err)
		}
	}
}

// exchange sends bytes, says that there are no more, and returns everything that comes back.
func exchange(addr, send string) (string, error) {
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(conn, send); err != nil {
		return "", err
	}
	conn.(*net.TCPConn).CloseWrite() // An error means that the other end has closed already.
	b, err := io.ReadAll(conn)
	if opErr := (*net.OpError)(nil); errors.As(err, &opErr) && !opErr.Timeout() {
		err = nil // a reset: what we sent was not all read
	}
	return string(b), err
}

func lastLine(out string) string {
	out = strings.TrimRight(out, "\n")
	return out[strings.LastIndexByte(out, '\n')+1:]
}

func copyStore(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

func edit(t *testing.T, path string, f func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, f(b), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// tree lists a directory's files with their sizes.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		fmt.Fprintln(&b, path, info.Size(), info.ModTime().UnixNano())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
