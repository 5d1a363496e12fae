package rpc

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/mem"
)

// outbox queues frames for one stream. Producers never block: a full outbox refuses. One writer goroutine
// drains it, so that frames which pile up while a message is being sent share the next one. A frame that finds
// everything idle is sent by its producer, which spares the way over the writer.
type outbox struct {
	latency func() time.Duration // nil: none
	send    func(*message) error // may block while gRPC holds bytes of this stream that it cannot get rid of
	wake    chan struct{}        // capacity 1
	// inGRPC counts the messages that gRPC has not written to the connection yet.
	inGRPC atomic.Int32
	mu     struct {
		sync.Mutex
		q       []outFrame
		bytes   int
		puts    uint64 // frames taken
		closed  bool
		sending bool  // someone calls send: the writer, or a producer
		err     error // of a producer's send
		idle    sync.Cond
	}
}

// inlineBytes is the largest frame that its producer sends: far less than what gRPC takes from a stream without blocking,
// when it holds nothing else.
const inlineBytes = 16 << 10

// outboxBytes bounds what waits in one outbox: past it Raft frames are dropped and requests refused.
const outboxBytes = 2 * MaxPayload

type outFrame struct {
	due  time.Time // zero: at once
	n    uint8
	head [55]byte // largest head: kind, id 10, service, flags, timeout 10, trace 25
	body []byte
}

var errOutboxFull = errors.New("rpc: too many bytes queued for the peer")

func newOutbox(latency func() time.Duration, send func(*message) error) *outbox {
	o := &outbox{latency: latency, send: send, wake: make(chan struct{}, 1)}
	o.mu.idle.L = &o.mu
	return o
}

// put queues or sends f; it keeps f.payload until it is written. What became of a frame that was sent is as unknown as of one
// in the queue.
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
	if len(o.mu.q) == 0 && !o.mu.sending && of.due.IsZero() && len(of.body) <= inlineBytes && o.inGRPC.Load() == 0 {
		o.mu.sending = true
		o.mu.Unlock()
		err := o.send(o.message([]outFrame{of}, of.size()))
		o.mu.Lock()
		o.mu.sending = false
		if o.mu.err == nil {
			o.mu.err = err
		}
		wake := len(o.mu.q) > 0 || err != nil
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

// close returns when no producer is sending any more.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.closed = true
	o.mu.q = nil
	for o.mu.sending {
		o.mu.idle.Wait()
	}
}

// run writes what is queued until ctx ends or send fails.
func (o *outbox) run(ctx context.Context) error {
	var spare []outFrame
	for {
		o.mu.Lock()
		if err := o.mu.err; err != nil {
			o.mu.Unlock()
			return err
		}
		var batch []outFrame
		if len(o.mu.q) > 0 && !o.mu.sending {
			batch = o.mu.q
			o.mu.q, o.mu.bytes, o.mu.sending = spare[:0], 0, true
		}
		o.mu.Unlock()
		if len(batch) == 0 {
			select {
			case <-o.wake:
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
		if spare = batch; cap(batch) > 4096 {
			spare = nil
		}
	}
}

// write sends a batch, in as few messages as its delays permit.
func (o *outbox) write(ctx context.Context, batch []outFrame) error {
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
			size += of.size()
		}
		m := o.message(batch[i:j], size)
		clear(batch[i:j])
		if err := o.send(m); err != nil {
			return err
		}
		i = j
	}
	return nil
}

// size is what the frame takes of a message, at most.
func (of *outFrame) size() int { return len(of.body) + int(of.n) + 5 }

// message puts frames of a size into one message.
func (o *outbox) message(frames []outFrame, size int) *message {
	// gRPC tells when it is done with a buffer only of those that are worth pooling.
	buf := mem.DefaultBufferPool().Get(max(size, pooledBytes))
	*buf = (*buf)[:0]
	for i := range frames {
		of := &frames[i]
		*buf = binary.AppendUvarint(*buf, uint64(int(of.n)+len(of.body)))
		*buf = append(*buf, of.head[:of.n]...)
		*buf = append(*buf, of.body...)
	}
	o.inGRPC.Add(1)
	return &message{out: mem.NewBuffer(buf, (*written)(o))}
}

// pooledBytes is the size from which on mem.NewBuffer pools.
const pooledBytes = 2 << 10

// written is the pool that the buffers of messages go back to.
type written outbox

func (w *written) Get(n int) *[]byte { return mem.DefaultBufferPool().Get(n) }

func (w *written) Put(b *[]byte) {
	w.inGRPC.Add(-1)
	mem.DefaultBufferPool().Put(b)
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
