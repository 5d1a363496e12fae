package plpgsql

import (
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
)

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
