package pgwire

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgproto3/v2"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/replication"
	"github.com/meridian-db/meridian/truetime"
)

// replicationMode reads the start-up parameter replication. On a connection with it commands of the replication protocol
// are understood beside SQL.
func replicationMode(value string) (bool, error) {
	switch strings.ToLower(value) {
	case "", "0", "off", "false", "no":
		return false, nil
	case "database":
		return true, nil
	}
	return false, pgerr.Unsupported("physical replication is not supported").WithSeverity(pgerr.SeverityFatal).
		WithHint("Connect with replication=database for logical replication.")
}

// replicate serves a query of a replication connection if it is a command of that protocol. handled is false for SQL.
func (c *conn) replicate(ctx context.Context, text string) (handled bool, err error) {
	stream, handled, err := c.session.ReplicationCommand(ctx, text)
	if !handled || err != nil || stream == nil {
		return handled, err
	}
	return true, c.stream(ctx, text, stream)
}

// stream answers START_REPLICATION: both sides send CopyData until the client says CopyDone or the stream ends. A goroutine
// reads what the client says of its progress meanwhile.
func (c *conn) stream(ctx context.Context, text string, stream *replication.Stream) error {
	at := c.out.begin('W')
	c.out.buf = append(c.out.buf, 0)
	c.out.int16(0)
	c.out.end(at)
	if err := c.out.flush(); err != nil {
		stream.Abandon(ctx)
		return err
	}
	// The reader must not flush what the writer is about to write.
	c.guard.beforeRead = nil
	feedback := &feedback{c: c, stream: stream, done: make(chan struct{})}
	go feedback.read()
	err := c.session.RunStream(text, stream, &streamClient{c: c})
	// The reader waits for the client, which may have nothing to say. What it has read of a message stays in the guard.
	feedback.ending.Store(true)
	c.net.SetReadDeadline(time.Unix(1, 0))
	<-feedback.done
	if !c.stopping.Load() {
		c.net.SetReadDeadline(time.Time{})
	}
	c.guard.beforeRead = c.beforeRead
	switch {
	case feedback.cause != nil:
		return feedback.cause
	case err != nil:
		return err
	}
	c.out.empty('c')
	// PostgreSQL says that the copy is complete, then that the command is. Its subscribers wait for both: what they do next on
	// the connection, dropping the slot with which they have copied a table, fails if the second is missing.
	c.out.Complete("COPY 0")
	c.out.Complete("START_REPLICATION")
	return c.out.flush()
}

// streamClient is the client as a stream sees it.
type streamClient struct{ c *conn }

// Data implements replication.Client.
func (s *streamClient) Data(lsn replication.LSN, message []byte) error {
	o := &s.c.out
	at := o.begin(msgCopyData)
	o.buf = replication.AppendXLogData(o.buf, lsn, truetime.FromTime(time.Now()))
	o.buf = append(o.buf, message...)
	o.end(at)
	return lost(o.maybeFlush())
}

// Progress implements replication.Client.
func (s *streamClient) Progress(lsn replication.LSN) error {
	o := &s.c.out
	at := o.begin(msgCopyData)
	o.buf = replication.AppendKeepalive(o.buf, lsn, truetime.FromTime(time.Now()))
	o.end(at)
	return lost(o.maybeFlush())
}

// Flush implements replication.Client.
func (s *streamClient) Flush() error {
	if s.c.stopping.Load() {
		s.c.stop.Lock()
		defer s.c.stop.Unlock()
		return s.c.stop.reason
	}
	return lost(s.c.out.flush())
}

func lost(err error) error {
	if err == nil {
		return nil
	}
	return connectionLost(err)
}

// feedback reads what a client says while it is sent a stream. Its goroutine ends when the client ends the copy or is
// gone, or when the connection's read deadline is moved; done is closed then.
type feedback struct {
	c      *conn
	stream *replication.Stream
	done   chan struct{}
	ending atomic.Bool // the stream has ended: nobody wants to know what the client says
	cause  error       // why there is no client any more; read after done
}

func (f *feedback) read() {
	defer close(f.done)
	err := f.loop()
	switch {
	case err == nil:
		err = replication.ErrStopped()
	case f.ending.Load(), f.c.stopping.Load() && isDisconnect(err):
		return // the deadline has been moved
	default:
		f.cause = err
		if isDisconnect(err) {
			err = connectionLost(err)
		}
	}
	f.stream.Stop(err)
}

func (f *feedback) loop() error {
	for {
		typ, err := f.c.guard.header()
		if err != nil {
			return err
		}
		switch typ {
		case msgCopyData, msgCopyDone, msgCopyFail, msgFlush, msgSync:
		case msgTerminate:
			return errClientLeft
		default:
			return protocolError("unexpected message type 0x%02X during streaming replication", typ)
		}
		msg, err := f.c.receive()
		if err != nil {
			return err
		}
		switch m := msg.(type) {
		case *pgproto3.CopyData:
			st, reply, ok, err := replication.ParseFeedback(m.Data)
			if err != nil {
				e := *err.(*pgerr.Error)
				return e.WithSeverity(pgerr.SeverityFatal)
			}
			if ok {
				f.stream.Confirm(st, reply)
			}
		case *pgproto3.CopyDone, *pgproto3.CopyFail:
			return nil
		}
	}
}

// errClientLeft ends a connection whose client said goodbye in the middle of a stream. As a transport's error does, it
// has no SQLSTATE: nobody listens any more.
var errClientLeft = errors.New("pgwire: the client has left")
