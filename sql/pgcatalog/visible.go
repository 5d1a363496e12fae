package pgcatalog

import (
	"slices"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/types"
)

// What is visible can be named without its schema: the schema is in search_path, and none before it has the like.

// functionVisible is pg_function_is_visible.
func functionVisible(c *call) (types.Datum, error) {
	path := c.env.SearchPath
	f := c.snap.FunctionByID(c.oid(0))
	if f == nil {
		b := builtin.FuncByOID(types.OID(c.oid(0)))
		switch {
		case b == nil:
			return types.Null, nil
		case b.Schema != "":
			return boolean(slices.Contains(path, b.Schema))
		}
		return boolean(true)
	}
	at := slices.Index(path, c.snap.SchemaName(f.Schema))
	if at < 0 {
		return boolean(false)
	}
	of := c.snap.Signature(f)
	for _, schema := range path[:at] {
		if slices.ContainsFunc(c.snap.FunctionsNamed(schema, f.Name), func(x *catalog.Function) bool { return c.snap.Signature(x) == of }) {
			return boolean(false)
		}
	}
	return boolean(true)
}

// operatorVisible is pg_operator_is_visible.
func operatorVisible(c *call) (types.Datum, error) {
	path := c.env.SearchPath
	o := c.snap.OperatorByID(c.oid(0))
	if o == nil {
		if builtin.OperatorByOID(types.OID(c.oid(0))) == nil {
			return types.Null, nil
		}
		return boolean(true)
	}
	at := slices.Index(path, c.snap.SchemaName(o.Schema))
	if at < 0 {
		return boolean(false)
	}
	for _, schema := range path[:at] {
		if slices.ContainsFunc(c.snap.OperatorsNamed(schema, o.Name), func(x *catalog.Operator) bool { return x.Left == o.Left && x.Right == o.Right }) {
			return boolean(false)
		}
	}
	return boolean(true)
}
