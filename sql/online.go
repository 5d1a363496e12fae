package sql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/exec"
	"github.com/meridian-db/meridian/sql/pgcatalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/txn/kv"
)

// CREATE INDEX as a statement of its own does not keep others from a large table. It is three changes (I10 holds for
// each): the index is added, written by everyone and read by nobody; then its entries are made in small transactions
// that lock the rows they are for; then it may be read. A row is either locked by the backfill, whose entry the next
// write of the row replaces, or was written under the new schema and has its entry.

// indexBuild is an index to be filled.
type indexBuild struct{ table, index uint32 }

// backfillRows is the number of rows of one transaction of a backfill.
const backfillRows = 512

// maxBackfillRetries bounds the attempts of one such transaction in a row.
const maxBackfillRetries = 100

// deferIndex is ddl.Env.Defer.
func (s *Session) deferIndex() func(table, index uint32) {
	if s.building == nil {
		return nil
	}
	list := s.building
	return func(table, index uint32) { *list = append(*list, indexBuild{table, index}) }
}

// deferRows is the number of rows above which an index is filled while the table is in use.
const deferRows = 2000

// manyRows looks at a snapshot: locks taken here would keep writers waiting until the change that waits for them.
func (s *Session) manyRows(ctx context.Context, t *catalog.Table) (bool, error) {
	tx, err := s.srv.cfg.DB.Begin(ctx, kv.TxnOptions{ReadOnly: true, Name: "table size"})
	if err != nil {
		return false, err
	}
	defer tx.Rollback(ctx)
	sc, err := tx.Scan(ctx, catalog.IndexSpan(t.StorageID(), t.Primary.ID), kv.ScanOptions{Limit: deferRows + 1})
	if err != nil {
		return false, err
	}
	defer sc.Close()
	n := 0
	for n <= deferRows && sc.Next(ctx) {
		n++
	}
	return n > deferRows, sc.Err()
}

// runCreateIndex is CREATE INDEX outside of a transaction block.
func (s *Session) runCreateIndex(ctx context.Context, st *statement) error {
	out := s.out
	var builds []indexBuild
	err := func() error {
		s.out, s.building = quietOutput{out}, &builds
		defer func() { s.out, s.building = out, nil }()
		mark := out.Mark()
		for attempt := 0; ; attempt++ {
			builds = builds[:0]
			err := s.runDDL(ctx, st, nil)
			if err == nil || !retryableAlone(err) || attempt >= s.maxRetries || !out.Rewind(mark) {
				return err
			}
			s.endTxn(ctx, false)
		}
	}()
	if err != nil {
		return err
	}
	for i, b := range builds {
		if err := s.fillIndex(ctx, b); err != nil {
			// What is not filled goes: PostgreSQL would leave an invalid index behind.
			s.endTxn(ctx, false)
			for _, rest := range builds[i:] {
				if derr := s.changeCatalog(context.WithoutCancel(ctx), func(ctx context.Context, v *catalogView) error {
					return dropUnfilled(ctx, v, rest)
				}); derr != nil {
					s.srv.cfg.Log.Warn("an index that could not be built is left behind", "index", rest.index, "error", derr)
				}
			}
			return err
		}
	}
	out.Complete(st.node.Tag())
	return nil
}

// changeCatalog runs f in a transaction of its own and commits, again after conflicts.
func (s *Session) changeCatalog(ctx context.Context, f func(ctx context.Context, v *catalogView) error) error {
	for attempt := 0; ; attempt++ {
		err := func() error {
			s.startTxn(phaseImplicit)
			s.txn.readOnly, s.txn.iso = false, kv.Serializable
			s.txn.replay.stop()
			c, err := s.pinCatalog(ctx)
			if err != nil {
				return err
			}
			if err := c.Statement(ctx); err != nil {
				return err
			}
			tx, err := s.kvTxn(ctx)
			if err != nil {
				return err
			}
			v, ok := c.(*catalogView)
			if !ok {
				return errors.New("sql: no catalog to change")
			}
			v.txn.Bind(tx)
			v.refresh()
			if err := f(ctx, v); err != nil {
				return err
			}
			return s.commit(ctx)
		}()
		if err == nil {
			return nil
		}
		s.endTxn(ctx, false)
		if !retryableAlone(err) && !errors.Is(err, catalog.ErrChanged) || attempt >= maxBackfillRetries || ctx.Err() != nil {
			return err
		}
	}
}

var errBuildLost = pgerr.New(pgerr.UndefinedObject, "the index was dropped while it was being built")

// fillIndex makes the entries of an index and lets it be read.
func (s *Session) fillIndex(ctx context.Context, b indexBuild) error {
	job := s.srv.jobs.begin(s, b)
	err := s.backfill(ctx, b, job)
	if err == nil {
		err = s.changeCatalog(ctx, func(ctx context.Context, v *catalogView) error {
			t, ix := v.snap.IndexByOID(b.index)
			if ix == nil {
				return errBuildLost
			}
			nt := t.Clone()
			for _, x := range nt.AllIndexes() {
				if x.OID == b.index {
					x.State = catalog.IndexPublic
				}
			}
			return v.txn.Put(ctx, nt)
		})
	}
	s.srv.jobs.end(job, err)
	return err
}

func (s *Session) backfill(ctx context.Context, b indexBuild, job *indexJob) error {
	var after []byte
	storage := uint32(0)
	for {
		var next []byte
		var n int64
		err := s.changeCatalog(ctx, func(ctx context.Context, v *catalogView) error {
			d, ix := v.snap.IndexByOID(b.index)
			if ix == nil {
				return errBuildLost
			}
			if d.StorageID() != storage {
				after, storage = nil, d.StorageID() // the table was rewritten: its rows have other keys
			}
			if err := v.Use(ctx, []uint32{d.ID}); err != nil {
				return err
			}
			t, err := v.SnapshotCatalog.TableByID(d.ID)
			if err != nil {
				return err
			}
			for _, pi := range t.Indexes {
				if pi.OID == b.index {
					s.bctx.Context = ctx
					env := exec.Env{Txn: s.txn.kv, Isolation: kv.Serializable, Builtin: &s.bctx, Catalog: v, RowID: s.srv.cfg.RowID, Virtual: v.env()}
					next, n, err = exec.BackfillChunk(ctx, &env, t, pi, after, backfillRows)
					return err
				}
			}
			return errBuildLost
		})
		if err != nil {
			return err
		}
		s.srv.jobs.advance(job, n)
		if next == nil {
			return nil
		}
		after = next
	}
}

// dropUnfilled takes an index that was not finished off its table.
func dropUnfilled(ctx context.Context, v *catalogView, b indexBuild) error {
	t, ix := v.snap.IndexByOID(b.index)
	if ix == nil || ix.State == catalog.IndexPublic {
		return nil
	}
	nt := t.Clone()
	nt.Indexes = slices.DeleteFunc(nt.Indexes, func(x *catalog.Index) bool { return x.OID == b.index })
	if err := v.txn.DiscardIndex(t.StorageID(), ix.ID); err != nil {
		return err
	}
	return v.txn.Put(ctx, nt)
}

// indexJob is a build that goes on, or has ended lately, on this node.
type indexJob struct {
	id       uint64
	pid      int32
	db       uint32
	database string
	build    indexBuild
	name     string
	total    float64
	done     int64
	started  time.Time
	finished time.Time
	err      error
}

// indexJobs are this node's builds.
type indexJobs struct {
	mu   sync.Mutex
	next uint64
	list []*indexJob
}

// keptJobs is how many ended builds are shown.
const keptJobs = 20

func (j *indexJobs) begin(s *Session, b indexBuild) *indexJob {
	job := &indexJob{pid: s.pid, db: s.databaseID, database: s.args.Database, build: b, started: s.now()}
	s.withCatalog(func(c CatalogTxn) {
		if v, ok := c.(*catalogView); ok {
			v.refresh()
			if t, ix := v.snap.IndexByOID(b.index); ix != nil {
				job.name = ix.Name + " on " + t.Name
				if p, err := v.SnapshotCatalog.TableByID(t.ID); err == nil {
					job.total = p.RowCount
				}
			}
		}
	})
	j.mu.Lock()
	defer j.mu.Unlock()
	j.next++
	job.id = j.next
	j.list = append(j.list, job)
	for i := 0; len(j.list) > keptJobs && i < len(j.list); {
		if j.list[i].finished.IsZero() {
			i++
			continue
		}
		j.list = slices.Delete(j.list, i, i+1)
	}
	return job
}

func (j *indexJobs) advance(job *indexJob, n int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	job.done += n
}

func (j *indexJobs) end(job *indexJob, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	job.finished, job.err = time.Now(), err
}

// rows are the builds for meridian.jobs.
func (j *indexJobs) rows() []pgcatalog.Job {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []pgcatalog.Job
	for _, job := range j.list {
		r := pgcatalog.Job{ID: job.id, Kind: "create index", State: "running", Description: job.name, Started: job.started, Finished: job.finished}
		if job.total > 0 {
			r.Fraction = min(1, float64(job.done)/job.total)
		}
		switch {
		case job.err != nil:
			r.State, r.Error = "failed", job.err.Error()
		case !job.finished.IsZero():
			r.State, r.Fraction = "succeeded", 1
		}
		r.Description = fmt.Sprintf("%s (%d rows)", job.name, job.done)
		out = append(out, r)
	}
	return out
}

// progress are the builds that go on, for pg_stat_progress_create_index.
func (j *indexJobs) progress() []pgcatalog.IndexProgress {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []pgcatalog.IndexProgress
	for _, job := range j.list {
		if job.finished.IsZero() {
			out = append(out, pgcatalog.IndexProgress{PID: job.pid, DatabaseID: job.db, Database: job.database, Table: job.build.table, Index: job.build.index,
				Total: int64(max(0, job.total)), Done: job.done})
		}
	}
	return out
}
