package replication

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
)

// reader decodes what a slot gives, from a position on. It belongs to one goroutine.
type reader struct {
	svc          *Service
	database     uint32
	publications []string // nil: everything
	enc          encoder
	out          func(lsn LSN, x transaction, message []byte) error
	committed    func(x transaction) error // after each transaction; may be nil

	at        truetime.Timestamp // everything at or below it has been handed on
	src       *source            // of the catalog at at
	described map[uint32]bool    // relations that the client knows
	emptied   []*relation        // truncated by the transaction under way
	x         transaction
	open      bool // its begin has been handed on
	buf       []byte
	now, old  row
}

// step reads on to ts, or less far, and returns where it has come.
func (r *reader) step(ctx context.Context, ts truetime.Timestamp) error {
	if ts <= r.at {
		return nil
	}
	if r.src == nil {
		if err := r.load(ctx, r.at); err != nil {
			return err
		}
	}
	// The catalog changes below ts: go on to right before, or if that is where this is, read that timestamp by itself.
	var changed truetime.Timestamp
	err := r.svc.diffs.Diffs(ctx, kv.DiffRequest{Span: catalog.VersionSpan(), After: r.at, TS: ts}, func(d *kv.Diff) error {
		if changed == 0 {
			changed = d.TS
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.emptied = nil
	switch {
	case changed == 0:
	case changed > r.at.Next():
		ts = changed.Prev()
	default:
		ts = changed
		before := r.src
		if err := r.load(ctx, ts); err != nil {
			return err
		}
		r.emptied = r.src.follow(before, ts)
	}
	for r.at < ts {
		reached, err := r.svc.feed.Read(ctx, r.src.spans, r.src.previous, r.at, ts, r)
		if err != nil {
			return err
		}
		r.at = reached
	}
	if len(r.emptied) > 0 {
		// The transaction did nothing else.
		if err := r.begin(ts); err != nil {
			return err
		}
		return r.Commit(ctx, ts)
	}
	return nil
}

func (r *reader) load(ctx context.Context, ts truetime.Timestamp) error {
	snap, err := r.svc.cfg.Catalog.SnapshotAt(ctx, r.database, ts)
	if err != nil {
		return err
	}
	r.src, err = newSource(snap, r.publications)
	r.described = map[uint32]bool{}
	return err
}

// emit hands a message on.
func (r *reader) emit(lsn LSN, message []byte) error {
	if len(message) == 0 {
		return nil
	}
	r.buf = message[:0]
	return r.out(lsn, r.x, message)
}

// begin begins the transaction at ts, unless that has been done.
func (r *reader) begin(ts truetime.Timestamp) error {
	if r.open {
		return nil
	}
	r.x, r.open = transaction{ts: ts, xid: xidOf(ts)}, true
	if err := r.emit(CommitLSN(ts), r.enc.begin(r.buf[:0], r.x)); err != nil || len(r.emptied) == 0 {
		return err
	}
	rels := r.emptied
	r.emptied = nil
	for _, rel := range rels {
		if err := r.describe(rel); err != nil {
			return err
		}
	}
	return r.emit(CommitLSN(ts), r.enc.truncate(r.buf[:0], rels))
}

func (r *reader) describe(rel *relation) error {
	if r.described[rel.table.ID] {
		return nil
	}
	r.described[rel.table.ID] = true
	return r.enc.describe(rel, func(b []byte) error { return r.out(CommitLSN(r.x.ts), r.x, b) })
}

// Begin implements feed.Sink. A transaction of which nothing is published is not begun.
func (r *reader) Begin(context.Context, truetime.Timestamp) error { return nil }

// Change implements feed.Sink.
func (r *reader) Change(_ context.Context, span int, c *kv.Diff) error {
	rel := r.src.relations[span]
	if rel.rewritten == c.TS {
		return nil
	}
	switch {
	case c.Value == nil:
		if !rel.delete {
			return nil
		}
	case c.Existed:
		if !rel.update {
			return nil
		}
	case !rel.insert:
		return nil
	}
	var now, old row
	var err error
	if c.Value != nil {
		if now, err = rel.decode(&r.now, c.Key, c.Value); err != nil {
			return err
		}
	}
	if rel.rowID >= 0 && now != nil && c.Previous != nil {
		if _, err := rel.decode(&r.old, c.Key, c.Previous); err != nil {
			return err
		}
		if rel.numbered(r.old, r.now) {
			return nil
		}
	}
	if rel.keyed && c.Existed {
		switch {
		case c.Previous != nil:
			if old, err = rel.decode(&r.old, c.Key, c.Previous); err != nil {
				return err
			}
			if now != nil && rel.identity != 'f' && rel.sameKey(old, now) {
				old = nil
			}
		case now == nil: // the key says enough
			if old, err = rel.decode(&r.old, c.Key, nil); err != nil {
				return err
			}
		}
	}
	if err := r.begin(c.TS); err != nil {
		return err
	}
	if err := r.describe(rel); err != nil {
		return err
	}
	var b []byte
	switch {
	case now == nil:
		b = r.enc.remove(r.buf[:0], rel, old)
	case c.Existed:
		b = r.enc.update(r.buf[:0], rel, old, now)
	default:
		b = r.enc.insert(r.buf[:0], rel, now)
	}
	return r.emit(CommitLSN(c.TS), b)
}

// Commit implements feed.Sink.
func (r *reader) Commit(_ context.Context, ts truetime.Timestamp) error {
	if !r.open && len(r.emptied) > 0 {
		if err := r.begin(ts); err != nil {
			return err
		}
	}
	if r.open {
		if err := r.emit(EndLSN(ts), r.enc.commit(r.buf[:0], r.x)); err != nil {
			return err
		}
	}
	sent := r.open
	r.open = false
	r.at = ts
	if sent && r.committed != nil {
		return r.committed(r.x)
	}
	return nil
}

// decode decodes a stored row into *buf and returns its published columns. Without a value only those of the key are there.
func (rel *relation) decode(buf *row, key, value []byte) (row, error) {
	n := rel.width + len(rel.columns)
	if cap(*buf) < n {
		*buf = make(row, n)
	}
	all := (*buf)[:rel.width]
	var err error
	if value != nil {
		err = rel.decoder.Decode(key, value, all)
	} else {
		err = rel.decoder.DecodeKey(key, all)
	}
	if err != nil {
		return nil, pgerr.New(pgerr.DataCorrupted, "cannot decode a row of table %q: %w", rel.table.Name, err)
	}
	out := (*buf)[rel.width:n]
	for i, c := range rel.columns {
		out[i] = all[c.ord]
	}
	return out, nil
}

// numbered reports whether nobody has written the row, as decoded, but the job that gives rows their row ids.
func (rel *relation) numbered(old, now row) bool {
	return rel.rowID >= 0 && old[:rel.width][rel.rowID].IsNull() && !now[:rel.width][rel.rowID].IsNull() &&
		old[:rel.width][rel.writer].Int() == now[:rel.width][rel.writer].Int()
}

func (rel *relation) sameKey(a, b row) bool {
	for i, c := range rel.columns {
		if c.key && (a[i].IsNull() != b[i].IsNull() || !a[i].IsNull() && types.Compare(c.t, a[i], b[i]) != 0) {
			return false
		}
	}
	return true
}

// Client is where a stream goes. Its methods are called by Run's goroutine, and may buffer until Flush.
type Client interface {
	// Data sends a message of the output plugin.
	Data(lsn LSN, message []byte) error
	// Progress says that everything that lsn holds has been sent.
	Progress(lsn LSN) error
	Flush() error
}

// Stream is a slot that is being read by a session.
type Stream struct {
	svc     *Service
	slot    Slot
	session int32
	r       reader
	from    LSN
	app     Sender

	mu        sync.Mutex
	confirmed truetime.Timestamp
	sent      LSN
	status    Status // the last one
	reply     bool   // the client wants to hear of us
	wake      chan struct{}
	cancel    context.CancelCauseFunc // nil before Run
	stopped   error                   // by Stop
}

// Status is what a consumer says about how far it has come.
type Status struct{ Write, Flush, Apply LSN }

// Confirm notes what the consumer says. Safe for concurrent use.
func (s *Stream) Confirm(st Status, reply bool) {
	s.mu.Lock()
	s.status = Status{max(s.status.Write, st.Write), max(s.status.Flush, st.Flush), max(s.status.Apply, st.Apply)}
	// Nobody can have more than was sent.
	if ts := min(st.Flush, s.sent).Through(); ts > s.confirmed {
		s.confirmed = ts
	}
	s.reply = s.reply || reply
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Stop ends Run with a cause. Safe for concurrent use.
func (s *Stream) Stop(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped == nil {
		s.stopped = cause
	}
	if s.cancel != nil {
		s.cancel(cause)
	}
}

const (
	busyPause = 10 * time.Millisecond  // between two rounds, the first of which found something
	idlePause = 100 * time.Millisecond // at most
	progress  = 500 * time.Millisecond // between two Progress
)

// errStopped ends Run without an error.
var errStopped = errors.New("replication: stopped")

// ErrStopped is for Stop, when the client has asked for the end.
func ErrStopped() error { return errStopped }

// Run sends what is committed until ctx ends, Stop is called (nil for ErrStopped) or something fails. It gives the slot back.
func (s *Stream) Run(ctx context.Context, client Client) error {
	ctx, cancel := context.WithCancelCause(ctx)
	s.mu.Lock()
	s.cancel = cancel
	if s.stopped != nil {
		cancel(s.stopped)
	}
	s.mu.Unlock()
	defer cancel(nil)
	s.svc.enlist(s)
	defer s.svc.delist(s)
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		s.keep(ctx, cancel)
	}()
	err := s.run(ctx, client)
	if cause := context.Cause(ctx); ctx.Err() != nil && cause != nil {
		err = cause
	}
	lost := errors.Is(err, kv.ErrReadTooOld)
	cancel(nil)
	<-kept
	end, stop := context.WithTimeout(context.WithoutCancel(ctx), renewal)
	defer stop()
	if rerr := s.svc.Slots.Release(end, s.slot.Name, s.session, s.position(), lost); rerr != nil && err == nil {
		err = rerr
	}
	switch {
	case errors.Is(err, errStopped):
		return nil
	case lost:
		return errLost(s.slot.Name)
	}
	return err
}

func (s *Stream) position() truetime.Timestamp {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.confirmed
}

// keep tells the slot what is confirmed, and that it is in use.
func (s *Stream) keep(ctx context.Context, cancel context.CancelCauseFunc) {
	t := time.NewTicker(renewal)
	defer t.Stop()
	failed := s.svc.cfg.Clock.Now().Latest
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		err := s.svc.Slots.Advance(ctx, s.slot.Name, s.session, s.position())
		now := s.svc.cfg.Clock.Now().Latest
		switch {
		case err == nil:
			failed = now
		case pgerr.Code(err) != "", now.Sub(failed) > hold-renewal:
			// Another session may have it.
			cancel(err)
			return
		}
	}
}

func (s *Stream) run(ctx context.Context, client Client) error {
	s.r.out = func(lsn LSN, _ transaction, message []byte) error { return client.Data(lsn, message) }
	s.r.committed = func(x transaction) error {
		s.note(EndLSN(x.ts))
		return nil
	}
	pause := busyPause
	var told time.Time
	for {
		before := s.r.at
		found := s.sentTo()
		if err := s.r.step(ctx, s.svc.cfg.Clock.Now().Earliest); err != nil {
			return err
		}
		if s.r.at > before {
			s.note(EndLSN(s.r.at))
		}
		s.mu.Lock()
		reply := s.reply
		s.reply = false
		s.mu.Unlock()
		if now := time.Now(); reply || now.Sub(told) >= progress {
			told = now
			if err := client.Progress(EndLSN(s.r.at)); err != nil {
				return err
			}
		}
		if err := client.Flush(); err != nil {
			return err
		}
		if s.sentTo() != found && s.r.x.ts > before {
			pause = busyPause
		} else {
			pause = min(2*pause, idlePause)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-s.wake:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

func (s *Stream) note(lsn LSN) {
	s.mu.Lock()
	s.sent = max(s.sent, lsn)
	s.mu.Unlock()
}

func (s *Stream) sentTo() LSN {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

// Message is one message of an output plugin.
type Message struct {
	LSN  LSN
	XID  uint32
	Data []byte
}

// peekBytes bounds what one call of Changes holds.
const peekBytes = 64 << 20

var errEnough = errors.New("replication: enough")

// Changes reads what a slot gives up to now, or up to the end of the transaction with which one of the bounds is reached:
// a position, a number of messages (0: none). With consume that is confirmed.
func (svc *Service) Changes(ctx context.Context, a ReadArgs, upTo LSN, limit int, consume bool) (out []Message, err error) {
	slot, err := svc.Slots.Acquire(ctx, a.Slot, a.Database, a.Session)
	if err != nil {
		return nil, err
	}
	r, err := svc.newReader(slot, a)
	if err == nil {
		var size int
		r.out = func(lsn LSN, x transaction, message []byte) error {
			out = append(out, Message{lsn, x.xid, slices.Clone(message)})
			if size += len(message); size > 4*peekBytes {
				return pgerr.New(pgerr.ProgramLimitExceeded, "a transaction of more than %d MB does not fit into one answer", 4*peekBytes>>20).
					WithHint("Read the slot by the streaming replication protocol.")
			}
			return nil
		}
		r.committed = func(x transaction) error {
			if limit > 0 && len(out) >= limit || upTo > 0 && EndLSN(x.ts) >= upTo || size > peekBytes {
				return errEnough
			}
			return nil
		}
		to := svc.cfg.Clock.Now().Earliest
		if upTo > 0 {
			to = min(to, upTo.Through())
		}
		for err == nil && r.at < to {
			err = r.step(ctx, to)
		}
		if errors.Is(err, errEnough) {
			err = nil
		}
	}
	lost := errors.Is(err, kv.ErrReadTooOld)
	if lost {
		err = errLost(a.Slot)
	}
	confirmed := slot.Confirmed
	if err == nil && consume {
		confirmed = r.at
	}
	if rerr := svc.Slots.Release(context.WithoutCancel(ctx), a.Slot, a.Session, confirmed, lost); err == nil {
		err = rerr
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}
