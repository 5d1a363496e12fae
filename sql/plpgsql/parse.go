package plpgsql

import (
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// Types resolves the types of declarations.
type Types interface {
	// Type resolves a type's name as written.
	Type(name string) (*types.T, error)
	// ColumnType resolves column%TYPE of a table, RowType a table's row.
	ColumnType(names []string) (*types.T, error)
	RowType(names []string) (*types.T, error)
}

// Param is a parameter of the function: 'i', 'o', 'b', 'v' or 't'.
type Param struct {
	Name string
	Type *types.T
	Mode byte
}

// Signature says what a body belongs to.
type Signature struct {
	Name string
	// Display is the name with the types of its parameters, for the contexts of errors.
	Display string
	Params  []Param
	Trigger bool
	// EventTrigger functions have TG_EVENT and TG_TAG.
	EventTrigger bool
}

// maxDepth bounds the nesting of blocks.
const maxDepth = 200

type reader struct {
	src   string
	toks  []token
	pos   int
	fn    *Function
	in    *scope
	types Types
	depth int
	loops []string // labels of the loops around, "" without one
	catch int      // nesting of exception handlers

	lineFrom, lineNo int // where line has counted to
}

// Parse reads a body.
func Parse(src string, sig Signature, ts Types) (*Function, error) {
	toks, err := scan(src)
	if err != nil {
		return nil, err
	}
	r := &reader{src: src, toks: toks, types: ts, fn: &Function{Name: sig.Name, Signature: sig.Display, Old: -1, New: -1}}
	r.in = &scope{label: sig.Name, names: map[string]int{}}
	for i, p := range sig.Params {
		v := r.add(p.Name, p.Type)
		if p.Name != "" {
			r.in.names[p.Name] = v
		}
		if p.Mode != 'o' && p.Mode != 't' {
			r.fn.Params = append(r.fn.Params, v)
			r.in.names["$"+itoa(len(r.fn.Params))] = v
		}
		if p.Mode == 'o' || p.Mode == 'b' || p.Mode == 't' {
			r.fn.Outs = append(r.fn.Outs, v)
		}
		_ = i
	}
	r.fn.Found = r.add("found", types.Bool)
	r.in.names["found"] = r.fn.Found
	if sig.Trigger {
		r.fn.Old, r.fn.New = r.add("old", nil), r.add("new", nil)
		r.in.names["old"], r.in.names["new"] = r.fn.Old, r.fn.New
		r.fn.TG = map[string]int{}
		for name, t := range map[string]*types.T{"tg_name": types.Name, "tg_when": types.Text, "tg_level": types.Text, "tg_op": types.Text,
			"tg_relid": types.Oid, "tg_relname": types.Name, "tg_table_name": types.Name, "tg_table_schema": types.Name,
			"tg_nargs": types.Int4, "tg_argv": types.ArrayOf(types.Text)} {
			v := r.add(name, t)
			r.in.names[name], r.fn.TG[name] = v, v
		}
	}
	if sig.EventTrigger {
		r.fn.TG = map[string]int{}
		for _, name := range []string{"tg_event", "tg_tag"} {
			v := r.add(name, types.Text)
			r.in.names[name], r.fn.TG[name] = v, v
		}
	}
	r.in = &scope{up: r.in, names: map[string]int{}}
	if err := r.options(); err != nil {
		return nil, err
	}
	if r.fn.Body, err = r.block(); err != nil {
		return nil, err
	}
	if r.peek().sym(";") {
		r.pos++
	}
	if r.peek().kind != end {
		return nil, r.unexpected()
	}
	return r.fn, nil
}

// options reads what a body says of itself before its block: #variable_conflict use_column.
func (r *reader) options() error {
	for r.takeSym("#") {
		if !r.take("variable_conflict") {
			return r.unexpected()
		}
		switch {
		case r.take("error"):
			r.fn.conflict = plan.AmbiguousName
		case r.take("use_column"):
			r.fn.conflict = plan.PreferColumn
		case r.take("use_variable"):
			r.fn.conflict = plan.PreferVariable
		default:
			return r.unexpected()
		}
	}
	return nil
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + string(rune('0'+n%10))
}

func (r *reader) add(name string, t *types.T) int {
	v := &Var{Name: name, Type: t, Record: t == nil || t.BaseType().Kind == types.KindTuple}
	if t != nil && t.OID == types.OIDRecord {
		v.Type = nil
	}
	r.fn.Vars = append(r.fn.Vars, v)
	return len(r.fn.Vars) - 1
}

// line is the number of the line that an offset into the body is in.
func (r *reader) line(off int) int {
	if off < r.lineFrom {
		r.lineFrom, r.lineNo = 0, 0
	}
	r.lineNo += strings.Count(r.src[r.lineFrom:off], "\n")
	r.lineFrom = off
	return r.lineNo + 1
}

func (r *reader) peek() token { return r.toks[r.pos] }

func (r *reader) at(n int) token {
	if r.pos+n >= len(r.toks) {
		return r.toks[len(r.toks)-1]
	}
	return r.toks[r.pos+n]
}

func (r *reader) next() token {
	t := r.toks[r.pos]
	if t.kind != end {
		r.pos++
	}
	return t
}

func (r *reader) take(w string) bool {
	if r.peek().is(w) {
		r.pos++
		return true
	}
	return false
}

func (r *reader) takeSym(s string) bool {
	if r.peek().sym(s) {
		r.pos++
		return true
	}
	return false
}

func (r *reader) unexpected() error {
	t := r.peek()
	if t.kind == end {
		return pgerr.New(pgerr.SyntaxError, "syntax error at end of input")
	}
	return pgerr.New(pgerr.SyntaxError, "syntax error at or near %q", r.src[t.from:t.to])
}

func (r *reader) want(w string) error {
	if !r.take(w) {
		return r.unexpected()
	}
	return nil
}

func (r *reader) wantSym(s string) error {
	if !r.takeSym(s) {
		return r.unexpected()
	}
	return nil
}

func (r *reader) name() (string, error) {
	if t := r.peek(); t.ident() {
		r.pos++
		return t.text, nil
	}
	return "", r.unexpected()
}

// label reads <<label>>.
func (r *reader) label() (string, error) {
	if !r.takeSym("<<") {
		return "", nil
	}
	n, err := r.name()
	if err != nil {
		return "", err
	}
	return n, r.wantSym(">>")
}

// until reads source text up to a token for which stop holds outside of parentheses; the token is not read.
func (r *reader) until(stop func(t token) bool) (string, error) {
	from := r.peek().from
	depth := 0
	for {
		t := r.peek()
		switch {
		case t.kind == end:
			return "", r.unexpected()
		case depth == 0 && stop(t):
			if t.from == from {
				return "", r.unexpected()
			}
			return r.src[from:r.toks[r.pos-1].to], nil
		case t.sym("(") || t.sym("["):
			depth++
		case t.sym(")") || t.sym("]"):
			if depth--; depth < 0 {
				return "", r.unexpected()
			}
		case t.sym(";"):
			return "", r.unexpected()
		case t.is("case"):
			depth++ // its WHEN and THEN are not ours
		case t.is("end") && depth > 0:
			depth--
		}
		r.pos++
	}
}

func stopAt(ws ...string) func(token) bool {
	return func(t token) bool {
		for _, w := range ws {
			if t.is(w) || t.sym(w) {
				return true
			}
		}
		return false
	}
}

// expr reads an expression up to one of the words or symbols.
func (r *reader) expr(stop ...string) (*Query, error) {
	s, err := r.until(stopAt(stop...))
	if err != nil {
		return nil, err
	}
	return r.exprOf(s)
}

func (r *reader) exprOf(s string) (*Query, error) {
	st, err := parser.ParseOne("SELECT " + s)
	if err != nil {
		return nil, unplaced(err)
	}
	sel, ok := st.Stmt.(*ast.SelectStmt)
	if !ok {
		return nil, pgerr.New(pgerr.SyntaxError, "%q is not an expression", s)
	}
	return &Query{Text: s, Node: sel, Expr: true, Source: s, Shift: len("SELECT "), fn: r.fn, in: r.in}, nil
}

// query reads a statement in SQL.
func (r *reader) queryOf(s string) (*Query, error) {
	st, err := parser.ParseOne(s)
	if err != nil {
		return nil, unplaced(err)
	}
	return &Query{Text: s, Node: st.Stmt, Source: strings.TrimRight(s, " \t\r\n"), fn: r.fn, in: r.in}, nil
}

// unplaced drops an error's position, which is not one in the statement that the client sent.
func unplaced(err error) error {
	if e, ok := err.(*pgerr.Error); ok {
		k := *e
		k.Position = 0
		return &k
	}
	return err
}

// stmts reads statements up to one of the words.
func (r *reader) stmts(stop ...string) ([]step, error) {
	if r.depth++; r.depth > maxDepth {
		return nil, pgerr.New(pgerr.StatementTooComplex, "stack depth limit exceeded")
	}
	defer func() { r.depth-- }()
	var out []step
	for {
		t := r.peek()
		for _, w := range stop {
			if t.is(w) {
				return out, nil
			}
		}
		if t.kind == end {
			return nil, r.unexpected()
		}
		for i := r.pos; r.at(0).sym("<<") && i+2 < len(r.toks); i++ {
			if r.toks[i].sym(">>") {
				t = r.toks[i+1] // a label is before the statement
				break
			}
		}
		s, err := r.stmt()
		if err != nil {
			return nil, err
		}
		st := step{s, r.line(t.from)}
		if b, ok := s.(*Block); ok {
			st.line = b.line
		}
		out = append(out, st)
	}
}

func (r *reader) stmt() (stmt, error) {
	label, err := r.label()
	if err != nil {
		return nil, err
	}
	t := r.peek()
	if t.is("declare") || t.is("begin") {
		b, err := r.blockLabelled(label)
		if err != nil {
			return nil, err
		}
		return b, r.wantSym(";")
	}
	if t.is("loop") || t.is("while") || t.is("for") || t.is("foreach") {
		return r.loop(label)
	}
	if label != "" {
		return nil, r.unexpected()
	}
	if s, ok, err := r.assignment(); ok || err != nil {
		return s, err
	}
	switch {
	case r.take("if"):
		return r.ifStmt()
	case r.take("case"):
		return r.caseStmt()
	case r.take("exit"), t.is("continue") && r.take("continue"):
		return r.exit(t.is("continue"))
	case r.take("return"):
		return r.returns()
	case r.take("raise"):
		return r.raise()
	case r.take("perform"):
		s, err := r.until(stopAt(";"))
		if err != nil {
			return nil, err
		}
		r.pos++
		q, err := r.queryOf("SELECT " + s)
		return &sqlStmt{query: q, perform: true}, err
	case r.take("execute"):
		return r.execute()
	case t.is("get"):
		return r.diagnostics()
	case r.take("assert"):
		a := &assert{}
		if a.cond, err = r.expr(",", ";"); err != nil {
			return nil, err
		}
		if r.takeSym(",") {
			if a.message, err = r.expr(";"); err != nil {
				return nil, err
			}
		}
		return a, r.wantSym(";")
	case t.is("null") && r.at(1).sym(";"):
		r.pos += 2
		return &null{}, nil
	case r.take("open"):
		return r.open()
	case r.take("fetch"):
		return r.fetch(false)
	case r.take("move"):
		return r.fetch(true)
	case r.take("close"):
		v, err := r.cursorVariable()
		if err != nil {
			return nil, err
		}
		return &closeStmt{v}, r.wantSym(";")
	case (t.is("commit") || t.is("rollback")) && !r.at(1).is("to"):
		return r.transaction()
	}
	return r.sql()
}

// target reads what is assigned to, as far as it is a variable; ok is false when it is none.
func (r *reader) target() (Target, bool, error) {
	t := r.peek()
	if !t.ident() && t.kind != param {
		return Target{}, false, nil
	}
	v, ok := r.in.find(t.text)
	used := 1
	if sc := r.in.labelled(t.text); sc != nil && r.at(1).sym(".") && r.at(2).ident() {
		if i, found := sc.names[r.at(2).text]; found {
			v, ok, used = i, true, 3
		}
	}
	if !ok {
		return Target{}, false, nil
	}
	r.pos += used
	to := Target{Var: v}
	for r.peek().sym(".") && r.at(1).ident() {
		to.Fields = append(to.Fields, r.at(1).text)
		r.pos += 2
	}
	for r.takeSym("[") {
		s, err := r.subscript()
		if err != nil {
			return to, true, err
		}
		to.Index = append(to.Index, s)
	}
	return to, true, nil
}

// assignment reads target := expr; ok is false when the statement is none.
func (r *reader) assignment() (stmt, bool, error) {
	start := r.pos
	to, ok, err := r.target()
	if err != nil || !ok || !r.peek().sym(":=") && !r.peek().sym("=") {
		// name := where the name is no variable
		t := r.toks[start]
		if err == nil && !ok && t.ident() && (r.toks[start+1].sym(":=") || r.toks[start+1].sym("=")) {
			return nil, true, pgerr.New(pgerr.SyntaxError, "%q is not a known variable", t.text)
		}
		r.pos = start
		return nil, false, nil
	}
	if r.fn.Vars[to.Var].Constant {
		return nil, true, pgerr.New("22005", "variable %q is declared CONSTANT", r.fn.Vars[to.Var].Name)
	}
	r.pos++
	from, at := r.toks[start].from, r.peek().from
	q, err := r.expr(";")
	if err != nil {
		return nil, true, err
	}
	q.Source, q.Assign, q.Shift = r.src[from:r.toks[r.pos-1].to], true, len("SELECT ")-(at-from)
	r.pos++
	return &assign{to: to, from: q}, true, nil
}

func (r *reader) ifStmt() (stmt, error) {
	s := &ifStmt{}
	for {
		c, err := r.expr("then")
		if err != nil {
			return nil, err
		}
		r.pos++
		body, err := r.stmts("elsif", "elseif", "else", "end")
		if err != nil {
			return nil, err
		}
		s.conds, s.then = append(s.conds, c), append(s.then, body)
		if r.take("elsif") || r.take("elseif") {
			continue
		}
		if r.take("else") {
			if body, err = r.stmts("end"); err != nil {
				return nil, err
			}
			s.then = append(s.then, body)
		}
		return s, r.ends("if")
	}
}

// ends reads END word;
func (r *reader) ends(w string) error {
	if err := r.want("end"); err != nil {
		return err
	}
	if err := r.want(w); err != nil {
		return err
	}
	return r.wantSym(";")
}

func (r *reader) caseStmt() (stmt, error) {
	s := &caseStmt{argV: -1}
	var err error
	if !r.peek().is("when") {
		if s.arg, err = r.expr("when"); err != nil {
			return nil, err
		}
	}
	for r.take("when") {
		var w caseWhen
		for {
			e, err := r.expr("then", ",")
			if err != nil {
				return nil, err
			}
			w.conds = append(w.conds, e)
			if !r.takeSym(",") {
				break
			}
		}
		r.pos++
		if w.body, err = r.stmts("when", "else", "end"); err != nil {
			return nil, err
		}
		s.whens = append(s.whens, w)
	}
	if r.take("else") {
		s.has = true
		if s.other, err = r.stmts("end"); err != nil {
			return nil, err
		}
	}
	if s.arg != nil {
		// WHEN x means argument = x.
		for _, w := range s.whens {
			for i, c := range w.conds {
				if w.conds[i], err = r.exprOf("(" + s.arg.Text + ") = (" + c.Text + ")"); err != nil {
					return nil, err
				}
			}
		}
	}
	return s, r.ends("case")
}

func (r *reader) returns() (stmt, error) {
	var err error
	switch {
	case r.takeSym(";"):
		return &returnStmt{}, nil
	case r.take("next"):
		if r.takeSym(";") {
			return &returnNext{}, nil
		}
		s := &returnNext{}
		if s.value, err = r.expr(";"); err != nil {
			return nil, err
		}
		return s, r.wantSym(";")
	case r.take("query"):
		s := &returnQuery{}
		if r.take("execute") {
			if s.dyn, err = r.expr("using", ";"); err != nil {
				return nil, err
			}
			if s.using, err = r.using(";"); err != nil {
				return nil, err
			}
			return s, r.wantSym(";")
		}
		t, err := r.until(stopAt(";"))
		if err != nil {
			return nil, err
		}
		if s.query, err = r.queryOf(t); err != nil {
			return nil, err
		}
		return s, r.wantSym(";")
	}
	s := &returnStmt{}
	if s.value, err = r.expr(";"); err != nil {
		return nil, err
	}
	return s, r.wantSym(";")
}

func (r *reader) execute() (stmt, error) {
	s := &execute{}
	var err error
	if s.text, err = r.expr("into", "using", ";"); err != nil {
		return nil, err
	}
	for !r.takeSym(";") {
		switch {
		case r.take("into"):
			s.strict = r.take("strict")
			if s.into, err = r.targets(); err != nil {
				return nil, err
			}
		case r.peek().is("using"):
			if s.using, err = r.using(";", "into"); err != nil {
				return nil, err
			}
		default:
			return nil, r.unexpected()
		}
	}
	return s, nil
}

// sql reads a statement in SQL, taking its INTO out.
func (r *reader) sql() (stmt, error) {
	start := r.pos
	from := r.peek().from
	first := r.peek()
	s := &sqlStmt{}
	depth := 0
	var text strings.Builder
	last := from
	for {
		t := r.peek()
		switch {
		case t.kind == end:
			return nil, r.unexpected()
		case t.sym("("):
			depth++
		case t.sym(")"):
			depth--
		case t.is("into") && depth == 0 && r.pos > start && !r.at(-1).is("insert") && !r.at(-1).is("merge") && s.into == nil &&
			(first.is("select") || first.is("insert") || first.is("update") || first.is("delete") || first.is("with") || first.is("values") || first.is("table")):
			text.WriteString(r.src[last:t.from])
			r.pos++
			s.strict = r.take("strict")
			var err error
			if s.into, err = r.targets(); err != nil {
				return nil, err
			}
			last = r.toks[r.pos-1].to
			text.WriteString(strings.Repeat(" ", last-t.from)) // positions stay
			continue
		}
		if t.sym(";") && depth <= 0 {
			text.WriteString(r.src[last:t.from])
			r.pos++
			break
		}
		r.pos++
	}
	q, err := r.queryOf(text.String())
	if err != nil {
		return nil, err
	}
	s.query = q
	return s, nil
}
