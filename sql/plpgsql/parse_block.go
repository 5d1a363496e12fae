package plpgsql

import (
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

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
	b.line = r.line(r.peek().from)
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
	line := r.line(r.peek().from)
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
	vr.Constant, vr.line = constant, line
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
		return pgerr.New(pgerr.NullValueNotAllowed, "variable %q must have a default value, since it's declared NOT NULL", name)
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
