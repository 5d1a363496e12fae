package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	ranges "github.com/meridian-db/meridian/range"
)

// OpenBulk implements ranges.Transport.
func (n *Network) OpenBulk(ctx context.Context, to NodeID) (ranges.BulkStream, error) {
	l := n.link(to, classBulk)
	if l == nil {
		return nil, fmt.Errorf("%w: this node is shutting down", ErrUnavailable)
	}
	if _, err := l.ready(ctx); err != nil {
		return nil, err
	}
	cc := l.bulkCC.Load()
	if cc == nil {
		return nil, fmt.Errorf("%w: %s: connection lost", ErrUnavailable, to)
	}
	if n.cfg.Latency != nil {
		if err := sleepUntil(ctx, time.Now().Add(2*n.cfg.Latency(to))); err != nil {
			return nil, err
		}
	}
	sctx, cancel := context.WithCancel(metadata.NewOutgoingContext(ctx, n.hello(to, classBulk)))
	st, err := cc.NewStream(sctx, &serviceDesc.Streams[1], streamBulk)
	if err != nil {
		cancel()
		return nil, statusError(err)
	}
	return &dialedBulk{st: st, cancel: cancel}, nil
}

// acceptBulk serves the accepting end of a bulk stream.
func (n *Network) acceptBulk(st grpc.ServerStream) error {
	from, err := n.shake(st)
	if err != nil {
		return err
	}
	if n.cfg.Bulk == nil {
		return status.Error(codes.Unimplemented, "this node takes no snapshots")
	}
	ctx, cancel := context.WithCancel(st.Context())
	defer cancel()
	defer context.AfterFunc(n.ctx, cancel)()
	b := &acceptedBulk{st: st, cancel: cancel}
	if err := n.cfg.Bulk(ctx, from, b); err != nil {
		return status.Error(codes.Aborted, err.Error())
	}
	return nil
}

func bulkMessage(chunk []byte) (*message, error) {
	if len(chunk) > ranges.MaxBulkChunk {
		return nil, fmt.Errorf("%w: bulk chunk of %d bytes", ErrTooLarge, len(chunk))
	}
	return &message{out: mem.Copy(chunk, mem.DefaultBufferPool())}, nil
}

type dialedBulk struct {
	st     grpc.ClientStream
	cancel context.CancelFunc
}

func (b *dialedBulk) Send(chunk []byte) error {
	m, err := bulkMessage(chunk)
	if err != nil {
		return err
	}
	err = b.st.SendMsg(m)
	if errors.Is(err, io.EOF) {
		// The other end has finished; its status says why.
		if err = b.st.RecvMsg(&message{}); err == nil {
			err = errors.New("rpc: the peer answered in the middle of a bulk stream")
		}
	}
	return bulkError(err)
}

func (b *dialedBulk) Recv() ([]byte, error) {
	var m message
	err := b.st.RecvMsg(&m)
	return m.in, bulkError(err)
}

func (b *dialedBulk) CloseSend() error { return b.st.CloseSend() }

func (b *dialedBulk) Close() error {
	b.cancel()
	return nil
}

// acceptedBulk is ended by its handler's return: until then CloseSend has no message of its own in gRPC, so the
// dialing end sees io.EOF when the handler is done.
type acceptedBulk struct {
	st     grpc.ServerStream
	cancel context.CancelFunc
}

func (b *acceptedBulk) Send(chunk []byte) error {
	m, err := bulkMessage(chunk)
	if err != nil {
		return err
	}
	return bulkError(b.st.SendMsg(m))
}

func (b *acceptedBulk) Recv() ([]byte, error) {
	var m message
	err := b.st.RecvMsg(&m)
	if err == nil && len(m.in) > ranges.MaxBulkChunk {
		return nil, fmt.Errorf("%w: bulk chunk of %d bytes", ErrTooLarge, len(m.in))
	}
	return m.in, bulkError(err)
}

func (b *acceptedBulk) CloseSend() error { return nil }

func (b *acceptedBulk) Close() error {
	b.cancel()
	return nil
}

func bulkError(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return statusError(err)
}
