package plpgsql

import (
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

func (r *reader) loop(label string) (stmt, error) {
	r.loops = append(r.loops, label)
	defer func() { r.loops = r.loops[:len(r.loops)-1] }()
	outer := r.in
	defer func() { r.in = outer }()
	body := func() ([]step, error) {
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
func (r *reader) forLoop(label string, body func() ([]step, error)) (stmt, error) {
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
