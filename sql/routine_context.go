package sql

import (
	"slices"
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plpgsql"
	"github.com/meridian-db/meridian/sql/types"
)

// The context of an error (the protocol's field W) has a line for each function and query that was running, the innermost
// first. A frame makes one of them; the session keeps those that are running, and the innermost that an error leaves has
// all of them written down, so that a handler further out finds them too.

// frame is a call or query that is running. Where is its line, or "".
type frame interface{ Where() string }

// enterFrame notes that a frame runs. What it returns notes that it has ended, and gives an error that leaves it its context.
func (s *Session) enterFrame(f frame, err *error) (leave func()) {
	n := len(s.routines.frames)
	s.routines.frames = append(s.routines.frames, f)
	return func() {
		if e, ok := (*err).(*pgerr.Error); ok {
			*err = s.inContext(e)
		}
		s.routines.frames = s.routines.frames[:n]
	}
}

// inContext gives an error its context, unless it has come from further in and has it.
func (s *Session) inContext(e *pgerr.Error) *pgerr.Error {
	return e.Within(func() string { return s.callContext(e) })
}

// callContext is the context of now. A query has no line if the error shows it by itself, with the position in it, and if a loop
// reads its rows: PostgreSQL fetches those from a cursor.
func (s *Session) callContext(e *pgerr.Error) string {
	var lines []string
	for i, f := range slices.Backward(s.routines.frames) {
		if q, ok := f.(queryFrame); ok {
			if e != nil && i == len(s.routines.frames)-1 && e.InternalPos > 0 && e.InternalQuery == q.Source {
				continue
			}
			if m, ok := s.routines.frames[max(i-1, 0)].(*plpgsql.Machine); ok && !q.Expr && m.Fetching() {
				continue
			}
		}
		if line := f.Where(); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// placedIn makes an error's position one in a text that is not what the client sent; shift is how far the text that was
// parsed is ahead of it.
func placedIn(err error, text string, shift int) error {
	e, ok := err.(*pgerr.Error)
	if !ok || e.Position == 0 || text == "" {
		return unplaced(err)
	}
	k := *e
	k.Position, k.InternalPos, k.InternalQuery = 0, e.Position-shift, text
	return &k
}

// queryFrame is a query of a function in PL/pgSQL.
type queryFrame struct{ *plpgsql.Query }

// Where implements frame.
func (q queryFrame) Where() string {
	switch {
	case q.Assign:
		return `PL/pgSQL assignment "` + q.Source + `"`
	case q.Expr:
		return `SQL expression "` + q.Source + `"`
	}
	return `SQL statement "` + q.Source + `"`
}

// sqlFrame is a call of a function in SQL: stmt counts from 1, and is 0 while the body is being planned.
type sqlFrame struct {
	name   string
	stmt   int
	inline bool
}

// Where implements frame.
func (f *sqlFrame) Where() string {
	switch {
	case f.inline:
		return ""
	case f.stmt == 0:
		return `SQL function "` + f.name + `" during startup`
	}
	return `SQL function "` + f.name + `" statement ` + strconv.Itoa(f.stmt)
}

// inlined reports whether PostgreSQL would put the body of a function in SQL into the query that calls it, where errors know
// nothing of the function: a SELECT without anything but one expression.
func inlined(f *catalog.Function, code *routineCode, ret plpgsql.Return) bool {
	if len(code.sql) != 1 || f.Definer || len(f.Settings) > 0 || ret.Set || ret.Void || ret.Type.Kind == types.KindTuple {
		return false
	}
	sel, ok := code.sql[0].node.(*ast.SelectStmt)
	return ok && sel.Op == ast.SetNone && len(sel.Targets) == 1 && len(sel.From) == 0 && sel.With == nil && sel.Where == nil &&
		len(sel.GroupBy) == 0 && sel.Windows == nil && sel.Having == nil && len(sel.OrderBy) == 0 && sel.Limit == nil && sel.Offset == nil && len(sel.Values) == 0
}

// routineSignature names a function as regprocedure prints it, and a DO block.
func (s *Session) routineSignature(f *catalog.Function) string {
	if f.ID == 0 {
		return f.Name
	}
	var b strings.Builder
	if v, ok := s.txn.catalog.(*catalogView); ok {
		if schema := v.snap.SchemaName(f.Schema); !slices.Contains(s.path(), schema) {
			b.WriteString(types.QuoteIdent(schema) + ".")
		}
	}
	b.WriteString(types.QuoteIdent(f.Name) + "(")
	for i, a := range f.Inputs() {
		if i > 0 {
			b.WriteByte(',')
		}
		if t := s.resolveType(a.Type.OID); t != nil {
			b.WriteString(types.TypeName(t))
		}
	}
	b.WriteByte(')')
	return b.String()
}
