package ranges

import (
	"encoding/binary"
	"errors"

	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-db/meridian/truetime"
)

// A frame is what SendRaft carries: a kind byte and then records of that kind up to the frame's end.
const (
	frameRaft     = 1 // Raft messages
	frameClosed   = 2 // closed timestamps of idle ranges
	frameWake     = 3 // ranges whose leader should send a heartbeat
	frameQuery    = 4 // is the lease of (range, term) over?
	frameReleased = 5 // the lease of (range, term) is over, or will be at a time
)

var errFrame = errors.New("range: malformed frame")

// raftMsg is a Raft message with what travels beside it.
type raftMsg struct {
	rng   RangeID
	m     *pb.Message
	epoch uint64 // the support epoch under which the sender follows the receiver (see votes)
}

// Flags of an encoded message say which fields follow.
const (
	flagReject = 1 << iota
	flagLogTerm
	flagIndex
	flagCommit
	flagHint
	flagContext
	flagEntries
	flagEpoch
)

func appendRaftMsg(b []byte, rm raftMsg) []byte {
	m := rm.m
	b = binary.AppendUvarint(b, uint64(rm.rng))
	b = binary.AppendUvarint(b, m.GetTo())
	b = binary.AppendUvarint(b, m.GetFrom())
	b = binary.AppendUvarint(b, m.GetTerm())
	var flags byte
	if m.GetReject() {
		flags |= flagReject
	}
	if m.GetLogTerm() != 0 {
		flags |= flagLogTerm
	}
	if m.GetIndex() != 0 {
		flags |= flagIndex
	}
	if m.GetCommit() != 0 {
		flags |= flagCommit
	}
	if m.GetRejectHint() != 0 {
		flags |= flagHint
	}
	if len(m.Context) > 0 {
		flags |= flagContext
	}
	if len(m.Entries) > 0 {
		flags |= flagEntries
	}
	if rm.epoch != 0 {
		flags |= flagEpoch
	}
	b = append(b, byte(m.GetType()), flags)
	if flags&flagLogTerm != 0 {
		b = binary.AppendUvarint(b, m.GetLogTerm())
	}
	if flags&flagIndex != 0 {
		b = binary.AppendUvarint(b, m.GetIndex())
	}
	if flags&flagCommit != 0 {
		b = binary.AppendUvarint(b, m.GetCommit())
	}
	if flags&flagHint != 0 {
		b = binary.AppendUvarint(b, m.GetRejectHint())
	}
	if flags&flagContext != 0 {
		b = binary.AppendUvarint(b, uint64(len(m.Context)))
		b = append(b, m.Context...)
	}
	if flags&flagEpoch != 0 {
		b = binary.AppendUvarint(b, rm.epoch)
	}
	if flags&flagEntries != 0 {
		b = binary.AppendUvarint(b, uint64(len(m.Entries)))
		for _, e := range m.Entries {
			b = append(b, byte(e.GetType()))
			b = binary.AppendUvarint(b, e.GetTerm())
			b = binary.AppendUvarint(b, e.GetIndex())
			b = binary.AppendUvarint(b, uint64(len(e.Data)))
			b = append(b, e.Data...)
		}
	}
	return b
}

// reader decodes varints with one error check at the end.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

// bytes returns the next n bytes, aliasing the input.
func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// wireMsg and wireEntry hold a message with the values its pointers point at: one allocation each.
type wireMsg struct {
	m   pb.Message
	typ pb.MessageType
	rej bool
	v   [7]uint64
}

type wireEntry struct {
	e           pb.Entry
	typ         pb.EntryType
	term, index uint64
}

// readRaftMsg decodes one message. Its entries alias the frame.
func readRaftMsg(r *reader) (raftMsg, error) {
	w := &wireMsg{}
	m := &w.m
	rm := raftMsg{rng: RangeID(r.uvarint()), m: m}
	w.v[0], w.v[1], w.v[2] = r.uvarint(), r.uvarint(), r.uvarint()
	m.To, m.From, m.Term = &w.v[0], &w.v[1], &w.v[2]
	w.typ = pb.MessageType(r.byte())
	m.Type = &w.typ
	flags := r.byte()
	if flags&flagReject != 0 {
		w.rej = true
	}
	m.Reject = &w.rej
	if flags&flagLogTerm != 0 {
		w.v[3] = r.uvarint()
		m.LogTerm = &w.v[3]
	}
	if flags&flagIndex != 0 {
		w.v[4] = r.uvarint()
		m.Index = &w.v[4]
	}
	if flags&flagCommit != 0 {
		w.v[5] = r.uvarint()
		m.Commit = &w.v[5]
	}
	if flags&flagHint != 0 {
		w.v[6] = r.uvarint()
		m.RejectHint = &w.v[6]
	}
	if flags&flagContext != 0 {
		if c := r.bytes(r.uvarint()); len(c) > 0 {
			m.Context = c
		}
	}
	if flags&flagEpoch != 0 {
		rm.epoch = r.uvarint()
	}
	if flags&flagEntries != 0 {
		n := r.uvarint()
		if n > uint64(len(r.b))/4 {
			return rm, errFrame
		}
		ents := make([]wireEntry, n)
		m.Entries = make([]*pb.Entry, n)
		for i := range ents {
			e := &ents[i]
			e.typ = pb.EntryType(r.byte())
			e.term, e.index = r.uvarint(), r.uvarint()
			if data := r.bytes(r.uvarint()); len(data) > 0 {
				e.e.Data = data
			}
			e.e.Type, e.e.Term, e.e.Index = &e.typ, &e.term, &e.index
			m.Entries[i] = &e.e
			if e.typ < 0 || e.typ > pb.EntryConfChangeV2 {
				return rm, errFrame
			}
		}
	}
	if r.bad || !remoteType(w.typ) {
		return rm, errFrame
	}
	return rm, nil
}

// remoteType reports whether another node may send a message of the type. Snapshots travel on bulk
// streams, proposals are never forwarded, and reads never go through Raft.
func remoteType(t pb.MessageType) bool {
	switch t {
	case pb.MsgApp, pb.MsgAppResp, pb.MsgVote, pb.MsgVoteResp, pb.MsgPreVote, pb.MsgPreVoteResp,
		pb.MsgHeartbeat, pb.MsgHeartbeatResp, pb.MsgTimeoutNow:
		return true
	}
	return false
}

// closedUpdate says that its leader will never write at or below closed after index.
type closedUpdate struct {
	rng    RangeID
	term   uint64
	index  uint64
	closed truetime.Timestamp
}

func appendClosed(b []byte, u closedUpdate) []byte {
	b = binary.AppendUvarint(b, uint64(u.rng))
	b = binary.AppendUvarint(b, u.term)
	b = binary.AppendUvarint(b, u.index)
	return binary.AppendUvarint(b, uint64(u.closed))
}

func readClosed(r *reader) closedUpdate {
	return closedUpdate{RangeID(r.uvarint()), r.uvarint(), r.uvarint(), truetime.Timestamp(r.uvarint())}
}

// leaseNote is a frameQuery (until unused) or frameReleased record.
type leaseNote struct {
	rng   RangeID
	term  uint64
	until truetime.Timestamp
}

func appendLeaseNote(b []byte, n leaseNote) []byte {
	b = binary.AppendUvarint(b, uint64(n.rng))
	b = binary.AppendUvarint(b, n.term)
	return binary.AppendUvarint(b, uint64(n.until))
}

func readLeaseNote(r *reader) leaseNote {
	return leaseNote{RangeID(r.uvarint()), r.uvarint(), truetime.Timestamp(r.uvarint())}
}
