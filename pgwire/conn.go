package pgwire

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgproto3/v2"

	"github.com/meridian-db/meridian/pgwire/hba"
	"github.com/meridian-db/meridian/sql"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// conn is one client. Its goroutine reads a message, runs it on the session and reads the next; nothing
// runs in parallel with it, so a statement costs no hand-over between goroutines. Other goroutines reach it
// through Session.Cancel and interrupt only.
type conn struct {
	srv     *Server
	net     net.Conn
	tls     *tls.Conn // nil while in the clear
	guard   *guard
	backend *pgproto3.Backend
	out     output
	session *sql.Session

	certificate *tls.Certificate // presented to this client
	method      hba.Method       // by which the client has proved who it is
	cancelKey   []byte           // set before the connection is registered

	// skipping is set by an error in the extended protocol: messages are dropped up to the next Sync.
	skipping bool
	// replication: commands of the replication protocol are understood.
	replication bool

	stop struct {
		sync.Mutex
		reason *pgerr.Error // set by interrupt
		now    bool         // an open transaction does not hold up the end
		idle   bool         // the goroutine waits for a message
		inTxn  bool         // while idle: a transaction block is open
		woken  bool         // wake has moved the read deadline
	}
	stopping atomic.Bool // reason is set
}

func newConn(srv *Server, nc net.Conn) *conn {
	c := &conn{srv: srv, net: nc, guard: newGuard(nc, srv.cfg.MaxMessageBytes)}
	c.out = output{w: nc, conn: c}
	c.guard.beforeRead = c.beforeRead
	c.backend = pgproto3.NewBackend(c.guard, io.Discard)
	return c
}

// beforeRead flushes what the client waits for.
func (c *conn) beforeRead() error {
	if c.out.wanted {
		return c.out.flush()
	}
	return nil
}

// serve runs the connection to its end.
func (c *conn) serve(ctx context.Context) {
	defer c.net.Close()
	defer func() {
		// The guard lets no message through that is known to panic; this is for those nobody knows. The
		// process must outlive any one client.
		if p := recover(); p != nil {
			c.srv.log.Error("connection panicked", "panic", p, "remote", c.net.RemoteAddr(), "stack", string(debug.Stack()))
			c.fatal(pgerr.New(pgerr.InternalError, "internal error").WithSeverity(pgerr.SeverityFatal))
		}
	}()
	if err := c.start(ctx); err != nil {
		if !isDisconnect(err) {
			c.fatal(err)
		}
		return
	}
	defer c.session.Close()
	if !c.srv.register(c) {
		c.fatal(c.srv.shutdownError())
		return
	}
	defer c.srv.unregister(c)
	if c.srv.cfg.Logout != nil {
		began := time.Now()
		defer func() {
			c.srv.cfg.Logout(LoginEvent{User: c.session.LoginUser(), Database: c.session.Database(), Remote: c.net.RemoteAddr(), TLS: c.tls != nil,
				Method: c.method, PID: c.session.PID(), Session: time.Since(began)})
		}()
	}
	if err := c.loop(ctx); err != nil && !isDisconnect(err) {
		c.fatal(err)
	}
}

// start negotiates, authenticates and opens the session, all within the authentication timeout.
func (c *conn) start(ctx context.Context) error {
	if err := c.net.SetDeadline(time.Now().Add(c.srv.cfg.AuthTimeout)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.srv.cfg.AuthTimeout)
	defer cancel()
	st, err := c.negotiate(ctx)
	if err != nil {
		return err
	}
	return c.open(ctx, st)
}

// open authenticates the client and opens its session.
func (c *conn) open(ctx context.Context, st *startup) (err error) {
	if c.srv.cfg.SQL == nil {
		return errStarting()
	}
	event := LoginEvent{User: st.user, Database: st.database, Application: st.settings["application_name"], Remote: c.net.RemoteAddr(), TLS: c.tls != nil}
	if c.srv.cfg.Login != nil {
		defer func() {
			if event.Err, event.Method = err, c.method; err == nil {
				event.PID = c.session.PID()
			}
			c.srv.cfg.Login(event)
		}()
	}
	if !c.srv.admitSession() {
		return pgerr.New(pgerr.TooManyConnections, "sorry, too many clients already").WithSeverity(pgerr.SeverityFatal)
	}
	admitted := true
	defer func() {
		if admitted {
			c.srv.releaseSession()
		}
	}()
	if err := c.authenticate(ctx, st); err != nil {
		return err
	}
	c.guard.authenticated()
	c.session, err = c.srv.cfg.SQL.NewSession(ctx, sql.SessionArgs{
		User:      st.user,
		Database:  st.database,
		Settings:  st.settings,
		Remote:    c.net.RemoteAddr(),
		TLS:       c.describeTLS(),
		Output:    &c.out,
		Interrupt: func(reason *pgerr.Error) { c.interrupt(reason, true) },
		Wake:      c.wake,
	})
	if err != nil {
		e := *sql.WireError(err)
		return e.WithSeverity(pgerr.SeverityFatal)
	}
	if !c.session.Superuser() && c.srv.crowded() {
		c.session.Close()
		return pgerr.New(pgerr.TooManyConnections, "remaining connection slots are reserved for non-replication superuser connections").
			WithSeverity(pgerr.SeverityFatal)
	}
	if c.replication = st.replication; c.replication {
		if err := c.session.MayReplicate(); err != nil {
			c.session.Close()
			return err
		}
	}
	admitted = false // released by unregister
	c.cancelKey = make([]byte, cancelKeySize)
	c.srv.cfg.Rand.Read(c.cancelKey)
	c.session.ReportParameters()
	at := c.out.begin('K')
	c.out.int32(c.session.PID())
	c.out.buf = append(c.out.buf, c.cancelKey...)
	c.out.end(at)
	c.out.readyForQuery(c.session.Status())
	return c.net.SetDeadline(time.Time{})
}

// receive reads and decodes one message. The message is valid until the next call.
func (c *conn) receive() (pgproto3.FrontendMessage, error) {
	if _, err := c.guard.header(); err != nil {
		return nil, err
	}
	if err := c.guard.check(); err != nil {
		return nil, err
	}
	msg, err := c.backend.Receive()
	if err != nil && pgerr.Code(err) == "" {
		err = formatError("%w", err) // The bytes were all there, so it is the decoder's.
	}
	return msg, err
}

// loop serves messages until the client leaves (nil or a network error), the server stops, or the framing
// is lost.
func (c *conn) loop(ctx context.Context) error {
	for {
		typ, err := c.await(ctx)
		if err != nil {
			return err
		}
		if c.skipping && typ != msgSync && typ != msgTerminate {
			if err := c.guard.skip(); err != nil {
				return err
			}
			continue
		}
		if typ == msgFunctionCall {
			if err := c.functionCall(ctx); err != nil {
				return err
			}
			continue
		}
		msg, err := c.receive()
		if err != nil {
			if isDisconnect(err) {
				return err
			}
			if err := c.fail(ctx, err); err != nil {
				return err
			}
			if typ == msgQuery {
				c.ready(ctx)
			} else {
				c.skipping = typ != msgSync
			}
			continue
		}
		if done, err := c.handle(ctx, msg); done || err != nil {
			return err
		}
	}
}

// await waits for the next message's header. A stopping server interrupts the wait; the session's idle
// timeout ends it.
func (c *conn) await(ctx context.Context) (byte, error) {
	if c.guard.buffered() >= headerSize && !c.stopping.Load() {
		return c.guard.header()
	}
	// Before the wait, so that nothing that reaches the client late is taken for part of it.
	if err := c.setIdle(true); err != nil {
		return 0, err
	}
	timeout, timeoutErr := c.session.IdleTimeout()
	var deadline time.Time // zero: none
	if timeout > 0 {
		deadline = time.Now().Add(timeout)
	}
	for {
		if c.session.NotificationsDue() {
			c.session.DeliverNotifications()
			c.out.wanted = true
		}
		if !c.arm(deadline) {
			continue
		}
		typ, err := c.guard.header()
		var ne net.Error
		timedOut := errors.As(err, &ne) && ne.Timeout()
		if timedOut && c.woken() {
			continue // not the end of the client's patience, nor of ours
		}
		stop := c.setIdle(false)
		if !deadline.IsZero() || c.stop.woken {
			c.net.SetReadDeadline(time.Time{})
		}
		switch {
		case stop != nil:
			return 0, stop
		case timedOut && timeout > 0:
			return 0, timeoutErr
		}
		return typ, err
	}
}

// arm bounds the wait for a message. It reports false when notifications have arrived.
func (c *conn) arm(deadline time.Time) bool {
	c.stop.Lock()
	defer c.stop.Unlock()
	if c.session.NotificationsDue() {
		return false
	}
	stopped := c.stop.reason != nil && (c.stop.now || !c.stop.inTxn) // its deadline must stay
	if (c.stop.woken || !deadline.IsZero()) && !stopped {
		c.net.SetReadDeadline(deadline)
	}
	c.stop.woken = false
	return true
}

// woken reports whether wake, and nothing else, has ended the wait for a message.
func (c *conn) woken() bool {
	c.stop.Lock()
	defer c.stop.Unlock()
	return c.stop.woken && (c.stop.reason == nil || !c.stop.now && c.stop.inTxn)
}

// wake ends the wait for the client, if there is one: there are notifications to send it.
func (c *conn) wake() {
	c.stop.Lock()
	defer c.stop.Unlock()
	if c.stop.idle && !c.stop.inTxn {
		c.stop.woken = true
		c.net.SetReadDeadline(time.Unix(1, 0))
	}
}

// setIdle notes that the goroutine starts or stops waiting, and returns the reason to stop, if there is one.
func (c *conn) setIdle(idle bool) error {
	inTxn := c.session.Status() != 'I'
	c.stop.Lock()
	defer c.stop.Unlock()
	c.stop.idle, c.stop.inTxn = idle, inTxn
	if c.stop.reason != nil && (c.stop.now || !inTxn) {
		return c.stop.reason
	}
	return nil
}

// interrupt makes the connection end with reason: as soon as it waits for a message outside a transaction
// block or, with now, at once, whatever is running.
func (c *conn) interrupt(reason *pgerr.Error, now bool) {
	c.stop.Lock()
	defer c.stop.Unlock()
	if c.stop.reason == nil {
		c.stop.reason = reason
		c.stopping.Store(true)
	}
	c.stop.now = c.stop.now || now
	switch {
	case c.stop.idle && (now || !c.stop.inTxn):
		c.net.SetReadDeadline(time.Unix(1, 0))
	case now:
		// The statement ends at its next look at its context; a blocked read or write ends now.
		c.session.Terminate(c.stop.reason)
		c.net.SetReadDeadline(time.Unix(1, 0))
		c.net.SetWriteDeadline(time.Now().Add(fatalWriteTimeout))
	}
}

// handle runs one message. done means that the client said goodbye.
func (c *conn) handle(ctx context.Context, msg pgproto3.FrontendMessage) (done bool, err error) {
	switch m := msg.(type) {
	case *pgproto3.Bind:
		err = c.session.Bind(ctx, sql.BindArgs{
			Portal:        m.DestinationPortal,
			Statement:     m.PreparedStatement,
			ParamFormats:  m.ParameterFormatCodes,
			Params:        m.Parameters,
			ResultFormats: m.ResultFormatCodes,
		})
		if err == nil {
			c.out.empty('2')
		}
	case *pgproto3.Execute:
		err = c.session.Execute(ctx, m.Portal, int64(int32(m.MaxRows)), c.guard.nextIs(msgSync))
	case *pgproto3.Sync:
		c.skipping = false
		if err := c.session.Sync(ctx); err != nil {
			if err := c.fail(ctx, err); err != nil {
				return false, err
			}
		}
		c.ready(ctx)
		return false, c.out.err
	case *pgproto3.Describe:
		err = c.describe(ctx, m)
	case *pgproto3.Parse:
		if err = c.session.Parse(ctx, m.Name, m.Query, m.ParameterOIDs); err == nil {
			c.out.empty('1')
		}
	case *pgproto3.Query:
		handled, err := false, error(nil)
		if c.replication {
			if handled, err = c.replicate(ctx, m.String); err != nil && isDisconnect(err) {
				return false, err
			}
		}
		if !handled {
			err = c.session.SimpleQuery(ctx, m.String)
		}
		if err != nil {
			if err := c.fail(ctx, err); err != nil {
				return false, err
			}
		}
		c.ready(ctx)
		return false, c.out.err
	case *pgproto3.Close:
		switch m.ObjectType {
		case 'S':
			err = c.session.CloseStatement(m.Name)
		case 'P':
			err = c.session.ClosePortal(m.Name)
		default:
			err = formatError("invalid CLOSE message subtype %d", m.ObjectType)
		}
		if err == nil {
			c.out.empty('3')
		}
	case *pgproto3.Flush:
		c.out.wanted = true
	case *pgproto3.CopyData, *pgproto3.CopyDone, *pgproto3.CopyFail:
		// Left over from a COPY that failed while the client was still sending.
	case *pgproto3.Terminate:
		return true, nil
	default:
		return false, protocolError("unexpected message %T", msg)
	}
	if err != nil {
		if err := c.fail(ctx, err); err != nil {
			return false, err
		}
		c.skipping = true
	}
	return false, c.out.err
}

// functionCall serves a FunctionCall message. The decoder of these checks nothing, so it is not used.
func (c *conn) functionCall(ctx context.Context) error {
	body, err := c.guard.body()
	if err != nil {
		return err
	}
	call, err := decodeFunctionCall(body)
	var value []byte
	if err == nil {
		value, err = c.session.CallFunction(ctx, call)
	}
	if err != nil {
		if err := c.fail(ctx, err); err != nil {
			return err
		}
	} else {
		at := c.out.begin('V')
		if value == nil {
			c.out.int32(-1)
		} else {
			c.out.int32(int32(len(value)))
			c.out.buf = append(c.out.buf, value...)
		}
		c.out.end(at)
	}
	c.ready(ctx)
	return c.out.err
}

// decodeFunctionCall reads the body of a FunctionCall message. The arguments alias it.
func decodeFunctionCall(body []byte) (call sql.FunctionCall, err error) {
	short := formatError("insufficient data left in message")
	take := func(n int) []byte {
		if err != nil || n > len(body) {
			err = short
			return make([]byte, min(n, 4))
		}
		b := body[:n]
		body = body[n:]
		return b
	}
	count := func() int { return int(binary.BigEndian.Uint16(take(2))) }
	call.OID = binary.BigEndian.Uint32(take(4))
	for n := count(); n > 0 && err == nil; n-- {
		call.ArgFormats = append(call.ArgFormats, int16(count()))
	}
	for n := count(); n > 0 && err == nil; n-- {
		switch size := int32(binary.BigEndian.Uint32(take(4))); {
		case size == -1:
			call.Args = append(call.Args, nil)
		case size < 0:
			err = short
		default:
			call.Args = append(call.Args, take(int(size)))
		}
	}
	call.ResultFormat = int16(count())
	if err == nil && len(body) > 0 {
		err = formatError("invalid message format")
	}
	return call, err
}

func (c *conn) describe(ctx context.Context, m *pgproto3.Describe) error {
	switch m.ObjectType {
	case 'S':
		params, cols, err := c.session.DescribeStatement(ctx, m.Name)
		if err != nil {
			return err
		}
		at := c.out.begin('t')
		c.out.int16(int16(len(params)))
		for _, oid := range params {
			c.out.int32(int32(oid))
		}
		c.out.end(at)
		c.describeRows(cols, nil)
	case 'P':
		cols, formats, err := c.session.DescribePortal(ctx, m.Name)
		if err != nil {
			return err
		}
		c.describeRows(cols, formats)
	default:
		return formatError("invalid DESCRIBE message subtype %d", m.ObjectType)
	}
	return nil
}

func (c *conn) describeRows(cols []sql.Column, formats []int16) {
	if cols == nil {
		c.out.empty('n')
		return
	}
	c.out.rowDescription(cols, formats)
}

// fail sends an error and lets the session abort its transaction. An error that ends the connection is
// returned instead.
func (c *conn) fail(ctx context.Context, err error) error {
	e := sql.WireError(err)
	c.session.Abort(ctx)
	if e.Severity == pgerr.SeverityFatal {
		return e
	}
	c.out.sendError(e)
	c.out.wanted = true
	return nil
}

// ready ends an exchange. Notifications for the session go out before, as the protocol asks.
func (c *conn) ready(ctx context.Context) {
	c.session.AwaitNotifications(ctx)
	c.session.DeliverNotifications()
	c.out.readyForQuery(c.session.Status())
}

// fatal sends the error that ends the connection, as far as the client still listens.
func (c *conn) fatal(err error) {
	e := *sql.WireError(err)
	if e.Severity == "" || e.Severity == pgerr.SeverityError {
		e.Severity = pgerr.SeverityFatal
	}
	c.srv.log.LogAttrs(context.Background(), slog.LevelDebug, "connection ends",
		slog.String("code", e.Code), slog.String("error", e.Message), slog.Any("remote", c.net.RemoteAddr()))
	c.net.SetWriteDeadline(time.Now().Add(fatalWriteTimeout))
	c.out.sendError(&e)
	c.out.flush()
}

// copySource reads COPY data from the client.
type copySource struct{ c *conn }

// NextCopyData implements sql.CopySource.
func (s copySource) NextCopyData() ([]byte, error) {
	for {
		typ, err := s.c.guard.header()
		if err != nil {
			return nil, connectionLost(err)
		}
		switch typ {
		case msgCopyData, msgCopyDone, msgCopyFail, msgFlush, msgSync:
		default:
			// The message stays unread: it is skipped up to the next Sync, or served, by the loop.
			return nil, formatError("unexpected message type 0x%02X during COPY from stdin", typ)
		}
		msg, err := s.c.receive()
		if err != nil {
			return nil, connectionLost(err)
		}
		switch m := msg.(type) {
		case *pgproto3.CopyData:
			return m.Data, nil
		case *pgproto3.CopyDone:
			return nil, io.EOF
		case *pgproto3.CopyFail:
			return nil, pgerr.New(pgerr.QueryCanceled, "COPY from stdin failed: %s", m.Message)
		}
		// Flush and Sync are ignored, so that a client need not know whether its statement is a COPY.
	}
}

// connectionLost gives a network error inside a statement its SQLSTATE.
func connectionLost(err error) error {
	if pgerr.Code(err) != "" {
		return err
	}
	return pgerr.New(pgerr.ConnectionFailure, "unexpected EOF on client connection with an open transaction: %w", err).
		WithSeverity(pgerr.SeverityFatal)
}

// isDisconnect reports whether err is the transport's: the client is gone. Whatever else goes wrong has a
// SQLSTATE by the time it is looked at here. A transport error taken for anything else would be answered, and
// the next read would fail the same way, for ever.
func isDisconnect(err error) bool { return pgerr.Code(err) == "" }
