package mvcc

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/cockroachkvs"
)

// A large transaction writes before it commits: provisional versions, at their final keys, under the timestamp at
// which each was written. A provisional version names its transaction and the number of the write. What it counts for
// is a matter of the reader's View: nothing while its transaction is undecided, a version at the commit timestamp
// once it has committed. Nothing has to be moved for that.
//
// The writer must hold the key locked from before a provisional version's timestamp until after its commit
// timestamp. So no other transaction's version lies between the two, and the versions of a key are in the
// same order by either.

// TxnID identifies the transaction that wrote a provisional version.
type TxnID [16]byte

// SeqSpan is the writes with From <= seq < To. A rollback to a savepoint makes such a span ignored.
type SeqSpan struct{ From, To uint64 }

// DeletedSpan is a deletion of everything in a span but the same transaction's writes with higher numbers.
type DeletedSpan struct {
	Start, End []byte
	Seq        uint64
}

func (d *DeletedSpan) contains(key []byte) bool {
	return bytes.Compare(d.Start, key) <= 0 && bytes.Compare(key, d.End) < 0
}

// Layer is what one transaction has written provisionally, as a reader takes it. It is not changed once it is
// part of a View that others use.
type Layer struct {
	Txn TxnID
	// TS is the commit timestamp, zero while the transaction is undecided.
	TS Timestamp
	// First is at or below the timestamp of every provisional version of the transaction.
	First   Timestamp
	Ignore  []SeqSpan
	Deleted []DeletedSpan
	// Once says that no key has two provisional versions of the layer, as far as the reader knows: the first one met
	// is the latest then.
	Once bool
}

func (l *Layer) ignored(seq uint64) bool {
	for _, i := range l.Ignore {
		if i.From <= seq && seq < i.To {
			return true
		}
	}
	return false
}

// deletes reports whether the layer deletes the write seq of its own transaction at key.
func (l *Layer) deletes(key []byte, seq uint64) bool {
	for i := range l.Deleted {
		if d := &l.Deleted[i]; seq < d.Seq && d.contains(key) {
			return true
		}
	}
	return false
}

// deletesOthers reports whether the layer deletes what other transactions have written at key.
func (l *Layer) deletesOthers(key []byte) bool {
	for i := range l.Deleted {
		if l.Deleted[i].contains(key) {
			return true
		}
	}
	return false
}

// Layers are the committed layers of a range. They are not changed once made.
type Layers struct {
	byTxn map[TxnID]*Layer
	spans []*Layer // those that delete spans
}

// NewLayers returns a set of committed layers, nil for none.
func NewLayers(layers []*Layer) *Layers {
	if len(layers) == 0 {
		return nil
	}
	s := &Layers{byTxn: make(map[TxnID]*Layer, len(layers))}
	for _, l := range layers {
		s.byTxn[l.Txn] = l
		if len(l.Deleted) > 0 {
			s.spans = append(s.spans, l)
		}
	}
	return s
}

// View says what the provisional versions that a reader meets count for. With the zero View they do not exist.
type View struct {
	Layers *Layers // committed ones
	Own    *Layer  // the reader's own transaction, whose writes it sees at any timestamp; nil: none
}

// provisional is the decoded payload of a provisional version.
type provisional struct {
	txn   TxnID
	seq   uint64
	value []byte
}

var errProvisional = errors.New("malformed provisional version")

func decodeProvisional(payload []byte) (p provisional, err error) {
	if len(payload) < len(p.txn) {
		return p, errProvisional
	}
	n := copy(p.txn[:], payload)
	seq, w := binary.Uvarint(payload[n:])
	if w <= 0 {
		return p, errProvisional
	}
	p.seq, p.value = seq, payload[n+w:]
	return p, nil
}

// layer returns what counts p for a reader at ts: the layer, nil when p does not exist for the reader. The versions
// of one's own count at any timestamp.
func (v *View) layer(p *provisional, ts Timestamp) (l *Layer, own bool) {
	if v.Own != nil && v.Own.Txn == p.txn {
		l, own = v.Own, true
	} else if v.Layers != nil {
		if l = v.Layers.byTxn[p.txn]; l != nil && l.TS > ts {
			return nil, false
		}
	}
	if l == nil || l.ignored(p.seq) {
		return nil, false
	}
	return l, own
}

// found is the version of a key that a reader has found to be the newest.
type found struct {
	ts    Timestamp // at which it counts; zero: the reader's own
	layer *Layer    // of a provisional one
	seq   uint64
	own   bool
}

// deleted reports whether the span deletion of some layer hides the version, and at which timestamp it did (zero: the
// reader's own).
func (v *View) deleted(key []byte, f *found, ts Timestamp) (at Timestamp, yes bool) {
	if f.own {
		return 0, f.layer.deletes(key, f.seq)
	}
	if v.Own != nil && v.Own.deletesOthers(key) {
		return 0, true
	}
	if v.Layers == nil {
		return 0, false
	}
	for _, l := range v.Layers.spans {
		switch {
		case l.TS > ts || l.TS < f.ts:
		case l == f.layer:
			yes = yes || l.deletes(key, f.seq)
			at = max(at, l.TS)
		case l.TS > f.ts && l.deletesOthers(key):
			at, yes = max(at, l.TS), true
		}
	}
	return at, yes
}

// seekTS is where a reader at ts has to begin among the versions of a key.
func (v *View) seekTS(ts Timestamp) Timestamp {
	if v.Own != nil {
		return maxTS // its own may be newer than what it reads of others
	}
	return ts
}

// PutProvisional writes one value of txn ahead of its commit; DeleteProvisional a deletion. Of several writes of a
// key that with the highest number counts, whatever their timestamps.
func (b *Batch) PutProvisional(key []byte, ts Timestamp, txn TxnID, seq uint64, value []byte) {
	b.putProvisional(key, ts, kindProvisional, txn, seq, value)
}

// DeleteProvisional writes a deletion of key ahead of the commit of txn.
func (b *Batch) DeleteProvisional(key []byte, ts Timestamp, txn TxnID, seq uint64) {
	b.putProvisional(key, ts, kindProvisionalTombstone, txn, seq, nil)
}

func (b *Batch) putProvisional(key []byte, ts Timestamp, kind byte, txn TxnID, seq uint64, value []byte) {
	var header [16 + binary.MaxVarintLen64]byte
	n := copy(header[:], txn[:])
	n += binary.PutUvarint(header[n:], seq)
	b.putVersion(key, ts, kind, header[:n], value)
}

// MoveLayer turns provisional versions of a committed layer in span into versions at its commit timestamp, and
// removes those that do not count, until about maxBytes have been dealt with. resume is the key to go on from, nil
// when span is done. Readers see no difference.
//
// It is deterministic: replicas that hold the same provisional versions of the layer make the same batch. GC leaves
// those alone.
func (b *Batch) MoveLayer(l *Layer, span Span, maxBytes int) (resume []byte, bytes int, err error) {
	return b.consumeLayer(l, span, maxBytes, true)
}

// DropLayer removes the provisional versions of a transaction that will not commit, as MoveLayer does, without
// writing anything.
func (b *Batch) DropLayer(l *Layer, span Span, maxBytes int) (resume []byte, bytes int, err error) {
	return b.consumeLayer(l, span, maxBytes, false)
}

func (b *Batch) consumeLayer(l *Layer, span Span, maxBytes int, keep bool) (resume []byte, dealt int, err error) {
	var best struct {
		any, tombstone bool
		seq            uint64
		value          []byte
	}
	var last []byte
	flush := func() {
		if best.any && keep && !l.deletes(last, best.seq) {
			if best.tombstone {
				b.Delete(last, l.TS)
			} else {
				b.Put(last, l.TS, best.value)
			}
		}
		best.any = false
	}
	// The iterator sees the batch as it is now: the writes below do not disturb it.
	err = walkLayer(b, l, span, func(engineKey, key, raw []byte, p *provisional, tombstone bool) bool {
		if last == nil || !bytes.Equal(key, last) {
			flush()
			if maxBytes > 0 && dealt >= maxBytes {
				resume = bytes.Clone(key)
				return false
			}
			last = append(last[:0], key...)
		}
		if !l.ignored(p.seq) && (!best.any || p.seq > best.seq) {
			best.any, best.tombstone, best.seq = true, tombstone, p.seq
			best.value = append(best.value[:0], p.value...)
		}
		b.remove(engineKey, len(raw))
		b.grown -= int64(len(engineKey) + len(raw))
		dealt += len(engineKey) + len(raw)
		return true
	})
	if err == nil && resume == nil {
		flush()
	}
	return resume, dealt, err
}

// MoveDeletion writes tombstones, at the commit timestamp of l, over what one of its span deletions hides in span, until
// about maxBytes have been written. The provisional versions of l must have been moved; layers are the others of the
// range. resume is as in MoveLayer.
func (b *Batch) MoveDeletion(l *Layer, span Span, layers *Layers, maxBytes int) (resume []byte, dealt int, err error) {
	// The keys are collected first: the scanner and the writes share the batch.
	var keys [][]byte
	s := NewScanner(b, ScanOptions{Span: span, TS: l.TS, View: View{Layers: layers}})
	for s.Next() {
		if s.Timestamp() == l.TS {
			continue // its own
		}
		if maxBytes > 0 && dealt >= maxBytes {
			resume = bytes.Clone(s.Key())
			break
		}
		keys = append(keys, bytes.Clone(s.Key()))
		dealt += len(s.Key()) + 32
	}
	err = s.Err()
	if cerr := s.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, 0, err
	}
	for _, k := range keys {
		b.Delete(k, l.TS)
	}
	return resume, dealt, nil
}

// NewerThan reports whether anything in span is stored under a timestamp at or above ts, whatever it counts for.
func NewerThan(r Reader, span Span, ts Timestamp) (bool, error) {
	if span.Empty() {
		return false, nil
	}
	it, err := r.newIter(&pebble.IterOptions{
		LowerBound:      appendVersionKey(nil, span.Start, 0),
		UpperBound:      appendVersionKey(nil, span.End, 0),
		PointKeyFilters: []pebble.BlockPropertyFilter{cockroachkvs.NewMVCCTimeIntervalFilter(uint64(max(ts, 1)), uint64(maxTS))},
	})
	if err != nil {
		return false, err
	}
	newer := false
	for ok := it.First(); ok && !newer; ok = it.NextPrefix() { // the newest of a key comes first
		_, vts, derr := decodeVersionKey(it.Key())
		if derr != nil {
			err = corrupt(it.Key(), derr)
			break
		}
		newer = vts >= ts
	}
	if err == nil {
		err = it.Error()
	}
	if cerr := it.Close(); err == nil {
		err = cerr
	}
	return newer, err
}

// LayerKeys calls fn for each key in span that has a provisional version of l, in order, until it returns false. The
// slice is valid during the call only.
func LayerKeys(r Reader, l *Layer, span Span, fn func(key []byte) bool) error {
	var last []byte
	return walkLayer(r, l, span, func(_, key, _ []byte, _ *provisional, _ bool) bool {
		if last != nil && bytes.Equal(key, last) {
			return true
		}
		last = append(last[:0], key...)
		return fn(key)
	})
}

// walkLayer calls fn for each provisional version of l in span, until it returns false. Blocks of files that are
// older than the layer are skipped.
func walkLayer(r Reader, l *Layer, span Span, fn func(engineKey, key, raw []byte, p *provisional, tombstone bool) bool) error {
	if span.Empty() {
		return nil
	}
	it, err := r.newIter(&pebble.IterOptions{
		LowerBound:      appendVersionKey(nil, span.Start, 0),
		UpperBound:      appendVersionKey(nil, span.End, 0),
		PointKeyFilters: []pebble.BlockPropertyFilter{cockroachkvs.NewMVCCTimeIntervalFilter(uint64(max(l.First, 1)), uint64(maxTS))},
	})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; {
		k := it.Key()
		key, ts, derr := decodeVersionKey(k)
		if derr != nil {
			err = corrupt(k, derr)
			break
		}
		if ts < l.First {
			ok = it.NextPrefix()
			continue
		}
		raw, verr := it.ValueAndErr()
		if verr != nil {
			err = verr
			break
		}
		if isProvisional(raw) {
			payload, kind, verr := openValue(k, raw)
			if verr != nil {
				err = verr
				break
			}
			p, verr := decodeProvisional(payload)
			if verr != nil {
				err = corrupt(k, verr)
				break
			}
			if p.txn == l.Txn && !fn(k, key, raw, &p, kind == kindProvisionalTombstone) {
				break
			}
		}
		ok = it.Next()
	}
	if err == nil {
		err = it.Error()
	}
	if cerr := it.Close(); err == nil {
		err = cerr
	}
	return err
}
