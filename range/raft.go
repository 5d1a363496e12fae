package ranges

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"github.com/meridian-db/meridian/range/raftlog"
	"github.com/meridian-db/meridian/truetime"
)

// Ticks. Followers are never ticked by Raft: node-level votes tell them when a leader is gone, and the
// store decides when to campaign (tick below). Leaders tick to repeat lost messages, until quiescent.
const (
	raftElectionTicks = 10
	quiesceTicks      = 5  // idle ticks of a leader before it falls silent
	graceTicks        = 3  // a new replica waits this long for a leader before it campaigns
	retryTicks        = 5  // between campaigns
	drainTicks        = 15 // a draining node leaves elections to others for so long
	maxProposeBatch   = 128
)

// campaignTransfer is the context Raft gives the votes of a planned transfer.
var campaignTransfer = []byte("CampaignTransfer")

func (r *Replica) newRawNode(view *logView, applied uint64) (*raft.RawNode, error) {
	return raft.NewRawNode(&raft.Config{
		ID:                        uint64(r.replicaID),
		ElectionTick:              raftElectionTicks,
		HeartbeatTick:             1,
		Storage:                   view,
		Applied:                   applied,
		AsyncStorageWrites:        true,
		MaxSizePerMsg:             128 << 10,
		MaxCommittedSizePerReady:  4 << 20,
		MaxUncommittedEntriesSize: 256 << 20,
		MaxInflightMsgs:           256,
		MaxInflightBytes:          8 << 20,
		PreVote:                   true,
		DisableProposalForwarding: true,
		StepDownOnRemoval:         true,
		Logger:                    raftLogger{r},
	})
}

// process takes up what the inbox holds and does what Raft asks for. It never waits for disk or network.
func (r *Replica) process(out *outbox) {
	r.mu.Lock()
	defer r.mu.Unlock()
	msgs, props, flags := r.inbox.take(nil, nil)
	if r.mu.rn == nil {
		for _, p := range props {
			r.pend.resolve(p.id, nil, ErrDropped)
		}
		return
	}
	for i := range msgs {
		r.step(&msgs[i], out)
	}
	if flags&flagWake != 0 {
		r.wakeUp()
	}
	if flags&(flagTick|flagCommits) != 0 {
		if flags&flagCommits != 0 {
			r.mu.held.queued = false
		}
		r.flushCommits(out)
	}
	if flags&(flagTick|flagCampaign) != 0 {
		r.tick(flags, out)
	}
	if len(props) > 0 {
		r.stepProposals(props)
	}
	r.handleReady(out)
	r.pos.logged(r.mu.view.last.Index, len(props))
	if r.mu.held.told {
		r.mu.held.told = false
		r.closeBehind(out)
	}
	if r.mu.role == raft.StateLeader {
		r.followSelf()
		r.lookAtLease()
		r.lookAtTransfer()
	}
	if !r.awake.Load() && r.staysAwake() {
		r.store.awake.add(r)
	}
}

// step hands one message to Raft, unless the votes of this node forbid it.
func (r *Replica) step(im *inMsg, out *outbox) {
	m := im.m
	if im.from != 0 {
		from := ReplicaID(m.GetFrom())
		d := r.Desc()
		if _, member := d.ByID(from); !member {
			if from < d.NextReplica {
				return // removed from the range, and does not know it yet
			}
		}
		r.peers.Store(from, im.from)
		switch m.GetType() {
		case pb.MsgVote, pb.MsgPreVote:
			if m.GetTerm() >= r.mu.term && !bytes.Equal(m.Context, campaignTransfer) {
				now := r.store.cfg.Clock.Now()
				if !r.store.votes.mayVote(r.mu.follow, im.from, m.GetType() == pb.MsgVote, now) {
					r.queryLease(out)
					return
				}
			}
			r.wakeUp()
		case pb.MsgTimeoutNow:
			// Only a replica that holds what the leader handed over may take the lease from it early.
			if h := r.mu.handoff; h == nil || h.term != m.GetTerm() {
				return
			}
		case pb.MsgApp, pb.MsgHeartbeat:
			r.heard.Store(true)
		case pb.MsgAppResp, pb.MsgHeartbeatResp:
			if im.epoch != 0 && r.mu.role == raft.StateLeader && m.GetTerm() == r.mu.term {
				r.lease.ack(im.from, m.GetTerm(), im.epoch)
			}
			if m.GetType() == pb.MsgAppResp {
				r.mu.idleTicks = 0
				if r.fromStranger(from, m) {
					return
				}
			}
		}
	}
	if err := r.mu.rn.Step(m); err != nil && !errors.Is(err, raft.ErrStepPeerNotFound) {
		r.store.cfg.Logger.Debug("raft step", "range", uint64(r.id), "err", err)
	}
}

// followSelf renews a leader's vote for itself after this node has raised its own epoch: it voted against
// itself in another range, whose lease had run out.
func (r *Replica) followSelf() {
	self := r.store.cfg.NodeID
	if e := r.store.votes.epochFor(self); e != r.mu.follow.epoch && r.mu.follow.leader == self && !r.mu.follow.released {
		r.mu.follow.epoch = e
		r.lease.ack(self, r.mu.term, e)
	}
}

func (r *Replica) wakeUp() {
	r.mu.idleTicks = 0
	if r.quiesced.CompareAndSwap(true, false) && r.mu.role == raft.StateLeader {
		r.mu.rn.Tick() // a heartbeat at once
	}
}

// stepProposals appends proposals to the log, in the order in which they got their timestamps.
func (r *Replica) stepProposals(props []*Pending) {
	r.mu.held.proposed(time.Now(), r.store.cfg.CommitDelay)
	r.mu.idleTicks = 0
	r.quiesced.Store(false)
	ents := make([]*pb.Entry, 0, min(len(props), maxProposeBatch))
	batch := props[:0:0]
	send := func() {
		if len(ents) == 0 {
			return
		}
		err := r.mu.rn.Step(&pb.Message{
			Type: pb.MsgProp.Enum(), From: new(uint64(r.replicaID)), Entries: ents,
		})
		if err != nil {
			for _, p := range batch {
				r.pend.resolve(p.id, nil, ErrDropped)
			}
		}
		ents, batch = make([]*pb.Entry, 0, maxProposeBatch), nil
	}
	for _, p := range props {
		if r.mu.role != raft.StateLeader || p.epoch != r.mu.term {
			// Its timestamp was promised under a lease that is gone.
			r.pend.resolve(p.id, nil, ErrDropped)
			continue
		}
		p.proposed = true
		if p.typ == pb.EntryConfChangeV2 {
			send()
			r.mu.change = p
		}
		ents = append(ents, &pb.Entry{Type: p.typ.Enum(), Data: p.data})
		batch = append(batch, p)
		if len(ents) == maxProposeBatch || p.typ == pb.EntryConfChangeV2 {
			send()
		}
	}
	send()
}

// tick runs every TickInterval while the replica is not idle.
func (r *Replica) tick(flags inFlags, out *outbox) {
	r.mu.ticks++
	if r.mu.role == raft.StateLeader {
		if r.broken.Load() != nil {
			r.stepDown()
			return
		}
		r.tickLeader()
		return
	}
	if r.broken.Load() != nil {
		return
	}
	d := r.Desc()
	me, ok := d.ByID(r.replicaID)
	if !ok || me.Type == Learner {
		return
	}
	now := r.store.cfg.Clock.Now()
	if r.mu.follow.leader != r.store.cfg.NodeID && !r.store.votes.ignore && !r.store.votes.lapsed(r.mu.follow, now) {
		r.mu.campaignAt = -1
		if (r.mu.lead == 0 || r.leaderless.Load() >= silentPasses) && r.mu.ticks%retryTicks == 0 {
			r.queryLease(out)
		}
		return
	}
	if r.store.votes.ignore && r.mu.lead != 0 && !r.store.votes.lapsed(r.mu.follow, now) {
		return
	}
	if r.store.cfg.Clock.Health() != nil {
		return
	}
	heir := r.inheritsLease()
	if r.store.draining.Load() && len(d.Replicas) > 1 && !heir {
		// The others first; but when all nodes drain, someone must serve to the end.
		if r.mu.drainWait++; r.mu.drainWait < drainTicks {
			return
		}
	}
	switch {
	case flags&flagCampaign != 0:
	case r.mu.campaignAt < 0:
		r.mu.campaignAt = r.mu.ticks + r.turn(d, r.mu.follow.leader)
		return
	case r.mu.ticks < r.mu.campaignAt:
		return
	}
	r.mu.campaignAt = r.mu.ticks + retryTicks + r.retryJitter()
	if !heir && !r.store.votes.mayVote(r.mu.follow, r.store.cfg.NodeID, true, now) {
		return
	}
	r.idle.Store(false)
	r.store.metrics.campaigns.Inc()
	if heir {
		r.campaignAsHeir()
	} else {
		_ = r.mu.rn.Campaign()
	}
}

// turn returns after how many ticks this replica may campaign first. The voters that are left take turns, in
// an order that differs from range to range: when two campaign at once neither may win, and the third node, whose
// leader it was, is often no judge.
func (r *Replica) turn(d *Descriptor, gone NodeID) int64 {
	self, before := mix(uint64(d.ID), r.store.cfg.NodeID), int64(0)
	for _, x := range d.Replicas {
		if x.Type != Learner && x.Node != gone && mix(uint64(d.ID), x.Node) < self {
			before++
		}
	}
	return before * r.electionTicks()
}

// electionTicks is how long an election may take.
func (r *Replica) electionTicks() int64 {
	return int64(r.store.cfg.ElectionTurn / r.store.cfg.TickInterval)
}

// retryJitter spreads the campaigns after the first.
func (r *Replica) retryJitter() int64 { return r.store.randN(r.electionTicks() + 1) }

// leaseGrace is how long a leader may be without a lease before it steps down, so that requests find
// another one, or this one in a new term.
const leaseGrace = 3 * time.Second

func (r *Replica) tickLeader() {
	now := r.store.cfg.Clock.Now()
	l := &r.lease
	l.mu.Lock()
	until := r.store.votes.leaseUntil(l.incoming, l.outgoing, l.acks)
	started := l.started
	l.mu.Unlock()
	if started && now.After(until.Add(leaseGrace)) || r.store.cfg.Clock.Health() != nil && now.Latest >= until {
		// With a clock that is not good there is no lease to come back: its heartbeats would only keep
		// others from being elected.
		r.stepDown()
		return
	}
	if !started {
		r.wantsLease()
		r.store.askSupport()
	}
	r.mu.idleTicks++
	if r.mu.idleTicks > quiesceTicks && started && r.canQuiesce(now) {
		r.quiesced.Store(true)
		return
	}
	r.quiesced.Store(false)
	r.mu.rn.Tick()
}

// canQuiesce reports whether every live follower has all there is.
func (r *Replica) canQuiesce(now truetime.Interval) bool {
	last := r.mu.view.last.Index
	if r.applied.Load() != last || r.mu.transfer != nil || len(r.mu.snapshots) > 0 || len(r.mu.strangers) > 0 || r.Desc().Joint() {
		return false
	}
	ok := true
	d := r.Desc()
	r.mu.rn.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) {
		if id == uint64(r.replicaID) || pr.Match == last && pr.State == tracker.StateReplicate {
			return
		}
		// A dead follower need not keep the range awake: the store wakes it when the node is back.
		if rd, found := d.ByID(ReplicaID(id)); found && !r.store.votes.supports(rd.Node, now) {
			return
		}
		ok = false
	})
	return ok
}

// stepDown makes a leader that lost its quorum, or gave up its lease, a follower of a new term.
func (r *Replica) stepDown() {
	_ = r.mu.rn.Step(&pb.Message{
		Type: pb.MsgHeartbeatResp.Enum(), Term: new(r.mu.term + 1),
		From: new(raft.LocalAppendThread), To: new(uint64(r.replicaID)),
	})
}

// handleReady does what Raft asks for: sends, appends, applies.
func (r *Replica) handleReady(out *outbox) {
	rn := r.mu.rn
	for rn.HasReady() {
		rd := rn.Ready()
		if rd.HardState != nil && rd.GetTerm() != 0 {
			r.mu.term = rd.GetTerm()
			r.termNow.Store(r.mu.term)
			r.committed.Store(rd.GetCommit())
		}
		if rd.SoftState != nil || r.mu.role == raft.StateLeader {
			r.roleChanged(rn.BasicStatus())
		}
		epoch := r.followEpoch(rd.Messages)
		settles := settlesChange(rd.Messages)
		for _, m := range rd.Messages {
			switch m.GetTo() {
			case raft.LocalAppendThread:
				if m.Snapshot != nil {
					r.mu.installing++
					r.mu.view.reset(positionOf(m.Snapshot))
					r.logBytes.Store(0)
				}
				if n := len(m.Entries); n > 0 {
					r.mu.view.append(m.Entries)
					r.logBytes.Store(r.mu.view.logBytes)
					if r.mu.role == raft.StateLeader {
						r.entriesAppended(m.Entries)
					} else {
						r.entriesReceived(m.Entries)
					}
				}
				if !r.mustLog(m) && !settles {
					continue
				}
				w := appendWork{r: r, m: m, epoch: epoch, commit: r.committed.Load(), settles: settles}
				settles = false
				if r.tracesAny(m.Entries) {
					w.since = time.Now()
				}
				r.store.appends.add(w)
				out.appended = true
			case raft.LocalApplyThread:
				r.queue.push(applyWork{r: r, m: m})
			default:
				node, ok := r.nodeFor(ReplicaID(m.GetTo()))
				if !ok || !remoteType(m.GetType()) {
					continue
				}
				if r.hold(node, m, out) {
					continue
				}
				rm := raftMsg{rng: r.id, m: m}
				if m.GetType() == pb.MsgHeartbeatResp && m.GetTerm() == r.mu.term {
					rm.epoch = epoch
				}
				out.add(node, rm)
			}
		}
		if settles { // nothing else is to be logged
			r.store.appends.add(appendWork{r: r, m: &pb.Message{}, commit: r.committed.Load(), settles: true})
			out.appended = true
		}
	}
	r.mu.view.trim(min(r.applied.Load(), r.committed.Load()))
}

// positionOf returns where a log goes on that begins with a snapshot.
func positionOf(s *pb.Snapshot) raftlog.Position {
	return raftlog.Position{Index: s.GetMetadata().GetIndex(), Term: s.GetMetadata().GetTerm()}
}

// settlesChange reports whether the messages have a change of the configuration applied.
func settlesChange(ms []*pb.Message) bool {
	for _, m := range ms {
		if m.GetTo() == raft.LocalApplyThread && slices.ContainsFunc(m.Entries, func(e *pb.Entry) bool { return e.GetType() == pb.EntryConfChangeV2 }) {
			return true
		}
	}
	return false
}

// mustLog reports whether an append message has anything for the disk, or answers that wait for it. A commit index
// alone has not: whoever restarts is told it again.
func (r *Replica) mustLog(m *pb.Message) bool {
	hs := raftlog.HardState{Term: m.GetTerm(), Vote: m.GetVote()}
	if len(m.Entries) == 0 && len(m.Responses) == 0 && m.Snapshot == nil && (hs.Term == 0 || hs == r.mu.logged) {
		return false
	}
	if hs.Term != 0 {
		r.mu.logged = hs
	}
	return true
}

func (r *Replica) nodeFor(id ReplicaID) (NodeID, bool) {
	if d, ok := r.Desc().ByID(id); ok {
		return d.Node, true
	}
	return r.nodeOf(id)
}

// followEpoch notes, before an answer to the leader of the term leaves, that this replica follows it, and
// returns the epoch to put on the answer; zero when the messages hold none.
func (r *Replica) followEpoch(ms []*pb.Message) uint64 {
	if r.mu.role == raft.StateLeader || r.mu.lead == 0 {
		return 0
	}
	answers := func(m *pb.Message) bool {
		t := m.GetType()
		return (t == pb.MsgAppResp || t == pb.MsgHeartbeatResp) && m.GetTerm() == r.mu.term &&
			ReplicaID(m.GetTo()) == r.mu.lead
	}
	found := false
	for _, m := range ms {
		if answers(m) {
			found = true
		}
		for _, x := range m.Responses {
			if answers(x) {
				found = true
			}
		}
	}
	if !found {
		return 0
	}
	node, ok := r.nodeFor(r.mu.lead)
	if !ok {
		return 0
	}
	epoch := r.store.votes.epochFor(node)
	if f := r.mu.follow; f.leader != node || f.term != r.mu.term || f.epoch != epoch || f.released {
		r.mu.follow = r.store.votes.followed(f, follow{leader: node, term: r.mu.term, epoch: epoch})
	}
	r.mu.campaignAt, r.mu.drainWait = -1, 0
	r.idle.Store(true)
	return epoch
}

// roleChanged follows Raft's role and leader.
func (r *Replica) roleChanged(st raft.BasicStatus) {
	lead, role, term := ReplicaID(st.Lead), st.RaftState, st.HardState.GetTerm()
	was, wasTerm := r.mu.role, r.lease.term
	ended := was == raft.StateLeader && (role != raft.StateLeader || term != wasTerm)
	if ended {
		r.steppedDown()
	}
	r.mu.role, r.mu.lead, r.mu.term = role, lead, term
	r.termNow.Store(term)
	node := NodeID(0)
	if lead != 0 {
		node, _ = r.nodeFor(lead)
	}
	r.hint.Store(uint32(node))
	r.leading.Store(role == raft.StateLeader)
	r.lookAtSuccessor(ended, node)
	if role == raft.StateLeader && (was != raft.StateLeader || term != wasTerm) {
		r.becameLeader(term)
	}
	if role != raft.StateLeader && lead == 0 {
		r.idle.Store(false)
		if was == raft.StateLeader {
			r.mu.campaignAt = -1
		}
	}
	if r.lease.view.Load() != nil {
		r.lease.mu.Lock()
		r.lease.changed()
		r.lease.mu.Unlock()
	}
}

func (r *Replica) becameLeader(term uint64) {
	r.quiesced.Store(false)
	r.idle.Store(false)
	r.mu.idleTicks = 0
	r.mu.termStart = 0
	r.mu.snapshots = make(map[ReplicaID]uint64)
	r.mu.refused = make(map[ReplicaID]int64)
	r.mu.strangers = make(map[ReplicaID]bool)
	r.leadTerm(term)
	self := r.store.cfg.NodeID
	r.mu.follow = r.store.votes.followed(r.mu.follow, follow{leader: self, term: term, epoch: r.store.votes.epochFor(self)})
	r.wantsLease()
	r.store.metrics.leaders.Inc()
	r.store.askSupport()
}

// wantsLease has the next promises looked at for this range.
func (r *Replica) wantsLease() {
	r.wantLease.Store(true)
	r.store.leaseWanted.Store(true)
}

// steppedDown ends this replica's leadership. The caller holds r.mu.
func (r *Replica) steppedDown() {
	term, started, until := r.leadEnd()
	// What was promised up to then still binds this node's votes; only the votes of a planned transfer,
	// whose target holds the locks, pass.
	r.mu.follow = follow{leader: r.store.cfg.NodeID, term: term, released: true, until: until, past: r.mu.follow.past}
	r.mu.termStart = 0
	r.mu.change = nil
	r.wantLease.Store(false)
	r.quiesced.Store(false)
	r.store.metrics.leaders.Dec()
	r.pend.failAll(func(p *Pending) error {
		if p.proposed {
			return ErrAmbiguous
		}
		return nil // the next pass drops it
	})
	if started {
		r.queue.push(applyWork{r: r, fn: func() {
			r.machine.LeaseLost()
			r.liftFence()
		}})
	} else {
		r.liftFence()
	}
}

// entriesAppended notes where the leader's term starts, and whether Raft refused a change.
func (r *Replica) entriesAppended(ents []*pb.Entry) {
	for _, e := range ents {
		if r.mu.termStart == 0 && e.GetTerm() == r.mu.term {
			r.mu.termStart = e.GetIndex()
			r.mu.prevTerm, _ = r.mu.view.Term(e.GetIndex() - 1)
		}
	}
	if p := r.mu.change; p != nil {
		r.mu.change = nil
		for _, e := range ents {
			if e.GetType() == pb.EntryConfChangeV2 {
				return
			}
		}
		// Raft put an empty entry in its place: another change had not been applied.
		r.pend.resolve(p.id, nil, ErrDropped)
	}
}

// queryLease asks the leader this node is bound to whether it has given up its lease.
func (r *Replica) queryLease(out *outbox) {
	f := r.mu.follow
	if f.leader == 0 || f.leader == r.store.cfg.NodeID || f.released {
		return
	}
	b := appendLeaseNote([]byte{frameQuery}, leaseNote{rng: r.id, term: f.term})
	out.raw(f.leader, b)
}

// answerQuery tells a peer whether the lease of (range, term) is over, as far as this node held it.
func (r *Replica) answerQuery(from NodeID, term uint64) {
	r.mu.Lock()
	l := &r.lease
	l.mu.Lock()
	led, last := l.term, l.last
	l.mu.Unlock()
	now := r.mu.term
	r.mu.Unlock()
	until := r.store.votes.ownBarrier() // led, if at all, by an earlier life
	switch {
	case led == term, led != 0 && now < term:
		return
	case now < term:
		// Nobody has led this range in that term: the peer goes by the leader of the range that this one was split from, as
		// its replica was made when that term had come. The split has been applied here, so nothing more is promised under
		// that lease, and what was reaches no further than this.
		until = r.store.cfg.Clock.Now().Latest.Add(2 * r.store.cfg.SupportWindow)
	case last.term == term:
		until = last.until
	}
	b := appendLeaseNote([]byte{frameReleased}, leaseNote{rng: r.id, term: term, until: until})
	r.store.cfg.Transport.SendRaft(from, b)
}

// leaseReleased takes a leader's word that its lease of a term ends at until.
func (r *Replica) leaseReleased(from NodeID, n leaseNote) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := &r.mu.follow; f.leader == from && f.term == n.term && !f.released {
		f.released, f.until = true, n.until
		r.stir()
	}
}

// raftLogger passes Raft's log on. Raft reports every vote and append; only its warnings are kept.
type raftLogger struct{ r *Replica }

func (l raftLogger) Debug(v ...any)                 {}
func (l raftLogger) Debugf(format string, v ...any) {}
func (l raftLogger) Info(v ...any)                  {}
func (l raftLogger) Infof(format string, v ...any)  {}
func (l raftLogger) Error(v ...any)                 { l.log(fmt.Sprint(v...)) }
func (l raftLogger) Errorf(format string, v ...any) { l.log(fmt.Sprintf(format, v...)) }
func (l raftLogger) Warning(v ...any)               {}
func (l raftLogger) Warningf(string, ...any)        {}
func (l raftLogger) Fatal(v ...any)                 { l.fatal(fmt.Sprint(v...)) }
func (l raftLogger) Fatalf(format string, v ...any) { l.fatal(fmt.Sprintf(format, v...)) }
func (l raftLogger) Panic(v ...any)                 { l.fatal(fmt.Sprint(v...)) }
func (l raftLogger) Panicf(format string, v ...any) { l.fatal(fmt.Sprintf(format, v...)) }

// fatal stops the store, and the worker with it: Raft says so when a log lacks what it has acknowledged. Whoever drives Raft
// holds r.mu.
func (l raftLogger) fatal(msg string) {
	v := l.r.mu.view
	l.r.store.fatal("%s: %w: %s (replica %s, log (%d, %d], applied %d, snapshots to install %d)", l.r.id, ErrForgotten, msg,
		l.r.replicaID, v.truncated.Index, v.last.Index, l.r.applied.Load(), l.r.mu.installing)
	panic(fmt.Sprintf("range: %s: %s", l.r.id, msg))
}

func (l raftLogger) log(msg string) {
	l.r.store.cfg.Logger.Error("raft", "range", uint64(l.r.id), "msg", msg)
}
