package server

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/server/rpc"
	"github.com/meridian-db/meridian/sql/pgcatalog"
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
)

// providers is what this node offers to system views.
func (s *Server) providers() *pgcatalog.Providers {
	return &pgcatalog.Providers{
		Clock:     s.clock.Status,
		ClockNode: uint64(s.identity.NodeID),
		Nodes:     s.nodeRows,
		Activity: func(ctx context.Context) ([]pgcatalog.Activity, error) {
			return gather(ctx, s, viewActivity, s.activityRows)
		},
		Ranges:       func(ctx context.Context) ([]pgcatalog.Range, error) { return gather(ctx, s, viewRanges, s.rangeRows) },
		Transactions: s.transactionRows,
		Locks:        func(ctx context.Context) ([]pgcatalog.Lock, error) { return gather(ctx, s, viewLocks, s.lockRows) },
		Statements: func(ctx context.Context) ([]pgcatalog.Statement, error) {
			return gather(ctx, s, viewStatements, s.statementRows)
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
	case viewLocks:
		return json.Marshal(s.lockRows())
	case viewTxns:
		return json.Marshal(s.txnParts())
	case viewStatements:
		return json.Marshal(s.statementRows())
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

func (s *Server) activityRows() []pgcatalog.Activity { return s.core.SQL.Activity() }

func (s *Server) nodeRows(context.Context) ([]pgcatalog.Node, error) {
	var rows []pgcatalog.Node
	live := map[ranges.NodeID]bool{}
	for _, n := range s.registry.Nodes() {
		live[n.ID] = n.Live
	}
	for _, n := range s.registry.list() {
		rows = append(rows, pgcatalog.Node{ID: uint64(n.ID), Address: n.RPCAddr, SQLAddress: n.SQLAddr, Region: n.Region, Zone: n.Zone,
			Version: n.Build, Live: live[n.ID], Draining: n.Draining, Started: truetime.Timestamp(n.Version).Time()})
	}
	return rows, nil
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
		r := pgcatalog.Range{ID: uint64(st.Desc.ID), Start: printKey(st.Desc.Start), End: printKey(st.Desc.End), Leader: uint64(st.Leader),
			LeaseUntil: st.LeaseUntil, Generation: st.Desc.Generation, SizeBytes: st.SizeBytes, LogBytes: st.LogBytes, Applied: st.Applied,
			Closed: st.Closed, SafeTimeLag: now.Sub(st.SafeTime), Quiesced: st.Quiesced, Node: uint64(s.identity.NodeID)}
		for _, rep := range st.Desc.Replicas {
			if rep.Type == ranges.Learner {
				r.Learners = append(r.Learners, int64(rep.Node))
			} else {
				r.Replicas = append(r.Replicas, int64(rep.Node))
			}
		}
		rows = append(rows, r)
	}
	return rows
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
		s := fmt.Sprintf("/table/%d/%d", uint32(k[1])<<24|uint32(k[2])<<16|uint32(k[3])<<8|uint32(k[4]), uint16(k[5])<<8|uint16(k[6]))
		if len(k) > 7 {
			s += "/" + hex.EncodeToString(k[7:])
		}
		return s
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
