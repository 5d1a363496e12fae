package ranges

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"math"
	"time"

	"github.com/meridian-db/meridian/range/placement"
)

// A report tells the placer what a store leads. It goes over the network only when it says something new, so an idle
// cluster's placer costs each store one small request every few seconds.

// report is what a store says of itself and of the ranges that it leads.
type report struct {
	hash           uint64 // of everything that follows; never zero
	policies       uint64 // hash of the policies that the store knows; zero: none
	draining       bool
	capacity, free int64
	same           bool // on the wire: as the one that the placer has; ranges are left out
	ranges         []reportRange
}

type reportRange struct {
	desc   *Descriptor
	leader NodeID // whose report it is; not on the wire
	term   uint64
	bytes  int64
	load   float64 // requests per second
	busy   bool    // between configurations, or being changed
	from   []nodeLoad
}

// nodeLoad is how many requests per second come from a gateway.
type nodeLoad struct {
	node NodeID
	load float64
}

func (rep *report) setLeader(id NodeID) {
	for i := range rep.ranges {
		rep.ranges[i].leader = id
	}
}

// reportRequest asks for a report.
type reportRequest struct {
	have      uint64 // hash of the newest report from this store that the placer still has
	policies  uint64 // hash of the policies that are valid
	withSpans bool
	spans     []placement.SpanPolicy // these, when the store does not seem to know them
}

const maxReportPolicies = 16 << 20

func (q *reportRequest) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, q.have)
	b = binary.BigEndian.AppendUint64(b, q.policies)
	if !q.withSpans {
		return append(b, 0)
	}
	spans, err := json.Marshal(q.spans)
	if err != nil {
		panic(fmt.Sprintf("range: marshal policies: %v", err)) // plain values always marshal
	}
	return append(append(b, 1), spans...)
}

func decodeReportRequest(b []byte) (q reportRequest, err error) {
	if len(b) < 17 || len(b) > maxReportPolicies {
		return q, errFrame
	}
	q.have, q.policies = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	if q.withSpans = b[16] == 1; q.withSpans {
		if err := json.Unmarshal(b[17:], &q.spans); err != nil {
			return q, fmt.Errorf("range: placement policies: %w", err)
		}
	}
	return q, nil
}

func (s *Store) handleReport(payload []byte) ([]byte, error) {
	q, err := decodeReportRequest(payload)
	if err != nil {
		return nil, err
	}
	if q.withSpans {
		s.placer.setKnown(placement.NewSet(q.spans))
	}
	rep := s.report()
	rep.same = rep.hash == q.have
	return rep.encode(), nil
}

var reportSeed = maphash.MakeSeed()

// report describes this store.
func (s *Store) report() *report {
	rep := &report{draining: s.draining.Load(), policies: s.knownPolicies().Hash()}
	if u, err := s.cfg.FS.GetDiskUsage(s.cfg.Dir); err == nil {
		// In steps, so that what changes all the time is not news.
		rep.capacity, rep.free = int64(u.TotalBytes), int64(u.AvailBytes)&^(64<<20-1)
	}
	now := s.cfg.Clock.Now().Latest
	at := time.Now()
	for _, r := range s.replicaList() {
		if !r.leading.Load() || r.Lease().Until <= now {
			continue
		}
		d := r.Desc()
		rr := reportRange{desc: d, term: r.termNow.Load(), bytes: r.size.Load() &^ (1<<20 - 1), load: twoDigits(r.Load()), busy: r.changing.Load()}
		if pol := r.Policy(); pol.Follow || len(pol.Leaders) == 0 {
			rr.from = r.requestRates(at)
		}
		for _, x := range d.Replicas {
			rr.busy = rr.busy || x.Type != Voter
		}
		rep.ranges = append(rep.ranges, rr)
	}
	rep.hash = rep.sum()
	return rep
}

func (rep *report) sum() uint64 {
	var h maphash.Hash
	h.SetSeed(reportSeed)
	u := func(v uint64) {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], v)
		h.Write(b[:])
	}
	flag := func(b bool) {
		if b {
			u(1)
		} else {
			u(0)
		}
	}
	flag(rep.draining)
	u(rep.policies)
	u(uint64(rep.capacity))
	u(uint64(rep.free))
	for i := range rep.ranges {
		r := &rep.ranges[i]
		u(uint64(r.desc.ID))
		u(r.desc.Generation)
		u(r.term)
		u(uint64(r.bytes))
		u(math.Float64bits(r.load))
		flag(r.busy)
		for _, f := range r.from {
			u(uint64(f.node))
			u(math.Float64bits(f.load))
		}
	}
	return max(h.Sum64(), 1)
}

func (rep *report) encode() []byte {
	flags := byte(0)
	if rep.draining {
		flags |= 1
	}
	if rep.same {
		flags |= 2
	}
	b := append([]byte(nil), flags)
	b = binary.BigEndian.AppendUint64(b, rep.hash)
	b = binary.BigEndian.AppendUint64(b, rep.policies)
	b = binary.AppendUvarint(b, uint64(rep.capacity))
	b = binary.AppendUvarint(b, uint64(rep.free))
	if rep.same {
		return b
	}
	b = binary.AppendUvarint(b, uint64(len(rep.ranges)))
	var d []byte
	for i := range rep.ranges {
		r := &rep.ranges[i]
		d = r.desc.AppendTo(d[:0])
		b = binary.AppendUvarint(b, uint64(len(d)))
		b = append(b, d...)
		b = binary.AppendUvarint(b, r.term)
		b = binary.AppendUvarint(b, uint64(r.bytes))
		b = binary.BigEndian.AppendUint64(b, math.Float64bits(r.load))
		if r.busy {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
		b = binary.AppendUvarint(b, uint64(len(r.from)))
		for _, f := range r.from {
			b = binary.AppendUvarint(b, uint64(f.node))
			b = binary.BigEndian.AppendUint64(b, math.Float64bits(f.load))
		}
	}
	return b
}

func decodeReport(b []byte) (*report, error) {
	rd := reader{b: b}
	flags := rd.byte()
	rep := &report{draining: flags&1 != 0, same: flags&2 != 0}
	float := func() float64 {
		v := rd.bytes(8)
		if rd.bad {
			return 0
		}
		f := math.Float64frombits(binary.BigEndian.Uint64(v))
		if math.IsNaN(f) || math.IsInf(f, 0) || f < 0 {
			rd.bad = true
		}
		return f
	}
	if v := rd.bytes(16); !rd.bad {
		rep.hash, rep.policies = binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:])
	}
	rep.capacity, rep.free = int64(rd.uvarint()), int64(rd.uvarint())
	if rd.bad || rep.same {
		return rep, rd.err()
	}
	for n := rd.uvarint(); n > 0 && !rd.bad; n-- {
		var r reportRange
		var err error
		if r.desc, err = DecodeDescriptor(rd.bytes(rd.uvarint())); err != nil {
			return nil, err
		}
		r.term, r.bytes, r.load = rd.uvarint(), int64(rd.uvarint()), float()
		r.busy = rd.byte() == 1
		for n := rd.uvarint(); n > 0 && !rd.bad; n-- {
			r.from = append(r.from, nodeLoad{NodeID(rd.uvarint()), float()})
		}
		rep.ranges = append(rep.ranges, r)
	}
	return rep, rd.err()
}

func (r *reader) err() error {
	if r.bad {
		return errFrame
	}
	return nil
}

// setKnown takes over the policies that a placer has read.
func (p *placer) setKnown(set *placement.Set) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.known == nil || p.mu.known.Hash() != set.Hash() {
		p.mu.known = set
		p.s.policies.Store(set)
		p.s.layout.Add(1)
	}
}

func (s *Store) knownPolicies() *placement.Set { return s.policies.Load() }

// PolicyAt returns the placement policy of a key. known is false while this store has not heard of the policies,
// which takes a few seconds after it has started or the policies have changed.
func (s *Store) PolicyAt(key []byte) (pol placement.Policy, known bool) {
	set := s.knownPolicies()
	return set.At(key), set != nil
}

// Policy returns the placement policy of the range, the zero Policy while it is not known.
func (r *Replica) Policy() placement.Policy { return r.store.knownPolicies().At(r.Desc().Start) }

// PolicyBoundary returns a key strictly inside (start, end) at which a placement policy begins or ends, nil when
// there is none: two ranges that meet at one must not be merged. known is as for PolicyAt.
func (s *Store) PolicyBoundary(start, end []byte) (key []byte, known bool) {
	set := s.knownPolicies()
	return set.Boundary(start, end), set != nil
}

// loadWindow is over how long the rates of reports are decayed.
const loadWindow = time.Minute

// twoDigits rounds a load: what fluctuates is not news.
func twoDigits(f float64) float64 {
	if f < 1 {
		return 0
	}
	scale := math.Pow(10, math.Floor(math.Log10(f))-1)
	return math.Round(f/scale) * scale
}
