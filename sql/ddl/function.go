package ddl

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// invalidFunction is SQLSTATE 42P13, invalid_function_definition.
const invalidFunction = "42P13"

func (x *executor) createFunction(ctx context.Context, s *ast.CreateFunctionStmt) error {
	name := rangeVarOfNames(s.Name)
	schema, err := x.targetSchema(ctx, name)
	if err != nil {
		return err
	}
	f := &catalog.Function{Header: catalog.Header{Name: name.Name, Owner: x.User}, DB: schema.DB, Schema: schema.ID, Procedure: s.Procedure,
		Extension: x.extension, Volatility: 'v', Parallel: 'u', Cost: 100}
	if err := x.functionLanguage(f, s); err != nil {
		return err
	}
	if err := x.functionParams(ctx, f, s); err != nil {
		return err
	}
	if err := x.functionOptions(f, s.Options); err != nil {
		return err
	}
	if f.Set && f.Rows == 0 {
		f.Rows = 1000
	}
	if s.Body != nil {
		if f.Lang != "sql" {
			return pgerr.New(invalidFunction, "inline SQL function body only valid for language SQL")
		}
		var parts []string
		for _, st := range s.Body {
			if r, ok := st.(*ast.ReturnStmt); ok {
				parts = append(parts, "SELECT "+parser.DeparseExpr(r.Expr))
				continue
			}
			switch st.(type) {
			case *ast.SelectStmt, *ast.InsertStmt, *ast.UpdateStmt, *ast.DeleteStmt:
			default:
				return pgerr.Unsupported("%s is not yet supported in unquoted SQL function body", st.Tag())
			}
			parts = append(parts, parser.Deparse(st))
			for _, id := range x.tablesOf(st) {
				if !slices.Contains(f.DependsOn, id) {
					f.DependsOn = append(f.DependsOn, id)
				}
			}
		}
		f.Body, f.Atomic, f.Path = strings.Join(parts, ";\n"), true, x.SearchPath
	}
	var old *catalog.Function
	for _, o := range x.snap().FunctionsNamed(schema.Name, f.Name) {
		if slices.EqualFunc(o.Inputs(), f.Inputs(), func(a, b catalog.FunctionArg) bool { return a.Type.OID == b.Type.OID }) {
			old = o
		}
	}
	if old != nil {
		if !s.Replace {
			return pgerr.New("42723", "function %q already exists with same argument types", f.Name)
		}
		if err := x.own(&old.Header, routineWord(old)); err != nil {
			return err
		}
		if err := x.replaceable(old, f); err != nil {
			return err
		}
		f.ID, f.Owner, f.ACL, f.Comment = old.ID, old.Owner, old.ACL, old.Comment
	} else if f.ID, err = x.View.NewID(ctx); err != nil {
		return err
	} else {
		f.ACL = x.newACL(ast.ObjFunction, schema.ID)
	}
	if err := x.View.Put(ctx, f); err != nil {
		return err
	}
	if x.CheckRoutine != nil && x.extension == 0 {
		return x.CheckRoutine(ctx, f)
	}
	return nil
}

// tablesOf lists the relations that a statement names.
func (x *executor) tablesOf(st ast.Stmt) []uint32 {
	var out []uint32
	ast.WalkTables(st, func(r *ast.RangeVar) {
		if t := x.snap().ResolveTable(x.path(), x.realSchema(r.Schema), r.Name); t != nil && t.Virtual == nil {
			out = append(out, t.ID)
		}
	})
	return out
}

func (x *executor) functionLanguage(f *catalog.Function, s *ast.CreateFunctionStmt) error {
	f.Lang = "sql"
	given := s.Body != nil
	for _, o := range s.Options {
		if o.Name == "language" {
			f.Lang, given = strings.ToLower(o.Arg.Str), true
		}
	}
	if !given {
		return pgerr.New(invalidFunction, "no language specified")
	}
	switch f.Lang {
	case "sql", "plpgsql":
		return nil
	case "c", "internal":
		if x.extension != 0 {
			return nil
		}
		return pgerr.Unsupported("functions in language %q are not supported", f.Lang)
	}
	e := pgerr.New(pgerr.UndefinedObject, "language %q does not exist", f.Lang)
	if strings.HasPrefix(f.Lang, "pl") {
		e = e.WithHint("Use CREATE EXTENSION to load the language into the database.")
	}
	return e
}

func (x *executor) functionParams(ctx context.Context, f *catalog.Function, s *ast.CreateFunctionStmt) error {
	modes := [...]byte{'i', 'o', 'b', 'v', 't'}
	used := map[string]bool{}
	outs, defaults, variadic := 0, false, false
	var out catalog.TypeRef
	for _, p := range s.Params {
		t, err := x.snap().ResolveType(x.path(), p.Type)
		if err != nil {
			return err
		}
		if p.Type.Setof {
			return pgerr.New(invalidFunction, "functions cannot accept set arguments")
		}
		a := catalog.FunctionArg{Name: p.Name, Type: typeRef(t.WithTypmod(-1)), Mode: modes[p.Mode]}
		isOut := a.Mode == 'o' || a.Mode == 't' || a.Mode == 'b'
		if t.OID == types.OIDVoid || t.OID == types.OIDTrigger || a.Mode == 'i' && t.OID == types.OIDRecord && f.Lang == "sql" {
			return pgerr.New(invalidFunction, "%s functions cannot accept type %s", map[string]string{"sql": "SQL", "plpgsql": "PL/pgSQL"}[f.Lang], types.TypeName(t))
		}
		if variadic && (a.Mode == 'i' || a.Mode == 'b' || a.Mode == 'v') {
			return pgerr.New(invalidFunction, "VARIADIC parameter must be the last input parameter")
		}
		variadic = variadic || a.Mode == 'v'
		if a.Mode == 'v' && !t.IsArray() && t.OID != types.OIDAnyArray && t.OID != types.OIDAnyCompatibleArray {
			return pgerr.New(invalidFunction, "VARIADIC parameter must be an array")
		}
		if a.Name != "" {
			key := a.Name
			if a.Mode == 't' {
				key = a.Name
			}
			if used[key] {
				return pgerr.New(invalidFunction, "parameter name %q used more than once", a.Name)
			}
			used[key] = true
		}
		if isOut {
			outs++
			out = a.Type
		}
		if p.Default != nil {
			if a.Mode == 'o' || a.Mode == 't' {
				return pgerr.New(invalidFunction, "only input parameters can have default values")
			}
			if a.Default, err = x.defaultText(ctx, p.Default, t, a.Name); err != nil {
				return err
			}
			if a.Default == "" {
				a.Default = "NULL"
			}
			defaults = true
		} else if defaults && a.Mode != 'o' && a.Mode != 't' {
			return pgerr.New(invalidFunction, "input parameters after one with a default value must also have defaults")
		}
		f.Args = append(f.Args, a)
	}
	for _, a := range f.Args {
		if strings.IndexByte("obt", a.Mode) >= 0 {
			if err := determinable(f, a.Type.OID); err != nil {
				return err
			}
		}
	}
	switch {
	case f.Procedure:
		f.Ret = catalog.TypeRef{OID: types.OIDVoid, Typmod: -1}
		if outs > 0 {
			f.Ret.OID = types.OIDRecord
		}
		return nil
	case s.Returns != nil:
		t, err := x.snap().ResolveType(x.path(), s.Returns)
		if err != nil {
			return err
		}
		f.Ret, f.Set = typeRef(t.WithTypmod(-1)), s.Returns.Setof
		if err := determinable(f, f.Ret.OID); err != nil {
			return err
		}
		if outs > 0 {
			want := catalog.TypeRef{OID: types.OIDRecord, Typmod: -1}
			if outs == 1 {
				want = out
			}
			if slices.ContainsFunc(f.Args, func(a catalog.FunctionArg) bool { return a.Mode == 't' }) {
				f.Ret, f.Set = want, true
			} else if want.OID != f.Ret.OID {
				return pgerr.New(invalidFunction, "function result type must be %s because of OUT parameters", types.TypeName(x.snap().TypeOf(want)))
			}
		}
		if t.OID == types.OIDTrigger && (f.Lang == "sql" || len(f.Args) > 0) {
			if f.Lang == "sql" {
				return pgerr.New(invalidFunction, "SQL functions cannot return type trigger")
			}
			return pgerr.New(invalidFunction, "trigger functions cannot have declared arguments").
				WithHint("The arguments of the trigger can be accessed through TG_NARGS and TG_ARGV instead.")
		}
		if t.OID == types.OIDEventTrigger && (f.Lang == "sql" || len(f.Args) > 0) {
			if f.Lang == "sql" {
				return pgerr.New(invalidFunction, "SQL functions cannot return type event_trigger")
			}
			return pgerr.New(invalidFunction, "event trigger functions cannot have declared arguments")
		}
	case outs == 0:
		return pgerr.New(invalidFunction, "function result type must be specified")
	case outs == 1:
		f.Ret = out
	default:
		f.Ret = catalog.TypeRef{OID: types.OIDRecord, Typmod: -1}
	}
	return nil
}

// The pseudotypes that stand for types that hang together, those over ranges first.
var (
	anyElements   = []types.OID{types.OIDAnyRange, types.OIDAnyMultirange, types.OIDAnyElement, types.OIDAnyArray, types.OIDAnyNonArray, types.OIDAnyEnum}
	anyCompatible = []types.OID{types.OIDAnyCompatibleRange, types.OIDAnyCompatibleMultirange, types.OIDAnyCompatible,
		types.OIDAnyCompatibleArray, types.OIDAnyCompatibleNonArray}
)

// determinable checks that the inputs of a function determine a polymorphic result: an input of the family does, but the
// subtype of a range does not tell the range.
func determinable(f *catalog.Function, result types.OID) error {
	for _, family := range []struct {
		types             []types.OID
		ofRanges, ofTypes string
	}{
		{anyElements, "anyrange or anymultirange", "anyelement, anyarray, anynonarray, anyenum, anyrange, or anymultirange"},
		{anyCompatible, "anycompatiblerange or anycompatiblemultirange",
			"anycompatible, anycompatiblearray, anycompatiblenonarray, anycompatiblerange, or anycompatiblemultirange"},
	} {
		at := slices.Index(family.types, result)
		if at < 0 {
			continue
		}
		sources, words := family.types, family.ofTypes
		if at < 2 {
			sources, words = family.types[:2], family.ofRanges
		}
		if !slices.ContainsFunc(f.Inputs(), func(a catalog.FunctionArg) bool { return slices.Contains(sources, a.Type.OID) }) {
			return pgerr.New(invalidFunction, "cannot determine result data type").
				WithDetail("A result of type %s requires at least one input of type %s.", types.TypeNameOID(result), words)
		}
	}
	return nil
}

func optionString(a *ast.DefArg) string {
	if a == nil {
		return ""
	}
	return argText(a)
}

func (x *executor) functionOptions(f *catalog.Function, opts []*ast.DefElem) error {
	for _, o := range opts {
		switch o.Name {
		case "language":
		case "as":
			if len(o.Arg.List) > 0 {
				if len(o.Arg.List) > 1 {
					return pgerr.New(invalidFunction, "only one AS item needed for language %q", f.Lang)
				}
				f.Body = o.Arg.List[0].Str
			} else if len(o.Arg.Names) > 0 {
				f.Body = o.Arg.Names[0]
			} else {
				f.Body = o.Arg.Str
			}
		case "volatility":
			f.Volatility = optionString(o.Arg)[0]
		case "strict":
			f.Strict = o.Arg.Bool
		case "security":
			f.Definer = o.Arg.Bool
		case "leakproof":
			f.Leakproof = o.Arg.Bool
		case "parallel":
			p := strings.ToLower(optionString(o.Arg))
			if p != "safe" && p != "unsafe" && p != "restricted" {
				return pgerr.New(pgerr.SyntaxError, "parameter \"parallel\" must be SAFE, RESTRICTED, or UNSAFE")
			}
			f.Parallel = p[0]
		case "cost", "rows":
			v, err := strconv.ParseFloat(optionString(o.Arg), 64)
			if err != nil || v <= 0 {
				return pgerr.New(pgerr.InvalidParameterValue, "%s must be positive", strings.ToUpper(o.Name))
			}
			if o.Name == "cost" {
				f.Cost = v
			} else {
				if !f.Set {
					return pgerr.New(pgerr.InvalidParameterValue, "ROWS is not applicable when function does not return a set")
				}
				f.Rows = v
			}
		case "set":
			f.Settings = applySetting(f.Settings, 0, o.Arg.Set)
		case "window":
			return pgerr.Unsupported("window functions cannot be defined")
		case "support", "transform":
			return pgerr.Unsupported("%s is not supported for functions", strings.ToUpper(o.Name))
		default:
			return pgerr.Unsupported("function option %q is not supported", o.Name)
		}
	}
	return nil
}

// replaceable checks what CREATE OR REPLACE may not change.
func (x *executor) replaceable(old, f *catalog.Function) error {
	kind := routineWord(old)
	if old.Agg != nil {
		kind = "aggregate"
	}
	drop := "Use DROP " + strings.ToUpper(kind) + " " + x.snap().Signature(old) + " first."
	if old.Procedure != f.Procedure || (old.Agg != nil) != (f.Agg != nil) {
		if old.Agg != nil {
			return pgerr.New(pgerr.WrongObjectType, "cannot change routine kind").WithDetail("%q is an aggregate function.", old.Name)
		}
		return pgerr.New(pgerr.WrongObjectType, "cannot change routine kind").WithDetail("%q is a %s.", old.Name, kind)
	}
	outs := func(f *catalog.Function) []catalog.FunctionArg { return f.Outputs() }
	if old.Ret.OID != f.Ret.OID || old.Set != f.Set {
		return pgerr.New(invalidFunction, "cannot change return type of existing function").WithHint("%s", drop)
	}
	if old.Ret.OID == types.OIDRecord && !slices.EqualFunc(outs(old), outs(f), func(a, b catalog.FunctionArg) bool { return a.Type.OID == b.Type.OID && a.Name == b.Name }) {
		return pgerr.New(invalidFunction, "cannot change return type of existing function").WithDetail("Row type defined by OUT parameters is different.").WithHint("%s", drop)
	}
	a, b := old.Inputs(), f.Inputs()
	for i := range a {
		if a[i].Name != "" && a[i].Name != b[i].Name {
			return pgerr.New(invalidFunction, "cannot change name of input parameter %q", a[i].Name).WithHint("%s", drop)
		}
		if a[i].Default != "" && b[i].Default == "" {
			return pgerr.New(invalidFunction, "cannot remove parameter defaults from existing function").WithHint("%s", drop)
		}
	}
	return nil
}

func routineWord(f *catalog.Function) string {
	if f.Procedure {
		return "procedure"
	}
	return "function"
}

// routine finds the function that a name, with or without argument types, stands for.
func (x *executor) routine(sig *ast.FuncSig, kind ast.ObjectType) (*catalog.Function, error) {
	word := strings.ToLower(string(kind))
	schemas := catalog.FunctionSchemas(x.path(), "")
	if len(sig.Name) > 1 {
		written := sig.Name[len(sig.Name)-2]
		if schemas = []string{x.realSchema(written)}; x.snap().SchemaByName(schemas[0]) == nil {
			return nil, pgerr.New(pgerr.InvalidSchemaName, "schema %q does not exist", written)
		}
	}
	name := sig.Name[len(sig.Name)-1]
	var args []*types.T
	var words []string
	for _, a := range sig.Args {
		t, err := x.snap().ResolveType(x.path(), a)
		if err != nil {
			return nil, err
		}
		args = append(args, t)
		words = append(words, types.TypeName(t))
	}
	var found *catalog.Function
	for _, p := range schemas {
		for _, f := range x.snap().FunctionsNamed(p, name) {
			match := sig.ArgsUnspecified
			if !match {
				in := f.Inputs()
				match = slices.EqualFunc(in, args, func(a catalog.FunctionArg, t *types.T) bool { return a.Type.OID == t.OID })
				if f.Procedure && !match {
					match = slices.EqualFunc(f.Args, args, func(a catalog.FunctionArg, t *types.T) bool { return a.Type.OID == t.OID })
				}
			}
			if !match {
				continue
			}
			if found != nil && sig.ArgsUnspecified {
				return nil, pgerr.New("42725", "%s name %q is not unique", word, strings.Join(sig.Name, ".")).
					WithHint("Specify the argument list to select the %s unambiguously.", word)
			}
			if found == nil {
				found = f
			}
		}
	}
	full := strings.Join(sig.Name, ".")
	if found == nil {
		if kind == ast.ObjAggregate && len(args) == 0 {
			return nil, pgerr.New(pgerr.UndefinedFunction, "aggregate %s(*) does not exist", full)
		}
		if sig.ArgsUnspecified {
			return nil, pgerr.New(pgerr.UndefinedFunction, "could not find a %s named %q", word, full)
		}
		return nil, pgerr.New(pgerr.UndefinedFunction, "%s %s(%s) does not exist", word, full, strings.Join(words, ", "))
	}
	if kind == ast.ObjAggregate && found.Agg == nil {
		return nil, pgerr.New(pgerr.WrongObjectType, "function %s is not an aggregate", x.snap().Signature(found))
	}
	if kind == ast.ObjFunction && found.Procedure || kind == ast.ObjProcedure && !found.Procedure {
		return nil, pgerr.New(pgerr.WrongObjectType, "%s is not a %s", x.snap().Signature(found), word)
	}
	return found, nil
}

func (x *executor) alterFunction(ctx context.Context, s *ast.AlterFunctionStmt) error {
	f, err := x.routine(s.Func, s.Object)
	if err != nil {
		return err
	}
	if err := x.own(&f.Header, routineWord(f)); err != nil {
		return err
	}
	if f.Agg != nil {
		return pgerr.New(pgerr.WrongObjectType, "%q is an aggregate function", strings.Join(s.Func.Name, "."))
	}
	n := f.Clone()
	if err := x.functionOptions(n, s.Options); err != nil {
		return err
	}
	return x.View.Put(ctx, n)
}

// dropFunctions is DROP FUNCTION, PROCEDURE and ROUTINE.
func (x *executor) dropFunctions(ctx context.Context, s *ast.DropStmt) error {
	for _, o := range s.Objects {
		sig := o.Func
		if sig == nil {
			sig = &ast.FuncSig{Name: o.Names, ArgsUnspecified: true}
		}
		f, err := x.routine(sig, s.Object)
		if err != nil {
			if c := pgerr.Code(err); s.IfExists && (c == pgerr.UndefinedFunction || c == pgerr.InvalidSchemaName || c == pgerr.UndefinedObject) {
				if e, ok := err.(*pgerr.Error); ok && c != pgerr.UndefinedFunction {
					x.notice("00000", "%s, skipping", e.Message)
					continue
				}
				x.notice("00000", "%s %s does not exist, skipping", strings.ToLower(string(s.Object)), x.signature(o))
				continue
			}
			return err
		}
		if s.Object == ast.ObjFunction && f.Agg != nil {
			return pgerr.New(pgerr.WrongObjectType, "%q is an aggregate function", strings.Join(sig.Name, ".")).
				WithHint("Use DROP AGGREGATE to drop aggregate functions.")
		}
		if err := x.own(&f.Header, strings.ToLower(string(s.Object))); err != nil {
			return err
		}
		if err := x.memberOf(f.Extension, x.describeRoutine(f)); err != nil {
			return err
		}
		if err := x.dropFunction(ctx, f, s.Behavior); err != nil {
			return err
		}
	}
	return nil
}

// dropFunction drops a function with what depends on it, or refuses.
func (x *executor) dropFunction(ctx context.Context, f *catalog.Function, behavior ast.DropBehavior) error {
	if x.snap().ByID(f.ID) == nil {
		return nil // went with another
	}
	d := x.dependentsOfFunction(ctx, f)
	return x.dropDependents(ctx, x.describeRoutine(f), d, behavior, func() error { return x.View.Delete(ctx, f) })
}

// callsIn reports whether a stored expression, or the statements of a query or body, call a function by its name.
// Overloaded functions are not told apart.
func (x *executor) callsIn(text string, f *catalog.Function, statements bool) bool {
	if !strings.Contains(text, f.Name) {
		return false
	}
	found, schema := false, x.snap().SchemaName(f.Schema)
	look := func(e ast.Expr) bool {
		c, ok := e.(*ast.FuncCall)
		if ok && c.Name[len(c.Name)-1] == f.Name && (len(c.Name) == 1 || c.Name[len(c.Name)-2] == schema) {
			found = true
		}
		return !found
	}
	if !statements {
		if e, err := parser.ParseExpr(text); err == nil {
			ast.WalkAll(e, look, nil)
		}
		return found
	}
	sts, err := parser.Parse(text)
	if err != nil {
		return false
	}
	for _, st := range sts {
		if sel, ok := st.Stmt.(*ast.SelectStmt); ok {
			ast.WalkSelect(sel, look, nil)
		} else if strings.Contains(text, f.Name+"(") {
			found = true
		}
	}
	return found
}
