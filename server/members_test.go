package server

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	ranges "github.com/meridian-db/meridian/range"
)

// A node is taken out of a cluster of four: its replicas go elsewhere, it ends, its store is refused. Then no other can
// be spared.
func TestDecommission(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	d, err := StartDemo(ctx, DemoConfig{Regions: []string{"east", "west"}, NodesPerRegion: 2, SQLAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", Data: dir, Logger: testLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Stop()
	conn, err := pgx.Connect(ctx, "postgres://postgres@"+d.Servers[0].SQLAddr()+"/postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	var answer string
	ask := func(f string, node int) error {
		return conn.QueryRow(ctx, "select meridian."+f+"($1)", node).Scan(&answer)
	}
	code := func(err error) string {
		var pe *pgconn.PgError
		errors.As(err, &pe)
		return pe.Code
	}
	if err := ask("decommission_node", 9); code(err) != "42704" {
		t.Errorf("an unknown node: %v", err)
	}
	if err := ask("decommission_node", 2); err != nil || !strings.HasPrefix(answer, "node 2 is being decommissioned") {
		t.Fatalf("%q, %v", answer, err)
	}
	leaving := d.Servers[1]
	select {
	case <-leaving.Failed():
	case <-time.After(40 * time.Second):
		t.Fatal("the node does not end")
	}
	if err := leaving.Failure(); !strings.Contains(err.Error(), "has been decommissioned") {
		t.Errorf("it ended by %v", err)
	}
	if n := len(leaving.core.Store.Replicas()); n != 0 {
		// What it holds is what it has not been told yet; nobody counts on it.
		for _, st := range leaving.core.Store.Status() {
			for _, s := range d.Servers {
				if r, ok := s.core.Store.Replica(st.Desc.ID); ok && r.Lease().Holder == s.NodeID() {
					if _, in := r.Desc().ReplicaOn(2); in {
						t.Errorf("%s is still on node 2: %s", r.ID(), r.Desc())
					}
				}
			}
		}
	}
	var state string
	if err := conn.QueryRow(ctx, "select state from meridian.nodes where node_id = 2").Scan(&state); err != nil || state != "decommissioned" {
		t.Errorf("state %q, %v", state, err)
	}
	var why string
	if err := conn.QueryRow(ctx, "select reason from meridian.placement_log where reason like '%n2 is being decommissioned' and outcome = 'done' limit 1").Scan(&why); err != nil {
		t.Errorf("the log of placement: %v", err)
	}
	if err := ask("decommission_node", 3); code(err) != "55000" || !strings.Contains(err.Error(), "without it 2 nodes") {
		t.Errorf("three voters on two nodes: %q, %v", answer, err)
	}
	if err := ask("recommission_node", 2); code(err) != "55000" {
		t.Errorf("it was called back: %v", err)
	}
	cfg := leaving.cfg
	cfg.Listeners = Listeners{}
	cfg.SQLAddr, cfg.RPCAddr, cfg.HTTPAddr, cfg.AdvertiseRPCAddr = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", ""
	if err := leaving.Stop(); err != nil {
		t.Error(err)
	}
	if s, err := New(cfg); err == nil || !strings.Contains(err.Error(), "has been decommissioned") {
		if s != nil {
			s.Stop()
		}
		t.Errorf("the store was taken again: %v", err)
	}
}

// A build that does not know the cluster's version is refused, and says why.
func TestVersionGate(t *testing.T) {
	for _, c := range []struct {
		oldest, newest, cluster ClusterVersion
		want                    string
	}{
		{1, 2, 0, ""}, {1, 2, 1, ""}, {1, 2, 2, ""}, {1, 1, 2, "too old"}, {3, 4, 2, "too new"}, {2, 3, 3, ""},
	} {
		err := fits(c.oldest, c.newest, c.cluster)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("versions %d to %d at %d: %v", c.oldest, c.newest, c.cluster, err)
		}
	}
}

// Replicas are compared when the cluster is at a version that knows the command, not before.
func TestChecksWaitForVersion(t *testing.T) {
	startNode(t, func(c *Config) { c.Insecure = true }, func(s *Server) {
		s.cfg.TuneCore = func(cc *CoreConfig) {
			r := s.registry
			before := r.version()
			for v, want := range map[ClusterVersion]bool{1: false, versionChecks - 1: false, versionChecks: true} {
				r.mu.Lock()
				r.mu.version = v
				r.mu.Unlock()
				if cc.MayCheck() != want {
					t.Errorf("at version %d, checks: %v", v, !want)
				}
			}
			r.mu.Lock()
			r.mu.version = before
			r.mu.Unlock()
		}
	})
}

// Ranges are merged when the cluster is at a version that has merges, not before.
func TestMergesWaitForVersion(t *testing.T) {
	var allowed atomic.Bool
	s := startNode(t, func(c *Config) { c.Insecure = true }, func(s *Server) {
		s.cfg.TuneCore = func(cc *CoreConfig) {
			r, asked := s.registry, cc.MayMerge
			before := r.version()
			for v, want := range []bool{false, false, false, true} { // Nothing else moves the version before the core is open.
				r.mu.Lock()
				r.mu.version = ClusterVersion(v)
				r.mu.Unlock()
				if asked() != want {
					t.Errorf("at version %d, merges: %v", v, !want)
				}
			}
			r.mu.Lock()
			r.mu.version = before
			r.mu.Unlock()
			cc.MayMerge = allowed.Load
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	left, ok := s.core.Store.ReplicaForKey([]byte{0x03})
	if !ok {
		t.Fatal("no data range")
	}
	if err := left.Split(ctx, []byte{0x80}); err != nil {
		t.Fatal(err)
	}
	if err := left.Merge(ctx); !errors.Is(err, ranges.ErrNotReady) || left.Desc().Contains([]byte{0x80}) {
		t.Fatalf("merge of %s: %v", left.Desc(), err)
	}
	allowed.Store(true)
	for err := left.Merge(ctx); err != nil; err = left.Merge(ctx) {
		if ctx.Err() != nil { // the right range has no leader at first
			t.Fatal(err)
		}
		<-time.After(10 * time.Millisecond)
	}
	if !left.Desc().Contains([]byte{0x80}) {
		t.Errorf("after the merge: %s", left.Desc())
	}
}

// The cluster moves to a version when all know it: a member that is away counts, one that was replaced does not.
func TestCommonVersion(t *testing.T) {
	s := &Server{registry: newRegistry(nil, "", 1, testLogger(t))}
	rec := func(id ranges.NodeID, addr string, version int64, newest ClusterVersion) NodeRecord {
		return NodeRecord{ID: id, StoreID: string(rune('a' + id)), RPCAddr: addr, Version: version, OldestVersion: 1, NewestVersion: newest}
	}
	load := func(list ...NodeRecord) []NodeRecord {
		for _, n := range list {
			s.registry.mu.nodes[n.ID] = n
		}
		return list
	}
	for _, c := range []struct {
		list []NodeRecord
		want ClusterVersion
	}{
		{[]NodeRecord{rec(1, "x:1", 1, 2), rec(2, "x:2", 1, 2)}, 2},
		{[]NodeRecord{rec(1, "x:1", 1, 2), rec(2, "x:2", 1, 0)}, 1},
		{[]NodeRecord{rec(1, "x:1", 1, 2), rec(2, "x:2", 1, 1), rec(3, "x:2", 5, 2)}, 2},
	} {
		if got := s.commonVersion(load(c.list...)); got != c.want {
			t.Errorf("%+v: %d, want %d", c.list, got, c.want)
		}
	}
	s.registry.mu.members[2] = memberState{ID: 2, State: memberDecommissioned}
	if got := s.commonVersion(load(rec(1, "x:1", 1, 2), rec(2, "x:9", 9, 1))); got != 2 {
		t.Errorf("a decommissioned node keeps the cluster at %d", got)
	}
}

// Of two records the newer wins, a lost store's node is known by its address, and what is unknown is left alone.
func TestRegistryMembers(t *testing.T) {
	r := newRegistry(nil, "", 1, testLogger(t))
	r.mu.nodes[1] = NodeRecord{ID: 1, StoreID: "a", RPCAddr: "x:1", Version: 1}
	r.mu.nodes[2] = NodeRecord{ID: 2, StoreID: "b", RPCAddr: "x:2", Version: 1}
	r.mu.nodes[3] = NodeRecord{ID: 3, StoreID: "c", RPCAddr: "x:2", Version: 7}
	for id, want := range map[ranges.NodeID]bool{1: false, 2: true, 3: false} {
		if got := r.replaced(r.mu.nodes[id]); got != want {
			t.Errorf("%s replaced: %v", id, got)
		}
	}
	r.mu.members[2] = memberState{2, memberDecommissioned, 5}
	var ids []ranges.NodeID
	for _, n := range r.Nodes() {
		ids = append(ids, n.ID)
	}
	if len(ids) != 2 {
		t.Errorf("members: %v", ids)
	}
	if err := (memberState{2, "banished", 6}).check(); err == nil {
		t.Error("an unknown state was taken")
	}
}
