package plan

import (
	"slices"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// OperatorCatalog is a Catalog that has users' operators.
type OperatorCatalog interface {
	// Operators finds the users' operators of a name: in a schema, or along the path when schema is empty. ahead is how many
	// of them stand before pg_catalog.
	Operators(path []string, schema, name string) (list []builtin.UserOperator, ahead int)
}

// Operators implements OperatorCatalog.
func (c *SnapshotCatalog) Operators(path []string, schema, name string) (list []builtin.UserOperator, ahead int) {
	schemas := catalog.FunctionSchemas(path, schema)
	before := slices.Index(schemas, catalog.PgCatalog)
	for i, p := range schemas {
		for _, o := range c.Snap.OperatorsNamed(p, name) {
			u := builtin.UserOperator{Operator: &builtin.Operator{OID: types.OID(o.ID), Name: o.Name, Left: o.Left, Right: o.Right, Ret: o.Ret, Proc: o.Func}}
			if d := c.Snap.FunctionByID(uint32(o.Func)); d != nil {
				u.Func = c.routine(d)
			} else if o.Func != 0 {
				u.Func = builtin.FuncByOID(o.Func)
			}
			list = append(list, u)
			if i < before {
				ahead++
			}
		}
	}
	return list, ahead
}

// operatorRequest is the request for an operator, with those that users have made.
func (b *binder) operatorRequest(schema, name string, l, r *types.T) (builtin.OperatorRequest, error) {
	if name == "!=" {
		name = "<>"
	}
	req := builtin.OperatorRequest{Name: name, Schema: schema, Left: l, Right: r, Casts: b.casts()}
	if schema == catalog.PgCatalog {
		return req, nil
	}
	if c, ok := b.env.Catalog.(OperatorCatalog); ok {
		req.Users, req.Ahead = c.Operators(b.path, schema, name)
	}
	if req.OnlyUsers = schema != ""; req.OnlyUsers && req.Users == nil {
		if c, ok := b.env.Catalog.(interface{ HasSchema(name string) bool }); ok && !c.HasSchema(schema) {
			return req, pgerr.New(pgerr.InvalidSchemaName, "schema %q does not exist", schema)
		}
	}
	return req, nil
}

// HasSchema reports whether there is a schema of that name.
func (c *SnapshotCatalog) HasSchema(name string) bool { return c.Snap.SchemaByName(name) != nil }

// resolveOperator chooses an operator; l is nil for a prefix one.
func (b *binder) resolveOperator(schema, name string, l, r *types.T) (*builtin.Call, error) {
	req, err := b.operatorRequest(schema, name, l, r)
	if err != nil {
		return nil, err
	}
	// || of text would take anything else that has a text.
	if l != nil && schema == "" && (l.BaseType().Hstore || r.BaseType().Hstore) {
		if x := b.extensionOperator(name, l, r); x != nil {
			return x, nil
		}
	}
	call, err := builtin.ResolveOperatorIn(req)
	if err != nil && l != nil && schema == "" {
		if x := b.extensionOperator(name, l, r); x != nil {
			return x, nil
		}
	}
	if err == nil {
		b.usesOperator(call)
	}
	return call, err
}

// usesOperator notes that the plan depends on a users' operator and its function, which the user must be allowed to call.
func (b *binder) usesOperator(call *builtin.Call) {
	if call.Op == nil || call.Op.OID < catalog.FirstUserID {
		return
	}
	b.tables[uint32(call.Op.OID)] = struct{}{}
	if r, ok := call.Func.User.(*Routine); ok {
		b.uses(call.Func)
		if r.Desc.ACL != nil {
			b.need(r.Desc.ID, 'X')
		}
		if call.Volatility == 'v' && r.Writes() {
			b.calls = true
		}
	}
	b.mutable = b.mutable || call.Volatility != 'i'
	if call.Volatility == 'v' {
		b.volatile = true
	}
}
