package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	ranges "github.com/meridian-db/meridian/range"
)

// A bulk stream has a connection of its own, whose flow control is TCP's. Either end sends chunks and then an end; the
// accepting one may send, instead of its end, what went wrong.

// bulk is one end of a bulk stream.
type bulk struct {
	c     *conn
	close func() // idempotent
}

// send sends a frame with a chunk.
func (b *bulk) send(chunk []byte) error {
	if len(chunk) > ranges.MaxBulkChunk {
		return fmt.Errorf("%w: bulk chunk of %d bytes", ErrTooLarge, len(chunk))
	}
	return b.c.writeFrame(&frame{kind: frameChunk, payload: chunk})
}

// recv receives a chunk; io.EOF after the last one.
func (b *bulk) recv() ([]byte, error) {
	var f frame
	if err := b.c.readFrame(&f, ranges.MaxBulkChunk+1); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	switch f.kind {
	case frameChunk:
		return f.payload, nil
	case frameEnd:
		return nil, io.EOF
	case frameBroken:
		return nil, errors.New(string(f.payload))
	}
	return nil, errFrame
}

// OpenBulk implements ranges.Transport.
func (n *Network) OpenBulk(ctx context.Context, to NodeID) (ranges.BulkStream, error) {
	l := n.link(to, classRequest)
	if l == nil {
		return nil, fmt.Errorf("%w: this node is shutting down", ErrUnavailable)
	}
	s, err := l.ready(ctx) // whose pings tell for as long as the stream lives whether the peer is there
	if err != nil {
		return nil, err
	}
	addr, ok := n.cfg.Resolve(to)
	if !ok {
		return nil, fmt.Errorf("%w: %s: no address is known for it", ErrUnavailable, to)
	}
	if n.cfg.Latency != nil {
		if err := sleepUntil(ctx, time.Now().Add(2*n.cfg.Latency(to))); err != nil {
			return nil, err
		}
	}
	c, err := n.dial(ctx, addr, to, classBulk)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	stopLost := context.AfterFunc(s.ctx, func() { c.Close() })
	d := &dialedBulk{bulk: bulk{c: c, close: func() { stop(); stopLost(); c.Close() }}, ended: make(chan struct{}), chunks: make(chan []byte)}
	ctx, d.cancel = context.WithCancel(ctx)
	go d.read(ctx)
	return d, nil
}

// dialedBulk is the dialing end. It reads all the time, to learn at once when the other end has had enough.
type dialedBulk struct {
	bulk
	cancel context.CancelFunc
	chunks chan []byte
	ended  chan struct{} // closed after err is set
	err    error         // why there are no more chunks, io.EOF when the other end has finished
}

func (b *dialedBulk) read(ctx context.Context) {
	defer close(b.ended)
	for {
		chunk, err := b.recv()
		if err != nil {
			b.err = err
			return
		}
		select {
		case b.chunks <- chunk:
		case <-ctx.Done():
			b.err = context.Canceled
			return
		}
	}
}

func (b *dialedBulk) Send(chunk []byte) error {
	err := b.send(chunk)
	if errors.Is(err, ErrTooLarge) {
		return err
	}
	select {
	case <-b.ended:
		if errors.Is(b.err, io.EOF) {
			return errors.New("rpc: the peer ended in the middle of a bulk stream")
		}
		return b.err
	default:
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

func (b *dialedBulk) Recv() ([]byte, error) {
	select {
	case chunk := <-b.chunks:
		return chunk, nil
	case <-b.ended:
		return nil, b.err
	}
}

func (b *dialedBulk) CloseSend() error { return b.c.writeFrame(&frame{kind: frameEnd}) }

func (b *dialedBulk) Close() error {
	b.cancel()
	b.close()
	<-b.ended
	return nil
}

// acceptBulk serves the accepting end of a bulk stream. Its handler's return ends it.
func (n *Network) acceptBulk(c *conn, from NodeID) {
	ctx, cancel := context.WithCancel(n.ctx)
	defer cancel()
	b := &acceptedBulk{bulk{c: c, close: sync.OnceFunc(func() { cancel(); c.Close() })}}
	last := frame{kind: frameEnd}
	if n.cfg.Bulk == nil {
		last = frame{kind: frameBroken, payload: []byte("this node takes no snapshots")}
	} else if err := n.cfg.Bulk(ctx, from, b); err != nil {
		last = frame{kind: frameBroken, payload: []byte(err.Error())}
	}
	if c.writeFrame(&last) == nil {
		c.closeAfterAnswer()
	}
}

type acceptedBulk struct{ bulk }

func (b *acceptedBulk) Send(chunk []byte) error { return b.send(chunk) }
func (b *acceptedBulk) Recv() ([]byte, error)   { return b.recv() }

// CloseSend does nothing: the handler's return says it, and whether all went well.
func (b *acceptedBulk) CloseSend() error { return nil }

func (b *acceptedBulk) Close() error {
	b.close()
	return nil
}
