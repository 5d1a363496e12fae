package exec

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

const (
	defaultMem = 256 << 20
	datumSize  = 24
)

// op is an operator at run time. open starts or restarts it; after next returned false or an error only
// open and close may follow. close may be called at any time, more than once.
type op interface {
	open(ctx context.Context) error
	next(ctx context.Context) (bool, error)
	close()
}

// state is one execution.
type state struct {
	p    *plan.Plan
	env  *Env
	c    plan.EvalCtx
	subs []*subState
	ctes []*cteState
	mem  int64
	max  int64
	// writers are data-modifying CTEs, run to their end before the statement ends.
	writers []*cteState
	// stats are kept for EXPLAIN ANALYZE, by node id.
	stats []nodeStats
	fks   *fkQueue
	depth int // of nested statements run by foreign key actions
	ticks uint32
	owed  []triggerEvent // AFTER STATEMENT triggers
	// trans are the rows kept for transition tables; moving says that a row is on its way to another partition.
	trans  []*Transition
	moving bool
	// scans and written are what tell reports on.
	scans   []*scanOp
	written []*writer
	// delayed are the writes of WITH queries, done when the statement has read all it reads.
	delayed []func(context.Context) error
	// claimed are the rows that this statement changes, by the operation that came first; kept only where WITH queries
	// write.
	claimed map[string]op
	// serial is the execution's number in Env.Writes.
	serial uint64
	// pool is what the node's executions share, reserved what this one has of it: from freeMem on.
	pool     *MemoryPool
	reserved int64
}

// claim reports whether the old row of t is by's to change: of several parts of one statement that would update or
// delete a row, the first one does and the others pass it over.
func (s *state) claim(t *plan.WriteTarget, by op) bool {
	if len(s.writers) == 0 {
		return true
	}
	if s.claimed == nil {
		s.claimed = map[string]op{}
	}
	key := s.claimKey(t)
	first, ok := s.claimed[key]
	if !ok {
		s.claimed[key] = by
	}
	return !ok || first == by
}

// claimable is claim without taking the row.
func (s *state) claimable(t *plan.WriteTarget, by op) bool {
	if len(s.claimed) == 0 {
		return true
	}
	first, ok := s.claimed[s.claimKey(t)]
	return !ok || first == by
}

func (s *state) claimKey(t *plan.WriteTarget) string {
	return string(codecOf(t.Table).appendRowKey(binary.BigEndian.AppendUint32(nil, t.Table.ID), frameRow(s, t.Old)))
}

func newState(p *plan.Plan, env *Env) *state {
	s := &state{p: p, env: env, max: env.MemLimit}
	if s.max == 0 {
		s.max = defaultMem
	}
	s.c = plan.EvalCtx{Frame: make([]types.Datum, p.NumSlots), Params: env.Params, B: env.Builtin, Sub: s, RowID: env.RowID}
	if s.c.RowID == nil {
		s.c.RowID = defaultRowIDs.next
	}
	if env.Writes != nil {
		s.serial = env.Writes.begin()
	}
	if p.NumCTEs > 0 {
		s.ctes = make([]*cteState, p.NumCTEs)
	}
	return s
}

// rowIDs makes row ids: the clock in microseconds, pushed on so that no two are equal in this process, and
// a tag that tells processes apart. Ids of one moment are neighbours; should two processes ever make the
// same one, kv.Txn.Insert refuses the second.
type rowIDs struct {
	last atomic.Int64
	tag  int64
}

const rowIDTagBits = 12

func (g *rowIDs) next() int64 {
	now := time.Now().UnixMicro()
	for {
		last := g.last.Load()
		id := max(now, last+1)
		if g.last.CompareAndSwap(last, id) {
			return id<<rowIDTagBits | g.tag
		}
	}
}

// defaultRowIDs serves executions whose Env has no generator.
var defaultRowIDs = &rowIDs{tag: rand.Int64N(1 << rowIDTagBits)}

// xid is what rows show in xmin that this transaction writes, NULL while the cluster has nodes that would not keep it. As
// in PostgreSQL it is the low half of what pg_current_xact_id returns; the first three are not given to transactions.
func (s *state) xid() types.Datum {
	if s.env.Anonymous {
		return types.Null
	}
	return types.NewInt(int64(max(uint32(s.env.Txn.Age()), plan.FrozenXid+1)))
}

// tick is called by operators that may loop for long without reading keys; it notices cancellation.
func (s *state) tick(ctx context.Context) error {
	if s.ticks++; s.ticks&1023 != 0 {
		return nil
	}
	return ctx.Err()
}

// grow accounts for memory; past the limit the statement fails.
func (s *state) grow(n int64) error {
	s.mem += n
	if s.mem > s.max {
		return s.outOfMemory()
	}
	if s.pool != nil && s.mem > s.reserved {
		return s.reserve()
	}
	return nil
}

func (s *state) outOfMemory() error {
	return pgerr.New(pgerr.OutOfMemory, "out of memory").
		WithDetail("The statement needs more than its budget of %d MB.", s.max>>20)
}

func (s *state) shrink(n int64) { s.mem -= n }

// lock is the lock a scan's reads take.
func (s *state) lock(want plan.LockWant, point bool) kv.LockMode {
	if s.env.ReadOnly {
		return kv.LockNone
	}
	if s.env.Isolation == kv.Serializable {
		if want == plan.LockForUpdate {
			return kv.LockExclusive
		}
		return kv.LockShared
	}
	if want == plan.LockForUpdate && point {
		return kv.LockExclusive
	}
	return kv.LockNone
}

// rows stores copies of the values of some slots, row by row.
type rows struct {
	s     *state
	slots []plan.Slot
	data  [][]types.Datum
	size  int64
	chunk []types.Datum
	bytes []byte
}

func (r *rows) reset() {
	r.s.shrink(r.size)
	r.data, r.size, r.chunk, r.bytes = nil, 0, nil, nil
}

// clone copies a datum that may alias a buffer.
func (r *rows) clone(d types.Datum) types.Datum {
	switch d.Kind() {
	case types.KindString:
		return types.NewStringFromBytes(r.copyBytes([]byte(d.Str())))
	case types.KindBytes:
		return types.NewBytes(r.copyBytes(d.Bytes()))
	case types.KindUUID:
		u := *d.UUID()
		return types.NewUUID(&u)
	}
	return d
}

func (r *rows) copyBytes(b []byte) []byte {
	if len(b) > 1024 {
		return append([]byte(nil), b...)
	}
	if cap(r.bytes)-len(r.bytes) < len(b) {
		r.bytes = make([]byte, 0, 8192)
	}
	n := len(r.bytes)
	r.bytes = append(r.bytes, b...)
	return r.bytes[n : n+len(b) : n+len(b)]
}

func datumBytes(d types.Datum) int64 {
	switch d.Kind() {
	case types.KindString:
		return int64(len(d.Str()))
	case types.KindBytes:
		return int64(len(d.Bytes()))
	case types.KindNumeric, types.KindUUID, types.KindInterval:
		return 48
	case types.KindArray:
		return 64 + int64(len(d.Array().Elems))*datumSize
	case types.KindTuple:
		return 64 + int64(len(d.Tuple().Elems))*datumSize
	case types.KindJSON, types.KindRange:
		return 128
	case types.KindMultirange:
		return 64 + int64(len(d.Multirange().Ranges))*128
	}
	return 0
}

// alloc returns a row of n datums.
func (r *rows) alloc(n int) []types.Datum {
	if r.chunk == nil || len(r.chunk) < n { // a row without columns is a row, not nil
		r.chunk = make([]types.Datum, max(n, 512))
	}
	row := r.chunk[:n:n]
	r.chunk = r.chunk[n:]
	return row
}

// save copies the slots out of the frame.
func (r *rows) save() ([]types.Datum, error) {
	row := r.alloc(len(r.slots))
	n := int64(len(r.slots))*datumSize + 24
	for i, sl := range r.slots {
		d := r.s.c.Frame[sl]
		n += datumBytes(d)
		row[i] = r.clone(d)
	}
	r.data = append(r.data, row)
	r.size += n
	return row, r.s.grow(n)
}

// load puts a saved row back into the frame.
func (r *rows) load(row []types.Datum) {
	for i, sl := range r.slots {
		r.s.c.Frame[sl] = row[i]
	}
}

// run executes to the end.
func run(ctx context.Context, p *plan.Plan, env *Env, sink func(row []types.Datum) error) (Result, error) {
	if p.Explain != nil {
		return runExplain(ctx, p, env, sink)
	}
	if p.Fast != nil {
		return runFast(ctx, p, env, sink)
	}
	c, err := open(ctx, p, env)
	if err != nil {
		return Result{}, err
	}
	defer c.Close()
	for {
		row, err := c.Next(ctx)
		if err != nil {
			return Result{}, err
		}
		if row == nil {
			return c.Result(), nil
		}
		if sink != nil {
			if err := sink(row); err != nil {
				return Result{}, err
			}
		}
	}
}

// Cursor is an open execution.
type Cursor struct {
	s      *state
	root   op
	row    []types.Datum
	n      int64
	opened bool
	done   bool
	rows   [][]types.Datum // of a statement that was run at once (EXPLAIN)
	ahead  *readAhead      // nil before Settle
}

func open(ctx context.Context, p *plan.Plan, env *Env) (*Cursor, error) {
	if p.Explain != nil {
		c := &Cursor{s: &state{p: p, env: env}}
		_, err := runExplain(ctx, p, env, func(row []types.Datum) error {
			c.rows = append(c.rows, append([]types.Datum(nil), row...))
			return nil
		})
		return c, err
	}
	s := newState(p, env)
	s.pool, s.reserved = env.Pool, freeMem
	root, err := s.build(p.Root)
	if err != nil {
		return nil, err
	}
	return &Cursor{s: s, root: root, row: make([]types.Datum, max(1, len(p.Output)))}, nil
}

// Next returns the next row, nil at the end. The row is valid until the next call.
func (c *Cursor) Next(ctx context.Context) ([]types.Datum, error) {
	if c.done {
		return nil, nil
	}
	if c.s.p.Explain != nil {
		if int(c.n) >= len(c.rows) {
			return nil, nil
		}
		c.n++
		return c.rows[c.n-1], nil
	}
	next := c.next
	if c.ahead != nil {
		next = c.ahead.next
	}
	row, err := next(ctx)
	if err != nil || row == nil {
		c.done = true
	}
	return row, err
}

func (c *Cursor) next(ctx context.Context) ([]types.Datum, error) {
	s := c.s
	if !c.opened {
		c.opened = true
		if err := c.root.open(ctx); err != nil {
			return nil, err
		}
	}
	for {
		ok, err := c.root.next(ctx)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, s.finish(ctx)
		}
		c.n++
		if len(s.p.Output) == 0 {
			if len(s.p.Columns) == 0 && s.p.Verb == "SELECT" {
				return c.row[:0], nil // SELECT without columns still has rows
			}
			continue
		}
		for i, e := range s.p.Output {
			if c.row[i], err = e.Eval(&s.c); err != nil {
				return nil, err
			}
		}
		return c.row[:len(s.p.Output)], nil
	}
}

// finish runs data-modifying CTEs that nobody read and checks foreign keys.
func (s *state) finish(ctx context.Context) error {
	for _, w := range s.writers {
		if err := w.drain(ctx); err != nil {
			return err
		}
	}
	for _, write := range s.delayed {
		if err := write(ctx); err != nil {
			return err
		}
	}
	s.delayed = nil
	if len(s.owed) > 0 {
		q := s.queue()
		q.events = append(q.events, s.owed...)
		s.owed = nil
	}
	if s.fks != nil {
		return s.fks.run(ctx)
	}
	return nil
}

// Result returns what was done so far; Rows counts the rows returned or, for a write, changed.
func (c *Cursor) Result() Result {
	r := Result{Verb: c.s.p.Verb, Rows: c.n}
	if m, ok := rootModify(c.root); ok {
		r.Rows = m.count()
	}
	return r
}

// counter is a modifying operator.
type counter interface{ count() int64 }

func rootModify(o op) (counter, bool) {
	for {
		switch x := o.(type) {
		case counter:
			return x, true
		case *withOp:
			o = x.in
		case *statOp:
			o = x.in
		default:
			return nil, false
		}
	}
}

// Close ends the execution. It may be called twice.
func (c *Cursor) Close() {
	if c.root != nil {
		c.root.close()
	}
	c.ahead.close()
	c.s.giveBack()
	c.s.tell()
	c.done = true
}
