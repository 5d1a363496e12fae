package pgcatalog

import (
	"strings"

	"github.com/meridian-db/meridian/sql/catalog"
)

func init() {
	generatorMaps = append(generatorMaps, map[string]generator{"pg_catalog.pg_event_trigger": pgEventTrigger})
}

func pgEventTrigger(g *gen) error {
	if g.snap == nil {
		return nil
	}
	for _, e := range g.snap.EventTriggers() {
		var tags any
		if e.Tags != nil {
			tags = e.Tags
		}
		if err := g.row("oid", e.ID, "evtname", e.Name, "evtevent", e.Event, "evtowner", e.Owner, "evtfoid", e.Function, "evtenabled", string(rune(e.Enabled)),
			"evttags", tags); err != nil {
			return err
		}
	}
	return nil
}

// Identity is an object of the catalog in words.
type Identity struct {
	Class, ID   uint32
	Column      int
	Kind        string // as pg_identify_object calls it
	Schema      string // "" where the kind has none
	Name        string // "" where a name alone is not enough
	Identity    string
	Names, Args []string
	Temporary   bool
	// Part says that the object belongs to another and goes with it: an index, the row type of a table, a constraint.
	Part bool
	// Version changes when the object does.
	Version any
}

// Identities lists the objects of the database that users have made, in the order in which they would be made.
func Identities(env *catalog.VirtualEnv) []Identity {
	c := &call{env: env, snap: env.Snapshot}
	var out []Identity
	add := func(class, id uint32, column int, temp, part bool, version any) {
		n, ok, err := c.nameObject(class, id, column)
		if err != nil || !ok {
			return
		}
		if temp && strings.HasPrefix(n.schema, "pg_temp_") {
			n.identity = strings.Replace(n.identity, n.schema+".", "pg_temp.", 1)
			n.schema = "pg_temp"
			if len(n.names) > 1 {
				n.names[0] = n.schema
			}
		}
		out = append(out, Identity{Class: class, ID: id, Column: column, Kind: n.kind, Schema: n.schema, Name: n.name, Identity: n.identity, Names: n.names, Args: n.args,
			Temporary: temp, Part: part, Version: version})
	}
	for _, s := range c.snap.Schemas() {
		if strings.HasPrefix(s.Name, "pg_temp_") {
			continue // comes and goes with the tables in it
		}
		add(classNamespace, s.ID, 0, false, false, s)
	}
	for _, t := range c.snap.Types() {
		add(classType, t.ID, 0, false, t.Class == 'm', t)
		add(classType, t.Array, 0, false, true, nil)
	}
	for _, f := range c.snap.Functions() {
		add(classProc, f.ID, 0, false, false, f)
	}
	for _, o := range c.snap.Operators() {
		add(classOperator, o.ID, 0, false, false, o)
	}
	for _, t := range c.snap.Tables() {
		if t.Sequence != nil {
			add(classClass, t.ID, 0, t.Persistence == 't', false, t)
		}
	}
	for _, t := range c.snap.Tables() {
		temp := t.Persistence == 't'
		if t.Sequence != nil {
			continue
		}
		add(classClass, t.ID, 0, temp, false, t)
		if t.RowType != 0 {
			add(classType, t.RowType, 0, temp, true, nil)
			add(classType, t.RowArray, 0, temp, true, nil)
		}
		for _, col := range t.Columns {
			if !col.Dropped && !col.Hidden {
				add(classClass, t.ID, int(col.Num), temp, true, nil)
				if hasDefault(col) {
					add(classAttrdef, attrdefOID(t, col), 0, temp, true, nil)
				}
			}
		}
	}
	for _, t := range c.snap.Tables() {
		temp := t.Persistence == 't'
		for _, ix := range visibleIndexes(t) {
			add(classClass, ix.OID, 0, temp, ix.Constraint != 0, ix.Name)
			if ix.Constraint != 0 {
				add(classConstraint, ix.Constraint, 0, temp, true, nil)
			}
		}
		for _, k := range t.Checks {
			add(classConstraint, k.OID, 0, temp, true, nil)
		}
		for _, fk := range t.FKs {
			add(classConstraint, fk.OID, 0, temp, true, nil)
		}
		for _, tr := range t.Triggers {
			add(classTrigger, tr.OID, 0, temp, false, tr.Name)
		}
		for _, p := range t.Policies {
			add(classPolicy, p.OID, 0, temp, false, p.Name)
		}
		for _, r := range t.Rules {
			add(classRewrite, r.OID, 0, temp, false, r.Name)
		}
	}
	return out
}
