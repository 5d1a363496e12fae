package sql

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/exec"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

func errNoTable(rv *ast.RangeVar) error {
	name := rv.Name
	if rv.Schema != "" {
		name = rv.Schema + "." + name
	}
	return pgerr.New(pgerr.UndefinedTable, "relation \"%s\" does not exist", name).WithPosition(int(ast.PgPos(rv.Off)))
}

// copyable refuses relations without rows of their own.
func copyable(t *plan.Table, direction string) error {
	switch t.Kind {
	case plan.Partitioned:
		if direction == "from" {
			return pgerr.New(pgerr.WrongObjectType, "cannot copy from partitioned table %q", t.Name).
				WithHint("Try the COPY (SELECT ...) TO variant.")
		}
	case plan.View:
		e := pgerr.New(pgerr.WrongObjectType, "cannot copy %s view \"%s\"", direction, t.Name)
		if direction == "from" {
			e.WithHint("Try the COPY (SELECT ...) TO variant.")
		}
		return e
	case plan.Sequence:
		return pgerr.New(pgerr.WrongObjectType, "cannot copy %s sequence \"%s\"", direction, t.Name)
	case plan.OtherRelation:
		return pgerr.New(pgerr.WrongObjectType, "cannot copy %s non-table relation \"%s\"", direction, t.Name)
	}
	return nil
}

// copyFrom inserts the client's data into a table.
func (s *Session) copyFrom(ctx context.Context, src *statement, n *ast.CopyStmt, o *copyOptions) (int64, error) {
	c, err := s.pinCatalog(ctx)
	if err != nil {
		return 0, err
	}
	t, err := c.Table(s.path(), n.Table.Schema, n.Table.Name)
	if err != nil {
		return 0, err
	}
	if t == nil {
		return 0, errNoTable(n.Table)
	}
	if err := copyable(t, "to"); err != nil {
		return 0, err
	}
	if o.freeze && !c.Changed() {
		return 0, pgerr.New(pgerr.ObjectNotInPrerequisiteState,
			"cannot perform COPY FREEZE because the table was not created or truncated in the current subtransaction")
	}
	names := n.Columns
	if names == nil {
		for _, col := range t.Columns {
			if col.Generated == nil && !col.Hidden {
				names = append(names, col.Name)
			}
		}
	}
	p, err := plan.PrepareCopyFrom(ctx, n.Table, names, n.Where, s.planEnv(c, src))
	if err != nil {
		return 0, err
	}
	var env exec.Env
	if s.txn.readOnly && s.refusesWrite(p) != nil {
		return 0, errReadOnly("COPY FROM")
	}
	if err := s.prepareEnv(ctx, &env, p, nil); err != nil {
		return 0, err
	}
	ins, err := exec.NewInserter(ctx, p, &env)
	if err != nil {
		return 0, err
	}
	r := &copyReader{s: s, o: o, table: t.Name, names: names, types: p.ParamTypes, ins: ins, row: make([]types.Datum, len(names))}
	if r.notNull, err = copyColumnSet(names, o.forceNotNull, "FORCE_NOT_NULL"); err != nil {
		return 0, err
	}
	if r.null, err = copyColumnSet(names, o.forceNull, "FORCE_NULL"); err != nil {
		return 0, err
	}
	if r.src, err = s.out.BeginCopyIn(len(names), o.wire()); err != nil {
		return 0, err
	}
	if err := r.run(ctx); err != nil {
		ins.Close(ctx)
		return 0, r.locate(err)
	}
	res, err := ins.Close(ctx)
	if err == nil {
		s.srv.cfg.Catalog.NoteChanges(t.ID, res.Rows)
	}
	return res.Rows, err
}

func copyColumnSet(names, wanted []string, option string) ([]bool, error) {
	if wanted == nil {
		return nil, nil
	}
	set := make([]bool, len(names))
	if len(wanted) == 1 && wanted[0] == "*" {
		for i := range set {
			set[i] = true
		}
		return set, nil
	}
	for _, name := range wanted {
		i := slices.Index(names, name)
		if i < 0 {
			return nil, pgerr.New(pgerr.InvalidColumnReference, "%s column \"%s\" not referenced by COPY", option, name)
		}
		set[i] = true
	}
	return set, nil
}

// copyReader takes COPY data apart into rows.
type copyReader struct {
	s       *Session
	o       *copyOptions
	src     CopySource
	table   string
	names   []string
	types   []*types.T
	notNull []bool // FORCE_NOT_NULL
	null    []bool // FORCE_NULL
	ins     *exec.Inserter
	row     []types.Datum
	buf     []byte // received and not yet consumed
	scanned int    // of buf: no line end before it
	inQuote bool   // state of the CSV scan at scanned
	line    int64
	column  int    // being read, for errors; -1 outside
	text    string // of the column or line, for errors
	started bool
	fields  []string
	isNull  []bool
	scratch []byte
}

// maxCopyLine bounds one row.
const maxCopyLine = 64 << 20

func (r *copyReader) run(ctx context.Context) error {
	r.column = -1
	ended := false
	for {
		chunk, err := r.src.NextCopyData()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if ended {
			continue // the rest after \. is read and dropped
		}
		r.buf = append(r.buf, chunk...)
		if err := ctx.Err(); err != nil {
			return err
		}
		if ended, err = r.consume(ctx, false); err != nil {
			return err
		}
		if len(r.buf) > maxCopyLine {
			return pgerr.New(pgerr.ProgramLimitExceeded, "COPY line exceeds %d bytes", maxCopyLine)
		}
	}
	if ended {
		return nil
	}
	_, err := r.consume(ctx, true)
	return err
}

// consume handles the complete rows in buf; at the end of the data, all of it.
func (r *copyReader) consume(ctx context.Context, final bool) (ended bool, err error) {
	if r.o.format == copyBinary {
		return r.consumeBinary(ctx, final)
	}
	rest := r.buf
	for len(rest) > 0 {
		var line []byte
		n := r.lineEnd(rest, final)
		if n < 0 {
			break
		}
		line, rest = rest[:n], rest[n:]
		r.scanned, r.inQuote = 0, false
		r.line++
		line = trimLineEnd(line)
		if string(line) == `\.` {
			return true, nil
		}
		if !r.started {
			r.started = true
			if r.o.header {
				if err := r.checkHeader(line); err != nil {
					return false, err
				}
				continue
			}
		}
		if err := r.addLine(ctx, line); err != nil {
			return false, err
		}
	}
	r.buf = r.buf[:copy(r.buf, rest)]
	return false, nil
}

func trimLineEnd(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line
}

// lineEnd returns the length of the first line of b with its end, -1 when it is not complete.
func (r *copyReader) lineEnd(b []byte, final bool) int {
	if r.o.format == copyText {
		from := r.scanned
		for {
			i := bytes.IndexByte(b[from:], '\n')
			if i < 0 {
				break
			}
			i += from
			slashes := 0
			for k := i - 1; k >= 0 && b[k] == '\\'; k-- {
				slashes++
			}
			if slashes%2 == 0 {
				return i + 1
			}
			from = i + 1 // an escaped newline is data
		}
	} else {
		for i := r.scanned; i < len(b); i++ {
			switch c := b[i]; {
			case r.inQuote && c == r.o.escape && r.o.escape != r.o.quote:
				if i+1 == len(b) && !final {
					r.scanned = i
					return -1
				}
				if i+1 < len(b) && (b[i+1] == r.o.quote || b[i+1] == r.o.escape) {
					i++
				}
			case c == r.o.quote:
				r.inQuote = !r.inQuote
			case c == '\n' && !r.inQuote:
				return i + 1
			}
		}
	}
	r.scanned = len(b)
	if final {
		return len(b)
	}
	return -1
}

// addLine inserts one row given as text.
func (r *copyReader) addLine(ctx context.Context, line []byte) error {
	r.text = string(line) // kept by the datums made of it
	if !utf8.ValidString(r.text) || strings.IndexByte(r.text, 0) >= 0 {
		return errEncoding()
	}
	var err error
	if r.o.format == copyCSV {
		err = r.splitCSV(r.text)
	} else {
		err = r.splitText(r.text)
	}
	if err != nil {
		return err
	}
	if len(r.names) == 0 && r.text == "" {
		r.fields = r.fields[:0]
	}
	if len(r.fields) > len(r.names) {
		return pgerr.New(pgerr.BadCopyFileFormat, "extra data after last expected column")
	}
	for i := range r.names {
		if i >= len(r.fields) {
			return pgerr.New(pgerr.BadCopyFileFormat, "missing data for column \"%s\"", r.names[i])
		}
		if r.isNull[i] {
			r.row[i] = types.Null
			continue
		}
		d, err := types.ParseText(r.fields[i], r.types[i], r.s.format)
		if err != nil {
			r.column, r.text = i, r.fields[i]
			return err
		}
		r.row[i] = d
	}
	return r.ins.Add(ctx, r.row)
}

// splitText splits a line of the text format.
func (r *copyReader) splitText(line string) error {
	r.fields, r.isNull = r.fields[:0], r.isNull[:0]
	plain := strings.IndexByte(line, '\\') < 0
	for {
		i := r.delimiter(line, plain)
		field, last := line, i < 0
		if !last {
			field, line = line[:i], line[i+1:]
		}
		if field == r.o.null {
			r.fields, r.isNull = append(r.fields, ""), append(r.isNull, true)
		} else {
			if !plain {
				field = r.unescape(field)
			}
			r.fields, r.isNull = append(r.fields, field), append(r.isNull, false)
		}
		if last {
			return nil
		}
	}
}

// delimiter finds the next delimiter that no backslash escapes.
func (r *copyReader) delimiter(line string, plain bool) int {
	if plain {
		return strings.IndexByte(line, r.o.delim)
	}
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case '\\':
			i++
		case r.o.delim:
			return i
		}
	}
	return -1
}

// unescape resolves the backslash sequences of the text format.
func (r *copyReader) unescape(f string) string {
	if strings.IndexByte(f, '\\') < 0 {
		return f
	}
	b := r.scratch[:0]
	for i := 0; i < len(f); i++ {
		if f[i] != '\\' || i+1 == len(f) {
			b = append(b, f[i])
			continue
		}
		i++
		switch c := f[i]; {
		case c >= '0' && c <= '7':
			v := int(c - '0')
			for k := 0; k < 2 && i+1 < len(f) && f[i+1] >= '0' && f[i+1] <= '7'; k++ {
				i++
				v = v*8 + int(f[i]-'0')
			}
			b = append(b, byte(v))
		case c == 'x':
			v, n := 0, 0
			for n < 2 && i+1 < len(f) {
				h := strings.IndexByte("0123456789abcdef", f[i+1]|0x20)
				if h < 0 || f[i+1] < '0' {
					break
				}
				v, n, i = v*16+h, n+1, i+1
			}
			if n == 0 {
				b = append(b, 'x')
			} else {
				b = append(b, byte(v))
			}
		case c == 'b':
			b = append(b, '\b')
		case c == 'f':
			b = append(b, '\f')
		case c == 'n':
			b = append(b, '\n')
		case c == 'r':
			b = append(b, '\r')
		case c == 't':
			b = append(b, '\t')
		case c == 'v':
			b = append(b, '\v')
		default:
			b = append(b, c)
		}
	}
	r.scratch = b
	return string(b)
}

// splitCSV splits a line of the CSV format.
func (r *copyReader) splitCSV(line string) error {
	r.fields, r.isNull = r.fields[:0], r.isNull[:0]
	o := r.o
	i := 0
	for {
		b := r.scratch[:0]
		quoted, open := false, false
	field:
		for i < len(line) {
			c := line[i]
			switch {
			case open && c == o.escape && i+1 < len(line) && (line[i+1] == o.quote || line[i+1] == o.escape):
				b = append(b, line[i+1])
				i += 2
				continue
			case c == o.quote:
				open, quoted = !open, true
			case !open && c == o.delim:
				break field
			default:
				b = append(b, c)
			}
			i++
		}
		r.scratch = b
		if open {
			return pgerr.New(pgerr.BadCopyFileFormat, "unterminated CSV quoted field")
		}
		text := string(b)
		k := len(r.fields)
		null := !quoted && text == o.null
		if k < len(r.names) {
			if r.notNull != nil && r.notNull[k] {
				null = false
			}
			if r.null != nil && r.null[k] && quoted && text == o.null {
				null = true
			}
		}
		r.fields, r.isNull = append(r.fields, text), append(r.isNull, null)
		if i >= len(line) {
			return nil
		}
		i++ // the delimiter
	}
}

// checkHeader checks a HEADER MATCH line.
func (r *copyReader) checkHeader(line []byte) error {
	if !r.o.headerMatch {
		return nil
	}
	split := r.splitText
	if r.o.format == copyCSV {
		split = r.splitCSV
	}
	if err := split(string(line)); err != nil {
		return err
	}
	if len(r.fields) != len(r.names) {
		return pgerr.New(pgerr.BadCopyFileFormat, "wrong number of fields in header line: got %d, expected %d", len(r.fields), len(r.names))
	}
	for i, f := range r.fields {
		if f != r.names[i] {
			return pgerr.New(pgerr.BadCopyFileFormat, "column name mismatch in header line field %d: got \"%s\", expected \"%s\"", i+1, f, r.names[i])
		}
	}
	return nil
}

// consumeBinary handles complete rows of the binary format.
func (r *copyReader) consumeBinary(ctx context.Context, final bool) (ended bool, err error) {
	b := r.buf
	if !r.started {
		n := len(copyBinarySignature) + 8
		if len(b) < n {
			if final {
				return false, pgerr.New(pgerr.BadCopyFileFormat, "COPY file signature not recognized")
			}
			return false, nil
		}
		if string(b[:len(copyBinarySignature)]) != copyBinarySignature {
			return false, pgerr.New(pgerr.BadCopyFileFormat, "COPY file signature not recognized")
		}
		flags := binary.BigEndian.Uint32(b[n-8:])
		ext := int64(binary.BigEndian.Uint32(b[n-4:]))
		if flags>>16 != 0 {
			return false, pgerr.New(pgerr.BadCopyFileFormat, "unrecognized critical flags in COPY file header")
		}
		if ext > maxCopyLine {
			return false, pgerr.New(pgerr.BadCopyFileFormat, "invalid COPY file header (wrong length)")
		}
		if int64(len(b)-n) < ext {
			if final {
				return false, pgerr.New(pgerr.BadCopyFileFormat, "invalid COPY file header (wrong length)")
			}
			return false, nil
		}
		b = b[n+int(ext):]
		r.started = true
	}
	for {
		rest, done, more, err := r.binaryRow(ctx, b)
		if err != nil || done {
			return done, err
		}
		if more {
			if final && len(b) > 0 {
				return false, pgerr.New(pgerr.BadCopyFileFormat, "unexpected EOF in COPY data")
			}
			break
		}
		b = rest
	}
	r.buf = r.buf[:copy(r.buf, b)]
	return false, nil
}

// binaryRow takes one row off b. more: it is not complete.
func (r *copyReader) binaryRow(ctx context.Context, b []byte) (rest []byte, done, more bool, err error) {
	if len(b) < 2 {
		return b, false, true, nil
	}
	n := int(int16(binary.BigEndian.Uint16(b)))
	if n == -1 {
		return b[2:], true, false, nil
	}
	if n != len(r.names) {
		return nil, false, false, pgerr.New(pgerr.BadCopyFileFormat, "row field count is %d, expected %d", n, len(r.names))
	}
	rest = b[2:]
	start := rest
	for range n {
		if len(rest) < 4 {
			return b, false, true, nil
		}
		size := int64(int32(binary.BigEndian.Uint32(rest)))
		rest = rest[4:]
		if size < -1 || size > maxCopyLine {
			return nil, false, false, pgerr.New(pgerr.BadCopyFileFormat, "invalid field size")
		}
		if size > int64(len(rest)) {
			return b, false, true, nil
		}
		rest = rest[max(size, 0):]
	}
	r.line++
	for i := range n {
		size := int32(binary.BigEndian.Uint32(start))
		start = start[4:]
		if size < 0 {
			r.row[i] = types.Null
			continue
		}
		d, err := types.ParseBinary(start[:size], r.types[i], r.s.format)
		if err != nil {
			r.column, r.text = i, ""
			return nil, false, false, err
		}
		r.row[i] = d
		start = start[size:]
	}
	return rest, false, false, r.ins.Add(ctx, r.row)
}

// locate adds where in the data an error arose.
func (r *copyReader) locate(err error) error {
	e := *WireError(err)
	if e.Severity == pgerr.SeverityFatal || retryable(err) {
		return err
	}
	where := "COPY " + r.table + ", line " + itoa(int(r.line))
	if r.column >= 0 {
		where += ", column " + r.names[r.column]
	}
	if r.text != "" {
		text := r.text
		if len(text) > 100 {
			text = text[:100] + "..."
		}
		where += ": \"" + text + "\""
	}
	if e.Where == "" && r.line > 0 {
		e.Where = where
	}
	return &e
}
