package ddl

import (
	"context"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
)

func (x *executor) comment(ctx context.Context, s *ast.CommentStmt) error {
	text := ""
	if s.Comment != nil {
		text = *s.Comment
	}
	names := s.Name.Names
	switch s.Object {
	case ast.ObjTable, ast.ObjView, ast.ObjMatView, ast.ObjSequence:
		t, err := x.any(rangeVarOfNames(names))
		if err != nil {
			return err
		}
		want := map[ast.ObjectType]catalog.RelKind{ast.ObjTable: catalog.RelTable, ast.ObjView: catalog.RelView, ast.ObjMatView: catalog.RelMatView, ast.ObjSequence: catalog.RelSequence}[s.Object]
		if t.Kind != want {
			return pgerr.New(pgerr.WrongObjectType, "%q is not a %s", t.Name, strings.ToLower(string(s.Object)))
		}
		if err := x.ownTable(t); err != nil {
			return err
		}
		nt := t.Clone()
		nt.Comment = text
		return x.View.Put(ctx, nt)
	case ast.ObjEventTrigger:
		e, err := x.eventTrigger(names[0])
		if err != nil {
			return err
		}
		n := e.Clone()
		n.Comment = text
		return x.View.Put(ctx, n)
	case ast.ObjColumn:
		if len(names) < 2 {
			return pgerr.New(pgerr.SyntaxError, "column name must be qualified")
		}
		t, err := x.any(rangeVarOfNames(names[:len(names)-1]))
		if err != nil {
			return err
		}
		if err := x.ownTable(t); err != nil {
			return err
		}
		nt := t.Clone()
		c := nt.Column(names[len(names)-1])
		if c == nil {
			return pgerr.New(pgerr.UndefinedColumn, "column %q of relation %q does not exist", names[len(names)-1], t.Name)
		}
		c.Comment = text
		return x.View.Put(ctx, nt)
	case ast.ObjIndex:
		rel := x.relation(rangeVarOfNames(names))
		if rel.Table == nil {
			return noRelation(rangeVarOfNames(names))
		}
		if rel.Index == nil {
			return wrongKind(rel, ast.ObjIndex)
		}
		nt := rel.Table.Clone()
		for _, ix := range nt.AllIndexes() {
			if ix.OID == rel.Index.OID {
				ix.Comment = text
			}
		}
		return x.View.Put(ctx, nt)
	case ast.ObjTableConstraint:
		return x.commentConstraint(ctx, names, text)
	case ast.ObjSchema:
		sc := x.snap().SchemaByName(names[0])
		if sc == nil {
			return pgerr.New(pgerr.InvalidSchemaName, "schema %q does not exist", names[0])
		}
		if sc.DB == 0 {
			return pgerr.New(pgerr.InsufficientPrivilege, "permission denied: schema %q is built in", sc.Name)
		}
		if err := x.own(&sc.Header, "schema"); err != nil {
			return err
		}
		n := *sc
		n.Comment = text
		return x.View.Put(ctx, &n)
	case ast.ObjDatabase:
		d := x.snap().DatabaseByName(names[0])
		if d == nil {
			return pgerr.New(pgerr.UndefinedDatabase, "database %q does not exist", names[0])
		}
		if err := x.own(&d.Header, "database"); err != nil {
			return err
		}
		n := *d
		n.Comment = text
		return x.View.Put(ctx, &n)
	case ast.ObjRole:
		r := x.snap().RoleByName(names[0])
		if r == nil {
			return pgerr.New(pgerr.UndefinedObject, "role %q does not exist", names[0])
		}
		if err := x.needCreateRole(); err != nil {
			return err
		}
		n := cloneRole(r)
		n.Comment = text
		return x.View.Put(ctx, n)
	case ast.ObjTablespace:
		t, err := x.ownTablespace(names[0])
		if err != nil {
			return err
		}
		n := *t
		n.Comment = text
		return x.View.Put(ctx, &n)
	case ast.ObjType, ast.ObjDomain:
		t, err := x.userType(names)
		if err != nil {
			return err
		}
		n := *t
		n.Comment = text
		return x.View.Put(ctx, &n)
	case ast.ObjFunction, ast.ObjProcedure, ast.ObjRoutine, ast.ObjAggregate:
		f, err := x.routine(s.Name.Func, s.Object)
		if err != nil {
			return err
		}
		if err := x.own(&f.Header, strings.ToLower(string(s.Object))); err != nil {
			return err
		}
		n := f.Clone()
		n.Comment = text
		return x.View.Put(ctx, n)
	case ast.ObjRule:
		name := names[len(names)-1]
		t, err := x.any(rangeVarOfNames(names[:len(names)-1]))
		if err != nil {
			return err
		}
		if err := x.ownTable(t); err != nil {
			return err
		}
		nt := t.Clone()
		r := nt.Rule(name)
		if r == nil {
			return pgerr.New(pgerr.UndefinedObject, "rule %q for relation %q does not exist", name, t.Name)
		}
		r.Comment = text
		return x.View.Put(ctx, nt)
	case ast.ObjCast:
		return x.commentCast(ctx, s.Name, text)
	case ast.ObjOperator:
		return x.changeOperator(ctx, s.Name.Func, func(o *catalog.Operator) error { o.Comment = text; return nil })
	case ast.ObjPolicy:
		t, p, err := x.policyNamed(names)
		if err != nil {
			return err
		}
		nt := t.Clone()
		nt.Policy(p.Name).Comment = text
		return x.View.Put(ctx, nt)
	case ast.ObjTrigger:
		t, tr, err := x.triggerNamed(names)
		if err != nil {
			return err
		}
		nt := t.Clone()
		for _, o := range nt.Triggers {
			if o.OID == tr.OID {
				o.Comment = text
			}
		}
		return x.View.Put(ctx, nt)
	case ast.ObjExtension:
		e, err := x.ownExtension(names[0])
		if err != nil || e == nil {
			return err // pg_dump writes one for what every database has
		}
		return x.changeExtension(ctx, e.OID, func(e *catalog.Extension) { e.Comment = text })
	}
	return pgerr.Unsupported("COMMENT ON %s is not supported", s.Object)
}

func (x *executor) commentConstraint(ctx context.Context, names []string, text string) error {
	t, err := x.any(rangeVarOfNames(names[:len(names)-1]))
	if err != nil {
		return err
	}
	if err := x.ownTable(t); err != nil {
		return err
	}
	name := names[len(names)-1]
	nt := t.Clone()
	for _, k := range nt.Checks {
		if k.Name == name {
			k.Comment = text
			return x.View.Put(ctx, nt)
		}
	}
	for _, k := range nt.FKs {
		if k.Name == name {
			k.Comment = text
			return x.View.Put(ctx, nt)
		}
	}
	for _, ix := range nt.AllIndexes() {
		if ix.Constraint != 0 && ix.Name == name {
			ix.ConstraintComment = text
			return x.View.Put(ctx, nt)
		}
	}
	return pgerr.New(pgerr.UndefinedObject, "constraint %q for table %q does not exist", name, t.Name)
}
