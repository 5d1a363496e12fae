package jobs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/kv/kvtest"
)

// bubbleClock is true time in a synctest bubble, uncertain by 5 ms.
type bubbleClock struct{}

func (bubbleClock) Now() truetime.Interval {
	now := truetime.Timestamp(time.Now().UnixNano())
	return truetime.Interval{Earliest: now.Add(-5 * time.Millisecond), Latest: now.Add(5 * time.Millisecond)}
}

// cutDB is one node's way to the database, which can be cut.
type cutDB struct {
	kv.DB
	mu  sync.Mutex
	cut bool
}

func (d *cutDB) Begin(ctx context.Context, o kv.TxnOptions) (kv.Txn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cut {
		return nil, kv.ErrUnavailable
	}
	return d.DB.Begin(ctx, o)
}

// world is two nodes whose jobs count to ten, a step in 1.1 seconds.
type world struct {
	t     *testing.T
	nodes []*Registry
	dbs   []*cutDB
	begun time.Time
	mu    sync.Mutex
	log   []string
	fail  map[int]error // at a step
}

func (w *world) event(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, fmt.Sprintf("%3.0fs ", time.Since(w.begun).Seconds())+fmt.Sprintf(format, args...))
}

type counting struct {
	w    *world
	node int
}

func (c counting) Resume(ctx context.Context, run *Run) (any, error) {
	at := 0
	if _, err := run.State(&at); err != nil {
		return nil, err
	}
	c.w.event("n%d resumes at %d", c.node, at)
	for at < 10 {
		if !sleep(ctx, 1100*time.Millisecond) {
			c.w.event("n%d stops at %d: %v", c.node, at, context.Cause(ctx))
			return nil, context.Cause(ctx)
		}
		at++
		c.w.mu.Lock()
		err := c.w.fail[at]
		c.w.mu.Unlock()
		if err != nil {
			return nil, err
		}
		run.Show(Progress{Fraction: float64(at) / 10})
		if err := run.Checkpoint(ctx, at, false); err != nil {
			return nil, err
		}
	}
	return "counted", nil
}

func (c counting) Revert(_ context.Context, run *Run) error {
	c.w.event("n%d reverts", c.node)
	return nil
}

func inWorld(t *testing.T, fn func(ctx context.Context, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, begun: time.Now(), fail: map[int]error{}}
		db := kvtest.New()
		for i := range 2 {
			d := &cutDB{DB: db}
			r, err := New(Config{DB: d, Clock: bubbleClock{}, Node: uint64(i + 1), Keep: 3})
			if err != nil {
				t.Fatal(err)
			}
			r.Handle("count", counting{w, i + 1})
			r.Start()
			w.nodes, w.dbs = append(w.nodes, r), append(w.dbs, d)
		}
		fn(t.Context(), w)
		for _, r := range w.nodes {
			r.Stop(context.Background())
		}
	})
}

func (w *world) create() uint64 {
	id, err := w.nodes[0].CreateAlone(w.t.Context(), Record{Kind: "count"}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// end waits for a job at node 2 and compares what has happened.
func (w *world) end(id uint64, state State, want string) {
	w.t.Helper()
	rec, err := w.nodes[1].Wait(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	w.event("%s %s", rec.State, rec.Error)
	if rec.State != state {
		w.t.Errorf("job is %s, want %s", rec.State, state)
	}
	got := strings.Join(w.log, "\n")
	if want = strings.TrimSpace(want); strings.TrimSpace(got) != want {
		w.t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	w.log = nil
}

func TestJobEnds(t *testing.T) {
	inWorld(t, func(ctx context.Context, w *world) {
		id := w.create()
		w.end(id, Succeeded, "0s n1 resumes at 0\n 11s succeeded")
		rec, _ := w.nodes[1].Get(ctx, id)
		if string(rec.Result) != `"counted"` || rec.Fraction != 1 || rec.Finished == 0 {
			t.Errorf("record %+v", rec)
		}
		var bad *StateError
		if err := w.nodes[0].Pause(ctx, id); !errors.As(err, &bad) {
			t.Errorf("pausing an ended job: %v", err)
		}
		if err := w.nodes[0].Cancel(ctx, 99); !errors.Is(err, ErrNotFound) {
			t.Errorf("canceling no job: %v", err)
		}
	})
}

// The owner dies: the other node adopts the job when the lease has ended, and goes on from the last checkpoint.
func TestJobOwnerDies(t *testing.T) {
	inWorld(t, func(ctx context.Context, w *world) {
		id := w.create()
		time.Sleep(4500 * time.Millisecond)
		w.nodes[0].stop() // without giving the lease back
		w.end(id, Succeeded, `
  0s n1 resumes at 0
  4s n1 stops at 4: context canceled
 20s n2 resumes at 4
 27s succeeded`)
	})
}

// The owner stops: the lease is given back, and the job goes on within the time between two looks.
func TestJobOwnerStops(t *testing.T) {
	inWorld(t, func(ctx context.Context, w *world) {
		id := w.create()
		time.Sleep(4500 * time.Millisecond)
		w.nodes[0].Stop(ctx)
		w.end(id, Succeeded, `
  0s n1 resumes at 0
  4s n1 stops at 4: context canceled
 10s n2 resumes at 4
 17s succeeded`)
	})
}

// The owner is cut off: it stops by itself when its lease ends, before anyone else begins.
func TestJobOwnerCutOff(t *testing.T) {
	inWorld(t, func(ctx context.Context, w *world) {
		id := w.create()
		time.Sleep(2500 * time.Millisecond)
		w.dbs[0].mu.Lock()
		w.dbs[0].cut = true
		w.dbs[0].mu.Unlock()
		time.Sleep(30 * time.Second)
		w.dbs[0].mu.Lock()
		w.dbs[0].cut = false
		w.dbs[0].mu.Unlock()
		w.end(id, Succeeded, `
  0s n1 resumes at 0
  3s n1 resumes at 2
  5s n1 resumes at 2
  6s n1 resumes at 2
  8s n1 resumes at 2
 11s n1 resumes at 2
 15s n1 resumes at 2
 20s n2 resumes at 2
 33s succeeded`)
	})
}

// Requests are made on any node.
func TestJobRequests(t *testing.T) {
	inWorld(t, func(ctx context.Context, w *world) {
		id := w.create()
		time.Sleep(4500 * time.Millisecond)
		if err := w.nodes[1].Pause(ctx, id); err != nil {
			t.Fatal(err)
		}
		w.end(id, Paused, "0s n1 resumes at 0\n  6s paused")
		time.Sleep(time.Minute) // nobody adopts it
		if err := w.nodes[1].Resume(ctx, id); err != nil {
			t.Fatal(err)
		}
		w.end(id, Succeeded, " 66s n2 resumes at 5\n 72s succeeded")

		id = w.create()
		time.Sleep(1500 * time.Millisecond)
		if err := w.nodes[1].Cancel(ctx, id); err != nil {
			t.Fatal(err)
		}
		w.end(id, Canceled, " 72s n1 resumes at 0\n 74s n1 stops at 1: jobs: canceled\n 74s n1 reverts\n 74s canceled")
	})
}

// What fails is undone, also when the node that should do so is gone.
func TestJobFails(t *testing.T) {
	inWorld(t, func(ctx context.Context, w *world) {
		w.fail[3] = errors.New("no such luck")
		w.end(w.create(), Failed, "0s n1 resumes at 0\n  3s n1 reverts\n  5s failed no such luck")
		delete(w.fail, 3)
		w.fail[2] = fmt.Errorf("for now: %w", kv.ErrUnavailable)
		id := w.create()
		time.Sleep(2350 * time.Millisecond)
		w.mu.Lock()
		delete(w.fail, 2)
		w.mu.Unlock()
		w.end(id, Succeeded, "  5s n1 resumes at 0\n  7s n1 resumes at 1\n 19s succeeded")
		for range 5 {
			id = w.create()
		}
		if _, err := w.nodes[1].Wait(ctx, id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if list, err := w.nodes[1].List(ctx); err != nil || len(list) != 3 {
			t.Errorf("%d records are kept, %v, want 3", len(list), err)
		}
	})
}
