package ddl

import (
	"context"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

func (x *executor) createTrigger(ctx context.Context, s *ast.CreateTriggerStmt) error {
	t, err := x.any(s.Table)
	if err != nil {
		return err
	}
	if t.Virtual != nil {
		return pgerr.New(pgerr.InsufficientPrivilege, "permission denied: %q is a system catalog", t.Name)
	}
	if !x.snap().MayTable(x.User, t, 't', nil) {
		return pgerr.New(pgerr.InsufficientPrivilege, "permission denied for %s %s", kindWord(t), t.Name)
	}
	wrong := func(msg string) error {
		return pgerr.New(pgerr.WrongObjectType, "%q is a %s", t.Name, map[bool]string{true: "view", false: "table"}[t.Kind == catalog.RelView]).WithDetail("%s", msg)
	}
	switch {
	case t.Kind == catalog.RelView:
		if s.Row && s.Timing != ast.TriggerInsteadOf {
			return wrong("Views cannot have row-level BEFORE or AFTER triggers.")
		}
		if s.Events&ast.OnTruncate != 0 {
			return wrong("Views cannot have TRUNCATE triggers.")
		}
	case t.Kind == catalog.RelTable || t.Kind == catalog.RelPartitioned:
		if s.Timing == ast.TriggerInsteadOf {
			return wrong("Tables cannot have INSTEAD OF triggers.")
		}
	default:
		return pgerr.New(pgerr.WrongObjectType, "relation %q cannot have triggers", t.Name).
			WithDetail("This operation is not supported for %ss.", kindWord(t))
	}
	if s.Timing == ast.TriggerInsteadOf {
		switch {
		case !s.Row:
			return pgerr.Unsupported("INSTEAD OF triggers must be FOR EACH ROW")
		case s.When != nil:
			return pgerr.Unsupported("INSTEAD OF triggers cannot have WHEN conditions")
		case len(s.Columns) > 0:
			return pgerr.Unsupported("INSTEAD OF triggers cannot have column lists")
		}
	}
	if s.Events&ast.OnTruncate != 0 {
		if s.Row {
			return pgerr.Unsupported("TRUNCATE FOR EACH ROW triggers are not supported")
		}
	}
	tr := &catalog.Trigger{Name: s.Name, Row: s.Row, Events: s.Events, Args: s.Args, Timing: [...]byte{'A', 'B', 'I'}[s.Timing],
		Deferrable: s.Deferrable, Deferred: s.InitiallyDeferred, OldTable: s.OldTable, NewTable: s.NewTable}
	if tr.OldTable != "" || tr.NewTable != "" {
		if err := transitionTables(t, s); err != nil {
			return err
		}
	}
	for _, n := range s.Columns {
		c := t.Column(n)
		if c == nil {
			return pgerr.New(pgerr.UndefinedColumn, "column %q of relation %q does not exist", n, t.Name)
		}
		if slices.Contains(tr.Columns, c.Num) {
			return pgerr.New(pgerr.DuplicateColumn, "column %q specified more than once", n)
		}
		tr.Columns = append(tr.Columns, c.Num)
	}
	if s.When != nil {
		if tr.When, err = x.triggerWhen(ctx, t, s); err != nil {
			return err
		}
	}
	f, err := x.routine(&ast.FuncSig{Name: s.Func}, ast.ObjFunction)
	if id := builtinTrigger(s.Func); err != nil && id != 0 && pgerr.Code(err) == pgerr.UndefinedFunction {
		f, err = &catalog.Function{Header: catalog.Header{ID: id}, Ret: catalog.TypeRef{OID: types.OIDTrigger}}, nil
	}
	if err != nil {
		return err
	}
	if f.Ret.OID != types.OIDTrigger {
		return pgerr.New("42P17", "function %s must return type trigger", strings.Join(s.Func, "."))
	}
	if f.Name != "" && !x.snap().MayExecute(x.User, f) {
		return pgerr.New(pgerr.InsufficientPrivilege, "permission denied for function %s", f.Name)
	}
	tr.Function = f.ID
	if s.RefTable != nil {
		ref, err := x.any(s.RefTable)
		if err != nil {
			return err
		}
		tr.RefTable = ref.ID
	}
	old := slices.IndexFunc(t.Triggers, func(o *catalog.Trigger) bool { return o.Name == s.Name })
	if old >= 0 && !s.Replace {
		return pgerr.New(pgerr.DuplicateObject, "trigger %q for relation %q already exists", s.Name, t.Name)
	}
	if old >= 0 && (t.Triggers[old].Constraint != 0 || s.Constraint) {
		return pgerr.New(pgerr.DuplicateObject, "trigger %q for relation %q is a constraint trigger", s.Name, t.Name)
	}
	if tr.OID, err = x.View.NewID(ctx); err != nil {
		return err
	}
	if s.Constraint {
		if tr.Constraint, err = x.View.NewID(ctx); err != nil {
			return err
		}
	}
	if f.Name != "" {
		if err := x.View.Depend(ctx, f.ID); err != nil {
			return err
		}
	}
	return x.putTrigger(ctx, t, tr, old)
}

// putTrigger stores a trigger; a row trigger of a partitioned table is stored with each partition too.
func (x *executor) putTrigger(ctx context.Context, t *catalog.Table, tr *catalog.Trigger, old int) error {
	nt := t.Clone()
	if old >= 0 {
		tr.OID = nt.Triggers[old].OID
		nt.Triggers[old] = tr
	} else {
		nt.Triggers = append(nt.Triggers, tr)
		slices.SortFunc(nt.Triggers, func(a, b *catalog.Trigger) int { return strings.Compare(a.Name, b.Name) })
	}
	if err := x.View.Put(ctx, nt); err != nil || !tr.Row {
		return err
	}
	for _, p := range x.snap().Partitions(nt) {
		if err := x.inheritTrigger(ctx, nt, p, tr); err != nil {
			return err
		}
	}
	return nil
}

// inheritTrigger gives a partition a row trigger of its table.
func (x *executor) inheritTrigger(ctx context.Context, parent, p *catalog.Table, tr *catalog.Trigger) error {
	c := *tr
	c.PartOf, c.Columns = tr.OID, numsIn(parent, p, tr.Columns)
	i := slices.IndexFunc(p.Triggers, func(o *catalog.Trigger) bool { return o.Name == tr.Name })
	if i >= 0 && p.Triggers[i].PartOf != tr.OID {
		return pgerr.New(pgerr.DuplicateObject, "trigger %q for relation %q already exists", tr.Name, p.Name)
	}
	var err error
	if c.OID, err = x.View.NewID(ctx); err != nil {
		return err
	}
	return x.putTrigger(ctx, p, &c, i)
}

func transitionTables(t *catalog.Table, s *ast.CreateTriggerStmt) error {
	bad := func(msg string) error { return pgerr.New("42P17", "%s", msg) }
	events := 0
	for _, b := range []uint8{ast.OnInsert, ast.OnUpdate, ast.OnDelete, ast.OnTruncate} {
		if s.Events&b != 0 {
			events++
		}
	}
	switch {
	case s.Timing != ast.TriggerAfter:
		return bad("transition table name can only be specified for an AFTER trigger")
	case s.Events&ast.OnTruncate != 0:
		return bad("TRUNCATE triggers with transition tables are not supported")
	case events != 1:
		return pgerr.Unsupported("transition tables cannot be specified for triggers with more than one event")
	case len(s.Columns) > 0:
		return pgerr.Unsupported("transition tables cannot be specified for triggers with column lists")
	case s.NewTable != "" && s.Events&(ast.OnInsert|ast.OnUpdate) == 0:
		return bad("NEW TABLE can only be specified for an INSERT or UPDATE trigger")
	case s.OldTable != "" && s.Events&(ast.OnDelete|ast.OnUpdate) == 0:
		return bad("OLD TABLE can only be specified for a DELETE or UPDATE trigger")
	}
	switch {
	case t.Kind == catalog.RelView:
		return pgerr.New(pgerr.WrongObjectType, "%q is a view", t.Name).WithDetail("Triggers on views cannot have transition tables.")
	case s.Row && t.PartOf != 0:
		return pgerr.Unsupported("ROW triggers with transition tables are not supported on partitions")
	case s.Row && t.IsPartitioned():
		return pgerr.New(pgerr.FeatureNotSupported, "%q is a partitioned table", t.Name).
			WithDetail("ROW triggers with transition tables are not supported on partitioned tables.")
	case s.OldTable != "" && s.OldTable == s.NewTable:
		return bad("OLD TABLE name and NEW TABLE name cannot be the same")
	}
	return nil
}

// triggerWhen checks a WHEN condition over old and new.
func (x *executor) triggerWhen(ctx context.Context, t *catalog.Table, s *ast.CreateTriggerStmt) (string, error) {
	var err error
	ast.WalkAll(s.When, func(e ast.Expr) bool {
		at := int(ast.PgPos(e.Position()))
		switch e := e.(type) {
		case *ast.SubLink:
			err = pgerr.New(pgerr.FeatureNotSupported, "cannot use subquery in trigger WHEN condition").WithPosition(at)
		case *ast.ColumnRef:
			if len(e.Fields) == 0 {
				break
			}
			r := e.Fields[0]
			switch {
			case r != "old" && r != "new":
			case !s.Row:
				err = pgerr.New("42P17", "statement trigger's WHEN condition cannot reference column values").WithPosition(at)
			case r == "old" && s.Events&ast.OnInsert != 0:
				err = pgerr.New("42P17", "INSERT trigger's WHEN condition cannot reference OLD values").WithPosition(at)
			case r == "new" && s.Events&ast.OnDelete != 0:
				err = pgerr.New("42P17", "DELETE trigger's WHEN condition cannot reference NEW values").WithPosition(at)
			case r == "new" && s.Timing == ast.TriggerBefore && len(e.Fields) == 2 && systemColumns[e.Fields[1]]:
				err = pgerr.New(pgerr.FeatureNotSupported, "BEFORE trigger's WHEN condition cannot reference NEW system columns").WithPosition(at)
			case r == "new" && s.Timing == ast.TriggerBefore && len(e.Fields) == 2:
				if c := t.Column(e.Fields[1]); c != nil && c.Generated != "" {
					err = pgerr.New("42P17", "BEFORE trigger's WHEN condition cannot reference NEW generated columns").
						WithDetail("Column %q is a generated column.", c.Name).WithPosition(at)
				}
			}
		}
		return err == nil
	}, nil)
	if err != nil {
		return "", err
	}
	// The condition is typed over two rows of the table.
	o, n := x.rangeVarOf(t), x.rangeVarOf(t)
	o.Alias, n.Alias = &ast.Alias{Name: "old"}, &ast.Alias{Name: "new"}
	q := &ast.SelectStmt{From: []ast.TableRef{o, n}, Targets: []*ast.Target{{Expr: s.When}}, Pos: ast.Pos{Off: -1}}
	cols, err := x.Describe(ctx, q)
	if err != nil {
		return "", err
	}
	if cols[0].Type.OID != types.OIDUnknown && cols[0].Type.BaseType().OID != types.OIDBool {
		return "", pgerr.New(pgerr.DatatypeMismatch, "argument of WHEN must be type boolean, not type %s", types.TypeName(cols[0].Type))
	}
	return parser.DeparseExpr(s.When), nil
}

// triggerNamed finds the trigger that the last name stands for, on the relation that those before name.
func (x *executor) triggerNamed(names []string) (*catalog.Table, *catalog.Trigger, error) {
	t, err := x.any(rangeVarOfNames(names[:len(names)-1]))
	if err != nil {
		return nil, nil, err
	}
	if err := x.ownTable(t); err != nil {
		return nil, nil, err
	}
	name := names[len(names)-1]
	for _, tr := range t.Triggers {
		if tr.Name == name {
			return t, tr, nil
		}
	}
	return t, nil, pgerr.New(pgerr.UndefinedObject, "trigger %q for table %q does not exist", name, t.Name)
}

func (x *executor) dropTriggers(ctx context.Context, s *ast.DropStmt) error {
	for _, o := range s.Objects {
		name := o.Names[len(o.Names)-1]
		rel := rangeVarOfNames(o.Names[:len(o.Names)-1])
		t, tr, err := x.triggerNamed(o.Names)
		if err != nil {
			if c := pgerr.Code(err); s.IfExists && (c == pgerr.UndefinedObject || c == pgerr.UndefinedTable || c == pgerr.InvalidSchemaName) {
				if t == nil {
					x.notice(c, "relation %q does not exist, skipping", rel.Name)
				} else {
					x.notice(c, "trigger %q for relation %q does not exist, skipping", name, rel.Name)
				}
				continue
			}
			return err
		}
		if tr.PartOf != 0 {
			up := x.snap().TableByID(t.PartOf)
			return pgerr.New(pgerr.DependentObjectsStillExist, "cannot drop trigger %s on table %s because trigger %s on table %s requires it", tr.Name, t.Name, tr.Name, up.Name).
				WithHint("You can drop trigger %s on table %s instead.", tr.Name, up.Name)
		}
		if err := x.removeTrigger(ctx, t.ID, tr.OID); err != nil {
			return err
		}
	}
	return nil
}

// removeTrigger takes a trigger off a table and its partitions.
func (x *executor) removeTrigger(ctx context.Context, table, oid uint32) error {
	t := x.snap().TableByID(table)
	if t == nil {
		return nil
	}
	nt := t.Clone()
	nt.Triggers = slices.DeleteFunc(nt.Triggers, func(o *catalog.Trigger) bool { return o.OID == oid })
	if err := x.View.Put(ctx, nt); err != nil {
		return err
	}
	for _, p := range x.snap().Partitions(nt) {
		for _, o := range p.Triggers {
			if o.PartOf == oid {
				if err := x.removeTrigger(ctx, p.ID, o.OID); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// enableTrigger is ALTER TABLE ... ENABLE and DISABLE TRIGGER.
func (x *executor) enableTrigger(ctx context.Context, t *catalog.Table, c *ast.AlterTableCmd) error {
	nt := t.Clone()
	found := c.Name == ""
	for _, tr := range nt.Triggers {
		if c.Name != "" && tr.Name != c.Name {
			continue
		}
		found = true
		tr.Disabled, tr.Fires = c.Kind == ast.DisableTrigger, 0
		switch c.Str {
		case "ALWAYS":
			tr.Fires = 'A'
		case "REPLICA":
			tr.Fires = 'R'
		}
	}
	if !found {
		return pgerr.New(pgerr.UndefinedObject, "trigger %q for table %q does not exist", c.Name, t.Name)
	}
	if err := x.View.Put(ctx, nt); err != nil || x.only {
		return err
	}
	return x.eachPartition(t, func(p *catalog.Table) error {
		if c.Name != "" && !slices.ContainsFunc(p.Triggers, func(tr *catalog.Trigger) bool { return tr.Name == c.Name }) {
			return nil
		}
		return x.enableTrigger(ctx, p, c)
	})
}

// inheritTriggers gives a partition the row triggers of its table.
func (x *executor) inheritTriggers(ctx context.Context, parent *catalog.Table, part uint32) error {
	for _, tr := range parent.Triggers {
		if tr.Row {
			if err := x.inheritTrigger(ctx, parent, x.snap().TableByID(part), tr); err != nil {
				return err
			}
		}
	}
	return nil
}
