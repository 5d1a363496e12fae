package pgcatalog

import (
	"strings"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// regoper, regoperator and regcollation. All operators and collations are in pg_catalog.

func collationName(oid uint32) (string, bool) {
	for _, c := range collations {
		if uint32(c.oid) == oid {
			return quoteIdent(c.name), true
		}
	}
	return "", false
}

func lookupCollation(schema, name string) (uint32, error) {
	for _, c := range collations {
		if c.name == name && (schema == "" || schema == catalog.PgCatalog) {
			return uint32(c.oid), nil
		}
	}
	return 0, pgerr.New(pgerr.UndefinedObject, "collation \"%s\" for encoding \"UTF8\" does not exist", unquoted(schema, name))
}

// operatorName prints an operator as regoper does, with its schema where the name alone is ambiguous, or with its
// operands as regoperator does.
func operatorName(oid uint32, operands bool) (string, bool) {
	for _, o := range builtin.Operators() {
		if uint32(o.OID) != oid {
			continue
		}
		switch {
		case operands:
			left := "NONE"
			if o.Left != 0 {
				left = types.TypeNameOID(o.Left)
			}
			return o.Name + "(" + left + "," + types.TypeNameOID(o.Right) + ")", true
		case len(builtin.OperatorsNamed(o.Name)) > 1:
			return "pg_catalog." + o.Name, true
		}
		return o.Name, true
	}
	return "", false
}

func lookupOperator(env *catalog.VirtualEnv, text string, operands bool) (uint32, error) {
	name, args := strings.TrimSpace(text), ""
	if operands {
		before, after, found := strings.Cut(name, "(")
		if !found {
			return 0, pgerr.New(pgerr.InvalidTextRepresentation, "expected a left parenthesis")
		}
		if name, args, found = strings.TrimSpace(before), strings.TrimSuffix(after, ")"), strings.HasSuffix(after, ")"); !found {
			return 0, pgerr.New(pgerr.InvalidTextRepresentation, "expected a right parenthesis")
		}
	}
	if schema, rest, ok := strings.Cut(name, "."); ok {
		if env.Snapshot.SchemaByName(schema) == nil && schema != catalog.PgCatalog {
			return 0, pgerr.New(pgerr.InvalidSchemaName, "schema \"%s\" does not exist", schema)
		}
		if name = rest; schema != catalog.PgCatalog {
			return 0, pgerr.New(pgerr.UndefinedFunction, "operator does not exist: %s", text)
		}
	}
	found := builtin.OperatorsNamed(name)
	if !operands {
		switch len(found) {
		case 0:
			return 0, pgerr.New(pgerr.UndefinedFunction, "operator does not exist: %s", text)
		case 1:
			return uint32(found[0].OID), nil
		}
		return 0, pgerr.New(pgerr.AmbiguousFunction, "more than one operator named %s", text)
	}
	words := strings.Split(args, ",")
	switch {
	case len(words) == 1:
		return 0, pgerr.New(pgerr.UndefinedParameter, "missing argument").WithHint("Use NONE to denote the missing argument of a unary operator.")
	case len(words) > 2:
		return 0, pgerr.New(pgerr.TooManyArguments, "too many arguments").WithHint("Provide two argument types for operator.")
	}
	var oids [2]types.OID
	for i, w := range words {
		if w = strings.TrimSpace(w); strings.EqualFold(w, "none") {
			continue
		}
		oid, err := lookupType(env, w)
		if err != nil {
			return 0, err
		}
		oids[i] = types.OID(oid)
	}
	for _, o := range found {
		if o.Left == oids[0] && o.Right == oids[1] {
			return uint32(o.OID), nil
		}
	}
	return 0, pgerr.New(pgerr.UndefinedFunction, "operator does not exist: %s", text)
}
