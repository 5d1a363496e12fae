package ddl

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// resultColumns names and types the columns of a relation made from a query.
func resultColumns(cols []Column, names []string, what string) ([]*catalog.Column, error) {
	if len(names) > len(cols) {
		if what == "view" {
			return nil, pgerr.New(pgerr.InvalidTableDefinition, "CREATE VIEW specifies more column names than columns")
		}
		return nil, pgerr.New(pgerr.SyntaxError, "too many column names were specified")
	}
	var out []*catalog.Column
	for i, c := range cols {
		name, t := c.Name, c.Type
		if i < len(names) {
			name = names[i]
		}
		if t.OID == types.OIDUnknown {
			t = types.ByOID(types.OIDText)
		}
		if t.Class == 'p' && what != "view" {
			return nil, pgerr.New(pgerr.InvalidTableDefinition, "column %q has pseudo-type %s", name, types.TypeName(t))
		}
		for _, o := range out {
			if o.Name == name {
				return nil, pgerr.New(pgerr.DuplicateColumn, "column %q specified more than once", name)
			}
		}
		out = append(out, &catalog.Column{Num: int16(i + 1), Name: name, Type: typeRef(t), T: t})
	}
	return out, nil
}

func (x *executor) createView(ctx context.Context, s *ast.CreateViewStmt) error {
	if s.Query.Into != nil {
		return pgerr.New(pgerr.FeatureNotSupported, "views must not contain SELECT INTO")
	}
	if s.Query.With != nil {
		for _, c := range s.Query.With.CTEs {
			if _, ok := c.Query.(*ast.SelectStmt); !ok {
				return pgerr.New(pgerr.FeatureNotSupported, "views must not contain data-modifying statements in WITH")
			}
		}
	}
	cols, err := x.Describe(ctx, s.Query)
	if err != nil {
		return err
	}
	columns, err := resultColumns(cols, s.Columns, "view")
	if err != nil {
		return err
	}
	query, err := x.storedQuery(s.Query, cols)
	if err != nil {
		return err
	}
	if s.View.Persistence != ast.Temporary && x.usesTemp(s.Query) {
		s.View.Persistence = ast.Temporary
		x.notice("00000", "view %q will be a temporary view", s.View.Name)
	}
	schema, err := x.targetSchema(ctx, s.View)
	if err != nil {
		return err
	}
	if old := x.snap().ResolveRelation(nil, schema.Name, s.View.Name); old.Table != nil && s.Replace {
		return x.replaceView(ctx, old, columns, query, s)
	}
	t, _, err := x.newTable(ctx, s.View, false)
	if err != nil {
		return err
	}
	t.Kind, t.Columns, t.Query, t.Path = catalog.RelView, columns, query, slices.Clone(x.path())
	t.Options = viewOptions(s)
	if err := x.checkOptionFits(s, t.Options); err != nil {
		return err
	}
	t.DependsOn = x.relationsIn(s.Query)
	for _, id := range t.DependsOn {
		if err := x.View.Depend(ctx, id); err != nil {
			return err
		}
	}
	return x.View.Put(ctx, t)
}

// viewOptions are a view's options, WITH CHECK OPTION as the option that it is short for.
func viewOptions(s *ast.CreateViewStmt) []string {
	out := relOptions(s.Options)
	if s.CheckOption != "" {
		out = append(out, "check_option="+strings.ToLower(s.CheckOption))
	}
	return out
}

// checkOptionFits refuses WITH CHECK OPTION for a view that cannot be written.
func (x *executor) checkOptionFits(s *ast.CreateViewStmt, options []string) error {
	if !slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, "check_option=") }) {
		return nil
	}
	q := s.Query
	why := ""
	switch {
	case q.Op != ast.SetNone:
		why = "Views containing UNION, INTERSECT, or EXCEPT are not automatically updatable."
	case q.With != nil:
		why = "Views containing WITH are not automatically updatable."
	case q.Distinct:
		why = "Views containing DISTINCT are not automatically updatable."
	case len(q.GroupBy) > 0:
		why = "Views containing GROUP BY are not automatically updatable."
	case q.Having != nil:
		why = "Views containing HAVING are not automatically updatable."
	case q.Limit != nil || q.Offset != nil:
		why = "Views containing LIMIT or OFFSET are not automatically updatable."
	case len(q.From) != 1 || q.Values != nil:
		why = "Views that do not select from a single table or view are not automatically updatable."
	default:
		if _, ok := q.From[0].(*ast.RangeVar); !ok {
			why = "Views that do not select from a single table or view are not automatically updatable."
		}
	}
	if why == "" {
		return nil
	}
	return pgerr.New(pgerr.FeatureNotSupported, "WITH CHECK OPTION is supported only on automatically updatable views").WithHint("%s", why)
}

func (x *executor) replaceView(ctx context.Context, old catalog.Relation, columns []*catalog.Column, query string, s *ast.CreateViewStmt) error {
	v := old.Table
	if old.Index != nil || v.Kind != catalog.RelView {
		return pgerr.New(pgerr.WrongObjectType, "%q is not a view", s.View.Name)
	}
	if err := x.ownTable(v); err != nil {
		return err
	}
	if len(columns) < len(v.Columns) {
		return pgerr.New(pgerr.InvalidTableDefinition, "cannot drop columns from view")
	}
	for i, c := range v.Columns {
		if n := columns[i]; n.Name != c.Name {
			return pgerr.New(pgerr.InvalidTableDefinition, "cannot change name of view column %q to %q", c.Name, n.Name).
				WithHint("Use ALTER VIEW ... RENAME COLUMN ... to change name of view column instead.")
		} else if n.Type != c.Type {
			return pgerr.New(pgerr.InvalidTableDefinition, "cannot change data type of view column %q from %s to %s", c.Name, types.FormatType(c.T), types.FormatType(n.T))
		}
	}
	nt := v.Clone()
	nt.Columns, nt.Query, nt.Path, nt.Options = columns, query, slices.Clone(x.path()), viewOptions(s)
	if err := x.checkOptionFits(s, nt.Options); err != nil {
		return err
	}
	nt.DependsOn = x.relationsIn(s.Query)
	return x.View.Put(ctx, nt)
}

// storedQuery is the text of a view's query. Stars are replaced by the columns that are there now: columns
// added to a table later must not appear in the view.
func (x *executor) storedQuery(q *ast.SelectStmt, cols []Column) (string, error) {
	if !hasStar(q) {
		return parser.Deparse(q), nil
	}
	if q.Op == ast.SetNone && q.Values == nil {
		if x.expandStars(q) {
			return parser.Deparse(q), nil
		}
	}
	// What the star covers is not plain: name the columns from outside.
	outer := &ast.SelectStmt{Pos: ast.Pos{Off: -1}}
	al := &ast.Alias{Name: "q"}
	for i, c := range cols {
		name := c.Name
		if slices.Contains(al.Columns, name) || name == "?column?" {
			name = "column" + strconv.Itoa(i+1)
		}
		al.Columns = append(al.Columns, name)
		outer.Targets = append(outer.Targets, &ast.Target{Name: c.Name, Expr: column("q", name), Pos: ast.Pos{Off: -1}})
	}
	outer.From = []ast.TableRef{&ast.SubqueryRef{Select: q, Alias: al, Pos: ast.Pos{Off: -1}}}
	return parser.Deparse(outer), nil
}

func hasStar(q *ast.SelectStmt) bool {
	if q.Op != ast.SetNone {
		return hasStar(q.Left) || hasStar(q.Right)
	}
	for _, t := range q.Targets {
		switch e := t.Expr.(type) {
		case *ast.ColumnRef:
			if e.Star {
				return true
			}
		case *ast.Indirection:
			if e.Steps[len(e.Steps)-1].Kind == ast.StarStep {
				return true
			}
		}
	}
	return false
}

// expandStars replaces the stars of a select list by columns when FROM has only plain relations and joins with
// ON. It reports whether it could.
func (x *executor) expandStars(q *ast.SelectStmt) bool {
	type item struct {
		name string
		cols []string
	}
	var items []item
	ok := true
	var visit func(r ast.TableRef)
	visit = func(r ast.TableRef) {
		switch r := r.(type) {
		case *ast.RangeVar:
			t := x.snap().ResolveTable(x.path(), r.Schema, r.Name)
			if t == nil {
				ok = false
				return
			}
			it := item{name: r.Name}
			for _, c := range t.Columns {
				if !c.Dropped && !c.Hidden {
					it.cols = append(it.cols, c.Name)
				}
			}
			if r.Alias != nil {
				it.name = r.Alias.Name
				for i, n := range r.Alias.Columns {
					if i < len(it.cols) {
						it.cols[i] = n
					}
				}
			}
			items = append(items, it)
		case *ast.JoinRef:
			if r.Natural || len(r.Using) > 0 || r.Alias != nil {
				ok = false
				return
			}
			visit(r.Left)
			visit(r.Right)
		default:
			ok = false
		}
	}
	for _, r := range q.From {
		visit(r)
	}
	if q.With != nil {
		ok = false // a name may be a common table expression's
	}
	if !ok {
		return false
	}
	var out []*ast.Target
	for _, t := range q.Targets {
		c, isRef := t.Expr.(*ast.ColumnRef)
		if !isRef || !c.Star {
			if _, ind := t.Expr.(*ast.Indirection); ind && hasStar(&ast.SelectStmt{Targets: []*ast.Target{t}}) {
				return false
			}
			out = append(out, t)
			continue
		}
		found := false
		for _, it := range items {
			if len(c.Fields) > 0 && c.Fields[len(c.Fields)-1] != it.name {
				continue
			}
			found = true
			for _, n := range it.cols {
				out = append(out, &ast.Target{Expr: column(it.name, n), Pos: t.Pos})
			}
		}
		if !found {
			return false
		}
	}
	q.Targets = out
	return true
}

// usesTemp reports whether a query names a temporary relation.
func (x *executor) usesTemp(q ast.Stmt) bool {
	return slices.ContainsFunc(x.relationsIn(q), func(id uint32) bool { return x.snap().TableByID(id).Persistence == 't' })
}

// relationsIn lists the stored relations that a query names.
func (x *executor) relationsIn(q ast.Stmt) []uint32 {
	ctes := map[string]bool{}
	if s, ok := q.(*ast.SelectStmt); ok {
		ast.WalkSelect(s, func(ast.Expr) bool { return true }, func(s *ast.SelectStmt) {
			if s.With != nil {
				for _, c := range s.With.CTEs {
					ctes[c.Name] = true
				}
			}
		})
	}
	var out []uint32
	ast.WalkTables(q, func(r *ast.RangeVar) {
		if r.Schema == "" && ctes[r.Name] {
			return
		}
		t := x.snap().ResolveTable(x.path(), x.realSchema(r.Schema), r.Name)
		if t != nil && t.Virtual == nil && !slices.Contains(out, t.ID) {
			out = append(out, t.ID)
		}
	})
	slices.Sort(out)
	return out
}

func (x *executor) createTableAs(ctx context.Context, s *ast.CreateTableAsStmt) error {
	cols, err := x.Describe(ctx, s.Query)
	if err != nil {
		return err
	}
	t, schema, err := x.newTable(ctx, s.Into.Table, s.IfNotExists)
	if err != nil {
		return err
	}
	if t == nil {
		if s.Object == ast.ObjTable {
			x.tag = "CREATE TABLE AS"
		}
		return nil
	}
	if err := setOnCommit(t, s.Into.OnCommit); err != nil {
		return err
	}
	t.Options = relOptions(s.Into.Options)
	if t.Columns, err = resultColumns(cols, s.Into.Columns, "table"); err != nil {
		return err
	}
	if t.Tablespace, err = x.tablespaceFor(s.Into.Tablespace, t.Persistence == 't', false); err != nil {
		return err
	}
	if s.Object == ast.ObjMatView {
		sel, ok := s.Query.(*ast.SelectStmt)
		if !ok {
			return pgerr.New(pgerr.FeatureNotSupported, "materialized views must be defined by a query")
		}
		t.Kind, t.Path, t.Populated = catalog.RelMatView, slices.Clone(x.path()), !s.Into.NoData
		if t.Query, err = x.storedQuery(sel, cols); err != nil {
			return err
		}
		t.DependsOn = x.relationsIn(sel)
	}
	b := &tableBuilder{x: x, t: t, schema: schema}
	if err := b.rowID(ctx); err != nil {
		return err
	}
	if err := x.View.Put(ctx, t); err != nil {
		return err
	}
	if s.Into.NoData {
		return nil
	}
	n, err := x.fill(ctx, t, s.Query)
	if err != nil {
		return err
	}
	x.tag = "SELECT " + strconv.FormatInt(n, 10)
	return nil
}

// fill inserts a query's rows into a table whose columns are the query's.
func (x *executor) fill(ctx context.Context, t *catalog.Table, q ast.Stmt) (int64, error) {
	sel, ok := q.(*ast.SelectStmt)
	if !ok {
		return 0, pgerr.Unsupported("CREATE TABLE AS EXECUTE is not supported")
	}
	if len(sel.Targets) == 0 && sel.Op == ast.SetNone && sel.Values == nil {
		return 0, nil
	}
	ins := &ast.InsertStmt{Table: x.rangeVarOf(t), Select: sel}
	if t.Kind != catalog.RelMatView {
		return x.Exec(ctx, ins, x.User)
	}
	// Rows can only be inserted into a table: it is one while it is being filled.
	table := t.Clone()
	table.Kind = catalog.RelTable
	if err := x.View.Put(ctx, table); err != nil {
		return 0, err
	}
	n, err := x.Exec(ctx, ins, t.Owner)
	if err != nil {
		return 0, err
	}
	return n, x.View.Put(ctx, t.Clone())
}

func (x *executor) refresh(ctx context.Context, s *ast.RefreshStmt) error {
	t, err := x.any(s.View)
	if err != nil {
		return err
	}
	if t.Kind != catalog.RelMatView {
		return pgerr.New(pgerr.WrongObjectType, "%q is not a materialized view", t.Name)
	}
	if err := x.ownTable(t); err != nil {
		return err
	}
	if s.Concurrently && s.NoData {
		return pgerr.New(pgerr.SyntaxError, "REFRESH options CONCURRENTLY and WITH NO DATA cannot be used together")
	}
	if s.Concurrently && !t.Populated {
		return pgerr.New(pgerr.FeatureNotSupported, "CONCURRENTLY cannot be used when the materialized view is not populated")
	}
	if s.Concurrently && !slices.ContainsFunc(t.AllIndexes(), func(ix *catalog.Index) bool {
		return ix.Unique && !ix.Hidden && ix.Where == "" && !slices.ContainsFunc(ix.Keys, func(k catalog.IndexKey) bool { return k.Expr != "" })
	}) {
		return pgerr.New(pgerr.ObjectNotInPrerequisiteState, "cannot refresh materialized view \"%s.%s\" concurrently", x.snap().SchemaName(t.Schema), t.Name).
			WithHint("Create a unique index with no WHERE clause on one or more columns of the materialized view.")
	}
	st, err := parser.ParseOne(t.Query)
	if err != nil {
		return err
	}
	nt := t.Clone()
	if err := x.newStorage(ctx, nt); err != nil {
		return err
	}
	nt.Populated = !s.NoData
	if err := x.View.Put(ctx, nt); err != nil || s.NoData {
		return err
	}
	// The stored query finds its relations under the path it was written for.
	qualify(x, st.Stmt, t.Path)
	_, err = x.fill(ctx, nt, st.Stmt)
	return err
}

// qualify writes the schemas of the stored relations that a query names.
func qualify(x *executor, q ast.Stmt, path []string) {
	ctes := map[string]bool{}
	if s, ok := q.(*ast.SelectStmt); ok {
		ast.WalkSelect(s, func(ast.Expr) bool { return true }, func(s *ast.SelectStmt) {
			if s.With != nil {
				for _, c := range s.With.CTEs {
					ctes[c.Name] = true
				}
			}
		})
	}
	ast.WalkTables(q, func(r *ast.RangeVar) {
		if r.Schema != "" || ctes[r.Name] {
			return
		}
		if t := x.snap().ResolveTable(path, "", r.Name); t != nil {
			r.Schema = x.snap().SchemaName(t.Schema)
		}
	})
}

// newStorage gives a table empty storage.
func (x *executor) newStorage(ctx context.Context, t *catalog.Table) error {
	if err := x.View.Discard(t.StorageID()); err != nil {
		return err
	}
	id, err := x.View.NewID(ctx)
	t.Storage = id
	return err
}

func (x *executor) truncate(ctx context.Context, s *ast.TruncateStmt) error {
	var list []*catalog.Table
	seen := map[uint32]bool{}
	for _, r := range s.Tables {
		t, err := x.any(r)
		if err != nil {
			return err
		}
		switch {
		case t.Virtual != nil:
			return pgerr.New(pgerr.InsufficientPrivilege, "permission denied: %q is a system catalog", t.Name)
		case !t.IsTable():
			return pgerr.New(pgerr.WrongObjectType, "%q is not a table", t.Name)
		case !x.snap().MayTable(x.User, t, 'D', nil):
			return pgerr.New(pgerr.InsufficientPrivilege, "permission denied for table %s", t.Name)
		}
		if t.IsPartitioned() && r.Only {
			return pgerr.New(pgerr.WrongObjectType, "cannot truncate only a partitioned table").
				WithHint("Do not specify the ONLY keyword, or use TRUNCATE ONLY on the partitions directly.")
		}
		all := x.snap().Tree(t)
		if !r.Only {
			all = append(all, x.snap().AllHeirs(t)...)
		}
		for _, t := range all {
			if !seen[t.ID] {
				if err := x.notInUse("TRUNCATE", t); err != nil {
					return err
				}
				seen[t.ID] = true
				list = append(list, t)
			}
		}
	}
	for i := 0; i < len(list); i++ {
		inbound := slices.Clone(list[i].Inbound)
		for _, up := range x.snap().Ancestors(list[i]) {
			inbound = append(inbound, up.Inbound...)
		}
		for _, in := range inbound {
			if seen[in.Table] {
				continue
			}
			child := x.snap().TableByID(in.Table)
			if s.Behavior != ast.Cascade {
				return pgerr.New(pgerr.FeatureNotSupported, "cannot truncate a table referenced in a foreign key constraint").
					WithDetail("Table %q references %q.", child.Name, list[i].Name).
					WithHint("Truncate table %q at the same time, or use TRUNCATE ... CASCADE.", child.Name)
			}
			x.notice("00000", "truncate cascades to table %q", child.Name)
			for _, c := range x.snap().Tree(child) {
				seen[c.ID] = true
				list = append(list, c)
			}
		}
	}
	if err := x.fireTruncate(ctx, list, 'B'); err != nil {
		return err
	}
	for _, t := range list {
		if t = x.snap().TableByID(t.ID); t == nil {
			continue // a trigger has dropped it
		}
		nt := t.Clone()
		nt.Truncations++
		if err := x.newStorage(ctx, nt); err != nil {
			return err
		}
		if err := x.View.Put(ctx, nt); err != nil {
			return err
		}
		if !s.RestartSeqs {
			continue
		}
		for _, q := range x.snap().Tables() {
			if q.Sequence != nil && q.Sequence.OwnerTable == t.ID {
				if err := x.changeSequence(ctx, q, []*ast.DefElem{{Name: "restart", Pos: ast.Pos{Off: -1}}}); err != nil {
					return err
				}
			}
		}
	}
	return x.fireTruncate(ctx, list, 'A')
}

// fireTruncate fires the TRUNCATE triggers of tables.
func (x *executor) fireTruncate(ctx context.Context, list []*catalog.Table, timing byte) error {
	for _, t := range list {
		fires := slices.ContainsFunc(t.Triggers, func(tr *catalog.Trigger) bool {
			return tr.Timing == timing && tr.Events&catalog.TriggerTruncate != 0 && !tr.Disabled
		})
		if !fires {
			continue
		}
		if x.FireTruncate == nil {
			return pgerr.Unsupported("the triggers of table %q cannot fire here", t.Name)
		}
		if err := x.FireTruncate(ctx, t.ID, timing); err != nil {
			return err
		}
	}
	return nil
}

// setViewOptions is ALTER VIEW ... SET and RESET.
func (x *executor) setViewOptions(ctx context.Context, t *catalog.Table, c *ast.AlterTableCmd) error {
	nt := t.Clone()
	for _, o := range c.Options {
		switch o.Name {
		case "check_option":
			if v := strings.ToLower(argText(o.Arg)); c.Kind == ast.SetRelOptions && v != "local" && v != "cascaded" {
				return pgerr.New(pgerr.InvalidParameterValue, "invalid value for enum option \"check_option\": %s", argText(o.Arg)).
					WithDetail("Valid values are \"local\" and \"cascaded\".")
			}
		case "security_barrier", "security_invoker":
		default:
			return pgerr.New(pgerr.InvalidParameterValue, "unrecognized parameter %q", o.Name)
		}
		nt.Options = slices.DeleteFunc(nt.Options, func(s string) bool { return strings.HasPrefix(s, o.Name+"=") })
	}
	if c.Kind == ast.SetRelOptions {
		nt.Options = append(nt.Options, relOptions(c.Options)...)
	}
	return x.View.Put(ctx, nt)
}
