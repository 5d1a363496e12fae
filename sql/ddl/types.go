package ddl

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// newType makes the descriptor of a new type.
func (x *executor) newType(ctx context.Context, names []string, class byte) (*catalog.Type, error) {
	schema, err := x.targetSchema(ctx, rangeVarOfNames(names))
	if err != nil {
		return nil, err
	}
	name := names[len(names)-1]
	if x.typeTaken(schema.ID, name) {
		return nil, pgerr.New(pgerr.DuplicateObject, "type %q already exists", name)
	}
	// The array type's id follows the type's.
	id, err := x.View.NewIDPair(ctx)
	if err != nil {
		return nil, err
	}
	return &catalog.Type{Header: catalog.Header{ID: id, Name: name, Owner: x.User}, DB: schema.DB, Schema: schema.ID, Array: id + 1, Class: class}, nil
}

// typeTaken says whether a type's name is taken, by a relation's row type too.
func (x *executor) typeTaken(schema uint32, name string) bool {
	for _, t := range x.snap().Types() {
		if t.Schema == schema && t.Name == name {
			return true
		}
	}
	r := x.snap().ResolveRelation(nil, x.snap().SchemaName(schema), name)
	return r.Table != nil && r.Index == nil
}

// userType finds a user-defined type that the user owns.
func (x *executor) userType(names []string) (*catalog.Type, error) {
	t, err := x.snap().ResolveType(x.path(), &ast.TypeName{Names: names, Pos: ast.Pos{Off: -1}})
	if err != nil {
		return nil, err
	}
	u := x.snap().UserType(uint32(t.OID))
	if u == nil {
		return nil, pgerr.New(pgerr.WrongObjectType, "%q is not a user-defined type", types.TypeName(t))
	}
	return u, x.own(&u.Header, "type")
}

func (x *executor) createEnum(ctx context.Context, s *ast.CreateEnumStmt) error {
	t, err := x.newType(ctx, s.Name, 'e')
	if err != nil {
		return err
	}
	for i, l := range s.Labels {
		if err := checkLabel(l); err != nil {
			return err
		}
		if slices.Contains(s.Labels[:i], l) {
			return pgerr.New(pgerr.UniqueViolation, "duplicate key value violates unique constraint \"pg_enum_typid_label_index\"").
				WithDetail("Key (enumtypid, enumlabel)=(%d, %s) already exists.", t.ID, l)
		}
		oid, err := x.View.NewID(ctx)
		if err != nil {
			return err
		}
		t.Labels = append(t.Labels, catalog.EnumLabel{OID: oid, Label: l})
	}
	return x.View.Put(ctx, t)
}

func checkLabel(l string) error {
	if len(l) > maxName {
		return pgerr.New(pgerr.InvalidName, "invalid enum label %q", l).WithDetail("Labels must be %d bytes or less.", maxName)
	}
	return nil
}

func (x *executor) alterEnum(ctx context.Context, s *ast.AlterEnumStmt) error {
	t, err := x.userType(s.Name)
	if err != nil {
		return err
	}
	if t.Class != 'e' {
		return pgerr.New(pgerr.WrongObjectType, "%s is not an enum", t.Name)
	}
	if err := checkLabel(s.New); err != nil {
		return err
	}
	find := func(l string) int {
		return slices.IndexFunc(t.Labels, func(e catalog.EnumLabel) bool { return e.Label == l })
	}
	n := *t
	n.Labels = slices.Clone(t.Labels)
	if s.Old != "" {
		i := find(s.Old)
		if i < 0 {
			return pgerr.New(pgerr.InvalidParameterValue, "%q is not an existing enum label", s.Old)
		}
		if find(s.New) >= 0 {
			return pgerr.New(pgerr.DuplicateObject, "enum label %q already exists", s.New)
		}
		for _, u := range x.tablesUsing(t) {
			empty, err := x.isEmpty(ctx, u)
			if err != nil {
				return err
			}
			if !empty {
				return pgerr.Unsupported("renaming a value of an enum that table %q holds is not supported", u.Name)
			}
		}
		n.Labels[i].Label = s.New
		return x.View.Put(ctx, &n)
	}
	if find(s.New) >= 0 {
		if s.IfNotExists {
			x.notice(pgerr.DuplicateObject, "enum label %q already exists, skipping", s.New)
			return nil
		}
		return pgerr.New(pgerr.DuplicateObject, "enum label %q already exists", s.New)
	}
	at := len(n.Labels)
	if s.Neighbor != "" {
		if at = find(s.Neighbor); at < 0 {
			return pgerr.New(pgerr.InvalidParameterValue, "%q is not an existing enum label", s.Neighbor)
		}
		if s.After {
			at++
		}
	}
	oid, err := x.View.NewID(ctx)
	if err != nil {
		return err
	}
	order, err := x.orderAt(ctx, t, at)
	if err != nil {
		return err
	}
	n.Labels = slices.Insert(n.Labels, at, catalog.EnumLabel{OID: oid, Label: s.New})
	for i := range n.Labels {
		n.Labels[i].Order = 0
		if order != nil {
			n.Labels[i].Order = order[i]
		}
	}
	return x.View.Put(ctx, &n)
}

// orderAt returns the sort order of an enum's labels with another one at a place, nil for 1, 2, 3, ... Keys in indexes keep the
// order that their labels have; while there are none, the labels are numbered anew.
func (x *executor) orderAt(ctx context.Context, t *catalog.Type, at int) ([]float32, error) {
	order := t.LabelOrder()
	if order == nil && at == len(t.Labels) {
		return nil, nil
	}
	var indexed *catalog.Table
	for _, u := range x.tablesUsing(t) {
		if !usedInIndex(u, t) {
			continue
		}
		empty, err := x.isEmpty(ctx, u)
		if err != nil {
			return nil, err
		}
		if !empty {
			indexed = u
		}
	}
	if indexed == nil {
		return nil, nil
	}
	if x.OlderOrders {
		return nil, pgerr.New(pgerr.ObjectNotInPrerequisiteState, "an enum that an index of table %q holds cannot get a value before others while nodes of the cluster run an older build", indexed.Name)
	}
	if order == nil {
		for i := range t.Labels {
			order = append(order, float32(i+1))
		}
	}
	var is float32
	switch {
	case at == len(order):
		is = order[at-1] + 1
	case at == 0:
		is = order[0] - 1
	default:
		is = order[at-1] + (order[at]-order[at-1])/2
		if is <= order[at-1] || is >= order[at] {
			return nil, pgerr.New(pgerr.ProgramLimitExceeded, "there is no room for another enum value at this place while an index of table %q holds the type", indexed.Name).
				WithHint("Drop the index, add the value, and make the index again.")
		}
	}
	return slices.Insert(slices.Clone(order), at, is), nil
}

// tablesUsing lists the tables with a column of the type or of an array of it.
func (x *executor) tablesUsing(t *catalog.Type) []*catalog.Table {
	var out []*catalog.Table
	for _, tab := range x.snap().Tables() {
		if tab.IsTable() && slices.ContainsFunc(tab.Columns, func(c *catalog.Column) bool { return usesType(c, t) }) {
			out = append(out, tab)
		}
	}
	return out
}

func usesType(c *catalog.Column, t *catalog.Type) bool {
	return !c.Dropped && (uint32(c.Type.OID) == t.ID || uint32(c.Type.OID) == t.Array)
}

func usedInIndex(tab *catalog.Table, t *catalog.Type) bool {
	for _, ix := range tab.AllIndexes() {
		for _, k := range ix.Keys {
			if c := tab.ColumnByNum(k.Column); c == nil || usesType(c, t) {
				return true
			}
		}
	}
	return false
}

func (x *executor) createDomain(ctx context.Context, s *ast.CreateDomainStmt) error {
	base, err := x.snap().ResolveType(x.path(), s.Type)
	if err != nil {
		return err
	}
	if base.Class == 'p' {
		return pgerr.New(pgerr.DatatypeMismatch, "%q is not a valid base type for a domain", types.TypeName(base))
	}
	t, err := x.newType(ctx, s.Name, 'd')
	if err != nil {
		return err
	}
	t.Base = typeRef(base)
	for _, k := range s.Constraints {
		switch k.Kind {
		case ast.ConstrNotNull:
			t.NotNull = true
		case ast.ConstrNull:
		case ast.ConstrDefault:
			if t.Default, err = x.defaultText(ctx, k.Expr, base, t.Name); err != nil {
				return err
			}
		case ast.ConstrCheck:
			if err := x.addDomainCheck(ctx, t, base, k); err != nil {
				return err
			}
		default:
			return pgerr.New(pgerr.SyntaxError, "this kind of constraint is not possible for domains")
		}
	}
	return x.View.Put(ctx, t)
}

// addDomainCheck adds a check to a domain's descriptor. VALUE is checked as a value of the base type.
func (x *executor) addDomainCheck(ctx context.Context, t *catalog.Type, base *types.T, k *ast.Constraint) error {
	text := parser.DeparseExpr(k.Expr)
	probe, err := parser.ParseExpr(text)
	if err != nil {
		return err
	}
	replaceValue(&probe, base)
	var stray *ast.ColumnRef
	ast.WalkAll(probe, func(e ast.Expr) bool {
		if c, ok := e.(*ast.ColumnRef); ok && stray == nil && !c.Star {
			stray = c
		}
		return true
	}, nil)
	if stray != nil && len(stray.Fields) == 1 {
		return pgerr.New(pgerr.UndefinedColumn, "column %q does not exist", stray.Fields[0])
	}
	if err := checkExprShape(probe, "domain constraint", false); err != nil {
		return err
	}
	if err := x.wantBool(ctx, nil, probe, "CHECK"); err != nil {
		return err
	}
	name := k.Name
	taken := func(s string) bool {
		return slices.ContainsFunc(t.Checks, func(c *catalog.Check) bool { return c.Name == s })
	}
	if name == "" {
		name = chooseName(t.Name, "", "check", taken)
	} else if taken(name) {
		return pgerr.New(pgerr.DuplicateObject, "constraint %q for domain %q already exists", name, t.Name)
	}
	oid, err := x.View.NewID(ctx)
	if err != nil {
		return err
	}
	t.Checks = append(slices.Clone(t.Checks), &catalog.Check{OID: oid, Name: name, Expr: text, NotValid: k.NotValid})
	return nil
}

// replaceValue puts a NULL of the base type in the place of VALUE.
func replaceValue(slot *ast.Expr, base *types.T) {
	if c, ok := (*slot).(*ast.ColumnRef); ok && len(c.Fields) == 1 && c.Fields[0] == "value" {
		n, err := parser.ParseType(typeSQL(base))
		if err == nil {
			*slot = &ast.TypeCast{Arg: &ast.Const{Pos: ast.Pos{Off: -1}}, Type: n, Pos: ast.Pos{Off: -1}}
		}
		return
	}
	ast.Children(*slot, func(p *ast.Expr) { replaceValue(p, base) }, nil)
}

// typeSQL names a type so that it is found whatever the search path.
func typeSQL(t *types.T) string {
	if t.Schema != "" {
		return parser.QuoteIdent(t.Schema) + "." + parser.QuoteIdent(t.Name)
	}
	return types.FormatType(t)
}

func (x *executor) createComposite(ctx context.Context, s *ast.CreateCompositeStmt) error {
	names := []string{s.Type.Name}
	if s.Type.Schema != "" {
		names = []string{s.Type.Schema, s.Type.Name}
	}
	t, err := x.newType(ctx, names, 'c')
	if err != nil {
		return err
	}
	for _, c := range s.Columns {
		typ, err := x.resolveType(c.Type, c.Name)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(t.Fields, func(f catalog.CompositeField) bool { return f.Name == c.Name }) {
			return pgerr.New(pgerr.DuplicateColumn, "column %q specified more than once", c.Name)
		}
		t.Fields = append(t.Fields, catalog.CompositeField{Name: c.Name, Type: typeRef(typ)})
	}
	return x.View.Put(ctx, t)
}

func (x *executor) dropType(ctx context.Context, o *ast.ObjectName, s *ast.DropStmt) error {
	names := o.Names
	if o.Type != nil {
		names = o.Type.Names
	}
	t, err := x.snap().ResolveType(x.path(), &ast.TypeName{Names: names, Pos: ast.Pos{Off: -1}})
	if err != nil {
		if s.IfExists {
			x.notice("00000", "type %q does not exist, skipping", names[len(names)-1])
			return nil
		}
		return err
	}
	u := x.snap().UserType(uint32(t.OID))
	if u == nil {
		return pgerr.New(pgerr.DependentObjectsStillExist, "cannot drop type %s because it is required by the database system", types.TypeName(t))
	}
	if u.Class == 'm' {
		r := x.snap().UserType(uint32(u.Base.OID))
		return pgerr.New(pgerr.DependentObjectsStillExist, "cannot drop type %s because type %s requires it", u.Name, r.Name).
			WithHint("You can drop type %s instead.", r.Name)
	}
	if s.Object == ast.ObjDomain && u.Class != 'd' {
		return pgerr.New(pgerr.WrongObjectType, "%q is not a domain", strings.Join(names, "."))
	}
	if err := x.own(&u.Header, "type"); err != nil {
		return err
	}
	if err := x.memberOf(u.Extension, "type "+u.Name); err != nil {
		return err
	}
	return x.removeType(ctx, u, s.Behavior)
}

// removeType drops a type; with CASCADE the columns of the type and the types built from it too.
func (x *executor) removeType(ctx context.Context, t *catalog.Type, b ast.DropBehavior) error {
	details := x.typeDependents(t)
	if len(details) > 0 && b != ast.Cascade {
		return pgerr.New(pgerr.DependentObjectsStillExist, "cannot drop type %s because other objects depend on it", t.Name).
			WithDetail("%s", strings.Join(details, "\n")).
			WithHint("Use DROP ... CASCADE to drop the dependent objects too.")
	}
	for i, d := range details {
		// "column c of table t depends on type x": what will be dropped is what stands before "depends".
		details[i], _, _ = strings.Cut(d, " depends on ")
		details[i] = "drop cascades to " + details[i]
	}
	switch {
	case len(details) == 1:
		x.notice("00000", "%s", details[0])
	case len(details) > 1:
		n := pgerr.New("00000", "drop cascades to %d other objects", len(details)).WithDetail("%s", strings.Join(details, "\n"))
		x.sendNotice(n)
	}
	return x.eraseType(ctx, t)
}

// typeDependents says what depends on a type, directly or not.
func (x *executor) typeDependents(t *catalog.Type) []string {
	_, out := x.usesOfType(t)
	for _, o := range x.operatorsOver(t) {
		out = append(out, x.describeOperator(o)+" depends on type "+t.Name)
	}
	for _, c := range x.castsOver(t) {
		out = append(out, x.describeCast(c)+" depends on type "+t.Name)
	}
	for _, tab := range x.tablesUsing(t) {
		for i := len(tab.Columns) - 1; i >= 0; i-- {
			c := tab.Columns[i]
			if !usesType(c, t) {
				continue
			}
			name := t.Name
			if uint32(c.Type.OID) == t.Array {
				name += "[]"
			}
			out = append(out, fmt.Sprintf("column %s of table %s depends on type %s", c.Name, tab.Name, name))
		}
	}
	for _, tab := range x.typedTables(t.ID) {
		out = append(out, fmt.Sprintf("table %s depends on type %s", x.displayName(tab), t.Name))
	}
	if m := x.snap().UserType(t.Multirange); m != nil {
		out = append(out, x.typeDependents(m)...)
	}
	for _, d := range x.typesOver(t) {
		out = append(append(out, fmt.Sprintf("type %s depends on type %s", d.Name, t.Name)), x.typeDependents(d)...)
	}
	return out
}

// typesOver lists the domains over a type and the composite types with a field of it.
func (x *executor) typesOver(t *catalog.Type) []*catalog.Type {
	var out []*catalog.Type
	for _, d := range x.snap().Types() {
		if d.ID != t.ID && d.Class != 'm' && (uint32(d.Base.OID) == t.ID || slices.ContainsFunc(d.Fields, func(f catalog.CompositeField) bool {
			return uint32(f.Type.OID) == t.ID || uint32(f.Type.OID) == t.Array
		})) {
			out = append(out, d)
		}
	}
	return out
}

// eraseType drops a type with all that depends on it.
func (x *executor) eraseType(ctx context.Context, t *catalog.Type) error {
	for _, tab := range x.tablesUsing(t) {
		for _, c := range tab.Columns {
			if !usesType(c, t) {
				continue
			}
			if err := x.dropColumn(ctx, x.snap().TableByID(tab.ID), &ast.AlterTableCmd{Name: c.Name, Behavior: ast.Cascade}); err != nil {
				return err
			}
		}
	}
	silent := *x
	env := *x.Env
	env.Notice = nil
	silent.Env = &env
	for _, tab := range x.typedTables(t.ID) {
		if err := silent.dropRelation(ctx, tab, ast.Cascade); err != nil {
			return err
		}
	}
	for _, o := range x.operatorsOver(t) {
		if err := silent.dropOperator(ctx, o, ast.Cascade); err != nil {
			return err
		}
	}
	for _, c := range x.castsOver(t) {
		if err := x.View.Delete(ctx, c); err != nil {
			return err
		}
	}
	functions, _ := x.usesOfType(t)
	for _, f := range functions {
		if err := silent.dropFunction(ctx, f, ast.Cascade); err != nil {
			return err
		}
	}
	for _, d := range x.typesOver(t) {
		if err := x.eraseType(ctx, d); err != nil {
			return err
		}
	}
	if m := x.snap().UserType(t.Multirange); m != nil {
		if err := x.eraseType(ctx, m); err != nil {
			return err
		}
	}
	if x.snap().UserType(t.ID) == nil {
		return nil
	}
	return x.View.Delete(ctx, x.snap().UserType(t.ID))
}
