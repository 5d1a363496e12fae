package ranges

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/meridian-db/meridian/mvcc"
	"github.com/meridian-db/meridian/truetime"
)

// Clients are answered from one replica: what a disk, or a bug, has done to another shows when it leads, perhaps months later.
// So each range is checked once in Config.CheckInterval. Its leader puts a command into the log, at which every replica
// takes a snapshot of its state and sums it up in the background; then it asks all of them. Who differs from a majority of
// the voters is out of service from then on, after a restart too (Replica.fail). Without such a majority nobody knows
// who is right: that is only told.

const (
	// checkPoll is how often a leader asks for a sum that is being made.
	checkPoll = time.Second
	// checkLate is how old a check may be for a replica to take part: what it replays after a restart is nobody's any more.
	checkLate = time.Minute
	// checkPatience is how long a leader waits for sums beyond what reading takes.
	checkPatience = time.Minute
)

// ErrDamaged is why a replica is out of service whose data is not what a majority of the range's replicas have.
var ErrDamaged = errors.New("range: the replica's data is damaged")

// check is the sum of a replica's data at an index.
type check struct {
	index  uint64
	cancel context.CancelFunc
	done   chan struct{}
	sum    [sha256.Size]byte
	err    error
}

// checks is what a replica knows of checks.
type checks struct {
	mu      sync.Mutex
	last    *check    // the newest
	at      time.Time // when a check was last applied, or could not be made
	differs string    // on the leader, what the last one found; empty: nothing
}

// check applies a check: it has no effect on the state. What is summed up is the state before it.
func (a *applier) check(index uint64, h entryHeader) error {
	if err := a.flush(); err != nil {
		return err
	}
	a.r.beginCheck(index, h.payload)
	return nil
}

// beginCheck sums up the replica's data as it is now.
func (r *Replica) beginCheck(index uint64, payload []byte) {
	s := r.store
	rd := reader{b: payload}
	asked := truetime.Timestamp(rd.uvarint())
	ctx, cancel := context.WithCancel(s.ctx)
	c := &check{index: index, cancel: cancel, done: make(chan struct{})}
	r.checks.mu.Lock()
	if old := r.checks.last; old != nil {
		old.cancel()
	}
	r.checks.last, r.checks.at = c, time.Now()
	r.checks.mu.Unlock()
	if rd.bad || s.cfg.Clock.Now().Earliest > asked.Add(checkLate) {
		c.err = errCheckLate
		cancel()
		close(c.done)
		return
	}
	d, snap := r.Desc(), r.Engine().NewSnapshot()
	if !s.spawn(func() {
		defer close(c.done)
		defer cancel()
		defer snap.Close()
		var n int64
		c.sum, n, c.err = mvcc.Checksum(snap, mvcc.RangeData{RangeID: uint64(r.id), Span: mvcc.Span{Start: d.Start, End: d.End}},
			replicated, func(bytes int) error {
				if s.cfg.CheckRate <= 0 {
					return context.Cause(ctx)
				}
				return s.checking.take(ctx, bytes)
			})
		s.metrics.checkedBytes.Add(float64(n))
	}) {
		cancel()
		snap.Close()
	}
}

var errCheckLate = errors.New("range: the check is no longer wanted")

// replicated tells what all replicas have of the range's local keys. Of those of this package that is the descriptor: the
// position in the log, with what a replica has counted on its way there, is its own.
func replicated(suffix []byte) bool {
	return len(suffix) == 0 || suffix[0] != suffixDesc[0] || slices.Equal(suffix, suffixDesc)
}

// States of a check, as a replica answers.
const (
	checkUnknown = 0 // it has not come there, or was ahead of it
	checkRuns    = 1
	checkSum     = 2
	checkBroken  = 3 // its data cannot be read
)

// handleCheck answers methodCheck: what is the sum at an index?
func (s *Store) handleCheck(payload []byte) ([]byte, error) {
	rd := reader{b: payload}
	id, index := RangeID(rd.uvarint()), rd.uvarint()
	if rd.bad {
		return nil, errFrame
	}
	r, ok := s.Replica(id)
	if !ok {
		return nil, ErrRangeNotFound
	}
	if err := r.broken.Load(); err != nil {
		return nil, *err
	}
	state, sum, err := r.checkAt(index)
	switch state {
	case checkSum:
		return append([]byte{checkSum}, sum[:]...), nil
	case checkBroken:
		return append([]byte{checkBroken}, err.Error()...), nil
	}
	return []byte{state}, nil
}

// checkAt returns how far the replica is with the check at an index.
func (r *Replica) checkAt(index uint64) (state byte, sum [sha256.Size]byte, err error) {
	r.checks.mu.Lock()
	c := r.checks.last
	r.checks.mu.Unlock()
	if c == nil || c.index < index {
		if r.applied.Load() >= index {
			return checkUnknown, sum, nil
		}
		return checkRuns, sum, nil
	}
	if c.index > index {
		return checkUnknown, sum, nil
	}
	select {
	case <-c.done:
	default:
		return checkRuns, sum, nil
	}
	var damage *mvcc.CorruptError
	switch {
	case c.err == nil:
		return checkSum, c.sum, nil
	case errors.As(c.err, &damage):
		return checkBroken, sum, c.err
	}
	return checkUnknown, sum, nil
}

// handleDamaged answers methodDamaged: a check has found that the replica differs from the others.
func (s *Store) handleDamaged(payload []byte) ([]byte, error) {
	rd := reader{b: payload}
	id, replica := RangeID(rd.uvarint()), ReplicaID(rd.uvarint())
	if rd.bad {
		return nil, errFrame
	}
	r, ok := s.Replica(id)
	if !ok || r.replicaID != replica {
		return nil, ErrRangeNotFound
	}
	return nil, r.damaged(string(rd.b))
}

func damagedName(id RangeID, replica ReplicaID) string {
	return "damaged/" + strconv.FormatUint(uint64(id), 10) + "/" + strconv.FormatUint(uint64(replica), 10)
}

// damaged takes the replica out of service for good.
func (r *Replica) damaged(why string) error {
	if err := r.store.log.SetStore(damagedName(r.id, r.replicaID), []byte(why)); err != nil {
		return err
	}
	if r.broken.Load() == nil {
		r.fail(fmt.Errorf("%w: %s", ErrDamaged, why))
	}
	return nil
}

// recallDamage takes a replica out of service that was found damaged in an earlier life of the store.
func (r *Replica) recallDamage() error {
	why, err := r.store.log.GetStore(damagedName(r.id, r.replicaID))
	if err == nil && why != nil {
		out := fmt.Errorf("%w: %s", ErrDamaged, why)
		r.broken.Store(&out)
	}
	return err
}

// compareLoop checks the ranges led here, one after the other.
func (s *Store) compareLoop() {
	look := time.NewTicker(min(time.Minute, s.cfg.CheckInterval/4))
	defer look.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-look.C:
		}
		for r := s.nextCheck(); r != nil; r = s.nextCheck() {
			if err := r.Check(s.ctx); err != nil && s.ctx.Err() == nil {
				s.cfg.Logger.Info("range check", "range", uint64(r.id), "err", err)
			}
			if s.ctx.Err() != nil {
				return
			}
		}
	}
}

// nextCheck returns the range led here whose check is the longest overdue, nil if none is.
func (s *Store) nextCheck() *Replica {
	if s.failed() || s.draining.Load() || s.cfg.MayCheck != nil && !s.cfg.MayCheck() {
		return nil
	}
	now := time.Now()
	var next *Replica
	due := now
	for _, r := range s.replicaList() {
		if !r.leading.Load() {
			continue
		}
		r.checks.mu.Lock()
		if r.checks.at.IsZero() {
			// A store that has started would find all of them due at once.
			h := fnv.New64a()
			h.Write(binary.BigEndian.AppendUint64(nil, uint64(r.id)))
			h.Write([]byte{byte(s.cfg.NodeID)})
			r.checks.at = now.Add(-time.Duration(float64(s.cfg.CheckInterval) * float64(h.Sum64()) / math.MaxUint64))
		}
		if at := r.checks.at.Add(s.cfg.CheckInterval); at.Before(due) {
			next, due = r, at
		}
		r.checks.mu.Unlock()
	}
	return next
}

// Check compares the range's replicas. Called on the leader. It returns when all that can be reached have been compared,
// or with the error for which they could not be; that they differ is no error here.
func (r *Replica) Check(ctx context.Context) error {
	s := r.store
	defer func() {
		r.checks.mu.Lock()
		r.checks.at = time.Now() // however it went: no range keeps the others waiting
		r.checks.mu.Unlock()
	}()
	ctx, cancel := context.WithTimeout(ctx, checkPatience+4*s.readingTime(r.size.Load()))
	defer cancel()
	p, err := r.propose(ctx, Proposal{Encode: func(truetime.Timestamp) []byte {
		return binary.AppendUvarint(nil, uint64(s.cfg.Clock.Now().Latest))
	}}, entryCheck, nil)
	if err != nil {
		return err
	}
	res, err := p.Wait(ctx)
	if err != nil {
		return err
	}
	index := res.(uint64)
	d := r.Desc()
	answers := make([]answer, len(d.Replicas))
	var wg sync.WaitGroup
	for i, x := range d.Replicas {
		wg.Go(func() { answers[i] = r.askSum(ctx, x, index) })
	}
	wg.Wait()
	s.metrics.checks.Inc()
	return r.judge(ctx, d, index, answers)
}

// readingTime is how long summing up takes.
func (s *Store) readingTime(bytes int64) time.Duration {
	if s.cfg.CheckRate <= 0 {
		return time.Minute
	}
	return time.Duration(float64(bytes) / float64(s.cfg.CheckRate) * float64(time.Second))
}

// answer is what is known of a replica's data.
type answer struct {
	known bool
	sum   string // empty: the data cannot be read, for the reason why
	why   string
}

func (r *Replica) askSum(ctx context.Context, x ReplicaDesc, index uint64) answer {
	payload := binary.AppendUvarint(binary.AppendUvarint(nil, uint64(r.id)), index)
	for {
		var ans []byte
		var err error
		if x.Node == r.store.cfg.NodeID {
			ans, err = r.store.handleCheck(payload)
		} else {
			ans, err = r.store.cfg.Transport.Call(ctx, x.Node, methodCheck, payload)
		}
		switch {
		case err != nil || len(ans) == 0:
			return answer{}
		case ans[0] == checkSum:
			return answer{known: true, sum: string(ans[1:])}
		case ans[0] == checkBroken:
			return answer{known: true, why: string(ans[1:])}
		case ans[0] == checkUnknown:
			return answer{}
		}
		t := time.NewTimer(checkPoll)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return answer{}
		}
	}
}

// judge tells who is right.
func (r *Replica) judge(ctx context.Context, d *Descriptor, index uint64, answers []answer) error {
	s := r.store
	votes, voters := map[string]int{}, 0
	differ := ""
	var first *answer
	for i, x := range d.Replicas {
		a := &answers[i]
		if x.Type != Learner {
			voters++
		}
		if !a.known {
			continue
		}
		if a.sum != "" && x.Type != Learner {
			votes[a.sum]++
		}
		if first == nil {
			first = a
		}
		if a.sum != first.sum || a.sum == "" {
			differ = fmt.Sprintf("replicas differ at index %d", index)
		}
	}
	right := ""
	for sum, n := range votes {
		if 2*n > voters {
			right = sum
		}
	}
	var wrong []ReplicaDesc
	for i, x := range d.Replicas {
		if a := &answers[i]; differ != "" && a.known {
			what := fmt.Sprintf("%x", a.sum)
			differ += fmt.Sprintf("; %s: %.16s", x.Node, cmp.Or(what, a.why))
			if right != "" && a.sum != right {
				wrong = append(wrong, x)
			}
		}
	}
	r.checks.mu.Lock()
	r.checks.differs = differ
	r.checks.mu.Unlock()
	if differ == "" {
		return nil
	}
	s.metrics.differences.Inc()
	s.cfg.Logger.Error("replicas of a range differ", "range", uint64(r.id), "start", fmt.Sprintf("%x", d.Start), "what", differ)
	if right == "" {
		return nil
	}
	// This one last: it leads until then.
	slices.SortFunc(wrong, func(x, y ReplicaDesc) int {
		return cmp.Compare(btoi(x.Node == s.cfg.NodeID), btoi(y.Node == s.cfg.NodeID))
	})
	var errs []error
	for _, x := range wrong {
		if x.Node == s.cfg.NodeID {
			errs = append(errs, r.damaged(differ))
			continue
		}
		b := binary.AppendUvarint(binary.AppendUvarint(nil, uint64(r.id)), uint64(x.Replica))
		_, err := s.cfg.Transport.Call(ctx, x.Node, methodDamaged, append(b, differ...))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Checked returns when the range was last checked as far as this replica knows, zero if never, and on its leader what
// the last check has found, empty if the replicas were equal.
func (r *Replica) Checked() (at time.Time, differs string) {
	r.checks.mu.Lock()
	defer r.checks.mu.Unlock()
	if r.checks.last == nil {
		return time.Time{}, r.checks.differs
	}
	return r.checks.at, r.checks.differs
}
