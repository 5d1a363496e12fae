package pgwire

import (
	"encoding/binary"
	"hash/maphash"
	"io"
	"math/bits"
	"strconv"

	"github.com/meridian-db/meridian/sql"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// outFlushSize is the number of buffered bytes past which rows are sent without waiting for the end of the
// statement. Until then a statement may still be retried without the client noticing.
const outFlushSize = 32 << 10

// output is a connection's send buffer and implements sql.Output on it. Messages are encoded in place;
// nothing is written to the socket before flush, so that a pipeline of requests is answered by one write.
// pgproto3's Send writes once for each message, which costs five system calls for a prepared statement.
type output struct {
	w       io.Writer
	buf     []byte
	open    int   // one past the start in buf of the message that has been begun and not ended, zero for none
	flushed int64 // bytes written to w so far
	err     error // of the first failed write; everything after it is dropped
	rows    rowEncoder
	conn    *conn // for COPY IN, which reads
	digest  uint64
	digests bool // fold what is written into digest
	discard bool // and drop it
	wanted  bool // the client waits for an answer: flush before the next blocking read
}

// rowEncoder is what BeginRows fixes.
type rowEncoder struct {
	cols     []sql.Column
	formats  []int16 // one for each column, or empty: all text
	settings *types.Settings
}

// begin opens a message and returns the place of its length; end fills that in. A message that is still open, as encoding
// it has panicked, is dropped: half of it would end the connection, and not only the statement.
func (o *output) begin(typ byte) int {
	if o.open > 0 {
		o.buf = o.buf[:o.open-1]
	}
	o.open = len(o.buf) + 1
	o.buf = append(o.buf, typ, 0, 0, 0, 0)
	return len(o.buf) - 4
}

func (o *output) end(at int) {
	o.open = 0
	binary.BigEndian.PutUint32(o.buf[at:], uint32(len(o.buf)-at))
	if o.digests {
		o.fold(at - 1)
	}
}

var digestSeed = maphash.MakeSeed()

// fold digests the message that starts at from.
func (o *output) fold(from int) {
	o.digest = bits.RotateLeft64(o.digest, 7) ^ maphash.Bytes(digestSeed, o.buf[from:])
	if o.discard {
		o.buf = o.buf[:from]
	}
}

// BeginDigest implements sql.Output.
func (o *output) BeginDigest(discard bool) { o.digest, o.digests, o.discard = 0, true, discard }

// EndDigest implements sql.Output.
func (o *output) EndDigest() uint64 {
	o.digests, o.discard = false, false
	return o.digest
}

func (o *output) int16(v int16) { o.buf = binary.BigEndian.AppendUint16(o.buf, uint16(v)) }
func (o *output) int32(v int32) { o.buf = binary.BigEndian.AppendUint32(o.buf, uint32(v)) }

// cstring appends s and a NUL. A NUL inside s would end it early and shift the fields behind it.
func (o *output) cstring(s string) {
	for i := 0; i < len(s); i++ {
		if s[i] == 0 {
			s = s[:i]
			break
		}
	}
	o.buf = append(o.buf, s...)
	o.buf = append(o.buf, 0)
}

// flush writes what is buffered.
func (o *output) flush() error {
	o.wanted, o.open = false, 0
	if o.err != nil {
		o.buf = o.buf[:0]
		return o.err
	}
	if len(o.buf) == 0 {
		return nil
	}
	n, err := o.w.Write(o.buf)
	o.flushed += int64(n)
	o.err = err
	if cap(o.buf) > 4*outFlushSize {
		o.buf = nil
	} else {
		o.buf = o.buf[:0]
	}
	return err
}

// maybeFlush bounds the buffer while a statement sends much.
func (o *output) maybeFlush() error {
	if len(o.buf) < outFlushSize {
		return o.err
	}
	return o.flush()
}

// Mark implements sql.Output.
func (o *output) Mark() sql.Mark {
	return sql.Mark{Pos: int64(len(o.buf)), Flushed: o.flushed}
}

// Sent implements sql.Output.
func (o *output) Sent(m sql.Mark) bool { return o.flushed != m.Flushed }

// Rewind implements sql.Output.
func (o *output) Rewind(m sql.Mark) bool {
	if o.Sent(m) {
		return false
	}
	o.buf, o.open = o.buf[:m.Pos], 0
	return true
}

// BeginRows implements sql.Output.
func (o *output) BeginRows(cols []sql.Column, formats []int16, settings *types.Settings, describe bool) {
	o.rows.cols, o.rows.settings = cols, settings
	o.rows.formats = o.rows.formats[:0]
	for i := range cols {
		if f := formatOf(formats, i); f != sql.FormatText {
			for len(o.rows.formats) < i {
				o.rows.formats = append(o.rows.formats, sql.FormatText)
			}
			o.rows.formats = append(o.rows.formats, f)
		}
	}
	if describe {
		o.rowDescription(cols, formats)
	}
}

// formatOf applies the protocol's rule for a list of format codes.
func formatOf(formats []int16, i int) int16 {
	switch {
	case len(formats) == 1:
		return formats[0]
	case i < len(formats):
		return formats[i]
	}
	return sql.FormatText
}

func (o *output) rowDescription(cols []sql.Column, formats []int16) {
	at := o.begin('T')
	o.int16(int16(len(cols)))
	for i := range cols {
		c := &cols[i]
		o.cstring(c.Name)
		o.int32(int32(c.TableOID))
		o.int16(c.AttNum)
		// Of a domain clients are told what it is over, so that they need not know it.
		t := c.Type.BaseType()
		o.int32(int32(t.OID))
		o.int16(t.Size)
		o.int32(t.Typmod)
		o.int16(formatOf(formats, i))
	}
	o.end(at)
}

// Row implements sql.Output.
func (o *output) Row(row []types.Datum) error {
	at := o.begin('D')
	o.int16(int16(len(row)))
	for i := range row {
		if row[i].IsNull() {
			o.buf = append(o.buf, 0xff, 0xff, 0xff, 0xff)
			continue
		}
		lenAt := len(o.buf)
		buf := append(o.buf, 0, 0, 0, 0)
		if i < len(o.rows.formats) && o.rows.formats[i] == sql.FormatBinary {
			var err error
			if buf, err = types.AppendBinary(buf, row[i], o.rows.cols[i].Type, o.rows.settings); err != nil {
				o.buf = o.buf[:at-1]
				return err
			}
		} else {
			buf = types.AppendText(buf, row[i], o.rows.cols[i].Type, o.rows.settings)
		}
		binary.BigEndian.PutUint32(buf[lenAt:], uint32(len(buf)-lenAt-4))
		o.buf = buf
	}
	o.end(at)
	return o.maybeFlush()
}

// Complete implements sql.Output.
func (o *output) Complete(tag string) {
	at := o.begin('C')
	o.cstring(tag)
	o.end(at)
}

// CompleteRows implements sql.Output.
func (o *output) CompleteRows(verb string, n int64) {
	at := o.begin('C')
	o.buf = append(o.buf, verb...)
	o.buf = append(o.buf, ' ')
	o.buf = strconv.AppendInt(o.buf, n, 10)
	o.buf = append(o.buf, 0)
	o.end(at)
}

// empty sends a message without a body.
func (o *output) empty(typ byte) { o.end(o.begin(typ)) }

// EmptyQuery implements sql.Output.
func (o *output) EmptyQuery() { o.empty('I') }

// Suspended implements sql.Output.
func (o *output) Suspended() { o.empty('s') }

// Parameter implements sql.Output.
func (o *output) Parameter(name, value string) {
	at := o.begin('S')
	o.cstring(name)
	o.cstring(value)
	o.end(at)
}

// Notify implements sql.Output.
func (o *output) Notify(pid int32, channel, payload string) {
	at := o.begin('A')
	o.int32(pid)
	o.cstring(channel)
	o.cstring(payload)
	o.end(at)
}

// Notice implements sql.Output.
func (o *output) Notice(n *pgerr.Error) {
	severity := n.Severity
	if severity == "" {
		severity = pgerr.SeverityNotice
	}
	o.fields('N', severity, n)
}

// sendError sends an ErrorResponse.
func (o *output) sendError(e *pgerr.Error) { o.fields('E', e.SeverityOrDefault(), e) }

func (o *output) fields(typ byte, severity string, e *pgerr.Error) {
	at := o.begin(typ)
	field := func(code byte, v string) {
		if v != "" {
			o.buf = append(o.buf, code)
			o.cstring(v)
		}
	}
	field('S', severity)
	field('V', severity)
	field('C', e.Code)
	field('M', e.Message)
	field('D', e.Detail)
	field('H', e.Hint)
	if e.Position > 0 {
		field('P', strconv.Itoa(e.Position))
	}
	if e.InternalPos > 0 {
		field('p', strconv.Itoa(e.InternalPos))
	}
	field('q', e.InternalQuery)
	field('W', e.Where)
	field('s', e.Schema)
	field('t', e.Table)
	field('c', e.Column)
	field('d', e.DataType)
	field('n', e.Constraint)
	field('R', e.Routine)
	o.buf = append(o.buf, 0)
	o.end(at)
}

func (o *output) readyForQuery(status byte) {
	o.buf = append(o.buf, 'Z', 0, 0, 0, 5, status)
	o.wanted = true
}

// BeginCopyOut implements sql.Output.
func (o *output) BeginCopyOut(columns int, format int16) { o.copyResponse('H', columns, format) }

func (o *output) copyResponse(typ byte, columns int, format int16) {
	at := o.begin(typ)
	o.buf = append(o.buf, byte(format))
	o.int16(int16(columns))
	for range columns {
		o.int16(format)
	}
	o.end(at)
}

// CopyData implements sql.Output.
func (o *output) CopyData(b []byte) error {
	at := o.begin('d')
	o.buf = append(o.buf, b...)
	o.end(at)
	return o.maybeFlush()
}

// EndCopyOut implements sql.Output.
func (o *output) EndCopyOut() { o.empty('c') }

// BeginCopyIn implements sql.Output.
func (o *output) BeginCopyIn(columns int, format int16) (sql.CopySource, error) {
	o.copyResponse('G', columns, format)
	o.wanted = true
	return copySource{o.conn}, nil
}
