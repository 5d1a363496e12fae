package replication

import (
	"encoding/binary"

	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/truetime"
)

// transaction is one that is being sent.
type transaction struct {
	ts  truetime.Timestamp
	xid uint32
}

// xidOf makes the number that clients know a transaction by. It is only a name: two transactions of one stream may share
// it, hours apart.
func xidOf(ts truetime.Timestamp) uint32 { return uint32(ts>>10)&0x7fffffff | 1<<30 }

// row is the columns of a relation's decoded row; nil for none.
type row []types.Datum

// encoder is an output plugin. Its methods append one message to dst; an empty one is not sent.
type encoder interface {
	begin(dst []byte, x transaction) []byte
	commit(dst []byte, x transaction) []byte
	// describe introduces a relation before its first change, by as many messages as it calls emit for.
	describe(r *relation, emit func([]byte) error) error
	insert(dst []byte, r *relation, now row) []byte
	// update and remove get the row before as far as the identity needs it: old is nil when an update has left it alone,
	// or a removed row has none.
	update(dst []byte, r *relation, old, now row) []byte
	remove(dst []byte, r *relation, old row) []byte
	truncate(dst []byte, rs []*relation) []byte
}

// pgMicros is a timestamp in microseconds since 2000-01-01.
func pgMicros(ts truetime.Timestamp) int64 { return int64(ts)/1000 - 946684800*1_000_000 }

// pgoutput is version 1 of the protocol of that plugin, with all values as text. Later versions add nothing to
// transactions that are sent when they have committed.
type pgoutput struct {
	settings *types.Settings
	scratch  []byte
}

func (*pgoutput) begin(b []byte, x transaction) []byte {
	b = append(b, 'B')
	b = binary.BigEndian.AppendUint64(b, uint64(CommitLSN(x.ts)))
	b = binary.BigEndian.AppendUint64(b, uint64(pgMicros(x.ts)))
	return binary.BigEndian.AppendUint32(b, x.xid)
}

func (*pgoutput) commit(b []byte, x transaction) []byte {
	b = append(b, 'C', 0)
	b = binary.BigEndian.AppendUint64(b, uint64(CommitLSN(x.ts)))
	b = binary.BigEndian.AppendUint64(b, uint64(EndLSN(x.ts)))
	return binary.BigEndian.AppendUint64(b, uint64(pgMicros(x.ts)))
}

// firstUserType is the first oid that PostgreSQL gives to users' objects: types above are introduced by name.
const firstUserType = 16384

func appendString(b []byte, s string) []byte { return append(append(b, s...), 0) }

func (p *pgoutput) describe(r *relation, emit func([]byte) error) error {
	for _, c := range r.columns {
		if c.t.OID < firstUserType {
			continue
		}
		b := binary.BigEndian.AppendUint32([]byte{'Y'}, uint32(c.t.OID))
		b = appendString(b, c.t.Schema)
		if err := emit(appendString(b, c.t.Name)); err != nil {
			return err
		}
	}
	b := binary.BigEndian.AppendUint32([]byte{'R'}, r.table.ID)
	b = appendString(b, r.schema)
	b = appendString(b, r.table.Name)
	b = append(b, r.identity)
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.columns)))
	for _, c := range r.columns {
		flags := byte(0)
		if c.key {
			flags = 1
		}
		b = appendString(append(b, flags), c.name)
		b = binary.BigEndian.AppendUint32(b, uint32(c.t.OID))
		b = binary.BigEndian.AppendUint32(b, uint32(c.t.Typmod))
	}
	return emit(b)
}

// tuple appends a row; of an old one under a key only the key's columns.
func (p *pgoutput) tuple(b []byte, r *relation, d row, keyOnly bool) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.columns)))
	for i, c := range r.columns {
		if d[i].IsNull() || keyOnly && !c.key {
			b = append(b, 'n')
			continue
		}
		p.scratch = types.AppendText(p.scratch[:0], d[i], c.t, p.settings)
		b = binary.BigEndian.AppendUint32(append(b, 't'), uint32(len(p.scratch)))
		b = append(b, p.scratch...)
	}
	return b
}

// old appends a row as it was, with the byte that says how much of it there is.
func (p *pgoutput) old(b []byte, r *relation, d row) []byte {
	if r.identity == 'f' {
		return p.tuple(append(b, 'O'), r, d, false)
	}
	return p.tuple(append(b, 'K'), r, d, true)
}

func (p *pgoutput) insert(b []byte, r *relation, now row) []byte {
	b = binary.BigEndian.AppendUint32(append(b, 'I'), r.table.ID)
	return p.tuple(append(b, 'N'), r, now, false)
}

func (p *pgoutput) update(b []byte, r *relation, old, now row) []byte {
	b = binary.BigEndian.AppendUint32(append(b, 'U'), r.table.ID)
	if old != nil {
		b = p.old(b, r, old)
	}
	return p.tuple(append(b, 'N'), r, now, false)
}

func (p *pgoutput) remove(b []byte, r *relation, old row) []byte {
	if old == nil {
		return b
	}
	return p.old(binary.BigEndian.AppendUint32(append(b, 'D'), r.table.ID), r, old)
}

func (*pgoutput) truncate(b []byte, rs []*relation) []byte {
	b = binary.BigEndian.AppendUint32(append(b, 'T'), uint32(len(rs)))
	b = append(b, 0)
	for _, r := range rs {
		b = binary.BigEndian.AppendUint32(b, r.table.ID)
	}
	return b
}
