package pgcatalog

import (
	"errors"
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/types"
)

// PostgreSQL keeps expressions with their types and prints them with every coercion that it had to make:
// CHECK (n >= 0) over a numeric column comes back as CHECK ((n >= (0)::numeric)). The catalog here keeps the
// text; the printer finds the types again as it walks the tree.

// columnTypes tells how a column is printed and of what type it is.
type columnTypes func(fields []string) (text string, t *types.T, ok bool)

// rulePrinter prints an expression. pretty leaves out the parentheses that precedence makes needless.
type rulePrinter struct {
	env    *catalog.VirtualEnv
	column columnTypes
	pretty bool
	indent int
}

// errNotPrinted says that an expression holds something the printer does not know.
var errNotPrinted = errors.New("pgcatalog: expression cannot be printed with types")

// printed is an expression as text. A literal that has no type yet keeps itself in lit.
type printed struct {
	text  string
	t     *types.T
	shape shape
	op    string // of shapeOp
	lit   *ast.Const
	// plainConst is a constant's text without its type, for a cast that names the type anyway.
	plainConst string
	function   bool // looks like a function call, which an index key shows bare
}

// shape is what decides about parentheses.
type shape uint8

const (
	shapeAtom shape = iota // constants, columns, calls: never in parentheses
	shapeCast
	shapeOp
	shapeAnd
	shapeOr
	shapeNot
	shapeTest // IS NULL, IS DISTINCT FROM, COLLATE, = ANY
)

func tableColumns(t *catalog.Table) columnTypes {
	return func(fields []string) (string, *types.T, bool) {
		c := t.Column(fields[len(fields)-1])
		if c == nil {
			return "", nil, false
		}
		return quoteIdent(c.Name), c.T, true
	}
}

// domainValue is the only column of a domain's checks.
func domainValue(base *types.T) columnTypes {
	return func(fields []string) (string, *types.T, bool) {
		return "VALUE", base, len(fields) == 1 && fields[0] == "value"
	}
}

// ruleExpr prints a stored expression, with target the type that it is assigned to, nil if none. What the
// printer does not know comes out without types.
func ruleExpr(env *catalog.VirtualEnv, expr string, column columnTypes, target *types.T, pretty bool) printed {
	plain := printed{text: exprText(env, expr)}
	if e, err := parser.ParseExpr(plain.text); err == nil {
		switch e.(type) {
		case *ast.OpExpr, *ast.BoolExpr, *ast.InExpr, *ast.LikeExpr, *ast.BetweenExpr:
			if !pretty {
				plain.text = parenthesised(plain.text)
			}
		case *ast.FuncCall:
			plain.function = true
		}
	}
	if env.Snapshot == nil {
		return plain
	}
	e, err := parser.ParseExpr(expr)
	if err != nil {
		return plain
	}
	r := &rulePrinter{env: env, column: column, pretty: pretty}
	p, err := r.expr(e)
	if err == nil && p.lit != nil {
		if target == nil {
			target = types.Text
		}
		p, err = r.typed(p, bareOf(target))
	}
	if err != nil {
		return plain
	}
	return p
}

func ruleText(env *catalog.VirtualEnv, expr string, column columnTypes, target *types.T, pretty bool) string {
	return ruleExpr(env, expr, column, target, pretty).text
}

// columnDefault prints the default of a column, or what generates it.
func columnDefault(env *catalog.VirtualEnv, t *catalog.Table, c *catalog.Column) string {
	text := c.Default
	if c.Generated != "" {
		text = c.Generated
	}
	return ruleText(env, text, tableColumns(t), c.T, false)
}

func bareOf(t *types.T) *types.T {
	if t.Typmod >= 0 {
		return t.WithTypmod(-1)
	}
	return t
}

func (r *rulePrinter) typeName(t *types.T) string { return typeText(r.env, t) }

func quoteText(s string) string {
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}

// constant prints a value of a type as get_const_expr does.
func (r *rulePrinter) constant(text string, t *types.T) printed {
	p := printed{t: t}
	switch b := t; b.OID {
	case types.OIDInt4:
		if !strings.HasPrefix(text, "-") {
			p.text, p.plainConst = text, text
			return p
		}
	case types.OIDNumeric:
		if text[0] >= '0' && text[0] <= '9' && strings.ContainsAny(text, "eE.") {
			p.text, p.plainConst = text, text
			return p
		}
	case types.OIDBool:
		p.text = map[string]string{"t": "true", "f": "false"}[text]
		p.plainConst = p.text
		return p
	}
	p.plainConst = quoteText(text)
	p.text = p.plainConst + "::" + r.typeName(t)
	return p
}

// typed gives an untyped literal its type, or wraps a value of another type in the cast that it needs.
func (r *rulePrinter) typed(p printed, to *types.T) (printed, error) {
	if p.lit == nil {
		if to == nil || p.t.OID == to.OID || to.Class == 'p' || p.t.BaseType().OID == to.OID {
			return p, nil
		}
		return r.cast(p, to), nil
	}
	if to.Class == 'p' || to.OID == types.OIDUnknown {
		to = types.Text
	}
	if p.lit.Kind == ast.ConstNull {
		return printed{text: "NULL::" + r.typeName(to), t: to, plainConst: "NULL"}, nil
	}
	base := bareOf(to.BaseType())
	if to.OID == types.OIDInterval && to.Typmod >= 0 {
		base = to
	}
	text := p.lit.Str
	if to.OID == types.OIDRegclass {
		if oid, err := strconv.ParseUint(text, 10, 32); err == nil {
			if name, ok := RegName(r.env, types.OIDRegclass, uint32(oid)); ok {
				return printed{text: quoteText(name) + "::regclass", t: to, plainConst: quoteText(name)}, nil
			}
		}
		return printed{text: quoteText(text) + "::regclass", t: to, plainConst: quoteText(text)}, nil
	}
	d, err := types.ParseText(text, base, types.DefaultSettings)
	if err != nil {
		return p, errNotPrinted
	}
	out := r.constant(string(types.AppendText(nil, d, base, types.DefaultSettings)), bareOf(to))
	return out, nil
}

// cast prints arg::type.
func (r *rulePrinter) cast(p printed, to *types.T) printed {
	text := p.text
	switch {
	case p.plainConst != "" && p.t.OID == to.OID:
		text = p.plainConst
	case !r.pretty:
		text = "(" + text + ")"
	case p.shape != shapeAtom && p.shape != shapeCast:
		text = "(" + text + ")"
	}
	return printed{text: text + "::" + r.typeName(to), t: to, shape: shapeCast}
}

// wrap puts an expression that pretty printing left bare into parentheses.
func (r *rulePrinter) wrap(p printed) string {
	if !r.pretty || p.shape == shapeAtom || p.shape == shapeCast {
		return p.text
	}
	return "(" + p.text + ")"
}

// paren is an operator's own parentheses.
func (r *rulePrinter) paren(s string) string {
	if r.pretty {
		return s
	}
	return "(" + s + ")"
}

// operand prints an operand of op; left says on which side it stands.
func (r *rulePrinter) operand(p printed, op string, left bool) string {
	if r.pretty && p.shape == shapeOp && p.op != "" && op != "" {
		low, high := strings.Contains("+-", p.op), strings.Contains("*/%", p.op)
		parentLow, parentHigh := strings.Contains("+-", op), strings.Contains("*/%", op)
		if len(p.op) == 1 && len(op) == 1 && (low || high) && (parentLow || parentHigh) {
			if high && parentLow || left && low == parentLow {
				return p.text
			}
		}
	}
	return r.wrap(p)
}

func (r *rulePrinter) all(es []ast.Expr) ([]printed, error) {
	out := make([]printed, len(es))
	for i, e := range es {
		var err error
		if out[i], err = r.expr(e); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (p printed) typeOf() *types.T {
	if p.lit != nil || p.t == nil {
		return types.Unknown
	}
	return p.t
}

// common brings expressions to one type.
func (r *rulePrinter) common(ps []printed) (*types.T, error) {
	ts := make([]*types.T, len(ps))
	for i, p := range ps {
		ts[i] = p.typeOf()
	}
	t, err := builtin.CommonType(ts, "CASE")
	if err != nil {
		return nil, err
	}
	for i := range ps {
		if ps[i], err = r.typed(ps[i], t); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func texts(ps []printed) string {
	out := make([]string, len(ps))
	for i, p := range ps {
		out[i] = p.text
	}
	return strings.Join(out, ", ")
}

func (r *rulePrinter) expr(e ast.Expr) (printed, error) {
	switch e := e.(type) {
	case *ast.Const:
		return r.literal(e)
	case *ast.ColumnRef:
		if e.Star || r.column == nil {
			return printed{}, errNotPrinted
		}
		text, t, ok := r.column(e.Fields)
		if !ok || t == nil {
			return printed{}, errNotPrinted
		}
		return printed{text: text, t: t}, nil
	case *ast.OpExpr:
		return r.opExpr(e)
	case *ast.BoolExpr:
		ps, err := r.all(e.Args)
		if err != nil {
			return printed{}, err
		}
		for i := range ps {
			if ps[i], err = r.typed(ps[i], types.Bool); err != nil {
				return printed{}, err
			}
		}
		if e.Op == ast.Not {
			p := ps[0]
			text := p.text
			if r.pretty && (p.shape == shapeAnd || p.shape == shapeOr) {
				text = "(" + text + ")"
			}
			return printed{text: r.paren("NOT " + text), t: types.Bool, shape: shapeNot}, nil
		}
		return r.boolean(e.Op == ast.And, ps), nil
	case *ast.AnyAllExpr:
		return r.anyAll(e)
	case *ast.InExpr:
		return r.in(e)
	case *ast.BetweenExpr:
		return r.between(e)
	case *ast.LikeExpr:
		return r.like(e)
	case *ast.DistinctExpr:
		ps, err := r.all([]ast.Expr{e.Left, e.Right})
		if err != nil {
			return printed{}, err
		}
		call, err := builtin.ResolveOperator("=", ps[0].typeOf(), ps[1].typeOf())
		if err != nil {
			return printed{}, err
		}
		for i := range ps {
			if ps[i], err = r.typed(ps[i], call.Args[i]); err != nil {
				return printed{}, err
			}
		}
		p := printed{text: r.paren(r.wrap(ps[0]) + " IS DISTINCT FROM " + r.wrap(ps[1])), t: types.Bool, shape: shapeTest}
		if e.Not {
			p = printed{text: r.paren("NOT " + p.text), t: types.Bool, shape: shapeNot}
		}
		return p, nil
	case *ast.NullIfExpr:
		ps, err := r.all([]ast.Expr{e.Left, e.Right})
		if err != nil {
			return printed{}, err
		}
		call, err := builtin.ResolveOperator("=", ps[0].typeOf(), ps[1].typeOf())
		if err != nil {
			return printed{}, err
		}
		for i := range ps {
			if ps[i], err = r.typed(ps[i], call.Args[i]); err != nil {
				return printed{}, err
			}
		}
		return printed{text: "NULLIF(" + texts(ps) + ")", t: ps[0].t, function: true}, nil
	case *ast.CoalesceExpr:
		return r.sameType("COALESCE", e.Args)
	case *ast.MinMaxExpr:
		if e.Least {
			return r.sameType("LEAST", e.Args)
		}
		return r.sameType("GREATEST", e.Args)
	case *ast.CaseExpr:
		return r.caseExpr(e)
	case *ast.NullTest:
		p, err := r.expr(e.Arg)
		if err != nil {
			return printed{}, err
		}
		if p, err = r.typed(p, p.typeOf()); err != nil {
			return printed{}, err
		}
		word := " IS NULL"
		if e.Not {
			word = " IS NOT NULL"
		}
		return printed{text: r.paren(r.wrap(p) + word), t: types.Bool, shape: shapeTest}, nil
	case *ast.BooleanTest:
		p, err := r.expr(e.Arg)
		if err != nil {
			return printed{}, err
		}
		if p, err = r.typed(p, types.Bool); err != nil {
			return printed{}, err
		}
		word := [...]string{"TRUE", "NOT TRUE", "FALSE", "NOT FALSE", "UNKNOWN", "NOT UNKNOWN"}[e.Kind]
		return printed{text: r.paren(r.wrap(p) + " IS " + word), t: types.Bool, shape: shapeTest}, nil
	case *ast.ArrayExpr:
		return r.array(e, nil)
	case *ast.RowExpr:
		ps, err := r.all(e.Args)
		if err != nil {
			return printed{}, err
		}
		for i := range ps {
			if ps[i], err = r.typed(ps[i], ps[i].typeOf()); err != nil {
				return printed{}, err
			}
		}
		return printed{text: "ROW(" + texts(ps) + ")", t: types.Record}, nil
	case *ast.Indirection:
		return r.indirection(e)
	case *ast.TypeCast:
		return r.typeCast(e)
	case *ast.CollateExpr:
		p, err := r.expr(e.Arg)
		if err != nil {
			return printed{}, err
		}
		if p, err = r.typed(p, p.typeOf()); err != nil {
			return printed{}, err
		}
		return printed{text: "(" + r.wrap(p) + " COLLATE " + quoteIdent(e.Name[len(e.Name)-1]) + ")", t: p.t}, nil
	case *ast.FuncCall:
		return r.call(e)
	case *ast.SQLValueFunc:
		return r.sqlValue(e)
	}
	return printed{}, errNotPrinted
}

func (r *rulePrinter) literal(c *ast.Const) (printed, error) {
	switch c.Kind {
	case ast.ConstInt:
		return r.constant(strconv.FormatInt(c.Int, 10), types.Int4), nil
	case ast.ConstBigInt:
		return r.constant(strconv.FormatInt(c.Int, 10), types.Int8), nil
	case ast.ConstNumeric:
		n, err := types.ParseNumeric(c.Str)
		if err != nil {
			return printed{}, err
		}
		return r.constant(types.NumericString(n), types.Numeric), nil
	case ast.ConstBitString:
		bits, err := types.ParseText(c.Str, types.Bit, nil)
		if err != nil {
			return printed{}, err
		}
		return r.constant(string(types.AppendText(nil, bits, types.Bit, types.DefaultSettings)), types.Bit), nil
	case ast.ConstBool:
		return r.constant(map[bool]string{true: "t", false: "f"}[c.Bool], types.Bool), nil
	case ast.ConstNull, ast.ConstString:
		return printed{lit: c, t: types.Unknown}, nil
	}
	return printed{}, errNotPrinted
}
