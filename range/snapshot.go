package ranges

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-db/meridian/mvcc"
	"github.com/meridian-db/meridian/range/raftlog"
)

// A snapshot stream is a header, then chunks of the exporter, each cut into pieces of at most maxPiece
// bytes with a leading byte that says whether the chunk goes on; an empty piece ends it. The receiver
// answers one message: empty for success, else what went wrong.
const (
	pieceMore = 1
	pieceLast = 0
	maxPiece  = MaxBulkChunk - 1

	snapshotChunk = 512 << 10
	maxIncoming   = 16
)

// errSnapshotRefused: the receiver does not want it, or not yet: its replica of the range that this one was split from
// has to shrink first, by the log or a snapshot of its own.
var errSnapshotRefused = errors.New("range: snapshot refused")

// refusedTicks is the pause after that, and after any snapshot that failed. Other followers are served meanwhile.
const refusedTicks = 2

type snapshotHeader struct {
	rng      RangeID
	to, from ReplicaID
	term     uint64 // of the leader
	at       raftlog.Position
	desc     *Descriptor
}

func (h *snapshotHeader) encode() []byte {
	b := []byte{1} // version
	for _, v := range []uint64{uint64(h.rng), uint64(h.to), uint64(h.from), h.term, h.at.Index, h.at.Term} {
		b = binary.AppendUvarint(b, v)
	}
	return h.desc.AppendTo(b)
}

func decodeSnapshotHeader(b []byte) (h snapshotHeader, err error) {
	rd := reader{b: b}
	if v := rd.byte(); v != 1 {
		return h, fmt.Errorf("range: snapshot of version %d", v)
	}
	h.rng, h.to, h.from = RangeID(rd.uvarint()), ReplicaID(rd.uvarint()), ReplicaID(rd.uvarint())
	h.term, h.at.Index, h.at.Term = rd.uvarint(), rd.uvarint(), rd.uvarint()
	if rd.bad {
		return h, errFrame
	}
	if h.desc, err = DecodeDescriptor(rd.b); err != nil {
		return h, err
	}
	if h.desc.ID != h.rng {
		return h, errFrame
	}
	return h, nil
}

// sendSnapshot streams the range's applied state to a replica and waits until it is installed there.
func (r *Replica) sendSnapshot(ctx context.Context, to ReplicaDesc) error {
	err := r.streamSnapshot(ctx, to)
	if err != nil {
		r.mu.Lock()
		if r.mu.refused != nil {
			r.mu.refused[to.Replica] = r.mu.ticks
		}
		r.mu.Unlock()
	}
	return err
}

func (r *Replica) streamSnapshot(ctx context.Context, to ReplicaDesc) error {
	snap := r.Engine().NewSnapshot()
	defer snap.Close()
	d, a, err := readState(snap, r.id)
	if err != nil {
		return err
	}
	if d == nil {
		return ErrRangeNotFound
	}
	r.mu.Lock()
	if r.mu.rn == nil || r.mu.role != raft.StateLeader {
		r.mu.Unlock()
		return &NotLeaderError{Range: r.id, Hint: r.LeaderHint()}
	}
	if r.mu.snapshots[to.Replica] != 0 {
		r.mu.Unlock()
		return fmt.Errorf("%w: a snapshot of %s to %s is under way", ErrNotReady, r.id, to.Node)
	}
	if r.mu.strangers[to.Replica] && r.mu.rn.Status().Progress[uint64(to.Replica)].Match > a.index {
		// The log that it still has, and that the snapshot replaces, holds entries that were acknowledged.
		r.mu.Unlock()
		return fmt.Errorf("%w: %s has not applied what %s has acknowledged", ErrNotReady, r.id, to.Node)
	}
	// Keeps the log from being truncated above what the snapshot holds.
	r.mu.snapshots[to.Replica] = a.index
	term := r.mu.term
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.mu.snapshots, to.Replica)
		r.mu.Unlock()
		r.poke(flagWake)
	}()
	ctx, moved, done := r.watchSend(ctx, to, term)
	defer done()
	stream, err := r.store.cfg.Transport.OpenBulk(ctx, to.Node)
	if err != nil {
		return err
	}
	defer stream.Close()
	defer context.AfterFunc(ctx, func() { stream.Close() })()
	h := snapshotHeader{
		rng: r.id, to: to.Replica, from: r.replicaID, term: term,
		at: raftlog.Position{Index: a.index, Term: a.term}, desc: d,
	}
	if err := stream.Send(h.encode()); err != nil {
		return err
	}
	x := mvcc.NewExporter(snap, mvcc.RangeData{RangeID: uint64(r.id), Span: mvcc.Span{Start: d.Start, End: d.End}})
	defer x.Close()
	var chunk, piece []byte
	for {
		if chunk, err = x.Next(chunk, snapshotChunk); err != nil {
			return err
		}
		if chunk == nil {
			break
		}
		// Clients go first: whatever a new replica is for, it takes the network and the disks of nodes that serve.
		if r.store.cfg.SnapshotRate > 0 {
			if err := r.store.sending.take(ctx, len(chunk)); err != nil {
				return err
			}
			moved()
		}
		r.store.metrics.snapBytes.Add(float64(len(chunk)))
		for rest := chunk; len(rest) > 0; {
			n := min(len(rest), maxPiece)
			kind := byte(pieceLast)
			if n < len(rest) {
				kind = pieceMore
			}
			piece = append(append(piece[:0], kind), rest[:n]...)
			rest = rest[n:]
			if err := stream.Send(piece); err != nil {
				return cmp.Or(context.Cause(ctx), err)
			}
			moved()
		}
	}
	if err := stream.Send([]byte{pieceLast}); err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	ans, err := stream.Recv()
	switch {
	case err != nil:
		return cmp.Or(context.Cause(ctx), err)
	case len(ans) > 0:
		return fmt.Errorf("%w: %.200s", errSnapshotRefused, ans)
	}
	r.store.metrics.snapsSent.Inc()
	r.mu.Lock()
	delete(r.mu.strangers, to.Replica)
	r.mu.Unlock()
	return nil
}

// snapshotStall is how long a receiver may take for the next piece of a snapshot, or to install it.
const snapshotStall = time.Minute

// watchSend returns a context for the stream of a snapshot that ends when its answer will not come, or is of no use any
// more. While a stream is under way the follower gets no other, the leader's log is not truncated and its queue does nothing
// else; and a connection can take long to notice that the process at its other end is gone. moved is called when a piece has
// been taken, done at the end.
func (r *Replica) watchSend(ctx context.Context, to ReplicaDesc, term uint64) (_ context.Context, moved, done func()) {
	s := r.store
	ctx, cancel := context.WithCancelCause(ctx)
	var life uint64 // of the node, once it is known
	supported := false
	var at atomic.Int64
	moved = func() { at.Store(time.Now().UnixNano()) }
	moved()
	look := func() {
		now := s.votes.life(to.Node)
		reached := s.votes.supports(to.Node, s.cfg.Clock.Now())
		switch {
		case !r.leading.Load() || r.termNow.Load() != term:
			cancel(&NotLeaderError{Range: r.id, Hint: r.LeaderHint()})
		case life != 0 && now != life:
			cancel(fmt.Errorf("%w: snapshot of %s: %s has restarted", ErrNotReady, r.id, to.Node))
		case supported && !reached: // a new node has not been asked for votes yet
			cancel(fmt.Errorf("%w: snapshot of %s: %s is gone", ErrNotReady, r.id, to.Node))
		case time.Now().UnixNano()-at.Load() > int64(snapshotStall):
			cancel(fmt.Errorf("%w: snapshot of %s: %s does not go on", ErrNotReady, r.id, to.Node))
		}
		life, supported = now, supported || reached
	}
	look()
	go func() {
		t := time.NewTicker(refusedTicks * s.cfg.TickInterval)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				look()
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, moved, func() { cancel(nil) }
}

// incomingSnapshots bounds and names the snapshots being received, and holds those that Raft has yet to
// install, by number.
type incomingSnapshots struct {
	mu     sync.Mutex
	n      int
	seq    uint64
	staged map[uint64]*stagedSnapshot
}

type stagedSnapshot struct {
	h    snapshotHeader
	ing  *mvcc.Ingester
	done chan error // buffered
}

var errReplicaRemoved = errors.New("range: the replica has been removed")

func (in *incomingSnapshots) enter() (seq uint64, ok bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.n >= maxIncoming {
		return 0, false
	}
	in.n++
	in.seq++
	return in.seq, true
}

func (in *incomingSnapshots) leave(seq uint64) {
	in.mu.Lock()
	in.n--
	delete(in.staged, seq)
	in.mu.Unlock()
}

// HandleBulk receives a snapshot stream that another node's store has opened.
func (s *Store) HandleBulk(ctx context.Context, from NodeID, stream BulkStream) error {
	if !s.started.Load() || s.failed() || !s.gate.enter() {
		return ErrClosed
	}
	defer s.gate.leave()
	seq, ok := s.incoming.enter()
	if !ok {
		err := fmt.Errorf("%w: too many snapshots", ErrNotReady)
		_ = stream.Send([]byte(err.Error()))
		return err
	}
	defer s.incoming.leave(seq)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(s.ctx, func() { cancel(); stream.Close() })
	defer stop()
	err := s.receiveSnapshot(ctx, from, seq, stream)
	var msg []byte
	if err != nil {
		msg = []byte(err.Error())
	}
	if serr := stream.Send(msg); err == nil {
		err = serr
	}
	_ = stream.CloseSend()
	return err
}

func (s *Store) receiveSnapshot(ctx context.Context, from NodeID, seq uint64, stream BulkStream) error {
	b, err := stream.Recv()
	if err != nil {
		return err
	}
	h, err := decodeSnapshotHeader(b)
	if err != nil {
		return err
	}
	me, ok := h.desc.ByID(h.to)
	if !ok || me.Node != s.cfg.NodeID {
		return fmt.Errorf("range: snapshot for %s/%s, which is not here", h.rng, h.to)
	}
	if err := s.checkTombstone(h); err != nil {
		return err
	}
	if err := s.claim(h); err != nil {
		return err
	}
	defer s.unclaim(h.rng)
	dir := s.cfg.FS.PathJoin(s.cfg.Dir, "incoming", strconv.FormatUint(s.boot, 10)+"-"+strconv.FormatUint(seq, 10))
	ing, err := s.cfg.Engine.NewIngester(dir, mvcc.RangeData{
		RangeID: uint64(h.rng), Span: mvcc.Span{Start: h.desc.Start, End: h.desc.End},
	})
	if err != nil {
		return err
	}
	defer ing.Close()
	if err := receiveChunks(stream, ing); err != nil {
		return err
	}
	r, ok := s.Replica(h.rng)
	if !ok {
		return s.createFromSnapshot(h, from, ing)
	}
	return s.offerSnapshot(ctx, r, from, seq, &stagedSnapshot{h: h, ing: ing, done: make(chan error, 1)})
}

// checkTombstone refuses a snapshot for a replica that was removed from here: it is gone for good.
func (s *Store) checkTombstone(h snapshotHeader) error {
	t, err := s.log.Tombstone(uint64(h.rng))
	if err == nil && ReplicaID(t) >= h.to {
		err = fmt.Errorf("range: replica %s of %s was removed from %s", h.to, h.rng, s.cfg.NodeID)
	}
	return err
}

func receiveChunks(stream BulkStream, ing *mvcc.Ingester) error {
	var chunk []byte
	for {
		piece, err := stream.Recv()
		if err == io.EOF {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		if len(piece) == 0 || len(chunk)+len(piece) > mvcc.MaxChunkBytes {
			return errFrame
		}
		if len(piece) == 1 && len(chunk) == 0 {
			return nil
		}
		chunk = append(chunk, piece[1:]...)
		if piece[0] == pieceLast {
			if err := ing.Add(chunk); err != nil {
				return err
			}
			chunk = chunk[:0]
		}
	}
}

// claim makes sure that nothing else here holds keys of the snapshot, nor will while it is installed. A
// replica of another range that overlaps has yet to apply a split; it must do that first. Or its range is no more: a
// range keeps its first key for as long as it lives, so if the snapshot's range holds that at a later generation, it,
// or one that it was split from, has absorbed the other. Such replicas are not in the way; they go when the snapshot comes.
func (s *Store) claim(h snapshotHeader) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.creating[h.rng] != nil {
		return fmt.Errorf("%w: another snapshot of %s is under way", ErrNotReady, h.rng)
	}
	for id, x := range s.mu.leaving {
		if x.desc.Overlaps(h.desc.Start, h.desc.End) {
			return fmt.Errorf("%w: %s is going, which overlaps %s", ErrNotReady, id, h.rng)
		}
	}
	for id, d := range s.mu.creating {
		if d.Overlaps(h.desc.Start, h.desc.End) {
			return fmt.Errorf("%w: %s overlaps %s", ErrNotReady, h.rng, id)
		}
	}
	if r := s.mu.replicas[h.rng]; r != nil && r.replicaID != h.to {
		if _, member := h.desc.ByID(r.replicaID); !member && h.desc.NextReplica > r.replicaID &&
			h.desc.Generation > r.Desc().Generation {
			// It was removed and does not know it yet.
			r.queue.push(applyWork{r: r, fn: func() {
				if !r.removed.Load() {
					s.removeReplica(r, r.Desc())
				}
			}})
		}
		return fmt.Errorf("%w: replica %s of %s is still here", ErrNotReady, r.replicaID, h.rng)
	}
	if _, err := s.absorbed(h); err != nil {
		return err
	}
	s.mu.creating[h.rng] = h.desc
	return nil
}

func (s *Store) unclaim(id RangeID) {
	s.mu.Lock()
	delete(s.mu.creating, id)
	s.mu.Unlock()
}

// createFromSnapshot makes a new replica.
//
// Order, for a crash at any point: flush, so that no earlier write of a neighbour (a split) is replayed over
// what follows; state; log. A state without its log is found by recoverLog.
//
// From where it ends other replicas it does not stop when the sender does: half of it would leave what they held without
// an owner until the next start.
func (s *Store) createFromSnapshot(h snapshotHeader, from NodeID, ing *mvcc.Ingester) error {
	if err := s.awaitLeaving(h); err != nil {
		return err
	}
	// Its own replica may have been removed while the snapshot was on its way to that.
	if err := s.checkTombstone(h); err != nil {
		return err
	}
	if err := s.cfg.Engine.Flush(); err != nil {
		return err
	}
	buried, err := s.bury(h)
	if err != nil {
		return err
	}
	if err = ing.Finish(s.ctx); err == nil {
		err = s.clearBuried(buried, h)
	}
	if err != nil {
		if len(buried) > 0 {
			s.fatal("install a snapshot of %s: %w", h.rng, err)
		}
		return err
	}
	// A log without state is left when a crash has undone the split that made the replica, and the snapshot has come
	// before the split was applied again. Its vote counts.
	st, err := s.log.Load(uint64(h.rng))
	if err != nil {
		return err
	}
	hs := raftlog.HardState{Term: max(h.term, h.at.Term), Commit: h.at.Index}
	if st.Hard.Term >= hs.Term {
		hs.Term, hs.Vote = st.Hard.Term, st.Hard.Vote
	}
	lb := s.log.NewBatch()
	lb.Reset(uint64(h.rng), h.at, hs)
	if err := lb.Commit(true); err != nil {
		return err
	}
	d, a, err := readState(s.cfg.Engine, h.rng)
	if err != nil {
		return err
	}
	if d == nil || a.index != h.at.Index {
		return fmt.Errorf("range: snapshot of %s holds no state at index %d", h.rng, h.at.Index)
	}
	if _, err := s.newReplica(d, a, h.to, nil); err != nil {
		return err
	}
	s.metrics.snapsTaken.Inc()
	if hs.Term == h.term {
		// The leader's Raft may believe that it has nothing to send before a snapshot, and would not ask.
		out := newOutbox(s)
		out.add(from, raftMsg{rng: h.rng, m: &pb.Message{
			Type: pb.MsgAppResp.Enum(), From: new(uint64(h.to)), To: new(uint64(h.from)), Term: new(h.term), Index: new(h.at.Index),
		}})
		out.flush()
	}
	return nil
}

// offerSnapshot hands a snapshot to the Raft of a replica that lags, which may find it stale.
func (s *Store) offerSnapshot(ctx context.Context, r *Replica, from NodeID, seq uint64, st *stagedSnapshot) error {
	// Once Raft has taken it no range's log is written until it is installed, which begins with a flush: so that this has
	// little to do, there is one now.
	if err := s.cfg.Engine.Flush(); err != nil {
		return err
	}
	s.incoming.mu.Lock()
	if s.incoming.staged == nil {
		s.incoming.staged = make(map[uint64]*stagedSnapshot)
	}
	s.incoming.staged[seq] = st
	s.incoming.mu.Unlock()
	m := &pb.Message{
		Type: pb.MsgSnap.Enum(), From: new(uint64(st.h.from)), To: new(uint64(st.h.to)), Term: new(st.h.term),
		Snapshot: &pb.Snapshot{
			Data: binary.AppendUvarint(nil, seq),
			Metadata: &pb.SnapshotMetadata{
				Index: new(st.h.at.Index), Term: new(st.h.at.Term), ConfState: st.h.desc.confState(),
			},
		},
	}
	out := newOutbox(s)
	r.mu.Lock()
	if r.mu.rn == nil {
		r.mu.Unlock()
		return ErrRangeNotFound
	}
	r.peers.Store(st.h.from, from)
	err := r.mu.rn.Step(m)
	before := r.mu.installing
	if err == nil {
		r.handleReady(out)
	}
	taken := r.mu.installing > before
	r.mu.Unlock()
	out.flush()
	if err != nil {
		return err
	}
	if !taken {
		return nil // it has all that the snapshot holds
	}
	select {
	case err := <-st.done:
		return err
	case <-s.ctx.Done():
		return ErrClosed
	}
}

// installSnapshot replaces a replica's state and log by a snapshot that its Raft has accepted. It runs on the
// append goroutine; b holds the appends that came before. The ingestion runs between applies.
func (s *Store) installSnapshot(r *Replica, m *pb.Message, b *raftlog.Batch) error {
	if err := b.Commit(true); err != nil {
		return err
	}
	seq, _ := binary.Uvarint(m.Snapshot.Data)
	s.incoming.mu.Lock()
	st := s.incoming.staged[seq]
	s.incoming.mu.Unlock()
	if st == nil {
		return fmt.Errorf("snapshot %d is gone", seq)
	}
	done := make(chan error, 1)
	if !r.queue.push(applyWork{r: r, fn: func() { done <- r.replaceState(st) }}) {
		return ErrClosed
	}
	err := <-done
	st.done <- err
	if errors.Is(err, errReplicaRemoved) {
		return nil // nobody needs it any more
	}
	if err == nil {
		s.metrics.snapsTaken.Inc()
	}
	return err
}

// replaceState runs on the range's apply goroutine.
func (r *Replica) replaceState(st *stagedSnapshot) error {
	s, old := r.store, r.Desc()
	if r.removed.Load() {
		return errReplicaRemoved
	}
	if err := s.cfg.Engine.Flush(); err != nil {
		return err
	}
	buried, err := s.bury(st.h)
	if err != nil {
		return err
	}
	if err := st.ing.Finish(s.ctx); err != nil {
		return err
	}
	if err := s.clearBuried(buried, st.h); err != nil {
		return err
	}
	d, a, err := readState(s.cfg.Engine, r.id)
	if err != nil {
		return err
	}
	if d == nil || a.index != st.h.at.Index {
		return fmt.Errorf("snapshot holds no state at index %d", st.h.at.Index)
	}
	// A split that this replica never applied has made it smaller.
	b := s.cfg.Engine.NewBatch()
	b.ClearSpan(mvcc.Span{Start: old.Start, End: d.Start})
	b.ClearSpan(mvcc.Span{Start: d.End, End: old.End})
	if err := errors.Join(b.Commit(false), b.Close()); err != nil {
		return err
	}
	hs := r.disk.hard // the append goroutine, which owns it, waits for this function
	hs.Commit = a.index
	lb := s.log.NewBatch()
	lb.Reset(uint64(r.id), st.h.at, hs)
	if err := lb.Commit(true); err != nil {
		return err
	}
	r.disk.last, r.disk.hard, r.disk.written = a.index, hs, hs
	r.mu.Lock()
	r.mu.installing--
	r.desc.Store(d)
	r.mu.Unlock()
	r.truncated.Store(a.index)
	r.apply.term, r.apply.closed, r.apply.size = a.term, max(r.apply.closed, a.closed), a.size
	r.size.Store(a.size)
	r.lease.reconfigure(d)
	s.mu.Lock()
	s.reindex()
	s.mu.Unlock()
	r.machine.Reset()
	r.machine.Applied(a.index, r.apply.closed)
	r.applied.Store(a.index)
	r.closedApplied(a.index)
	r.waits.advance(a.index)
	return nil
}
