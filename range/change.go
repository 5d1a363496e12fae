package ranges

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/meridian-db/meridian/truetime"
)

// Replica changes go through these states, each entered by one log entry that carries the whole new
// descriptor; a new leader finds the state in the descriptor and carries on from there.
//
//	voters  --add learners-->  voters + learners  --(snapshots)-->  --enter joint-->
//	joint (incoming, outgoing)  --leave joint-->  voters
//
// Raft goes by the last configuration applied, not by the last in the log, so a replica that lags by one change may
// campaign by the one before: safe, because the two share a quorum. By two changes, into a joint configuration and
// out of it, it must not lag. The second is proposed when the first is committed, so whoever has the second in its
// log has been told so, and remembers it: the commit index is written with every entry (scheduler.go, stageAppend).
// Raft does not let a replica campaign that knows of committed changes it has not applied.
//
// confState is what Raft makes of a descriptor.
func (d *Descriptor) confState() *pb.ConfState {
	cs := &pb.ConfState{AutoLeave: new(false)}
	joint := d.Joint()
	for _, x := range d.Replicas {
		id := uint64(x.Replica)
		switch x.Type {
		case Voter:
			cs.Voters = append(cs.Voters, id)
			if joint {
				cs.VotersOutgoing = append(cs.VotersOutgoing, id)
			}
		case Learner:
			cs.Learners = append(cs.Learners, id)
		case VoterIncoming:
			cs.Voters = append(cs.Voters, id)
		case VoterOutgoing:
			cs.VotersOutgoing = append(cs.VotersOutgoing, id)
		}
	}
	return cs
}

// changeStep is the next entry on the way from d to a set of voters.
type changeStep struct {
	desc *Descriptor
	cc   *pb.ConfChangeV2
	// learners must have caught up before the step is taken.
	learners []ReplicaDesc
}

// nextStep returns the next step towards having voters on exactly the nodes given, nil when there is none
// to take. It is a pure function, so that any leader continues what another began.
func (d *Descriptor) nextStep(voters []NodeID) *changeStep {
	n := d.clone()
	n.Generation++
	if d.Joint() {
		n.Replicas = nil
		for _, x := range d.Replicas {
			switch x.Type {
			case VoterOutgoing:
				continue
			case VoterIncoming:
				x.Type = Voter
			}
			n.Replicas = append(n.Replicas, x)
		}
		return &changeStep{desc: n, cc: &pb.ConfChangeV2{}}
	}
	for _, node := range voters {
		if _, ok := d.ReplicaOn(node); !ok {
			id := n.NextReplica
			n.NextReplica++
			n.Replicas = append(n.Replicas, ReplicaDesc{Node: node, Replica: id, Type: Learner})
			return &changeStep{desc: n, cc: &pb.ConfChangeV2{Changes: []*pb.ConfChangeSingle{
				{Type: pb.ConfChangeAddLearnerNode.Enum(), NodeId: new(uint64(id))},
			}}}
		}
	}
	st := &changeStep{desc: n, cc: &pb.ConfChangeV2{Transition: pb.ConfChangeTransitionJointExplicit.Enum()}}
	n.Replicas = nil
	voterChange := false
	for _, x := range d.Replicas {
		want := slices.Contains(voters, x.Node)
		change := &pb.ConfChangeSingle{NodeId: new(uint64(x.Replica))}
		switch {
		case want && x.Type == Learner:
			st.learners = append(st.learners, x)
			x.Type = VoterIncoming
			change.Type = pb.ConfChangeAddNode.Enum()
			voterChange = true
		case !want && x.Type == Voter:
			x.Type = VoterOutgoing
			change.Type = pb.ConfChangeRemoveNode.Enum()
			voterChange = true
		case !want && x.Type == Learner:
			change.Type = pb.ConfChangeRemoveNode.Enum()
			st.cc.Changes = append(st.cc.Changes, change)
			continue
		default:
			n.Replicas = append(n.Replicas, x)
			continue
		}
		st.cc.Changes = append(st.cc.Changes, change)
		n.Replicas = append(n.Replicas, x)
	}
	if len(st.cc.Changes) == 0 {
		return nil
	}
	if !voterChange {
		// Only learners go, one at a time: a simple change.
		first := st.cc.Changes[0]
		n.Replicas = slices.DeleteFunc(d.clone().Replicas, func(x ReplicaDesc) bool { return uint64(x.Replica) == first.GetNodeId() })
		st.cc = &pb.ConfChangeV2{Changes: []*pb.ConfChangeSingle{first}}
	}
	return st
}

// ChangeReplicas changes the range step by step until it has voters on exactly the nodes given. Called on
// the leader. When the leader's own node is not among them, transfer the lease first.
func (r *Replica) ChangeReplicas(ctx context.Context, voters []NodeID) error {
	if len(voters) == 0 {
		return fmt.Errorf("range: %s: no voters", r.id)
	}
	if !slices.Contains(voters, r.store.cfg.NodeID) {
		return fmt.Errorf("%w: the leader's node %s is not among the voters; transfer the lease first", ErrNotReady, r.store.cfg.NodeID)
	}
	if !r.changing.CompareAndSwap(false, true) {
		return fmt.Errorf("%w: another change of %s is under way", ErrNotReady, r.id)
	}
	defer r.changing.Store(false)
	before := r.Desc()
	for {
		d := r.Desc()
		st := d.nextStep(voters)
		if st == nil {
			if d != before {
				r.store.publish([]*Descriptor{before}, []*Descriptor{d})
			}
			return nil
		}
		if err := r.prepareLearners(ctx, st.learners); err != nil {
			return err
		}
		if d.Joint() {
			if err := r.awaitIncoming(ctx); err != nil {
				return err
			}
		}
		if err := r.changeOnce(ctx, st); err != nil {
			return err
		}
	}
}

func (r *Replica) changeOnce(ctx context.Context, st *changeStep) error {
	r.tellCommits() // the sooner all know, the sooner the new voters count
	p, err := r.propose(ctx, Proposal{
		Encode: func(truetime.Timestamp) []byte { return st.desc.Encode() },
	}, entryChange, func(data []byte) []byte {
		st.cc.Context = data
		b, err := proto.Marshal(st.cc)
		if err != nil {
			panic(fmt.Sprintf("range: marshal change: %v", err)) // plain values always marshal
		}
		return b
	})
	if err != nil {
		return err
	}
	_, err = p.Wait(ctx)
	return err
}

// applyChange applies a configuration change, on every replica.
func (r *Replica) applyChange(a *applier, cc *pb.ConfChangeV2, d *Descriptor) error {
	if d.ID != r.id || d.Generation != r.Desc().Generation+1 {
		return errStale
	}
	a.b.PutLocal(localKey(r.id, suffixDesc), d.Encode())
	index := a.index
	if err := a.commit(); err != nil {
		return err
	}
	r.mu.Lock()
	r.desc.Store(d)
	r.store.layout.Add(1)
	if r.mu.rn != nil {
		r.mu.rn.ApplyConfChange(cc)
		for id := range r.mu.snapshots {
			if _, ok := d.ByID(id); !ok {
				delete(r.mu.snapshots, id)
			}
		}
	}
	r.mu.Unlock()
	r.lease.reconfigure(d)
	a.visible(index)
	r.store.askSupport() // of new peers
	if _, ok := d.ByID(r.replicaID); !ok {
		r.store.removeReplica(r, d)
		return nil
	}
	if r.leading.Load() {
		r.poke(flagWake)
		r.tellCommits()
	}
	return nil
}

// prepareLearners has learners caught up, by snapshots where the log does not reach, and following
// this leader under their node's current epoch, so that counting them in quorums costs no lease time.
func (r *Replica) prepareLearners(ctx context.Context, learners []ReplicaDesc) error {
	if len(learners) == 0 {
		return nil
	}
	errs := make(chan error, len(learners))
	for _, x := range learners {
		if r.learnerReady(x) {
			errs <- nil
			continue
		}
		go func() {
			err := r.sendSnapshot(ctx, x)
			if err != nil {
				err = fmt.Errorf("snapshot of %s to %s: %w", r.id, x.Node, err)
			}
			errs <- err
		}()
	}
	var first error
	for range learners {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	if first != nil {
		return first
	}
	return r.awaitVoters(ctx, func() bool {
		for _, x := range learners {
			if !r.learnerReady(x) {
				return false
			}
		}
		return true
	}, "learners")
}

// awaitIncoming waits, in a joint configuration, until the new voters alone grant the lease for as long as it has ever
// been said to last. What was promised by its end under the old configuration, to whoever holds locks here, must hold
// against a leader that the new voters elect without asking any of the old ones. What was promised under a lease that was
// handed over to this leader holds, too: those who voted then keep it in mind (follow.past), new voters do not know it.
func (r *Replica) awaitIncoming(ctx context.Context) error {
	granted := func() bool {
		l := &r.lease
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.term == 0 || r.store.votes.leaseUntil(l.incoming, nil, l.acks) >= max(l.published, l.inherited)
	}
	return r.awaitVoters(ctx, granted, "the new voters")
}

// awaitVoters asks for votes until ok, as long as this replica leads; who names those who keep it waiting.
func (r *Replica) awaitVoters(ctx context.Context, ok func() bool, who string) error {
	if ok() {
		return nil
	}
	r.store.askSupport()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	poll := time.NewTicker(r.store.cfg.TickInterval / 10)
	defer poll.Stop()
	for !ok() {
		r.poke(flagWake)
		select {
		case <-poll.C:
		case <-deadline.C:
			return fmt.Errorf("%w: %s of %s do not catch up", ErrNotReady, who, r.id)
		case <-ctx.Done():
			return ctx.Err()
		case <-r.store.stop:
			return ErrClosed
		}
		if !r.leading.Load() {
			return &NotLeaderError{Range: r.id, Hint: r.LeaderHint()}
		}
	}
	return nil
}

func (r *Replica) learnerReady(x ReplicaDesc) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.rn == nil || r.mu.role != raft.StateLeader {
		return false
	}
	pr, ok := r.mu.rn.Status().Progress[uint64(x.Replica)]
	if !ok || pr.Match < r.mu.termStart || pr.Match+64 < r.mu.view.last.Index {
		return false
	}
	now := r.store.cfg.Clock.Now()
	r.lease.mu.Lock()
	epoch := r.lease.acks[x.Node]
	r.lease.mu.Unlock()
	return r.store.votes.supportsUnder(x.Node, epoch, now)
}
