package inverted

import (
	"github.com/meridian-db/meridian/sql/types"
)

// Op is the kind of a Query.
type Op uint8

const (
	All    Op = iota // says nothing: any row, those without terms included
	Never            // no row
	Term             // rows with the term
	Prefix           // rows with a term that begins so
	And
	Or
)

// Query is a condition on the terms of a row. Kids of And and Or are neither All nor Never, and more than one.
type Query struct {
	Op   Op
	Term []byte
	Kids []*Query
}

var (
	all   = &Query{Op: All}
	never = &Query{Op: Never}
)

func term(b []byte) *Query { return &Query{Op: Term, Term: b} }

func and(qs ...*Query) *Query { return join(And, all, never, qs) }
func or(qs ...*Query) *Query  { return join(Or, never, all, qs) }

// join joins queries by op: neutral changes nothing, and decisive makes all of it decisive. Kids of the same op are taken in.
func join(op Op, neutral, decisive *Query, qs []*Query) *Query {
	out := &Query{Op: op}
	for _, q := range qs {
		switch q.Op {
		case decisive.Op:
			return decisive
		case neutral.Op:
		case op:
			out.Kids = append(out.Kids, q.Kids...)
		default:
			out.Kids = append(out.Kids, q)
		}
	}
	switch len(out.Kids) {
	case 0:
		return neutral
	case 1:
		return out.Kids[0]
	}
	return out
}

func terms(bs [][]byte) []*Query {
	out := make([]*Query, len(bs))
	for i, b := range bs {
		out[i] = term(b)
	}
	return out
}

// Finds reports whether the class knows an operator, the indexed value on its left, with arguments of type t.
func (c Class) Finds(op string, t *types.T) bool {
	t = t.BaseType()
	array := t.Kind == types.KindArray
	switch c {
	case Arrays:
		return array && (op == "@>" || op == "<@" || op == "&&" || op == "=")
	case JSONB, JSONBPath:
		switch op {
		case "@>":
			return t.OID == types.OIDJSONB
		case "@?", "@@":
			return t.OID == types.OIDJSONPath
		case "?":
			return c == JSONB && t.Kind == types.KindString
		case "?|", "?&":
			return c == JSONB && array
		}
	case TSVectors:
		return op == "@@" && t.OID == types.OIDTSQuery
	case Trigrams:
		return t.Kind == types.KindString && (op == "~~" || op == "~~*" || op == "=" || op == "%" || op == "%>" || op == "%>>")
	}
	return false
}

// Find returns what rows need to have for an operator that the class Finds, with an argument of type t.
func (c Class) Find(op string, arg types.Datum, t *types.T) *Query {
	if arg.IsNull() {
		return never // all of these operators are strict
	}
	switch {
	case c == Arrays:
		return findArray(op, arg.Array(), t)
	case c == TSVectors:
		return findWords(types.TSQueryOf(arg))
	case c == Trigrams:
		return findText(op, arg.Str())
	case op == "?":
		return term(keyTerm(arg.Str()))
	case op == "?|" || op == "?&":
		var qs []*Query
		for _, e := range arg.Array().Elems {
			if !e.IsNull() {
				qs = append(qs, term(keyTerm(e.Str())))
			}
		}
		if op == "?|" {
			return or(qs...)
		}
		return and(qs...)
	case op == "@>":
		return and(terms(c.Terms(arg, t))...)
	}
	p, err := types.ParsePath(arg.Str())
	if err != nil {
		return all
	}
	return c.findPath(op, p)
}

func findArray(op string, a *types.Array, t *types.T) *Query {
	var qs []*Query
	nulls := false
	for _, e := range a.Elems {
		if e.IsNull() {
			nulls = true
		} else {
			qs = append(qs, term(elementTerm(e, t.BaseType().Elem)))
		}
	}
	empty := term([]byte{tagEmpty})
	switch op {
	case "@>":
		if nulls {
			return never // nothing equals NULL here
		}
		return and(qs...)
	case "<@":
		return or(append(qs, empty)...)
	case "&&":
		return or(qs...)
	}
	if len(a.Elems) == 0 {
		return empty
	}
	if nulls {
		qs = append(qs, term([]byte{tagNull}))
	}
	return and(qs...)
}

func findWords(q *types.TSTree) *Query {
	if q == nil {
		return never
	}
	switch q.Op {
	case types.TSWord:
		if q.Prefix {
			return &Query{Op: Prefix, Term: []byte(q.Word)}
		}
		return term([]byte(q.Word))
	case types.TSOr:
		return or(findWords(q.Left), findWords(q.Right))
	case types.TSAnd, types.TSPhrase:
		return and(findWords(q.Left), findWords(q.Right))
	}
	return all
}
