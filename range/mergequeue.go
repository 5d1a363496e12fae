package ranges

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// The queue merges what nobody uses: a range is merged with its right neighbour when both have been cold for
// Config.MergeAfter, as seen by their present leaders, when together they are less than half as large as what would be
// split, when no placement policy begins or ends between them, and nobody has asked for the split lately. A split for load
// begins the wait anew, so a range that was split is not merged before it has been cold as long.

// mergeLook is how often the leader of a cold range looks at its neighbour, at most.
const mergeLook = 5 * time.Minute

// mergeTask returns a merge to be tried, nil when there is none to think of. It is the queue's own.
func (r *Replica) mergeTask(d *Descriptor) func(ctx context.Context) error {
	s := r.store
	// Neither the meta range and the system's keys, nor the last range.
	if s.cfg.MergeAfter <= 0 || bytes.Compare(d.Start, []byte{0x03}) < 0 || bytes.Compare(d.End, []byte{0xff}) >= 0 {
		return nil
	}
	now := time.Now()
	if r.load.coldFor(now) < s.cfg.MergeAfter || r.size.Load() > s.mergeBytes() || s.merging.Load() ||
		now.Sub(r.mergeLooked) < min(mergeLook, s.cfg.MergeAfter) {
		return nil
	}
	r.mergeLooked = now
	if s.cfg.MayMerge != nil && !s.cfg.MayMerge() {
		return nil
	}
	return func(ctx context.Context) error {
		// One at a time: merges are in no hurry, and each holds up two ranges for a moment.
		if !s.merging.CompareAndSwap(false, true) {
			return nil
		}
		defer s.merging.Store(false)
		return r.mergeCold(ctx)
	}
}

// mergeBytes is the largest size of a range that comes of a merge.
func (s *Store) mergeBytes() int64 {
	if s.cfg.SplitBytes < 0 {
		return math.MaxInt64
	}
	return s.cfg.SplitBytes / 2
}

func (r *Replica) mergeCold(ctx context.Context) error {
	s, d := r.store, r.Desc()
	var rd *Descriptor
	if right, ok := s.ReplicaForKey(d.End); ok {
		rd = right.Desc()
	} else if s.cfg.Locate != nil {
		var err error
		if rd, err = s.cfg.Locate(ctx, d.End); err != nil {
			return nil // it is not a good moment
		}
	}
	if rd == nil || !bytes.Equal(rd.Start, d.End) || s.cfg.Clock.Now().Latest < rd.Stays {
		return nil
	}
	if key, known := s.PolicyBoundary(d.Start, rd.End); key != nil || !known {
		return nil
	}
	size, cold, ok := s.askNeighbour(ctx, rd)
	if !ok || cold < s.cfg.MergeAfter || size > s.mergeBytes()-r.size.Load() {
		return nil
	}
	s.cfg.Logger.Info("merge of cold ranges", "left", uint64(d.ID), "right", uint64(rd.ID), "bytes", size+r.size.Load())
	return r.Merge(ctx)
}

// askNeighbour asks the leader of a range for its size, and for how long it has been cold.
func (s *Store) askNeighbour(ctx context.Context, d *Descriptor) (size int64, cold time.Duration, ok bool) {
	b := binary.AppendUvarint(nil, uint64(d.ID))
	for _, x := range d.Replicas {
		var ans []byte
		var err error
		if x.Node == s.cfg.NodeID {
			ans, err = s.handleNeighbour(b)
		} else {
			cctx, cancel := context.WithTimeout(ctx, time.Second)
			ans, err = s.cfg.Transport.Call(cctx, x.Node, methodNeighbour, b)
			cancel()
		}
		if err != nil {
			continue
		}
		rd := reader{b: ans}
		size, cold = int64(rd.uvarint()), time.Duration(rd.uvarint())
		return size, cold, !rd.bad
	}
	return 0, 0, false
}

func (s *Store) handleNeighbour(payload []byte) ([]byte, error) {
	rd := reader{b: payload}
	id := RangeID(rd.uvarint())
	if rd.bad {
		return nil, errFrame
	}
	r, ok := s.Replica(id)
	if !ok {
		return nil, ErrRangeNotFound
	}
	if _, err := r.checkedLease(); err != nil {
		return nil, fmt.Errorf("neighbour: %w", err)
	}
	b := binary.AppendUvarint(nil, uint64(max(r.size.Load(), 0)))
	return binary.AppendUvarint(b, uint64(r.load.coldFor(time.Now()))), nil
}
