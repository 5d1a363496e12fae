package sql

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/ddl"
	"github.com/meridian-db/meridian/sql/pgcatalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plpgsql"
	"github.com/meridian-db/meridian/sql/types"
)

// eventContext is what a running event trigger function may ask about the command that fired it.
type eventContext struct {
	event    string
	tag      string
	commands []eventCommand       // at ddl_command_end
	dropped  []pgcatalog.Identity // at sql_drop
	original func(o pgcatalog.Identity) bool
}

// eventCommand is one row of pg_event_trigger_ddl_commands.
type eventCommand struct {
	tag    string
	object pgcatalog.Identity
}

// executeWithEvents runs a statement that changes the catalog, with the event triggers of its database before and after. What it has
// done is told by comparing the objects of the catalog before and after.
func (s *Session) executeWithEvents(ctx context.Context, st *statement, run func() (string, error)) (string, error) {
	v, ok := s.txn.catalog.(*catalogView)
	tag := st.node.Tag()
	if !ok || !ddl.FiresEvents(tag) || s.routines.event != nil || aboutCluster(st.node) {
		return run()
	}
	if err := v.txn.Statement(ctx); err != nil {
		return "", err
	}
	v.refresh()
	if len(v.snap.EventTriggers()) == 0 {
		return run()
	}
	if err := s.fireEvent(ctx, v, &eventContext{event: "ddl_command_start", tag: tag}); err != nil {
		return "", err
	}
	type key struct {
		class, id uint32
		column    int
	}
	of := func(o pgcatalog.Identity) key { return key{o.Class, o.ID, o.Column} }
	before := pgcatalog.Identities(v.env())
	out, err := run()
	if err != nil {
		return "", err
	}
	v.refresh()
	after := pgcatalog.Identities(v.env())
	was, is := map[key]pgcatalog.Identity{}, map[key]bool{}
	for _, o := range before {
		was[of(o)] = o
	}
	var commands []eventCommand
	for _, o := range after {
		is[of(o)] = true
		old, had := was[of(o)]
		switch {
		case o.Part:
			if !had && o.Kind == "index" && tag != "ALTER TABLE" {
				commands = append(commands, eventCommand{"CREATE INDEX", o})
			}
		case !had:
			created := tag
			switch o.Kind {
			case "table", "view", "sequence", "index":
				if tag != "CREATE TABLE AS" && tag != "SELECT INTO" {
					created = "CREATE " + strings.ToUpper(o.Kind) // CREATE SCHEMA and CREATE TABLE make more than one object
				}
			}
			commands = append(commands, eventCommand{created, o})
		case old.Version != o.Version && !strings.HasPrefix(tag, "CREATE ") && !strings.HasPrefix(tag, "DROP ") && aimedAt(st.node, o):
			commands = append(commands, eventCommand{tag, o})
		}
	}
	var dropped []pgcatalog.Identity
	gone := map[key]bool{}
	for _, o := range before {
		if is[of(o)] {
			continue
		}
		gone[of(o)] = true
		if o.Column != 0 && gone[key{o.Class, o.ID, 0}] {
			continue // columns are not listed with their table
		}
		dropped = append(dropped, o)
	}
	if len(dropped) > 0 {
		// What was named comes first, then what went with it.
		original := func(o pgcatalog.Identity) bool { return namedBy(st.node, o) }
		slices.SortStableFunc(dropped, func(a, b pgcatalog.Identity) int {
			rank := func(o pgcatalog.Identity) int {
				switch {
				case original(o):
					return 0
				case o.Part:
					return 1
				}
				return 2
			}
			return cmp.Compare(rank(a), rank(b))
		})
		if err := s.fireEvent(ctx, v, &eventContext{event: "sql_drop", tag: tag, dropped: dropped, original: original}); err != nil {
			return "", err
		}
	}
	return out, s.fireEvent(ctx, v, &eventContext{event: "ddl_command_end", tag: tag, commands: commands})
}

// aboutCluster says whether a comment or a grant is about an object that is not the database's, or about an event trigger.
func aboutCluster(node ast.Stmt) bool {
	var object ast.ObjectType
	switch n := node.(type) {
	case *ast.CommentStmt:
		object = n.Object
	case *ast.GrantStmt:
		object = n.Object
	}
	switch object {
	case ast.ObjEventTrigger, ast.ObjDatabase, ast.ObjRole, ast.ObjTablespace:
		return true
	}
	return false
}

// aimedAt says whether an object that has changed is the one that a statement is about: others change along with it.
func aimedAt(node ast.Stmt, o pgcatalog.Identity) bool {
	var target *ast.RangeVar
	switch n := node.(type) {
	case *ast.AlterTableStmt:
		target = n.Table
	case *ast.RenameStmt:
		if n.Table != nil && n.Object != ast.ObjColumn && n.Object != ast.ObjAttribute && n.Object != ast.ObjTableConstraint {
			return o.Name == n.New || len(o.Names) > 0 && o.Names[len(o.Names)-1] == n.New
		}
		target = n.Table
	case *ast.AlterSchemaStmt:
		target = n.Table
	}
	return target == nil || o.Name == target.Name
}

// namedBy says whether a statement names an object that it has dropped.
func namedBy(node ast.Stmt, o pgcatalog.Identity) bool {
	switch n := node.(type) {
	case *ast.DropStmt:
		if o.Part && n.Object != ast.ObjIndex || !strings.EqualFold(o.Kind, string(n.Object)) && !(n.Object == ast.ObjDomain && o.Kind == "type") && n.Object != ast.ObjRoutine {
			return false
		}
		return slices.ContainsFunc(n.Objects, func(t *ast.ObjectName) bool {
			names := t.Names
			if t.Type != nil {
				names = t.Type.Names
			}
			return len(names) > 0 && len(o.Names) > 0 && (o.Names[len(o.Names)-1] == names[len(names)-1] || o.Name == names[len(names)-1])
		})
	case *ast.AlterTableStmt:
		return slices.ContainsFunc(n.Cmds, func(c *ast.AlterTableCmd) bool {
			switch c.Kind {
			case ast.DropColumn:
				return o.Column != 0 && o.Names[len(o.Names)-1] == c.Name
			case ast.DropConstraint:
				return o.Kind == "table constraint" && o.Names[len(o.Names)-1] == c.Name
			case ast.AlterDefault:
				return o.Kind == "default value" && o.Names[len(o.Names)-1] == c.Name
			}
			return false
		})
	}
	return false
}

// fireEvent runs the event triggers of an event, by name.
func (s *Session) fireEvent(ctx context.Context, v *catalogView, ec *eventContext) error {
	v.refresh()
	triggers := slices.SortedFunc(slices.Values(v.snap.EventTriggers()), func(a, b *catalog.EventTrigger) int { return cmp.Compare(a.Name, b.Name) })
	for _, e := range triggers {
		if !firesAt(e, ec.event, ec.tag) {
			continue
		}
		if err := s.runEventTrigger(ctx, v, e, ec); err != nil {
			return err
		}
	}
	return nil
}

func firesAt(e *catalog.EventTrigger, event, tag string) bool {
	return e.Event == event && e.Enabled != 'D' && e.Enabled != 'R' && (e.Tags == nil || slices.Contains(e.Tags, tag))
}

func (s *Session) runEventTrigger(ctx context.Context, v *catalogView, e *catalog.EventTrigger, ec *eventContext) error {
	f := v.snap.FunctionByID(e.Function)
	if f == nil {
		return pgerr.New(pgerr.UndefinedFunction, "function of event trigger %q does not exist", e.Name)
	}
	s.bctx.Context = ctx
	leave, err := s.enterRoutine(f)
	if err != nil {
		return err
	}
	defer leave()
	s.routines.event = ec
	defer func() { s.routines.event = nil }()
	code, err := s.codeOf(f, nil, false)
	if err != nil {
		return err
	}
	m := &plpgsql.Machine{Host: &routineHost{s: s, code: code}, Fn: code.pl, Ret: plpgsql.Return{Void: true, Type: types.Void}}
	if err := m.Start(ctx, nil); err != nil {
		return err
	}
	for name, text := range map[string]string{"tg_event": ec.event, "tg_tag": ec.tag} {
		i := code.pl.TG[name]
		x := m.Get(i)
		x.D = types.NewString(text)
		m.Set(i, x)
	}
	return m.Run(ctx)
}

// eventFunctions are those that only event trigger functions may call.
var eventFunctions = map[string]builtin.EvalFunc{
	"pg_event_trigger_ddl_commands": onSession(func(s *Session, _ context.Context, _ []types.Datum) (types.Datum, error) {
		ec := s.routines.event
		if ec == nil || ec.event != "ddl_command_end" {
			return types.Null, notInEvent("pg_event_trigger_ddl_commands()", "an event trigger function")
		}
		var rows [][]types.Datum
		for _, c := range ec.commands {
			o := c.object
			rows = append(rows, []types.Datum{types.NewInt(int64(o.Class)), types.NewInt(int64(o.ID)), types.NewInt(int64(o.Column)), types.NewString(c.tag),
				types.NewString(o.Kind), textOrNull(o.Schema), types.NewString(o.Identity), types.NewBool(false), types.Null})
		}
		return recordsOf(rows), nil
	}),
	"pg_event_trigger_dropped_objects": onSession(func(s *Session, _ context.Context, _ []types.Datum) (types.Datum, error) {
		ec := s.routines.event
		if ec == nil || ec.event != "sql_drop" {
			return types.Null, notInEvent("pg_event_trigger_dropped_objects()", "a sql_drop event trigger function")
		}
		list := func(names []string) types.Datum {
			a := &types.Array{Elem: types.Text}
			for _, n := range names {
				a.Elems = append(a.Elems, types.NewString(n))
			}
			if len(names) > 0 {
				a.Dims = []types.ArrayDim{{Len: int32(len(names)), Lower: 1}}
			}
			return types.NewArray(a)
		}
		var rows [][]types.Datum
		for _, o := range ec.dropped {
			original := ec.original(o)
			schema, name, normal := o.Schema, o.Name, !original && !o.Part
			switch o.Kind {
			case "default value", "trigger", "policy":
				schema, normal = o.Names[0], false
			case "table constraint":
				normal = !original && ec.tag == "ALTER TABLE"
			}
			if o.Column != 0 {
				name = ""
			}
			rows = append(rows, []types.Datum{types.NewInt(int64(o.Class)), types.NewInt(int64(o.ID)), types.NewInt(int64(o.Column)), types.NewBool(original),
				types.NewBool(normal), types.NewBool(o.Temporary), types.NewString(o.Kind), textOrNull(schema), textOrNull(name),
				types.NewString(o.Identity), list(o.Names), list(o.Args)})
		}
		return recordsOf(rows), nil
	}),
	"pg_event_trigger_table_rewrite_oid": func(*builtin.Ctx, []types.Datum) (types.Datum, error) {
		return types.Null, notInEvent("pg_event_trigger_table_rewrite_oid()", "a table_rewrite event trigger function")
	},
	"pg_event_trigger_table_rewrite_reason": func(*builtin.Ctx, []types.Datum) (types.Datum, error) {
		return types.Null, notInEvent("pg_event_trigger_table_rewrite_reason()", "a table_rewrite event trigger function")
	},
}

func notInEvent(function, where string) error {
	return pgerr.New(pgerr.ERIEEventTriggerProtocolViolated, "%s can only be called in %s", function, where)
}

func textOrNull(s string) types.Datum {
	if s == "" {
		return types.Null
	}
	return types.NewString(s)
}

// recordsOf are rows as functions that return sets hand them over.
func recordsOf(rows [][]types.Datum) types.Datum {
	a := &types.Array{}
	for _, r := range rows {
		a.Elems = append(a.Elems, types.NewTuple(&types.Tuple{Elems: r}))
	}
	return types.NewArray(a)
}
