package ranges

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/meridian-db/meridian/mvcc"
	"github.com/meridian-db/meridian/truetime"
)

// A range remembers whom it has absorbed, so that it can say so after it was split again, and whom those had absorbed.
var suffixAbsorbed = []byte{0, 'm'}

// maxAbsorbed bounds that. Who asks does so within seconds, as a rule, and no later merge waits for it.
const maxAbsorbed = 256

func absorbedKey(id, right RangeID) []byte {
	return binary.BigEndian.AppendUint64(localKey(id, suffixAbsorbed), uint64(right))
}

// noteAbsorbed notes that this range absorbs another, with what that one has noted.
func (r *Replica) noteAbsorbed(b *mvcc.Batch, right *Replica, generation uint64) error {
	type note struct {
		id  RangeID
		gen uint64
	}
	var notes []note
	scan := func(of RangeID) error {
		start := localKey(of, suffixAbsorbed)
		return mvcc.ScanLocal(r.Engine(), start, mvcc.PrefixEnd(start), func(key, value []byte) error {
			g, k := binary.Uvarint(value)
			if k <= 0 || len(key) != len(start)+8 {
				return fmt.Errorf("range: malformed note of a merge at %x", key)
			}
			notes = append(notes, note{RangeID(binary.BigEndian.Uint64(key[len(start):])), g})
			return nil
		})
	}
	if err := scan(r.id); err != nil {
		return err
	}
	own := len(notes)
	if err := scan(right.id); err != nil {
		return err
	}
	for _, x := range notes[own:] {
		b.PutLocal(absorbedKey(r.id, x.id), binary.AppendUvarint(nil, x.gen))
	}
	b.PutLocal(absorbedKey(r.id, right.id), binary.AppendUvarint(nil, generation))
	slices.SortFunc(notes, func(x, y note) int {
		return cmp.Or(cmp.Compare(x.gen, y.gen), cmp.Compare(x.id, y.id)) // the same on every replica
	})
	for _, x := range notes[:max(0, len(notes)+1-maxAbsorbed)] {
		b.DeleteLocal(absorbedKey(r.id, x.id))
	}
	return nil
}

// Answers of methodMergeFate.
const (
	fateMerged   = 1 // the left range has absorbed the right one
	fateCanceled = 2 // it has not, and the merge that froze the right one can have no effect any more
)

// settleFreeze finishes what a merge has left open on the right range. Called on the leader; it gives up when it does not
// lead any more, and the queue tries again later.
func (r *Replica) settleFreeze(ctx context.Context) error {
	f := r.Desc().Frozen
	if f == nil {
		// The freeze was not logged, or is not known to be. Once an entry behind it is applied it is known.
		if r.isHeld() {
			return r.logDescriptor(ctx)
		}
		return nil
	}
	fate, err := r.store.askFate(ctx, r, *f)
	if err != nil {
		return err
	}
	if fate == fateMerged {
		// The replica beside us, or another's answer, will tell us when to go.
		return fmt.Errorf("%w: %s was absorbed by %s", ErrNotReady, r.id, f.Left)
	}
	return r.logDescriptor(ctx)
}

// logDescriptor logs a thaw, or for a range that is not frozen a new generation.
func (r *Replica) logDescriptor(ctx context.Context) error {
	n := r.Desc().clone()
	n.Generation++
	n.Frozen = nil
	p, err := r.propose(ctx, Proposal{Encode: func(truetime.Timestamp) []byte { return n.Encode() }}, entryThaw, nil)
	if err != nil {
		return err
	}
	r.tellCommits()
	_, err = p.Wait(ctx)
	return err // ErrDropped: another descriptor came in between
}

// askFate asks the leader of the left range what has become of a merge.
func (s *Store) askFate(ctx context.Context, r *Replica, f Freeze) (byte, error) {
	b := binary.AppendUvarint(nil, uint64(r.id))
	b = binary.AppendUvarint(b, uint64(f.Left))
	b = binary.AppendUvarint(b, f.LeftGeneration)
	last := fmt.Errorf("%w: no leader of %s is known", ErrNotReady, f.Left)
	ask := func(node NodeID) (byte, bool) {
		cctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		var ans []byte
		var err error
		if node == s.cfg.NodeID {
			ans, err = s.handleMergeFate(cctx, b)
		} else {
			ans, err = s.cfg.Transport.Call(cctx, node, methodMergeFate, b)
		}
		if err != nil || len(ans) != 1 {
			if err != nil {
				last = err
			}
			return 0, false
		}
		return ans[0], true
	}
	nodes := []NodeID{s.cfg.NodeID}
	for _, x := range r.Desc().Replicas {
		nodes = append(nodes, x.Node)
	}
	if s.cfg.Nodes != nil {
		for _, x := range s.cfg.Nodes.Nodes() {
			nodes = append(nodes, x.ID)
		}
	}
	for i, n := range nodes {
		if slices.Contains(nodes[:i], n) {
			continue
		}
		if fate, ok := ask(n); ok {
			return fate, nil
		}
	}
	return 0, last
}

// handleMergeFate answers askFate. It answers only when the fate is final.
func (s *Store) handleMergeFate(ctx context.Context, payload []byte) ([]byte, error) {
	rd := reader{b: payload}
	rightID, leftID, generation := RangeID(rd.uvarint()), RangeID(rd.uvarint()), rd.uvarint()
	if rd.bad {
		return nil, errFrame
	}
	if into, err := s.log.MergedInto(uint64(rightID)); err != nil {
		return nil, err
	} else if into != 0 {
		return []byte{fateMerged}, nil
	}
	left, ok := s.Replica(leftID)
	for !ok {
		// It was absorbed itself. Whoever did that has its notes, and as it was frozen for that, nothing is added to them.
		into, err := s.log.MergedInto(uint64(leftID))
		if err != nil {
			return nil, err
		}
		if into == 0 {
			return nil, ErrRangeNotFound
		}
		if left, ok = s.Replica(RangeID(into)); !ok {
			leftID = RangeID(into)
			continue
		}
		_, known, err := mvcc.GetLocal(left.Engine(), absorbedKey(left.id, leftID))
		if err != nil || !known {
			return nil, errors.Join(ErrRangeNotFound, err) // too long ago
		}
		_, merged, err := mvcc.GetLocal(left.Engine(), absorbedKey(left.id, rightID))
		switch {
		case err != nil:
			return nil, err
		case merged:
			return []byte{fateMerged}, nil
		}
		return []byte{fateCanceled}, nil
	}
	for {
		if _, err := left.checkedLease(); err != nil {
			return nil, err
		}
		// All that earlier leaders have logged is applied. The generation first: the merge makes its note before it.
		over := left.Desc().Generation > generation
		_, merged, err := mvcc.GetLocal(left.Engine(), absorbedKey(leftID, rightID))
		switch {
		case err != nil:
			return nil, err
		case merged:
			return []byte{fateMerged}, nil
		case over:
			return []byte{fateCanceled}, nil
		}
		if err := left.logDescriptor(ctx); err != nil && !errors.Is(err, ErrDropped) {
			return nil, err
		}
	}
}
