package server

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/meridian-db/meridian/server/console"
)

func fetch(t *testing.T, url string) (*http.Response, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// TestConsole: the page and its files are served under a policy that lets nothing else in, and its document
// describes every node, from whichever node it is asked. Chromium, where there is one, draws it.
func TestConsole(t *testing.T) {
	d := startDemo(t, t.TempDir())
	defer d.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, text := range []string{"create table seen (a int primary key, b text)", "insert into seen values (1, 'hidden'), (2, 'hidden')"} {
		if err := d.Servers[1].core.SQL.Exec(ctx, "postgres", text, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range d.Servers {
		base := "http://" + s.HTTPAddr()
		resp, page := fetch(t, base+"/")
		policy := resp.Header.Get("Content-Security-Policy")
		if resp.StatusCode != http.StatusOK || !strings.Contains(page, "<title>Meridian</title>") || !strings.HasPrefix(policy, "default-src 'none'") {
			t.Errorf("page: %s, policy %q\n%s", resp.Status, policy, page)
		}
		for path, mime := range map[string]string{"/console.js": "text/javascript", "/console.css": "text/css"} {
			if resp, _ := fetch(t, base+path); resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), mime) {
				t.Errorf("%s: %s, %s", path, resp.Status, resp.Header.Get("Content-Type"))
			}
		}
		if resp, _ := fetch(t, base+"/nothing"); resp.StatusCode != http.StatusNotFound {
			t.Errorf("unknown path: %s", resp.Status)
		}
		_, body := fetch(t, base+"/api/cluster")
		var c console.Cluster
		if err := json.Unmarshal([]byte(body), &c); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		if len(c.Nodes) != 3 || c.Node != uint64(s.NodeID()) || len(c.Ranges) < 2 || strings.Contains(body, "hidden") {
			t.Errorf("node %d describes %s", s.NodeID(), body)
		}
		for _, n := range c.Nodes {
			if !n.Answered || !n.Live || !n.Clock.Synced || n.Clock.Bound <= 0 || len(n.Clock.Sources) == 0 || n.Metrics["process_cpu_seconds_total"] == 0 || len(n.Peers) != 2 {
				t.Errorf("node %d says of node %d: %+v", s.NodeID(), n.ID, n)
			}
		}
		found := false
		for _, st := range c.Statements {
			found = found || st.Text == "insert into seen values ($1, $2), ($3, $4)" && st.Calls == 1 && st.Rows == 2 && st.Mean > 0
		}
		if !found {
			t.Errorf("node %d does not know the statement: %+v", s.NodeID(), c.Statements)
		}
	}
	t.Run("names", func(t *testing.T) { names(t, ctx, d.Servers[0]) })
	t.Run("chromium", func(t *testing.T) { draw(t, d) })
}

// names: ranges and locks are told by their tables.
func names(t *testing.T, ctx context.Context, s *Server) {
	for _, text := range []string{"create schema other", "create table other.named (a int primary key, b int)", "create index named_b on other.named (b)"} {
		if err := s.core.SQL.Exec(ctx, "postgres", text, nil); err != nil {
			t.Fatal(err)
		}
	}
	snap := s.core.Catalog.Snapshot(0)
	table := snap.InDatabase(snap.DatabaseByName("postgres").ID).ResolveTable(nil, "other", "named")
	if table == nil {
		t.Fatal("the table is not in the catalog")
	}
	key := func(index uint16) []byte {
		return append(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32([]byte{0x03}, table.ID), index), 0x81, 0x01)
	}
	if got := s.tableAt(key(1)); got != "other.named" {
		t.Errorf("a range's table: %q", got)
	}
	if got := s.tableAt([]byte{0x02, 0, 0, 0, 1, 0, 1}); got != "" {
		t.Errorf("the table of a system key: %q", got)
	}
	locked := fmt.Sprintf("[%s, %s)", printKey(key(table.Primary.ID)), printKey(key(table.Indexes[0].ID)))
	if got := nameKey(snap, locked); got != "[named/8101, named_b/8101)" {
		t.Errorf("a lock's key: %q of %q", got, locked)
	}
}

// draw has a browser run the page, each view of it, and looks at what it made.
func draw(t *testing.T, d *Demo) {
	browser, err := exec.LookPath("chromium")
	if err != nil || testing.Short() {
		t.Skip("needs chromium, and time")
	}
	for view, want := range map[string][]string{
		"overview":     {"all is well", "3 of 3 live", "all replicated", "us-east", "serving", `class="land"`},
		"time":         {"What each node knows of the time", "of at most", "serving by its clock", `class="interval"`, "127.0.0.1:"},
		"ranges":       {"Key space:", "leads", "Safe time behind", "<canvas", "system"},
		"statements":   {"insert into seen values ($1, $2), ($3, $4)", "create table seen", "waiting for locks"},
		"transactions": {"no client is connected", "no transaction waits for a lock"},
		"jobs":         {"There are no jobs"},
		"placement":    {"What has been decided", "meridian.placement_log"},
		"settings":     {"How the nodes were started", "--max-clock-uncertainty", "50ms", "Of each node"},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		cmd := exec.CommandContext(ctx, browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr",
			"--user-data-dir="+t.TempDir(), "--virtual-time-budget=4000", "--dump-dom", "http://"+d.Servers[0].HTTPAddr()+"/#"+view)
		var log strings.Builder
		cmd.Stderr = &log
		dom, err := cmd.Output()
		cancel()
		if err != nil {
			t.Fatalf("%v\n%s", err, log.String())
		}
		for _, text := range want {
			if !strings.Contains(string(dom), text) {
				t.Errorf("view %s lacks %q:\n%s", view, text, dom)
			}
		}
		for line := range strings.Lines(log.String()) {
			if strings.Contains(line, "CONSOLE") {
				t.Errorf("view %s: %s", view, line)
			}
		}
	}
}
