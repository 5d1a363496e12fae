package sql

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/exec"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// copyBinarySignature opens binary COPY data; flags and the length of the header extension follow it.
const copyBinarySignature = "PGCOPY\n\xff\r\n\x00"

// runCopy is COPY in both directions.
func (s *Session) runCopy(ctx context.Context, st *statement, n *ast.CopyStmt) error {
	if n.File != "" || n.Program {
		return pgerr.Unsupported("COPY to or from files and programs of the server is not supported").
			WithHint("Use COPY with STDIN or STDOUT, or psql's \\copy command.")
	}
	opts, err := parseCopyOptions(n)
	if err != nil {
		return err
	}
	own := s.txn.pristine()
	s.openImplicit()
	s.txn.replay.stop()
	var count int64
	if n.From {
		count, err = s.copyFrom(ctx, st, n, opts)
	} else {
		count, err = s.copyTo(ctx, st, n, opts, own)
	}
	if err == nil && own {
		err = s.commit(ctx)
	}
	if err != nil {
		if retryable(err) {
			s.txn.dead = true
		}
		return err
	}
	s.out.CompleteRows("COPY", count)
	return nil
}

// copyTo sends a table or a query's result.
func (s *Session) copyTo(ctx context.Context, src *statement, n *ast.CopyStmt, o *copyOptions, own bool) (int64, error) {
	query := n.Query
	if query == nil {
		sel, err := s.copySelect(ctx, n)
		if err != nil {
			return 0, err
		}
		query = sel
	}
	if _, ok := query.(*ast.MergeStmt); ok {
		return 0, pgerr.New(pgerr.FeatureNotSupported, "MERGE not supported in COPY")
	}
	st := &statement{text: src.text, from: src.from, to: src.to, node: query}
	p, err := s.ensurePlan(ctx, st)
	if err != nil {
		return 0, err
	}
	if len(p.Columns) == 0 && !returnsRows(query) {
		return 0, pgerr.New(pgerr.FeatureNotSupported, "COPY query must have a RETURNING clause")
	}
	s.txn.lone = own && p.ReadOnly
	if err := s.prepareEnv(ctx, &s.env, p, nil); err != nil {
		return 0, err
	}
	w := &copyWriter{s: s, o: o, cols: p.Columns}
	for _, name := range o.forceQuote {
		i := slices.IndexFunc(p.Columns, func(c Column) bool { return c.Name == name })
		if i < 0 {
			return 0, pgerr.New(pgerr.InvalidColumnReference, "FORCE_QUOTE column \"%s\" not referenced by COPY", name)
		}
		w.force = append(w.force, i)
	}
	s.out.BeginCopyOut(len(p.Columns), o.wire())
	if err := w.header(); err != nil {
		return 0, err
	}
	if _, err := exec.Run(ctx, p, &s.env, w.row); err != nil {
		return 0, err
	}
	if o.format == copyBinary {
		if w.count > 0 {
			w.buf = w.buf[:0]
		}
		if err := s.out.CopyData(append(w.buf, 0xff, 0xff)); err != nil {
			return 0, err
		}
	}
	s.out.EndCopyOut()
	return w.count, nil
}

// copySelect is the query for COPY table TO.
func (s *Session) copySelect(ctx context.Context, n *ast.CopyStmt) (*ast.SelectStmt, error) {
	c, err := s.pinCatalog(ctx)
	if err != nil {
		return nil, err
	}
	t, err := c.Table(s.path(), n.Table.Schema, n.Table.Name)
	if err != nil {
		return nil, err
	}
	if t == nil {
		return nil, errNoTable(n.Table)
	}
	if err := copyable(t, "from"); err != nil {
		return nil, err
	}
	names := n.Columns
	if names == nil {
		for _, col := range t.Columns {
			if col.Generated == nil && !col.Hidden {
				names = append(names, col.Name)
			}
		}
	}
	from := *n.Table
	from.Only = true // of what inherits from it nothing is copied
	sel := &ast.SelectStmt{From: []ast.TableRef{&from}, Pos: ast.Pos{Off: -1}}
	for i, name := range names {
		k := t.Column(name)
		if k < 0 {
			return nil, pgerr.New(pgerr.UndefinedColumn, "column \"%s\" of relation \"%s\" does not exist", name, t.Name)
		}
		if slices.Contains(names[:i], name) {
			return nil, pgerr.New(pgerr.DuplicateColumn, "column \"%s\" specified more than once", name)
		}
		if t.Columns[k].Generated != nil {
			return nil, pgerr.New(pgerr.InvalidColumnReference, "column \"%s\" is a generated column", name).
				WithDetail("Generated columns cannot be used in COPY.")
		}
		sel.Targets = append(sel.Targets, &ast.Target{Expr: &ast.ColumnRef{Fields: []string{name}, Pos: ast.Pos{Off: -1}}, Pos: ast.Pos{Off: -1}})
	}
	return sel, nil
}

// copyWriter formats rows as COPY data.
type copyWriter struct {
	s     *Session
	o     *copyOptions
	cols  []Column
	force []int // FORCE_QUOTE
	buf   []byte
	field []byte
	count int64
}

func (w *copyWriter) header() error {
	w.buf = w.buf[:0]
	switch {
	case w.o.format == copyBinary:
		w.buf = append(w.buf, copyBinarySignature...)
		w.buf = append(w.buf, 0, 0, 0, 0, 0, 0, 0, 0)
		return nil // it leaves with the first row: some clients take each message after it for one row
	case w.o.header:
		for i := range w.cols {
			if i > 0 {
				w.buf = append(w.buf, w.o.delim)
			}
			if w.o.format == copyCSV {
				w.buf = w.csv(w.buf, []byte(w.cols[i].Name), false)
			} else {
				w.buf = appendCopyText(w.buf, []byte(w.cols[i].Name), w.o.delim)
			}
		}
		w.buf = append(w.buf, '\n')
	default:
		return nil
	}
	return w.s.out.CopyData(w.buf)
}

func (w *copyWriter) row(row []types.Datum) error {
	w.count++
	if w.o.format == copyBinary {
		if w.count > 1 {
			w.buf = w.buf[:0]
		}
		return w.binary(row)
	}
	w.buf = w.buf[:0]
	for i, d := range row {
		if i > 0 {
			w.buf = append(w.buf, w.o.delim)
		}
		if d.IsNull() {
			w.buf = append(w.buf, w.o.null...)
			continue
		}
		w.field = types.AppendText(w.field[:0], d, w.cols[i].Type, w.s.format)
		if w.o.format == copyCSV {
			// A lone \. on a line would end the data for those who read it as text.
			force := w.o.quoteAll || slices.Contains(w.force, i) || len(row) == 1 && string(w.field) == `\.`
			w.buf = w.csv(w.buf, w.field, force)
		} else {
			w.buf = appendCopyText(w.buf, w.field, w.o.delim)
		}
	}
	w.buf = append(w.buf, '\n')
	return w.s.out.CopyData(w.buf)
}

func (w *copyWriter) binary(row []types.Datum) error {
	w.buf = binary.BigEndian.AppendUint16(w.buf, uint16(len(row)))
	for i, d := range row {
		if d.IsNull() {
			w.buf = append(w.buf, 0xff, 0xff, 0xff, 0xff)
			continue
		}
		at := len(w.buf)
		buf, err := types.AppendBinary(append(w.buf, 0, 0, 0, 0), d, w.cols[i].Type, w.s.format)
		if err != nil {
			return err
		}
		binary.BigEndian.PutUint32(buf[at:], uint32(len(buf)-at-4))
		w.buf = buf
	}
	return w.s.out.CopyData(w.buf)
}

// csv appends a field, quoted where needed.
func (w *copyWriter) csv(buf, field []byte, force bool) []byte {
	o := w.o
	if !force && string(field) != o.null && bytes.IndexByte(field, o.delim) < 0 && bytes.IndexByte(field, o.quote) < 0 &&
		bytes.IndexByte(field, '\n') < 0 && bytes.IndexByte(field, '\r') < 0 {
		return append(buf, field...)
	}
	buf = append(buf, o.quote)
	for _, b := range field {
		if b == o.quote || b == o.escape {
			buf = append(buf, o.escape)
		}
		buf = append(buf, b)
	}
	return append(buf, o.quote)
}

// appendCopyText appends a field with the escapes of the text format.
func appendCopyText(buf, field []byte, delim byte) []byte {
	for _, b := range field {
		switch b {
		case '\\':
			buf = append(buf, '\\', '\\')
		case '\b':
			buf = append(buf, '\\', 'b')
		case '\f':
			buf = append(buf, '\\', 'f')
		case '\n':
			buf = append(buf, '\\', 'n')
		case '\r':
			buf = append(buf, '\\', 'r')
		case '\t':
			buf = append(buf, '\\', 't')
		case '\v':
			buf = append(buf, '\\', 'v')
		default:
			if b == delim {
				buf = append(buf, '\\')
			}
			buf = append(buf, b)
		}
	}
	return buf
}
