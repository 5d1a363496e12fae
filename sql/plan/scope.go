package plan

import (
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// rel is an item of FROM with the columns that it offers.
type rel struct {
	schema, alias string
	cols          []relCol
	table         *Table
	scan          *Scan
	app           *Append // of a partitioned table
	oid           Expr    // tableoid, when it differs by row
	xmax          Expr    // xmax, where it can be other than 0
	ctid          Expr    // ctid, when it is made differently by row
	// nullable: an outer join may leave the relation's columns empty.
	nullable bool
	// aliased: the name is an alias, so that the table's own schema does not qualify it.
	aliased bool
}

// relCol is one column of a rel.
type relCol struct {
	name   string
	expr   Expr
	table  uint32 // origin, for RowDescription
	attnum int16
	hidden bool // found by name only, not part of *
}

// nsItem makes a rel visible in a scope. A join with USING hides the columns of its sides, which stay
// reachable by qualified names.
type nsItem struct {
	rel        *rel
	relVisible bool // by qualified name
	colVisible bool // by bare column name and in *
}

// scope is where an expression's names are looked up: the items of FROM, then the enclosing query's.
type scope struct {
	b      *binder
	parent *scope
	items  []nsItem
	// target is the relation that UPDATE or DELETE changes, in their FROM lists: LATERAL finds it and may not use it.
	target *rel
	// unseen is the target of a MERGE, in a clause for rows that have none.
	unseen *rel
	q      *query
	inWith bool // of a data-modifying WITH query
	ctes   *cteScope
	// clause names the part of the statement for errors: "WHERE". What is allowed there follows.
	clause    string
	noAgg     bool
	noWindow  bool
	noSRF     bool
	inAgg     bool // inside the arguments of an aggregate
	inWindow  bool
	chooses   string // CASE or COALESCE, whose arguments may go unevaluated: no set-returning function there
	noColumns string // column references are refused with this message (VALUES, LIMIT)
	colErr    string // SQLSTATE of noColumns
	// keepUnknown leaves untyped targets as they are: branches of a set operation take each other's types.
	keepUnknown bool
	// hint are the types that untyped targets of a query take: the columns of INSERT ... SELECT.
	hint []*types.T
}

// query is the state of one SELECT level.
type query struct {
	parent  *query
	aggs    []*AggFunc
	windows []*windowSpec
	named   map[string]*ast.WindowDef
	srfs    []*SetCall
	hasAgg  bool
	// grouping refers to GROUPING() calls, whose masks are known once the sets are.
	grouping []*Grouping
}

// cteScope is a chain of visible WITH entries.
type cteScope struct {
	parent *cteScope
	name   string
	def    *cteDef
}

// in returns a copy of s for another clause.
func (s *scope) in(clause string, noAgg, noWindow, noSRF bool) *scope {
	c := *s
	c.clause, c.noAgg, c.noWindow, c.noSRF = clause, noAgg, noWindow, noSRF
	return &c
}

// child returns the scope in which a subquery of s is bound.
func (s *scope) child() *scope {
	return &scope{b: s.b, parent: s, ctes: s.ctes, q: &query{parent: s.q}}
}

func errAt(pos int32, code, format string, args ...any) *pgerr.Error {
	return pgerr.New(code, format, args...).WithPosition(int(ast.PgPos(pos)))
}

// at adds a position to an error that has none.
func at(err error, pos int32) error {
	if e, ok := err.(*pgerr.Error); ok && pos >= 0 {
		if e.Position == 0 {
			c := *e
			c.Position = int(ast.PgPos(pos))
			return &c
		}
	}
	return err
}

// column resolves a column reference. In a function, a name that is no column may be a variable's.
func (s *scope) column(r *ast.ColumnRef) (Expr, error) {
	vars := s.b.env.Variables
	if vars == nil || s.b.stored > 0 {
		return s.tableColumn(r)
	}
	x, err := s.tableColumn(r)
	v, used, ok := vars.Variable(r.Fields)
	if !ok {
		return x, err
	}
	if err == nil && vars.Conflict() == PreferColumn {
		return x, nil
	}
	if err == nil && vars.Conflict() == AmbiguousName {
		return nil, errAt(r.Off, pgerr.AmbiguousColumn, "column reference %q is ambiguous", strings.Join(r.Fields, ".")).
			WithDetail("It could refer to either a PL/pgSQL variable or a table column.")
	}
	if c := pgerr.Code(err); err != nil && c != pgerr.UndefinedColumn && c != pgerr.UndefinedTable && c != s.colErr {
		return nil, err
	}
	p, err := s.b.param(&ast.Param{Number: v + 1, Pos: r.Pos})
	if err != nil {
		return nil, err
	}
	for _, f := range r.Fields[used:] {
		if p, err = vars.Field(p, f, r.Off, s.field); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (s *scope) tableColumn(r *ast.ColumnRef) (Expr, error) {
	f := r.Fields
	if s.noColumns != "" {
		return nil, errAt(r.Off, s.colErr, "%s", s.noColumns)
	}
	switch len(f) {
	case 1:
		e, _, err := s.bare(f[0], r.Off)
		if err != nil {
			return nil, err
		}
		if e != nil {
			return e, nil
		}
		// A relation's name alone is its whole row.
		if rl, err := s.findRel("", f[0], r.Off); err != nil {
			return nil, err
		} else if rl != nil {
			return s.wholeRow(rl), nil
		}
		return nil, s.noColumn("", f[0], r.Off)
	case 2, 3, 4:
		name := f[len(f)-1]
		schema := ""
		if len(f) >= 3 {
			schema = f[len(f)-3]
		}
		rl, err := s.findRel(schema, f[len(f)-2], r.Off)
		if err != nil {
			return nil, err
		}
		if rl == nil {
			// column.field of a composite column
			if len(f) == 2 {
				if e, _, err := s.bare(f[0], r.Off); err == nil && e != nil && e.Type().Kind == types.KindTuple {
					return s.field(e, f[1], r.Off)
				}
			}
			return nil, s.missingRel(f[len(f)-2], r.Off)
		}
		if e, err := rl.column(name, r.Off); err != nil || e != nil {
			for i := range rl.cols {
				if rl.cols[i].name == name {
					s.b.reads(&rl.cols[i])
					if err == nil {
						err = s.knowsWriter(&rl.cols[i], r.Off)
					}
				}
			}
			if err == nil && name != "tableoid" && s.clause == mergeWhen && !slices.ContainsFunc(rl.cols, func(c relCol) bool { return c.name == name }) {
				err = errMergeWhen(name, r.Off)
			}
			return s.captured(e, r.Off), err
		}
		row := &ast.ColumnRef{Fields: f[:len(f)-1], Pos: r.Pos}
		if e, err := s.attribute(row, name, r.Off); e != nil || err != nil {
			return e, err
		}
		return nil, s.noColumn(rl.alias, name, r.Off)
	}
	return nil, errAt(r.Off, pgerr.SyntaxError, "improper qualified name (too many dotted names): %s", strings.Join(f, "."))
}

// knowsWriter refuses xmin while the cluster has nodes that do not keep it: two updates could show the same.
func (s *scope) knowsWriter(c *relCol, pos int32) error {
	if !c.hidden || c.attnum != xminAttNum {
		return nil
	}
	if s.clause == mergeWhen {
		return errMergeWhen(c.name, pos)
	}
	if s.b.env.Anonymous {
		return errAt(pos, pgerr.ObjectNotInPrerequisiteState, "xmin is not known before all nodes of the cluster run a build that keeps it")
	}
	return nil
}

func errMergeWhen(name string, pos int32) error {
	return errAt(pos, pgerr.InvalidColumnReference, "cannot use system column %q in MERGE WHEN condition", name)
}

// captured stamps a column's position for later errors.
func (s *scope) captured(e Expr, pos int32) Expr {
	if c, ok := e.(*Col); ok {
		k := *c
		k.Pos = pos
		return &k
	}
	return e
}

// bare finds an unqualified column, in this query or an enclosing one.
func (s *scope) bare(name string, pos int32) (Expr, *relCol, error) {
	for sc := s; sc != nil; sc = sc.parent {
		var found *relCol
		for _, it := range sc.items {
			if !it.colVisible {
				continue
			}
			for i := range it.rel.cols {
				if it.rel.cols[i].name == name {
					if found != nil {
						return nil, nil, errAt(pos, pgerr.AmbiguousColumn, "column reference %q is ambiguous", name)
					}
					found = &it.rel.cols[i]
				}
			}
		}
		if found != nil {
			s.b.reads(found)
			return s.captured(found.expr, pos), found, s.knowsWriter(found, pos)
		}
	}
	for _, it := range s.items {
		if e, err := it.rel.system(name, pos); e != nil || err != nil {
			if s.clause == mergeWhen && name != "tableoid" {
				err = errMergeWhen(name, pos)
			}
			return e, nil, err
		}
	}
	return nil, nil, nil
}

// system is a system column of a table, nil for other names. Rows that a transaction can see have nobody who deleted
// or locked them, but for those that ON CONFLICT DO UPDATE has just locked to change them: RETURNING xmax = 0, by which
// programs tell what was inserted, is as in PostgreSQL.
func (r *rel) system(name string, pos int32) (Expr, error) {
	switch {
	case r.table == nil:
	case name == "tableoid":
		return r.tableOID(), nil
	case r.table.Kind == View:
	case name == "xmax":
		if r.xmax != nil {
			return r.xmax, nil
		}
		return &Const{D: types.NewInt(0), T: types.Xid}, nil
	case name == "xmin":
		return &Const{D: types.NewInt(FrozenXid), T: types.Xid}, nil // of relations whose rows are made up, or kept without it
	case name == "cmin" || name == "cmax":
		return &Const{D: types.NewInt(0), T: types.Cid}, nil
	case name == "ctid":
		return r.tid(pos)
	}
	return nil, nil
}

func (r *rel) tableOID() Expr {
	if r.oid != nil {
		return r.oid
	}
	return &Const{D: types.NewInt(int64(r.table.ID)), T: types.Oid}
}

func (r *rel) column(name string, pos int32) (Expr, error) {
	var found Expr
	for i := range r.cols {
		if r.cols[i].name == name {
			if found != nil {
				return nil, errAt(pos, pgerr.AmbiguousColumn, "column reference %q is ambiguous", name)
			}
			found = r.cols[i].expr
		}
	}
	if found == nil {
		return r.system(name, pos)
	}
	return found, nil
}

// findRel finds a relation by its alias, or by schema and name.
func (s *scope) findRel(schema, name string, pos int32) (*rel, error) {
	for sc := s; sc != nil; sc = sc.parent {
		var found *rel
		for _, it := range sc.items {
			if !it.relVisible || it.rel.alias != name {
				continue
			}
			if schema != "" && (it.rel.aliased || it.rel.schema != schema) {
				continue
			}
			if found != nil {
				return nil, errAt(pos, pgerr.AmbiguousAlias, "table reference %q is ambiguous", name)
			}
			found = it.rel
		}
		if found != nil {
			return found, nil
		}
	}
	return nil, nil
}

// targetReference is the error of a reference from a LATERAL item to the target of the statement.
func targetReference(t *rel, pos int32) error {
	return errAt(pos, pgerr.InvalidColumnReference, "invalid reference to FROM-clause entry for table %q", t.alias).
		WithHint("There is an entry for table \"%s\", but it cannot be referenced from this part of the query.", t.alias)
}

func (s *scope) missingRel(name string, pos int32) error {
	for sc := s; sc != nil; sc = sc.parent {
		if sc.target != nil && sc.target.alias == name {
			return targetReference(sc.target, pos)
		}
	}
	for sc := s; sc != nil; sc = sc.parent {
		for _, it := range sc.items {
			if it.rel.aliased && it.rel.table != nil && it.rel.table.Name == name {
				return errAt(pos, pgerr.UndefinedTable, "invalid reference to FROM-clause entry for table %q", name).
					WithHint("Perhaps you meant to reference the table alias \"%s\".", it.rel.alias)
			}
		}
	}
	for sc := s; sc != nil; sc = sc.parent {
		known := slices.Contains(sc.b.hiddenRels, name)
		for _, it := range sc.items {
			known = known || it.relVisible && it.rel.alias == name // of another schema
		}
		if known {
			return errAt(pos, pgerr.UndefinedTable, "invalid reference to FROM-clause entry for table %q", name).
				WithHint("There is an entry for table \"%s\", but it cannot be referenced from this part of the query.", name)
		}
	}
	for sc := s; sc != nil; sc = sc.parent {
		if sc.unseen != nil && sc.unseen.alias == name {
			return errAt(pos, pgerr.UndefinedTable, "invalid reference to FROM-clause entry for table %q", name).
				WithHint("There is an entry for table \"%s\", but it cannot be referenced from this part of the query.", name)
		}
	}
	return errAt(pos, pgerr.UndefinedTable, "missing FROM-clause entry for table %q", name)
}

func (s *scope) noColumn(rel, name string, pos int32) error {
	for sc := s; sc != nil && rel == ""; sc = sc.parent {
		if sc.target != nil && slices.ContainsFunc(sc.target.cols, func(c relCol) bool { return c.name == name }) {
			return targetReference(sc.target, pos)
		}
	}
	var e *pgerr.Error
	if rel != "" {
		e = errAt(pos, pgerr.UndefinedColumn, "column %s.%s does not exist", rel, name)
	} else {
		e = errAt(pos, pgerr.UndefinedColumn, "column %q does not exist", name)
	}
	if rel == "" {
		for _, it := range s.items {
			if !it.relVisible {
				continue
			}
			for _, c := range it.rel.cols {
				if !c.hidden && closeName(c.name, name) {
					return e.WithHint("Perhaps you meant to reference the column \"%s.%s\".", it.rel.alias, c.name)
				}
			}
		}
	}
	return e
}

// closeName reports whether b is likely a misspelling of a.
func closeName(a, b string) bool {
	if len(a) < 3 || len(b) < 3 || a == b {
		return false
	}
	prev := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur := make([]int, len(b)+1)
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
		}
		prev = cur
	}
	return prev[len(b)] <= 3 && prev[len(b)]*2 <= len(b)
}

// wholeRow is the row value of a relation.
func (s *scope) wholeRow(r *rel) Expr {
	row := &Row{}
	for i, c := range r.cols {
		if !c.hidden {
			s.b.reads(&r.cols[i])
			row.Elems = append(row.Elems, c.expr)
			row.Names = append(row.Names, c.name)
		}
	}
	if len(row.Elems) == 1 && r.table == nil && r.scan == nil && r.scalarFunc() {
		return row.Elems[0]
	}
	row.T = rowType(row.Elems, row.Names)
	row.Whole = r.nullable
	return row
}

// scalarFunc reports whether the relation is a function with a scalar result, whose name is its value.
func (r *rel) scalarFunc() bool { return len(r.cols) == 1 && r.cols[0].name == r.alias }

// rowType is the record type of these fields.
func rowType(elems []Expr, names []string) *types.T {
	def := &types.Def{}
	for i, e := range elems {
		n := ""
		if i < len(names) {
			n = names[i]
		}
		def.Fields = append(def.Fields, types.Field{Name: n, Type: e.Type()})
	}
	t := *types.Record
	t.Def = def
	return &t
}

func (s *scope) field(e Expr, name string, pos int32) (Expr, error) {
	t := e.Type().BaseType()
	if t.Def != nil {
		for i, f := range t.Def.Fields {
			if f.Name == name {
				return &Field{Arg: e, N: i, T: f.Type, Name: name}, nil
			}
		}
	}
	if t.Kind != types.KindTuple {
		return nil, errAt(pos, pgerr.WrongObjectType, "column notation .%s applied to type %s, which is not a composite type", name, types.TypeName(t))
	}
	if t.OID == types.OIDRecord {
		return nil, errAt(pos, pgerr.UndefinedColumn, "could not identify column %q in record data type", name)
	}
	return nil, errAt(pos, pgerr.UndefinedColumn, "column %q not found in data type %s", name, types.TypeName(t))
}

// star expands * or rel.*.
func (s *scope) star(r *ast.ColumnRef) ([]relCol, error) {
	var out []relCol
	if len(r.Fields) > 0 {
		schema := ""
		if len(r.Fields) > 1 {
			schema = r.Fields[len(r.Fields)-2]
		}
		name := r.Fields[len(r.Fields)-1]
		rl, err := s.findRel(schema, name, r.Off)
		if err != nil {
			return nil, err
		}
		if rl == nil {
			return nil, s.missingRel(name, r.Off)
		}
		for _, c := range rl.cols {
			if !c.hidden {
				s.b.reads(&c)
				out = append(out, c)
			}
		}
		return out, nil
	}
	any := false
	for _, it := range s.items {
		if !it.colVisible {
			continue
		}
		any = true
		for _, c := range it.rel.cols {
			if !c.hidden {
				s.b.reads(&c)
				out = append(out, c)
			}
		}
	}
	if !any {
		return nil, errAt(r.Off, pgerr.SyntaxError, "SELECT * with no tables specified is not valid")
	}
	return out, nil
}
