package ddl

import (
	"context"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// aggregateOptions are the options of CREATE AGGREGATE.
type aggregateOptions struct {
	sfunc, final, combine, serial, deserial, msfunc, minv, mfinal, sortop []string

	stype, mstype, base *ast.TypeName
	init, minit         *string
	space, mspace       int32
	extra, mextra       bool
	modify, mmodify     byte
	hypothetical        bool
	parallel            byte
	hasMSpace           bool
}

// namesOf reads an option whose value is the name of a function or operator.
func namesOf(a *ast.DefArg) []string {
	switch {
	case a == nil:
		return nil
	case a.Kind == ast.DefType:
		return a.Type.Names
	case len(a.Names) > 0:
		return a.Names
	}
	return []string{argText(a)}
}

// typeOf reads an option whose value is a type.
func typeOf(o *ast.DefElem) (*ast.TypeName, error) {
	switch {
	case o.Arg == nil:
		return nil, pgerr.New(pgerr.SyntaxError, "%s requires a parameter", o.Name)
	case o.Arg.Kind == ast.DefType:
		return o.Arg.Type, nil
	case o.Arg.Kind == ast.DefString:
		return &ast.TypeName{Names: []string{o.Arg.Str}, Pos: ast.Pos{Off: -1}}, nil
	}
	return nil, pgerr.New(pgerr.SyntaxError, "argument of %s must be a type name", o.Name)
}

// boolOf reads an option that is true or false.
func boolOf(o *ast.DefElem) (bool, error) {
	if o.Arg == nil {
		return true, nil
	}
	switch strings.ToLower(argText(o.Arg)) {
	case "true", "on", "1":
		return true, nil
	case "false", "off", "0":
		return false, nil
	}
	return false, pgerr.New(pgerr.SyntaxError, "%s requires a Boolean value", o.Name)
}

func (x *executor) aggregateOptions(s *ast.DefineStmt) (*aggregateOptions, error) {
	a := &aggregateOptions{parallel: 'u'}
	texts := func(d *ast.DefArg) *string { v := argText(d); return &v }
	for _, o := range s.Options {
		var err error
		switch o.Name {
		case "sfunc", "sfunc1":
			a.sfunc = namesOf(o.Arg)
		case "finalfunc":
			a.final = namesOf(o.Arg)
		case "combinefunc":
			a.combine = namesOf(o.Arg)
		case "serialfunc":
			a.serial = namesOf(o.Arg)
		case "deserialfunc":
			a.deserial = namesOf(o.Arg)
		case "msfunc":
			a.msfunc = namesOf(o.Arg)
		case "minvfunc":
			a.minv = namesOf(o.Arg)
		case "mfinalfunc":
			a.mfinal = namesOf(o.Arg)
		case "sortop":
			a.sortop = namesOf(o.Arg)
		case "stype", "stype1":
			a.stype, err = typeOf(o)
		case "mstype":
			a.mstype, err = typeOf(o)
		case "basetype":
			a.base, err = typeOf(o)
		case "initcond", "initcond1":
			a.init = texts(o.Arg)
		case "minitcond":
			a.minit = texts(o.Arg)
		case "sspace":
			a.space = int32(o.Arg.Int)
		case "msspace":
			a.mspace, a.hasMSpace = int32(o.Arg.Int), true
		case "finalfunc_extra":
			a.extra, err = boolOf(o)
		case "mfinalfunc_extra":
			a.mextra, err = boolOf(o)
		case "finalfunc_modify":
			a.modify, err = modifies(o)
		case "mfinalfunc_modify":
			a.mmodify, err = modifies(o)
		case "hypothetical":
			a.hypothetical, err = boolOf(o)
		case "parallel":
			p := strings.ToLower(argText(o.Arg))
			if p != "safe" && p != "unsafe" && p != "restricted" {
				return nil, pgerr.New(pgerr.SyntaxError, "parameter \"parallel\" must be SAFE, RESTRICTED, or UNSAFE")
			}
			a.parallel = p[0]
		default:
			x.warning(pgerr.SyntaxError, "aggregate attribute %q not recognized", o.Name)
		}
		if err != nil {
			return nil, err
		}
	}
	missing := func(what string) error { return pgerr.New(invalidFunction, "aggregate %s must be specified", what) }
	switch {
	case a.stype == nil:
		return nil, missing("stype")
	case a.sfunc == nil:
		return nil, missing("sfunc")
	case a.mstype != nil && a.msfunc == nil:
		return nil, pgerr.New(invalidFunction, "aggregate msfunc must be specified when mstype is specified")
	case a.mstype != nil && a.minv == nil:
		return nil, pgerr.New(invalidFunction, "aggregate minvfunc must be specified when mstype is specified")
	}
	if a.mstype == nil {
		for _, m := range []struct {
			name  string
			given bool
		}{{"msfunc", a.msfunc != nil}, {"minvfunc", a.minv != nil}, {"mfinalfunc", a.mfinal != nil}, {"msspace", a.hasMSpace}, {"minitcond", a.minit != nil}} {
			if m.given {
				return nil, pgerr.New(invalidFunction, "aggregate %s must not be specified without mstype", m.name)
			}
		}
	}
	return a, nil
}

// modifies reads finalfunc_modify: what the final function does to the state.
func modifies(o *ast.DefElem) (byte, error) {
	switch argText(o.Arg) {
	case "read_only":
		return 'r', nil
	case "shareable":
		return 's', nil
	case "read_write":
		return 'w', nil
	}
	return 0, pgerr.New(pgerr.SyntaxError, "parameter %q must be READ_ONLY, SHAREABLE, or READ_WRITE", o.Name)
}

func (x *executor) createAggregate(ctx context.Context, s *ast.DefineStmt) error {
	name := rangeVarOfNames(s.Name)
	schema, err := x.targetSchema(ctx, name)
	if err != nil {
		return err
	}
	o, err := x.aggregateOptions(s)
	if err != nil {
		return err
	}
	f := &catalog.Function{Header: catalog.Header{Name: name.Name, Owner: x.User}, DB: schema.DB, Schema: schema.ID, Lang: "internal", Body: "aggregate_dummy",
		Volatility: 'i', Parallel: o.parallel, Cost: 1, Agg: &catalog.Aggregate{Kind: 'n'}}
	if err := x.aggregateParams(ctx, f, s, o); err != nil {
		return err
	}
	a := f.Agg
	if a.Stage.State, err = x.transitionType(o.stype); err != nil {
		return err
	}
	if o.mstype != nil {
		if a.Moving.State, err = x.transitionType(o.mstype); err != nil {
			return err
		}
	}
	if o.serial != nil && o.deserial != nil {
		if a.Stage.State.OID != types.OIDInternal {
			return pgerr.New(invalidFunction, "serialization functions may be specified only when the aggregate transition data type is internal")
		}
	} else if o.serial != nil || o.deserial != nil {
		return pgerr.New(invalidFunction, "must specify both or neither of serialization and deserialization functions")
	}
	def := byte('r')
	if a.Kind != 'n' {
		def = 'w'
	}
	orDefault := func(b byte) byte {
		if b == 0 {
			return def
		}
		return b
	}
	a.Stage.Space, a.Stage.Init, a.Stage.Extra, a.Stage.Modify = o.space, o.init, o.extra, orDefault(o.modify)
	a.Moving.Space, a.Moving.Init, a.Moving.Extra, a.Moving.Modify = o.mspace, o.minit, o.mextra, orDefault(o.mmodify)
	for _, stage := range []catalog.AggregateBy{a.Stage, a.Moving} {
		if t := x.snap().TypeOf(stage.State); stage.Init != nil && t.Class != 'p' {
			if _, err := types.ParseText(*stage.Init, t, nil); err != nil {
				return err
			}
		}
	}
	if err := x.aggregateFunctions(f, o); err != nil {
		return err
	}
	return x.storeAggregate(ctx, f, s, schema)
}

// storeAggregate stores a new aggregate or one in the place of another.
func (x *executor) storeAggregate(ctx context.Context, f *catalog.Function, s *ast.DefineStmt, schema *catalog.Schema) error {
	var old *catalog.Function
	for _, o := range x.snap().FunctionsNamed(schema.Name, f.Name) {
		if slices.EqualFunc(o.Inputs(), f.Inputs(), func(a, b catalog.FunctionArg) bool { return a.Type.OID == b.Type.OID }) {
			old = o
		}
	}
	var err error
	switch {
	case old == nil:
		if f.ID, err = x.View.NewID(ctx); err != nil {
			return err
		}
		f.ACL = x.newACL(ast.ObjFunction, schema.ID)
	case !s.Replace:
		return pgerr.New("42723", "function %q already exists with same argument types", f.Name)
	default:
		if err := x.own(&old.Header, "function"); err != nil {
			return err
		}
		if err := x.replaceable(old, f); err != nil {
			return err
		}
		f.ID, f.Owner, f.ACL, f.Comment = old.ID, old.Owner, old.ACL, old.Comment
	}
	return x.View.Put(ctx, f)
}

// aggregateParams reads the arguments: of the new syntax, or of basetype.
func (x *executor) aggregateParams(ctx context.Context, f *catalog.Function, s *ast.DefineStmt, o *aggregateOptions) error {
	if s.OldStyle {
		if o.base == nil {
			return pgerr.New(invalidFunction, "aggregate input type must be specified")
		}
		if strings.EqualFold(strings.Join(o.base.Names, "."), "any") {
			return nil
		}
		t, err := x.definedType(o.base)
		if err != nil {
			return err
		}
		f.Args = []catalog.FunctionArg{{Type: typeRef(t.WithTypmod(-1)), Mode: 'i'}}
		return nil
	}
	if o.base != nil {
		return pgerr.New(invalidFunction, "basetype is redundant with aggregate input type specification")
	}
	for _, p := range s.Params {
		t, err := x.snap().ResolveType(x.path(), p.Type)
		if err != nil {
			return err
		}
		mode := byte('i')
		switch {
		case p.Type.Setof:
			return pgerr.New(invalidFunction, "aggregates cannot accept set arguments")
		case p.Mode == ast.ParamVariadic:
			mode = 'v'
			if !t.IsArray() && t.OID != types.OIDAnyArray && t.OID != types.OIDAnyCompatibleArray && t.OID != types.OIDAny {
				return pgerr.New(invalidFunction, "VARIADIC parameter must be an array")
			}
		case p.Mode != ast.ParamIn:
			return pgerr.New(invalidFunction, "aggregates cannot have output arguments")
		case p.Default != nil:
			return pgerr.New(invalidFunction, "only functions may have default values") // the grammar has none
		}
		if p.Name != "" && slices.ContainsFunc(f.Args, func(a catalog.FunctionArg) bool { return a.Name == p.Name }) {
			return pgerr.New(invalidFunction, "parameter name %q used more than once", p.Name)
		}
		f.Args = append(f.Args, catalog.FunctionArg{Name: p.Name, Type: typeRef(t.WithTypmod(-1)), Mode: mode})
	}
	if s.Direct >= 0 {
		f.Agg.Kind, f.Agg.Direct = 'o', s.Direct
		if o.hypothetical {
			f.Agg.Kind = 'h'
		}
	}
	return nil
}

// definedType finds a type that an option of a definition names. Errors about it have no position.
func (x *executor) definedType(n *ast.TypeName) (*types.T, error) {
	t, err := x.snap().ResolveType(x.path(), n)
	if e, ok := err.(*pgerr.Error); ok {
		e.Position = 0
	}
	return t, err
}

func (x *executor) transitionType(n *ast.TypeName) (catalog.TypeRef, error) {
	t, err := x.definedType(n)
	if err != nil {
		return catalog.TypeRef{}, err
	}
	if t.Class == 'p' && !builtin.IsPolymorphic(t.OID) && (t.OID != types.OIDInternal || !x.superuser()) {
		return catalog.TypeRef{}, pgerr.New(invalidFunction, "aggregate transition data type cannot be %s", types.TypeName(t))
	}
	return typeRef(t.WithTypmod(-1)), nil
}

// aggregateFunctions finds the functions that an aggregate is made of and checks how they fit together.
func (x *executor) aggregateFunctions(f *catalog.Function, o *aggregateOptions) error {
	a := f.Agg
	var args []*types.T
	for _, p := range f.Args {
		args = append(args, x.snap().TypeOf(p.Type))
	}
	state := x.snap().TypeOf(a.Stage.State)
	if err := x.determinableState(f, state.OID); err != nil {
		return err
	}
	if o.mstype != nil {
		if err := x.determinableState(f, a.Moving.State.OID); err != nil {
			return err
		}
	}
	if a.Kind != 'n' || state.OID == types.OIDInternal {
		return x.internalAggregate(f, o, args)
	}
	stateAnd := func(t *types.T, args []*types.T) []*types.T { return append([]*types.T{t}, args...) }
	fn, ret, err := x.supportFunction(o.sfunc, stateAnd(state, args))
	if err != nil {
		return err
	}
	if ret.OID != state.OID {
		return pgerr.New(pgerr.DatatypeMismatch, "return type of transition function %s is not %s", strings.Join(o.sfunc, "."), types.TypeName(state))
	}
	if err := firstValue(fn, o.init, args, state); err != nil {
		return err
	}
	a.Trans = fn.OID
	if o.mstype != nil {
		if err := x.movingFunctions(f, o, args); err != nil {
			return err
		}
	}
	result := state
	if o.final != nil {
		in := stateAnd(state, nil)
		if o.extra {
			in = stateAnd(state, args)
		}
		if fn, result, err = x.supportFunction(o.final, in); err != nil {
			return err
		}
		if o.extra && fn.Strict {
			return pgerr.New(invalidFunction, "final function with extra arguments must not be declared STRICT")
		}
		a.Final = fn.OID
	}
	if !builtin.Callable(a.Trans) || a.Final != 0 && !builtin.Callable(a.Final) {
		if builtin.SameAggregate(a.Trans, a.Final) == nil {
			return pgerr.Unsupported("the functions %s cannot make an aggregate", strings.Join(slices.Concat(o.sfunc, o.final), " and "))
		}
	}
	if o.combine != nil {
		if fn, ret, err = x.supportFunction(o.combine, []*types.T{state, state}); err != nil {
			return err
		}
		if ret.OID != state.OID {
			return pgerr.New(pgerr.DatatypeMismatch, "return type of combine function %s is not %s", strings.Join(o.combine, "."), types.TypeName(state))
		}
		a.Combine = fn.OID
	}
	f.Ret = typeRef(result.WithTypmod(-1))
	if err := determinable(f, f.Ret.OID); err != nil {
		return err
	}
	if o.mfinal != nil || o.mstype != nil {
		moving := x.snap().TypeOf(a.Moving.State)
		if o.mfinal != nil {
			in := stateAnd(moving, nil)
			if o.mextra {
				in = stateAnd(moving, args)
			}
			if fn, moving, err = x.supportFunction(o.mfinal, in); err != nil {
				return err
			}
			if o.mextra && fn.Strict {
				return pgerr.New(invalidFunction, "final function with extra arguments must not be declared STRICT")
			}
			a.MFinal = fn.OID
		}
		if moving.OID != result.OID {
			return pgerr.New(invalidFunction, "moving-aggregate implementation returns type %s, but plain implementation returns type %s",
				types.TypeName(moving), types.TypeName(result))
		}
	}
	if o.sortop != nil {
		if len(args) != 1 {
			return pgerr.New(invalidFunction, "sort operator can only be specified for single-argument aggregates")
		}
		if a.SortOp, err = x.operatorOID(o.sortop, args[0], args[0]); err != nil {
			return err
		}
	}
	return nil
}

// movingFunctions are those of moving-aggregate mode but the final one.
func (x *executor) movingFunctions(f *catalog.Function, o *aggregateOptions, args []*types.T) error {
	a := f.Agg
	state := x.snap().TypeOf(a.Moving.State)
	in := append([]*types.T{state}, args...)
	fn, ret, err := x.supportFunction(o.msfunc, in)
	if err != nil {
		return err
	}
	if ret.OID != state.OID {
		return pgerr.New(pgerr.DatatypeMismatch, "return type of transition function %s is not %s", strings.Join(o.msfunc, "."), types.TypeName(state))
	}
	if err := firstValue(fn, o.minit, args, state); err != nil {
		return err
	}
	inv, ret, err := x.supportFunction(o.minv, in)
	if err != nil {
		return err
	}
	if ret.OID != state.OID {
		return pgerr.New(pgerr.DatatypeMismatch, "return type of inverse transition function %s is not %s", strings.Join(o.minv, "."), types.TypeName(state))
	}
	if inv.Strict != fn.Strict {
		return pgerr.New(invalidFunction, "strictness of aggregate's forward and inverse transition functions must match")
	}
	a.MTrans, a.MInv = fn.OID, inv.OID
	return nil
}

// firstValue checks that the first value can be the state where nothing else is.
func firstValue(fn *builtin.Func, init *string, args []*types.T, state *types.T) error {
	if fn.Strict && init == nil && (len(args) < 1 || !builtin.IsBinaryCoercible(args[0], state)) {
		return pgerr.New(invalidFunction, "must not omit initial value when transition function is strict and transition type is not compatible with input type")
	}
	return nil
}

// determinableState checks that the arguments determine a polymorphic transition type.
func (x *executor) determinableState(f *catalog.Function, state types.OID) error {
	err := determinable(f, state)
	if e, ok := err.(*pgerr.Error); ok {
		return pgerr.New(invalidFunction, "cannot determine transition data type").WithDetail("%s", e.Detail)
	}
	return err
}

// internalAggregate defines an aggregate by the functions of a built-in one, whose state has no form in SQL.
func (x *executor) internalAggregate(f *catalog.Function, o *aggregateOptions, args []*types.T) error {
	return pgerr.Unsupported("ordered-set aggregates, and those with an internal state, cannot be made")
}

// supportFunction finds a function of an aggregate by its name and argument types.
func (x *executor) supportFunction(names []string, args []*types.T) (*builtin.Func, *types.T, error) {
	fn, params, ret, err := x.functionNamed(names, args)
	if err != nil {
		return nil, nil, err
	}
	shown := strings.Join(names, ".") + "(" + typeList(params) + ")"
	if fn.Kind != 'f' {
		return nil, nil, pgerr.New(pgerr.UndefinedFunction, "function %s does not exist", shown)
	}
	if fn.RetSet {
		return nil, nil, pgerr.New(pgerr.DatatypeMismatch, "function %s returns a set", shown)
	}
	for i, p := range params {
		if !builtin.IsPolymorphic(p.OID) && p.OID != args[i].OID && !builtin.IsBinaryCoercible(args[i], p) {
			return nil, nil, pgerr.New(pgerr.DatatypeMismatch, "function %s requires run-time type coercion", shown)
		}
	}
	return fn, ret, x.mayExecute(fn)
}

// functionNamed finds a function by its name, along the search path if that has no schema.
func (x *executor) functionNamed(names []string, args []*types.T) (fn *builtin.Func, params []*types.T, ret *types.T, err error) {
	req := builtin.FuncRequest{Name: names[len(names)-1], Shown: strings.Join(names, "."), Args: args, Whole: true}
	schema := ""
	if len(names) > 1 {
		schema = names[len(names)-2]
		if x.snap().SchemaByName(x.realSchema(schema)) == nil {
			return nil, nil, nil, pgerr.New(pgerr.InvalidSchemaName, "schema %q does not exist", schema)
		}
		req.OnlyUsers = schema != catalog.PgCatalog
	}
	c := plan.FromSnapshot(x.snap())
	if schema != catalog.PgCatalog {
		req.Users = c.Routines(x.path(), x.realSchema(schema), req.Name)
	}
	if at := slices.Index(x.path(), catalog.PgCatalog); at > 0 && schema == "" {
		req.Ahead = len(c.Routines(x.path()[:at], "", req.Name))
	}
	return builtin.Choose(req)
}

// mayExecute checks the privilege to call a function.
func (x *executor) mayExecute(fn *builtin.Func) error {
	f := x.snap().FunctionByID(uint32(fn.OID))
	if f == nil || f.ACL == nil || x.superuser() || x.snap().IsMember(x.User, f.Owner) || hasPriv(f.ACL, x, "X") {
		return nil
	}
	return pgerr.New(pgerr.InsufficientPrivilege, "permission denied for function %s", f.Name)
}

func typeList(ts []*types.T) string {
	var out []string
	for _, t := range ts {
		out = append(out, types.TypeName(t))
	}
	return strings.Join(out, ", ")
}

// operatorOID finds an operator by its name and operand types.
func (x *executor) operatorOID(names []string, left, right *types.T) (types.OID, error) {
	oid, _ := x.findOperator(names, left.OID, right.OID)
	if oid == 0 {
		return 0, pgerr.New(pgerr.UndefinedFunction, "operator does not exist: %s %s %s", types.TypeName(left), strings.Join(names, "."), types.TypeName(right))
	}
	return oid, nil
}
