package mvcc

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
)

// Ingester builds sorted files from the chunks of an Exporter and puts them into the engine in one step, in
// place of everything the engine holds of the range. Until Finish the engine is untouched. It belongs to one
// goroutine.
type Ingester struct {
	e     *Engine
	dir   string
	parts [2]Span
	part  int
	w     *sstable.Writer
	paths []string
	seq   int
	last  []byte
	ended bool
}

// NewIngester returns an ingester of data, whose files lie in dir (on the engine's file system, created when
// missing, used by nobody else) until they are ingested.
func (e *Engine) NewIngester(dir string, data RangeData) (*Ingester, error) {
	if data.Span.Empty() {
		return nil, errors.New("mvcc: ingest of an empty span")
	}
	if err := e.cfg.FS.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("mvcc: create %s: %w", dir, err)
	}
	return &Ingester{e: e, dir: dir, parts: data.parts(), part: -1}, nil
}

// Add takes the next chunk. Keys must ascend over all chunks and lie in the range.
func (g *Ingester) Add(chunk []byte) error {
	return decodeChunk(chunk, g.add)
}

func (g *Ingester) add(k, v []byte) error {
	if g.ended {
		return errors.New("mvcc: ingester is finished")
	}
	if g.last != nil && compareEngineKeys(g.last, k) >= 0 {
		return fmt.Errorf("%w: keys out of order at %x", ErrBadChunk, k)
	}
	for g.part < 0 || !within(k, g.parts[g.part]) {
		if g.part == len(g.parts)-1 {
			return fmt.Errorf("%w: key %x outside the range", ErrBadChunk, k)
		}
		if err := g.nextPart(); err != nil {
			return err
		}
	}
	if g.w != nil && g.part == len(g.parts)-1 && int64(g.w.Raw().EstimatedSize()) >= g.e.cfg.SSTBytes && !samePrefix(g.last, k) {
		if err := g.closeFile(); err != nil {
			return err
		}
	}
	if g.w == nil {
		if err := g.openFile(); err != nil {
			return err
		}
	}
	g.last = append(g.last[:0], k...)
	return g.w.Set(k, v)
}

// samePrefix reports whether two engine keys are versions of one key.
func samePrefix(a, b []byte) bool {
	ka, _, erra := decodeVersionKey(a)
	kb, _, errb := decodeVersionKey(b)
	return erra == nil && errb == nil && bytes.Equal(ka, kb)
}

// nextPart closes the current part and opens the next. The local part gets one file, whose range deletion clears what
// the engine holds there: Pebble excises only one span along with an ingestion, and that is taken by the versions,
// the bulk. All files take effect at one moment.
func (g *Ingester) nextPart() error {
	if err := g.closeFile(); err != nil {
		return err
	}
	g.part++
	if g.part == len(g.parts)-1 {
		return nil
	}
	if err := g.openFile(); err != nil {
		return err
	}
	return g.w.DeleteRange(g.parts[g.part].Start, g.parts[g.part].End)
}

func (g *Ingester) openFile() error {
	path := g.e.cfg.FS.PathJoin(g.dir, fmt.Sprintf("ingest-%06d.sst", g.seq))
	g.seq++
	f, err := g.e.cfg.FS.Create(path, "mvcc-ingest")
	if err != nil {
		return fmt.Errorf("mvcc: ingest: %w", err)
	}
	g.paths = append(g.paths, path)
	g.w = sstable.NewWriter(objstorageprovider.NewFileWritable(f), g.e.opts.MakeWriterOptions(6, g.e.db.TableFormat()))
	return nil
}

func (g *Ingester) closeFile() error {
	if g.w == nil {
		return nil
	}
	w := g.w
	g.w = nil
	if err := w.Close(); err != nil { // Syncs the file.
		return fmt.Errorf("mvcc: ingest: %w", err)
	}
	return nil
}

// Finish replaces the engine's data of the range by what was added, atomically: after a crash either all of
// the old data or all of the new is there, and when Finish has returned nil, the new. It does not wait for
// unrelated writes.
func (g *Ingester) Finish(ctx context.Context) error {
	if g.ended {
		return errors.New("mvcc: ingester is finished")
	}
	for g.part < len(g.parts)-1 {
		if err := g.nextPart(); err != nil {
			return err
		}
	}
	if err := g.closeFile(); err != nil {
		return err
	}
	g.ended = true
	span := g.parts[len(g.parts)-1]
	// A memtable with keys of the span is flushed first, and compactions of the span are ended.
	defer g.e.background.Hasten()()
	_, err := g.e.db.IngestAndExcise(ctx, g.paths, nil, nil, pebble.KeyRange{Start: span.Start, End: span.End})
	if err = g.e.failure.check(err); err != nil {
		return fmt.Errorf("mvcc: ingest: %w", err)
	}
	return nil
}

// Close removes what is left of the ingester's files. Without Finish it leaves the engine untouched.
func (g *Ingester) Close() error {
	g.ended = true
	if g.w != nil {
		g.w.Close() // An unfinished file: its error changes nothing.
		g.w = nil
	}
	return g.e.cfg.FS.RemoveAll(g.dir)
}
