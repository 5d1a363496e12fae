package ddl

import (
	"context"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// operatorOptions are the options of CREATE OPERATOR.
type operatorOptions struct {
	left, right                             *types.T
	function                                []string
	commutator, negator, restrict, joinFunc []string
	merges, hashes                          bool
}

func (x *executor) operatorOptions(s *ast.DefineStmt) (*operatorOptions, error) {
	o := &operatorOptions{}
	operand := func(d *ast.DefElem) (*types.T, error) {
		n, err := typeOf(d)
		if err != nil {
			return nil, err
		}
		if n.Setof {
			return nil, pgerr.New(invalidFunction, "SETOF type not allowed for operator argument")
		}
		t, err := x.definedType(n)
		if err != nil {
			return nil, err
		}
		return t.WithTypmod(-1), nil
	}
	for _, d := range s.Options {
		var err error
		switch d.Name {
		case "leftarg":
			o.left, err = operand(d)
		case "rightarg":
			o.right, err = operand(d)
		case "function", "procedure":
			o.function = namesOf(d.Arg)
		case "commutator":
			o.commutator = namesOf(d.Arg)
		case "negator":
			o.negator = namesOf(d.Arg)
		case "restrict":
			o.restrict = namesOf(d.Arg)
		case "join":
			o.joinFunc = namesOf(d.Arg)
		case "hashes":
			o.hashes, err = boolOf(d)
		case "merges":
			o.merges, err = boolOf(d)
		case "sort1", "sort2", "ltcmp", "gtcmp":
			o.merges = true // of old dumps
		default:
			x.warning(pgerr.SyntaxError, "operator attribute %q not recognized", d.Name)
		}
		if err != nil {
			return nil, err
		}
	}
	switch {
	case o.function == nil:
		return nil, pgerr.New(invalidFunction, "operator function must be specified")
	case o.left == nil && o.right == nil:
		return nil, pgerr.New(invalidFunction, "operator argument types must be specified")
	case o.right == nil:
		return nil, pgerr.New(invalidFunction, "operator right argument type must be specified").WithDetail("Postfix operators are not supported.")
	}
	return o, nil
}

func (x *executor) createOperator(ctx context.Context, s *ast.DefineStmt) error {
	name := rangeVarOfNames(s.Name)
	schema, err := x.targetSchema(ctx, name)
	if err != nil {
		return err
	}
	o, err := x.operatorOptions(s)
	if err != nil {
		return err
	}
	var args []*types.T
	var left types.OID
	if o.left != nil {
		args, left = append(args, o.left), o.left.OID
	}
	args = append(args, o.right)
	fn, ret, err := x.exactFunction(o.function, args)
	if err != nil {
		return err
	}
	if err := x.mayExecute(fn); err != nil {
		return err
	}
	op := &catalog.Operator{Header: catalog.Header{Name: name.Name, Owner: x.User}, DB: schema.DB, Schema: schema.ID, Left: left, Right: o.right.OID,
		Ret: ret.OID, Func: fn.OID, Merges: o.merges, Hashes: o.hashes}
	if o.restrict != nil {
		if op.Restrict, err = x.estimator(o.restrict, false); err != nil {
			return err
		}
	}
	if o.joinFunc != nil {
		if op.Join, err = x.estimator(o.joinFunc, true); err != nil {
			return err
		}
	}
	if !builtin.ValidOperatorName(op.Name) {
		return pgerr.New(pgerr.InvalidName, "%q is not a valid operator name", op.Name)
	}
	if err := operatorShape(op, o.commutator != nil, o.negator != nil); err != nil {
		return err
	}
	old := x.operatorIn(schema.Name, op.Name, op.Left, op.Right)
	if old != nil {
		if old.Func != 0 {
			return pgerr.New("42723", "operator %s already exists", op.Name)
		}
		if err := x.own(&old.Header, "operator"); err != nil {
			return err
		}
		op.ID, op.Commutator, op.Negator = old.ID, old.Commutator, old.Negator
	} else if op.ID, err = x.View.NewID(ctx); err != nil {
		return err
	}
	if o.commutator != nil {
		if op.Commutator, err = x.relatedOperator(ctx, op, o.commutator, op.Right, op.Left); err != nil {
			return err
		}
	}
	if o.negator != nil {
		if op.Negator, err = x.relatedOperator(ctx, op, o.negator, op.Left, op.Right); err != nil {
			return err
		}
		if uint32(op.Negator) == op.ID {
			return pgerr.New(invalidFunction, "operator cannot be its own negator or sort operator")
		}
	}
	if err := x.View.Put(ctx, op); err != nil {
		return err
	}
	return x.pointBack(ctx, op)
}

// operatorShape checks what only binary operators, and only those that yield a boolean, may have.
func operatorShape(op *catalog.Operator, commutator, negator bool) error {
	has := []struct {
		given        bool
		what         string
		binary, bool bool
	}{{commutator, "have commutators", true, false}, {op.Join != 0, "have join selectivity", true, false}, {op.Merges, "merge join", true, false},
		{op.Hashes, "hash", true, false}, {negator, "have negators", false, true}, {op.Restrict != 0, "have restriction selectivity", false, true},
		{op.Join != 0, "have join selectivity", false, true}, {op.Merges, "merge join", false, true}, {op.Hashes, "hash", false, true}}
	for _, h := range has {
		if h.given && h.binary && op.Left == 0 {
			return pgerr.New(invalidFunction, "only binary operators can %s", h.what)
		}
		if h.given && h.bool && op.Ret != types.OIDBool {
			return pgerr.New(invalidFunction, "only boolean operators can %s", h.what)
		}
	}
	return nil
}

// exactFunction finds a function by its name and the very types of its parameters.
func (x *executor) exactFunction(names []string, args []*types.T) (*builtin.Func, *types.T, error) {
	missing := pgerr.New(pgerr.UndefinedFunction, "function %s(%s) does not exist", strings.Join(names, "."), typeList(args))
	fn, params, ret, err := x.functionNamed(names, args)
	if pgerr.Code(err) == pgerr.InvalidSchemaName {
		return nil, nil, err
	}
	if err != nil {
		return nil, nil, missing
	}
	for i, p := range params {
		if p.OID != args[i].OID {
			return nil, nil, missing
		}
	}
	return fn, ret, nil
}

// estimator finds a selectivity function, which is recorded and not used.
func (x *executor) estimator(names []string, join bool) (types.OID, error) {
	args := []*types.T{types.Internal, types.ByOID(types.OIDOid), types.Internal, types.Int4}
	what := "restriction"
	if join {
		args, what = []*types.T{types.Internal, types.ByOID(types.OIDOid), types.Internal, types.Int2, types.Internal}, "join"
	}
	fn, ret, err := x.exactFunction(names, args)
	if err != nil && join {
		if old, oldRet, e := x.exactFunction(names, args[:4]); e == nil {
			fn, ret, err = old, oldRet, nil
		}
	}
	if err != nil {
		return 0, err
	}
	if ret.OID != types.OIDFloat8 {
		return 0, pgerr.New(pgerr.InvalidObjectDefinition, "%s estimator function %s must return type %s", what, strings.Join(names, "."), "double precision")
	}
	return fn.OID, nil
}

func (x *executor) operatorIn(schema, name string, left, right types.OID) *catalog.Operator {
	for _, o := range x.snap().OperatorsNamed(schema, name) {
		if o.Left == left && o.Right == right {
			return o
		}
	}
	return nil
}

// findOperator finds an operator by its exact operands, built-in ones too: the oid, and the descriptor of a user's.
func (x *executor) findOperator(names []string, left, right types.OID) (types.OID, *catalog.Operator) {
	name := names[len(names)-1]
	if name == "!=" {
		name = "<>"
	}
	schemas := x.path()
	if len(names) > 1 {
		schemas = []string{x.realSchema(names[len(names)-2])}
	} else if !slices.Contains(schemas, catalog.PgCatalog) {
		schemas = append([]string{catalog.PgCatalog}, schemas...)
	}
	for _, p := range schemas {
		if p == catalog.PgCatalog {
			for _, o := range builtin.OperatorsNamed(name) {
				if o.Left == left && o.Right == right {
					return o.OID, nil
				}
			}
		}
		if o := x.operatorIn(p, name, left, right); o != nil {
			return types.OID(o.ID), o
		}
	}
	return 0, nil
}

// relatedOperator finds the commutator or negator of op; one that is not there yet becomes a shell.
func (x *executor) relatedOperator(ctx context.Context, op *catalog.Operator, names []string, left, right types.OID) (types.OID, error) {
	schema := x.snap().SchemaByID(op.Schema)
	if oid, _ := x.findOperator(names, left, right); oid != 0 {
		return oid, nil
	}
	name := names[len(names)-1]
	if len(names) > 1 {
		if schema = x.snap().SchemaByName(x.realSchema(names[len(names)-2])); schema == nil {
			return 0, pgerr.New(pgerr.InvalidSchemaName, "schema %q does not exist", names[len(names)-2])
		}
	}
	if schema.ID == op.Schema && name == op.Name && left == op.Left && right == op.Right {
		return types.OID(op.ID), nil // its own
	}
	if !builtin.ValidOperatorName(name) {
		return 0, pgerr.New(pgerr.InvalidName, "%q is not a valid operator name", name)
	}
	if !x.mayCreateIn(schema) {
		return 0, pgerr.New(pgerr.InsufficientPrivilege, "permission denied for schema %s", schema.Name)
	}
	shell := &catalog.Operator{Header: catalog.Header{Name: name, Owner: x.User}, DB: op.DB, Schema: schema.ID, Left: left, Right: right}
	var err error
	if shell.ID, err = x.View.NewID(ctx); err != nil {
		return 0, err
	}
	return types.OID(shell.ID), x.View.Put(ctx, shell)
}

// pointBack makes the commutator and negator of op, if they have none, have op for theirs.
func (x *executor) pointBack(ctx context.Context, op *catalog.Operator) error {
	if c := x.snap().OperatorByID(uint32(op.Commutator)); c != nil && c.Commutator == 0 {
		n := c.Clone()
		n.Commutator = types.OID(op.ID)
		if err := x.View.Put(ctx, n); err != nil {
			return err
		}
	}
	if c := x.snap().OperatorByID(uint32(op.Negator)); c != nil && c.Negator == 0 {
		n := c.Clone()
		n.Negator = types.OID(op.ID)
		return x.View.Put(ctx, n)
	}
	return nil
}

// operatorOf finds the operator that DROP, ALTER and COMMENT name. A built-in one is not theirs to change.
func (x *executor) operatorOf(sig *ast.FuncSig) (*catalog.Operator, error) {
	var ts [2]*types.T
	var oids [2]types.OID
	for i, a := range sig.Args {
		if a == nil || len(a.Names) == 0 {
			continue
		}
		t, err := x.definedType(a)
		if err != nil {
			return nil, err
		}
		ts[i], oids[i] = t, t.OID
	}
	name := strings.Join(sig.Name, ".")
	if ts[1] == nil {
		return nil, pgerr.New(pgerr.SyntaxError, "postfix operators are not supported")
	}
	oid, op := x.findOperator(sig.Name, oids[0], oids[1])
	switch {
	case op != nil:
		return op, x.own(&op.Header, "operator")
	case oid != 0:
		if x.superuser() {
			text := "NONE"
			if ts[0] != nil {
				text = types.TypeName(ts[0])
			}
			return nil, pgerr.New(pgerr.DependentObjectsStillExist, "cannot drop operator %s(%s,%s) because it is required by the database system", name,
				text, types.TypeName(ts[1]))
		}
		return nil, pgerr.New(pgerr.InsufficientPrivilege, "must be owner of operator %s", name)
	}
	text := name + " " + types.TypeName(ts[1])
	if ts[0] != nil {
		text = types.TypeName(ts[0]) + " " + text
	}
	return nil, pgerr.New(pgerr.UndefinedFunction, "operator does not exist: %s", text)
}

// operatorText prints an operator as regoperator does.
func (x *executor) operatorText(o *catalog.Operator) string {
	left := "NONE"
	if o.Left != 0 {
		left = types.TypeName(x.snap().TypeOf(catalog.TypeRef{OID: o.Left, Typmod: -1}))
	}
	text := o.Name + "(" + left + "," + types.TypeName(x.snap().TypeOf(catalog.TypeRef{OID: o.Right, Typmod: -1})) + ")"
	if _, found := x.findOperator([]string{o.Name}, o.Left, o.Right); found != o {
		text = types.QuoteIdent(x.snap().SchemaName(o.Schema)) + "." + text
	}
	return text
}

func (x *executor) describeOperator(o *catalog.Operator) string {
	return "operator " + x.operatorText(o)
}

func (x *executor) dropOperators(ctx context.Context, s *ast.DropStmt) error {
	for _, o := range s.Objects {
		op, err := x.operatorOf(o.Func)
		if err != nil {
			e, ok := err.(*pgerr.Error)
			if !ok || !s.IfExists {
				return err
			}
			switch e.Code {
			case pgerr.UndefinedFunction:
				if n := o.Func.Name; len(n) > 1 && x.snap().SchemaByName(x.realSchema(n[0])) == nil {
					x.notice("00000", "schema %q does not exist, skipping", n[0])
					continue
				}
				x.notice("00000", "operator %s does not exist, skipping", strings.Join(o.Func.Name, "."))
			case pgerr.UndefinedObject, pgerr.InvalidSchemaName:
				x.notice("00000", "%s, skipping", e.Message)
			default:
				return err
			}
			continue
		}
		if err := x.dropOperator(ctx, op, s.Behavior); err != nil {
			return err
		}
	}
	return nil
}

// dropOperator drops an operator with what depends on it, or refuses.
func (x *executor) dropOperator(ctx context.Context, op *catalog.Operator, behavior ast.DropBehavior) error {
	if x.snap().OperatorByID(op.ID) == nil {
		return nil // went with another
	}
	d := x.dependentsOf(ctx, func(text string, statements bool) bool { return x.operatorIsIn(text, op, statements) })
	if err := x.dropDependents(ctx, x.describeOperator(op), d, behavior, func() error { return x.View.Delete(ctx, op) }); err != nil {
		return err
	}
	// Links to an operator that is gone go, too.
	for _, o := range x.snap().Operators() {
		if uint32(o.Commutator) != op.ID && uint32(o.Negator) != op.ID {
			continue
		}
		n := o.Clone()
		if uint32(n.Commutator) == op.ID {
			n.Commutator = 0
		}
		if uint32(n.Negator) == op.ID {
			n.Negator = 0
		}
		if err := x.View.Put(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// operatorIsIn reports whether a stored expression, or the statements of a query, use an operator by its name. Overloaded
// ones are not told apart, and those with the name of a built-in one are not found.
func (x *executor) operatorIsIn(text string, op *catalog.Operator, statements bool) bool {
	if !strings.Contains(text, op.Name) || len(builtin.OperatorsNamed(op.Name)) > 0 && !strings.Contains(strings.ToUpper(text), "OPERATOR(") {
		return false
	}
	found := false
	look := func(e ast.Expr) bool {
		switch e := e.(type) {
		case *ast.OpExpr:
			found = found || e.Op == op.Name && (e.Left == nil) == (op.Left == 0)
		case *ast.AnyAllExpr:
			found = found || e.Op == op.Name
		}
		return !found
	}
	x.walkStored(text, statements, look)
	return found
}

// walkStored walks a stored expression, or the statements of a query or body.
func (x *executor) walkStored(text string, statements bool, look func(ast.Expr) bool) {
	if !statements {
		if e, err := parser.ParseExpr(text); err == nil {
			ast.WalkAll(e, look, nil)
		}
		return
	}
	sts, err := parser.Parse(text)
	if err != nil {
		return
	}
	for _, st := range sts {
		if sel, ok := st.Stmt.(*ast.SelectStmt); ok {
			ast.WalkSelect(sel, look, nil)
		}
	}
}

// operatorAttributes are the attributes of operators that ALTER OPERATOR knows of.
var operatorAttributes = []string{"restrict", "join", "leftarg", "rightarg", "function", "procedure", "commutator", "negator", "hashes", "merges"}

func (x *executor) alterOperator(ctx context.Context, s *ast.AlterOperatorStmt) error {
	for _, d := range s.Options {
		switch {
		case d.Arg != nil && (d.Arg.Kind == ast.DefInteger || d.Arg.Kind == ast.DefFloat):
			return pgerr.New(pgerr.SyntaxError, "argument of %s must be a name", d.Name)
		case !slices.Contains(operatorAttributes, d.Name):
			return pgerr.New(pgerr.SyntaxError, "operator attribute %q not recognized", d.Name)
		}
	}
	op, err := x.operatorOf(s.Operator)
	if err != nil {
		return err
	}
	n := op.Clone()
	for _, d := range s.Options {
		none := d.Arg == nil || d.Arg.Kind == ast.DefString && strings.EqualFold(d.Arg.Str, "none")
		switch d.Name {
		case "restrict":
			n.Restrict = 0
			if !none {
				n.Restrict, err = x.estimator(namesOf(d.Arg), false)
			}
		case "join":
			n.Join = 0
			if !none {
				n.Join, err = x.estimator(namesOf(d.Arg), true)
			}
		default:
			err = pgerr.New(pgerr.SyntaxError, "operator attribute %q cannot be changed", d.Name)
		}
		if err != nil {
			return err
		}
	}
	if err := operatorShape(n, false, false); err != nil {
		return err
	}
	return x.View.Put(ctx, n)
}

// moveOperator is ALTER OPERATOR ... SET SCHEMA.
func (x *executor) moveOperator(ctx context.Context, sig *ast.FuncSig, sc *catalog.Schema) error {
	op, err := x.operatorOf(sig)
	if err != nil {
		return err
	}
	if !x.mayCreateIn(sc) {
		return pgerr.New(pgerr.InsufficientPrivilege, "permission denied for schema %s", sc.Name)
	}
	if op.Schema == sc.ID {
		return nil
	}
	if x.operatorIn(sc.Name, op.Name, op.Left, op.Right) != nil {
		return pgerr.New("42723", "operator %s already exists in schema %q", x.operatorText(op), sc.Name)
	}
	n := op.Clone()
	n.Schema = sc.ID
	return x.View.Put(ctx, n)
}

// changeOperator stores an operator with a change.
func (x *executor) changeOperator(ctx context.Context, sig *ast.FuncSig, change func(o *catalog.Operator) error) error {
	op, err := x.operatorOf(sig)
	if err != nil {
		return err
	}
	n := op.Clone()
	if err := change(n); err != nil {
		return err
	}
	return x.View.Put(ctx, n)
}

// operatorsOver lists the operators with an operand of a type.
func (x *executor) operatorsOver(t *catalog.Type) []*catalog.Operator {
	return slices.DeleteFunc(x.snap().Operators(), func(o *catalog.Operator) bool {
		for _, id := range []types.OID{o.Left, o.Right, o.Ret} {
			if uint32(id) == t.ID || uint32(id) == t.Array && t.Array != 0 {
				return false
			}
		}
		return true
	})
}
