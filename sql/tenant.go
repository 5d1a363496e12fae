package sql

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/meridian-db/meridian/sql/exec"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// maxPace is the longest that a statement waits for its role's rate; beyond it fails, so that waiting sessions do not
// pile up.
const maxPace = time.Second

// tenant is what the sessions of one role share on a node, as far as the role has limits. It lives as long as the server:
// roles with limits are few.
type tenant struct {
	mu    sync.Mutex
	pool  *exec.MemoryPool
	limit int64 // of pool

	// A bucket of statements: free says when the next one may begin, as if all so far had kept to the rate.
	free time.Time
}

// tenant returns what the sessions of a role share.
func (srv *Server) tenant(role uint32) *tenant {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	t := srv.mu.tenants[role]
	if t == nil {
		t = &tenant{}
		srv.mu.tenants[role] = t
	}
	return t
}

// memory returns the role's pool of limit bytes. With a new limit there is a new pool: what runs ends in the old one.
func (t *tenant) memory(of *exec.MemoryPool, limit int64, role string) *exec.MemoryPool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pool == nil || t.limit != limit {
		t.pool, t.limit = of.Part(limit, "role \""+role+"\""), limit
	}
	return t.pool
}

// turn takes a statement's place in the sequence that keeps to rate statements a second, and returns how long it has to
// wait for it. A second's worth may come at once. ok is false when the wait would be longer than maxPace: no place
// is taken then.
func (t *tenant) turn(now time.Time, rate int) (wait time.Duration, ok bool) {
	gap := time.Second / time.Duration(rate)
	t.mu.Lock()
	defer t.mu.Unlock()
	if burst := now.Add(gap - time.Second); t.free.Before(burst) {
		t.free = burst
	}
	if wait = t.free.Sub(now); wait > maxPace {
		return wait, false
	}
	t.free = t.free.Add(gap)
	return max(wait, 0), true
}

// pace holds a statement up to its role's rate. Sessions without one do not get here.
func (s *Session) pace(ctx context.Context) error {
	wait, ok := s.tenant.turn(s.now(), s.statementRate)
	if !ok {
		s.srv.metrics.limited.Inc()
		return pgerr.New(pgerr.ConfigurationLimitExceeded, "too many statements for role \"%s\"", s.args.User).
			WithDetail("meridian.statement_rate allows %d a second on each node.", s.statementRate)
	}
	if wait == 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// assignLimits follows the settings that limit the session's role.
func assignLimits(s *Session, _ string) {
	rate, _ := strconv.Atoi(s.setting("meridian.statement_rate"))
	memory, _ := strconv.ParseInt(s.setting("meridian.role_memory"), 10, 64)
	s.statementRate, s.pool = rate, s.srv.cfg.Memory
	if rate <= 0 && memory <= 0 {
		return
	}
	s.tenant = s.srv.tenant(s.roleID)
	if memory > 0 {
		s.pool = s.tenant.memory(s.srv.cfg.Memory, memory<<10, s.args.User)
	}
}
