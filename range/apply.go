package ranges

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"

	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-db/meridian/mvcc"
	"github.com/meridian-db/meridian/range/raftlog"
	"github.com/meridian-db/meridian/truetime"
)

// Range-local keys of this package start with 0x00; all other suffixes are the machine's.
var (
	suffixApplied = []byte{0, 'a'}
	suffixDesc    = []byte{0, 'd'}
)

// appliedState is written in one batch with the effects of the entries it covers.
type appliedState struct {
	index, term uint64
	closed      truetime.Timestamp
	size        int64 // bytes of versions, roughly
}

func (a appliedState) encode() []byte {
	b := make([]byte, 0, 40)
	b = append(b, 1) // version
	b = binary.AppendUvarint(b, a.index)
	b = binary.AppendUvarint(b, a.term)
	b = binary.AppendUvarint(b, uint64(a.closed))
	return binary.AppendUvarint(b, uint64(max(a.size, 0)))
}

func decodeApplied(b []byte) (appliedState, error) {
	r := reader{b: b}
	if v := r.byte(); v != 1 {
		return appliedState{}, fmt.Errorf("range: applied state of version %d", v)
	}
	a := appliedState{r.uvarint(), r.uvarint(), truetime.Timestamp(r.uvarint()), int64(r.uvarint())}
	if r.bad {
		return a, errors.New("range: malformed applied state")
	}
	return a, nil
}

// readState reads the descriptor and applied state of a range; a nil descriptor means there is none.
func readState(rd mvcc.Reader, id RangeID) (*Descriptor, appliedState, error) {
	return readLocalState(mvcc.LocalOf(rd), id)
}

func readLocalState(rd mvcc.LocalReader, id RangeID) (*Descriptor, appliedState, error) {
	v, ok, err := rd.GetLocal(mvcc.LocalKey(uint64(id), suffixDesc))
	if err != nil || !ok {
		return nil, appliedState{}, err
	}
	d, err := DecodeDescriptor(v)
	if err != nil {
		return nil, appliedState{}, fmt.Errorf("%s: %w", id, err)
	}
	v, ok, err = rd.GetLocal(mvcc.LocalKey(uint64(id), suffixApplied))
	if err != nil {
		return nil, appliedState{}, err
	}
	if !ok {
		return nil, appliedState{}, fmt.Errorf("range: %s has a descriptor but no applied state", id)
	}
	a, err := decodeApplied(v)
	return d, a, err
}

func putState(b *mvcc.Batch, d *Descriptor, a appliedState) {
	b.PutLocal(mvcc.LocalKey(uint64(d.ID), suffixDesc), d.Encode())
	b.PutLocal(mvcc.LocalKey(uint64(d.ID), suffixApplied), a.encode())
}

// outcome is what an applied entry leaves for its proposer.
type outcome struct {
	id     uint64
	result any
	err    error
}

// applier applies the entries of one message. Commands go into one batch; a split or a change of
// replicas ends it.
type applier struct {
	r        *Replica
	b        *mvcc.Batch
	index    uint64
	outcomes []outcome
	changes  []outcome // those of changes of replicas
}

// applyEntries applies committed entries. It runs on the range's apply goroutine, under applyMu. The proposers of changes
// of replicas are told by whoever calls, when Raft knows that they have been applied: it refuses the next one until then.
func (r *Replica) applyEntries(ents []*pb.Entry) (changes []outcome) {
	if len(ents) == 0 || ents[len(ents)-1].GetIndex() <= r.applied.Load() {
		return nil
	}
	a := applier{r: r, b: r.Engine().NewBatch()}
	for _, e := range ents {
		if e.GetIndex() <= r.applied.Load() {
			continue
		}
		if err := a.entry(e); err != nil {
			_ = a.b.Close()
			r.fail(fmt.Errorf("apply entry %d: %w", e.GetIndex(), err))
			return a.changes
		}
	}
	if err := a.flush(); err != nil {
		r.fail(fmt.Errorf("apply: %w", err))
		return a.changes
	}
	_ = a.b.Close()
	return a.changes
}

// fail takes the replica out of service: it cannot apply what the group has agreed on. It goes on
// storing the log, so that the group keeps its quorum, but neither leads nor applies again until the node
// is restarted or the replica is replaced.
func (r *Replica) fail(err error) {
	if r.store.closing.Load() || r.store.failed() {
		return
	}
	if diskError(err) {
		r.store.Fail(fmt.Errorf("%s: %w", r.id, err))
		return
	}
	r.broken.Store(&err)
	r.store.metrics.broken.Inc()
	r.store.cfg.Logger.Error("replica is out of service", "range", uint64(r.id), "node", uint64(r.store.cfg.NodeID), "err", err)
	r.poke(flagTick)
}

// diskError tells an error of the disk, which concerns all replicas, from one of a single replica's data.
func diskError(err error) bool {
	var path *fs.PathError
	var no syscall.Errno
	return errors.As(err, &path) || errors.As(err, &no)
}

func (a *applier) entry(e *pb.Entry) error {
	switch e.GetType() {
	case pb.EntryNormal:
		if len(e.Data) == 0 {
			a.at(e, 0)
			return nil
		}
		h, err := decodeEntryHeader(e.Data)
		if err != nil {
			return err
		}
		switch h.kind {
		case entryCommand:
			return a.command(e, h)
		case entryCheck:
			if err := a.check(e.GetIndex(), h); err != nil {
				return err
			}
			a.at(e, h.closed)
			a.done(h, e.GetIndex(), nil)
			return nil
		}
		return a.reshape(e, h)
	case pb.EntryConfChangeV2:
		return a.change(e)
	}
	return fmt.Errorf("entry of unknown type %s", e.GetType())
}

// at moves on to an entry. What is committed from here on says that the entry has been applied.
func (a *applier) at(e *pb.Entry, closed truetime.Timestamp) {
	a.index, a.r.apply.term = e.GetIndex(), e.GetTerm()
	a.r.apply.closed = max(a.r.apply.closed, closed)
}

func (a *applier) command(e *pb.Entry, h entryHeader) error {
	a.at(e, h.closed)
	span := a.r.traceApply(h, e.GetIndex())
	res, err := a.r.machine.Apply(a.b, a.index, h.payload)
	if span != nil {
		span.End()
	}
	if err != nil {
		return err
	}
	a.done(h, res, nil)
	return nil
}

// reshape applies an entry that changes the descriptor. It has a batch of its own: a crash must not leave a state that
// counts the entry as applied without what it does.
func (a *applier) reshape(e *pb.Entry, h entryHeader) error {
	if err := a.flush(); err != nil {
		return err
	}
	a.at(e, h.closed)
	r := a.r
	var err error
	var result any
	switch h.kind {
	case entryFreeze, entryThaw:
		err = r.applyDescriptor(a, h.payload, h.kind == entryFreeze)
		result = raftlog.Position{Index: e.GetIndex(), Term: e.GetTerm()}
	case entryMerge:
		err = r.applyMerge(a, h.payload)
	case entrySplit:
		if err = r.applySplit(a, h.payload); errors.Is(err, errStale) {
			r.liftFence()
		}
	default:
		return fmt.Errorf("entry of unknown kind %d", h.kind)
	}
	if errors.Is(err, errStale) {
		a.done(h, nil, ErrDropped)
		return a.flush()
	}
	if err != nil {
		return err
	}
	a.done(h, result, nil)
	a.tell()
	return nil
}

// change applies a change of replicas, as reshape does.
func (a *applier) change(e *pb.Entry) error {
	if err := a.flush(); err != nil {
		return err
	}
	var cc pb.ConfChangeV2
	if err := proto.Unmarshal(e.Data, &cc); err != nil {
		return err
	}
	h, err := decodeEntryHeader(cc.Context)
	if err != nil {
		return err
	}
	d, err := DecodeDescriptor(h.payload)
	if err != nil {
		return err
	}
	a.at(e, h.closed)
	err = a.r.applyChange(a, &cc, d)
	if errors.Is(err, errStale) {
		err = ErrDropped
	} else if err != nil {
		return err
	}
	if h.proposer == a.r.store.cfg.NodeID {
		a.changes = append(a.changes, outcome{h.id, nil, err})
	}
	return a.flush()
}

func (a *applier) done(h entryHeader, result any, err error) {
	if h.proposer == a.r.store.cfg.NodeID {
		a.outcomes = append(a.outcomes, outcome{h.id, result, err})
	}
}

// errStale reports a split or change that was made for a descriptor that has been replaced since: it has
// no effect, on any replica.
var errStale = errors.New("range: descriptor has changed")

// flush commits what has been gathered, makes it visible, and tells the proposers.
func (a *applier) flush() error {
	index := a.index
	if index <= a.r.applied.Load() {
		return nil
	}
	if err := a.commit(); err != nil {
		return err
	}
	a.visible(index)
	a.tell()
	return nil
}

// commit writes the batch with the applied state of a.index.
func (a *applier) commit() error {
	r := a.r
	r.apply.size += a.b.Grown()
	a.b.PutLocal(mvcc.LocalKey(uint64(r.id), suffixApplied), appliedState{
		index: a.index, term: r.apply.term, closed: r.apply.closed, size: r.apply.size,
	}.encode())
	if err := a.b.Commit(false); err != nil {
		return err
	}
	if err := a.b.Close(); err != nil {
		return err
	}
	a.b = r.Engine().NewBatch()
	return nil
}

// visible publishes the new applied index and closed timestamp.
func (a *applier) visible(index uint64) {
	r := a.r
	r.size.Store(r.apply.size)
	r.store.metrics.applied.Inc()
	// The machine first: whoever sees the new index or closed timestamp must see its prepared
	// transactions too.
	r.machine.Applied(index, r.apply.closed)
	r.applied.Store(index)
	r.closedApplied(index)
	r.waits.advance(index)
}

// tell tells the proposers.
func (a *applier) tell() {
	a.r.tell(a.outcomes)
	a.outcomes = a.outcomes[:0]
}

func (r *Replica) tell(outcomes []outcome) {
	for _, o := range outcomes {
		if began := r.pend.resolve(o.id, o.result, o.err); !began.IsZero() {
			r.replication.observe(time.Since(began))
		}
	}
}

func localKey(id RangeID, suffix []byte) []byte { return mvcc.LocalKey(uint64(id), suffix) }
