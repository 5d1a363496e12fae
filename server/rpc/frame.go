package rpc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/meridian-db/meridian/truetime"
)

// MaxPayload bounds the payload of one request, answer or Raft frame, in bytes.
const MaxPayload = 80 << 20

// maxFrame bounds a frame with its envelope.
const maxFrame = MaxPayload + 1<<10

// A connection carries frames, each a block (conn.go):
//
//	request   1  id  service  flags  [timeout µs]  [trace id 16B, span id 8B, flags 1B]  payload
//	answer    2  id  payload
//	failure   3  id  code  text
//	cancel    4  id
//	ping      5  id
//	pong      6  id  valid 1B  earliest 8B  latest 8B
//	raft      7  payload
//	chunk     8  payload
//	end       9
//	broken   10  text
//
// Kinds are one byte, ids, timeout and code uvarints. A payload reaches to the frame's end. The last three are those of a
// bulk stream (bulk.go).
type frameKind uint8

const (
	frameRequest frameKind = 1 + iota
	frameAnswer
	frameFailure
	frameCancel
	framePing
	framePong
	frameRaft
	frameChunk
	frameEnd
	frameBroken
)

const (
	flagTimeout = 1 << iota
	flagTrace
	flagsKnown = flagTimeout | flagTrace
)

// frame is a decoded frame. payload aliases the block.
type frame struct {
	kind    frameKind
	id      uint64
	service Service
	timeout time.Duration // 0: none
	trace   trace.SpanContext
	code    uint64
	clock   truetime.Interval
	valid   bool // pong: clock is known
	payload []byte
}

var errFrame = errors.New("rpc: malformed frame")

// appendHead appends everything of f but the payload, without the length.
func (f *frame) appendHead(b []byte) []byte {
	b = append(b, byte(f.kind))
	if f.kind >= frameRaft {
		return b
	}
	b = binary.AppendUvarint(b, f.id)
	switch f.kind {
	case frameRequest:
		b = append(b, byte(f.service))
		var flags byte
		if f.timeout > 0 {
			flags |= flagTimeout
		}
		if f.trace.IsValid() {
			flags |= flagTrace
		}
		b = append(b, flags)
		if flags&flagTimeout != 0 {
			b = binary.AppendUvarint(b, uint64(f.timeout/time.Microsecond))
		}
		if flags&flagTrace != 0 {
			tid, sid := f.trace.TraceID(), f.trace.SpanID()
			b = append(b, tid[:]...)
			b = append(b, sid[:]...)
			b = append(b, byte(f.trace.TraceFlags()))
		}
	case frameFailure:
		b = binary.AppendUvarint(b, f.code)
	case framePong:
		var valid byte
		if f.valid {
			valid = 1
		}
		b = append(b, valid)
		b = binary.BigEndian.AppendUint64(b, uint64(f.clock.Earliest))
		b = binary.BigEndian.AppendUint64(b, uint64(f.clock.Latest))
	}
	return b
}

// decodeFrame decodes one frame without its length.
func decodeFrame(b []byte, f *frame) error {
	*f = frame{}
	if len(b) == 0 {
		return errFrame
	}
	f.kind, b = frameKind(b[0]), b[1:]
	switch {
	case f.kind > frameBroken:
		return fmt.Errorf("%w: kind %d", errFrame, f.kind)
	case f.kind >= frameRaft:
		f.payload = b
		return nil
	}
	var ok bool
	if f.id, b, ok = uvarint(b); !ok {
		return errFrame
	}
	switch f.kind {
	case frameRequest:
		if len(b) < 2 {
			return errFrame
		}
		f.service = Service(b[0])
		flags := b[1]
		b = b[2:]
		if flags&^flagsKnown != 0 {
			return fmt.Errorf("%w: unknown flags %#x", errFrame, flags)
		}
		if flags&flagTimeout != 0 {
			var us uint64
			if us, b, ok = uvarint(b); !ok || us == 0 {
				return errFrame
			}
			f.timeout = time.Duration(min(us, 1<<40)) * time.Microsecond
		}
		if flags&flagTrace != 0 {
			if len(b) < 25 {
				return errFrame
			}
			f.trace = trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID(b[:16]),
				SpanID: trace.SpanID(b[16:24]), TraceFlags: trace.TraceFlags(b[24]), Remote: true})
			b = b[25:]
		}
		f.payload = b
	case frameAnswer:
		f.payload = b
	case frameFailure:
		if f.code, b, ok = uvarint(b); !ok {
			return errFrame
		}
		f.payload = b
	case frameCancel, framePing:
		if len(b) != 0 {
			return errFrame
		}
	case framePong:
		if len(b) != 17 || b[0] > 1 {
			return errFrame
		}
		f.valid = b[0] == 1
		f.clock.Earliest = truetime.Timestamp(binary.BigEndian.Uint64(b[1:]))
		f.clock.Latest = truetime.Timestamp(binary.BigEndian.Uint64(b[9:]))
		if f.clock.Earliest > f.clock.Latest {
			return errFrame
		}
	default:
		return fmt.Errorf("%w: kind %d", errFrame, f.kind)
	}
	return nil
}

func uvarint(b []byte) (uint64, []byte, bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, false
	}
	return v, b[n:], true
}
