package participant

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/meridian-db/meridian/mvcc"
	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/fields"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// commandKind says what a replicated command does. The numbers are on disk.
type commandKind byte

const (
	// cmdCommit: the writes at ts, and the outcome of commit.
	cmdCommit commandKind = 1
	// cmdPrepare: the record of txn, prepared at ts.
	cmdPrepare commandKind = 2
	// cmdDecide: as cmdCommit, and the decision with its participants, to be told.
	cmdDecide commandKind = 3
	// cmdResolve: outcome (at ts) of the prepared record of txn, if it is for commit.
	cmdResolve commandKind = 4
	// cmdStage: staged writes of txn at ts, numbered from seq.
	cmdStage commandKind = 5
	// cmdMove: a piece of the layer of txn is moved. What lies below ts may go.
	cmdMove commandKind = 6
	// cmdAbort: commit is aborted, unless decided before.
	cmdAbort commandKind = 7
	// cmdForget: every participant of the decisions ids has acknowledged.
	cmdForget commandKind = 8
	// cmdDropStaged: a piece of the staged writes of txn is dropped.
	cmdDropStaged commandKind = 9
	// cmdTrim: outcomes of commit attempts begun at or before ts are dropped.
	cmdTrim commandKind = 10
	// cmdGC: the GC threshold becomes ts.
	cmdGC commandKind = 11

	maxCommandKind = cmdGC
)

// commandVersion is the first byte of every command and record.
const commandVersion = 1

// command is the decoded form of every command, and of the records kept by prepared transactions. Which fields are set depends on the kind; absent ones are zero.
type command struct {
	kind    commandKind
	outcome txnpb.Outcome
	txn     TxnID
	commit  CommitID
	ts      truetime.Timestamp
	age     int64
	gateway int32
	token   int64

	coordRange ranges.RangeID
	coordKey   []byte

	staged bool           // the transaction has staged writes to commit
	seq    uint64         // cmdStage
	ignore []mvcc.SeqSpan // of the staged writes

	parts  []target
	ids    []CommitID
	writes writeSet
}

// target is a range that takes part in a commit.
type target struct {
	id       ranges.RangeID
	key      []byte // its start key
	readOnly bool
}

// writeSet is a list of writes in parallel slices, as on the wire.
type writeSet struct {
	ops    []byte // empty: all WRITE_PUT
	keys   [][]byte
	values [][]byte
}

func (w *writeSet) len() int { return len(w.keys) }

func (w *writeSet) op(i int) txnpb.WriteOp {
	if len(w.ops) == 0 {
		return txnpb.WriteOp_WRITE_PUT
	}
	return txnpb.WriteOp(w.ops[i])
}

// deletesSpans reports whether any of the writes is a WRITE_DELETE_SPAN.
func (w *writeSet) deletesSpans() bool {
	for _, op := range w.ops {
		if op == byte(txnpb.WriteOp_WRITE_DELETE_SPAN) {
			return true
		}
	}
	return false
}

// The encoding: version, kind, a mask of the fields that follow, the fields in the order of the mask.
// Numbers are varints, byte strings and lists carry their length.
const (
	hasOutcome = 1 << iota
	hasTxn
	hasCommit
	hasTS
	hasAge
	hasGateway
	hasToken
	hasCoord
	isStaged
	hasSeq
	hasIgnore
	hasParts
	hasIDs
	hasWrites

	knownFields = hasWrites<<1 - 1
)

func (c *command) mask() uint64 {
	var m uint64
	set := func(bit uint64, on bool) {
		if on {
			m |= bit
		}
	}
	set(hasOutcome, c.outcome != 0)
	set(hasTxn, c.txn != TxnID{})
	set(hasCommit, c.commit != CommitID{})
	set(hasTS, c.ts != 0)
	set(hasAge, c.age != 0)
	set(hasGateway, c.gateway != 0)
	set(hasToken, c.token != 0)
	set(hasCoord, c.coordRange != 0)
	set(isStaged, c.staged)
	set(hasSeq, c.seq != 0)
	set(hasIgnore, len(c.ignore) > 0)
	set(hasParts, len(c.parts) > 0)
	set(hasIDs, len(c.ids) > 0)
	set(hasWrites, c.writes.len() > 0)
	return m
}

// sizeHint is an upper bound of the encoded size.
func (c *command) sizeHint() int {
	n := 128 + len(c.coordKey) + 20*len(c.ignore) + 16*len(c.ids)
	for i := range c.parts {
		n += 24 + len(c.parts[i].key)
	}
	for i := range c.writes.keys {
		n += 13 + len(c.writes.keys[i]) + len(c.writes.values[i])
	}
	return n
}

func appendIgnore(b []byte, ignore []mvcc.SeqSpan) []byte {
	b = binary.AppendUvarint(b, uint64(len(ignore)))
	for _, s := range ignore {
		b = binary.AppendUvarint(b, s.From)
		b = binary.AppendUvarint(b, s.To)
	}
	return b
}

// encode appends the command to b.
func (c *command) encode(b []byte) []byte {
	m := c.mask()
	b = append(b, commandVersion, byte(c.kind))
	b = binary.AppendUvarint(b, m)
	if m&hasOutcome != 0 {
		b = append(b, byte(c.outcome))
	}
	if m&hasTxn != 0 {
		b = append(b, c.txn[:]...)
	}
	if m&hasCommit != 0 {
		b = append(b, c.commit[:]...)
	}
	if m&hasTS != 0 {
		b = binary.AppendVarint(b, int64(c.ts))
	}
	if m&hasAge != 0 {
		b = binary.AppendVarint(b, c.age)
	}
	if m&hasGateway != 0 {
		b = binary.AppendVarint(b, int64(c.gateway))
	}
	if m&hasToken != 0 {
		b = binary.AppendVarint(b, c.token)
	}
	if m&hasCoord != 0 {
		b = binary.AppendUvarint(b, uint64(c.coordRange))
		b = fields.AppendBytes(b, c.coordKey)
	}
	if m&hasSeq != 0 {
		b = binary.AppendUvarint(b, c.seq)
	}
	if m&hasIgnore != 0 {
		b = appendIgnore(b, c.ignore)
	}
	if m&hasParts != 0 {
		b = binary.AppendUvarint(b, uint64(len(c.parts)))
		for _, p := range c.parts {
			flag := byte(0)
			if p.readOnly {
				flag = 1
			}
			b = append(b, flag)
			b = binary.AppendUvarint(b, uint64(p.id))
			b = fields.AppendBytes(b, p.key)
		}
	}
	if m&hasIDs != 0 {
		b = binary.AppendUvarint(b, uint64(len(c.ids)))
		for i := range c.ids {
			b = append(b, c.ids[i][:]...)
		}
	}
	if m&hasWrites != 0 {
		b = binary.AppendUvarint(b, uint64(c.writes.len()))
		for i := range c.writes.keys {
			op := c.writes.op(i)
			b = append(b, byte(op))
			b = fields.AppendBytes(b, c.writes.keys[i])
			if op != txnpb.WriteOp_WRITE_DELETE {
				b = fields.AppendBytes(b, c.writes.values[i])
			}
		}
	}
	return b
}

var errCommand = errors.New("participant: malformed command")

// decodeCommand decodes what encode made. The result aliases b. Anything else is an error: a command of a later
// version, unknown fields, bytes left over.
func decodeCommand(b []byte) (c command, err error) { return decodeInto(b, nil) }

// decodeInto is decodeCommand that takes the space for the writes from scratch, when that is not nil.
func decodeInto(b []byte, scratch *writeSet) (c command, err error) {
	d := fields.Reader{B: b}
	if v := d.Byte(); v != commandVersion && d.Err == nil {
		return c, fmt.Errorf("%w: version %d", errCommand, v)
	}
	c.kind = commandKind(d.Byte())
	m := d.Uvarint()
	if d.Err != nil || c.kind == 0 || c.kind > maxCommandKind || m&^uint64(knownFields) != 0 {
		return c, errCommand
	}
	if m&hasOutcome != 0 {
		c.outcome = txnpb.Outcome(d.Byte())
		if c.outcome > txnpb.Outcome_OUTCOME_ABORTED {
			return c, errCommand
		}
	}
	if m&hasTxn != 0 {
		copy(c.txn[:], d.Take(16))
	}
	if m&hasCommit != 0 {
		copy(c.commit[:], d.Take(16))
	}
	if m&hasTS != 0 {
		c.ts = truetime.Timestamp(d.Varint())
	}
	if m&hasAge != 0 {
		c.age = d.Varint()
	}
	if m&hasGateway != 0 {
		c.gateway = int32(d.Varint())
	}
	if m&hasToken != 0 {
		c.token = d.Varint()
	}
	if m&hasCoord != 0 {
		c.coordRange = ranges.RangeID(d.Uvarint())
		c.coordKey = d.Bytes()
	}
	c.staged = m&isStaged != 0
	if m&hasSeq != 0 {
		c.seq = d.Uvarint()
	}
	if m&hasIgnore != 0 {
		c.ignore = decodeIgnore(&d)
	}
	if m&hasParts != 0 {
		n := d.Count(3)
		c.parts = make([]target, 0, n)
		for range n {
			p := target{readOnly: d.Byte() == 1}
			p.id = ranges.RangeID(d.Uvarint())
			p.key = d.Bytes()
			c.parts = append(c.parts, p)
		}
	}
	if m&hasIDs != 0 {
		n := d.Count(16)
		c.ids = make([]CommitID, n)
		for i := range c.ids {
			copy(c.ids[i][:], d.Take(16))
		}
	}
	if m&hasWrites != 0 {
		n := d.Count(2)
		var w writeSet
		if scratch != nil && cap(scratch.keys) >= n {
			w = writeSet{ops: scratch.ops[:n], keys: scratch.keys[:n], values: scratch.values[:n]}
			clear(w.values)
		} else {
			slices := make([][]byte, 2*n)
			w = writeSet{ops: make([]byte, n), keys: slices[:n:n], values: slices[n:]}
			if scratch != nil && n <= 1024 {
				*scratch = w
			}
		}
		for i := range n {
			w.ops[i] = d.Byte()
			w.keys[i] = d.Bytes()
			if op := txnpb.WriteOp(w.ops[i]); op != txnpb.WriteOp_WRITE_DELETE {
				w.values[i] = d.Bytes()
			}
			if d.Err == nil && (w.ops[i] > byte(txnpb.WriteOp_WRITE_DELETE_SPAN) || mvcc.ValidateKey(w.keys[i]) != nil) {
				return c, errCommand
			}
		}
		c.writes = w
	}
	if d.Err != nil || len(d.B) != 0 {
		return command{}, errCommand
	}
	return c, nil
}

func decodeIgnore(d *fields.Reader) []mvcc.SeqSpan {
	n := d.Count(2)
	if n == 0 {
		return nil
	}
	out := make([]mvcc.SeqSpan, 0, n)
	for range n {
		out = append(out, mvcc.SeqSpan{From: d.Uvarint(), To: d.Uvarint()})
	}
	return out
}
