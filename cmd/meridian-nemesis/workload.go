package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/meridian-db/meridian/cmd/internal/proc"
	"github.com/meridian-db/meridian/txn/history"
)

// listLength is when a list is left for a new one: what a history's checker has to read grows with its square.
const listLength = 64

// workload is a list-append workload in SQL: transactions append numbers that are unique to lists, and read lists.
type workload struct {
	cluster *proc.Cluster
	options *options
	line    *timeline

	rec      *history.Recorder
	base     int // first key of the round
	value    atomic.Int64
	appended []atomic.Int64 // by slot: appends begun in this round

	mu   sync.Mutex
	seen []commit  // commits since the last reset, for the gaps
	last time.Time // of the newest commit; zero while no clients run
}

// commit is when a list's transaction was acknowledged.
type commit struct {
	at   time.Time
	slot int
}

// prepare makes the table and waits until every range has its replicas.
func prepare(ctx context.Context, c *proc.Cluster) error {
	conn, err := pgx.Connect(ctx, c.Nodes[0].URL())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, `create table lists (key int primary key, list bigint[] not null, filler text)`); err != nil {
		return err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		var replicas int
		if err := conn.QueryRow(ctx, `select min(cardinality(replicas)) from meridian.ranges`).Scan(&replicas); err != nil {
			return err
		}
		if replicas >= 3 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("ranges have %d replicas: %w", replicas, ctx.Err())
		}
	}
}

// begin starts a round with keys of its own.
func (w *workload) begin(round int) {
	w.rec = history.NewRecorder(time.Now)
	w.base = round * 1_000_000
	w.appended = make([]atomic.Int64, w.options.keys)
	w.takeCommits()
}

// key returns the list that a slot uses now.
func (w *workload) key(slot int) int {
	return w.base + slot*10_000 + int(w.appended[slot].Load()/listLength)
}

func (w *workload) committed(slots map[int]bool) {
	now := time.Now()
	w.line.commit(now)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = now
	for s := range slots {
		w.seen = append(w.seen, commit{now, s})
	}
}

// lastCommit returns when the newest commit was acknowledged, zero while no clients run.
func (w *workload) lastCommit() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// rested says that the clients have been told to stop.
func (w *workload) rested() {
	w.mu.Lock()
	w.last = time.Time{}
	w.mu.Unlock()
}

// takeCommits returns what was acknowledged since the last call.
func (w *workload) takeCommits() []commit {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.seen
	w.seen = nil
	return s
}

// client runs transactions until ctx ends, through one node after the other: it moves on when a node fails it.
func (w *workload) client(ctx context.Context, id int) {
	rng := rand.New(rand.NewPCG(w.options.seed, uint64(w.base+id)))
	name := fmt.Sprint("c", id)
	node := id
	var conn *pgx.Conn
	defer func() {
		if conn != nil {
			closing, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			conn.Close(closing)
		}
	}()
	for ctx.Err() == nil {
		if conn == nil || conn.IsClosed() {
			try, cancel := context.WithTimeout(ctx, time.Second)
			c, err := pgx.Connect(try, w.cluster.Nodes[node%len(w.cluster.Nodes)].URL())
			cancel()
			if err != nil {
				node++
				rest(ctx, 20*time.Millisecond)
				continue
			}
			conn = c
		}
		// A pool would notice a dead server like this: by its patience.
		try, cancel := context.WithTimeout(ctx, 3*time.Second)
		w.transaction(try, conn, name, rng)
		cancel()
		if conn.PgConn().TxStatus() != 'I' {
			// Its time was up between two statements, before a message was sent: the connection is well and the block
			// still open. The next transaction would go on in it, and commit what counts as aborted.
			closing, cancel := context.WithTimeout(ctx, time.Second)
			conn.Close(closing)
			cancel()
		}
		if conn.IsClosed() {
			node++
		}
		rest(ctx, time.Duration(rng.ExpFloat64()*float64(w.options.pause)))
	}
}

func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// step is one operation of a transaction to be.
type step struct {
	slot, key int
	append    int64 // zero: a read
	filler    int   // bytes that an append stores beside its list
}

// One transaction in largeShare outgrows the gateway's buffer, so that its writes are staged in the ranges.
const (
	largeShare  = 60
	largeFiller = 400 << 10
)

func (w *workload) plan(rng *rand.Rand) (steps []step, readOnly bool) {
	readOnly = rng.IntN(4) == 0
	large := !readOnly && rng.IntN(largeShare) == 0
	n := 1 + rng.IntN(4)
	if large {
		n += 3
	}
	for range n {
		s := step{slot: rng.IntN(w.options.keys), filler: 500}
		if large {
			s.filler = largeFiller
		}
		s.key = w.key(s.slot)
		if !readOnly && (large || rng.IntN(2) == 0) {
			s.append = w.value.Add(1)
			w.appended[s.slot].Add(1)
		}
		steps = append(steps, s)
	}
	return steps, readOnly
}

// transaction runs one transaction and records what came of it.
func (w *workload) transaction(ctx context.Context, conn *pgx.Conn, name string, rng *rand.Rand) {
	steps, readOnly := w.plan(rng)
	t := w.rec.Begin(name)
	slots := map[int]bool{}
	for _, s := range steps {
		slots[s.slot] = true
	}
	if len(steps) == 1 && rng.IntN(2) == 0 {
		// A statement that is its own transaction.
		err := w.do(ctx, conn, t, steps[0], rng)
		note(t, conn, "implicit", err)
		if o := outcomeOf(err, steps[0].append != 0); o != history.Unknown {
			if w.rec.End(t, o); o == history.Committed {
				w.committed(slots)
			}
		}
		return
	}
	begin := "begin"
	if readOnly {
		begin = "begin read only"
	}
	if _, err := conn.Exec(ctx, begin); err != nil {
		w.rec.End(t, history.Aborted)
		return
	}
	for _, s := range steps {
		if err := w.do(ctx, conn, t, s, rng); err != nil {
			note(t, conn, "before COMMIT", err)
			w.rec.End(t, history.Aborted) // no COMMIT was sent
			_, _ = conn.Exec(ctx, "rollback")
			return
		}
	}
	tag, err := conn.Exec(ctx, "commit")
	if err == nil && tag.String() != "COMMIT" {
		err = errRolledBack
	}
	note(t, conn, "COMMIT", err)
	if o := outcomeOf(err, true); o != history.Unknown {
		if w.rec.End(t, o); o == history.Committed {
			w.committed(slots)
		}
	}
}

// note keeps what a transaction's fate was concluded from.
func note(t *history.Txn, conn *pgx.Conn, when string, err error) {
	t.Note = fmt.Sprintf("pid %d, %s", conn.PgConn().PID(), when)
	if err != nil {
		t.Note += ": " + err.Error()
	}
}

var errRolledBack = errors.New("rolled back")

// outcomeOf is what a client may conclude from the answer to the message that commits.
func outcomeOf(err error, writes bool) history.Outcome {
	var pg *pgconn.PgError
	switch {
	case err == nil:
		return history.Committed
	case !writes, errors.Is(err, errRolledBack):
		return history.Aborted
	case errors.As(err, &pg) && (pg.Code[:2] == "40" && pg.Code != "40003" || pg.Code == "25P02"):
		return history.Aborted
	}
	// pgconn.SafeToRetry is no help: pgx answers "conn closed", and calls it safe, when the connection breaks while
	// it waits for the answer to a simple query.
	return history.Unknown
}

// do runs one step. The filler makes ranges split.
func (w *workload) do(ctx context.Context, conn *pgx.Conn, t *history.Txn, s step, rng *rand.Rand) error {
	key := strconv.Itoa(s.key)
	if s.append != 0 {
		// Recorded first: if the answer is lost the append may have happened.
		t.Ops = append(t.Ops, history.Op{Key: key, Append: true, Value: s.append})
		const insert = `insert into lists values ($1, array[$2::bigint], repeat('x', $3::int))
			on conflict (key) do update set list = lists.list || excluded.list, filler = excluded.filler`
		if rng.IntN(2) == 0 {
			_, err := conn.Exec(ctx, insert, s.key, s.append, s.filler)
			return err
		}
		tag, err := conn.Exec(ctx, `update lists set list = list || $2::bigint, filler = repeat('x', $3::int) where key = $1`, s.key, s.append, s.filler)
		if err == nil && tag.RowsAffected() == 0 {
			_, err = conn.Exec(ctx, insert, s.key, s.append, s.filler)
		}
		return err
	}
	list, err := readList(ctx, conn, s.key, rng.IntN(4) == 0 && conn.PgConn().TxStatus() == 'T')
	if err == nil {
		t.Ops = append(t.Ops, history.Op{Key: key, List: list})
	}
	return err
}

func readList(ctx context.Context, conn *pgx.Conn, key int, scan bool) ([]int64, error) {
	query := `select list from lists where key = $1`
	if scan {
		query = `select list from lists where key >= $1 and key < $1 + 1 order by key desc`
	}
	var list []int64
	err := conn.QueryRow(ctx, query, key).Scan(&list)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return list, err
}

// finalRead reads every list of the round in one transaction, through any node that answers.
func (w *workload) finalRead(ctx context.Context) error {
	var last error
	for try := range 20 {
		node := w.cluster.Nodes[try%len(w.cluster.Nodes)]
		if last = w.finalReadAt(ctx, node); last == nil {
			return nil
		}
		rest(ctx, 500*time.Millisecond)
	}
	return last
}

func (w *workload) finalReadAt(ctx context.Context, node *proc.Node) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, node.URL())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	t := w.rec.Begin("final")
	rows, err := conn.Query(ctx, `select key, list from lists where key >= $1 and key < $1 + 1000000`, w.base)
	if err != nil {
		w.rec.End(t, history.Aborted)
		return err
	}
	var key int
	var list []int64
	_, err = pgx.ForEachRow(rows, []any{&key, &list}, func() error {
		t.Ops = append(t.Ops, history.Op{Key: strconv.Itoa(key), List: list})
		list = nil
		return nil
	})
	if err != nil {
		w.rec.End(t, history.Aborted)
		return err
	}
	w.rec.End(t, history.Committed)
	return nil
}
