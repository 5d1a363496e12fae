package server

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/range/placement"
	"github.com/meridian-db/meridian/server/rpc"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/txn/kv"
)

// A node says of itself where it is and what it runs (NodeRecord). What the cluster decides about a node is a record of
// its own, which any node may write, as the node concerned may be dead:
//
//	active ──decommission──▶ decommissioning ──no replica left──▶ decommissioned
//	   ◀────recommission───────────┘
//
// The last state is for good: the node ends, and its store is refused from then on.

// Membership is what the cluster has decided about a node.
type Membership string

const (
	memberActive          Membership = ""
	memberDecommissioning Membership = "decommissioning"
	memberDecommissioned  Membership = "decommissioned"
)

// memberState is the record of a Membership.
type memberState struct {
	ID    ranges.NodeID `json:"id"`
	State Membership    `json:"state"`
	// Version orders the records of one node: TrueTime when it was decided, in the transaction that did.
	Version int64 `json:"version"`
}

func (m memberState) check() error {
	switch {
	case m.ID == 0 || m.ID > ranges.MaxNodeID:
		return fmt.Errorf("node id %d is out of range", m.ID)
	case m.State != memberActive && m.State != memberDecommissioning && m.State != memberDecommissioned:
		return fmt.Errorf("node %s has the unknown state %q: it was set by a newer version", m.ID, m.State)
	}
	return nil
}

func memberKey(id ranges.NodeID) []byte {
	return systemKey('m', binary.BigEndian.AppendUint32(nil, uint32(id))...)
}

func memberSpan() kv.Span { return kv.Span{Start: systemKey('m'), End: systemKey('m' + 1)} }

func scanMembers(ctx context.Context, tx kv.Txn) ([]memberState, error) {
	sc, err := tx.Scan(ctx, memberSpan(), kv.ScanOptions{})
	if err != nil {
		return nil, err
	}
	defer sc.Close()
	var out []memberState
	for sc.Next(ctx) {
		var m memberState
		if err := json.Unmarshal(sc.Pair().Value, &m); err != nil {
			return nil, fmt.Errorf("membership record %x: %w", sc.Pair().Key, err)
		}
		out = append(out, m)
	}
	return out, sc.Err()
}

// errDecommissioned is told to a node that is no member any more.
type errDecommissioned struct{ id ranges.NodeID }

func (e errDecommissioned) Error() string {
	return fmt.Sprintf("node %s has been decommissioned, and its store with it: to use the machine again, start it with an empty store and --join", e.id)
}

// ExitCode makes a supervisor that restarts what fails leave the node alone.
func (e errDecommissioned) ExitCode() int { return 0 }

// setMember moves a node to another state, if allow says so of the one it is in, and tells everybody.
func (s *Server) setMember(ctx context.Context, id ranges.NodeID, to Membership, allow func(from Membership) error) error {
	var m memberState
	err := inTxn(ctx, s.core.DB, "membership", func(tx kv.Txn) error {
		m = memberState{ID: id}
		v, err := tx.Get(ctx, memberKey(id), kv.LockExclusive, kv.WaitBlock)
		if err != nil {
			return err
		}
		if len(v) > 0 {
			if err := json.Unmarshal(v, &m); err != nil {
				return fmt.Errorf("membership record of %s: %w", id, err)
			}
		}
		if err := allow(m.State); err != nil {
			return err
		}
		if m.State == to {
			return nil
		}
		m.State, m.Version = to, max(int64(s.clock.Now().Latest), m.Version+1)
		b, err := json.Marshal(m)
		if err != nil {
			return err
		}
		return tx.Put(memberKey(id), b)
	})
	if err == nil {
		s.registry.mergeMembers([]memberState{m})
	}
	return err
}

// nodeAdmin is how the SQL functions of schema meridian act on nodes. It implements sql.NodeAdmin.
type nodeAdmin struct{ s *Server }

func (a nodeAdmin) node(id int64) (NodeRecord, error) {
	n, ok := a.s.registry.get(ranges.NodeID(id))
	if id <= 0 || id > int64(ranges.MaxNodeID) || !ok {
		return n, pgerr.New(pgerr.UndefinedObject, "node %d does not exist", id)
	}
	return n, nil
}

// DecommissionNode has everything moved off a node, or says how far that is.
func (a nodeAdmin) DecommissionNode(ctx context.Context, id int64) (string, error) {
	n, err := a.node(id)
	if err != nil {
		return "", err
	}
	err = a.s.setMember(ctx, n.ID, memberDecommissioning, func(from Membership) error {
		if from == memberActive {
			return a.s.canLose(ctx, n.ID)
		}
		if from == memberDecommissioned {
			return errAlready
		}
		return nil
	})
	switch {
	case errors.Is(err, errAlready):
		return fmt.Sprintf("node %d is decommissioned", id), nil
	case err != nil:
		return "", err
	}
	loads := a.s.nodeLoads(ctx)
	if loads == nil {
		return fmt.Sprintf("node %d is being decommissioned", id), nil
	}
	return fmt.Sprintf("node %d is being decommissioned: %d replicas left", id, loads[n.ID].Replicas), nil
}

var errAlready = errors.New("already so")

// RecommissionNode makes a node a full member again that is being decommissioned.
func (a nodeAdmin) RecommissionNode(ctx context.Context, id int64) (string, error) {
	n, err := a.node(id)
	if err != nil {
		return "", err
	}
	err = a.s.setMember(ctx, n.ID, memberActive, func(from Membership) error {
		if from == memberDecommissioned {
			return pgerr.New(pgerr.ObjectNotInPrerequisiteState, "node %d has been decommissioned, for good", id).
				WithHint("Start it with an empty store and --join; it becomes a new node.")
		}
		return nil
	})
	return fmt.Sprintf("node %d is active", id), err
}

// DrainNode has a node hand over what it leads and part with its clients. It stays so until it is restarted.
func (a nodeAdmin) DrainNode(ctx context.Context, id int64) (string, error) {
	n, err := a.node(id)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, signalTimeout)
	defer cancel()
	if _, err := a.s.rpc.Call(ctx, n.ID, rpc.ServiceServer, []byte{opDrain}); err != nil {
		return "", pgerr.New(pgerr.CannotConnectNow, "node %d cannot be reached", id).WithCause(err)
	}
	return fmt.Sprintf("node %d is draining", id), nil
}

// canLose reports whether the other nodes can hold what a node has. They must be as many as the range with most voters
// has, and live: what then misses its policy's regions stays where it is until there are nodes for it.
func (s *Server) canLose(ctx context.Context, id ranges.NodeID) error {
	rows, err := gather(ctx, s, viewRanges, s.rangeRows)
	if err != nil {
		return err
	}
	most := 1
	for _, r := range rows {
		if slices.Contains(r.Replicas, int64(id)) {
			most = max(most, len(r.Replicas))
		}
	}
	others := 0
	for _, n := range s.registry.Nodes() {
		if n.ID != id && n.Live && !n.Draining && !n.Decommissioning && !n.Lost {
			others++
		}
	}
	if others < most {
		return pgerr.New(pgerr.ObjectNotInPrerequisiteState, "node %d cannot be decommissioned: ranges that it holds have %d voters, and without it %d nodes could hold them", id, most, others).
			WithHint("Add a node first, or lower the number of replicas.")
	}
	return nil
}

// memberLoop brings changes to an end that nobody waits for: on the node that decides about placement it declares
// nodes decommissioned that have nothing left, and moves the cluster to the newest version that all nodes know.
func (s *Server) memberLoop() {
	tick := time.NewTicker(memberInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.bgCtx.Done():
			return
		}
		loads, ok := s.core.Store.NodeLoads()
		if !ok {
			continue
		}
		ctx, cancel := context.WithTimeout(s.bgCtx, 10*time.Second)
		for _, n := range s.registry.list() {
			if s.registry.member(n.ID) == memberDecommissioning && loads[n.ID].Replicas == 0 {
				s.finishDecommission(ctx, n.ID)
			}
		}
		if err := s.finaliseVersion(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("cannot move the cluster to its next version", "err", err)
		}
		cancel()
	}
}

const memberInterval = 2 * time.Second

func (s *Server) finishDecommission(ctx context.Context, id ranges.NodeID) {
	err := s.setMember(ctx, id, memberDecommissioned, func(from Membership) error {
		if from != memberDecommissioning {
			return errAlready
		}
		return nil
	})
	switch {
	case err == nil:
		s.log.Info("a node has been decommissioned", "peer", id)
	case !errors.Is(err, errAlready) && ctx.Err() == nil:
		s.log.Warn("cannot finish a decommissioning", "peer", id, "err", err)
	}
}

// membersChanged is called when the registry's memberships or the cluster version have changed.
func (s *Server) membersChanged() {
	if s.core != nil {
		s.core.Store.NodesChanged()
	}
	if s.registry.member(s.identity.NodeID) == memberDecommissioned && s.leaving.CompareAndSwap(false, true) {
		s.background(func() {
			s.log.Warn("this node has been decommissioned and ends")
			ctx, cancel := context.WithTimeout(s.bgCtx, s.cfg.DrainTimeout)
			defer cancel()
			if s.wire != nil {
				s.wire.Shutdown(ctx)
			}
			s.fail(errDecommissioned{s.identity.NodeID})
		})
	}
	if err := s.checkVersion(); err != nil {
		s.fail(err)
	}
}

// drain hands over what this node leads and parts with its clients, without ending the process.
func (s *Server) drain() {
	if !s.state.CompareAndSwap(int32(stateServing), int32(stateDraining)) {
		return
	}
	s.log.Info("node is draining")
	s.background(func() {
		ctx, cancel := context.WithTimeout(s.bgCtx, s.cfg.DrainTimeout)
		defer cancel()
		s.announceDraining()
		s.wire.Shutdown(ctx)
		if err := s.core.Drain(ctx); err != nil {
			s.log.Warn("not all leases could be handed over", "err", err)
		}
	})
}

// announceDraining lets the others know that this node goes and will be back: they do not replace it at once, and give
// it nothing.
func (s *Server) announceDraining() {
	if rec, ok := s.registry.get(s.identity.NodeID); ok && !rec.Draining {
		rec.Draining, rec.Version = true, max(int64(s.clock.Now().Latest), rec.Version+1)
		s.registry.merge([]NodeRecord{rec}, nil)
	}
}

// policyReader reads placement policies from the system keys.
type policyReader struct{ db kv.DB }

// ReadPolicies implements ranges.PolicyReader. A record that cannot be read is left out: it must not keep all others
// from being obeyed.
func (p policyReader) ReadPolicies(ctx context.Context) ([]placement.SpanPolicy, error) {
	tx, err := p.db.Begin(ctx, kv.TxnOptions{ReadOnly: true, OneShot: true, Name: "placement policies"})
	if err != nil {
		return nil, err
	}
	defer tx.Rollback(ctx)
	start, end := placement.KeySpan()
	sc, err := tx.Scan(ctx, kv.Span{Start: start, End: end}, kv.ScanOptions{})
	if err != nil {
		return nil, err
	}
	defer sc.Close()
	var out []placement.SpanPolicy
	for sc.Next(ctx) {
		if p, err := placement.Decode(sc.Pair().Value); err == nil {
			out = append(out, p)
		}
	}
	return out, sc.Err()
}
