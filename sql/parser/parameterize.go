package parser

import (
	"github.com/meridian-db/meridian/sql/ast"
)

// Template says how a parsed statement's parameters come from the literals of a text with the same key.
type Template struct {
	// Params[k] is the literal that is parameter k+1.
	Params []ParamLiteral
	// Fixed are the literals that stayed part of the tree: a text with other values there is another
	// statement.
	Fixed []FixedLiteral
}

// ParamLiteral is a literal that became a parameter.
type ParamLiteral struct {
	Literal int // index into Normalizer.Lits
	Negate  bool
	Kind    ast.ConstKind
}

// FixedLiteral is a literal whose text must be the same.
type FixedLiteral struct {
	Literal int
	Text    string
}

// Match reports whether the statement that the template was made from is the one in text, given that the keys
// are equal. It does not allocate.
func (t *Template) Match(text string, lits []Literal) bool {
	for i := range t.Fixed {
		f := &t.Fixed[i]
		if l := lits[f.Literal]; text[l.Start:l.End] != f.Text {
			return false
		}
	}
	return true
}

// Parameterize replaces literals of a statement by parameters and says which. The statement is the one parsed
// from text, whose literals Scan found; it must not be shared yet. A literal stays where it is not simply a
// value: in ORDER BY 1 and GROUP BY 1, in LIMIT and OFFSET, under a cast, in the expressions that grouping
// compares with one another, in ON CONFLICT targets.
func Parameterize(st *ast.Statement, text string, lits []Literal) *Template {
	p := &parameterizer{lits: lits, base: st.NumParams, used: make([]bool, len(lits)), t: &Template{}}
	if st.NumParams == 0 {
		p.stmt(st.Stmt)
		st.NumParams = len(p.t.Params)
	}
	for i, used := range p.used {
		if !used {
			p.t.Fixed = append(p.t.Fixed, FixedLiteral{i, text[lits[i].Start:lits[i].End]})
		}
	}
	return p.t
}

type parameterizer struct {
	lits []Literal
	base int
	used []bool
	t    *Template
}

// find returns the literal at or, for a folded minus sign, right after an offset, -1 if there is none.
func (p *parameterizer) find(off int32, exact bool) int {
	lo, hi := 0, len(p.lits)
	for lo < hi {
		if m := (lo + hi) / 2; p.lits[m].Start < off {
			lo = m + 1
		} else {
			hi = m
		}
	}
	if lo == len(p.lits) || p.used[lo] || exact && p.lits[lo].Start != off {
		return -1
	}
	return lo
}

// expr replaces the literals at and under a slot.
func (p *parameterizer) expr(slot *ast.Expr) {
	if *slot == nil {
		return
	}
	switch e := (*slot).(type) {
	case *ast.Const:
		p.constant(slot, e)
		return
	case *ast.TypeCast:
		if _, ok := e.Arg.(*ast.Const); ok {
			return
		}
	}
	ast.Children(*slot, p.expr, p.selectStmt)
}

func (p *parameterizer) constant(slot *ast.Expr, c *ast.Const) {
	negative := false
	switch c.Kind {
	case ast.ConstInt, ast.ConstBigInt:
		negative = c.Int < 0
	case ast.ConstNumeric:
		negative = c.Str != "" && c.Str[0] == '-'
	case ast.ConstString:
	default:
		return
	}
	i := p.find(c.Off, !negative)
	if i < 0 {
		return
	}
	l := p.lits[i]
	// Belt and braces: the tree's value must be the literal's.
	switch {
	case l.Kind != c.Kind:
		return
	case c.Kind == ast.ConstInt || c.Kind == ast.ConstBigInt:
		if v := c.Int; v != l.Int && -v != l.Int || negative == (v == l.Int) && v != 0 {
			return
		}
	}
	p.used[i] = true
	p.t.Params = append(p.t.Params, ParamLiteral{Literal: i, Negate: negative, Kind: c.Kind})
	*slot = &ast.Param{Number: p.base + len(p.t.Params), Literal: c.Kind, Pos: c.Pos}
}

func (p *parameterizer) stmt(s ast.Stmt) {
	switch s := s.(type) {
	case *ast.SelectStmt:
		p.selectStmt(s)
	case *ast.InsertStmt:
		p.with(s.With)
		p.selectStmt(s.Select)
		if c := s.OnConflict; c != nil {
			p.targets(c.Set)
			p.expr(&c.Where)
		}
		p.returning(s.Returning)
	case *ast.UpdateStmt:
		p.with(s.With)
		p.targets(s.Set)
		p.from(s.From)
		p.expr(&s.Where)
		p.returning(s.Returning)
	case *ast.DeleteStmt:
		p.with(s.With)
		p.from(s.Using)
		p.expr(&s.Where)
		p.returning(s.Returning)
	}
}

func (p *parameterizer) with(w *ast.WithClause) {
	if w == nil {
		return
	}
	for _, c := range w.CTEs {
		p.stmt(c.Query)
	}
}

func (p *parameterizer) targets(ts []*ast.Target) {
	for _, t := range ts {
		// The columns of one multiple assignment share its source.
		if m, ok := t.Expr.(*ast.MultiAssign); ok && m.Column > 1 {
			continue
		}
		p.expr(&t.Expr)
	}
	// The copies of the source in the other columns follow the first one's.
	for i, t := range ts {
		if m, ok := t.Expr.(*ast.MultiAssign); ok && m.Column > 1 && i > 0 {
			if prev, ok := ts[i-1].Expr.(*ast.MultiAssign); ok {
				m.Source = prev.Source
			}
		}
	}
}

func (p *parameterizer) returning(r *ast.Returning) {
	if r != nil {
		p.targets(r.Targets)
	}
}

func (p *parameterizer) from(refs []ast.TableRef) {
	for _, r := range refs {
		p.tableRef(r)
	}
}

func (p *parameterizer) tableRef(r ast.TableRef) {
	switch r := r.(type) {
	case *ast.JoinRef:
		p.tableRef(r.Left)
		p.tableRef(r.Right)
		p.expr(&r.On)
	case *ast.SubqueryRef:
		p.selectStmt(r.Select)
	case *ast.FunctionRef:
		for i := range r.Funcs {
			p.expr(&r.Funcs[i].Func)
		}
	case *ast.TableSample:
		p.tableRef(r.Table)
	}
}

func (p *parameterizer) selectStmt(s *ast.SelectStmt) {
	if s == nil {
		return
	}
	p.with(s.With)
	if s.Op != ast.SetNone {
		p.selectStmt(s.Left)
		p.selectStmt(s.Right)
		return
	}
	for _, row := range s.Values {
		for i := range row {
			p.expr(&row[i])
		}
	}
	p.from(s.From)
	p.expr(&s.Where)
	if len(s.GroupBy) > 0 || s.Distinct || len(s.OrderBy) > 0 && hasConstTarget(s) {
		// Grouping, DISTINCT and ORDER BY compare expressions: a+1 must stay equal to a+1.
		return
	}
	p.targets(s.Targets)
	p.expr(&s.Having)
	for _, o := range s.OrderBy {
		if _, ok := o.Expr.(*ast.Const); !ok {
			p.expr(&o.Expr)
		}
	}
}

// hasConstTarget reports whether an item of the select list is more than a column: ORDER BY may repeat it.
func hasConstTarget(s *ast.SelectStmt) bool {
	for _, t := range s.Targets {
		if _, ok := t.Expr.(*ast.ColumnRef); !ok {
			return true
		}
	}
	return false
}
