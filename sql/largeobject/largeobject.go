// Package largeobject stores large objects: values of up to 4 TB that are read and written in parts (PostgreSQL's lo_*
// functions). They are rows of the client's transaction like others.
//
// A database's large objects are in the span of its own id, which no table has as its storage:
//
//	03 database(4) 0001 oid(4)          owner(4) size(8)
//	03 database(4) 0002 oid(4) page(4)  up to PageSize bytes
//
// A page that is missing, and what is missing at the end of one, reads as zeros up to the object's size. The size has a
// place of its own, so that it is found without a look at the last page and says everything about holes at the end.
package largeobject

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/txn/kv"
)

const (
	// PageSize is how much of an object is one row, in bytes.
	PageSize = 8 << 10
	// MaxSize is PostgreSQL's limit, in bytes.
	MaxSize = (1<<31 - 1) * 2048

	headIndex = 1
	pageIndex = 2

	// flushEvery bounds the pages written or removed before the transaction may send them ahead.
	flushEvery = 128
)

// Store is the large objects of one database in one transaction. It is used by one goroutine.
type Store struct {
	Txn      kv.Txn
	Database uint32
	Lock     kv.LockMode // of reads; what is about to be written is locked exclusively
}

// Object is what is stored of an object beside its pages.
type Object struct {
	ID    uint32
	Owner uint32 // id of a role
	Size  int64  // bytes
}

func (s *Store) headKey(id uint32) []byte {
	return binary.BigEndian.AppendUint32(catalog.IndexSpan(s.Database, headIndex).Start, id)
}

func (s *Store) pageKey(id uint32, page int64) []byte {
	k := binary.BigEndian.AppendUint32(catalog.IndexSpan(s.Database, pageIndex).Start, id)
	return binary.BigEndian.AppendUint32(k, uint32(page))
}

// pages is the span of the pages from first up to, and without, end; of all that follow if end is negative.
func (s *Store) pages(id uint32, first, end int64) kv.Span {
	if end < 0 {
		return kv.Span{Start: s.pageKey(id, first), End: append(s.pageKey(id, 1<<32-1), 0)}
	}
	return kv.Span{Start: s.pageKey(id, first), End: s.pageKey(id, end)}
}

func undefined(id uint32) error {
	return pgerr.New(pgerr.UndefinedObject, "large object %d does not exist", id)
}

func decode(id uint32, b []byte) (Object, error) {
	if len(b) != 12 {
		return Object{}, fmt.Errorf("largeobject: malformed head of object %d", id)
	}
	return Object{ID: id, Owner: binary.BigEndian.Uint32(b), Size: int64(binary.BigEndian.Uint64(b[4:]))}, nil
}

func (s *Store) get(ctx context.Context, id uint32, lock kv.LockMode) (Object, error) {
	b, err := s.Txn.Get(ctx, s.headKey(id), lock, kv.WaitBlock)
	if err != nil {
		return Object{}, err
	}
	if b == nil {
		return Object{}, undefined(id)
	}
	return decode(id, b)
}

func (s *Store) put(o Object) error {
	b := binary.BigEndian.AppendUint32(nil, o.Owner)
	return s.Txn.Put(s.headKey(o.ID), binary.BigEndian.AppendUint64(b, uint64(o.Size)))
}

// Get returns an object, or UndefinedObject.
func (s *Store) Get(ctx context.Context, id uint32) (Object, error) { return s.get(ctx, id, s.Lock) }

// GetForWrite is Get of an object that is about to be changed.
func (s *Store) GetForWrite(ctx context.Context, id uint32) (Object, error) {
	return s.get(ctx, id, kv.LockExclusive)
}

// Create makes an empty object. It fails with UniqueViolation if there is one of that id.
func (s *Store) Create(ctx context.Context, id, owner uint32) error {
	b, err := s.Txn.Get(ctx, s.headKey(id), kv.LockExclusive, kv.WaitBlock)
	if err != nil {
		return err
	}
	if b != nil {
		return pgerr.New(pgerr.UniqueViolation, "duplicate key value violates unique constraint \"pg_largeobject_metadata_oid_index\"").
			WithDetail("Key (oid)=(%d) already exists.", id)
	}
	return s.put(Object{ID: id, Owner: owner})
}

// SetOwner gives an object to another role.
func (s *Store) SetOwner(ctx context.Context, id, owner uint32) error {
	o, err := s.GetForWrite(ctx, id)
	if err != nil {
		return err
	}
	o.Owner = owner
	return s.put(o)
}

// Unlink removes an object.
func (s *Store) Unlink(ctx context.Context, id uint32) error {
	if _, err := s.GetForWrite(ctx, id); err != nil {
		return err
	}
	if err := s.Txn.Delete(s.headKey(id)); err != nil {
		return err
	}
	return s.removePages(ctx, id, 0)
}

// removePages removes the pages from first on.
func (s *Store) removePages(ctx context.Context, id uint32, first int64) error {
	for {
		sc, err := s.Txn.Scan(ctx, s.pages(id, first, -1), kv.ScanOptions{Lock: s.Lock, Limit: flushEvery})
		if err != nil {
			return err
		}
		n := 0
		for ; n < flushEvery && sc.Next(ctx); n++ {
			key := sc.Pair().Key
			first = int64(binary.BigEndian.Uint32(key[len(key)-4:])) + 1
			if err := s.Txn.Delete(key); err != nil {
				sc.Close()
				return err
			}
		}
		err = sc.Err()
		sc.Close()
		if err != nil || n < flushEvery {
			return err
		}
		if err := s.Txn.Flush(ctx); err != nil {
			return err
		}
	}
}

// Read returns up to n bytes from off, fewer at the end of the object.
func (s *Store) Read(ctx context.Context, id uint32, off, n int64) ([]byte, error) {
	o, err := s.Get(ctx, id)
	if err != nil || off >= o.Size || n <= 0 {
		return nil, err
	}
	out := make([]byte, min(n, o.Size-off))
	end := off + int64(len(out))
	sc, err := s.Txn.Scan(ctx, s.pages(id, off/PageSize, (end-1)/PageSize+1), kv.ScanOptions{Lock: s.Lock})
	if err != nil {
		return nil, err
	}
	defer sc.Close()
	for sc.Next(ctx) {
		p := sc.Pair()
		at := int64(binary.BigEndian.Uint32(p.Key[len(p.Key)-4:])) * PageSize
		if at >= off {
			copy(out[at-off:], p.Value)
		} else if skip := off - at; skip < int64(len(p.Value)) {
			copy(out, p.Value[skip:])
		}
	}
	return out, sc.Err()
}

// Write writes data at off, beyond the end too.
func (s *Store) Write(ctx context.Context, id uint32, off int64, data []byte) error {
	o, err := s.GetForWrite(ctx, id)
	if err != nil || len(data) == 0 {
		return err
	}
	if off > MaxSize-int64(len(data)) {
		return pgerr.New(pgerr.InvalidParameterValue, "invalid large object write request size: %d", len(data))
	}
	o.Size = max(o.Size, off+int64(len(data)))
	for written := 1; len(data) > 0; written++ {
		page, skip := off/PageSize, off%PageSize
		n := min(int64(len(data)), PageSize-skip)
		value := data[:n]
		if n < PageSize {
			if value, err = s.merge(ctx, id, page, skip, value); err != nil {
				return err
			}
		}
		if err := s.Txn.Put(s.pageKey(id, page), value); err != nil {
			return err
		}
		if written%flushEvery == 0 {
			if err := s.Txn.Flush(ctx); err != nil {
				return err
			}
		}
		off, data = off+n, data[n:]
	}
	return s.put(o)
}

// merge returns a page as it is with part written at skip.
func (s *Store) merge(ctx context.Context, id uint32, page, skip int64, part []byte) ([]byte, error) {
	old, err := s.Txn.Get(ctx, s.pageKey(id, page), kv.LockExclusive, kv.WaitBlock)
	if err != nil {
		return nil, err
	}
	value := make([]byte, max(int64(len(old)), skip+int64(len(part))))
	copy(value, old)
	copy(value[skip:], part)
	return value, nil
}

// Truncate sets an object's size.
func (s *Store) Truncate(ctx context.Context, id uint32, size int64) error {
	o, err := s.GetForWrite(ctx, id)
	if err != nil {
		return err
	}
	if size < 0 || size > MaxSize {
		return pgerr.New(pgerr.InvalidParameterValue, "invalid large object truncation target: %d", size)
	}
	if size < o.Size {
		page, keep := size/PageSize, size%PageSize
		if keep > 0 {
			old, err := s.Txn.Get(ctx, s.pageKey(id, page), kv.LockExclusive, kv.WaitBlock)
			if err != nil {
				return err
			}
			if int64(len(old)) > keep {
				if err := s.Txn.Put(s.pageKey(id, page), old[:keep]); err != nil {
					return err
				}
			}
			page++
		}
		if err := s.removePages(ctx, id, page); err != nil {
			return err
		}
	}
	o.Size = size
	return s.put(o)
}

// List calls f for all objects of the database, by id.
func (s *Store) List(ctx context.Context, f func(Object) error) error {
	sc, err := s.Txn.Scan(ctx, catalog.IndexSpan(s.Database, headIndex), kv.ScanOptions{Lock: s.Lock})
	if err != nil {
		return err
	}
	defer sc.Close()
	for sc.Next(ctx) {
		p := sc.Pair()
		o, err := decode(binary.BigEndian.Uint32(p.Key[len(p.Key)-4:]), p.Value)
		if err != nil {
			return err
		}
		if err := f(o); err != nil {
			return err
		}
	}
	return sc.Err()
}
