package server

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/expfmt"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/server/rpc"
)

// GET /debug/zip is one archive of what an engineer needs to find out what a cluster does, or does not: the answering
// node asks all others over the nodes' own connections, so that it needs neither SQL nor a quorum. What cannot be
// had is in the archive as the reason why. It has no rows, no literals of statements and no secrets.

// debugTimeout bounds what one part of one node may take, besides a profile's own time.
const debugTimeout = 10 * time.Second

// maxDebugCPU bounds the CPU profile.
const maxDebugCPU = time.Minute

// debugPart is a file of each node. Its index goes with opDebug.
type debugPart struct {
	file string
	make func(s *Server, ctx context.Context, cpu time.Duration) ([]byte, error)
}

// debugParts are in the order of what is most wanted. Builds of several versions may ask each other: new parts come last.
var debugParts = []debugPart{
	{"status.json", func(s *Server, _ context.Context, _ time.Duration) ([]byte, error) { return s.debugStatus() }},
	{"log.txt", func(s *Server, _ context.Context, _ time.Duration) ([]byte, error) { return s.recent.text(), nil }},
	{"metrics.txt", func(s *Server, _ context.Context, _ time.Duration) ([]byte, error) { return s.debugMetrics() }},
	{"goroutines.txt", func(*Server, context.Context, time.Duration) ([]byte, error) { return profile("goroutine", 1) }},
	{"heap.pprof", func(*Server, context.Context, time.Duration) ([]byte, error) { return profile("heap", 0) }},
	{"cpu.pprof", func(_ *Server, ctx context.Context, cpu time.Duration) ([]byte, error) { return cpuProfile(ctx, cpu) }},
	{"replicas.json", func(s *Server, _ context.Context, _ time.Duration) ([]byte, error) {
		if s.started() == nil {
			return nil, errNotYet
		}
		return json.MarshalIndent(s.core.Store.Status(), "", " ")
	}},
}

// started returns the database once the node has opened it, nil before.
func (s *Server) started() *Core {
	if st := nodeState(s.state.Load()); st != stateServing && st != stateDraining {
		return nil
	}
	return s.core
}

// known returns the node's id, zero before it has joined.
func (s *Server) known() ranges.NodeID {
	if nodeState(s.state.Load()) < stateStarting {
		return 0
	}
	return s.identity.NodeID
}

// debugStatus describes the node without asking its database.
func (s *Server) debugStatus() ([]byte, error) {
	st := s.clock.Status()
	oldest, newest := SupportedVersions()
	out := map[string]any{
		"node": s.known(), "state": nodeState(s.state.Load()).String(), "build": Version, "go": runtime.Version(),
		"platform": runtime.GOOS + "/" + runtime.GOARCH, "cpus": runtime.GOMAXPROCS(0), "goroutines": runtime.NumGoroutine(),
		"cluster_version": s.registry.version(), "supports": []ClusterVersion{oldest, newest}, "settings": s.settings(), "clock": st,
		"host_time": time.Now().UTC(), "nodes": s.registry.list(),
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, b := range info.Settings {
			if b.Key == "vcs.revision" || b.Key == "vcs.modified" {
				out[b.Key] = b.Value
			}
		}
	}
	if err := s.health(); err != nil {
		out["problem"] = err.Error()
	}
	if u, err := s.cfg.FS.GetDiskUsage(s.cfg.Store); err == nil {
		out["disk"] = u
	}
	return json.MarshalIndent(out, "", " ")
}

func (s *Server) debugMetrics() ([]byte, error) {
	families, err := s.reg.Gather()
	var b bytes.Buffer
	for _, f := range families {
		if _, werr := expfmt.MetricFamilyToText(&b, f); werr != nil {
			return nil, werr
		}
	}
	if b.Len() > 0 {
		err = nil // what could be gathered is there
	}
	return b.Bytes(), err
}

func profile(name string, debug int) ([]byte, error) {
	var b bytes.Buffer
	err := pprof.Lookup(name).WriteTo(&b, debug)
	return b.Bytes(), err
}

func cpuProfile(ctx context.Context, d time.Duration) ([]byte, error) {
	if d <= 0 {
		return nil, errors.New("not asked for")
	}
	var b bytes.Buffer
	if err := pprof.StartCPUProfile(&b); err != nil {
		return nil, fmt.Errorf("%w (the nodes of a demo are one process, whose profile is with one of them)", err)
	}
	timer := time.NewTimer(min(d, maxDebugCPU))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	pprof.StopCPUProfile()
	return b.Bytes(), ctx.Err()
}

// debugAsk is what follows opDebug.
type debugAsk struct {
	Part int           `json:"part"`
	CPU  time.Duration `json:"cpu"`
}

// handleDebug makes one part of this node.
func (s *Server) handleDebug(ctx context.Context, payload []byte) ([]byte, error) {
	var a debugAsk
	if err := json.Unmarshal(payload, &a); err != nil || a.Part < 0 || a.Part >= len(debugParts) {
		return nil, errUnknownOp
	}
	return debugParts[a.Part].make(s, ctx, a.CPU)
}

// debugFile is a file of the archive, or why there is none.
type debugFile struct {
	name string
	data []byte
	err  error
}

// debugZip serves the archive; ?cpu=5s is how long the CPU profiles take, 0 for none.
func (s *Server) debugZip(w http.ResponseWriter, r *http.Request) {
	cpu := time.Duration(0)
	if v := r.URL.Query().Get("cpu"); v != "" {
		var err error
		if cpu, err = time.ParseDuration(v); err != nil || cpu < 0 || cpu > maxDebugCPU {
			http.Error(w, fmt.Sprintf("cpu=%s: give a duration from 0 to %s", v, maxDebugCPU), http.StatusBadRequest)
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), cpu+2*debugTimeout)
	defer cancel()
	files := append(s.debugCluster(ctx), s.debugNodes(ctx, cpu)...)
	w.Header().Set("Content-Type", "application/zip")
	w.Header().Set("Content-Disposition", `attachment; filename="meridian-debug.zip"`)
	w.Header().Set("Cache-Control", "no-store")
	if err := writeDebugZip(w, files, time.Now()); err != nil {
		s.log.Warn("the reader of a debug archive has gone", "err", err)
	}
}

// debugCluster is what the cluster's views say, as the console shows it: without literals and secrets.
func (s *Server) debugCluster(ctx context.Context) []debugFile {
	ctx, cancel := context.WithTimeout(ctx, debugTimeout)
	defer cancel()
	c, err := consoleSource{s}.Cluster(ctx)
	if err != nil {
		return []debugFile{{name: "cluster.json", err: err}}
	}
	var out []debugFile
	for _, part := range []struct {
		name string
		v    any
	}{
		{"nodes", c.Nodes}, {"ranges", c.Ranges}, {"statements", c.Statements}, {"transactions", c.Transactions}, {"locks", c.Locks},
		{"sessions", c.Sessions}, {"jobs", c.Jobs}, {"placement_log", c.Decisions},
	} {
		b, err := json.MarshalIndent(part.v, "", " ")
		out = append(out, debugFile{"cluster/" + part.name + ".json", b, err})
	}
	return out
}

// debugNodes asks every node for its parts, all nodes at once.
func (s *Server) debugNodes(ctx context.Context, cpu time.Duration) []debugFile {
	self := s.known()
	ids := []ranges.NodeID{self}
	for _, n := range s.registry.list() {
		if n.ID != self && s.registry.member(n.ID) != memberDecommissioned {
			ids = append(ids, n.ID)
		}
	}
	perNode := make([][]debugFile, len(ids))
	var wg sync.WaitGroup
	for i, id := range ids {
		wg.Add(1)
		go func() {
			defer wg.Done()
			perNode[i] = s.debugNode(ctx, id, cpu)
		}()
	}
	wg.Wait()
	var out []debugFile
	for _, files := range perNode {
		out = append(out, files...)
	}
	return out
}

func (s *Server) debugNode(ctx context.Context, id ranges.NodeID, cpu time.Duration) []debugFile {
	dir := fmt.Sprintf("node-%d/", id)
	var out []debugFile
	for i, part := range debugParts {
		limit := debugTimeout
		if part.file == "cpu.pprof" {
			limit += cpu
		}
		var b []byte
		var err error
		pctx, cancel := context.WithTimeout(ctx, limit)
		switch st := nodeState(s.state.Load()); {
		case id == s.known():
			b, err = part.make(s, pctx, cpu)
		case st < stateStarting || !s.rpc.Connected(id):
			cancel()
			return append(out, debugFile{name: dir + "answer", err: errors.New("the node is not connected: it is down, or the network to it is")})
		default:
			ask, _ := json.Marshal(debugAsk{i, cpu}) // of two numbers
			b, err = s.rpc.Call(pctx, id, rpc.ServiceServer, append([]byte{opDebug}, ask...))
		}
		cancel()
		out = append(out, debugFile{dir + part.file, b, err})
	}
	return out
}

// writeDebugZip writes the files, beside each that is missing NAME.error.txt, and summary.txt with all reasons.
func writeDebugZip(w http.ResponseWriter, files []debugFile, now time.Time) error {
	z := zip.NewWriter(w)
	add := func(name string, data []byte) error {
		f, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: now})
		if err != nil {
			return err
		}
		_, err = f.Write(data)
		return err
	}
	var missing []string
	for _, f := range files {
		if f.err != nil {
			missing = append(missing, fmt.Sprintf("%s: %v", f.name, f.err))
			f.name, f.data = f.name+".error.txt", []byte(f.err.Error()+"\n")
		}
		if err := add(f.name, f.data); err != nil {
			return err
		}
	}
	text := fmt.Sprintf("Made at %s by build %s.\n", now.UTC().Format(time.RFC3339), Version)
	if len(missing) == 0 {
		text += "Nothing is missing.\n"
	} else {
		text += "Missing:\n  " + strings.Join(missing, "\n  ") + "\n"
	}
	if err := add("summary.txt", []byte(text)); err != nil {
		return err
	}
	return z.Close()
}
