package ranges

import (
	"encoding/binary"
	"errors"

	"go.opentelemetry.io/otel/trace"

	"github.com/meridian-db/meridian/truetime"
)

// An entry's data is
//
//	kind(1) flags(1) proposer(4) id(8) closed(8) [trace: 16+8+1] payload
//
// big endian. proposer and id let the proposing replica find whom to tell; closed is the closed timestamp
// of the range once the entry has been applied. Raft's own entries (term starts) are empty.
const (
	entryCommand = 1 // payload is the machine's
	entrySplit   = 2 // payload is a split
	entryChange  = 3 // payload is the new descriptor; the Raft change that carries it wraps all this
	entryFreeze  = 4 // payload is the new descriptor, frozen (merge.go)
	entryThaw    = 5 // payload is the new descriptor, not frozen any more, or of a new generation only
	entryMerge   = 6 // payload is a merge
	entryCheck   = 7 // payload is when it was proposed: replicas sum up what they hold (check.go)
)

const (
	entryTraced     = 1 << 0
	entryHeaderSize = 22
	entryTraceSize  = 25
)

type entryHeader struct {
	kind     byte
	proposer NodeID
	id       uint64
	closed   truetime.Timestamp
	span     trace.SpanContext // zero when the proposal is not traced
	payload  []byte
}

var errEntry = errors.New("range: malformed log entry")

func (h *entryHeader) encode() []byte {
	n := entryHeaderSize + len(h.payload)
	flags := byte(0)
	if h.span.IsValid() {
		flags |= entryTraced
		n += entryTraceSize
	}
	b := make([]byte, 0, n)
	b = append(b, h.kind, flags)
	b = binary.BigEndian.AppendUint32(b, uint32(h.proposer))
	b = binary.BigEndian.AppendUint64(b, h.id)
	b = binary.BigEndian.AppendUint64(b, uint64(h.closed))
	if flags&entryTraced != 0 {
		tid, sid := h.span.TraceID(), h.span.SpanID()
		b = append(b, tid[:]...)
		b = append(b, sid[:]...)
		b = append(b, byte(h.span.TraceFlags()))
	}
	return append(b, h.payload...)
}

func decodeEntryHeader(b []byte) (entryHeader, error) {
	if len(b) < entryHeaderSize {
		return entryHeader{}, errEntry
	}
	h := entryHeader{
		kind:     b[0],
		proposer: NodeID(binary.BigEndian.Uint32(b[2:])),
		id:       binary.BigEndian.Uint64(b[6:]),
		closed:   truetime.Timestamp(binary.BigEndian.Uint64(b[14:])),
	}
	flags := b[1]
	b = b[entryHeaderSize:]
	if flags&entryTraced != 0 {
		if len(b) < entryTraceSize {
			return entryHeader{}, errEntry
		}
		h.span = trace.NewSpanContext(trace.SpanContextConfig{
			TraceID:    trace.TraceID(b[:16]),
			SpanID:     trace.SpanID(b[16:24]),
			TraceFlags: trace.TraceFlags(b[24]),
			Remote:     true,
		})
		b = b[entryTraceSize:]
	}
	h.payload = b
	return h, nil
}
