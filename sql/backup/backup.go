package backup

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/meridian-db/meridian/sql/backup/store"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/jobs"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/protect"
)

// Kinds of jobs.
const (
	KindBackup  = "backup"
	KindRestore = "restore"
)

// Clock is the part of TrueTime that backups need.
type Clock interface{ Now() truetime.Interval }

// Config is what backups and restores need of a node. A zero field takes the default named in its comment.
type Config struct {
	DB      kv.DB            // Required; also a kv.Partitioner, or each table is one unit of work.
	Clock   Clock            // Required.
	Catalog *catalog.Manager // Required.
	Version string           // Of Meridian, for the manifest.
	Workers int              // Units that are read, or written, at once. Default 4.
	Log     *slog.Logger     // Default: discards.
	// TestNoProtection leaves old versions to garbage collection, for a test that must then see a backup fail.
	TestNoProtection bool
}

func (c *Config) fill() {
	if c.Workers <= 0 {
		c.Workers = 4
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Request is the payload of a backup job.
type Request struct {
	To    string `json:"to"`
	Scope Scope  `json:"scope"`
	// From is the location of the backup to go on from; empty: a full backup.
	From    string             `json:"from,omitempty"`
	AsOf    truetime.Timestamp `json:"asOf,omitempty"` // zero: now
	History bool               `json:"history,omitempty"`
	// Hold is how long versions after this backup are kept for an incremental one, beyond the retention time.
	Hold time.Duration `json:"hold,omitempty"`
}

// Result is what a backup or restore job answers.
type Result struct {
	ID        string             `json:"id,omitempty"`
	Timestamp truetime.Timestamp `json:"timestamp"`
	Tables    int                `json:"tables"`
	Files     int                `json:"files"`
	Rows      int64              `json:"entries"`         // rows and index entries; versions of them in an incremental backup
	Bytes     int64              `json:"bytes"`           // of files, or for a restore of keys and values
	Notes     []string           `json:"notes,omitempty"` // what a restore has left out
}

// Backup handles jobs of KindBackup.
type Backup struct{ cfg Config }

// NewBackup returns the handler.
func NewBackup(cfg Config) *Backup {
	cfg.fill()
	return &Backup{cfg}
}

// backupState is the checkpoint of a backup.
type backupState struct {
	ID        string             `json:"id"`
	Timestamp truetime.Timestamp `json:"ts"`
	Planned   bool               `json:"planned"`
}

// protectID names the protection of a backup.
func protectID(job uint64) uint64 { return 1<<63 | job }

// protectFor is how long the protection of a running backup lasts without being extended.
const protectFor = time.Hour

// plan is what a backup is going to read. It is written to the destination, so that another node can go on.
type plan struct {
	Manifest Manifest `json:"manifest"` // without files
	Units    []unit   `json:"units"`
}

// unit is a piece of work: spans within one range as a rule, in order.
type unit []piece

type piece struct {
	Start []byte `json:"s"`
	End   []byte `json:"e"`
	Full  bool   `json:"f,omitempty"` // the chain does not cover it yet
}

const planName = "PLAN.json"

func unitName(i int) string { return fmt.Sprintf("unit-%06d.json", i) }

// Resume implements jobs.Handler.
func (b *Backup) Resume(ctx context.Context, run *jobs.Run) (any, error) {
	var req Request
	if err := run.Payload(&req); err != nil {
		return nil, err
	}
	dest, err := store.Open(ctx, req.To)
	if err != nil {
		return nil, err
	}
	var st backupState
	resumed, err := run.State(&st)
	if err != nil {
		return nil, err
	}
	if m, err := readManifest(ctx, dest); err == nil {
		if resumed && m.ID == st.ID { // done by an owner that died before it could say so
			return b.finish(ctx, run, &req, dest, m, 0)
		}
		return nil, pgerr.New(pgerr.DuplicateObject, "there is a backup at %s already", dest.URL()).WithHint("Give every backup a place of its own.")
	} else if !errors.Is(err, ErrNoBackup) {
		return nil, err
	}
	if !resumed {
		now := b.cfg.Clock.Now()
		if st.Timestamp = req.AsOf; st.Timestamp == 0 {
			st.Timestamp = now.Latest
		}
		if st.Timestamp > now.Latest {
			return nil, pgerr.New(pgerr.InvalidParameterValue, "timestamp %s lies in the future", st.Timestamp)
		}
		var id [8]byte
		rand.Read(id[:])
		st.ID = hex.EncodeToString(id[:])
		if err := run.Checkpoint(ctx, st, true); err != nil {
			return nil, err
		}
	}
	var p plan
	if st.Planned {
		err := readJSON(ctx, dest, planName, &p)
		if err == nil && p.Manifest.ID != st.ID {
			err = errors.New("it is another backup's")
		}
		if err != nil {
			return nil, fmt.Errorf("%s is not where the backup began (is it a directory of another node?): %s: %w", dest.URL(), planName, err)
		}
		if err := b.protect(ctx, run, &p.Manifest); err != nil {
			return nil, err
		}
	} else {
		if err := b.plan(ctx, run, &req, &st, &p); err != nil {
			return nil, err
		}
		if err := writeJSON(ctx, dest, planName, &p); err != nil {
			return nil, err
		}
		st.Planned = true
		if err := run.Checkpoint(ctx, st, true); err != nil {
			return nil, err
		}
	}
	lists, err := b.read(ctx, run, dest, &p)
	if err != nil {
		return nil, err
	}
	m := p.Manifest
	m.Created = time.Now().UTC()
	for _, l := range lists {
		m.Files = append(m.Files, l...)
	}
	// The lease is asked for once more: the manifest makes the backup.
	if err := run.Checkpoint(ctx, st, true); err != nil {
		return nil, err
	}
	if err := writeManifest(ctx, dest, &m); err != nil {
		return nil, err
	}
	return b.finish(ctx, run, &req, dest, &m, len(p.Units))
}

// plan decides what is read, and protects it.
func (b *Backup) plan(ctx context.Context, run *jobs.Run, req *Request, st *backupState, p *plan) error {
	m := &p.Manifest
	*m = Manifest{Format: manifestFormat, ID: st.ID, Version: b.cfg.Version, Scope: req.Scope, Timestamp: st.Timestamp,
		History: req.History, Protect: protectID(run.ID())}
	covered := map[uint32]bool{}
	if req.From != "" {
		chain, err := OpenChain(ctx, req.From)
		if err != nil {
			return err
		}
		parent := chain.last()
		if parent.Scope != req.Scope {
			return pgerr.New(pgerr.InvalidParameterValue, "the backup at %s is of %s, not of %s", parent.store.URL(), parent.Scope, req.Scope)
		}
		if parent.Timestamp >= st.Timestamp {
			return pgerr.New(pgerr.InvalidParameterValue, "the backup at %s is as of %s, which is not before %s", parent.store.URL(), parent.Timestamp, st.Timestamp)
		}
		m.Since, m.Parent, m.ParentLocation = parent.Timestamp, parent.ID, store.Relative(req.To, req.From)
		for _, s := range parent.Storages {
			covered[s] = true
		}
	} else if req.History {
		m.History = false // a full backup is one timestamp; its descendants have the history
	}
	if err := b.protect(ctx, run, m); err != nil {
		return err
	}
	storages, err := b.choose(ctx, m)
	if err != nil {
		return b.explain(err, m)
	}
	var pieces []piece
	for _, sp := range systemSpans() {
		pieces = append(pieces, piece{sp.Start, sp.End, m.Since == 0})
	}
	for _, s := range storages {
		sp := tableSpan(s)
		pieces = append(pieces, piece{sp.Start, sp.End, !covered[s]})
		covered[s] = true
	}
	m.Storages = m.Storages[:0]
	for s := range covered {
		m.Storages = append(m.Storages, s)
	}
	slices.Sort(m.Storages)
	p.Units, err = b.cut(ctx, pieces)
	return err
}

// protect keeps what is going to be read from being collected.
func (b *Backup) protect(ctx context.Context, run *jobs.Run, m *Manifest) error {
	if b.cfg.TestNoProtection {
		return nil
	}
	keep := m.Timestamp
	if m.Since != 0 {
		keep = m.Since
	}
	return b.setProtection(ctx, protect.Record{ID: protectID(run.ID()), Timestamp: keep, Expires: b.cfg.Clock.Now().Latest.Add(protectFor),
		Spans: []protect.Span{{Start: []byte{0x02}, End: []byte{0xff}}}, Owner: fmt.Sprintf("backup, job %d", run.ID())})
}

func (b *Backup) setProtection(ctx context.Context, r protect.Record) error {
	return runTxn(ctx, b.cfg.DB, "backup protection", 0, func(tx kv.Txn) error { return protect.Put(tx, r) })
}

// choose finds the storages of the scope's tables as of the backup's timestamp and, for one with history, those that
// they had since the parent's.
func (b *Backup) choose(ctx context.Context, m *Manifest) ([]uint32, error) {
	all, err := b.descriptors(ctx, m.Timestamp)
	if err != nil {
		return nil, err
	}
	sel, err := newSelection(all, m.Scope)
	if err != nil {
		return nil, err
	}
	set := map[uint32]bool{}
	for _, t := range sel.tables {
		set[t.StorageID()] = true
		m.Tables = append(m.Tables, sel.name(t))
	}
	slices.Sort(m.Tables)
	if m.History {
		err := b.changes(ctx, m, catalog.DescriptorSpan(), func(v version) error {
			if v.deleted {
				return nil
			}
			d, err := catalog.DecodeDescriptor(v.value)
			if t, ok := d.(*catalog.Table); ok && stored(t) && (m.Scope.Database == "" || sel.within(t)) {
				set[t.StorageID()] = true
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	out := make([]uint32, 0, len(set))
	for s := range set {
		out = append(out, s)
	}
	slices.Sort(out)
	return out, nil
}

// descriptors reads the catalog as of ts.
func (b *Backup) descriptors(ctx context.Context, ts truetime.Timestamp) ([]catalog.Descriptor, error) {
	var out []catalog.Descriptor
	s, err := b.stream(ctx, piece{Start: catalog.DescriptorSpan().Start, End: catalog.DescriptorSpan().End, Full: true}, &Manifest{Timestamp: ts})
	if err != nil {
		return nil, err
	}
	defer s.close()
	for {
		v, ok, err := s.next(ctx)
		if err != nil || !ok {
			return out, err
		}
		d, err := catalog.DecodeDescriptor(v.value)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
}

func (b *Backup) changes(ctx context.Context, m *Manifest, sp kv.Span, fn func(v version) error) error {
	s, err := b.stream(ctx, piece{Start: sp.Start, End: sp.End}, m)
	if err != nil {
		return err
	}
	defer s.close()
	for {
		v, ok, err := s.next(ctx)
		if err != nil || !ok {
			return err
		}
		if err := fn(v); err != nil {
			return err
		}
	}
}

// cut makes units of pieces that lie in one range each.
func (b *Backup) cut(ctx context.Context, pieces []piece) ([]unit, error) {
	part, ok := b.cfg.DB.(kv.Partitioner)
	if !ok || len(pieces) == 0 {
		units := make([]unit, len(pieces))
		for i, p := range pieces {
			units[i] = unit{p}
		}
		return units, nil
	}
	spans, err := part.Partition(ctx, kv.Span{Start: pieces[0].Start, End: pieces[len(pieces)-1].End})
	if err != nil {
		return nil, err
	}
	var units []unit
	at := 0
	for _, sp := range spans {
		var u unit
		for at < len(pieces) && bytes.Compare(pieces[at].Start, sp.End) < 0 {
			p := pieces[at]
			if bytes.Compare(p.Start, sp.Start) < 0 {
				p.Start = sp.Start
			}
			last := bytes.Compare(p.End, sp.End) <= 0
			if !last {
				p.End = sp.End
			}
			u = append(u, p)
			if !last {
				break
			}
			at++
		}
		if len(u) > 0 {
			units = append(units, u)
		}
	}
	return units, nil
}

// read reads all units, a few at a time, and returns the lists of their files.
func (b *Backup) read(ctx context.Context, run *jobs.Run, dest store.Store, p *plan) ([][]File, error) {
	lists := make([][]File, len(p.Units))
	var mu sync.Mutex
	done := 0
	extended := b.cfg.Clock.Now().Latest
	err := parallel(ctx, b.cfg.Workers, len(p.Units), func(ctx context.Context, i int) error {
		err := readJSON(ctx, dest, unitName(i), &lists[i])
		if errors.Is(err, fs.ErrNotExist) {
			if lists[i], err = b.readUnit(ctx, dest, i, p.Units[i], &p.Manifest); err == nil {
				err = writeJSON(ctx, dest, unitName(i), lists[i])
			}
		}
		if err != nil {
			return b.explain(err, &p.Manifest)
		}
		mu.Lock()
		defer mu.Unlock()
		done++
		run.Show(jobs.Progress{Fraction: float64(done) / float64(len(p.Units)), Detail: fmt.Sprintf("%d of %d parts", done, len(p.Units))})
		if now := b.cfg.Clock.Now().Latest; now.Sub(extended) > protectFor/4 {
			extended = now
			return b.protect(ctx, run, &p.Manifest)
		}
		return nil
	})
	return lists, err
}

// explain says what a read below the GC threshold means here.
func (b *Backup) explain(err error, m *Manifest) error {
	if !errors.Is(err, kv.ErrReadTooOld) {
		return err
	}
	if m.Since != 0 {
		return pgerr.New("72000", "what has changed since the earlier backup, as of %s, is not all kept any more", m.Since).WithCause(err).
			WithHint("Take a full backup; let incremental ones follow within the retention time, or hold versions for them with the option \"hold\".")
	}
	return pgerr.New("72000", "what was there at %s is not all kept any more", m.Timestamp).WithCause(err)
}

// readUnit writes the files of one unit.
func (b *Backup) readUnit(ctx context.Context, dest store.Store, n int, u unit, m *Manifest) ([]File, error) {
	w, err := newFileWriter()
	if err != nil {
		return nil, err
	}
	defer w.z.Close()
	files := []File{}
	flush := func() error {
		f, content, err := w.finish()
		if err != nil {
			return err
		}
		f.Name = fmt.Sprintf("data/%06d-%04d", n, len(files))
		if err := dest.Write(ctx, f.Name, content); err != nil {
			return err
		}
		files = append(files, f)
		w.reset()
		return nil
	}
	for _, p := range u {
		s, err := b.stream(ctx, p, m)
		if err != nil {
			return nil, err
		}
		for {
			v, ok, err := s.next(ctx)
			if err != nil {
				s.close()
				return nil, err
			}
			if !ok {
				break
			}
			// All versions of a key are in one file: a reader finds them together.
			if w.full() && !bytes.Equal(w.prev, v.key) {
				if err := flush(); err != nil {
					s.close()
					return nil, err
				}
			}
			if err := w.add(v); err != nil {
				s.close()
				return nil, err
			}
		}
		s.close()
	}
	if !w.empty() {
		if err := flush(); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// finish cleans up and arranges for the next incremental backup. What fails here is not worth the backup.
func (b *Backup) finish(ctx context.Context, run *jobs.Run, req *Request, dest store.Store, m *Manifest, units int) (any, error) {
	for i := range units {
		if err := dest.Remove(ctx, unitName(i)); err != nil {
			b.cfg.Log.Info("a list of files is left behind", "location", dest.URL(), "err", err)
		}
	}
	if err := dest.Remove(ctx, planName); err != nil {
		b.cfg.Log.Info("the plan is left behind", "location", dest.URL(), "err", err)
	}
	if err := b.release(ctx, run, req, m); err != nil {
		b.cfg.Log.Warn("the protection of a backup is not settled", "job", run.ID(), "err", err)
	}
	files, pairs, size, _ := m.Totals()
	return Result{ID: m.ID, Timestamp: m.Timestamp, Tables: len(m.Tables), Files: files, Rows: pairs, Bytes: size}, nil
}

// release ends the protection, or has it hold what the next incremental backup needs. The parent's goes: its successor
// is there.
func (b *Backup) release(ctx context.Context, run *jobs.Run, req *Request, m *Manifest) error {
	if b.cfg.TestNoProtection {
		return nil
	}
	var parent uint64
	if m.Parent != "" {
		if chain, err := OpenChain(ctx, req.From); err == nil {
			parent = chain.last().Protect
		}
	}
	return runTxn(ctx, b.cfg.DB, "backup protection", 0, func(tx kv.Txn) error {
		if parent != 0 {
			if err := protect.Remove(tx, parent); err != nil {
				return err
			}
		}
		if req.Hold <= 0 {
			return protect.Remove(tx, protectID(run.ID()))
		}
		return protect.Put(tx, protect.Record{ID: protectID(run.ID()), Timestamp: m.Timestamp, Expires: m.Timestamp.Add(req.Hold),
			Spans: []protect.Span{{Start: []byte{0x02}, End: []byte{0xff}}}, Owner: "backup " + m.ID})
	})
}

// Revert implements jobs.Handler. Files that were written stay: without a manifest they are no backup.
func (b *Backup) Revert(ctx context.Context, run *jobs.Run) error {
	return runTxn(ctx, b.cfg.DB, "backup protection", 0, func(tx kv.Txn) error { return protect.Remove(tx, protectID(run.ID())) })
}

func readJSON(ctx context.Context, s store.Store, name string, into any) error {
	b, err := s.Read(ctx, name)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

func writeJSON(ctx context.Context, s store.Store, name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.Write(ctx, name, b)
}

// runTxn runs f in transactions that commit before a bound, zero for none, until one commits.
func runTxn(ctx context.Context, db kv.DB, name string, before truetime.Timestamp, f func(tx kv.Txn) error) error {
	for attempt := 0; ; attempt++ {
		err := func() error {
			tx, err := db.Begin(ctx, kv.TxnOptions{Name: name})
			if err != nil {
				return err
			}
			defer tx.Rollback(ctx)
			if before != 0 {
				tx.CommitBefore(before)
			}
			if err := f(tx); err != nil {
				return err
			}
			_, err = tx.Commit(ctx)
			return err
		}()
		if err == nil || attempt >= 100 || !errors.Is(err, kv.ErrRetry) && !errors.Is(err, kv.ErrWriteConflict) || ctx.Err() != nil {
			return err
		}
	}
}

// parallel runs f for 0 to n-1, some at a time, and returns the first error, which ends the others.
func parallel(ctx context.Context, workers, n int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	var mu sync.Mutex
	next := 0
	for range min(workers, n) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for ctx.Err() == nil {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= n {
					return
				}
				if err := f(ctx, i); err != nil {
					cancel(err)
					return
				}
			}
		}()
	}
	wg.Wait()
	return context.Cause(ctx)
}
