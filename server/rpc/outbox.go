package rpc

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc/mem"
)

// outbox queues frames for one stream. Producers never block: a full outbox refuses. One writer goroutine
// drains it, so that frames which pile up while a message is being sent share the next one.
type outbox struct {
	latency func() time.Duration // nil: none
	wake    chan struct{}        // capacity 1
	mu      struct {
		sync.Mutex
		q      []outFrame
		bytes  int
		closed bool
	}
}

// outboxBytes bounds what waits in one outbox: past it Raft frames are dropped and requests refused.
const outboxBytes = 2 * MaxPayload

type outFrame struct {
	due  time.Time // zero: at once
	n    uint8
	head [55]byte // largest head: kind, id 10, service, flags, timeout 10, trace 25
	body []byte
}

var errOutboxFull = errors.New("rpc: too many bytes queued for the peer")

func newOutbox(latency func() time.Duration) *outbox {
	return &outbox{latency: latency, wake: make(chan struct{}, 1)}
}

// put queues f; it keeps f.payload until it is written.
func (o *outbox) put(f *frame) error {
	var of outFrame
	of.n = uint8(len(f.appendHead(of.head[:0])))
	of.body = f.payload
	if o.latency != nil {
		if d := o.latency(); d > 0 {
			of.due = time.Now().Add(d)
		}
	}
	o.mu.Lock()
	if o.mu.closed {
		o.mu.Unlock()
		return ErrUnavailable
	}
	if len(o.mu.q) > 0 && o.mu.bytes+len(of.body) > outboxBytes {
		o.mu.Unlock()
		return errOutboxFull
	}
	o.mu.q = append(o.mu.q, of)
	o.mu.bytes += len(of.body) + len(of.head)
	first := len(o.mu.q) == 1
	o.mu.Unlock()
	if first {
		select {
		case o.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

func (o *outbox) close() {
	o.mu.Lock()
	o.mu.closed = true
	o.mu.q = nil
	o.mu.Unlock()
}

// run writes frames until ctx ends or send fails.
func (o *outbox) run(ctx context.Context, send func(*message) error) error {
	var spare []outFrame
	for {
		o.mu.Lock()
		batch := o.mu.q
		o.mu.q, o.mu.bytes = spare[:0], 0
		o.mu.Unlock()
		if len(batch) == 0 {
			spare = batch
			select {
			case <-o.wake:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		for i := 0; i < len(batch); {
			if d := batch[i].due; !d.IsZero() {
				if err := sleepUntil(ctx, d); err != nil {
					return err
				}
			}
			size, j := 0, i
			for ; j < len(batch) && (j == i || size < batchBytes); j++ {
				of := &batch[j]
				if j > i && (of.due.After(batch[i].due) || size+len(of.body) > maxMessage/2) {
					break
				}
				size += len(of.body) + int(of.n) + 5
			}
			buf := mem.DefaultBufferPool().Get(size)
			*buf = (*buf)[:0]
			for ; i < j; i++ {
				of := &batch[i]
				*buf = binary.AppendUvarint(*buf, uint64(int(of.n)+len(of.body)))
				*buf = append(*buf, of.head[:of.n]...)
				*buf = append(*buf, of.body...)
				of.body = nil
			}
			if err := send(&message{out: mem.NewBuffer(buf, mem.DefaultBufferPool())}); err != nil {
				return err
			}
		}
		if cap(batch) > 4096 {
			batch = nil
		}
		spare = batch
	}
}

func sleepUntil(ctx context.Context, due time.Time) error {
	d := time.Until(due)
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
