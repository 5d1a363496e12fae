package sql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/exec"
	"github.com/meridian-db/meridian/sql/jobs"
	"github.com/meridian-db/meridian/sql/pgcatalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
)

// CREATE INDEX as a statement of its own does not keep others from a large table. It is three changes (I10 holds for
// each): the index is added, written by everyone and read by nobody; then its entries are made in small transactions
// that lock the rows they are for; then it may be read. A row is either locked by the backfill, whose entry the next
// write of the row replaces, or was written under the new schema and has its entry.
//
// The second and the third are a job (package jobs), created by the transaction of the first: when the node that runs
// it is lost, another one goes on from the last checkpoint. A chunk that is repeated finds its own entries.

// KindCreateIndex is the kind of the jobs that fill indexes.
const KindCreateIndex = "create index"

// indexBuild is the payload of such a job.
type indexBuild struct {
	Table uint32 `json:"table"`
	Index uint32 `json:"index"` // oid
	PID   int32  `json:"pid"`   // of the session that waits
	DB    uint32 `json:"db"`
	Total int64  `json:"total"` // rows, as far as statistics know
}

// fillState is the checkpoint: rows with keys below After are done.
type fillState struct {
	Storage uint32 `json:"storage"` // whose keys After is one of; zero where the job ends with the storage
	After   []byte `json:"after"`
	Rows    int64  `json:"rows"`
}

// maxBackfillRetries bounds the attempts of one such transaction in a row.
const maxBackfillRetries = 100

// deferIndex is ddl.Env.Defer.
func (s *Session) deferIndex(v *catalogView) func(ctx context.Context, t *catalog.Table, ix *catalog.Index) error {
	if s.building == nil || s.srv.cfg.Jobs == nil {
		return nil
	}
	list := s.building
	return func(ctx context.Context, t *catalog.Table, ix *catalog.Index) error {
		b := indexBuild{Table: t.ID, Index: ix.OID, PID: s.pid, DB: s.databaseID}
		if st := v.snap.Stats(t); st != nil {
			b.Total = int64(st.Rows)
		}
		id, err := s.srv.cfg.Jobs.Create(ctx, v.txn.KV(), jobs.Record{Kind: KindCreateIndex, Description: ix.Name + " on " + t.Name,
			User: s.user, Database: s.args.Database}, b)
		if err == nil {
			*list = append(*list, id)
		}
		return err
	}
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

// runWithJobs runs a change of the catalog outside of a transaction block, one that may leave work to jobs, and waits for
// those.
func (s *Session) runWithJobs(ctx context.Context, st *statement) error {
	out := s.out
	var builds []uint64
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
	for _, id := range builds {
		s.srv.cfg.Jobs.Launch(id)
	}
	// What one cannot finish the others need not: PostgreSQL would leave invalid indexes behind.
	for i, id := range builds {
		rec, err := s.awaitJob(ctx, id)
		if err == nil && rec.State == jobs.Paused {
			s.warn(pgerr.Warning, "job %d is paused: the change is not complete before the job is resumed and has ended", id)
		}
		if err != nil {
			s.endTxn(ctx, false)
			for _, rest := range builds[i+1:] {
				bg, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
				if cerr := s.srv.cfg.Jobs.Cancel(bg, rest); cerr != nil {
					var ended *jobs.StateError
					if !errors.As(cerr, &ended) {
						s.srv.cfg.Log.Warn("a job goes on", "job", rest, "error", cerr)
					}
				}
				cancel()
			}
			return err
		}
	}
	out.Complete(st.node.Tag())
	return nil
}

// changeCatalog runs f in a transaction of its own and commits before the given timestamp, again after conflicts.
func (s *Session) changeCatalog(ctx context.Context, before func() truetime.Timestamp, f func(ctx context.Context, v *catalogView) error) error {
	age := truetime.Timestamp(0) // of the first attempt: whoever is older gets the locks, so some attempt has its turn
	for attempt := 0; ; attempt++ {
		err := func() error {
			s.startTxn(phaseImplicit)
			s.txn.readOnly, s.txn.iso, s.txn.age = false, kv.Serializable, age
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
			age = tx.Age()
			v, ok := c.(*catalogView)
			if !ok {
				return errors.New("sql: no catalog to change")
			}
			tx.CommitBefore(before())
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

// indexBuilder handles jobs of KindCreateIndex.
type indexBuilder struct{ srv *Server }

// IndexBuilder is the handler of KindCreateIndex.
func (srv *Server) IndexBuilder() jobs.Handler { return indexBuilder{srv} }

// session opens a session for a job. The one that asked for the index may be gone, or another node's.
func (b indexBuilder) session(ctx context.Context, run *jobs.Run) (*Session, error) {
	return b.srv.NewSession(ctx, SessionArgs{User: "postgres", Database: run.Record().Database, Output: discard{}})
}

// Resume implements jobs.Handler.
func (b indexBuilder) Resume(ctx context.Context, run *jobs.Run) (any, error) {
	var build indexBuild
	var st fillState
	err := run.Payload(&build)
	if err == nil {
		_, err = run.State(&st)
	}
	if err != nil {
		return nil, err
	}
	s, err := b.session(ctx, run)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if err := s.backfill(ctx, run, build, &st); err != nil {
		return nil, err
	}
	err = s.changeCatalog(ctx, run.Until, func(ctx context.Context, v *catalogView) error {
		t, ix := v.snap.IndexByOID(build.Index)
		if ix == nil {
			return errBuildLost
		}
		nt := t.Clone()
		for _, x := range nt.AllIndexes() {
			if x.OID == build.Index {
				x.State = catalog.IndexPublic
			}
		}
		return v.txn.Put(ctx, nt)
	})
	return map[string]int64{"rows": st.Rows}, err
}

// Revert implements jobs.Handler: an index that was not finished is taken off its table.
func (b indexBuilder) Revert(ctx context.Context, run *jobs.Run) error {
	var build indexBuild
	if err := run.Payload(&build); err != nil {
		return err
	}
	s, err := b.session(ctx, run)
	if pgerr.Code(err) == pgerr.UndefinedDatabase {
		return nil
	}
	if err != nil {
		return err
	}
	defer s.Close()
	return s.changeCatalog(ctx, run.Until, func(ctx context.Context, v *catalogView) error { return dropUnfilled(ctx, v, build) })
}

// backfill makes the entries of an index, from a checkpoint on.
func (s *Session) backfill(ctx context.Context, run *jobs.Run, b indexBuild, st *fillState) error {
	return s.fill(ctx, run, st, b.Total, func(ctx context.Context, v *catalogView, limit int) ([]byte, int64, error) {
		d, ix := v.snap.IndexByOID(b.Index)
		if ix == nil {
			return nil, 0, errBuildLost
		}
		if d.StorageID() != st.Storage {
			*st = fillState{Storage: d.StorageID()} // the table was rewritten: its rows have other keys
		}
		t, env, err := s.filled(ctx, v, d)
		if err != nil {
			return nil, 0, err
		}
		for _, pi := range t.Indexes {
			if pi.OID == b.Index {
				return exec.BackfillChunk(ctx, env, t, pi, st.After, limit)
			}
		}
		return nil, 0, errBuildLost
	})
}

// fill runs one transaction after the other, each of which does some rows from st.After on and returns where the next one
// begins, nil for the end, and how many it did, at most limit. total is how many rows there may be, zero if nobody knows.
func (s *Session) fill(ctx context.Context, run *jobs.Run, st *fillState, total int64,
	chunk func(ctx context.Context, v *catalogView, limit int) (next []byte, n int64, err error)) error {
	pace := pacer{load: s.clientsActive, rows: minChunk, most: s.srv.cfg.BackfillRows}
	for {
		var next []byte
		var n int64
		began := time.Now()
		err := s.changeCatalog(ctx, run.Until, func(ctx context.Context, v *catalogView) (err error) {
			next, n, err = chunk(ctx, v, pace.rows)
			return err
		})
		if err != nil {
			return err
		}
		st.Rows += n
		p := jobs.Progress{Detail: fmt.Sprintf("%d rows", st.Rows), Done: st.Rows}
		if total > 0 {
			p.Fraction = min(0.99, float64(st.Rows)/float64(total))
		}
		run.Show(p)
		if next == nil {
			return nil
		}
		st.After = next
		if err := run.Checkpoint(ctx, st, false); err != nil {
			return err
		}
		if err := pace.pause(ctx, time.Since(began)); err != nil {
			return err
		}
	}
}

// filled returns a table as plans have it, and what to read and write its rows with.
func (s *Session) filled(ctx context.Context, v *catalogView, d *catalog.Table) (*plan.Table, *exec.Env, error) {
	if err := v.Use(ctx, []uint32{d.ID}); err != nil {
		return nil, nil, err
	}
	t, err := v.SnapshotCatalog.TableByID(d.ID)
	if err != nil {
		return nil, nil, err
	}
	s.bctx.Context = ctx
	return t, &exec.Env{Txn: s.txn.kv, Isolation: kv.Serializable, Builtin: &s.bctx, Catalog: v, RowID: s.srv.cfg.RowID, Anonymous: s.anonymous(), Virtual: v.env()}, nil
}

// dropUnfilled takes an index that was not finished off its table.
func dropUnfilled(ctx context.Context, v *catalogView, b indexBuild) error {
	t, ix := v.snap.IndexByOID(b.Index)
	if ix == nil || ix.State == catalog.IndexPublic {
		return nil
	}
	nt := t.Clone()
	nt.Indexes = slices.DeleteFunc(nt.Indexes, func(x *catalog.Index) bool { return x.OID == b.Index })
	if err := v.txn.DiscardIndex(t.StorageID(), ix.ID); err != nil {
		return err
	}
	return v.txn.Put(ctx, nt)
}

// indexProgress are the builds that go on anywhere, for pg_stat_progress_create_index.
func (srv *Server) indexProgress() []pgcatalog.IndexProgress {
	if srv.cfg.Jobs == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	list, err := srv.cfg.Jobs.List(ctx)
	if err != nil {
		srv.cfg.Log.Warn("progress of jobs cannot be read", "error", err)
		return nil
	}
	var out []pgcatalog.IndexProgress
	for _, r := range list {
		var b indexBuild
		if r.Kind != KindCreateIndex || r.State.Final() || json.Unmarshal(r.Payload, &b) != nil {
			continue
		}
		out = append(out, pgcatalog.IndexProgress{PID: b.PID, DatabaseID: b.DB, Database: r.Database, Table: b.Table, Index: b.Index,
			Total: max(b.Total, r.Done), Done: r.Done})
	}
	return out
}
