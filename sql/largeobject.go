package sql

import (
	"context"
	"math"
	"slices"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/largeobject"
	"github.com/meridian-db/meridian/sql/pgcatalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// The SQL functions over large objects. Descriptors belong to a transaction and end with it.

// Flags and positions of libpq's large object interface.
const (
	invWrite = 0x20000
	invRead  = 0x40000

	seekSet = 0
	seekCur = 1
	seekEnd = 2

	// maxLargeRead bounds what one call returns, in bytes: it is a value, of which there may be several in a row.
	maxLargeRead = 64 << 20
	// maxLargeDescriptors bounds what a transaction may open at a time.
	maxLargeDescriptors = 10000
)

// largeDescriptor is an open large object. Returning to a savepoint takes back what was written, and not the position,
// as in PostgreSQL.
type largeDescriptor struct {
	id     uint32
	off    int64
	write  bool
	points int // savepoints that there were when it was opened
}

// largeStore is the large objects as the open transaction sees them.
func (s *Session) largeStore(ctx context.Context) (*largeobject.Store, error) {
	tx, err := s.kvTxn(ctx)
	if err != nil {
		return nil, err
	}
	lock := kv.LockNone
	if s.txn.iso == kv.Serializable && !s.txn.readOnly && !s.txn.lone {
		lock = kv.LockShared
	}
	return &largeobject.Store{Txn: tx, Database: s.databaseID, Lock: lock}, nil
}

// changesLarge refuses functions that write in a read-only transaction.
func (s *Session) changesLarge(function string) error {
	if s.txn.readOnly || s.txn.lone {
		return errReadOnly(function)
	}
	return nil
}

// roleNow is the id of the role that statements run as.
func (s *Session) roleNow() uint32 {
	if v, ok := s.txn.catalog.(*catalogView); ok {
		return v.env().User
	}
	return s.roleID
}

func (s *Session) ownsLarge(o largeobject.Object) bool {
	if s.superuser {
		return true
	}
	v, ok := s.txn.catalog.(*catalogView)
	return ok && v.snap.IsMember(s.roleNow(), o.Owner)
}

// mayLarge checks that the object is there and the role may read and write it. Only its owner may.
func (s *Session) mayLarge(ctx context.Context, st *largeobject.Store, id uint32, write bool) error {
	get := st.Get
	if write {
		get = st.GetForWrite
	}
	o, err := get(ctx, id)
	if err == nil && !s.ownsLarge(o) {
		err = pgerr.New(pgerr.InsufficientPrivilege, "permission denied for large object %d", id)
	}
	return err
}

func (s *Session) createLarge(ctx context.Context, id uint32) (uint32, error) {
	st, err := s.largeStore(ctx)
	if err != nil {
		return 0, err
	}
	if id != 0 {
		return id, st.Create(ctx, id, s.roleNow())
	}
	v, ok := s.txn.catalog.(*catalogView)
	if !ok {
		return 0, pgerr.New(pgerr.InternalError, "no catalog is open")
	}
	s.txn.replay.stop() // another attempt would answer another id
	for {
		if id, err = v.txn.NewID(ctx); err != nil {
			return 0, err
		}
		// A restored dump may have taken the id.
		if err = st.Create(ctx, id, s.roleNow()); pgerr.Code(err) != pgerr.UniqueViolation {
			return id, err
		}
	}
}

func (s *Session) openLarge(ctx context.Context, id uint32, flags int64) (int64, error) {
	if flags&(invRead|invWrite) == 0 {
		return 0, pgerr.New(pgerr.InvalidParameterValue, "invalid flags for opening a large object: %d", flags)
	}
	write := flags&invWrite != 0
	if write && s.txn.readOnly {
		return 0, errReadOnly("lo_open(INV_WRITE)")
	}
	st, err := s.largeStore(ctx)
	if err != nil {
		return 0, err
	}
	t := &s.txn
	if err := s.mayLarge(ctx, st, id, write && !t.lone); err != nil { // alone, the descriptor ends with the statement
		return 0, err
	}
	t.replay.stop() // which does not know of positions
	d := &largeDescriptor{id: id, write: write, points: len(t.points)}
	if fd := slices.Index(t.large, nil); fd >= 0 {
		t.large[fd] = d
		return int64(fd), nil
	}
	if len(t.large) >= maxLargeDescriptors {
		return 0, pgerr.New(pgerr.ProgramLimitExceeded, "too many open large objects")
	}
	t.large = append(t.large, d)
	return int64(len(t.large) - 1), nil
}

func (s *Session) largeDescriptor(fd int64) (*largeDescriptor, error) {
	if fd < 0 || fd >= int64(len(s.txn.large)) || s.txn.large[fd] == nil {
		return nil, pgerr.New(pgerr.UndefinedObject, "invalid large-object descriptor: %d", fd)
	}
	return s.txn.large[fd], nil
}

// closeLarge closes the descriptors that forget names.
func (s *Session) closeLarge(forget func(*largeDescriptor) bool) {
	for i, d := range s.txn.large {
		if d != nil && forget(d) {
			s.txn.large[i] = nil
		}
	}
}

// ownLarge returns the store of a large object that the session's role owns, and has locked the object.
func (s *Session) ownLarge(ctx context.Context, id uint32) (*largeobject.Store, error) {
	st, err := s.largeStore(ctx)
	if err != nil {
		return nil, err
	}
	o, err := st.GetForWrite(ctx, id)
	if err != nil {
		return nil, err
	}
	if !s.ownsLarge(o) {
		return nil, pgerr.New(pgerr.InsufficientPrivilege, "must be owner of large object %d", id)
	}
	return st, nil
}

func (s *Session) unlinkLarge(ctx context.Context, id uint32) error {
	st, err := s.ownLarge(ctx, id)
	if err != nil {
		return err
	}
	s.closeLarge(func(d *largeDescriptor) bool { return d.id == id })
	return st.Unlink(ctx, id)
}

func (s *Session) seekLarge(ctx context.Context, fd, off, whence int64) (int64, error) {
	d, err := s.largeDescriptor(fd)
	if err != nil {
		return 0, err
	}
	var base int64
	switch whence {
	case seekSet:
	case seekCur:
		base = d.off
	case seekEnd:
		st, err := s.largeStore(ctx)
		if err != nil {
			return 0, err
		}
		o, err := st.Get(ctx, d.id)
		if err != nil {
			return 0, err
		}
		base = o.Size
	default:
		return 0, pgerr.New(pgerr.InvalidParameterValue, "invalid whence setting: %d", whence)
	}
	if off > largeobject.MaxSize-base || base+off < 0 {
		return 0, badSeek(base + off)
	}
	d.off = base + off
	return d.off, nil
}

func badSeek(off int64) error {
	return pgerr.New(pgerr.InvalidParameterValue, "invalid large object seek target: %d", off)
}

// narrow makes a position the result of a function that returns an int4. One that does not fit fails, and undoes the seek.
func narrow(function string, fd, off int64) (types.Datum, error) {
	if off > math.MaxInt32 {
		return types.Null, pgerr.New(pgerr.NumericValueOutOfRange, "%s result out of range for large-object descriptor %d", function, fd)
	}
	return types.NewInt(off), nil
}

func (s *Session) readLarge(ctx context.Context, id uint32, off, n int64) ([]byte, error) {
	st, err := s.largeStore(ctx)
	if err != nil {
		return nil, err
	}
	o, err := st.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	if min(n, o.Size-off) > maxLargeRead {
		return nil, pgerr.New(pgerr.ProgramLimitExceeded, "large object read request is too large").
			WithHint("Read at most %d MB at a time, with loread().", maxLargeRead>>20)
	}
	return st.Read(ctx, id, off, n)
}

func (s *Session) writeLarge(ctx context.Context, fd int64, data []byte) error {
	d, err := s.largeDescriptor(fd)
	if err != nil {
		return err
	}
	if !d.write {
		return pgerr.New(pgerr.ObjectNotInPrerequisiteState, "large object descriptor %d was not opened for writing", fd)
	}
	st, err := s.largeStore(ctx)
	if err != nil {
		return err
	}
	if err := st.Write(ctx, d.id, d.off, data); err != nil {
		return err
	}
	d.off += int64(len(data))
	return nil
}

func (s *Session) truncateLarge(ctx context.Context, fd, size int64) error {
	d, err := s.largeDescriptor(fd)
	if err != nil {
		return err
	}
	if !d.write {
		return pgerr.New(pgerr.ObjectNotInPrerequisiteState, "large object descriptor %d was not opened for writing", fd)
	}
	st, err := s.largeStore(ctx)
	if err != nil {
		return err
	}
	return st.Truncate(ctx, d.id, size)
}

// largeFunc makes an SQL function of one whose result needs no more than a conversion.
func largeFunc(write string, f func(s *Session, ctx context.Context, args []types.Datum) (types.Datum, error)) builtin.EvalFunc {
	return onSession(func(s *Session, ctx context.Context, args []types.Datum) (types.Datum, error) {
		if write != "" {
			if err := s.changesLarge(write); err != nil {
				return types.Null, err
			}
		}
		return f(s, ctx, args)
	})
}

func largeCreate(id func(args []types.Datum) uint32) builtin.EvalFunc {
	return largeFunc("lo_create()", func(s *Session, ctx context.Context, args []types.Datum) (types.Datum, error) {
		made, err := s.createLarge(ctx, id(args))
		return types.NewInt(int64(made)), err
	})
}

func largeTruncate(function string) builtin.EvalFunc {
	return largeFunc(function, func(s *Session, ctx context.Context, args []types.Datum) (types.Datum, error) {
		return types.NewInt(0), s.truncateLarge(ctx, args[0].Int(), args[1].Int())
	})
}

// serverFile refuses the functions over files of a server's: which of the nodes?
func serverFile(function string) builtin.EvalFunc {
	return func(*builtin.Ctx, []types.Datum) (types.Datum, error) {
		return types.Null, pgerr.Unsupported("%s, which uses a file of the server, is not supported", function).
			WithHint("Anyone can use the client-side version provided by libpq: psql's \\lo_import and \\lo_export.")
	}
}

// largeFunctions are the SQL functions over large objects.
var largeFunctions = map[string]builtin.EvalFunc{
	"lo_creat":  largeCreate(func([]types.Datum) uint32 { return 0 }),
	"lo_create": largeCreate(func(args []types.Datum) uint32 { return uint32(args[0].Int()) }),
	"lo_import": serverFile("lo_import()"),
	"lo_export": serverFile("lo_export()"),
	"lo_open": largeFunc("", func(s *Session, ctx context.Context, args []types.Datum) (types.Datum, error) {
		fd, err := s.openLarge(ctx, uint32(args[0].Int()), args[1].Int())
		return types.NewInt(fd), err
	}),
	"lo_close": largeFunc("", func(s *Session, _ context.Context, args []types.Datum) (types.Datum, error) {
		if _, err := s.largeDescriptor(args[0].Int()); err != nil {
			return types.Null, err
		}
		s.txn.large[args[0].Int()] = nil
		return types.NewInt(0), nil
	}),
	"loread": largeFunc("", func(s *Session, ctx context.Context, args []types.Datum) (types.Datum, error) {
		d, err := s.largeDescriptor(args[0].Int())
		if err != nil {
			return types.Null, err
		}
		b, err := s.readLarge(ctx, d.id, d.off, args[1].Int())
		d.off += int64(len(b))
		return types.NewBytes(b), err
	}),
	"lowrite": largeFunc("lowrite()", func(s *Session, ctx context.Context, args []types.Datum) (types.Datum, error) {
		return types.NewInt(int64(len(args[1].Bytes()))), s.writeLarge(ctx, args[0].Int(), args[1].Bytes())
	}),
	"lo_lseek": largeFunc("", func(s *Session, ctx context.Context, args []types.Datum) (types.Datum, error) {
		fd := args[0].Int()
		d, err := s.largeDescriptor(fd)
		if err != nil {
			return types.Null, err
		}
		before := d.off
		off, err := s.seekLarge(ctx, fd, args[1].Int(), args[2].Int())
		if err != nil {
			return types.Null, err
		}
		out, err := narrow("lo_lseek", fd, off)
		if err != nil {
			d.off = before
		}
		return out, err
	}),
	"lo_lseek64": largeFunc("", func(s *Session, ctx context.Context, args []types.Datum) (types.Datum, error) {
		off, err := s.seekLarge(ctx, args[0].Int(), args[1].Int(), args[2].Int())
		return types.NewInt(off), err
	}),
	"lo_tell": largeFunc("", func(s *Session, _ context.Context, args []types.Datum) (types.Datum, error) {
		d, err := s.largeDescriptor(args[0].Int())
		if err != nil {
			return types.Null, err
		}
		return narrow("lo_tell", args[0].Int(), d.off)
	}),
	"lo_tell64": largeFunc("", func(s *Session, _ context.Context, args []types.Datum) (types.Datum, error) {
		d, err := s.largeDescriptor(args[0].Int())
		if err != nil {
			return types.Null, err
		}
		return types.NewInt(d.off), nil
	}),
	"lo_truncate":   largeTruncate("lo_truncate()"),
	"lo_truncate64": largeTruncate("lo_truncate64()"),
	"lo_unlink": largeFunc("lo_unlink()", func(s *Session, ctx context.Context, args []types.Datum) (types.Datum, error) {
		return types.NewInt(1), s.unlinkLarge(ctx, uint32(args[0].Int()))
	}),
	"lo_from_bytea": largeFunc("lo_from_bytea()", func(s *Session, ctx context.Context, args []types.Datum) (types.Datum, error) {
		id, err := s.createLarge(ctx, uint32(args[0].Int()))
		if err != nil {
			return types.Null, err
		}
		st, err := s.largeStore(ctx)
		if err != nil {
			return types.Null, err
		}
		return types.NewInt(int64(id)), st.Write(ctx, id, 0, args[1].Bytes())
	}),
	"lo_get": largeFunc("", func(s *Session, ctx context.Context, args []types.Datum) (types.Datum, error) {
		id, off, n := uint32(args[0].Int()), int64(0), int64(largeobject.MaxSize)
		if len(args) == 3 {
			if off, n = args[1].Int(), args[2].Int(); n < 0 {
				return types.Null, pgerr.New(pgerr.InvalidParameterValue, "requested length cannot be negative")
			}
		}
		st, err := s.largeStore(ctx)
		if err != nil {
			return types.Null, err
		}
		if err := s.mayLarge(ctx, st, id, false); err != nil {
			return types.Null, err
		}
		if off < 0 || off > largeobject.MaxSize {
			return types.Null, badSeek(off)
		}
		b, err := s.readLarge(ctx, id, off, n)
		return types.NewBytes(b), err
	}),
	"lo_put": largeFunc("lo_put()", func(s *Session, ctx context.Context, args []types.Datum) (types.Datum, error) {
		id, off := uint32(args[0].Int()), args[1].Int()
		st, err := s.largeStore(ctx)
		if err != nil {
			return types.Null, err
		}
		if err := s.mayLarge(ctx, st, id, true); err != nil {
			return types.Null, err
		}
		if off < 0 || off > largeobject.MaxSize {
			return types.Null, badSeek(off)
		}
		return types.NewString(""), st.Write(ctx, id, off, args[2].Bytes())
	}),
}

// largeRows are the rows of pg_largeobject_metadata and, with pages, of pg_largeobject.
func (s *Session) largeRows(ctx context.Context, pages bool, row func(pgcatalog.LargeObject) error) error {
	st, err := s.largeStore(ctx)
	if err != nil {
		return err
	}
	return st.List(ctx, func(o largeobject.Object) error {
		out := pgcatalog.LargeObject{ID: o.ID, Owner: o.Owner}
		if !pages {
			return row(out)
		}
		for off := int64(0); off < o.Size; off += pgcatalog.LargeObjectPage {
			var err error
			if out.Data, err = st.Read(ctx, o.ID, off, pgcatalog.LargeObjectPage); err != nil {
				return err
			}
			out.Page = off / pgcatalog.LargeObjectPage
			if err := row(out); err != nil {
				return err
			}
		}
		return nil
	})
}

// largeOwner is ALTER LARGE OBJECT ... OWNER TO, by a role that may own things for the new owner.
func (s *Session) largeOwner(ctx context.Context, id, owner uint32) error {
	st, err := s.ownLarge(ctx, id)
	if err != nil {
		return err
	}
	return st.SetOwner(ctx, id, owner)
}
