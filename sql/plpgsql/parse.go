package plpgsql

import (
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
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
	Name    string
	Params  []Param
	Trigger bool
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
}

// Parse reads a body.
func Parse(src string, sig Signature, ts Types) (*Function, error) {
	toks, err := scan(src)
	if err != nil {
		return nil, err
	}
	r := &reader{src: src, toks: toks, types: ts, fn: &Function{Name: sig.Name, Old: -1, New: -1}}
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
	r.in = &scope{up: r.in, names: map[string]int{}}
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
	return &Query{Text: s, Node: sel, Expr: true, fn: r.fn, in: r.in}, nil
}

// query reads a statement in SQL.
func (r *reader) queryOf(s string) (*Query, error) {
	st, err := parser.ParseOne(s)
	if err != nil {
		return nil, unplaced(err)
	}
	return &Query{Text: s, Node: st.Stmt, fn: r.fn, in: r.in}, nil
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

// block reads [<<label>>] [DECLARE ...] BEGIN ... END.
func (r *reader) block() (*Block, error) {
	label, err := r.label()
	if err != nil {
		return nil, err
	}
	return r.blockLabelled(label)
}

func (r *reader) blockLabelled(label string) (*Block, error) {
	if r.depth++; r.depth > maxDepth {
		return nil, pgerr.New(pgerr.StatementTooComplex, "stack depth limit exceeded")
	}
	defer func() { r.depth-- }()
	b := &Block{Label: label, SQLState: -1}
	outer := r.in
	r.in = &scope{up: outer, label: label, names: map[string]int{}}
	defer func() { r.in = outer }()
	for r.take("declare") {
		for !r.peek().is("begin") && !r.peek().is("declare") {
			if err := r.declaration(b); err != nil {
				return nil, err
			}
		}
	}
	if err := r.want("begin"); err != nil {
		return nil, err
	}
	var err error
	if b.Body, err = r.stmts("end", "exception"); err != nil {
		return nil, err
	}
	if r.take("exception") {
		if err := r.handlers(b); err != nil {
			return nil, err
		}
	}
	if err := r.want("end"); err != nil {
		return nil, err
	}
	return b, r.endLabel(label)
}

func (r *reader) endLabel(label string) error {
	if t := r.peek(); t.ident() {
		if t.text != label {
			if label == "" {
				return pgerr.New(pgerr.SyntaxError, "end label %q specified for unlabeled block", t.text)
			}
			return pgerr.New(pgerr.SyntaxError, "end label %q differs from block's label %q", t.text, label)
		}
		r.pos++
	}
	return nil
}

// declaration reads one variable.
func (r *reader) declaration(b *Block) error {
	name, err := r.name()
	if err != nil {
		return err
	}
	if _, dup := r.in.names[name]; dup {
		return pgerr.New(pgerr.SyntaxError, "duplicate declaration at or near %q", name)
	}
	if r.take("alias") {
		if err := r.want("for"); err != nil {
			return err
		}
		t := r.next()
		i, ok := r.in.find(t.text)
		if !ok {
			return pgerr.New(pgerr.UndefinedObject, "variable %q does not exist", t.text)
		}
		r.in.names[name] = i
		return r.wantSym(";")
	}
	constant := r.take("constant")
	if !constant && r.declaresCursor() {
		return r.cursorDeclaration(b, name)
	}
	s, err := r.until(func(t token) bool {
		return t.sym(";") || t.sym(":=") || t.sym("=") || t.is("default") || t.is("not") || t.is("collate")
	})
	if err != nil {
		return err
	}
	t, err := r.typeOf(s)
	if err != nil {
		return err
	}
	if r.take("collate") {
		if _, err := r.name(); err != nil {
			return err
		}
	}
	v := r.add(name, t)
	vr := r.fn.Vars[v]
	vr.Constant = constant
	if r.take("not") {
		if err := r.want("null"); err != nil {
			return err
		}
		vr.NotNull = true
	}
	if r.takeSym(":=") || r.takeSym("=") || r.take("default") {
		if vr.Default, err = r.expr(";"); err != nil {
			return err
		}
	} else if vr.NotNull {
		return pgerr.New(pgerr.SyntaxError, "variable %q must have a default value, since it's declared NOT NULL", name)
	}
	// Its own default does not see it.
	r.in.names[name] = v
	if vr.Default != nil {
		names := map[string]int{}
		for k, i := range r.in.names {
			if k != name {
				names[k] = i
			}
		}
		vr.Default.in = &scope{up: r.in.up, label: r.in.label, names: names}
	}
	b.Vars = append(b.Vars, v)
	return r.wantSym(";")
}

// typeOf resolves a declared type; nil is a record.
func (r *reader) typeOf(s string) (*types.T, error) {
	toks, err := scan(s)
	if err != nil {
		return nil, err
	}
	var names []string
	i := 0
	for ; toks[i].ident(); i++ {
		names = append(names, toks[i].text)
		if !toks[i+1].sym(".") {
			i++
			break
		}
		i++
	}
	if toks[i].sym("%") && len(names) > 0 {
		if toks[i+1].is("type") {
			if len(names) == 1 {
				if v, ok := r.in.find(names[0]); ok {
					return r.fn.Vars[v].Type, nil
				}
			}
			if len(names) == 2 {
				if v, ok := r.in.find(names[0]); ok {
					if t := r.fn.Vars[v].Type; t != nil && t.Def != nil {
						for _, f := range t.Def.Fields {
							if f.Name == names[1] {
								return f.Type, nil
							}
						}
					}
				}
			}
			return r.types.ColumnType(names)
		}
		if toks[i+1].is("rowtype") {
			return r.types.RowType(names)
		}
	}
	if len(names) == 1 && names[0] == "record" && toks[i].kind == end {
		return nil, nil
	}
	return r.types.Type(s)
}

// handlers reads the EXCEPTION part.
func (r *reader) handlers(b *Block) error {
	b.Except = true
	b.SQLState, b.SQLErrm = r.add("sqlstate", types.Text), r.add("sqlerrm", types.Text)
	outer := r.in
	r.in = &scope{up: outer, names: map[string]int{"sqlstate": b.SQLState, "sqlerrm": b.SQLErrm}}
	defer func() { r.in = outer }()
	r.catch++
	defer func() { r.catch-- }()
	for r.take("when") {
		var h handler
		for {
			t := r.next()
			switch {
			case t.is("others"):
				h.others = true
			case t.is("sqlstate"):
				c := r.next()
				if c.kind != text || len(c.text) != 5 {
					return pgerr.New(pgerr.SyntaxError, "invalid SQLSTATE code")
				}
				h.codes = append(h.codes, c.text)
			case t.ident():
				codes, ok := conditions[t.text]
				if !ok {
					return pgerr.New(pgerr.UndefinedObject, "unrecognized exception condition %q", t.text)
				}
				h.codes = append(h.codes, codes...)
			default:
				r.pos--
				return r.unexpected()
			}
			if !r.take("or") {
				break
			}
		}
		if err := r.want("then"); err != nil {
			return err
		}
		var err error
		if h.body, err = r.stmts("end", "when"); err != nil {
			return err
		}
		b.Handlers = append(b.Handlers, h)
	}
	if len(b.Handlers) == 0 {
		return r.unexpected()
	}
	return nil
}

// stmts reads statements up to one of the words.
func (r *reader) stmts(stop ...string) ([]stmt, error) {
	if r.depth++; r.depth > maxDepth {
		return nil, pgerr.New(pgerr.StatementTooComplex, "stack depth limit exceeded")
	}
	defer func() { r.depth-- }()
	var out []stmt
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
		s, err := r.stmt()
		if err != nil {
			return nil, err
		}
		out = append(out, s)
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
	q, err := r.expr(";")
	if err != nil {
		return nil, true, err
	}
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

func (r *reader) loop(label string) (stmt, error) {
	r.loops = append(r.loops, label)
	defer func() { r.loops = r.loops[:len(r.loops)-1] }()
	outer := r.in
	defer func() { r.in = outer }()
	body := func() ([]stmt, error) {
		if err := r.want("loop"); err != nil {
			return nil, err
		}
		b, err := r.stmts("end")
		if err != nil {
			return nil, err
		}
		r.pos++
		if err := r.want("loop"); err != nil {
			return nil, err
		}
		if err := r.endLabel(label); err != nil {
			return nil, err
		}
		return b, r.wantSym(";")
	}
	switch {
	case r.take("while"):
		c, err := r.expr("loop")
		if err != nil {
			return nil, err
		}
		b, err := body()
		return &loop{label: label, while: c, body: b}, err
	case r.take("for"):
		return r.forLoop(label, body)
	case r.take("foreach"):
		f := &foreach{label: label}
		to, ok, err := r.target()
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, pgerr.New(pgerr.SyntaxError, "%q is not a known variable", r.peek().text)
		}
		f.to = to
		if r.take("slice") {
			n := r.next()
			for _, c := range n.text {
				f.slice = f.slice*10 + int(c-'0')
			}
		}
		if err := r.want("in"); err != nil {
			return nil, err
		}
		if err := r.want("array"); err != nil {
			return nil, err
		}
		if f.in, err = r.expr("loop"); err != nil {
			return nil, err
		}
		f.body, err = body()
		return f, err
	}
	b, err := body()
	return &loop{label: label, body: b}, err
}

// forLoop reads FOR after the word: over integers, a query or EXECUTE.
func (r *reader) forLoop(label string, body func() ([]stmt, error)) (stmt, error) {
	start := r.pos
	name, err := r.name()
	if err != nil {
		return nil, err
	}
	// Integers when ".." stands before LOOP.
	ints := false
	depth := 0
	for i := r.pos; i < len(r.toks) && !(depth == 0 && (r.toks[i].is("loop") || r.toks[i].sym(";"))); i++ {
		switch {
		case r.toks[i].sym("("):
			depth++
		case r.toks[i].sym(")"):
			depth--
		case r.toks[i].sym("..") && depth == 0:
			ints = true
		}
	}
	if ints {
		if err := r.want("in"); err != nil {
			return nil, err
		}
		f := &forInt{label: label, reverse: r.take("reverse")}
		if f.from, err = r.expr(".."); err != nil {
			return nil, err
		}
		r.pos++
		if f.to, err = r.expr("loop", "by"); err != nil {
			return nil, err
		}
		if r.take("by") {
			if f.by, err = r.expr("loop"); err != nil {
				return nil, err
			}
		}
		f.v = r.add(name, types.Int4)
		r.in = &scope{up: r.in, label: label, names: map[string]int{name: f.v}}
		f.body, err = body()
		return f, err
	}
	if r.peek().is("in") {
		r.pos++
		if s, ok, err := r.loopCursor(label, name, body); ok || err != nil {
			return s, err
		}
	}
	r.pos = start
	f := &forQuery{label: label}
	if f.into, err = r.targets(); err != nil {
		return nil, err
	}
	if err := r.want("in"); err != nil {
		return nil, err
	}
	if r.take("execute") {
		if f.dyn, err = r.expr("using", "loop"); err != nil {
			return nil, err
		}
		if f.using, err = r.using("loop"); err != nil {
			return nil, err
		}
	} else {
		s, err := r.until(stopAt("loop"))
		if err != nil {
			return nil, err
		}
		if f.query, err = r.queryOf(s); err != nil {
			return nil, err
		}
	}
	f.body, err = body()
	return f, err
}

// targets reads a list of targets.
func (r *reader) targets() ([]Target, error) {
	var out []Target
	for {
		to, ok, err := r.target()
		if err != nil {
			return nil, err
		}
		if !ok {
			t := r.peek()
			if t.ident() {
				return nil, pgerr.New(pgerr.SyntaxError, "%q is not a known variable", t.text)
			}
			return nil, r.unexpected()
		}
		if v := r.fn.Vars[to.Var]; v.Constant {
			return nil, pgerr.New("22005", "variable %q is declared CONSTANT", v.Name)
		}
		out = append(out, to)
		if !r.takeSym(",") {
			return out, nil
		}
	}
}

// using reads [USING expr, ...] up to a word that is not read.
func (r *reader) using(stop ...string) ([]*Query, error) {
	if !r.take("using") {
		return nil, nil
	}
	var out []*Query
	for {
		q, err := r.expr(append([]string{","}, stop...)...)
		if err != nil {
			return nil, err
		}
		out = append(out, q)
		if !r.takeSym(",") {
			return out, nil
		}
	}
}

func (r *reader) exit(next bool) (stmt, error) {
	s := &exit{next: next}
	word := "EXIT"
	if next {
		word = "CONTINUE"
	}
	if t := r.peek(); t.ident() && !t.is("when") {
		s.label = t.text
		r.pos++
	}
	if s.label == "" && len(r.loops) == 0 {
		return nil, pgerr.New(pgerr.SyntaxError, "%s cannot be used outside a loop, unless it has a label", word)
	}
	if s.label != "" {
		found := false
		for _, l := range r.loops {
			found = found || l == s.label
		}
		if !found && (next || r.in.labelled(s.label) == nil) {
			return nil, pgerr.New(pgerr.SyntaxError, "there is no label %q attached to any block or loop enclosing this statement", s.label)
		}
	}
	if r.take("when") {
		var err error
		if s.when, err = r.expr(";"); err != nil {
			return nil, err
		}
	}
	return s, r.wantSym(";")
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

var raiseLevels = map[string]bool{"exception": true, "warning": true, "notice": true, "info": true, "log": true, "debug": true}

func (r *reader) raise() (stmt, error) {
	s := &raise{level: "exception"}
	if r.takeSym(";") {
		if r.catch == 0 {
			return &raise{}, nil
		}
		return &raise{}, nil
	}
	if t := r.peek(); t.kind == word && raiseLevels[t.text] {
		s.level = t.text
		r.pos++
	}
	switch t := r.peek(); {
	case t.kind == text:
		s.format, s.hasFmt = t.text, true
		r.pos++
		for r.takeSym(",") {
			q, err := r.expr(",", ";", "using")
			if err != nil {
				return nil, err
			}
			s.args = append(s.args, q)
		}
		want := strings.Count(strings.ReplaceAll(s.format, "%%", ""), "%")
		if len(s.args) > want {
			return nil, pgerr.New(pgerr.SyntaxError, "too many parameters specified for RAISE")
		}
		if len(s.args) < want {
			return nil, pgerr.New(pgerr.SyntaxError, "too few parameters specified for RAISE")
		}
	case t.is("sqlstate"):
		c := r.at(1)
		if c.kind != text || len(c.text) != 5 {
			return nil, pgerr.New(pgerr.SyntaxError, "invalid SQLSTATE code")
		}
		s.code = c.text
		r.pos += 2
	case t.ident() && !t.is("using"):
		codes, ok := conditions[t.text]
		if !ok {
			return nil, pgerr.New(pgerr.UndefinedObject, "unrecognized exception condition %q", t.text)
		}
		s.code, s.format, s.hasFmt = codes[0], t.text, true
		r.pos++
	}
	if r.take("using") {
		for {
			n, err := r.name()
			if err != nil {
				return nil, err
			}
			if !r.takeSym("=") && !r.takeSym(":=") {
				return nil, r.unexpected()
			}
			q, err := r.expr(",", ";")
			if err != nil {
				return nil, err
			}
			switch n {
			case "errcode", "message", "detail", "hint", "column", "constraint", "datatype", "table", "schema":
			default:
				return nil, pgerr.New(pgerr.SyntaxError, "unrecognized RAISE statement option")
			}
			s.options = append(s.options, raiseOption{n, q})
			if !r.takeSym(",") {
				break
			}
		}
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

func (r *reader) diagnostics() (stmt, error) {
	r.pos++
	s := &diagnostics{}
	if r.take("stacked") {
		s.stacked = true
	} else {
		r.take("current")
	}
	if err := r.want("diagnostics"); err != nil {
		return nil, err
	}
	for {
		to, ok, err := r.target()
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, pgerr.New(pgerr.SyntaxError, "%q is not a known variable", r.peek().text)
		}
		if !r.takeSym("=") && !r.takeSym(":=") {
			return nil, r.unexpected()
		}
		w, err := r.name()
		if err != nil {
			return nil, err
		}
		current := w == "row_count" || w == "pg_context"
		switch w {
		case "row_count", "pg_context", "returned_sqlstate", "message_text", "pg_exception_detail", "pg_exception_hint", "pg_exception_context",
			"column_name", "constraint_name", "pg_datatype_name", "table_name", "schema_name":
		default:
			return nil, pgerr.New(pgerr.SyntaxError, "unrecognized GET DIAGNOSTICS item")
		}
		if current == s.stacked {
			return nil, pgerr.New(pgerr.SyntaxError, "diagnostics item %s is not allowed in GET %s DIAGNOSTICS", strings.ToUpper(w),
				map[bool]string{true: "STACKED", false: "CURRENT"}[s.stacked])
		}
		s.items = append(s.items, diagItem{to, w})
		if !r.takeSym(",") {
			return s, r.wantSym(";")
		}
	}
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
