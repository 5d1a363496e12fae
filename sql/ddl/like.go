package ddl

import (
	"context"
	"slices"
	"strconv"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/types"
)

// expandLikes puts the columns and constraints that LIKE copies among those that were written.
func (x *executor) expandLikes(s *ast.CreateTableStmt) ([]*ast.ColumnDef, []*ast.Constraint, error) {
	columns, constraints := s.Columns, s.Constraints
	// From the last to the first, so that the positions of those before stay right.
	for i := len(s.Likes) - 1; i >= 0; i-- {
		l := s.Likes[i]
		src, err := x.any(l.Table)
		if err != nil {
			return nil, nil, err
		}
		var copied []*ast.ColumnDef
		for _, c := range src.Columns {
			if c.Dropped || c.Hidden {
				continue
			}
			def, err := x.likeColumn(c, l.Including)
			if err != nil {
				return nil, nil, err
			}
			copied = append(copied, def)
		}
		columns = slices.Insert(slices.Clone(columns), l.After, copied...)
		if l.Including&ast.LikeConstraints != 0 {
			for _, k := range src.Checks {
				e, err := parser.ParseExpr(k.Expr)
				if err != nil {
					return nil, nil, err
				}
				constraints = append(slices.Clone(constraints), &ast.Constraint{Kind: ast.ConstrCheck, Name: k.Name, Expr: e, NoInherit: k.NoInherit, Pos: ast.Pos{Off: -1}})
			}
		}
	}
	return columns, constraints, nil
}

func (x *executor) likeColumn(c *catalog.Column, including uint32) (*ast.ColumnDef, error) {
	name, err := typeNameOf(c.T)
	if err != nil {
		return nil, err
	}
	def := &ast.ColumnDef{Name: c.Name, Type: name, Pos: ast.Pos{Off: -1}}
	if c.Collation != "" {
		def.Collation = []string{c.Collation}
	}
	add := func(k *ast.Constraint) {
		k.Pos = ast.Pos{Off: -1}
		def.Constraints = append(def.Constraints, k)
	}
	if c.NotNull {
		add(&ast.Constraint{Kind: ast.ConstrNotNull})
	}
	switch {
	case c.Identity != 0 && including&ast.LikeIdentity != 0:
		add(&ast.Constraint{Kind: ast.ConstrIdentity, Always: c.Identity == 'a', Options: x.sequenceLike(c.Sequence)})
	case c.Generated != "" && including&ast.LikeGenerated != 0:
		e, err := parser.ParseExpr(c.Generated)
		if err != nil {
			return nil, err
		}
		add(&ast.Constraint{Kind: ast.ConstrGenerated, Always: true, Expr: e})
	case c.Default != "" && including&ast.LikeDefaults != 0:
		e, err := parser.ParseExpr(c.Default)
		if err != nil {
			return nil, err
		}
		add(&ast.Constraint{Kind: ast.ConstrDefault, Expr: e})
	}
	return def, nil
}

// typeNameOf writes a resolved type as a type name that resolves to it again.
func typeNameOf(t *types.T) (*ast.TypeName, error) {
	if t.IsArray() && t.Elem.Schema != "" {
		n, err := parser.ParseType(typeSQL(t.Elem) + "[]")
		return n, err
	}
	return parser.ParseType(typeSQL(t))
}

// copyLikeIndexes creates the indexes that INCLUDING INDEXES copies.
func (x *executor) copyLikeIndexes(ctx context.Context, s *ast.CreateTableStmt, t *catalog.Table) error {
	for _, l := range s.Likes {
		if l.Including&ast.LikeIndexes == 0 {
			continue
		}
		src, err := x.any(l.Table)
		if err != nil {
			return err
		}
		for _, ix := range src.AllIndexes() {
			if ix.Hidden {
				continue
			}
			if ix.Exclude != nil {
				k, err := likeExclusion(src, ix)
				if err != nil {
					return err
				}
				if err := x.addConstraint(ctx, x.snap().TableByID(t.ID), k); err != nil {
					return err
				}
				continue
			}
			if ix.Constraint != 0 {
				k := &ast.Constraint{Kind: ast.ConstrUnique, NullsNotDistinct: ix.NullsNotDistinct, Deferrable: ix.Deferrable, InitiallyDeferred: ix.InitDeferred, Pos: ast.Pos{Off: -1}}
				if ix.Primary {
					k.Kind = ast.ConstrPrimary
				}
				for _, key := range ix.Keys {
					k.Columns = append(k.Columns, src.ColumnByNum(key.Column).Name)
				}
				for _, n := range ix.Include {
					k.Include = append(k.Include, src.ColumnByNum(n).Name)
				}
				if err := x.addConstraint(ctx, x.snap().TableByID(t.ID), k); err != nil {
					return err
				}
				continue
			}
			st, err := likeIndex(src, ix)
			if err != nil {
				return err
			}
			st.Table = x.rangeVarOf(t)
			if err := x.createIndex(ctx, st); err != nil {
				return err
			}
		}
	}
	return nil
}

// likeIndex is the statement that makes an index like ix.
func likeIndex(src *catalog.Table, ix *catalog.Index) (*ast.CreateIndexStmt, error) {
	st := &ast.CreateIndexStmt{AccessMethod: "btree", Unique: ix.Unique, NullsNotDistinct: ix.NullsNotDistinct}
	if ix.Method != "" {
		st.AccessMethod = ix.Method
	}
	for _, k := range ix.Keys {
		e := &ast.IndexElem{Pos: ast.Pos{Off: -1}}
		if ix.Method == "" {
			e.Dir, e.Nulls = ast.SortAsc, ast.NullsLast
		}
		if k.Desc {
			e.Dir = ast.SortDesc
		}
		if k.NullsFirst {
			e.Nulls = ast.NullsFirst
		}
		if k.OpClass != "" {
			e.OpClass = []string{k.OpClass}
		}
		if k.Column != 0 {
			e.Name = src.ColumnByNum(k.Column).Name
		} else {
			x, err := parser.ParseExpr(k.Expr)
			if err != nil {
				return nil, err
			}
			e.Expr = x
		}
		st.Elems = append(st.Elems, e)
	}
	for _, n := range ix.Include {
		st.Include = append(st.Include, &ast.IndexElem{Name: src.ColumnByNum(n).Name, Pos: ast.Pos{Off: -1}})
	}
	if ix.Where != "" {
		e, err := parser.ParseExpr(ix.Where)
		if err != nil {
			return nil, err
		}
		st.Where = e
	}
	return st, nil
}

// sequenceLike writes a sequence's properties as the options of one that is like it.
func (x *executor) sequenceLike(id uint32) []*ast.DefElem {
	t := x.snap().TableByID(id)
	if t == nil || t.Sequence == nil {
		return nil
	}
	q := t.Sequence
	number := func(name string, n int64) *ast.DefElem {
		return &ast.DefElem{Name: name, Arg: &ast.DefArg{Kind: ast.DefFloat, Str: strconv.FormatInt(n, 10)}, Pos: ast.Pos{Off: -1}}
	}
	return []*ast.DefElem{
		number("increment", q.Increment), number("minvalue", q.Min), number("maxvalue", q.Max), number("start", q.Start), number("cache", q.Cache),
		{Name: "cycle", Arg: &ast.DefArg{Kind: ast.DefBool, Bool: q.Cycle}, Pos: ast.Pos{Off: -1}},
	}
}
