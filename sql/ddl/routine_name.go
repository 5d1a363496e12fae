package ddl

import (
	"context"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// routineText prints a function as regprocedure does: with its schema if the search path does not find it.
func (x *executor) routineText(f *catalog.Function) string {
	var args []string
	for _, a := range f.Inputs() {
		args = append(args, types.TypeName(x.snap().TypeOf(a.Type)))
	}
	text := types.QuoteIdent(f.Name) + "(" + strings.Join(args, ",") + ")"
	for _, p := range x.path() {
		for _, o := range x.snap().FunctionsNamed(p, f.Name) {
			if o.ID == f.ID {
				return text
			}
			if sameInputs(o, f) {
				return types.QuoteIdent(x.snap().SchemaName(f.Schema)) + "." + text
			}
		}
	}
	return types.QuoteIdent(x.snap().SchemaName(f.Schema)) + "." + text
}

func sameInputs(a, b *catalog.Function) bool {
	return slices.EqualFunc(a.Inputs(), b.Inputs(), func(a, b catalog.FunctionArg) bool { return a.Type.OID == b.Type.OID })
}

// describeRoutine names a function in messages about what depends on what.
func (x *executor) describeRoutine(f *catalog.Function) string { return "function " + x.routineText(f) }

// functionTaken is the error for a function that would have the name and arguments of another one.
func (x *executor) functionTaken(f *catalog.Function, schema, name string) error {
	for _, o := range x.snap().FunctionsNamed(schema, name) {
		if o.ID != f.ID && sameInputs(o, f) {
			n := *f
			n.Name = name
			return pgerr.New("42723", "function %s already exists in schema %q", x.snap().Signature(&n), schema)
		}
	}
	return nil
}

// moveFunction is ALTER FUNCTION, PROCEDURE, ROUTINE and AGGREGATE ... SET SCHEMA.
func (x *executor) moveFunction(ctx context.Context, s *ast.AlterSchemaStmt, sc *catalog.Schema) error {
	f, err := x.routine(s.Name.Func, s.Object)
	if err != nil {
		return err
	}
	if err := x.own(&f.Header, strings.ToLower(string(s.Object))); err != nil {
		return err
	}
	if !x.mayCreateIn(sc) {
		return pgerr.New(pgerr.InsufficientPrivilege, "permission denied for schema %s", sc.Name)
	}
	if f.Schema == sc.ID {
		return nil
	}
	if err := x.functionTaken(f, sc.Name, f.Name); err != nil {
		return err
	}
	n := f.Clone()
	n.Schema = sc.ID
	return x.View.Put(ctx, n)
}

// usesOfType lists the functions with a parameter, result or state of a type, and says so.
func (x *executor) usesOfType(t *catalog.Type) (functions []*catalog.Function, details []string) {
	for _, f := range x.snap().Functions() {
		refs := []catalog.TypeRef{f.Ret}
		for _, a := range f.Args {
			refs = append(refs, a.Type)
		}
		if f.Agg != nil {
			refs = append(refs, f.Agg.Stage.State, f.Agg.Moving.State)
		}
		for _, r := range refs {
			name := t.Name
			if uint32(r.OID) == t.Array && t.Array != 0 {
				name += "[]"
			} else if uint32(r.OID) != t.ID {
				continue
			}
			functions, details = append(functions, f), append(details, x.describeRoutine(f)+" depends on type "+name)
			break
		}
	}
	return functions, details
}
