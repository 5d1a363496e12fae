package sql

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/truetime"
)

// Limits of notifications, as PostgreSQL has them, and the memory that undelivered ones of one session may take.
const (
	maxChannelBytes = 63
	maxPayloadBytes = 7999
	maxInboxBytes   = 16 << 20
)

// Notification is one NOTIFY of a committed transaction, on its way to the sessions that listen.
type Notification struct {
	PID      int32  // of the sender
	Database uint32 // only sessions of the same database hear it
	Channel  string
	Payload  string
}

func (n *Notification) sizeBytes() int { return len(n.Channel) + len(n.Payload) + 64 }

// Notifier brings the notifications of committed transactions to the Deliver of every node, in the order of commit
// timestamps. To know what may still come before a timestamp, it is told of each commit before it happens.
type Notifier interface {
	Begin() PendingNotify
	// Settled returns a channel that is closed when the sessions of this node have been told all that was published
	// on this node so far, or that takes too long. Nil: they have been.
	Settled() <-chan struct{}
}

// PendingNotify is a commit on its way, to be ended by one of its methods.
type PendingNotify interface {
	// Publish says that the transaction has committed at ts, zero if it wrote nothing. The channel is closed when
	// the sessions of this node have been told, or that takes too long.
	Publish(ts truetime.Timestamp, list []Notification) <-chan struct{}
	Abort()
}

// listenAction is a LISTEN (or, with off, UNLISTEN) that takes effect at commit. Channel "*" with off: all.
type listenAction struct {
	channel string
	off     bool
}

// notifyState is what a transaction will do to channels when it commits.
type notifyState struct {
	out     []Notification
	pending PendingNotify             // while committing, if out is not empty and there are other nodes
	ts      truetime.Timestamp        // of the commit
	seen    map[Notification]struct{} // of out: one transaction sends equal notifications once
	actions []listenAction
}

// mark and rollbackTo follow savepoints.
type notifyMark struct{ out, actions int }

func (n *notifyState) mark() notifyMark { return notifyMark{len(n.out), len(n.actions)} }

func (n *notifyState) rollbackTo(m notifyMark) {
	for _, gone := range n.out[m.out:] {
		delete(n.seen, gone)
	}
	n.out, n.actions = n.out[:m.out], n.actions[:m.actions]
}

func (n *notifyState) add(msg Notification) {
	if _, dup := n.seen[msg]; dup {
		return
	}
	if n.seen == nil {
		n.seen = map[Notification]struct{}{}
	}
	n.seen[msg] = struct{}{}
	n.out = append(n.out, msg)
}

// switchboard knows which sessions of a node listen to what, and holds what they have not been told yet.
type switchboard struct {
	sync.Mutex
	listeners map[channelKey]map[*Session]struct{}
}

type channelKey struct {
	database uint32
	channel  string
}

// inbox is a session's part of the switchboard, under its lock.
type inbox struct {
	channels map[string]struct{}
	pending  []Notification
	size     int
}

// apply carries out the LISTENs and UNLISTENs of a committed transaction of s.
func (b *switchboard) apply(s *Session, actions []listenAction) {
	b.Lock()
	defer b.Unlock()
	for _, a := range actions {
		switch {
		case !a.off:
			key := channelKey{s.databaseID, a.channel}
			if b.listeners == nil {
				b.listeners = map[channelKey]map[*Session]struct{}{}
			}
			if b.listeners[key] == nil {
				b.listeners[key] = map[*Session]struct{}{}
			}
			if s.inbox.channels == nil {
				s.inbox.channels = map[string]struct{}{}
			}
			b.listeners[key][s] = struct{}{}
			s.inbox.channels[a.channel] = struct{}{}
		case a.channel == "*":
			for channel := range s.inbox.channels {
				b.drop(s, channel)
			}
		default:
			b.drop(s, a.channel)
		}
	}
}

func (b *switchboard) drop(s *Session, channel string) {
	key := channelKey{s.databaseID, channel}
	delete(b.listeners[key], s)
	if len(b.listeners[key]) == 0 {
		delete(b.listeners, key)
	}
	delete(s.inbox.channels, channel)
}

// leave forgets a session that ends.
func (b *switchboard) leave(s *Session) {
	b.Lock()
	defer b.Unlock()
	for channel := range s.inbox.channels {
		b.drop(s, channel)
	}
	s.inbox.pending, s.inbox.size = nil, 0
}

// Deliver puts notifications, which were committed on this node or on another, into the inboxes of the
// sessions that listen, in order, and wakes those that wait for their clients. A session that takes no
// notifications, because its transaction never ends, is ended when too many wait for it: nobody else's
// memory or NOTIFY may depend on it. Safe for concurrent use.
func (srv *Server) Deliver(list []Notification) {
	var woken, drowned []*Session
	b := &srv.channels
	b.Lock()
	for i := range list {
		n := &list[i]
		for s := range b.listeners[channelKey{n.Database, n.Channel}] {
			if s.inbox.size += n.sizeBytes(); s.inbox.size > maxInboxBytes {
				if !slices.Contains(drowned, s) {
					drowned = append(drowned, s)
				}
				continue
			}
			s.inbox.pending = append(s.inbox.pending, *n)
			s.notices.Store(int32(len(s.inbox.pending)))
			if !slices.Contains(woken, s) {
				woken = append(woken, s)
			}
		}
	}
	b.Unlock()
	for _, s := range woken {
		if s.args.Wake != nil {
			s.args.Wake()
		}
	}
	for _, s := range drowned {
		s.end(pgerr.New(pgerr.ProgramLimitExceeded, "too many notifications wait for this session").WithSeverity(pgerr.SeverityFatal))
	}
}

// take empties a session's inbox.
func (b *switchboard) take(s *Session) []Notification {
	b.Lock()
	defer b.Unlock()
	list := s.inbox.pending
	s.inbox.pending, s.inbox.size = nil, 0
	s.notices.Store(0)
	return list
}

// NotificationsDue reports whether DeliverNotifications would send something now.
func (s *Session) NotificationsDue() bool { return s.notices.Load() != 0 && s.txn.phase == phaseIdle }

// AwaitNotifications waits until the session, if it listens to anything, has been told what transactions of this node
// committed before. So a client that knows of a NOTIFY there finds it with the answer to its next statement.
func (s *Session) AwaitNotifications(ctx context.Context) {
	if !s.listening || s.srv.cfg.Notifier == nil || s.txn.phase != phaseIdle {
		return
	}
	if settled := s.srv.cfg.Notifier.Settled(); settled != nil {
		select {
		case <-settled:
		case <-ctx.Done():
		}
	}
}

// DeliverNotifications sends the notifications that arrived for the session. It is called between
// statements; inside a transaction they wait for its end.
func (s *Session) DeliverNotifications() {
	if !s.NotificationsDue() {
		return
	}
	list := s.srv.channels.take(s)
	for i := range list {
		s.out.Notify(list[i].PID, list[i].Channel, list[i].Payload)
	}
}

// runNotify runs LISTEN, UNLISTEN and NOTIFY. What they do, they do when the transaction commits.
func (s *Session) runNotify(ctx context.Context, stmt ast.Stmt) error {
	s.AwaitNotifications(ctx) // those that an UNLISTEN comes too late for
	own := s.txn.pristine()
	s.openImplicit()
	t := &s.txn
	t.replay.stop() // a new attempt would have to repeat it
	switch n := stmt.(type) {
	case *ast.ListenStmt:
		if t.readOnly && s.stale() {
			return pgerr.Unsupported("LISTEN in a transaction that reads in the past is not supported")
		}
		t.notify.actions = append(t.notify.actions, listenAction{channel: truncateChannel(n.Channel)})
	case *ast.UnlistenStmt:
		channel := n.Channel
		if channel == "" {
			channel = "*"
		}
		t.notify.actions = append(t.notify.actions, listenAction{channel: truncateChannel(channel), off: true})
	case *ast.NotifyStmt:
		if err := s.queueNotify(n.Channel, n.Payload); err != nil {
			return err
		}
	}
	t.used = true
	if own {
		if err := s.commit(ctx); err != nil {
			return err
		}
	}
	s.out.Complete(stmt.Tag())
	return nil
}

// truncateChannel cuts an identifier to the length of names.
func truncateChannel(name string) string {
	if len(name) > maxChannelBytes {
		name = strings.ToValidUTF8(name[:maxChannelBytes], "")
	}
	return name
}

// queueNotify notes a notification of the open transaction.
func (s *Session) queueNotify(channel, payload string) error {
	switch {
	case channel == "":
		return pgerr.New(pgerr.InvalidParameterValue, "channel name cannot be empty")
	case len(channel) > maxChannelBytes:
		return pgerr.New(pgerr.InvalidParameterValue, "channel name too long")
	case len(payload) > maxPayloadBytes:
		return pgerr.New(pgerr.InvalidParameterValue, "payload string too long")
	}
	s.txn.notify.add(Notification{PID: s.pid, Database: s.databaseID, Channel: channel, Payload: payload})
	return nil
}

// commitNotifies makes a committed transaction's LISTENs, UNLISTENs and NOTIFYs real: first the former, so
// that a transaction that listens hears itself.
func (s *Session) commitNotifies(ctx context.Context) {
	n := &s.txn.notify
	if len(n.actions) > 0 {
		s.srv.channels.apply(s, n.actions)
		s.listening = len(s.inbox.channels) > 0 // which only this goroutine changes
	}
	switch {
	case len(n.out) == 0:
	case s.srv.cfg.Notifier == nil:
		s.srv.Deliver(n.out)
	default:
		if n.pending == nil {
			n.pending = s.srv.cfg.Notifier.Begin() // It wrote nothing, so there was no commit to order it by.
		}
		delivered := n.pending.Publish(n.ts, n.out)
		if s.hears(n.out) { // and so expects them with the answer
			select {
			case <-delivered:
			case <-ctx.Done():
			}
		}
	}
	*n = notifyState{}
}

// hears reports whether the session listens to one of the channels.
func (s *Session) hears(list []Notification) bool {
	b := &s.srv.channels
	b.Lock()
	defer b.Unlock()
	return slices.ContainsFunc(list, func(n Notification) bool {
		_, ok := s.inbox.channels[n.Channel]
		return ok
	})
}

// commitNotified commits the transaction, announced to the other nodes if it has notifications for them.
func (s *Session) commitNotified(ctx context.Context) error {
	t := &s.txn
	if len(t.notify.out) == 0 || s.srv.cfg.Notifier == nil {
		_, err := t.kv.Commit(ctx)
		return err
	}
	pending := s.srv.cfg.Notifier.Begin()
	ts, err := t.kv.Commit(ctx)
	if err != nil {
		pending.Abort()
		return err
	}
	t.notify.pending, t.notify.ts = pending, ts
	return nil
}

// ListeningChannels implements builtin.Session: the channels listened to, sorted.
func (s *Session) ListeningChannels() []string {
	b := &s.srv.channels
	b.Lock()
	defer b.Unlock()
	list := make([]string, 0, len(s.inbox.channels))
	for channel := range s.inbox.channels {
		list = append(list, channel)
	}
	slices.Sort(list)
	return list
}

// channelFunctions are the SQL functions about notifications.
var channelFunctions = map[string]builtin.EvalFunc{
	"pg_notify": onSession(func(s *Session, _ context.Context, args []types.Datum) (types.Datum, error) {
		var text [2]string
		for i := range text {
			if !args[i].IsNull() {
				text[i] = args[i].Str()
			}
		}
		return types.NewString(""), s.queueNotify(text[0], text[1])
	}),
	"pg_notification_queue_usage": onSession(func(s *Session, _ context.Context, _ []types.Datum) (types.Datum, error) {
		b := &s.srv.channels
		b.Lock()
		defer b.Unlock()
		return types.NewFloat(float64(s.inbox.size) / maxInboxBytes), nil
	}),
}
