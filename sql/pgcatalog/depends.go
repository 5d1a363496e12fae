package pgcatalog

import (
	"regexp"
	"strings"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/types"
)

const (
	classRewrite   = 2618
	classExtension = 3079
	// dependNormal keeps the referenced object from being dropped, dependAuto drops the object with it, and
	// dependInternal makes it part of it.
	dependNormal   = "n"
	dependAuto     = "a"
	dependInternal = "i"
	// dependExtension says that an extension brought the object.
	dependExtension = "e"

	plpgsqlExtension  = 13679
	meridianExtension = 13189
)

// object is one side of a dependency: a row of a catalog, or one column of a relation.
type object struct {
	class, id any
	column    any
}

// pgDepend lists what pg_dump needs to put objects in an order that can be restored, and what drivers follow
// from a constraint to its index or from a column to its sequence. The catalog itself knows dependencies by
// looking at its objects; nothing there reads these rows.
func pgDepend(g *gen) error {
	depend := func(kind string, what, on object) error {
		if what.column == nil {
			what.column = 0
		}
		if on.column == nil {
			on.column = 0
		}
		return g.row("classid", what.class, "objid", what.id, "objsubid", what.column,
			"refclassid", on.class, "refobjid", on.id, "refobjsubid", on.column, "deptype", kind)
	}
	onType := func(what object, typ types.OID) error {
		if typ < catalog.FirstUserID {
			return nil // what is built in cannot go, and has no dependencies
		}
		return depend(dependNormal, what, object{class: classType, id: typ})
	}
	// What an extension brought is not dumped.
	brought := object{class: classExtension, id: meridianExtension}
	if err := depend(dependExtension, object{class: classNamespace, id: catalog.MeridianSchemaID}, brought); err != nil {
		return err
	}
	for _, t := range g.snap.Virtual().Tables() {
		if t.Schema != catalog.MeridianSchemaID {
			continue
		}
		if err := depend(dependExtension, object{class: classClass, id: t.ID}, brought); err != nil {
			return err
		}
	}
	for _, f := range builtin.Funcs() {
		if f.Schema != catalog.Meridian {
			continue
		}
		if err := depend(dependExtension, object{class: classProc, id: f.OID}, brought); err != nil {
			return err
		}
	}
	for _, e := range g.snap.Extensions() {
		if err := depend(dependNormal, object{class: classExtension, id: e.OID}, object{class: classNamespace, id: e.Schema}); err != nil {
			return err
		}
	}
	for _, t := range g.snap.Types() {
		if t.Extension == 0 {
			continue
		}
		if err := depend(dependExtension, object{class: classType, id: t.ID}, object{class: classExtension, id: t.Extension}); err != nil {
			return err
		}
	}
	for _, f := range g.snap.Functions() {
		if f.Extension == 0 {
			continue
		}
		if err := depend(dependExtension, object{class: classProc, id: f.ID}, object{class: classExtension, id: f.Extension}); err != nil {
			return err
		}
	}
	for _, t := range g.snap.Types() {
		self := object{class: classType, id: t.ID}
		if err := depend(dependInternal, object{class: classType, id: t.Array}, self); err != nil {
			return err
		}
		if err := depend(dependNormal, self, object{class: classNamespace, id: t.Schema}); err != nil {
			return err
		}
		switch t.Class {
		case 'r':
			if err := onType(self, t.Base.OID); err != nil {
				return err
			}
		case 'm':
			if err := depend(dependInternal, self, object{class: classType, id: uint32(t.Base.OID)}); err != nil {
				return err
			}
		}
		if t.Class == 'd' {
			if err := onType(self, t.Base.OID); err != nil {
				return err
			}
			for _, c := range t.Checks {
				if err := depend(dependAuto, object{class: classConstraint, id: c.OID}, self); err != nil {
					return err
				}
			}
		}
		if t.Class != 'c' {
			continue
		}
		rel := compositeRelation(t)
		if err := depend(dependInternal, object{class: classClass, id: rel}, self); err != nil {
			return err
		}
		for i, f := range t.Fields {
			if err := onType(object{class: classClass, id: rel, column: i + 1}, f.Type.OID); err != nil {
				return err
			}
		}
	}
	for _, t := range g.snap.Tables() {
		if err := g.dependsOfTable(t, depend, onType); err != nil {
			return err
		}
	}
	return nil
}

// dependsOfTable lists what a relation, its columns, indexes and constraints depend on.
func (g *gen) dependsOfTable(t *catalog.Table, depend func(kind string, what, on object) error, onType func(object, types.OID) error) error {
	self := object{class: classClass, id: t.ID}
	column := func(num int16) object { return object{class: classClass, id: t.ID, column: num} }
	if err := depend(dependNormal, self, object{class: classNamespace, id: t.Schema}); err != nil {
		return err
	}
	for _, up := range t.Inherits {
		if err := depend(dependNormal, self, object{class: classClass, id: up}); err != nil {
			return err
		}
	}
	if t.RowType != 0 && t.Kind != catalog.RelSequence {
		if err := depend(dependInternal, object{class: classType, id: t.RowType}, self); err != nil {
			return err
		}
	}
	for _, c := range t.Columns {
		if c.Dropped || c.Hidden {
			continue
		}
		if err := onType(column(c.Num), c.Type.OID); err != nil {
			return err
		}
		if !hasDefault(c) {
			continue
		}
		def := object{class: classAttrdef, id: attrdefOID(t, c)}
		if err := depend(dependAuto, def, column(c.Num)); err != nil {
			return err
		}
		for _, name := range nextvalCall.FindAllStringSubmatch(exprText(g.env, c.Default), -1) {
			seq, err := RegLookup(g.env, types.OIDRegclass, strings.ReplaceAll(name[1], "''", "'"))
			if err != nil {
				continue
			}
			if err := depend(dependNormal, def, object{class: classClass, id: seq}); err != nil {
				return err
			}
		}
	}
	if s := t.Sequence; s != nil && s.OwnerTable != 0 {
		kind := dependAuto
		if s.Identity {
			kind = dependInternal
		}
		if err := depend(kind, self, object{class: classClass, id: s.OwnerTable, column: s.OwnerColumn}); err != nil {
			return err
		}
	}
	for _, ix := range visibleIndexes(t) {
		index := object{class: classClass, id: ix.OID}
		owner := index
		if ix.Constraint != 0 {
			owner = object{class: classConstraint, id: ix.Constraint}
			if err := depend(dependInternal, index, owner); err != nil {
				return err
			}
		}
		for _, k := range ix.Keys {
			if err := depend(dependAuto, owner, column(k.Column)); err != nil {
				return err
			}
		}
	}
	for _, c := range t.Checks {
		for _, num := range c.Columns {
			if err := depend(dependAuto, object{class: classConstraint, id: c.OID}, column(num)); err != nil {
				return err
			}
		}
	}
	for _, fk := range t.FKs {
		key := object{class: classConstraint, id: fk.OID}
		for _, num := range fk.Columns {
			if err := depend(dependAuto, key, column(num)); err != nil {
				return err
			}
		}
		for _, num := range fk.RefColumns {
			if err := depend(dependNormal, key, object{class: classClass, id: fk.RefTable, column: num}); err != nil {
				return err
			}
		}
		if err := depend(dependNormal, key, object{class: classClass, id: fk.RefIndex}); err != nil {
			return err
		}
	}
	if err := policyDepends(t, depend); err != nil {
		return err
	}
	if t.Kind != catalog.RelView && t.Kind != catalog.RelMatView {
		return nil
	}
	rule := object{class: classRewrite, id: ruleOID(t)}
	if err := depend(dependInternal, rule, self); err != nil {
		return err
	}
	for _, id := range t.DependsOn {
		if err := depend(dependNormal, rule, object{class: classClass, id: id}); err != nil {
			return err
		}
	}
	return nil
}

// nextvalCall finds the sequences in the text of a default.
var nextvalCall = regexp.MustCompile(`nextval\('((?:[^']|'')*)'`)

// pgExtension lists the extensions of the database, those first that every database has. The views of schema meridian are one, because that is
// how pg_dump is told to leave objects alone.
func pgExtension(g *gen) error {
	if err := g.row("oid", plpgsqlExtension, "extname", "plpgsql", "extowner", catalog.BootstrapRoleID,
		"extnamespace", catalog.PgCatalogID, "extversion", "1.0"); err != nil {
		return err
	}
	if err := g.row("oid", meridianExtension, "extname", "meridian", "extowner", catalog.BootstrapRoleID,
		"extnamespace", catalog.MeridianSchemaID, "extversion", "1.0"); err != nil {
		return err
	}
	for _, e := range g.snap.Extensions() {
		if err := g.row("oid", e.OID, "extname", e.Name, "extowner", e.Owner, "extnamespace", e.Schema, "extversion", e.Version,
			"extrelocatable", true); err != nil {
			return err
		}
	}
	return nil
}

// ruleOID is the oid of the rule that makes a relation a view.
func ruleOID(t *catalog.Table) uint32 { return t.ID | 1<<31 }
