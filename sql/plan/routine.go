package plan

import (
	"context"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/extension"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// Routine is a users' function as the planner knows it: builtin.Func.User.
type Routine struct {
	Desc *catalog.Function
	Snap *catalog.Snapshot // resolves its types

	once   sync.Once
	writes bool
}

// NameConflict is what to do about a name that is both a variable's and a column's.
type NameConflict uint8

const (
	AmbiguousName NameConflict = iota // an error
	PreferColumn
	PreferVariable
)

// Variables are the names that a function's statements may use for its parameters and variables.
type Variables interface {
	// Variable finds the variable that the first of these names, or the first two, stand for: the parameter's
	// index from 0 and the number of names used.
	Variable(names []string) (param, used int, ok bool)
	// Conflict says what a name stands for that is a column's too.
	Conflict() NameConflict
	// Field selects a field of a variable; field does it by the variable's type.
	Field(e Expr, name string, pos int32, field func(e Expr, name string, pos int32) (Expr, error)) (Expr, error)
}

// RoutineCatalog is a Catalog that has users' functions.
type RoutineCatalog interface {
	// Routines finds the functions of a name: in a schema, or along the path when schema is empty.
	Routines(path []string, schema, name string) []*builtin.Func
	// OperatorRoutines finds the functions behind an operator that extensions have brought.
	OperatorRoutines(name string) []*builtin.Func
}

// users finds the users' functions of a name.
func (b *binder) users(schema, name string) []*builtin.Func {
	c, ok := b.env.Catalog.(RoutineCatalog)
	if !ok {
		return nil
	}
	list := c.Routines(b.path, schema, name)
	for _, f := range list {
		b.uses(f)
	}
	return list
}

// aheadOfBuiltin counts those of a name's users' functions whose schemas the search path names before pg_catalog.
func (b *binder) aheadOfBuiltin(users []*builtin.Func, name string) int {
	at := slices.Index(b.path, "pg_catalog")
	if at <= 0 || len(users) == 0 {
		return 0
	}
	return len(b.env.Catalog.(RoutineCatalog).Routines(b.path[:at], "", name))
}

// extensionOperator resolves a binary operator that an extension has brought, nil if none fits.
func (b *binder) extensionOperator(name string, l, r *types.T) *builtin.Call {
	c, ok := b.env.Catalog.(RoutineCatalog)
	if !ok {
		return nil
	}
	list := c.OperatorRoutines(name)
	if len(list) == 0 {
		return nil
	}
	call, err := builtin.Resolve(builtin.FuncRequest{Name: name, Args: []*types.T{l, r}, Users: list, OnlyUsers: true})
	if err != nil {
		return nil
	}
	b.tables[uint32(call.Func.OID)] = struct{}{}
	return call
}

// OperatorRoutines implements RoutineCatalog.
func (c *SnapshotCatalog) OperatorRoutines(name string) []*builtin.Func {
	var out []*builtin.Func
	for _, e := range c.Snap.Extensions() {
		x := extension.ByName(e.Name)
		if x == nil || x.Operators[name] == "" {
			continue
		}
		for function := range strings.FieldsSeq(x.Operators[name]) {
			for _, d := range c.Snap.FunctionsNamed(c.Snap.SchemaName(e.Schema), function) {
				if d.Extension == e.OID {
					out = append(out, c.routine(d))
				}
			}
		}
	}
	return out
}

// Routines implements RoutineCatalog. Of functions with the same parameters the first on the path counts.
func (c *SnapshotCatalog) Routines(path []string, schema, name string) []*builtin.Func {
	var out []*builtin.Func
	seen := map[string]bool{}
	for _, p := range catalog.FunctionSchemas(path, schema) {
		for _, d := range c.Snap.FunctionsNamed(p, name) {
			sig := c.Snap.Signature(d)
			if !seen[sig] {
				seen[sig] = true
				out = append(out, c.routine(d))
			}
		}
		out = append(out, c.Snap.RangeConstructors(p, name)...)
	}
	return out
}

// RoutineByID returns a users' function, nil if there is none.
func (c *SnapshotCatalog) RoutineByID(id uint32) *builtin.Func {
	if d := c.Snap.FunctionByID(id); d != nil {
		return c.routine(d)
	}
	return nil
}

func (c *SnapshotCatalog) routine(d *catalog.Function) *builtin.Func {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.routines[d]; f != nil {
		return f
	}
	f := RoutineFunc(c.Snap, d)
	if c.routines == nil {
		c.routines = map[*catalog.Function]*builtin.Func{}
	}
	c.routines[d] = f
	return f
}

// RoutineFunc makes the function that calls of a users' function are resolved to.
func RoutineFunc(s *catalog.Snapshot, d *catalog.Function) *builtin.Func {
	f := &builtin.Func{OID: types.OID(d.ID), Name: d.Name, Kind: 'f', Ret: d.Ret.OID, RetSet: d.Set, Volatility: d.Volatility, Strict: d.Strict,
		User: &Routine{Desc: d, Snap: s}, RetType: s.TypeOf(d.Ret)}
	if d.Procedure {
		f.Kind = 'p'
	}
	if d.Lang == "c" {
		f.User, f.Native = nil, extension.Native(d.Body)
	}
	if d.Agg != nil {
		asAggregate(f, s, d)
	}
	modes := ""
	for _, a := range d.Args {
		t := s.TypeOf(a.Type)
		modes += string(rune(a.Mode))
		f.ArgNames, f.AllArgs, f.AllTypes = append(f.ArgNames, a.Name), append(f.AllArgs, a.Type.OID), append(f.AllTypes, t)
		if a.Mode == 'o' || a.Mode == 't' {
			continue
		}
		f.Args, f.Types = append(f.Args, a.Type.OID), append(f.Types, t)
		if a.Default != "" {
			f.Defaults = append(f.Defaults, a.Default)
		}
		if a.Mode == 'v' {
			f.Variadic = builtin.VariadicElem(t)
		}
	}
	if strings.Trim(modes, "i") != "" {
		f.ArgModes = modes
	}
	return f
}

// completeArgs puts the arguments of a call of a users' function into the order of its parameters: named ones in
// their places, the last ones gathered for VARIADIC, defaults where none was given.
func (b *binder) completeArgs(call *builtin.Call, args []Expr) ([]Expr, error) {
	fn := call.Func
	r := fn.User.(*Routine)
	if r.Desc.ACL != nil {
		b.need(r.Desc.ID, 'X')
	}
	np := len(fn.Types)
	if call.Gathered > 0 && fn.Variadic != types.OIDAny {
		elem := call.Args[len(call.Args)-1]
		t := fn.Types[np-1]
		if builtin.IsPolymorphic(t.OID) {
			t = types.ArrayOf(elem)
		}
		rest := args[np-1:]
		args = append(args[:np-1:np-1], &ArrayCtor{Elems: rest, T: t})
	}
	if call.Order == nil && call.Missing == 0 {
		return args, nil
	}
	out := make([]Expr, np)
	for i, a := range args {
		p := i
		if call.Order != nil {
			p = call.Order[i]
		}
		out[p] = a
	}
	inputs := r.Desc.Inputs()
	if len(fn.Types) == len(r.Desc.Args) {
		inputs = r.Desc.Args // CALL gives an argument for every parameter
	}
	for p := range out {
		if out[p] != nil {
			continue
		}
		e, err := parser.ParseExpr(inputs[p].Default)
		if err != nil {
			return nil, err
		}
		sc := &scope{b: b, q: &query{}, clause: "DEFAULT expressions", noAgg: true, noWindow: true, noSRF: true}
		b.stored++
		x, err := sc.expr(e)
		b.stored--
		if err != nil {
			return nil, err
		}
		if x, err = b.coerce(x, fn.Types[p], builtin.CastAssignment, -1); err != nil {
			return nil, err
		}
		out[p] = b.settle(x)
	}
	return out, nil
}

// Writes reports whether running the function may change something, as far as its text tells: then a statement that
// calls it takes locks as a writing one does.
func (r *Routine) Writes() bool {
	r.once.Do(func() {
		if a := r.Desc.Agg; a != nil {
			r.writes = slices.ContainsFunc(a.Functions(), func(id types.OID) bool {
				d := r.Snap.FunctionByID(uint32(id))
				return d != nil && (&Routine{Desc: d, Snap: r.Snap}).Writes()
			})
			return
		}
		r.writes = r.Desc.Lang != "sql" && mayWrite(r.Desc.Body) || r.Desc.Lang == "sql" && sqlWrites(r.Desc.Body)
	})
	return r.writes
}

// writingFunctions are the built-in functions that change something.
var writingFunctions = map[string]bool{"nextval": true, "setval": true, "set_config": true, "pg_notify": true, "lo_creat": true, "lo_create": true,
	"lo_from_bytea": true, "lo_put": true, "lo_unlink": true, "lowrite": true, "lo_truncate": true, "lo_truncate64": true}

// guardedFunctions are those of writingFunctions that decide themselves whether they may run in a read-only transaction.
var guardedFunctions = map[string]bool{"nextval": true, "setval": true, "set_config": true}

// writingWords begin, or are in, statements that change something.
var writingWords = map[string]bool{"insert": true, "update": true, "delete": true, "merge": true, "truncate": true, "create": true, "drop": true,
	"alter": true, "grant": true, "revoke": true, "copy": true, "lock": true, "refresh": true, "execute": true, "call": true, "comment": true,
	"share": true, "set": true, "reset": true, "do": true, "import": true, "analyze": true}

// mayWrite looks for such words, and for calls of functions that are not built in.
func mayWrite(body string) bool {
	isWord := func(c rune) bool { return c == '_' || unicode.IsLetter(c) || unicode.IsDigit(c) }
	for i := 0; i < len(body); {
		c := rune(body[i])
		if !isWord(c) {
			i++
			continue
		}
		j := i
		for j < len(body) && isWord(rune(body[j])) {
			j++
		}
		w := strings.ToLower(body[i:j])
		k := j
		for k < len(body) && (body[k] == ' ' || body[k] == '\n' || body[k] == '\t') {
			k++
		}
		if writingWords[w] || writingFunctions[w] || k < len(body) && body[k] == '(' && !harmlessBefore[w] && len(builtin.FuncsNamed(w)) == 0 && types.ByInternalName(w) == nil {
			return true
		}
		i = j
	}
	return false
}

// harmlessBefore are words that may stand before a parenthesis without being a call.
var harmlessBefore = map[string]bool{"if": true, "elsif": true, "while": true, "when": true, "then": true, "and": true, "or": true, "not": true, "in": true,
	"exists": true, "any": true, "all": true, "some": true, "values": true, "select": true, "from": true, "where": true, "on": true, "by": true,
	"coalesce": true, "nullif": true, "greatest": true, "least": true, "cast": true, "extract": true, "substring": true, "position": true, "overlay": true,
	"trim": true, "row": true, "array": true, "return": true, "as": true, "over": true, "numeric": true, "varchar": true, "char": true, "decimal": true,
	"query": true, "loop": true, "using": true, "join": true, "union": true, "except": true, "intersect": true, "limit": true, "offset": true, "else": true,
	"case": true, "having": true, "raise": true, "perform": true, "with": true, "lateral": true, "filter": true, "partition": true, "like": true, "is": true,
	"between": true, "xmlelement": true, "grouping": true, "into": true, "begin": true, "distinct": true, "timestamp": true, "time": true, "interval": true, "bit": true}

// sqlWrites reports whether the statements of a function in SQL may change something.
func sqlWrites(body string) bool {
	sts, err := parser.Parse(body)
	if err != nil {
		return true
	}
	for _, st := range sts {
		if sel, ok := st.Stmt.(*ast.SelectStmt); !ok || len(sel.Locking) > 0 {
			return true
		}
	}
	return mayWrite(body)
}

// PreparedCall is a bound CALL.
type PreparedCall struct {
	Call     *builtin.Call
	Args     []Expr
	NumSlots int
	// Outs are the output parameters, OutArgs the arguments given for them; nil for one that is only an output.
	Outs    []types.Field
	OutArgs []Expr
	Needs   []Need
	// ParamTypes are the types of $1, $2, ..., all decided.
	ParamTypes []*types.T
}

// PrepareCall binds CALL. Arguments for OUT parameters are there to be left out of account.
func PrepareCall(ctx context.Context, f *ast.FuncCall, env Env) (*PreparedCall, error) {
	b := newBinder(ctx, &env)
	s := &scope{b: b, q: &query{}, clause: "CALL arguments", noAgg: true, noWindow: true, noSRF: true}
	name := f.Name[len(f.Name)-1]
	schema := ""
	if len(f.Name) > 1 {
		schema = f.Name[len(f.Name)-2]
	}
	users := b.users(schema, name)
	// A procedure is found by all its parameters, as CALL gives an argument for each.
	var procs []*builtin.Func
	for _, u := range users {
		if u.Kind != 'p' {
			procs = append(procs, u)
			continue
		}
		p := *u
		d := u.User.(*Routine).Desc
		p.Args, p.Types, p.Defaults = nil, nil, nil
		for i, a := range d.Args {
			p.Args, p.Types = append(p.Args, a.Type.OID), append(p.Types, u.AllTypes[i])
			if a.Default != "" {
				p.Defaults = append(p.Defaults, a.Default)
			}
		}
		procs = append(procs, &p)
	}
	req := builtin.FuncRequest{Name: name, Users: procs, OnlyUsers: schema != ""}
	args, call, err := s.resolveArgs(f, req)
	if err != nil {
		if e, ok := err.(*pgerr.Error); ok && e.Code == pgerr.UndefinedFunction {
			k := *e
			k.Message = strings.Replace(e.Message, "function ", "procedure ", 1)
			k.Hint = "No procedure matches the given name and argument types. You might need to add explicit type casts."
			err = &k
		}
		return nil, err
	}
	r, ok := call.Func.User.(*Routine)
	if !ok || !r.Desc.Procedure {
		return nil, errAt(f.Off, pgerr.WrongObjectType, "%s(%s) is not a procedure", name, typeNames(call.Args)).WithHint("To call a function, use SELECT.")
	}
	out := &PreparedCall{Call: call, NumSlots: b.slots}
	for i, a := range r.Desc.Args {
		x := args[i]
		if a.Mode == 'o' || a.Mode == 'b' {
			out.Outs = append(out.Outs, types.Field{Name: a.Name, Type: call.Func.AllTypes[i]})
			o := x
			if c, ok := o.(*Cast); ok {
				o = c.Arg
			}
			out.OutArgs = append(out.OutArgs, o)
		}
		if a.Mode != 'o' {
			out.Args = append(out.Args, x)
		}
	}
	// The function itself takes the inputs only.
	for _, u := range users {
		if u.OID == call.Func.OID {
			c := *call
			c.Func = u
			out.Call = &c
		}
	}
	out.NumSlots, out.Needs = b.slots, b.listNeeds()
	out.ParamTypes, err = b.decidedParams()
	return out, err
}

func typeNames(ts []*types.T) string {
	var out []string
	for _, t := range ts {
		out = append(out, types.TypeName(t))
	}
	return strings.Join(out, ", ")
}

func functionSignature(f *builtin.Func) string {
	var args []string
	for i, a := range f.Args {
		t := types.TypeNameOID(a)
		if f.Types != nil {
			t = types.TypeName(f.Types[i])
		}
		args = append(args, t)
	}
	return f.Name + "(" + strings.Join(args, ", ") + ")"
}
