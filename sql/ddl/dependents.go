package ddl

import (
	"context"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// dependent is an object that cannot be without another one.
type dependent struct {
	what string
	drop func() error
}

// dependentsOf lists the objects whose stored expressions and queries use something; uses tells by their text.
func (x *executor) dependentsOf(ctx context.Context, uses func(text string, statements bool) bool) []dependent {
	var out []dependent
	add := func(what string, drop func() error) { out = append(out, dependent{what, drop}) }
	for _, t := range x.snap().Tables() {
		if t.Query != "" && uses(t.Query, true) {
			add(kindWord(t)+" "+x.displayName(t), func() error { return x.dropRelation(ctx, t, ast.Cascade) })
		}
		for _, c := range t.Columns {
			if c.Dropped {
				continue
			}
			if c.Default != "" && uses(c.Default, false) {
				add("default value for column "+c.Name+" of table "+x.displayName(t), func() error {
					nt := x.snap().TableByID(t.ID).Clone()
					nt.Column(c.Name).Default = ""
					return x.View.Put(ctx, nt)
				})
			}
			if c.Generated != "" && uses(c.Generated, false) {
				add("column "+c.Name+" of table "+x.displayName(t), func() error {
					return x.dropColumn(ctx, x.snap().TableByID(t.ID), &ast.AlterTableCmd{Name: c.Name, Behavior: ast.Cascade})
				})
			}
		}
		for _, p := range t.Policies {
			if uses(p.Using, false) || uses(p.Check, false) {
				add("policy "+p.Name+" on table "+x.displayName(t), func() error { return x.removePolicy(ctx, t.ID, p.Name) })
			}
		}
		for _, k := range t.Checks {
			if uses(k.Expr, false) {
				add("constraint "+k.Name+" on table "+x.displayName(t), func() error {
					return x.dropConstraint(ctx, x.snap().TableByID(t.ID), &ast.AlterTableCmd{Name: k.Name, Behavior: ast.Cascade})
				})
			}
		}
		for _, ix := range t.Indexes {
			used := uses(ix.Where, false)
			for _, k := range ix.Keys {
				used = used || uses(k.Expr, false)
			}
			if used {
				add("index "+ix.Name, func() error { return x.removeIndex(ctx, x.snap().TableByID(t.ID), ix.OID) })
			}
		}
	}
	for _, o := range x.snap().Functions() {
		if o.Atomic && uses(o.Body, true) {
			add(x.describeRoutine(o), func() error { return x.dropFunction(ctx, o, ast.Cascade) })
		}
	}
	return out
}

// dependentsOfFunction lists what cannot be without a function.
func (x *executor) dependentsOfFunction(ctx context.Context, f *catalog.Function) []dependent {
	var out []dependent
	add := func(what string, drop func() error) { out = append(out, dependent{what, drop}) }
	for _, t := range x.snap().Tables() {
		triggers := slices.SortedFunc(slices.Values(t.Triggers), func(a, b *catalog.Trigger) int { return int(a.OID) - int(b.OID) })
		for _, tr := range triggers {
			if tr.Function == f.ID {
				add("trigger "+tr.Name+" on table "+x.displayName(t), func() error { return x.removeTrigger(ctx, t.ID, tr.OID) })
			}
		}
	}
	for _, e := range x.snap().EventTriggers() {
		if e.Function == f.ID {
			add("event trigger "+e.Name, func() error { return x.View.Delete(ctx, e) })
		}
	}
	for _, d := range x.dependentsOf(ctx, func(text string, statements bool) bool { return x.callsIn(text, f, statements) }) {
		if d.what != x.describeRoutine(f) {
			out = append(out, d)
		}
	}
	for _, o := range x.snap().Functions() {
		if o.Agg != nil && slices.Contains(o.Agg.Functions(), types.OID(f.ID)) {
			add(x.describeRoutine(o), func() error { return x.dropFunction(ctx, o, ast.Cascade) })
		}
	}
	for _, c := range x.snap().Casts() {
		if c.Func == types.OID(f.ID) {
			add(x.describeCast(c), func() error { return x.View.Delete(ctx, c) })
		}
	}
	for _, o := range x.snap().Operators() {
		if id := types.OID(f.ID); o.Func == id || o.Restrict == id || o.Join == id {
			add(x.describeOperator(o), func() error { return x.dropOperator(ctx, o, ast.Cascade) })
		}
	}
	return out
}

// dropDependents drops what with its dependents, or refuses; drop drops it alone.
func (x *executor) dropDependents(ctx context.Context, what string, ds []dependent, behavior ast.DropBehavior, drop func() error) error {
	var names, detail []string
	for _, d := range ds {
		names, detail = append(names, d.what), append(detail, d.what+" depends on "+what)
	}
	if len(ds) > 0 && behavior != ast.Cascade {
		return pgerr.New(pgerr.DependentObjectsStillExist, "cannot drop %s because other objects depend on it", what).
			WithDetail("%s", strings.Join(detail, "\n")).WithHint("Use DROP ... CASCADE to drop the dependent objects too.")
	}
	switch len(ds) {
	case 0:
	case 1:
		x.notice("00000", "drop cascades to %s", names[0])
	default:
		x.sendNotice(pgerr.New("00000", "drop cascades to %d other objects", len(ds)).
			WithDetail("drop cascades to %s", strings.Join(names, "\ndrop cascades to ")))
	}
	// It goes first: functions may depend on each other.
	if err := drop(); err != nil {
		return err
	}
	for _, d := range ds {
		if err := d.drop(); err != nil {
			return err
		}
	}
	return nil
}
