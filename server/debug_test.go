package server

import (
	"archive/zip"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestDebugZip: one node's archive has every node's part, says what is missing and why, and holds no literals.
func TestDebugZip(t *testing.T) {
	d := startDemo(t, t.TempDir())
	defer d.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, text := range []string{"create table seen (a int primary key, b text)", "insert into seen values (1, 'hidden')"} {
		if err := d.Servers[1].core.SQL.Exec(ctx, "postgres", text, nil); err != nil {
			t.Fatal(err)
		}
	}
	archive := func(query string) map[string]string {
		t.Helper()
		resp, body := fetch(t, "http://"+d.Servers[0].HTTPAddr()+"/debug/zip"+query)
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", resp.Status, body)
		}
		z, err := zip.NewReader(bytes.NewReader([]byte(body)), int64(len(body)))
		if err != nil {
			t.Fatal(err)
		}
		files := map[string]string{}
		for _, f := range z.File {
			r, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			files[f.Name] = string(b)
			if strings.Contains(string(b), "hidden") && !strings.HasSuffix(f.Name, ".pprof") {
				t.Errorf("%s shows a literal", f.Name)
			}
		}
		return files
	}
	files := archive("")
	for _, node := range []string{"node-1/", "node-2/", "node-3/"} {
		for file, want := range map[string]string{"status.json": `"state": "serving"`, "log.txt": "node is serving", "metrics.txt": "meridian_range_replicas",
			"goroutines.txt": "goroutine profile:", "heap.pprof": "", "replicas.json": `"Applied"`, "cpu.pprof.error.txt": "not asked for"} {
			if got, ok := files[node+file]; !ok || !strings.Contains(got, want) {
				t.Errorf("%s%s: %t, no %q in it", node, file, ok, want)
			}
		}
	}
	for file, want := range map[string]string{"cluster/ranges.json": `"leader"`, "cluster/statements.json": "insert into seen", "cluster/nodes.json": `"settings"`,
		"cluster/jobs.json": "", "cluster/placement_log.json": "", "summary.txt": "node-1/cpu.pprof: not asked for"} {
		if got, ok := files[file]; !ok || !strings.Contains(got, want) {
			t.Errorf("%s: %t, no %q in it", file, ok, want)
		}
	}
	if resp, _ := fetch(t, "http://"+d.Servers[0].HTTPAddr()+"/debug/zip?cpu=2h"); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("a profile of two hours: %s", resp.Status)
	}

	if err := d.Servers[2].Stop(); err != nil {
		t.Fatal(err)
	}
	files = archive("")
	if s := files["summary.txt"]; !strings.Contains(s, "node-3/") || !strings.Contains(files["node-2/status.json"], "serving") {
		t.Errorf("with a node missing:\n%s", s)
	}
}

// TestRecentLog: what a node remembers of its log is bounded, the newest lines, of info and above, whatever is shown.
func TestRecentLog(t *testing.T) {
	var l recentLog
	var shown bytes.Buffer
	log := slog.New(l.tee(slog.NewTextHandler(&shown, &slog.HandlerOptions{Level: slog.LevelError})))
	log.Debug("quiet")
	log.With("node", 7).WithGroup("g").Info("kept", "k", 1)
	if got := string(l.text()); !strings.Contains(got, "msg=kept node=7 g.k=1") || strings.Contains(got, "quiet") {
		t.Errorf("remembered %q", got)
	}
	if shown.Len() != 0 {
		t.Errorf("shown %q", shown.String())
	}
	line := strings.Repeat("x", 1000)
	for range 2 * recentLogBytes / 1000 {
		log.Error(line)
	}
	if got := l.text(); len(got) > recentLogBytes || len(got) < recentLogBytes/2 || bytes.Contains(got, []byte("kept")) {
		t.Errorf("%d bytes are remembered", len(got))
	}
}
