package ddl

import (
	"context"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
)

func (x *executor) drop(ctx context.Context, s *ast.DropStmt) error {
	switch s.Object {
	case ast.ObjTable, ast.ObjView, ast.ObjMatView, ast.ObjSequence, ast.ObjIndex, ast.ObjForeignTable:
		return x.dropRelations(ctx, s)
	case ast.ObjSchema:
		for _, o := range s.Objects {
			if err := x.dropSchema(ctx, o.Names[0], s); err != nil {
				return err
			}
		}
		return nil
	case ast.ObjType, ast.ObjDomain:
		for _, o := range s.Objects {
			if err := x.dropType(ctx, o, s); err != nil {
				return err
			}
		}
		return nil
	case ast.ObjExtension:
		for _, o := range s.Objects {
			if err := x.dropExtension(ctx, o.Names[0], s); err != nil {
				return err
			}
		}
		return nil
	case ast.ObjFunction, ast.ObjProcedure, ast.ObjRoutine, ast.ObjAggregate:
		return x.dropFunctions(ctx, s)
	case ast.ObjOperator:
		return x.dropOperators(ctx, s)
	case ast.ObjCast:
		return x.dropCasts(ctx, s)
	case ast.ObjEventTrigger:
		return x.dropEventTriggers(ctx, s)
	case ast.ObjPublication:
		return x.dropPublications(ctx, s)
	case ast.ObjTrigger:
		return x.dropTriggers(ctx, s)
	case ast.ObjPolicy:
		return x.dropPolicies(ctx, s)
	case ast.ObjRule:
		return x.dropRules(ctx, s)
	}
	return pgerr.Unsupported("DROP %s is not supported", s.Object)
}

// signature prints a function's name and argument types as messages do.
func (x *executor) signature(o *ast.ObjectName) string {
	name := strings.Join(o.Names, ".")
	if o.Func == nil || o.Func.ArgsUnspecified {
		return name
	}
	var args []string
	for _, a := range o.Func.Args {
		if a == nil {
			continue
		}
		args = append(args, strings.Join(a.Names, "."))
	}
	return name + "(" + strings.Join(args, ", ") + ")"
}

// wrongKind is the error for DROP TABLE of a view and the like.
func wrongKind(rel catalog.Relation, want ast.ObjectType) error {
	name := rel.Table.Name
	have := kindWord(rel.Table)
	if rel.Index != nil {
		name, have = rel.Index.Name, "index"
	}
	word := strings.ToLower(string(want))
	article := "a"
	if word[0] == 'i' {
		article = "an"
	}
	return pgerr.New(pgerr.WrongObjectType, "%q is not %s %s", name, article, word).
		WithHint("Use DROP %s to remove %s %s.", strings.ToUpper(have), map[bool]string{true: "an", false: "a"}[have[0] == 'i'], have)
}

func (x *executor) dropRelations(ctx context.Context, s *ast.DropStmt) error {
	// All are found before the first is dropped: DROP TABLE a, b with b referring to a works.
	var rels []catalog.Relation
	for _, o := range s.Objects {
		r := rangeVarOfNames(o.Names)
		rel := catalog.Relation{}
		if err := x.checkCatalog(r); err != nil {
			return err
		}
		if r.Schema == "" || x.snap().SchemaByName(x.realSchema(r.Schema)) != nil {
			rel = x.relation(r)
		} else if !s.IfExists {
			return pgerr.New(pgerr.InvalidSchemaName, "schema %q does not exist", r.Schema)
		}
		if rel.Table == nil {
			word := strings.ToLower(string(s.Object))
			if s.IfExists {
				if r.Schema != "" && x.snap().SchemaByName(r.Schema) == nil {
					x.notice("00000", "schema %q does not exist, skipping", r.Schema)
				} else {
					x.notice("00000", "%s %q does not exist, skipping", word, r.Name)
				}
				continue
			}
			code := pgerr.UndefinedTable
			if s.Object == ast.ObjIndex {
				code = pgerr.UndefinedObject
			}
			return pgerr.New(code, "%s %q does not exist", word, relName(r))
		}
		ok := false
		switch s.Object {
		case ast.ObjTable:
			ok = rel.Index == nil && (rel.Table.Kind == catalog.RelTable || rel.Table.Kind == catalog.RelPartitioned)
		case ast.ObjView:
			ok = rel.Index == nil && rel.Table.Kind == catalog.RelView
		case ast.ObjMatView:
			ok = rel.Index == nil && rel.Table.Kind == catalog.RelMatView
		case ast.ObjSequence:
			ok = rel.Index == nil && rel.Table.Kind == catalog.RelSequence
		case ast.ObjIndex:
			ok = rel.Index != nil
		}
		if !ok {
			return wrongKind(rel, s.Object)
		}
		if rel.Table.Virtual != nil {
			return pgerr.New(pgerr.InsufficientPrivilege, "permission denied: %q is a system catalog", rel.Table.Name)
		}
		rels = append(rels, rel)
	}
	together := map[uint32]bool{}
	for _, r := range rels {
		if r.Index == nil {
			together[r.Table.ID] = true
		}
	}
	for _, r := range rels {
		if r.Index != nil {
			if err := x.dropIndex(ctx, r, s.Behavior); err != nil {
				return err
			}
			continue
		}
		if err := x.ownTable(r.Table); err != nil {
			return err
		}
		if err := x.dropRelationWith(ctx, r.Table, s.Behavior, together); err != nil {
			return err
		}
	}
	return nil
}

// dependents lists the relations that depend on a relation: views over it, tables with a default from it.
func (x *executor) dependents(id uint32) []*catalog.Table {
	var out []*catalog.Table
	for _, t := range x.snap().Tables() {
		if t.ID == id {
			continue
		}
		if slices.Contains(t.DependsOn, id) || slices.Contains(t.Inherits, id) {
			out = append(out, t)
		}
	}
	return out
}

func (x *executor) dropRelation(ctx context.Context, t *catalog.Table, b ast.DropBehavior) error {
	return x.dropRelationWith(ctx, t, b, nil)
}

// dropRelationWith drops a relation with what depends on it, or refuses. The relations in together are
// dropped by the same statement.
func (x *executor) dropRelationWith(ctx context.Context, t *catalog.Table, behavior ast.DropBehavior, together map[uint32]bool) error {
	t = x.snap().TableByID(t.ID)
	if t == nil {
		return nil // a cascade was faster
	}
	// Partitions go with their table.
	for _, p := range x.snap().Partitions(t) {
		if together == nil {
			together = map[uint32]bool{}
		}
		for _, below := range x.snap().Tree(p) {
			together[below.ID] = true
		}
		together[t.ID] = true
		if err := x.dropRelationWith(ctx, p, behavior, together); err != nil {
			return err
		}
	}
	t = x.snap().TableByID(t.ID)
	var deps, notices []string
	for _, v := range x.dependents(t.ID) {
		if together[v.ID] {
			continue
		}
		deps = append(deps, kindWord(v)+" "+x.displayName(v)+" depends on "+kindWord(t)+" "+x.displayName(t))
		if x.announced[v.ID] {
			continue // what inherits in several ways goes with the first of them
		}
		if x.announced == nil {
			x.announced = map[uint32]bool{}
		}
		x.announced[v.ID] = true
		notices = append(notices, kindWord(v)+" "+x.displayName(v))
	}
	var policies []policyUse
	for _, u := range x.policiesUsing(t.ID) {
		if !together[u.table.ID] {
			policies = append(policies, u)
			deps = append(deps, u.describe(x)+" depends on "+kindWord(t)+" "+x.displayName(t))
			notices = append(notices, u.describe(x))
		}
	}
	for _, in := range t.Inbound {
		if in.Table == t.ID || together[in.Table] {
			continue
		}
		child := x.snap().TableByID(in.Table)
		for _, fk := range child.FKs {
			if fk.OID == in.Constraint {
				what := "constraint " + fk.Name + " on table " + x.displayName(child)
				deps = append(deps, what+" depends on table "+x.displayName(t))
				notices = append(notices, what)
			}
		}
	}
	if t.Sequence != nil {
		for _, o := range x.snap().Tables() {
			for _, c := range o.Columns {
				if c.Sequence == t.ID || strings.Contains(c.Default, seqRef(t.ID)) {
					if together[o.ID] {
						continue
					}
					if c.Identity != 0 {
						return pgerr.New(pgerr.DependentObjectsStillExist, "cannot drop sequence %s because column %s of table %s requires it", t.Name, c.Name, o.Name).
							WithHint("You can drop column %s of table %s instead.", c.Name, o.Name)
					}
					deps = append(deps, "default value for column "+c.Name+" of table "+x.displayName(o)+" depends on sequence "+x.displayName(t))
					notices = append(notices, "default value for column "+c.Name+" of table "+x.displayName(o))
				}
			}
		}
	}
	for _, c := range x.rowTypeUsers(t) {
		deps = append(deps, c+" depends on type "+t.Name)
	}
	var functions []*catalog.Function
	for _, f := range x.snap().Functions() {
		uses := t.RowType != 0 && slices.ContainsFunc(append([]catalog.FunctionArg{{Type: f.Ret}}, f.Args...), func(a catalog.FunctionArg) bool {
			return uint32(a.Type.OID) == t.RowType || uint32(a.Type.OID) == t.RowArray
		})
		what := x.describeRoutine(f)
		switch {
		case uses:
			deps = append(deps, what+" depends on type "+t.Name)
		case slices.Contains(f.DependsOn, t.ID):
			deps = append(deps, what+" depends on "+kindWord(t)+" "+x.displayName(t))
		default:
			continue
		}
		notices = append(notices, what)
		functions = append(functions, f)
	}
	if len(deps) > 0 && behavior != ast.Cascade {
		return pgerr.New(pgerr.DependentObjectsStillExist, "cannot drop %s %s because other objects depend on it", kindWord(t), x.displayName(t)).
			WithDetail("%s", strings.Join(deps, "\n")).
			WithHint("Use DROP ... CASCADE to drop the dependent objects too.")
	}
	if err := x.notInUse("DROP "+strings.ToUpper(kindWord(t)), t); err != nil {
		return err
	}
	switch len(notices) {
	case 0:
	case 1:
		x.notice("00000", "drop cascades to %s", notices[0])
	default:
		if x.Notice != nil {
			x.Notice(pgerr.New("00000", "drop cascades to %d other objects", len(notices)).WithSeverity(pgerr.SeverityNotice).
				WithDetail("drop cascades to %s", strings.Join(notices, "\ndrop cascades to ")))
		}
	}
	for _, u := range policies {
		if err := x.removePolicy(ctx, u.table.ID, u.policy.Name); err != nil {
			return err
		}
	}
	for _, f := range functions {
		if x.snap().FunctionByID(f.ID) != nil {
			if err := x.dropFunction(ctx, f, ast.Cascade); err != nil {
				return err
			}
		}
	}
	for _, v := range x.dependents(t.ID) {
		if together[v.ID] {
			continue
		}
		if err := x.dropRelationWith(ctx, v, behavior, together); err != nil {
			return err
		}
	}
	for _, in := range t.Inbound {
		if child := x.snap().TableByID(in.Table); child != nil && in.Table != t.ID {
			if err := x.removeFK(ctx, child, in.Constraint); err != nil {
				return err
			}
		}
	}
	for _, fk := range t.FKs {
		if fk.RefTable != t.ID {
			if err := x.removeFK(ctx, x.snap().TableByID(t.ID), fk.OID); err != nil {
				return err
			}
		}
	}
	if t.Sequence != nil {
		if err := x.forgetSequence(ctx, t.ID); err != nil {
			return err
		}
	}
	if err := x.dropOwnedSequences(ctx, t.ID, 0); err != nil {
		return err
	}
	if t.PartOf != 0 {
		if err := x.forgetPartition(ctx, t.PartOf, t.ID); err != nil {
			return err
		}
	}
	for _, up := range t.Inherits {
		if x.snap().TableByID(up) == nil {
			continue
		}
		if err := x.setHeir(ctx, up, t.ID, false); err != nil {
			return err
		}
	}
	return x.View.Delete(ctx, x.snap().TableByID(t.ID))
}

// forgetSequence removes a sequence from the defaults that draw from it.
func (x *executor) forgetSequence(ctx context.Context, id uint32) error {
	for _, o := range x.snap().Tables() {
		nt := o.Clone()
		changed := false
		for _, c := range nt.Columns {
			if c.Sequence == id || strings.Contains(c.Default, seqRef(id)) {
				c.Sequence, c.Default = 0, ""
				changed = true
			}
		}
		if changed {
			if err := x.View.Put(ctx, nt); err != nil {
				return err
			}
		}
	}
	return nil
}

// rowTypeUsers lists the columns of other tables that have the table's row type.
func (x *executor) rowTypeUsers(t *catalog.Table) []string {
	var out []string
	for _, o := range x.snap().Tables() {
		for _, c := range o.Columns {
			if !c.Dropped && o.ID != t.ID && t.RowType != 0 && (uint32(c.Type.OID) == t.RowType || uint32(c.Type.OID) == t.RowArray) {
				out = append(out, "column "+c.Name+" of table "+o.Name)
			}
		}
	}
	return out
}

// displayName qualifies a relation's name when the search path does not find it.
func (x *executor) displayName(t *catalog.Table) string {
	if r := x.snap().ResolveRelation(x.path(), "", t.Name); r.Table == t {
		return t.Name
	}
	return x.snap().SchemaName(t.Schema) + "." + t.Name
}

func (x *executor) dropSchema(ctx context.Context, name string, s *ast.DropStmt) error {
	sc := x.snap().SchemaByName(name)
	if sc == nil {
		if s.IfExists {
			x.notice("00000", "schema %q does not exist, skipping", name)
			return nil
		}
		return pgerr.New(pgerr.InvalidSchemaName, "schema %q does not exist", name)
	}
	if sc.DB == 0 {
		return pgerr.New(pgerr.DependentObjectsStillExist, "cannot drop schema %s because it is required by the database system", name)
	}
	if err := x.own(&sc.Header, "schema"); err != nil {
		return err
	}
	var tables []*catalog.Table
	var names []string
	together := map[uint32]bool{}
	for _, t := range x.snap().Tables() {
		if t.Schema == sc.ID {
			tables = append(tables, t)
			together[t.ID] = true
			if t.Sequence == nil || t.Sequence.OwnerTable == 0 {
				names = append(names, kindWord(t)+" "+x.displayName(t))
			}
		}
	}
	var userTypes []*catalog.Type
	for _, t := range x.snap().Types() {
		if t.Schema == sc.ID {
			userTypes = append(userTypes, t)
			if t.Extension == 0 {
				names = append(names, "type "+t.Name)
			}
		}
	}
	var functions []*catalog.Function
	for _, f := range x.snap().Functions() {
		if f.Schema == sc.ID {
			functions = append(functions, f)
			if f.Extension == 0 {
				names = append(names, x.describeRoutine(f))
			}
		}
	}
	var operators []*catalog.Operator
	for _, o := range x.snap().Operators() {
		if o.Schema == sc.ID {
			operators = append(operators, o)
			names = append(names, x.describeOperator(o))
		}
	}
	var extensions []catalog.Extension
	for _, e := range x.snap().Extensions() {
		if e.Schema == sc.ID {
			extensions = append(extensions, e)
			names = append(names, "extension "+e.Name)
		}
	}
	if len(names) > 0 && s.Behavior != ast.Cascade {
		var detail []string
		for _, n := range names {
			detail = append(detail, n+" depends on schema "+name)
		}
		return pgerr.New(pgerr.DependentObjectsStillExist, "cannot drop schema %s because other objects depend on it", name).
			WithDetail("%s", strings.Join(detail, "\n")).
			WithHint("Use DROP ... CASCADE to drop the dependent objects too.")
	}
	if len(names) == 1 {
		x.notice("00000", "drop cascades to %s", names[0])
	} else if len(names) > 1 && x.Notice != nil {
		x.Notice(pgerr.New("00000", "drop cascades to %d other objects", len(names)).WithSeverity(pgerr.SeverityNotice).
			WithDetail("drop cascades to %s", strings.Join(names, "\ndrop cascades to ")))
	}
	for _, e := range extensions {
		if err := x.removeExtension(ctx, e.OID); err != nil {
			return err
		}
	}
	for _, t := range tables {
		if err := x.dropRelationWith(ctx, t, ast.Cascade, together); err != nil {
			return err
		}
	}
	for _, o := range operators {
		if err := x.dropOperator(ctx, o, ast.Cascade); err != nil {
			return err
		}
	}
	for _, f := range functions {
		if err := x.dropFunction(ctx, f, ast.Cascade); err != nil {
			return err
		}
	}
	for _, t := range userTypes {
		if err := x.removeType(ctx, t, ast.Cascade); err != nil {
			return err
		}
	}
	return x.View.Delete(ctx, sc)
}
