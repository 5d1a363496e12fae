package ddl

import (
	"context"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// castTypes finds the types of a cast.
func (x *executor) castTypes(from, to *ast.TypeName) (source, target *types.T, err error) {
	if source, err = x.definedType(from); err != nil {
		return nil, nil, err
	}
	target, err = x.definedType(to)
	return source, target, err
}

// ownsType reports whether the user owns a type; the built-in ones are the superuser's.
func (x *executor) ownsType(t *types.T) bool {
	if u := x.snap().UserType(uint32(t.OID)); u != nil {
		return x.snap().IsMember(x.User, u.Owner)
	}
	return x.superuser()
}

func (x *executor) ownsCast(source, target *types.T) error {
	if x.ownsType(source) || x.ownsType(target) {
		return nil
	}
	return pgerr.New(pgerr.InsufficientPrivilege, "must be owner of type %s or type %s", types.TypeName(source), types.TypeName(target))
}

func (x *executor) createCast(ctx context.Context, s *ast.CreateCastStmt) error {
	if x.OlderDefinitions {
		return errOlderNodes("casts")
	}
	source, target, err := x.castTypes(s.Source, s.Target)
	if err != nil {
		return err
	}
	for _, t := range []struct {
		word string
		t    *types.T
	}{{"source", source}, {"target", target}} {
		if t.t.Class == 'p' {
			return pgerr.New(pgerr.WrongObjectType, "%s data type %s is a pseudo-type", t.word, types.TypeName(t.t))
		}
	}
	if err := x.ownsCast(source, target); err != nil {
		return err
	}
	for _, t := range []struct {
		word string
		t    *types.T
	}{{"source", source}, {"target", target}} {
		if t.t.Class == 'd' {
			x.warning(pgerr.WrongObjectType, "cast will be ignored because the %s data type is a domain", t.word)
		}
	}
	c := &catalog.Cast{Header: catalog.Header{Owner: x.User}, DB: x.snap().Database().ID, Source: source.OID, Target: target.OID, Context: s.Context}
	nargs := 0
	switch {
	case s.Func != nil:
		c.Method = 'f'
		if c.Func, nargs, err = x.castFunction(s.Func, source, target); err != nil {
			return err
		}
	case s.InOut:
		c.Method = 'i'
	default:
		c.Method = 'b'
		if err := x.binaryCast(source, target); err != nil {
			return err
		}
	}
	invalid := func(msg string) error { return pgerr.New(pgerr.InvalidObjectDefinition, "%s", msg) }
	if source.OID == target.OID && nargs < 2 {
		return invalid("source data type and target data type are the same")
	}
	if x.castExists(source, target) {
		return pgerr.New(pgerr.DuplicateObject, "cast from type %s to type %s already exists", types.TypeName(source), types.TypeName(target))
	}
	if c.ID, err = x.View.NewID(ctx); err != nil {
		return err
	}
	return x.View.Put(ctx, c)
}

func (x *executor) castExists(source, target *types.T) bool {
	if x.snap().CastBetween(source.OID, target.OID) != nil {
		return true
	}
	for _, c := range builtin.Casts() {
		if c.Source == source.OID && c.Target == target.OID {
			return true
		}
	}
	return false
}

// castFunction finds the function of a cast and checks that it fits.
func (x *executor) castFunction(sig *ast.FuncSig, source, target *types.T) (types.OID, int, error) {
	var args []*types.T
	for _, a := range sig.Args {
		t, err := x.definedType(a)
		if err != nil {
			return 0, 0, err
		}
		args = append(args, t)
	}
	var fn *builtin.Func
	var ret *types.T
	var err error
	if sig.ArgsUnspecified {
		f, err := x.routine(sig, ast.ObjFunction)
		if err != nil {
			return 0, 0, err
		}
		for _, a := range f.Inputs() {
			args = append(args, x.snap().TypeOf(a.Type))
		}
	}
	if fn, ret, err = x.exactFunction(sig.Name, args); err != nil {
		return 0, 0, err
	}
	invalid := func(format string) (types.OID, int, error) {
		return 0, 0, pgerr.New(pgerr.InvalidObjectDefinition, "%s", format)
	}
	same := func(a, b *types.T) bool { return a.OID == b.OID || builtin.IsBinaryCoercible(a, b) }
	switch n := len(args); {
	case n < 1 || n > 3:
		return invalid("cast function must take one to three arguments")
	case !same(source, args[0]):
		return invalid("argument of cast function must match or be binary-coercible from source data type")
	case n > 1 && args[1].OID != types.OIDInt4:
		return invalid("second argument of cast function must be type integer")
	case n > 2 && args[2].OID != types.OIDBool:
		return invalid("third argument of cast function must be type boolean")
	case !same(ret, target):
		return invalid("return data type of cast function must match or be binary-coercible to target data type")
	case fn.Kind != 'f':
		return invalid("cast function must be a normal function")
	case fn.RetSet:
		return invalid("cast function must not return a set")
	}
	return fn.OID, len(args), nil
}

// binaryCast checks that values of one type can be those of the other as they are.
func (x *executor) binaryCast(source, target *types.T) error {
	if !x.superuser() {
		return pgerr.New(pgerr.InsufficientPrivilege, "must be superuser to create a cast WITHOUT FUNCTION")
	}
	invalid := func(text string) error { return pgerr.New(pgerr.InvalidObjectDefinition, "%s", text) }
	any := func(is func(t *types.T) bool) bool { return is(source) || is(target) }
	switch {
	case source.Size != target.Size:
		return invalid("source and target data types are not physically compatible")
	case any(func(t *types.T) bool { return t.Class == 'c' }):
		return invalid("composite data types are not binary-compatible")
	case any(func(t *types.T) bool { return t.Class == 'e' }):
		return invalid("enum data types are not binary-compatible")
	case any((*types.T).IsArray):
		return invalid("array data types are not binary-compatible")
	case any(func(t *types.T) bool { return t.Class == 'd' }):
		return invalid("domain data types must not be marked binary-compatible")
	case source.Kind != target.Kind:
		return pgerr.Unsupported("a cast WITHOUT FUNCTION from %s to %s is not supported, as their values are not stored alike", types.TypeName(source), types.TypeName(target))
	}
	return nil
}

// castNamed finds a user's cast for DROP and COMMENT; nil where it is missing and may be.
func (x *executor) castNamed(o *ast.ObjectName, missingOK bool) (*catalog.Cast, error) {
	source, target, err := x.castTypes(o.Type, o.To)
	if err != nil {
		if e, ok := err.(*pgerr.Error); ok && missingOK {
			x.notice("00000", "%s, skipping", e.Message)
			return nil, nil
		}
		return nil, err
	}
	what := "cast from type " + types.TypeName(source) + " to type " + types.TypeName(target)
	c := x.snap().CastBetween(source.OID, target.OID)
	switch {
	case c == nil && x.castExists(source, target):
		return nil, pgerr.New(pgerr.DependentObjectsStillExist, "cannot drop cast from %s to %s because it is required by the database system",
			types.TypeName(source), types.TypeName(target))
	case c == nil && missingOK:
		x.notice("00000", "%s does not exist, skipping", what)
		return nil, nil
	case c == nil:
		return nil, pgerr.New(pgerr.UndefinedObject, "%s does not exist", what)
	}
	return c, x.ownsCast(source, target)
}

func (x *executor) describeCast(c *catalog.Cast) string {
	name := func(id types.OID) string {
		return types.TypeName(x.snap().TypeOf(catalog.TypeRef{OID: id, Typmod: -1}))
	}
	return "cast from " + name(c.Source) + " to " + name(c.Target)
}

func (x *executor) dropCasts(ctx context.Context, s *ast.DropStmt) error {
	for _, o := range s.Objects {
		c, err := x.castNamed(o, s.IfExists)
		if err != nil {
			return err
		}
		if c == nil {
			continue
		}
		if err := x.View.Delete(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func (x *executor) commentCast(ctx context.Context, o *ast.ObjectName, text string) error {
	c, err := x.castNamed(o, false)
	if err != nil {
		return err
	}
	n := c.Clone()
	n.Comment = text
	return x.View.Put(ctx, n)
}

// castsOver lists the casts from and to a type.
func (x *executor) castsOver(t *catalog.Type) []*catalog.Cast {
	var out []*catalog.Cast
	for _, c := range x.snap().Casts() {
		for _, id := range []types.OID{c.Source, c.Target} {
			if uint32(id) == t.ID || t.Array != 0 && uint32(id) == t.Array {
				out = append(out, c)
				break
			}
		}
	}
	return out
}
