package pgcatalog

import (
	_ "embed"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/types"
)

// estimatorTable has the selectivity functions of PostgreSQL 15's built-in operators: oid, oprrest, oprjoin.
//
//go:embed estimators.tsv
var estimatorTable string

var estimators = sync.OnceValue(func() map[types.OID][2]types.OID {
	out := map[types.OID][2]types.OID{}
	for line := range strings.Lines(estimatorTable) {
		var n [3]types.OID
		for i, f := range strings.Fields(line) {
			v, err := strconv.ParseUint(f, 10, 32)
			if err != nil {
				panic("pgcatalog: bad number in estimators.tsv: " + f)
			}
			n[i] = types.OID(v)
		}
		out[n[0]] = [2]types.OID{n[1], n[2]}
	}
	return out
})

// pgOperator lists the built-in operators and those of users.
func pgOperator(g *gen) error {
	kind := func(left types.OID) string {
		if left == 0 {
			return "l"
		}
		return "b"
	}
	for _, o := range builtin.Operators() {
		e := estimators()[o.OID]
		if err := g.row("oid", o.OID, "oprname", o.Name, "oprnamespace", catalog.PgCatalogID, "oprowner", catalog.BootstrapRoleID,
			"oprkind", kind(o.Left), "oprcanmerge", o.Merges, "oprcanhash", o.Hashes, "oprleft", o.Left, "oprright", o.Right, "oprresult", o.Ret,
			"oprcom", o.Commutator, "oprnegate", o.Negator, "oprcode", o.Proc, "oprrest", e[0], "oprjoin", e[1]); err != nil {
			return err
		}
	}
	if g.snap == nil {
		return nil
	}
	for _, o := range g.snap.Operators() {
		if err := g.row("oid", o.ID, "oprname", o.Name, "oprnamespace", o.Schema, "oprowner", o.Owner, "oprkind", kind(o.Left),
			"oprcanmerge", o.Merges, "oprcanhash", o.Hashes, "oprleft", o.Left, "oprright", o.Right, "oprresult", o.Ret,
			"oprcom", o.Commutator, "oprnegate", o.Negator, "oprcode", o.Func, "oprrest", o.Restrict, "oprjoin", o.Join); err != nil {
			return err
		}
	}
	return nil
}

// anOperator is a built-in operator or a user's.
type anOperator struct {
	oid          uint32
	name, schema string
	left, right  types.OID
}

// operatorsNamed lists the operators of a name: in a schema, or along the search path when schema is empty.
func operatorsNamed(env *catalog.VirtualEnv, schema, name string) []anOperator {
	schemas := catalog.FunctionSchemas(env.SearchPath, schema)
	if schema == "" && !slices.Contains(schemas, catalog.PgCatalog) {
		schemas = append([]string{catalog.PgCatalog}, schemas...)
	}
	var out []anOperator
	add := func(o anOperator) {
		if !slices.ContainsFunc(out, func(p anOperator) bool { return p.left == o.left && p.right == o.right }) {
			out = append(out, o)
		}
	}
	for _, s := range schemas {
		if s == catalog.PgCatalog {
			for _, o := range builtin.OperatorsNamed(name) {
				add(anOperator{uint32(o.OID), o.Name, s, o.Left, o.Right})
			}
		}
		for _, o := range env.Snapshot.OperatorsNamed(s, name) {
			add(anOperator{o.ID, o.Name, s, o.Left, o.Right})
		}
	}
	return out
}

// operatorByOID finds an operator, nil if there is none.
func operatorByOID(env *catalog.VirtualEnv, oid uint32) *anOperator {
	if o := builtin.OperatorByOID(types.OID(oid)); o != nil {
		return &anOperator{oid, o.Name, catalog.PgCatalog, o.Left, o.Right}
	}
	if o := env.Snapshot.OperatorByID(oid); o != nil {
		return &anOperator{oid, o.Name, env.Snapshot.SchemaName(o.Schema), o.Left, o.Right}
	}
	return nil
}

// request is the request for an operator in a stored expression.
func (r *rulePrinter) request(schema, name string, left, right *types.T) builtin.OperatorRequest {
	req := builtin.OperatorRequest{Name: name, Schema: schema, Left: left, Right: right, OnlyUsers: schema != "" && schema != catalog.PgCatalog}
	schemas := catalog.FunctionSchemas(r.env.SearchPath, schema)
	ahead := slices.Index(schemas, catalog.PgCatalog)
	for i, s := range schemas {
		for _, o := range r.env.Snapshot.OperatorsNamed(s, name) {
			u := builtin.UserOperator{Operator: &builtin.Operator{OID: types.OID(o.ID), Name: o.Name, Left: o.Left, Right: o.Right, Ret: o.Ret, Proc: o.Func}}
			// What is printed is not called.
			typed := func(id types.OID) *types.T { return r.env.Snapshot.TypeOf(catalog.TypeRef{OID: id, Typmod: -1}) }
			u.Func = &builtin.Func{Name: o.Name, Kind: 'f', Ret: o.Ret, RetType: typed(o.Ret), Native: &builtin.Native{Eval: unevaluated}}
			for _, id := range []types.OID{o.Left, o.Right} {
				if id != 0 {
					u.Func.Args, u.Func.Types = append(u.Func.Args, id), append(u.Func.Types, typed(id))
				}
			}
			req.Users = append(req.Users, u)
			if i < ahead {
				req.Ahead++
			}
		}
	}
	return req
}

func unevaluated(*builtin.Ctx, []types.Datum) (types.Datum, error) { return types.Null, errNotPrinted }

func (r *rulePrinter) operator(schema, name string, left, right *types.T) (*builtin.Call, error) {
	return builtin.ResolveOperatorIn(r.request(schema, name, left, right))
}
