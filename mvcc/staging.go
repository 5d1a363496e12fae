package mvcc

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/cockroachdb/pebble/v2"
)

// TxnID identifies the transaction that staged a write.
type TxnID [16]byte

// SeqSpan is the writes with From <= seq < To. A rollback to a savepoint makes such a span ignored.
type SeqSpan struct{ From, To uint64 }

// Staged names the staged writes of one transaction: those it may still see and will commit.
type Staged struct {
	Txn    TxnID
	Ignore []SeqSpan
}

func (s *Staged) ignored(seq uint64) bool {
	for _, i := range s.Ignore {
		if i.From <= seq && seq < i.To {
			return true
		}
	}
	return false
}

// A staged key is 0x00 's', the user key with each 0x00 written as 0x00 0xff, 0x00 0x01, transaction id (16),
// and the complement of the sequence number (8, big endian), so that a transaction's latest write of a key
// comes first. Escaped keys sort as the keys do, so the staging area splits where the range splits.
const stagedTail = 16 + 8

func appendStagedPrefix(dst, key []byte) []byte {
	dst = append(dst, localByte, localStageByte)
	return appendEscaped(dst, key)
}

func appendEscaped(dst, key []byte) []byte {
	for {
		i := bytes.IndexByte(key, 0)
		if i < 0 {
			dst = append(dst, key...)
			return append(dst, 0x00, 0x01)
		}
		dst = append(dst, key[:i]...)
		dst = append(dst, 0x00, 0xff)
		key = key[i+1:]
	}
}

func appendStagedKey(dst, key []byte, txn TxnID, seq uint64) []byte {
	dst = appendStagedPrefix(dst, key)
	dst = append(dst, txn[:]...)
	return binary.BigEndian.AppendUint64(dst, ^seq)
}

var errBadStagedKey = errors.New("malformed staged key")

// decodeStagedKey takes a staged key without its version byte. The user key is appended to dst.
func decodeStagedKey(dst, k []byte) (key []byte, txn TxnID, seq uint64, err error) {
	if len(k) < 2+2+stagedTail || k[0] != localByte || k[1] != localStageByte {
		return nil, txn, 0, errBadStagedKey
	}
	tail := k[len(k)-stagedTail:]
	esc := k[2 : len(k)-stagedTail]
	if !bytes.HasSuffix(esc, []byte{0x00, 0x01}) {
		return nil, txn, 0, errBadStagedKey
	}
	for esc = esc[:len(esc)-2]; ; {
		i := bytes.IndexByte(esc, 0)
		if i < 0 {
			dst = append(dst, esc...)
			break
		}
		if i+1 >= len(esc) || esc[i+1] != 0xff {
			return nil, txn, 0, errBadStagedKey
		}
		dst = append(dst, esc[:i+1]...)
		esc = esc[i+2:]
	}
	copy(txn[:], tail)
	return dst, txn, ^binary.BigEndian.Uint64(tail[16:]), nil
}

// stagedBounds returns the engine bounds of the staged writes at the user keys of span.
func stagedBounds(span Span) Span {
	return Span{Start: stagedBound(span.Start), End: stagedBound(span.End)}
}

func stagedBound(key []byte) []byte {
	// Escaped without its terminator key sorts before every staged write at key, and after those of all
	// smaller keys, as 0x00 0x01 is below each continuation 0x00 0xff.
	k := appendStagedPrefix(nil, key)
	return appendVersionKey(nil, k[:len(k)-2], 0)
}

// StagePut writes one staged value of txn; StageDelete a staged deletion. Of several at one key that with the
// highest sequence number counts.
func (b *Batch) StagePut(txn TxnID, seq uint64, key, value []byte) {
	mustUserKey(key)
	b.put(append(appendStagedKey(nil, key, txn, seq), 0), kindValue, value)
}

// StageDelete writes a staged deletion of key.
func (b *Batch) StageDelete(txn TxnID, seq uint64, key []byte) {
	mustUserKey(key)
	b.put(append(appendStagedKey(nil, key, txn, seq), 0), kindTombstone, nil)
}

// StagedScanner iterates over the staged writes of one transaction in key order, one for each key: the
// latest that is not ignored.
type StagedScanner struct {
	it      *pebble.Iterator
	st      Staged
	reverse bool
	started bool
	err     error

	key, next []byte // key is current; next is scratch
	value     []byte
	tombstone bool
	seq       uint64
}

// NewStagedScanner returns a scanner over what st.Txn has staged in span. The caller closes it.
func NewStagedScanner(r Reader, st Staged, span Span, reverse bool) *StagedScanner {
	s := &StagedScanner{st: st, reverse: reverse}
	if span.Empty() {
		return s
	}
	bounds := stagedBounds(span)
	s.it, s.err = r.newIter(&pebble.IterOptions{LowerBound: bounds.Start, UpperBound: bounds.End})
	return s
}

// Next advances to the next key.
func (s *StagedScanner) Next() bool {
	if s.err != nil || s.it == nil {
		return false
	}
	var ok bool
	switch {
	case s.started && !s.reverse:
		ok = s.skipKey()
	case s.started:
		ok = s.it.Valid()
	case s.reverse:
		s.started, ok = true, s.it.Last()
	default:
		s.started, ok = true, s.it.First()
	}
	found := false
	for ok {
		key, txn, seq, err := decodeStagedKey(s.next[:0], trimVersion(s.it.Key()))
		s.next = key[:0]
		if err != nil {
			s.err = corrupt(s.it.Key(), err)
			return false
		}
		if found && !bytes.Equal(key, s.key) {
			return true // reverse: the entries of the current key are behind us
		}
		if txn == s.st.Txn && !s.st.ignored(seq) {
			raw, err := s.it.ValueAndErr()
			if err != nil {
				s.err = err
				return false
			}
			payload, tombstone, err := openValue(s.it.Key(), raw)
			if err != nil {
				s.err = err
				return false
			}
			s.key = append(s.key[:0], key...)
			s.value = append(s.value[:0], payload...)
			s.tombstone, s.seq, found = tombstone, seq, true
			if !s.reverse {
				return true // the first is the latest
			}
		}
		if s.reverse {
			ok = s.it.Prev()
		} else {
			ok = s.it.Next()
		}
	}
	s.err = s.it.Error()
	return found && s.err == nil
}

// skipKey moves behind the older writes of the current key.
func (s *StagedScanner) skipKey() bool {
	for s.it.Next() {
		key, txn, _, err := decodeStagedKey(s.next[:0], trimVersion(s.it.Key()))
		s.next = key[:0]
		if err != nil {
			s.err = corrupt(s.it.Key(), err)
			return false
		}
		if txn != s.st.Txn || !bytes.Equal(key, s.key) {
			return true
		}
	}
	s.err = s.it.Error()
	return false
}

func trimVersion(k []byte) []byte { return k[:len(k)-1] }

// Key returns the current user key; Value its value, unless Tombstone reports a deletion. They are valid until
// the next call of Next.
func (s *StagedScanner) Key() []byte { return s.key }

// Value returns the current staged value.
func (s *StagedScanner) Value() []byte { return s.value }

// Tombstone reports whether the current write is a deletion.
func (s *StagedScanner) Tombstone() bool { return s.tombstone }

// Err returns the error that ended the scan.
func (s *StagedScanner) Err() error { return s.err }

// Close releases the scanner.
func (s *StagedScanner) Close() error {
	if s.it == nil {
		return nil
	}
	it := s.it
	s.it = nil
	return it.Close()
}

// GetStaged returns what st.Txn has staged at key: found is false when nothing. For many keys use a
// StagedReader.
func GetStaged(r Reader, st Staged, key []byte) (value []byte, tombstone, found bool, err error) {
	s := NewStagedReader(r, st)
	value, tombstone, found, err = s.Get(key)
	if cerr := s.Close(); err == nil {
		err = cerr
	}
	return value, tombstone, found, err
}

// StagedReader reads what one transaction has staged, key by key, as of its first Get. It holds one iterator,
// because opening one for each key costs ten times the read; ascending keys are read fastest. It belongs to one
// goroutine.
type StagedReader struct {
	r   Reader
	st  Staged
	it  *pebble.Iterator
	buf []byte
}

// NewStagedReader returns a reader over what st.Txn has staged. Nothing is opened before the first Get. The
// caller closes it.
func NewStagedReader(r Reader, st Staged) *StagedReader { return &StagedReader{r: r, st: st} }

// Get is GetStaged.
func (s *StagedReader) Get(key []byte) (value []byte, tombstone, found bool, err error) {
	if s.it == nil {
		s.it, err = s.r.newIter(&pebble.IterOptions{
			LowerBound: []byte{localByte, localStageByte, 0}, UpperBound: []byte{localByte, localStageByte + 1, 0},
		})
		if err != nil {
			return nil, false, false, err
		}
	}
	s.buf = append(appendStagedPrefix(s.buf[:0], key), s.st.Txn[:]...)
	prefix := len(s.buf)
	s.buf = append(binary.BigEndian.AppendUint64(s.buf, 0), 0)
	for ok := s.it.SeekGE(s.buf); ok; ok = s.it.Next() {
		if !bytes.HasPrefix(s.it.Key(), s.buf[:prefix]) {
			break
		}
		_, _, seq, err := decodeStagedKey(nil, trimVersion(s.it.Key()))
		if err != nil {
			return nil, false, false, corrupt(s.it.Key(), err)
		}
		if s.st.ignored(seq) {
			continue
		}
		raw, err := s.it.ValueAndErr()
		if err != nil {
			return nil, false, false, err
		}
		value, tombstone, err = openValue(s.it.Key(), raw)
		return append([]byte{}, value...), tombstone, err == nil, err
	}
	return nil, false, false, s.it.Error()
}

// Close closes the reader.
func (s *StagedReader) Close() error {
	if s.it == nil {
		return nil
	}
	it := s.it
	s.it = nil
	return it.Close()
}

// ResolveStaged turns staged writes of st.Txn in span into versions at ts and removes them from the staging
// area, ignored ones included, until about maxBytes have been moved. resume is the key to go on from, nil when
// the span is done. It is deterministic: replicas that hold the same state make the same batch.
func (b *Batch) ResolveStaged(st Staged, span Span, ts Timestamp, maxBytes int) (resume []byte, n int, err error) {
	return b.consumeStaged(st, span, maxBytes, func(key, value []byte, tombstone bool) {
		if tombstone {
			b.Delete(key, ts)
		} else {
			b.Put(key, ts, value)
		}
	})
}

// DropStaged removes what st.Txn has staged in span, as ResolveStaged does, without writing any version.
func (b *Batch) DropStaged(txn TxnID, span Span, maxBytes int) (resume []byte, n int, err error) {
	return b.consumeStaged(Staged{Txn: txn}, span, maxBytes, nil)
}

func (b *Batch) consumeStaged(st Staged, span Span, maxBytes int, emit func(key, value []byte, tombstone bool)) (resume []byte, n int, err error) {
	if span.Empty() {
		return nil, 0, nil
	}
	bounds := stagedBounds(span)
	// The iterator sees the batch as it is now: the writes below do not disturb it.
	it, err := b.newIter(&pebble.IterOptions{LowerBound: bounds.Start, UpperBound: bounds.End})
	if err != nil {
		return nil, 0, err
	}
	var last, scratch []byte
	moved, emitted := 0, false
	for ok := it.First(); ok; ok = it.Next() {
		key, txn, seq, derr := decodeStagedKey(scratch[:0], trimVersion(it.Key()))
		if derr != nil {
			err = corrupt(it.Key(), derr)
			break
		}
		scratch = key[:0]
		if txn != st.Txn {
			continue
		}
		if last == nil || !bytes.Equal(key, last) {
			if maxBytes > 0 && moved >= maxBytes {
				resume = bytes.Clone(key)
				break
			}
			last, emitted = append(last[:0], key...), false
		}
		raw, verr := it.ValueAndErr()
		if verr != nil {
			err = verr
			break
		}
		payload, tombstone, verr := openValue(it.Key(), raw)
		if verr != nil {
			err = verr
			break
		}
		if emit != nil && !emitted && !st.ignored(seq) {
			emit(key, payload, tombstone)
			emitted = true
		}
		b.remove(it.Key(), len(raw))
		moved += len(it.Key()) + len(raw)
		n++
	}
	if err == nil {
		err = it.Error()
	}
	if cerr := it.Close(); err == nil {
		err = cerr
	}
	return resume, n, err
}
