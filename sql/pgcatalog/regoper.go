package pgcatalog

import (
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// regoper, regoperator and regcollation. All collations are in pg_catalog.

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
func operatorName(env *catalog.VirtualEnv, oid uint32, operands bool) (string, bool) {
	o := operatorByOID(env, oid)
	if o == nil {
		return "", false
	}
	same := operatorsNamed(env, "", o.name)
	visible := slices.ContainsFunc(same, func(p anOperator) bool { return p.oid == oid })
	name := o.name
	if !visible || !operands && len(same) > 1 {
		name = quoteIdent(o.schema) + "." + name
	}
	if !operands {
		return name, true
	}
	left := "NONE"
	if o.left != 0 {
		left = userType(env, catalog.TypeRef{OID: o.left, Typmod: -1})
	}
	return name + "(" + left + "," + userType(env, catalog.TypeRef{OID: o.right, Typmod: -1}) + ")", true
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
	schema := ""
	if before, rest, ok := strings.Cut(name, "."); ok {
		if env.Snapshot.SchemaByName(before) == nil && before != catalog.PgCatalog {
			return 0, pgerr.New(pgerr.InvalidSchemaName, "schema \"%s\" does not exist", before)
		}
		schema, name = before, rest
	}
	found := operatorsNamed(env, schema, name)
	if !operands {
		switch len(found) {
		case 0:
			return 0, pgerr.New(pgerr.UndefinedFunction, "operator does not exist: %s", text)
		case 1:
			return found[0].oid, nil
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
		if o.left == oids[0] && o.right == oids[1] {
			return o.oid, nil
		}
	}
	return 0, pgerr.New(pgerr.UndefinedFunction, "operator does not exist: %s", text)
}
