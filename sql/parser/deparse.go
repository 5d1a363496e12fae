package parser

import (
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
)

// Deparse writes a statement as SQL on one line. Parsing the text gives an equal tree, positions aside. It
// covers queries and statements that change rows; other statements come back as their command tag, which is
// not meant to be parsed.
func Deparse(s ast.Stmt) string {
	var d deparser
	d.stmt(s)
	return d.String()
}

// DeparseExpr writes an expression as SQL. Parsing it gives an equal tree.
func DeparseExpr(e ast.Expr) string {
	var d deparser
	d.expr(e)
	return d.String()
}

// DeparseType writes a type name as SQL, with PostgreSQL's internal names: pg_catalog.int4.
func DeparseType(t *ast.TypeName) string {
	var d deparser
	d.typeName(t)
	return d.String()
}

// deparser accumulates text. Operators are always parenthesised, so precedence never matters.
type deparser struct{ strings.Builder }

func (d *deparser) s(parts ...string) {
	for _, p := range parts {
		d.WriteString(p)
	}
}

// list writes n items separated by commas.
func (d *deparser) list(n int, f func(i int)) {
	for i := range n {
		if i > 0 {
			d.s(", ")
		}
		f(i)
	}
}

func (d *deparser) exprs(es []ast.Expr) { d.list(len(es), func(i int) { d.expr(es[i]) }) }

func (d *deparser) names(ns []string) { d.list(len(ns), func(i int) { d.ident(ns[i]) }) }

func (d *deparser) qualified(ns []string) {
	for i, n := range ns {
		if i > 0 {
			d.s(".")
		}
		d.ident(n)
	}
}

func (d *deparser) ident(s string) { d.s(QuoteIdent(s)) }

// QuoteIdent writes an identifier, quoted where PostgreSQL's quote_ident quotes it.
func QuoteIdent(s string) string {
	if plainIdent(s) && !isKeyword(s) {
		return s
	}
	return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
}

func plainIdent(s string) bool {
	if s == "" || !(s[0] >= 'a' && s[0] <= 'z' || s[0] == '_') {
		return false
	}
	for i := 1; i < len(s); i++ {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c == '_' || c >= '0' && c <= '9') {
			return false
		}
	}
	return true
}

// QuoteLiteral writes a string literal. A backslash needs no escape: standard_conforming_strings is always on.
func QuoteLiteral(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func (d *deparser) typeName(t *ast.TypeName) {
	if t.Setof {
		d.s("SETOF ")
	}
	// interval's arguments are a field mask, which has no spelling of its own.
	if t.Name() == "interval" && len(t.Names) == 2 && t.Names[0] == "pg_catalog" {
		d.s("interval")
		d.intervalMods(t)
	} else {
		d.qualified(t.Names)
		if t.PctType {
			d.s("%TYPE")
		}
		if len(t.Typmods) > 0 {
			d.s("(")
			d.exprs(t.Typmods)
			d.s(")")
		}
	}
	for _, b := range t.Bounds {
		d.s("[")
		if b >= 0 {
			d.s(strconv.Itoa(int(b)))
		}
		d.s("]")
	}
}

// intervalFields are the field masks of interval, as the grammar numbers them.
var intervalFields = map[int64]string{
	1 << 2: "year", 1 << 1: "month", 1 << 3: "day", 1 << 10: "hour", 1 << 11: "minute", 1 << 12: "second",
	1<<2 | 1<<1: "year to month", 1<<3 | 1<<10: "day to hour", 1<<3 | 1<<10 | 1<<11: "day to minute",
	1<<3 | 1<<10 | 1<<11 | 1<<12: "day to second", 1<<10 | 1<<11: "hour to minute",
	1<<10 | 1<<11 | 1<<12: "hour to second", 1<<11 | 1<<12: "minute to second",
}

func (d *deparser) intervalMods(t *ast.TypeName) {
	mod := func(i int) (int64, bool) {
		if i >= len(t.Typmods) {
			return 0, false
		}
		c, ok := t.Typmods[i].(*ast.Const)
		return c.Int, ok
	}
	mask, ok := mod(0)
	if !ok {
		return
	}
	f := intervalFields[mask]
	if f != "" {
		d.s(" ", f)
	}
	if p, ok := mod(1); ok {
		d.s("(", strconv.FormatInt(p, 10), ")")
	}
}

func (d *deparser) alias(a *ast.Alias) {
	if a == nil {
		return
	}
	d.s(" AS ")
	d.ident(a.Name)
	if len(a.Columns) > 0 {
		d.s("(")
		d.names(a.Columns)
		d.s(")")
	}
}

func (d *deparser) rangeVar(r *ast.RangeVar) {
	if r.Only {
		d.s("ONLY ")
	}
	d.relName(r)
	d.alias(r.Alias)
}

func (d *deparser) relName(r *ast.RangeVar) {
	if r.Catalog != "" {
		d.ident(r.Catalog)
		d.s(".")
	}
	if r.Schema != "" {
		d.ident(r.Schema)
		d.s(".")
	}
	d.ident(r.Name)
}
