package sql

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/stmtstats"
	"github.com/meridian-db/meridian/txn/kv"
)

// costing is what the statement under way has cost so far.
type costing struct {
	stat    *stmtstats.Statement // nil: none is under way
	st      *statement
	began   time.Time
	before  kv.Stats // of the open kv transaction, when the statement began
	ended   kv.Stats // of transactions that ended since, less what they had cost before
	rows    int64
	retries int64
}

// statsOf returns a statement's counters.
func (s *Session) statsOf(st *statement) *stmtstats.Statement {
	if st.stats == nil {
		st.stats = s.srv.stats.Get(stmtstats.Key{Database: s.databaseID, Text: parser.Fingerprint(st.source())}, s.now())
	}
	return st.stats
}

// beginCost begins to count for a statement. What runs inside of it, as EXECUTE's statement, counts for it.
func (s *Session) beginCost(st *statement) {
	if st.node == nil || s.cost.stat != nil {
		return
	}
	s.cost = costing{stat: s.statsOf(st), st: st, began: s.now()}
	if s.txn.kv != nil {
		s.cost.before = s.txn.kv.Stats()
	}
}

// endCost records what was counted.
func (s *Session) endCost(err error) {
	c := &s.cost
	if c.stat == nil {
		return
	}
	if s.txn.kv != nil {
		c.addEnd(s.txn.kv.Stats())
	}
	now := s.now()
	c.stat.Record(&stmtstats.Cost{Elapsed: now.Sub(c.began), End: now, Rows: c.rows, Retries: c.retries, Failed: err != nil,
		LockWait: time.Duration(c.ended.LockWait), Replication: time.Duration(c.ended.Replication),
		CommitWait: time.Duration(c.ended.CommitWait), RPCs: int64(c.ended.RPCs)})
	s.srv.metrics.latency.Observe(now.Sub(c.began).Seconds())
	if s.audit.on {
		s.auditEnd(c.st, err, now.Sub(c.began), c.rows)
	}
	if s.slowAfter >= 0 && now.Sub(c.began) >= s.slowAfter {
		s.logSlow(err, now.Sub(c.began))
	}
	c.stat, c.st = nil, nil
}

// assignSlow follows log_min_duration_statement.
func assignSlow(s *Session, v string) {
	ms, err := strconv.Atoi(v)
	if err != nil {
		ms = -1
	}
	s.slowAfter = time.Duration(ms) * time.Millisecond
}

// logSlow writes the statement that has ended to the log: without its literals, with where the time went and the id under
// which a trace of it may be found.
func (s *Session) logSlow(err error, took time.Duration) {
	c := &s.cost
	attrs := []slog.Attr{slog.Duration("took", took), slog.String("statement", parser.Fingerprint(c.st.source())), slog.String("user", s.user),
		slog.String("database", s.args.Database), slog.String("application", s.setting("application_name")), slog.Int("session", int(s.pid)),
		slog.Int64("rows", c.rows), slog.Duration("lock_wait", time.Duration(c.ended.LockWait)),
		slog.Duration("replication", time.Duration(c.ended.Replication)), slog.Duration("commit_wait", time.Duration(c.ended.CommitWait)),
		slog.Int64("retries", c.retries), slog.Int64("requests", int64(c.ended.RPCs))}
	if err != nil {
		attrs = append(attrs, slog.String("sqlstate", WireError(err).Code))
	}
	s.stmtCtx.mu.Lock()
	if sc := trace.SpanContextFromContext(s.stmtCtx.traced); sc.IsValid() {
		attrs = append(attrs, slog.String("trace", sc.TraceID().String()))
	}
	s.stmtCtx.mu.Unlock()
	s.srv.cfg.Log.LogAttrs(context.Background(), slog.LevelInfo, "slow statement", attrs...)
}

// addEnd adds what the open kv transaction has cost since the statement, or the transaction, began.
func (c *costing) addEnd(after kv.Stats) {
	c.ended.LockWait += after.LockWait - c.before.LockWait
	c.ended.Replication += after.Replication - c.before.Replication
	c.ended.CommitWait += after.CommitWait - c.before.CommitWait
	c.ended.RPCs += after.RPCs - c.before.RPCs
	c.before = kv.Stats{}
}

// dropKV forgets the kv transaction, which has ended.
func (s *Session) dropKV() {
	if s.cost.stat != nil {
		s.cost.addEnd(s.txn.kv.Stats())
	}
	s.txn.kv = nil
}

// Statements returns the statistics of this node's statements, by fingerprint.
func (srv *Server) Statements() *stmtstats.Registry { return srv.stats }
