package catalog

import (
	"slices"
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/types"
)

// Function is a function or procedure that a user has made.
type Function struct {
	Header
	DB        uint32        `json:"db"`
	Schema    uint32        `json:"s"`
	Procedure bool          `json:"proc,omitempty"`
	Args      []FunctionArg `json:"a,omitempty"` // in the order written, OUT ones and those of TABLE too
	Ret       TypeRef       `json:"ret"`
	Set       bool          `json:"set,omitempty"` // returns a set
	Lang      string        `json:"l"`
	Body      string        `json:"b"`
	// Atomic says that Body is a body in SQL syntax (BEGIN ATOMIC or RETURN), whose names resolve under Path.
	Atomic     bool      `json:"at,omitempty"`
	Path       []string  `json:"path,omitempty"`
	Volatility byte      `json:"vol"` // 'i', 's', 'v'
	Strict     bool      `json:"st,omitempty"`
	Definer    bool      `json:"sd,omitempty"`
	Leakproof  bool      `json:"lp,omitempty"`
	Parallel   byte      `json:"par,omitempty"` // 'u', 'r', 's'
	Cost       float64   `json:"cost,omitempty"`
	Rows       float64   `json:"rows,omitempty"`
	Settings   []Setting `json:"set2,omitempty"`
	DependsOn  []uint32  `json:"dep,omitempty"` // relations and functions of an atomic body
	// Extension is the extension that the function is a part of, 0 if none. Lang is "c" then, and Body the symbol under
	// which package extension has it.
	Extension uint32 `json:"ext,omitempty"`
	// Agg is set for aggregates. Lang is "internal" then.
	Agg *Aggregate `json:"agg,omitempty"`
}

// FunctionArg is one parameter. Mode is pg_proc's: 'i', 'o', 'b' (INOUT), 'v' (VARIADIC), 't' (TABLE).
type FunctionArg struct {
	Name    string  `json:"n,omitempty"`
	Type    TypeRef `json:"t"`
	Mode    byte    `json:"m"`
	Default string  `json:"d,omitempty"` // SQL text
}

func (*Function) kind() descKind { return kindFunction }

// kindFunction is the storage tag of functions.
const kindFunction descKind = 'f'

// Clone returns a copy that may be changed and given to Txn.Put.
func (f *Function) Clone() *Function {
	c := *f
	c.Args = slices.Clone(f.Args)
	c.ACL = slices.Clone(f.ACL)
	c.Settings = slices.Clone(f.Settings)
	return &c
}

// Inputs are the parameters that a caller gives.
func (f *Function) Inputs() []FunctionArg {
	var out []FunctionArg
	for _, a := range f.Args {
		if a.Mode == 'i' || a.Mode == 'b' || a.Mode == 'v' {
			out = append(out, a)
		}
	}
	return out
}

// Outputs are the parameters that make up the result.
func (f *Function) Outputs() []FunctionArg {
	var out []FunctionArg
	for _, a := range f.Args {
		if a.Mode == 'o' || a.Mode == 'b' || a.Mode == 't' {
			out = append(out, a)
		}
	}
	return out
}

// functionKey is a function's name in its name space: functions of one name differ in the types of their inputs.
func (f *Function) functionKey() string {
	var b strings.Builder
	b.WriteString(f.Name)
	b.WriteByte('(')
	for i, a := range f.Inputs() {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatUint(uint64(a.Type.OID), 10))
	}
	b.WriteByte(')')
	return b.String()
}

// functionName finds all functions of a name in a schema.
type functionName struct {
	schema uint32
	name   string
}

func (s *state) addFunction(f *Function) {
	k := functionName{f.Schema, f.Name}
	ids := append(slices.Clone(s.functions[k]), f.ID)
	slices.Sort(ids)
	s.functions[k] = ids
}

func (s *state) forgetFunction(f *Function) {
	k := functionName{f.Schema, f.Name}
	ids := slices.DeleteFunc(slices.Clone(s.functions[k]), func(id uint32) bool { return id == f.ID })
	if len(ids) == 0 {
		delete(s.functions, k)
	} else {
		s.functions[k] = ids
	}
}

// FunctionByID returns a user's function, nil if there is none.
func (s *state) FunctionByID(id uint32) *Function {
	f, _ := s.byID[id].(*Function)
	return f
}

// FunctionsNamed lists the functions of a name in a schema of the snapshot's database.
func (s *Snapshot) FunctionsNamed(schema, name string) []*Function {
	if len(s.functions) == 0 {
		return nil
	}
	sc := s.SchemaByName(schema)
	if sc == nil {
		return nil
	}
	var out []*Function
	for _, id := range s.functions[functionName{sc.ID, name}] {
		if f, ok := s.byID[id].(*Function); ok {
			out = append(out, f)
		}
	}
	return out
}

// Functions lists the functions of the snapshot's database by id.
func (s *Snapshot) Functions() []*Function {
	return sortedByID(s.byID, func(f *Function) bool { return s.db != nil && f.DB == s.db.ID })
}

// TypeOf resolves a type reference; it knows row types.
func (s *state) TypeOf(r TypeRef) *types.T { return s.typeRef(r) }

// Signature prints a function as regprocedure does: f(integer,text).
func (s *state) Signature(f *Function) string {
	var args []string
	for _, a := range f.Inputs() {
		args = append(args, types.TypeName(s.typeRef(a.Type)))
	}
	return f.Name + "(" + strings.Join(args, ", ") + ")"
}
