package plpgsql

import (
	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// Scroll says whether a cursor may go backwards.
type Scroll uint8

const (
	ScrollDefault Scroll = iota
	ScrollYes
	ScrollNo
)

// boundCursor is the query of a cursor variable that is declared with one.
type boundCursor struct {
	query  *Query
	args   []int // variables that the query reads, set when the cursor is opened
	scroll Scroll
}

type (
	openStmt struct {
		v      int
		args   []*Query // of a bound cursor
		query  *Query   // of an unbound one, or dyn with using
		dyn    *Query
		using  []*Query
		scroll Scroll
	}
	fetchStmt struct {
		v     int
		dir   ast.FetchDir
		count *Query // nil: 1, or all
		all   bool
		move  bool
		into  []Target
	}
	closeStmt struct{ v int }
	forCursor struct {
		label string
		v     int // the loop's record
		open  *openStmt
		body  []step
	}
)

// scroll reads [NO] SCROLL.
func (r *reader) scroll() Scroll {
	switch {
	case r.peek().is("no") && r.at(1).is("scroll"):
		r.pos += 2
		return ScrollNo
	case r.take("scroll"):
		return ScrollYes
	}
	return ScrollDefault
}

// declaresCursor reports whether a declaration goes on as that of a bound cursor.
func (r *reader) declaresCursor() bool {
	i := 0
	if r.at(i).is("no") {
		i++
	}
	if r.at(i).is("scroll") {
		i++
	}
	return r.at(i).is("cursor")
}

// cursorDeclaration reads [NO SCROLL] CURSOR [(args)] FOR query;
func (r *reader) cursorDeclaration(b *Block, name string) error {
	c := &boundCursor{scroll: r.scroll()}
	r.pos++
	outer := r.in
	in := &scope{up: outer, label: name, names: map[string]int{}}
	if r.takeSym("(") {
		for {
			arg, err := r.name()
			if err != nil {
				return err
			}
			s, err := r.until(stopAt(",", ")"))
			if err != nil {
				return err
			}
			t, err := r.typeOf(s)
			if err != nil {
				return err
			}
			v := r.add(arg, t)
			c.args = append(c.args, v)
			in.names[arg] = v
			if !r.takeSym(",") {
				break
			}
		}
		if err := r.wantSym(")"); err != nil {
			return err
		}
	}
	if !r.take("for") && !r.take("is") {
		return r.unexpected()
	}
	s, err := r.until(stopAt(";"))
	if err != nil {
		return err
	}
	r.in = in
	c.query, err = r.queryOf(s)
	r.in = outer
	if err != nil {
		return err
	}
	v := r.add(name, types.ByOID(types.OIDRefcursor))
	r.fn.Vars[v].cursor = c
	r.in.names[name] = v
	b.Vars = append(b.Vars, v)
	return r.wantSym(";")
}

// cursorVariable reads the name of a variable of type refcursor.
func (r *reader) cursorVariable() (int, error) {
	to, ok, err := r.target()
	switch {
	case err != nil:
		return 0, err
	case !ok:
		if t := r.peek(); t.ident() {
			return 0, pgerr.New(pgerr.SyntaxError, "%q is not a known variable", t.text)
		}
		return 0, r.unexpected()
	case len(to.Fields) > 0 || len(to.Index) > 0 || r.fn.Vars[to.Var].Record:
		return 0, pgerr.New(pgerr.DatatypeMismatch, "cursor variable must be a simple variable")
	}
	if v := r.fn.Vars[to.Var]; v.Type == nil || v.Type.OID != types.OIDRefcursor {
		return 0, pgerr.New(pgerr.DatatypeMismatch, "variable %q must be of type cursor or refcursor", v.Name)
	}
	return to.Var, nil
}

// open reads OPEN after the word.
func (r *reader) open() (stmt, error) {
	v, err := r.cursorVariable()
	if err != nil {
		return nil, err
	}
	o := &openStmt{v: v}
	if r.fn.Vars[v].cursor != nil {
		if err := r.cursorArgs(o); err != nil {
			return nil, err
		}
		return o, r.wantSym(";")
	}
	o.scroll = r.scroll()
	if err := r.want("for"); err != nil {
		return nil, err
	}
	if r.take("execute") {
		if o.dyn, err = r.expr("using", ";"); err != nil {
			return nil, err
		}
		if o.using, err = r.using(";"); err != nil {
			return nil, err
		}
		return o, r.wantSym(";")
	}
	s, err := r.until(stopAt(";"))
	if err != nil {
		return nil, err
	}
	if o.query, err = r.queryOf(s); err != nil {
		return nil, err
	}
	return o, r.wantSym(";")
}

// cursorArgs reads the arguments of a bound cursor, by position or by name.
func (r *reader) cursorArgs(o *openStmt) error {
	v := r.fn.Vars[o.v]
	want := v.cursor.args
	if !r.takeSym("(") {
		if len(want) > 0 {
			return pgerr.New(pgerr.SyntaxError, "cursor %q has arguments", v.Name)
		}
		return nil
	}
	if len(want) == 0 {
		return pgerr.New(pgerr.SyntaxError, "cursor %q has no arguments", v.Name)
	}
	o.args = make([]*Query, len(want))
	for i := 0; ; i++ {
		at := i
		if r.peek().ident() && (r.at(1).sym(":=") || r.at(1).sym("=>")) {
			for at = 0; at < len(want) && r.fn.Vars[want[at]].Name != r.peek().text; at++ {
			}
			if at == len(want) {
				return pgerr.New(pgerr.SyntaxError, "cursor %q has no argument named %q", v.Name, r.peek().text)
			}
			r.pos += 2
		}
		q, err := r.expr(",", ")")
		if err != nil {
			return err
		}
		switch {
		case at >= len(want):
			return pgerr.New(pgerr.SyntaxError, "too many arguments for cursor %q", v.Name)
		case o.args[at] != nil:
			return pgerr.New(pgerr.SyntaxError, "value for parameter %q of cursor %q specified more than once", r.fn.Vars[want[at]].Name, v.Name)
		}
		o.args[at] = q
		if !r.takeSym(",") {
			break
		}
	}
	for _, a := range o.args {
		if a == nil {
			return pgerr.New(pgerr.SyntaxError, "not enough arguments for cursor %q", v.Name)
		}
	}
	return r.wantSym(")")
}

var fetchDirections = map[string]ast.FetchDir{"next": ast.FetchForward, "prior": ast.FetchBackward, "first": ast.FetchAbsolute,
	"last": ast.FetchAbsolute, "absolute": ast.FetchAbsolute, "relative": ast.FetchRelative, "forward": ast.FetchForward, "backward": ast.FetchBackward}

// fetch reads FETCH or MOVE after the word.
func (r *reader) fetch(move bool) (stmt, error) {
	f := &fetchStmt{move: move, dir: ast.FetchForward}
	if err := r.fetchDirection(f); err != nil {
		return nil, err
	}
	var err error
	if f.v, err = r.cursorVariable(); err != nil {
		return nil, err
	}
	if !move {
		if f.all || f.count != nil && (f.dir == ast.FetchForward || f.dir == ast.FetchBackward) && f.count.Text != "1" {
			return nil, pgerr.New(pgerr.FeatureNotSupported, "FETCH statement cannot return multiple rows")
		}
		if err := r.want("into"); err != nil {
			return nil, err
		}
		if f.into, err = r.targets(); err != nil {
			return nil, err
		}
	}
	return f, r.wantSym(";")
}

// fetchDirection reads [direction [FROM | IN]].
func (r *reader) fetchDirection(f *fetchStmt) error {
	t := r.peek()
	dir, known := fetchDirections[t.text]
	switch {
	case t.kind != word:
		// A count alone.
	case t.text == "all":
		f.all = true
		r.pos++
	case t.text == "from" || t.text == "in":
	case known && !r.at(1).is("into") && !r.at(1).sym(";"):
		f.dir = dir
		r.pos++
		var err error
		switch t.text {
		case "first":
			f.count, err = r.exprOf("1")
		case "last":
			f.count, err = r.exprOf("-1")
		}
		if err != nil {
			return err
		}
		if r.take("all") {
			f.all = true
		}
		counted := t.text == "absolute" || t.text == "relative" || t.text == "forward" || t.text == "backward"
		if counted && !f.all && !r.peek().is("from") && !r.peek().is("in") && r.directionCount() {
			if f.count, err = r.expr("from", "in"); err != nil {
				return err
			}
		}
	default:
		return nil // the cursor's name
	}
	if t.kind != word {
		var err error
		if f.count, err = r.expr("from", "in"); err != nil {
			return err
		}
	}
	if !r.take("from") {
		r.take("in")
	}
	return nil
}

// directionCount reports whether an expression up to FROM or IN stands next, and not the cursor's name.
func (r *reader) directionCount() bool {
	for i := 0; ; i++ {
		switch t := r.at(i); {
		case t.is("from") || t.is("in"):
			return true
		case t.kind == end || t.sym(";") || t.is("into"):
			return false
		}
	}
}

// loopCursor reads the rest of FOR x IN cursor [(args)] when a bound cursor stands next.
func (r *reader) loopCursor(label, name string, body func() ([]step, error)) (stmt, bool, error) {
	t := r.peek()
	if !t.ident() || !r.at(1).is("loop") && !r.at(1).sym("(") {
		return nil, false, nil
	}
	v, ok := r.in.find(t.text)
	if !ok || r.fn.Vars[v].Type == nil || r.fn.Vars[v].Type.OID != types.OIDRefcursor {
		return nil, false, nil
	}
	r.pos++
	if r.fn.Vars[v].cursor == nil {
		return nil, true, pgerr.New(pgerr.SyntaxError, "cursor FOR loop must use a bound cursor variable")
	}
	f := &forCursor{label: label, open: &openStmt{v: v}}
	if err := r.cursorArgs(f.open); err != nil {
		return nil, true, err
	}
	f.v = r.add(name, nil)
	r.in = &scope{up: r.in, label: label, names: map[string]int{name: f.v}}
	var err error
	f.body, err = body()
	return f, true, err
}

// transactionStmt is COMMIT or ROLLBACK.
type transactionStmt struct{ rollback, chain bool }

// transaction reads COMMIT or ROLLBACK.
func (r *reader) transaction() (stmt, error) {
	s := &transactionStmt{rollback: r.next().is("rollback")}
	if r.take("and") {
		s.chain = !r.take("no")
		if err := r.want("chain"); err != nil {
			return nil, err
		}
	}
	return s, r.wantSym(";")
}
