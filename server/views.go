package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/server/rpc"
	"github.com/meridian-db/meridian/sql/pgcatalog"
	"github.com/meridian-db/meridian/sql/tablestats"
	"github.com/meridian-db/meridian/truetime"
)

// The cluster-wide system views ask every connected node for its rows. A node that does not answer in time is left
// out: a view over a cluster with a dead node must still work.

const viewTimeout = 2 * time.Second

// Kinds of rows, the byte after opView.
const (
	viewActivity   byte = 'a'
	viewRanges     byte = 'r'
	viewLocks      byte = 'l'
	viewTxns       byte = 't'
	viewStatements byte = 's'
	viewConsole    byte = 'c'
	viewPlacement  byte = 'p'
	viewLoads      byte = 'n'
	viewReplicas   byte = 'R'
	viewTables     byte = 'T'
	viewDatabases  byte = 'D'
	viewSizes      byte = 'S'
)

// providers is what this node offers to system views.
func (s *Server) providers() *pgcatalog.Providers {
	return &pgcatalog.Providers{
		AuthRules: s.authRuleRows,
		Clock:     s.clock.Status,
		ClockNode: uint64(s.identity.NodeID),
		Nodes:     s.nodeRows,
		Activity: func(ctx context.Context) ([]pgcatalog.Activity, error) {
			return gather(ctx, s, viewActivity, s.activityRows)
		},
		Ranges: func(ctx context.Context) ([]pgcatalog.Range, error) { return gather(ctx, s, viewRanges, s.rangeRows) },
		Replicas: func(ctx context.Context) ([]pgcatalog.Replica, error) {
			return gather(ctx, s, viewReplicas, s.replicaRows)
		},
		Transactions: s.transactionRows,
		Placement:    s.placementRows,
		Locks:        func(ctx context.Context) ([]pgcatalog.Lock, error) { return gather(ctx, s, viewLocks, s.lockRows) },
		Statements: func(ctx context.Context) ([]pgcatalog.Statement, error) {
			return gather(ctx, s, viewStatements, s.statementRows)
		},
		TableStats: func(ctx context.Context) ([]tablestats.Table, error) {
			return gather(ctx, s, viewTables, s.tableRows)
		},
		DatabaseStats: func(ctx context.Context) ([]tablestats.Database, error) {
			return gather(ctx, s, viewDatabases, s.databaseRows)
		},
		ResetStats: s.resetStats,
		Sizes: func(ctx context.Context) ([]pgcatalog.StorageSize, error) {
			return gather(ctx, s, viewSizes, s.storageSizes)
		},
	}
}

// gather collects the rows of all nodes, this one's first, then by id.
func gather[T any](ctx context.Context, s *Server, kind byte, own func() []T) ([]T, error) {
	ctx, cancel := context.WithTimeout(ctx, viewTimeout)
	defer cancel()
	var peers []ranges.NodeID
	for _, n := range s.registry.list() {
		if n.ID != s.identity.NodeID && s.rpc.Connected(n.ID) {
			peers = append(peers, n.ID)
		}
	}
	parts := make([][]T, len(peers))
	var wg sync.WaitGroup
	for i, id := range peers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			b, err := s.rpc.Call(ctx, id, rpc.ServiceServer, []byte{opView, kind})
			if err == nil {
				err = json.Unmarshal(b, &parts[i])
			}
			if err != nil {
				s.log.Warn("a node did not answer for a system view", "peer", id, "err", err)
			}
		}()
	}
	rows := own()
	wg.Wait()
	for _, p := range parts {
		rows = append(rows, p...)
	}
	return rows, nil
}

// handleView answers gather.
func (s *Server) handleView(payload []byte) ([]byte, error) {
	if len(payload) != 1 || s.core == nil {
		return nil, errUnknownOp
	}
	switch payload[0] {
	case viewActivity:
		return json.Marshal(s.activityRows())
	case viewRanges:
		return json.Marshal(s.rangeRows())
	case viewReplicas:
		return json.Marshal(s.replicaRows())
	case viewLocks:
		return json.Marshal(s.lockRows())
	case viewTxns:
		return json.Marshal(s.txnParts())
	case viewStatements:
		return json.Marshal(s.statementRows())
	case viewPlacement:
		return json.Marshal(s.decisions())
	case viewLoads:
		return json.Marshal([]map[ranges.NodeID]ranges.NodeLoad{s.ownLoads()})
	case viewTables:
		return json.Marshal(s.tableRows())
	case viewDatabases:
		return json.Marshal(s.databaseRows())
	case viewSizes:
		return json.Marshal(s.storageSizes())
	case viewConsole:
		return json.Marshal(s.consoleRows())
	}
	return nil, errUnknownOp
}

func (s *Server) statementRows() []pgcatalog.Statement {
	all, since := s.core.SQL.Statements().Snapshot()
	rows := make([]pgcatalog.Statement, len(all))
	for i := range all {
		rows[i] = pgcatalog.Statement{Node: uint64(s.identity.NodeID), Since: since, Totals: all[i]}
	}
	return rows
}

func (s *Server) tableRows() []tablestats.Table { return s.core.SQL.TableStats() }

func (s *Server) databaseRows() []tablestats.Database { return s.core.SQL.DatabaseStats() }

// resetStats has all nodes forget what they have counted in a database. One that cannot be reached keeps its counts.
func (s *Server) resetStats(ctx context.Context, database uint32) error {
	ctx, cancel := context.WithTimeout(ctx, viewTimeout)
	defer cancel()
	s.core.SQL.ResetStats(database)
	var wg sync.WaitGroup
	for _, n := range s.registry.list() {
		if n.ID == s.identity.NodeID || !s.rpc.Connected(n.ID) {
			continue
		}
		wg.Go(func() {
			if _, err := s.rpc.Call(ctx, n.ID, rpc.ServiceServer, binary.BigEndian.AppendUint32([]byte{opReset}, database)); err != nil {
				s.log.Warn("a node has not reset its counters", "peer", n.ID, "err", err)
			}
		})
	}
	wg.Wait()
	return nil
}

// handleReset answers resetStats.
func (s *Server) handleReset(b []byte) ([]byte, error) {
	if len(b) != 4 || !s.serving() {
		return nil, errUnknownOp
	}
	s.core.SQL.ResetStats(binary.BigEndian.Uint32(b))
	return nil, nil
}

func (s *Server) activityRows() []pgcatalog.Activity { return s.core.SQL.Activity() }

func (s *Server) nodeRows(ctx context.Context) ([]pgcatalog.Node, error) {
	var rows []pgcatalog.Node
	loads := s.nodeLoads(ctx)
	version := s.registry.version()
	live := map[ranges.NodeID]bool{}
	for _, n := range s.registry.Nodes() {
		live[n.ID] = n.Live
	}
	for _, n := range s.registry.list() {
		row := pgcatalog.Node{ID: uint64(n.ID), Address: n.RPCAddr, SQLAddress: n.SQLAddr, Region: n.Region, Zone: n.Zone,
			Version: n.Build, Live: live[n.ID], Draining: n.Draining, Started: truetime.Timestamp(n.Version).Time(), ClusterVersion: int64(max(version, 1))}
		oldest, newest := n.supports()
		row.Oldest, row.Newest = int64(oldest), int64(newest)
		switch row.State = string(s.registry.member(n.ID)); {
		case row.State != "":
		case !row.Live && s.registry.replaced(n):
			row.State = "lost"
		default:
			row.State = "active"
		}
		if at := s.registry.downSince(n.ID); at != 0 {
			row.Down = at.Time()
		}
		if loads != nil {
			l := loads[n.ID]
			row.Held = &pgcatalog.NodeHeld{Replicas: int64(l.Replicas), Leaders: int64(l.Leaders), Bytes: l.Bytes, Load: l.Load}
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// ownLoads is what this node knows of what nodes hold: nothing, unless it decides about placement.
func (s *Server) ownLoads() map[ranges.NodeID]ranges.NodeLoad {
	loads, _ := s.core.Store.NodeLoads()
	return loads
}

// nodeLoads asks all nodes for what nodes hold. One of them knows; nil when none does, as just after it has changed.
func (s *Server) nodeLoads(ctx context.Context) map[ranges.NodeID]ranges.NodeLoad {
	if own := s.ownLoads(); own != nil {
		return own
	}
	all, err := gather(ctx, s, viewLoads, func() []map[ranges.NodeID]ranges.NodeLoad { return nil })
	if err != nil {
		return nil
	}
	for _, loads := range all {
		if loads != nil {
			return loads
		}
	}
	return nil
}

// placementRows is what the nodes that have decided about placement remember of it, in order.
func (s *Server) placementRows(ctx context.Context) ([]pgcatalog.PlacementDecision, error) {
	rows, err := gather(ctx, s, viewPlacement, s.decisions)
	slices.SortStableFunc(rows, func(a, b pgcatalog.PlacementDecision) int { return a.Time.Compare(b.Time) })
	return rows, err
}

func (s *Server) decisions() []pgcatalog.PlacementDecision {
	var rows []pgcatalog.PlacementDecision
	for _, d := range s.core.Store.PlacementLog() {
		rows = append(rows, pgcatalog.PlacementDecision{Time: d.Time.Time(), Node: uint64(s.identity.NodeID), Range: uint64(d.Range), Action: d.Kind,
			Change: d.Change, Reason: d.Reason, Outcome: d.Outcome, Took: d.Took})
	}
	return rows
}

// replicaRows are the replicas on this node.
func (s *Server) replicaRows() []pgcatalog.Replica {
	var rows []pgcatalog.Replica
	now := s.clock.Now().Latest
	for _, r := range s.core.Store.Replicas() {
		st := r.Status()
		row := pgcatalog.Replica{Range: uint64(st.Desc.ID), Node: uint64(s.identity.NodeID), Region: s.cfg.Region, Zone: s.cfg.Zone, Role: "follower",
			Start: printKey(st.Desc.Start), End: printKey(st.Desc.End), Tablespace: r.Policy().Name, SizeBytes: st.SizeBytes, Requests: r.Load(), Applied: st.Applied,
			SafeTime: st.SafeTime, SafeTimeLag: now.Sub(st.SafeTime)}
		if rd, ok := st.Desc.ReplicaOn(s.identity.NodeID); ok && rd.Type == ranges.Learner {
			row.Role = "learner"
		}
		if st.IsLeader {
			row.Role = "leader"
		}
		row.Checked, row.Problem = r.Checked()
		if st.Failed != nil {
			row.SafeTimeLag, row.Problem = 0, st.Failed.Error()
		}
		rows = append(rows, row)
	}
	return rows
}

// rangeRows are the ranges led by this node: each range is listed once, by the replica that knows most. Ranges
// without a leader are listed by their first replica that can be asked.
func (s *Server) rangeRows() []pgcatalog.Range {
	var rows []pgcatalog.Range
	now := s.clock.Now().Latest
	for _, st := range s.core.Store.Status() {
		if st.Desc == nil || !st.IsLeader && st.Leader != 0 {
			continue
		}
		r := pgcatalog.Range{ID: uint64(st.Desc.ID), Start: printKey(st.Desc.Start), End: printKey(st.Desc.End), Table: s.tableAt(st.Desc.Start), Leader: uint64(st.Leader),
			LeaseUntil: st.LeaseUntil, Generation: st.Desc.Generation, SizeBytes: st.SizeBytes, LogBytes: st.LogBytes, Applied: st.Applied,
			Closed: st.Closed, SafeTimeLag: now.Sub(st.SafeTime), Quiesced: st.Quiesced, Node: uint64(s.identity.NodeID)}
		pol, _ := s.core.Store.PolicyAt(st.Desc.Start)
		r.Wanted = pol.Replicas
		for _, rep := range st.Desc.Replicas {
			if rep.Type == ranges.Learner {
				r.Learners = append(r.Learners, int64(rep.Node))
			} else {
				r.Replicas = append(r.Replicas, int64(rep.Node))
			}
		}
		for _, n := range st.Behind {
			r.Behind = append(r.Behind, int64(n))
		}
		rows = append(rows, r)
	}
	return rows
}

// tableAt names the table that a key belongs to, with its schema unless that is public, and its database unless that is
// postgres; "" for keys of no table. A table interleaved into another has its keys.
func (s *Server) tableAt(key []byte) string {
	if len(key) < 5 || key[0] != 0x03 || !s.serving() { // before it serves a node has no catalog
		return ""
	}
	snap := s.core.Catalog.Snapshot(0)
	id := binary.BigEndian.Uint32(key[1:])
	if db := snap.DatabaseByID(id); db != nil {
		return "large objects of " + db.Name
	}
	t := snap.TableByID(id)
	if t == nil {
		return ""
	}
	name := t.Name
	if schema := snap.SchemaByID(t.Schema); schema != nil {
		if schema.Name != "public" {
			name = schema.Name + "." + name
		}
		if db := snap.DatabaseByID(schema.DB); db != nil && db.Name != "postgres" {
			name = db.Name + ": " + name
		}
	}
	return name
}

const maxLockRows = 10000

func (s *Server) lockRows() []pgcatalog.Lock {
	var rows []pgcatalog.Lock
	for id, locks := range s.core.Participants.Locks(maxLockRows) {
		for _, l := range locks {
			key := printKey(l.Start)
			if l.End != nil {
				key = fmt.Sprintf("[%s, %s)", key, printKey(l.End))
			}
			rows = append(rows, pgcatalog.Lock{Node: uint64(s.identity.NodeID), Range: uint64(id), Key: key, Mode: fmt.Sprint(l.Mode),
				Transaction: hex.EncodeToString(l.Txn[:]), Granted: !l.Waiting})
			if len(rows) >= maxLockRows {
				return rows
			}
		}
	}
	return rows
}

// printKey makes a key readable: its key space, the table and index of rows, the rest in hexadecimal.
func printKey(k []byte) string {
	switch {
	case len(k) == 0:
		return ""
	case k[0] == 0x03 && len(k) >= 7:
		s := fmt.Sprintf("/table/%d/%d", binary.BigEndian.Uint32(k[1:]), binary.BigEndian.Uint16(k[5:]))
		if len(k) > 7 {
			s += "/" + hex.EncodeToString(k[7:])
		}
		return s
	case k[0] == 0x03 && len(k) == 5:
		return fmt.Sprintf("/table/%d", binary.BigEndian.Uint32(k[1:]))
	case bytes.Equal(k, []byte{0x01}):
		return "/min"
	case bytes.Equal(k, []byte{0xff}):
		return "/max"
	case k[0] == 0x01:
		return "/meta/" + hex.EncodeToString(k[1:])
	case k[0] == 0x02:
		return "/system/" + hex.EncodeToString(k[1:])
	case bytes.Equal(k, []byte{0x03}):
		return "/table"
	}
	return "/" + hex.EncodeToString(k)
}
