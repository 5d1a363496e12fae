package plan

import (
	"slices"
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// clauseName is what errors about aggregates and their like call a clause.
func clauseName(clause string) string {
	if clause == "JOIN/ON" {
		return "JOIN conditions"
	}
	return clause
}

func itoa(i int) string { return strconv.Itoa(i) }

// funcCall binds a call of a function, an aggregate, a window function or a set-returning function.
func (s *scope) funcCall(e *ast.FuncCall) (Expr, error) {
	b := s.b
	name := e.Name[len(e.Name)-1]
	args, call, err := s.resolveCall(e)
	if err != nil {
		// A one-argument "function" that names a type is a cast, and f(rel) may be a column of rel.
		if len(e.Args) == 1 && pgerr.Code(err) == pgerr.UndefinedFunction && !e.Star && e.Over == nil {
			if x, ok := s.castCall(name, e); ok {
				return x, nil
			}
		}
		return nil, err
	}
	switch call.Func.Kind {
	case 'a':
		if r, ok := call.Func.User.(*Routine); ok && r.Writes() {
			b.calls = true
		}
		if e.Over != nil {
			return s.windowCall(e, name, call, args)
		}
		return s.aggregate(e, name, call, args)
	case 'w':
		if e.Over == nil {
			return nil, errAt(e.Off, pgerr.WrongObjectType, "window function %s requires an OVER clause", name)
		}
		return s.windowCall(e, name, call, args)
	case 'p':
		return nil, errAt(e.Off, pgerr.WrongObjectType, "%s is a procedure", functionSignature(call.Func)).WithHint("To call a procedure, use CALL.")
	}
	notAgg := func(what string) error {
		return errAt(e.Off, pgerr.WrongObjectType, "%s specified, but %s is not an aggregate function", what, name)
	}
	switch {
	case e.Star:
		return nil, errAt(e.Off, pgerr.WrongObjectType, "%s(*) specified, but %s is not an aggregate function", name, name)
	case e.Distinct:
		return nil, notAgg("DISTINCT")
	case e.WithinGroup:
		return nil, notAgg("WITHIN GROUP")
	case len(e.OrderBy) > 0:
		return nil, notAgg("ORDER BY")
	case e.Filter != nil:
		return nil, notAgg("FILTER")
	case e.Over != nil:
		return nil, errAt(e.Off, pgerr.WrongObjectType, "OVER specified, but %s is not a window function nor an aggregate function", name)
	}
	if call.RetSet {
		if r, ok := call.Func.User.(*Routine); ok && call.Volatility == 'v' && r.Writes() {
			b.calls = true
		}
		if s.noSRF || s.q == nil {
			return nil, errAt(e.Off, pgerr.FeatureNotSupported, "set-returning functions are not allowed in %s", clauseName(s.clause))
		}
		if s.chooses != "" {
			return nil, errAt(e.Off, pgerr.FeatureNotSupported, "set-returning functions are not allowed in %s", s.chooses).
				WithHint("You might be able to move the set-returning function into a LATERAL FROM item.")
		}
		if s.inAgg {
			return nil, errAt(e.Off, pgerr.FeatureNotSupported, "aggregate function calls cannot contain set-returning function calls").
				WithHint("You might be able to move the set-returning function into a LATERAL FROM item.")
		}
		sc := &SetCall{Name: name, Call: call, Args: args, Slot: b.newSlot(), T: call.Ret}
		if len(call.Columns) > 1 {
			sc.T = recordOf(call.Columns)
		}
		s.q.srfs = append(s.q.srfs, sc)
		return &Col{Slot: sc.Slot, T: sc.T, Name: name, Pos: -1}, nil
	}
	if r, ok := call.Func.User.(*Routine); ok && call.Volatility == 'v' && r.Writes() {
		b.calls = true
	}
	if writingFunctions[name] && call.Func.User == nil {
		if guardedFunctions[name] {
			b.calls = true
		} else {
			b.writes = true
		}
	}
	t := call.Ret
	if len(call.Columns) > 1 && t.OID == types.OIDRecord {
		t = recordOf(call.Columns)
	}
	if r, ok := call.Func.User.(*Routine); call.Volatility != 'i' && !(ok && r.Desc.Lang == "sql") {
		b.mutable = true // a function in SQL counts as what it calls once inlined, which is not looked into
	}
	if call.Volatility == 'v' {
		b.volatile = true
	}
	return b.foldFunc(&Func{Name: name, Call: call, Args: args, T: t}), nil
}

func recordOf(cols []types.Field) *types.T {
	t := *types.Record
	t.Def = &types.Def{Fields: cols}
	return &t
}

// resolveCall binds the arguments and chooses the function.
func (s *scope) resolveCall(e *ast.FuncCall) ([]Expr, *builtin.Call, error) {
	name := e.Name[len(e.Name)-1]
	if len(e.Name) > 1 {
		if sc := e.Name[len(e.Name)-2]; sc != "pg_catalog" && sc != "information_schema" {
			users := s.b.users(sc, name)
			if sc == "meridian" {
				s.b.writes = true // on the cluster; the snapshot of a lone SELECT may be any node's
				return s.resolveArgs(e, builtin.FuncRequest{Name: sc + "." + name})
			}
			if users == nil {
				if _, err := s.b.env.Catalog.Type(s.b.path, &ast.TypeName{Names: []string{sc, name}}); pgerr.Code(err) == pgerr.InvalidSchemaName {
					return nil, nil, errAt(e.Off, pgerr.InvalidSchemaName, "schema %q does not exist", sc)
				}
				bound, err := s.argTypes(e)
				if err != nil {
					return nil, nil, err
				}
				_, err = builtin.Resolve(builtin.FuncRequest{Name: sc + "." + name, Args: bound, OnlyUsers: true})
				return nil, nil, at(err, e.Off)
			}
			return s.resolveArgs(e, builtin.FuncRequest{Name: name, Shown: strings.Join(e.Name, "."), Users: users, OnlyUsers: true})
		}
		return s.resolveArgs(e, builtin.FuncRequest{Name: name, Shown: strings.Join(e.Name, ".")})
	}
	users := s.b.users("", name)
	return s.resolveArgs(e, builtin.FuncRequest{Name: name, Users: users, Ahead: s.b.aheadOfBuiltin(users, name)})
}

// resolveArgs binds the arguments of a call and chooses among the functions of its name.
func (s *scope) resolveArgs(e *ast.FuncCall, req builtin.FuncRequest) ([]Expr, *builtin.Call, error) {
	in := s
	req.Variadic, req.Casts = e.Variadic, s.b.casts()
	var args []Expr
	var pos []int32
	named := false
	for i, a := range e.Args {
		argName := ""
		if na, ok := a.(*ast.NamedArg); ok {
			argName, a, named = na.Name, na.Arg, true
			_ = i
		} else if named {
			return nil, nil, errAt(a.Position(), pgerr.SyntaxError, "positional argument cannot follow named argument")
		}
		x, err := in.argument(a)
		if err != nil {
			return nil, nil, err
		}
		if p, ok := x.(*Param); ok && p.T.OID == types.OIDVoid {
			continue // JDBC's placeholder for an OUT parameter, which calls do not give
		}
		args = append(args, x)
		pos = append(pos, a.Position())
		req.Args = append(req.Args, x.Type())
		req.ArgNames = append(req.ArgNames, argName)
	}
	if !named {
		req.ArgNames = nil
	}
	if e.WithinGroup {
		for _, o := range e.OrderBy {
			x, err := in.expr(o.Expr)
			if err != nil {
				return nil, nil, err
			}
			args = append(args, x)
			pos = append(pos, o.Off)
			req.Args = append(req.Args, x.Type())
		}
	}
	if e.WithinGroup && len(e.Args) != len(e.OrderBy) && slices.ContainsFunc(builtin.FuncsNamed(req.Name), func(f *builtin.Func) bool {
		return f.Agg != nil && f.Agg.Kind == 'h'
	}) {
		names := make([]string, len(req.Args))
		for i, t := range req.Args {
			names[i] = types.TypeName(t)
		}
		return nil, nil, errAt(e.Off, pgerr.UndefinedFunction, "function %s(%s) does not exist", req.Name, strings.Join(names, ", ")).
			WithHint("To use the hypothetical-set aggregate %s, the number of hypothetical direct arguments (here %d) must match the number of ordering columns (here %d).",
				req.Name, len(e.Args), len(e.OrderBy))
	}
	call, err := builtin.Resolve(req)
	if err != nil {
		if g, ok := err.(*pgerr.Error); ok && g.Code == pgerr.UndefinedFunction && len(e.OrderBy) > 1 && !e.WithinGroup {
			err = g.WithHint("No aggregate function matches the given name and argument types. Perhaps you misplaced ORDER BY; ORDER BY must appear after all regular arguments of the aggregate.")
		}
		return nil, nil, at(err, e.Off)
	}
	if last := len(args) - 1; e.Variadic && call.Func.Variadic == types.OIDAny {
		if t := args[last].Type().BaseType(); !t.IsArray() && t.OID != types.OIDUnknown {
			return nil, nil, errAt(pos[last], pgerr.DatatypeMismatch, "VARIADIC argument must be an array")
		}
	}
	if a := call.Func.Agg; a != nil && a.Kind == 'h' && e.WithinGroup && len(args) == 2*len(e.Args) {
		// The hypothetical row's values take the types of the columns they are compared with.
		for i := range e.Args {
			pair := []Expr{args[len(e.Args)+i], args[i]}
			if _, err := s.b.common(pair, "WITHIN GROUP", []int32{pos[len(e.Args)+i], pos[i]}); err != nil {
				return nil, nil, err
			}
			args[len(e.Args)+i], args[i] = pair[0], pair[1]
		}
	}
	for i := range args {
		if i >= len(call.Args) {
			break
		}
		if args[i], err = s.b.coerce(args[i], call.Args[i], builtin.CastImplicit, pos[i]); err != nil {
			return nil, nil, err
		}
		args[i] = s.b.settle(args[i])
	}
	if call.Func.User != nil {
		args, err = s.b.completeArgs(call, args)
		return args, call, at(err, e.Off)
	}
	return args, call, nil
}

// argument binds a function argument, where a relation's name means its row and rel.* too.
func (s *scope) argument(a ast.Expr) (Expr, error) {
	if r, ok := a.(*ast.ColumnRef); ok && r.Star && len(r.Fields) > 0 {
		rl, err := s.findRel("", r.Fields[len(r.Fields)-1], r.Off)
		if err != nil {
			return nil, err
		}
		if rl == nil {
			if s.b.env.Variables != nil {
				v := &ast.ColumnRef{Fields: r.Fields, Pos: r.Pos}
				if x, err := s.column(v); err == nil && x.Type().Kind == types.KindTuple {
					return x, nil
				}
			}
			return nil, s.missingRel(r.Fields[len(r.Fields)-1], r.Off)
		}
		return s.wholeRow(rl), nil
	}
	return s.expr(a)
}

// attribute is x.name where x has no field of that name: a call of the function name with x. It is nil if there is none.
func (s *scope) attribute(x ast.Expr, name string, pos int32) (Expr, error) {
	call := &ast.FuncCall{Name: []string{name}, Args: []ast.Expr{x}, Pos: ast.Pos{Off: pos}}
	if _, _, err := s.resolveCall(call); err != nil {
		return nil, nil // casts are not written so
	}
	return s.funcCall(call)
}

func (s *scope) argTypes(e *ast.FuncCall) ([]*types.T, error) {
	var ts []*types.T
	for _, a := range e.Args {
		if na, ok := a.(*ast.NamedArg); ok {
			a = na.Arg
		}
		x, err := s.expr(a)
		if err != nil {
			return nil, err
		}
		ts = append(ts, x.Type())
	}
	return ts, nil
}

// castCall tries f(x) as a cast to type f, and f(row) as a field of the row.
func (s *scope) castCall(name string, e *ast.FuncCall) (Expr, bool) {
	a, err := s.argument(e.Args[0])
	if err != nil {
		return nil, false
	}
	if a.Type().Kind == types.KindTuple {
		if x, err := s.field(a, name, e.Off); err == nil {
			return x, true
		}
	}
	t := types.ByInternalName(name)
	if t == nil || t.Class == 'p' {
		return nil, false
	}
	x, err := s.b.explicitCast(a, t, e.Off)
	return x, err == nil
}

// ordersInput are the aggregates whose result shows the order of their input.
var ordersInput = map[string]bool{"array_agg": true, "string_agg": true, "json_agg": true, "jsonb_agg": true, "json_object_agg": true, "jsonb_object_agg": true}

// aggregate binds an aggregate call of the current query level, or of the outer one that all its columns
// belong to.
func (s *scope) aggregate(e *ast.FuncCall, name string, call *builtin.Call, args []Expr) (Expr, error) {
	switch {
	case s.inAgg && s.clause == "FILTER":
		return nil, errAt(e.Off, pgerr.GroupingError, "aggregate functions are not allowed in FILTER")
	case s.inAgg:
		return nil, errAt(e.Off, pgerr.GroupingError, "aggregate function calls cannot be nested")
	}
	owner := s.q
	deps := args
	if e.Filter != nil {
		f := *s
		f.inAgg = true
		x, err := f.in("FILTER", true, true, true).condition(e.Filter, "FILTER")
		if err != nil {
			return nil, err
		}
		deps = append(append([]Expr(nil), args...), x)
	}
	if a := call.Func.Agg; a != nil && a.Kind != 'n' && e.WithinGroup {
		// The aggregated arguments alone decide where an ordered-set aggregate belongs.
		direct, rest := deps[:len(e.Args)], deps[len(e.Args):]
		if sc := s.b.levelOf(rest, s); sc != nil && s.ownsColumn(direct) {
			return nil, errAt(e.Args[0].Position(), pgerr.GroupingError, "outer-level aggregate cannot contain a lower-level variable in its direct arguments")
		}
	}
	if sc := s.b.levelOf(deps, s); sc != nil {
		owner = sc.q
		if sc.noAgg && sc.clause == "FROM" {
			return nil, errAt(e.Off, pgerr.GroupingError, "aggregate functions are not allowed in FROM clause of their own query level")
		}
	}
	if owner == s.q && s.noAgg {
		switch s.clause {
		case "JOIN/ON":
			return nil, errAt(e.Off, pgerr.GroupingError, "aggregate functions are not allowed in JOIN conditions")
		case "FROM":
			return nil, errAt(e.Off, pgerr.GroupingError, "aggregate functions are not allowed in FROM clause of their own query level")
		}
		return nil, errAt(e.Off, pgerr.GroupingError, "aggregate functions are not allowed in %s", s.clause)
	}
	if len(args) == 0 && !e.Star && !e.WithinGroup {
		return nil, errAt(e.Off, pgerr.WrongObjectType, "%s(*) must be used to call a parameterless aggregate function", name)
	}
	ordered := call.Func.Agg != nil && call.Func.Agg.Kind != 'n'
	switch {
	case ordered && !e.WithinGroup:
		return nil, errAt(e.Off, pgerr.WrongObjectType, "WITHIN GROUP is required for ordered-set aggregate %s", name)
	case !ordered && e.WithinGroup:
		return nil, errAt(e.Off, pgerr.WrongObjectType, "%s is not an ordered-set aggregate, so it cannot have WITHIN GROUP", name)
	}
	if err := s.checkAggArgs(args, e.Off); err != nil {
		return nil, err
	}
	if s.nestsOuterAgg(args) {
		return nil, errAt(e.Args[0].Position(), pgerr.GroupingError, "aggregate function calls cannot be nested")
	}
	in := *s
	in.inAgg = true
	a := &AggFunc{Name: name, Call: call, Args: args, Distinct: e.Distinct, Slot: s.b.newSlot(), T: call.Ret, Star: e.Star, pos: e.Off}
	if ordered {
		a.Direct = len(e.Args)
	}
	if e.Filter != nil {
		f := in
		f.clause, f.noAgg, f.noWindow, f.noSRF = "FILTER", true, true, true
		x, err := f.condition(e.Filter, "FILTER")
		if err != nil {
			return nil, err
		}
		a.Filter = x
	}
	for i, o := range e.OrderBy {
		var x Expr
		var err error
		if ordered {
			x = args[a.Direct+i]
		} else if x, err = in.expr(o.Expr); err != nil {
			return nil, err
		}
		k, err := s.b.sortKey(o, s.b.settle(x))
		if err != nil {
			return nil, err
		}
		a.Order = append(a.Order, k)
	}
	if a.Distinct {
		for i, x := range args {
			if err := s.b.sortable(x.Type(), e.Args[min(i, len(e.Args)-1)].Position(), "equality"); err != nil {
				return nil, err
			}
		}
		for _, k := range a.Order {
			found := false
			for _, x := range args {
				if c, ok := x.(*Cast); ok && c.Form == FormImplicit {
					x = c.Arg // as written: with an explicit cast it would be another expression
				}
				found = found || sameExpr(k.E, x)
			}
			if !found {
				return nil, errAt(e.OrderBy[0].Expr.Position(), pgerr.InvalidColumnReference, "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list")
			}
		}
	}
	if a.Distinct && (ordersInput[name] || call.Func.User != nil) {
		// PostgreSQL finds the distinct rows by sorting them, which these aggregates show.
		for i, x := range args {
			if slices.ContainsFunc(a.Order, func(k SortKey) bool { return sameExpr(k.E, x) }) {
				continue
			}
			if k, err := s.b.sortKey(&ast.SortBy{Pos: ast.Pos{Off: e.Args[min(i, len(e.Args)-1)].Position()}}, x); err == nil {
				a.Order = append(a.Order, k)
			}
		}
	}
	owner.hasAgg = true
	// Equal calls share one state.
	a.key = aggKey(a)
	for _, o := range owner.aggs {
		if o.key == a.key && call.Volatility != 'v' {
			return &Col{Slot: o.Slot, T: o.T, Name: name, Pos: -1}, nil
		}
	}
	owner.aggs = append(owner.aggs, a)
	return &Col{Slot: a.Slot, T: a.T, Name: name, Pos: -1}, nil
}

// checkAggArgs refuses aggregates, window functions and set-returning calls in an aggregate's arguments.
func (s *scope) checkAggArgs(args []Expr, pos int32) error {
	if s.q == nil {
		return nil
	}
	var used slotSet
	for _, a := range args {
		exprSlots(a, &used)
	}
	for _, o := range s.q.aggs {
		if used.has(o.Slot) {
			return errAt(o.pos, pgerr.GroupingError, "aggregate function calls cannot be nested")
		}
	}
	for _, w := range s.q.windows {
		for _, f := range w.funcs {
			if used.has(f.Slot) {
				return errAt(pos, pgerr.GroupingError, "aggregate function calls cannot contain window function calls")
			}
		}
	}
	for _, f := range s.q.srfs {
		if used.has(f.Slot) {
			return errAt(pos, pgerr.FeatureNotSupported, "aggregate function calls cannot contain set-returning function calls").
				WithHint("You might be able to move the set-returning function into a LATERAL FROM item.")
		}
	}
	return nil
}

// nestsOuterAgg reports whether the arguments of an aggregate hold one of an outer query and no column of this
// one: both then belong to the outer query.
func (s *scope) nestsOuterAgg(args []Expr) bool {
	var used slotSet
	for _, a := range args {
		exprSlots(a, &used)
	}
	if used.empty() {
		return false
	}
	for _, it := range s.items {
		for _, c := range it.rel.cols {
			var cs slotSet
			exprSlots(c.expr, &cs)
			if cs.intersects(&used) {
				return false
			}
		}
	}
	for sc := s.parent; sc != nil; sc = sc.parent {
		if sc.q == nil || sc.q == s.q {
			continue
		}
		for _, o := range sc.q.aggs {
			if used.has(o.Slot) {
				return true
			}
		}
	}
	return false
}

// ownsColumn reports whether expressions read columns of s's own FROM items.
func (s *scope) ownsColumn(args []Expr) bool {
	var slots slotSet
	for _, a := range args {
		exprSlots(a, &slots)
	}
	for _, it := range s.items {
		for _, c := range it.rel.cols {
			var cs slotSet
			if exprSlots(c.expr, &cs); cs.intersects(&slots) {
				return true
			}
		}
	}
	return false
}

// levelOf returns the scope all columns of the arguments belong to when that is of an outer query of s, nil
// otherwise.
func (b *binder) levelOf(args []Expr, s *scope) *scope {
	var slots slotSet
	for _, a := range args {
		exprSlots(a, &slots)
	}
	if slots.empty() {
		return nil
	}
	for sc := s; sc != nil; sc = sc.parent {
		own := false
		for _, it := range sc.items {
			for _, c := range it.rel.cols {
				var cs slotSet
				exprSlots(c.expr, &cs)
				own = own || cs.intersects(&slots)
			}
		}
		if own {
			if sc.q == s.q {
				return nil
			}
			return sc
		}
	}
	return nil
}

// sortKey completes a sort key over a bound expression.
func (b *binder) sortKey(o *ast.SortBy, x Expr) (SortKey, error) {
	k := SortKey{E: x, Desc: o.Dir == ast.SortDesc}
	if err := b.sortable(x.Type(), o.Off, "ordering"); err != nil {
		return k, err
	}
	if o.Dir == ast.SortUsing {
		op := o.Using[len(o.Using)-1]
		f, err := b.holeOp(op, x.Type(), x.Type(), o.Off)
		if err != nil {
			return k, err
		}
		switch {
		case f.Cmp() == builtin.CmpLT || op == "~<~":
		case f.Cmp() == builtin.CmpGT || op == "~>~":
			k.Desc = true
		default:
			return k, errAt(o.Off, pgerr.WrongObjectType, "operator %s is not a valid ordering operator", op).
				WithHint("Ordering operators must be \"<\" or \">\" members of btree operator families.")
		}
	}
	k.NullsFirst = k.Desc
	switch o.Nulls {
	case ast.NullsFirst:
		k.NullsFirst = true
	case ast.NullsLast:
		k.NullsFirst = false
	}
	return k, nil
}

// sortable reports types that cannot be sorted or compared.
func (b *binder) sortable(t *types.T, pos int32, what string) error {
	t = t.BaseType()
	switch t.OID {
	case types.OIDJSON, types.OIDXML, types.OIDPoint, types.OIDLine, types.OIDPolygon, types.OIDPath:
		return errAt(pos, pgerr.UndefinedFunction, "could not identify an %s operator for type %s", what, types.TypeName(t)).
			WithHint("Use an explicit ordering operator or modify the query.")
	}
	return nil
}
