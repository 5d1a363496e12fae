package rpc

import (
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"sync"
	"time"
)

// wire is what an outbox writes to. It is used by one goroutine at a time.
type wire interface {
	// try writes without waiting if the wire is eager, and otherwise does wait. It may keep a part of b.
	try(b []byte) error
	// write returns when all that was kept and b have been written.
	write(b []byte) error
	behind() bool // try has kept something, which waits for write
	eager() bool
}

// outbox queues frames for one connection. Producers never wait: a full outbox refuses. A frame that comes alone is written
// by its producer; the rest is for the writer goroutine, in which frames that came meanwhile share a write.
type outbox struct {
	latency func() time.Duration // nil: none
	to      wire
	wake    chan struct{} // capacity 1
	buf     []byte        // of whoever is sending
	mu      struct {
		sync.Mutex
		q       []outFrame
		bytes   int
		puts    uint64 // frames taken
		closed  bool
		sending bool      // someone writes: the writer, or a producer
		last    time.Time // when a frame was taken
		behind  bool      // a producer's frame has not been written to its end
		err     error     // of a producer
		idle    sync.Cond
	}
}

// inlineBytes is the largest frame that its producer writes: encrypting a larger one would keep it too long.
const inlineBytes = 16 << 10

// outboxBytes bounds what waits in one outbox: past it Raft frames are dropped and requests refused.
const outboxBytes = 2 * MaxPayload

// batchBytes is how much goes into one write when frames queue up. A larger frame goes alone.
const batchBytes = 64 << 10

// crowdGap is the time between two frames below which the second one goes to the writer: others will be there before
// it is, and a write for several costs the CPU of a write for one. With 16 callers that is half of all CPU time.
const crowdGap = 50 * time.Microsecond

type outFrame struct {
	due  time.Time // zero: at once
	n    uint8
	head [55]byte // largest head: kind, id 10, service, flags, timeout 10, trace 25
	body []byte
}

var errOutboxFull = errors.New("rpc: too many bytes queued for the peer")

func newOutbox(latency func() time.Duration, to wire) *outbox {
	o := &outbox{latency: latency, to: to, wake: make(chan struct{}, 1)}
	o.mu.idle.L = &o.mu
	return o
}

// put queues or writes f; it keeps f.payload until it is written. What became of a frame that was written is as unknown as
// of one in the queue.
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
	o.mu.puts++
	now := time.Now()
	crowd := now.Sub(o.mu.last) < crowdGap
	o.mu.last = now
	if !crowd && len(o.mu.q) == 0 && !o.mu.sending && !o.mu.behind && of.due.IsZero() && len(of.body) <= inlineBytes && o.to.eager() {
		o.mu.sending = true
		o.mu.Unlock()
		o.buf = of.appendTo(o.buf[:0])
		err := o.to.try(o.buf)
		behind := o.to.behind()
		o.mu.Lock()
		o.mu.sending, o.mu.behind = false, behind
		if o.mu.err == nil {
			o.mu.err = err
		}
		wake := behind || len(o.mu.q) > 0 || err != nil
		if o.mu.closed {
			o.mu.idle.Broadcast()
		}
		o.mu.Unlock()
		if wake {
			o.wakeWriter()
		}
		return nil
	}
	o.mu.q = append(o.mu.q, of)
	o.mu.bytes += len(of.body) + len(of.head)
	wake := len(o.mu.q) == 1 && !o.mu.sending // who sends looks again
	o.mu.Unlock()
	if wake {
		o.wakeWriter()
	}
	return nil
}

// count returns the number of frames that put has taken.
func (o *outbox) count() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mu.puts
}

func (o *outbox) wakeWriter() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// close returns when no producer is writing any more.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.closed = true
	o.mu.q = nil
	for o.mu.sending {
		o.mu.idle.Wait()
	}
}

// run writes what is queued until ctx ends or the wire fails.
func (o *outbox) run(ctx context.Context) error {
	var spare []outFrame
	for {
		o.mu.Lock()
		if err := o.mu.err; err != nil {
			o.mu.Unlock()
			return err
		}
		var batch []outFrame
		mine := (len(o.mu.q) > 0 || o.mu.behind) && !o.mu.sending
		if mine {
			batch = o.mu.q
			o.mu.q, o.mu.bytes, o.mu.sending, o.mu.behind = spare[:0], 0, true, false
		}
		o.mu.Unlock()
		if !mine {
			select {
			case <-o.wake:
				runtime.Gosched() // to who is about to bring more
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		err := o.write(ctx, batch)
		o.mu.Lock()
		o.mu.sending = false
		if o.mu.closed {
			o.mu.idle.Broadcast()
		}
		o.mu.Unlock()
		if err != nil {
			return err
		}
		clear(batch)
		if spare = batch; cap(batch) > 4096 {
			spare = nil
		}
	}
}

// write writes what the wire has kept and then a batch, in as few pieces as its delays permit.
func (o *outbox) write(ctx context.Context, batch []outFrame) error {
	buf := o.buf[:0]
	for i := range batch {
		if d := batch[i].due; !d.IsZero() && time.Until(d) > 0 {
			if err := o.to.write(buf); err != nil {
				return err
			}
			buf = buf[:0]
			if err := sleepUntil(ctx, d); err != nil {
				return err
			}
		}
		if len(buf) > 0 && len(buf)+len(batch[i].body) > batchBytes {
			if err := o.to.write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
		buf = batch[i].appendTo(buf)
	}
	err := o.to.write(buf)
	if o.buf = buf[:0]; cap(buf) > 2*batchBytes {
		o.buf = nil
	}
	return err
}

// appendTo appends the frame as a block.
func (of *outFrame) appendTo(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(int(of.n)+len(of.body)))
	b = append(b, of.head[:of.n]...)
	return append(b, of.body...)
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
