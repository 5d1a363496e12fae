package mvcc

import "bytes"

// OverlayScanner merges the staged writes of one transaction over the versions visible at a timestamp: what
// a large transaction reads of its own. It belongs to one goroutine.
type OverlayScanner struct {
	base    *Scanner
	staged  *StagedScanner
	reverse bool
	err     error

	baseOK, stgOK  bool
	useStaged      bool // the current pair comes from staged
	advBase, advSt bool // which sides move at the next call
}

// NewOverlayScanner returns a scanner over opts with the writes st on top. The caller closes it.
func NewOverlayScanner(r Reader, opts ScanOptions, st Staged) *OverlayScanner {
	return &OverlayScanner{
		base:    NewScanner(r, opts),
		staged:  NewStagedScanner(r, st, opts.Span, opts.Reverse),
		reverse: opts.Reverse,
		advBase: true,
		advSt:   true,
	}
}

// Next advances to the next pair.
func (o *OverlayScanner) Next() bool {
	for o.err == nil {
		if o.advBase {
			o.baseOK = o.base.Next()
		}
		if o.advSt {
			o.stgOK = o.staged.Next()
		}
		if o.err = o.base.Err(); o.err != nil {
			return false
		}
		if o.err = o.staged.Err(); o.err != nil {
			return false
		}
		c := 0
		switch {
		case !o.baseOK && !o.stgOK:
			o.advBase, o.advSt = false, false
			return false
		case !o.stgOK:
			c = -1
		case !o.baseOK:
			c = 1
		default:
			if c = bytes.Compare(o.base.Key(), o.staged.Key()); o.reverse {
				c = -c
			}
		}
		o.useStaged = c >= 0
		o.advBase, o.advSt = c <= 0, c >= 0
		if o.useStaged && o.staged.Tombstone() {
			continue
		}
		return true
	}
	return false
}

// Key returns the current key, valid until the next call of Next or Close.
func (o *OverlayScanner) Key() []byte {
	if o.useStaged {
		return o.staged.Key()
	}
	return o.base.Key()
}

// Value returns the current value, valid until the next call of Next or Close.
func (o *OverlayScanner) Value() []byte {
	if o.useStaged {
		return o.staged.Value()
	}
	return o.base.Value()
}

// Timestamp returns when the current value was written, zero for a staged one.
func (o *OverlayScanner) Timestamp() Timestamp {
	if o.useStaged {
		return 0
	}
	return o.base.Timestamp()
}

// Err returns the error that ended the scan.
func (o *OverlayScanner) Err() error { return o.err }

// Close releases the scanner.
func (o *OverlayScanner) Close() error {
	err := o.base.Close()
	if serr := o.staged.Close(); err == nil {
		err = serr
	}
	return err
}

// GetOverlay is Get with what staged reads on top. vts is zero for a staged value.
func GetOverlay(r Reader, key []byte, ts Timestamp, staged *StagedReader) (value []byte, vts Timestamp, found bool, err error) {
	value, tombstone, found, err := staged.Get(key)
	if err != nil {
		return nil, 0, false, err
	}
	if found {
		if tombstone {
			return nil, 0, false, nil
		}
		return value, 0, true, nil
	}
	return Get(r, key, ts)
}
