package parser

import (
	pg "github.com/sqlc-dev/oliphant/ast"

	"github.com/meridian-db/meridian/sql/ast"
)

// publicationStmt lowers DDL on publications, nil for anything else.
func (l *lowerer) publicationStmt(n *pg.Node) ast.Stmt {
	switch x := n.GetNode().(type) {
	case *pg.Node_CreatePublicationStmt:
		s := x.CreatePublicationStmt
		return &ast.CreatePublicationStmt{Name: s.Pubname, AllTables: s.ForAllTables, Objects: l.publicationObjects(s.Pubobjects),
			Options: l.defElems(s.Options)}
	case *pg.Node_AlterPublicationStmt:
		s := x.AlterPublicationStmt
		out := &ast.AlterPublicationStmt{Name: s.Pubname, Objects: l.publicationObjects(s.Pubobjects), Options: l.defElems(s.Options)}
		if len(out.Objects) > 0 {
			switch s.Action {
			case pg.AlterPublicationAction_AP_DropObjects:
				out.Action = ast.PublicationDrop
			case pg.AlterPublicationAction_AP_SetObjects:
				out.Action = ast.PublicationSet
			default:
				out.Action = ast.PublicationAdd
			}
		}
		return out
	}
	return nil
}

func (l *lowerer) publicationObjects(ns []*pg.Node) []*ast.PublicationObject {
	var out []*ast.PublicationObject
	last := pg.PublicationObjSpecType_PUBLICATION_OBJ_SPEC_TYPE_UNDEFINED
	for _, n := range ns {
		s := n.GetPublicationObjSpec()
		kind := s.GetPubobjtype()
		if kind == pg.PublicationObjSpecType_PUBLICATIONOBJ_CONTINUATION {
			kind = last // TABLE a, b
		}
		last = kind
		o := &ast.PublicationObject{Pos: pos(s.GetLocation())}
		switch kind {
		case pg.PublicationObjSpecType_PUBLICATIONOBJ_TABLE:
			if t := s.GetPubtable(); t != nil {
				o.Table, o.Columns, o.Where = l.rangeVar(t.Relation), strs(t.Columns), l.optExpr(t.WhereClause)
			} else {
				o.Table = &ast.RangeVar{Name: s.GetName(), Pos: pos(s.GetLocation())}
			}
		case pg.PublicationObjSpecType_PUBLICATIONOBJ_TABLES_IN_SCHEMA:
			o.Schema = s.GetName()
		case pg.PublicationObjSpecType_PUBLICATIONOBJ_TABLES_IN_CUR_SCHEMA:
		default:
			l.fail("42601", s.GetLocation(), "invalid publication object list")
		}
		out = append(out, o)
	}
	return out
}
