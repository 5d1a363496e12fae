package pgcatalog

import (
	"errors"
	"slices"
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

// binary prints a binary operator over operands brought to the types it takes.
func (r *rulePrinter) binary(op string, a, b printed) (printed, error) {
	call, err := builtin.ResolveOperator(op, a.typeOf(), b.typeOf())
	if err != nil {
		return printed{}, err
	}
	if a, err = r.typed(a, call.Args[0]); err != nil {
		return printed{}, err
	}
	if b, err = r.typed(b, call.Args[1]); err != nil {
		return printed{}, err
	}
	if op == "!=" {
		op = "<>"
	}
	return printed{text: r.paren(r.operand(a, op, true) + " " + op + " " + r.operand(b, op, false)), t: call.Ret, shape: shapeOp, op: op}, nil
}

// boolean joins conditions; AND binds tighter than OR.
func (r *rulePrinter) boolean(and bool, ps []printed) printed {
	word, s := " OR ", shapeOr
	if and {
		word, s = " AND ", shapeAnd
	}
	parts := make([]string, len(ps))
	for i, p := range ps {
		parts[i] = p.text
		if r.pretty && p.shape == shapeOr && (and || s == shapeOr) {
			parts[i] = "(" + p.text + ")"
		}
	}
	return printed{text: r.paren(strings.Join(parts, word)), t: types.Bool, shape: s}
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

func (r *rulePrinter) opExpr(e *ast.OpExpr) (printed, error) {
	if e.Left == nil {
		// A sign before a number is part of it.
		if c, ok := e.Right.(*ast.Const); ok && e.Op == "-" && (c.Kind == ast.ConstInt || c.Kind == ast.ConstBigInt) {
			t := types.Int4
			if c.Kind == ast.ConstBigInt {
				t = types.Int8
			}
			return r.constant(strconv.FormatInt(-c.Int, 10), t), nil
		}
		p, err := r.expr(e.Right)
		if err != nil {
			return printed{}, err
		}
		call, err := builtin.ResolveOperator(e.Op, nil, p.typeOf())
		if err != nil {
			return printed{}, err
		}
		if p, err = r.typed(p, call.Args[0]); err != nil {
			return printed{}, err
		}
		return printed{text: r.paren(e.Op + " " + r.wrap(p)), t: call.Ret, shape: shapeOp}, nil
	}
	if l, ok := e.Left.(*ast.RowExpr); ok {
		return r.rowCompare(e, l)
	}
	a, err := r.expr(e.Left)
	if err != nil {
		return printed{}, err
	}
	b, err := r.expr(e.Right)
	if err != nil {
		return printed{}, err
	}
	return r.binary(e.Op, a, b)
}

// rowCompare prints (a, b) op (c, d): equality is that of the parts, an order keeps the rows.
func (r *rulePrinter) rowCompare(e *ast.OpExpr, l *ast.RowExpr) (printed, error) {
	right, ok := e.Right.(*ast.RowExpr)
	if !ok || len(right.Args) != len(l.Args) {
		return printed{}, errNotPrinted
	}
	var pairs, as, bs []printed
	for i := range l.Args {
		ps, err := r.all([]ast.Expr{l.Args[i], right.Args[i]})
		if err != nil {
			return printed{}, err
		}
		p, err := r.binary(e.Op, ps[0], ps[1])
		if err != nil {
			return printed{}, err
		}
		pairs = append(pairs, p)
		call, err := builtin.ResolveOperator(e.Op, ps[0].typeOf(), ps[1].typeOf())
		if err != nil {
			return printed{}, err
		}
		for k := range ps {
			if ps[k], err = r.typed(ps[k], call.Args[k]); err != nil {
				return printed{}, err
			}
		}
		as, bs = append(as, ps[0]), append(bs, ps[1])
	}
	switch e.Op {
	case "=":
		return r.boolean(true, pairs), nil
	case "<>", "!=":
		return r.boolean(false, pairs), nil
	}
	return printed{text: "(ROW(" + texts(as) + ") " + e.Op + " ROW(" + texts(bs) + "))", t: types.Bool}, nil
}

func (r *rulePrinter) anyAll(e *ast.AnyAllExpr) (printed, error) {
	ps, err := r.all([]ast.Expr{e.Left, e.Right})
	if err != nil {
		return printed{}, err
	}
	return r.scalarArray(e.Op, e.All, ps[0], ps[1])
}

func (r *rulePrinter) scalarArray(op string, all bool, left, array printed) (printed, error) {
	call, t, err := builtin.ResolveScalarArray(op, left.typeOf(), array.typeOf())
	if err != nil {
		return printed{}, err
	}
	if left, err = r.typed(left, call.Args[0]); err != nil {
		return printed{}, err
	}
	if array, err = r.typed(array, t); err != nil {
		return printed{}, err
	}
	word := " ANY ("
	if all {
		word = " ALL ("
	}
	if op == "!=" {
		op = "<>"
	}
	return printed{text: r.paren(r.wrap(left) + " " + op + word + array.text + ")"), t: types.Bool, shape: shapeTest}, nil
}

func (r *rulePrinter) in(e *ast.InExpr) (printed, error) {
	left, err := r.expr(e.Left)
	if err != nil {
		return printed{}, err
	}
	list, err := r.all(e.List)
	if err != nil {
		return printed{}, err
	}
	op := "="
	if e.Not {
		op = "<>"
	}
	if len(list) == 1 {
		return r.binary(op, left, list[0])
	}
	ts := []*types.T{left.typeOf()}
	for _, p := range list {
		ts = append(ts, p.typeOf())
	}
	t, err := builtin.CommonType(ts, "IN")
	if err != nil {
		return printed{}, err
	}
	array := types.ArrayOf(t)
	if array == nil {
		return printed{}, errNotPrinted
	}
	for i := range list {
		if list[i], err = r.typed(list[i], bareOf(t)); err != nil {
			return printed{}, err
		}
	}
	return r.scalarArray(op, e.Not, left, printed{text: "ARRAY[" + texts(list) + "]", t: array})
}

func (r *rulePrinter) between(e *ast.BetweenExpr) (printed, error) {
	ps, err := r.all([]ast.Expr{e.Arg, e.Low, e.High})
	if err != nil {
		return printed{}, err
	}
	within := func(low, high printed) (printed, error) {
		lowOp, highOp := ">=", "<="
		if e.Not {
			lowOp, highOp = "<", ">"
		}
		a, err := r.binary(lowOp, ps[0], low)
		if err != nil {
			return printed{}, err
		}
		b, err := r.binary(highOp, ps[0], high)
		if err != nil {
			return printed{}, err
		}
		return r.boolean(!e.Not, []printed{a, b}), nil
	}
	p, err := within(ps[1], ps[2])
	if err != nil || !e.Symmetric {
		return p, err
	}
	q, err := within(ps[2], ps[1])
	if err != nil {
		return printed{}, err
	}
	return r.boolean(e.Not, []printed{p, q}), nil
}

func (r *rulePrinter) like(e *ast.LikeExpr) (printed, error) {
	ps, err := r.all([]ast.Expr{e.Left, e.Pattern})
	if err != nil {
		return printed{}, err
	}
	op := map[ast.LikeKind]string{ast.Like: "~~", ast.ILike: "~~*", ast.SimilarTo: "~"}[e.Kind]
	if e.Not {
		op = "!" + op
	}
	pattern := ps[1]
	fn := ""
	switch {
	case e.Kind == ast.SimilarTo:
		fn = "similar_to_escape"
	case e.Escape != nil:
		fn = "like_escape"
	}
	if fn != "" {
		args := []printed{pattern}
		if e.Escape != nil {
			esc, err := r.expr(e.Escape)
			if err != nil {
				return printed{}, err
			}
			args = append(args, esc)
		}
		if pattern, err = r.function(fn, args); err != nil {
			return printed{}, err
		}
	}
	return r.binary(op, ps[0], pattern)
}

func (r *rulePrinter) sameType(name string, args []ast.Expr) (printed, error) {
	ps, err := r.all(args)
	if err != nil {
		return printed{}, err
	}
	t, err := r.common(ps)
	return printed{text: name + "(" + texts(ps) + ")", t: t, function: true}, err
}

// caseExpr prints CASE over several lines, as PostgreSQL does even without pretty printing.
func (r *rulePrinter) caseExpr(e *ast.CaseExpr) (printed, error) {
	var conds, results []printed
	var arg printed
	var err error
	if e.Arg != nil {
		if arg, err = r.expr(e.Arg); err != nil {
			return printed{}, err
		}
	}
	for _, w := range e.Whens {
		c, err := r.expr(w.Cond)
		if err != nil {
			return printed{}, err
		}
		want := types.Bool
		if e.Arg != nil {
			call, err := builtin.ResolveOperator("=", arg.typeOf(), c.typeOf())
			if err != nil {
				return printed{}, err
			}
			want = call.Args[1]
		}
		if c, err = r.typed(c, want); err != nil {
			return printed{}, err
		}
		res, err := r.expr(w.Result)
		if err != nil {
			return printed{}, err
		}
		conds, results = append(conds, c), append(results, res)
	}
	last := printed{lit: &ast.Const{Kind: ast.ConstNull}, t: types.Unknown}
	if e.Else != nil {
		if last, err = r.expr(e.Else); err != nil {
			return printed{}, err
		}
	}
	results = append(results, last)
	t, err := r.common(results)
	if err != nil {
		return printed{}, err
	}
	line := "\n" + strings.Repeat(" ", r.indent)
	var b strings.Builder
	b.WriteString(line + "CASE")
	if e.Arg != nil {
		b.WriteString(" " + arg.text)
	}
	for i, c := range conds {
		b.WriteString(line + "    WHEN " + c.text + " THEN " + results[i].text)
	}
	b.WriteString(line + "    ELSE " + results[len(results)-1].text + line + "END")
	return printed{text: b.String(), t: t}, nil
}

func (r *rulePrinter) array(e *ast.ArrayExpr, elem *types.T) (printed, error) {
	if len(e.Elems) == 0 {
		if elem == nil {
			return printed{}, errNotPrinted
		}
		t := types.ArrayOf(elem)
		return printed{text: "ARRAY[]::" + r.typeName(t), t: t}, nil
	}
	for _, x := range e.Elems {
		if _, nested := x.(*ast.ArrayExpr); nested {
			ps := make([]printed, len(e.Elems))
			for i, x := range e.Elems {
				sub, ok := x.(*ast.ArrayExpr)
				if !ok {
					return printed{}, errNotPrinted
				}
				var err error
				if ps[i], err = r.array(sub, elem); err != nil {
					return printed{}, err
				}
			}
			return printed{text: "ARRAY[" + texts(ps) + "]", t: ps[0].t}, nil
		}
	}
	ps, err := r.all(e.Elems)
	if err != nil {
		return printed{}, err
	}
	if elem != nil {
		for i := range ps {
			if ps[i], err = r.typed(ps[i], elem); err != nil {
				return printed{}, err
			}
		}
	} else if elem, err = r.common(ps); err != nil {
		return printed{}, err
	}
	t := types.ArrayOf(bareOf(elem))
	if t == nil {
		return printed{}, errNotPrinted
	}
	return printed{text: "ARRAY[" + texts(ps) + "]", t: t}, nil
}

func (r *rulePrinter) indirection(e *ast.Indirection) (printed, error) {
	p, err := r.expr(e.Arg)
	if err != nil {
		return printed{}, err
	}
	if p.t == nil || p.lit != nil {
		return printed{}, errNotPrinted
	}
	text := p.text
	if _, col := e.Arg.(*ast.ColumnRef); !col || e.Steps[0].Kind == ast.FieldStep {
		text = "(" + text + ")"
	}
	t := p.t.BaseType()
	for i := 0; i < len(e.Steps); i++ {
		st := e.Steps[i]
		switch st.Kind {
		case ast.FieldStep:
			if t.Def == nil {
				return printed{}, errNotPrinted
			}
			k := slices.IndexFunc(t.Def.Fields, func(f types.Field) bool { return f.Name == st.Name })
			if k < 0 {
				return printed{}, errNotPrinted
			}
			text, t = text+"."+quoteIdent(st.Name), t.Def.Fields[k].Type.BaseType()
		case ast.IndexStep, ast.SliceStep:
			slice := false
			for i < len(e.Steps) && (e.Steps[i].Kind == ast.IndexStep || e.Steps[i].Kind == ast.SliceStep) {
				st := e.Steps[i]
				text += "["
				slice = slice || st.Kind == ast.SliceStep
				for n, b := range []ast.Expr{st.Lower, st.Upper} {
					if n == 1 && st.Kind == ast.SliceStep {
						text += ":"
					}
					if b == nil {
						continue
					}
					x, err := r.expr(b)
					if err != nil {
						return printed{}, err
					}
					want := types.Int4
					if t.OID == types.OIDJSONB && x.typeOf().OID != types.OIDInt4 {
						want = types.Text
					}
					if x, err = r.typed(x, want); err != nil {
						return printed{}, err
					}
					text += x.text
				}
				text += "]"
				i++
			}
			i--
			if !slice && t.OID != types.OIDJSONB {
				if t.Elem == nil {
					return printed{}, errNotPrinted
				}
				t = t.Elem
			}
		default:
			return printed{}, errNotPrinted
		}
	}
	return printed{text: text, t: t}, nil
}

func (r *rulePrinter) typeCast(e *ast.TypeCast) (printed, error) {
	t, err := r.env.Snapshot.ResolveType(r.env.SearchPath, e.Type)
	if err != nil {
		return printed{}, err
	}
	if a, ok := e.Arg.(*ast.ArrayExpr); ok && t.IsArray() {
		p, err := r.array(a, t.Elem)
		if err != nil || t.Typmod < 0 {
			return p, err
		}
		return r.cast(p, t), nil
	}
	p, err := r.expr(e.Arg)
	if err != nil {
		return printed{}, err
	}
	if p.lit == nil {
		if p.t.OID == t.OID && (t.Typmod < 0 || p.t.Typmod == t.Typmod) {
			return p, nil
		}
		return r.cast(p, t), nil
	}
	if p, err = r.typed(p, t); err != nil || t.Typmod < 0 || p.plainConst == "NULL" {
		return p, err
	}
	return printed{text: p.plainConst + "::" + r.typeName(t), t: t, shape: shapeCast}, nil
}

// function prints an ordinary call with its arguments brought to the parameters' types.
func (r *rulePrinter) function(name string, args []printed) (printed, error) {
	ts := make([]*types.T, len(args))
	for i, a := range args {
		ts[i] = a.typeOf()
	}
	call, err := builtin.Resolve(builtin.FuncRequest{Name: name, Args: ts})
	if err != nil {
		return printed{}, err
	}
	for i := range args {
		if args[i], err = r.typed(args[i], call.Args[i]); err != nil {
			return printed{}, err
		}
	}
	return printed{text: quoteIdent(name) + "(" + texts(args) + ")", t: call.Ret, function: true}, nil
}

func (r *rulePrinter) call(e *ast.FuncCall) (printed, error) {
	if e.Over != nil || e.Star || e.Distinct || e.Filter != nil || e.OrderBy != nil || e.Variadic ||
		len(e.Name) > 1 && e.Name[0] != "pg_catalog" {
		return printed{}, errNotPrinted
	}
	name := e.Name[len(e.Name)-1]
	args, err := r.all(e.Args)
	if err != nil {
		return printed{}, err
	}
	p, err := r.function(name, args)
	if err != nil || !e.SQLSyntax {
		return p, err
	}
	// The forms of SQL: the arguments now have their types.
	arg := func(i int) string { return args[i].text }
	n := len(args)
	switch {
	case name == "timezone" && n == 2:
		p.text, p.function = "("+r.wrap(args[1])+" AT TIME ZONE "+r.wrap(args[0])+")", false
	case name == "extract" && n == 2:
		c, ok := e.Args[0].(*ast.Const)
		if !ok {
			return printed{}, errNotPrinted
		}
		p.text = "EXTRACT(" + c.Str + " FROM " + arg(1) + ")"
	case name == "position" && n == 2:
		p.text = "POSITION((" + arg(1) + ") IN (" + arg(0) + "))"
	case name == "overlay" && n == 3:
		p.text = "OVERLAY(" + arg(0) + " PLACING " + arg(1) + " FROM " + arg(2) + ")"
	case name == "overlay" && n == 4:
		p.text = "OVERLAY(" + arg(0) + " PLACING " + arg(1) + " FROM " + arg(2) + " FOR " + arg(3) + ")"
	case name == "substring" && n == 2:
		p.text = "SUBSTRING(" + arg(0) + " FROM " + arg(1) + ")"
	case name == "substring" && n == 3:
		p.text = "SUBSTRING(" + arg(0) + " FROM " + arg(1) + " FOR " + arg(2) + ")"
	case name == "btrim" || name == "ltrim" || name == "rtrim":
		side := map[string]string{"btrim": "BOTH", "ltrim": "LEADING", "rtrim": "TRAILING"}[name]
		p.text = "TRIM(" + side + " FROM " + arg(0) + ")"
		if n == 2 {
			p.text = "TRIM(" + side + " " + arg(1) + " FROM " + arg(0) + ")"
		}
	case name == "overlaps" && n == 4:
		p.text = "((" + arg(0) + ", " + arg(1) + ") OVERLAPS (" + arg(2) + ", " + arg(3) + "))"
	case name == "is_normalized":
		p.text = "(" + arg(0) + " IS NORMALIZED)"
	}
	return p, nil
}

func (r *rulePrinter) sqlValue(e *ast.SQLValueFunc) (printed, error) {
	name := [...]string{"CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP", "CURRENT_ROLE", "CURRENT_USER",
		"USER", "SESSION_USER", "CURRENT_CATALOG", "CURRENT_SCHEMA"}[e.Op]
	t := types.Name
	switch e.Op {
	case ast.CurrentDate:
		t = types.Date
	case ast.CurrentTime:
		t = types.TimeTZT
	case ast.CurrentTimestamp:
		t = types.TimestampTZ
	case ast.LocalTime:
		t = types.Time
	case ast.LocalTimestamp:
		t = types.Timestamp
	}
	if e.Precision >= 0 {
		name += "(" + strconv.Itoa(int(e.Precision)) + ")"
	}
	return printed{text: name, t: t}, nil
}
