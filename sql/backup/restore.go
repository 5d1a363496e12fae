package backup

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/meridian-db/meridian/range/placement"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/jobs"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
)

// RestoreRequest is the payload of a restore job.
type RestoreRequest struct {
	From  string             `json:"from"`
	Scope Scope              `json:"scope"`
	AsOf  truetime.Timestamp `json:"asOf,omitempty"` // zero: the newest
	// Into is the database that takes the place of the scope's; empty: one of the same name.
	Into string `json:"into,omitempty"`
}

// Restore handles jobs of KindRestore.
type Restore struct{ cfg Config }

// NewRestore returns the handler.
func NewRestore(cfg Config) *Restore {
	cfg.fill()
	return &Restore{cfg}
}

// restoreState is the checkpoint of a restore. Storage ids are given in the order of the old ones, from Base on.
type restoreState struct {
	Base      uint32 `json:"base"`
	Storages  uint32 `json:"storages"`
	Done      int    `json:"done"`   // units before it are done
	Placed    bool   `json:"placed"` // the policies of the new storage are recorded
	Published bool   `json:"published"`
}

// batchBytes is the size of one transaction's rows.
const batchBytes = 512 << 10

// Resume implements jobs.Handler.
func (r *Restore) Resume(ctx context.Context, run *jobs.Run) (any, error) {
	var req RestoreRequest
	if err := run.Payload(&req); err != nil {
		return nil, err
	}
	var st restoreState
	resumed, err := run.State(&st)
	if err != nil {
		return nil, err
	}
	chain, err := OpenChain(ctx, req.From)
	if err != nil {
		return nil, err
	}
	if have := chain.last().Scope; !have.holds(req.Scope) {
		return nil, pgerr.New(pgerr.InvalidParameterValue, "the backup at %s is of %s, it cannot restore %s", chain.last().store.URL(), have, req.Scope)
	}
	links, ts, err := chain.at(req.AsOf)
	if err != nil {
		return nil, err
	}
	var all []catalog.Descriptor
	err = fold(ctx, links, catalog.DescriptorSpan(), ts, func(_, value []byte) error {
		d, err := catalog.DecodeDescriptor(value)
		all = append(all, d)
		return err
	})
	if err != nil {
		return nil, err
	}
	sel, err := newSelection(all, req.Scope)
	if err != nil {
		return nil, err
	}
	storages := []uint32{}
	for _, t := range sel.tables {
		storages = append(storages, t.StorageID())
	}
	slices.Sort(storages)
	storages = slices.Compact(storages)
	units := r.units(links, storages)
	result := Result{ID: chain.last().ID, Timestamp: ts, Tables: len(sel.tables)}
	if st.Published {
		return result, nil
	}
	if !resumed {
		st = restoreState{Storages: uint32(len(storages))}
		if st.Storages > 0 {
			if st.Base, err = r.cfg.Catalog.NewIDs(ctx, st.Storages); err != nil {
				return nil, err
			}
		}
		if err := run.Checkpoint(ctx, st, true); err != nil {
			return nil, err
		}
	}
	if int(st.Storages) != len(storages) {
		return nil, fmt.Errorf("the backup at %s has changed since the restore began", req.From)
	}
	if !st.Placed {
		// What cannot work is refused before anything is copied.
		snap := r.cfg.Catalog.Snapshot(0)
		o, err := r.place(ctx, run, sel, &req, storages, st.Base, snap)
		if err != nil {
			return nil, err
		}
		if err := r.setPolicies(ctx, run, &st, snap.PlacementOf(o.descriptors)); err != nil {
			return nil, err
		}
		st.Placed = true
		if err := run.Checkpoint(ctx, st, true); err != nil {
			return nil, err
		}
	}
	if err := r.copy(ctx, run, links, units, storages, &st, ts, &result); err != nil {
		return nil, err
	}
	if err := run.Checkpoint(ctx, st, true); err != nil { // the lease must hold until the end
		return nil, err
	}
	return &result, r.publish(ctx, run, links, sel, &req, storages, st, ts, &result)
}

// holds reports whether a backup of s can restore t.
func (s Scope) holds(t Scope) bool {
	return s.Database == "" || s.Database == t.Database && (s.Table == "" || s.Table == t.Table)
}

// restoreUnit is a span of one storage.
type restoreUnit struct {
	storage uint32
	span    kv.Span
}

// units cuts storages where the files of the full backup meet, so that each is worth a few transactions.
func (r *Restore) units(links []*link, storages []uint32) []restoreUnit {
	var out []restoreUnit
	for _, s := range storages {
		sp := tableSpan(s)
		for _, f := range links[0].Files {
			if bytes.Compare(sp.Start, f.Start) < 0 && bytes.Compare(f.Start, sp.End) < 0 {
				out = append(out, restoreUnit{s, kv.Span{Start: sp.Start, End: f.Start}})
				sp.Start = f.Start
			}
		}
		out = append(out, restoreUnit{s, sp})
	}
	return out
}

// copy writes the rows into their new storage.
func (r *Restore) copy(ctx context.Context, run *jobs.Run, links []*link, units []restoreUnit, storages []uint32, st *restoreState,
	ts truetime.Timestamp, result *Result) error {
	var mu sync.Mutex
	first := st.Done
	finished := make([]bool, len(units))
	return parallel(ctx, r.cfg.Workers, len(units)-first, func(ctx context.Context, i int) error {
		i += first
		u := units[i]
		at, _ := slices.BinarySearch(storages, u.storage)
		rows, size, err := r.copyUnit(ctx, run, links, u, st.Base+uint32(at), ts)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		result.Rows += rows
		result.Bytes += size
		finished[i] = true
		done := st.Done
		for st.Done < len(units) && finished[st.Done] {
			st.Done++
		}
		run.Show(jobs.Progress{Fraction: float64(st.Done) / float64(len(units)+1), Detail: fmt.Sprintf("%d of %d parts", st.Done, len(units))})
		if st.Done == done {
			return nil
		}
		return run.Checkpoint(ctx, *st, false)
	})
}

func (r *Restore) copyUnit(ctx context.Context, run *jobs.Run, links []*link, u restoreUnit, storage uint32, ts truetime.Timestamp) (rows, size int64, err error) {
	var keys, values [][]byte
	pending := 0
	flush := func() error {
		if len(keys) == 0 {
			return nil
		}
		err := runTxn(ctx, r.cfg.DB, "restore", run.Until(), func(tx kv.Txn) error {
			for i, k := range keys {
				if err := tx.Put(k, values[i]); err != nil {
					return err
				}
			}
			return nil
		})
		keys, values, pending = keys[:0], values[:0], 0
		return err
	}
	err = fold(ctx, links, u.span, ts, func(key, value []byte) error {
		k := bytes.Clone(key)
		binary.BigEndian.PutUint32(k[1:], storage)
		keys, values = append(keys, k), append(values, bytes.Clone(value))
		rows++
		size += int64(len(key) + len(value))
		if pending += len(key) + len(value); pending < batchBytes {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	return rows, size, err
}

// place fits the selection into the catalog as it is in snap.
func (r *Restore) place(ctx context.Context, run *jobs.Run, sel *selection, req *RestoreRequest, storages []uint32, base uint32, snap *catalog.Snapshot) (*outcome, error) {
	t := &target{snap: snap, database: req.Into, user: catalog.BootstrapRoleID, storages: map[uint32]uint32{},
		newID: func() (uint32, error) { return r.cfg.Catalog.NewID(ctx) }}
	if role := snap.RoleByName(run.Record().User); role != nil {
		t.user = role.ID
	}
	for i, s := range storages {
		t.storages[s] = base + uint32(i)
	}
	return sel.place(t)
}

// setPolicies records how the new storage is to be placed, in place of what was recorded before: rows are written where
// they will be. A tablespace that changes before the end changes the records with the descriptors.
func (r *Restore) setPolicies(ctx context.Context, run *jobs.Run, st *restoreState, policies []placement.SpanPolicy) error {
	return runTxn(ctx, r.cfg.DB, "restore placement", run.Until(), func(tx kv.Txn) error {
		if err := clearPolicies(ctx, tx, st); err != nil {
			return err
		}
		for _, p := range policies {
			b, err := p.Encode()
			if err != nil {
				return err
			}
			if err := tx.Put(placement.Key(p.Start), b); err != nil {
				return err
			}
		}
		return nil
	})
}

// clearPolicies deletes the records of the new storage.
func clearPolicies(ctx context.Context, tx kv.Txn, st *restoreState) error {
	if st.Storages == 0 {
		return nil
	}
	span := kv.Span{Start: placement.Key(tableSpan(st.Base).Start), End: placement.Key(tableSpan(st.Base + st.Storages).Start)}
	rows, err := tx.Scan(ctx, span, kv.ScanOptions{Lock: kv.LockExclusive})
	if err != nil {
		return err
	}
	defer rows.Close()
	var keys [][]byte
	for rows.Next(ctx) {
		keys = append(keys, bytes.Clone(rows.Pair().Key))
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, k := range keys {
		if err := tx.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// publish adds the descriptors, and notes in the job that it did, in one transaction.
func (r *Restore) publish(ctx context.Context, run *jobs.Run, links []*link, sel *selection, req *RestoreRequest, storages []uint32, st restoreState, ts truetime.Timestamp, result *Result) error {
	sequences := map[uint32][]byte{}
	err := fold(ctx, links, catalog.SequenceSpan(), ts, func(key, value []byte) error {
		if id, ok := catalog.KeyID(key); ok {
			sequences[id] = bytes.Clone(value)
		}
		return nil
	})
	if err != nil {
		return err
	}
	stats := map[uint32][]byte{}
	err = fold(ctx, links, catalog.StatsSpan(), ts, func(key, value []byte) error {
		if id, ok := catalog.KeyID(key); ok && sel.members[id] {
			stats[id] = bytes.Clone(value)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for attempt := 0; ; attempt++ {
		o, err := r.publishOnce(ctx, run, sel, req, storages, st, sequences, stats)
		if err == nil {
			result.Notes = o.notes
			if err := r.cfg.Catalog.RefreshStats(ctx); err != nil {
				r.cfg.Log.Info("statistics not loaded", "err", err)
			}
			return nil
		}
		retry := errors.Is(err, kv.ErrRetry) || errors.Is(err, kv.ErrWriteConflict) || errors.Is(err, catalog.ErrSchemaChanged) || errors.Is(err, catalog.ErrChanged)
		if !retry || attempt >= 20 || ctx.Err() != nil {
			return err
		}
	}
}

func (r *Restore) publishOnce(ctx context.Context, run *jobs.Run, sel *selection, req *RestoreRequest, storages []uint32, st restoreState,
	sequences, stats map[uint32][]byte) (o *outcome, err error) {
	ct, err := r.cfg.Catalog.Begin(ctx, 0, catalog.Options{})
	if err != nil {
		return nil, err
	}
	committed := false
	defer func() { ct.Finish(committed) }()
	tx, err := r.cfg.DB.Begin(ctx, kv.TxnOptions{Name: "restore"})
	if err != nil {
		return nil, err
	}
	defer tx.Rollback(ctx)
	ct.Bind(tx)
	if o, err = r.place(ctx, run, sel, req, storages, st.Base, ct.Snapshot()); err != nil {
		return nil, err
	}
	// The commit of the descriptors records the policies anew, as tablespaces are now (catalog.Txn.PreCommit).
	if err := clearPolicies(ctx, tx, &st); err != nil {
		return nil, err
	}
	for _, id := range o.existing {
		if err := ct.Depend(ctx, id); err != nil {
			return nil, err
		}
	}
	if err := ct.PutAll(ctx, o.descriptors); err != nil {
		return nil, err
	}
	var list []*catalog.TableStats
	for _, d := range sel.chosen {
		t, ok := d.(*catalog.Table)
		if !ok {
			continue
		}
		if t.Sequence != nil {
			if b := sequences[t.Sequence.State]; b != nil {
				if err := ct.PutSequenceState(o.ids[t.Sequence.State], b); err != nil {
					return nil, err
				}
			}
		}
		if b := stats[t.ID]; b != nil {
			s, err := catalog.RewriteStats(b, func(id uint32) uint32 { return o.ids[id] })
			if err != nil {
				return nil, err
			}
			if at, ok := slices.BinarySearch(storages, t.StorageID()); ok {
				s.Storage = st.Base + uint32(at)
			}
			list = append(list, s)
		}
	}
	if err := ct.PutStats(ctx, list); err != nil {
		return nil, err
	}
	st.Published = true
	if err := run.CheckpointIn(ctx, tx, st); err != nil {
		return nil, err
	}
	bound, err := ct.PreCommit(ctx)
	if err != nil {
		return nil, err
	}
	tx.CommitBefore(bound)
	tx.CommitBefore(run.Until())
	if _, err := tx.Commit(ctx); err != nil {
		return nil, err
	}
	committed = true
	return o, nil
}

// Revert implements jobs.Handler: the rows that no descriptor refers to become garbage.
func (r *Restore) Revert(ctx context.Context, run *jobs.Run) error {
	var st restoreState
	if ok, err := run.State(&st); err != nil || !ok || st.Published {
		return err
	}
	return runTxn(ctx, r.cfg.DB, "restore undone", 0, func(tx kv.Txn) error {
		if err := clearPolicies(ctx, tx, &st); err != nil {
			return err
		}
		for i := range st.Storages {
			if err := catalog.DiscardStorage(tx, st.Base+i); err != nil {
				return err
			}
		}
		return nil
	})
}
