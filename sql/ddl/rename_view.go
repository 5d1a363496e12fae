package ddl

import (
	"slices"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
)

// viewRenamer gives a column of a relation another name in the query of a view over it. The view's own columns keep
// theirs. Where it is not plain what a name means, it gives up.
type viewRenamer struct {
	x        *executor
	view, of *catalog.Table
	from, to string
	unsure   bool
}

// nameScope is what one SELECT's FROM shows.
type nameScope struct {
	parent *nameScope
	ours   []string // names of the relation
	others []string // names of other items
	taken  bool     // another relation has a column of the old name
	opaque bool     // an item whose columns are not known here
}

// renamedQuery returns the view's query with the column renamed; ok is false when it cannot be done.
func (x *executor) renamedQuery(view, of *catalog.Table, from, to string) (query string, ok bool) {
	st, err := parser.ParseOne(view.Query)
	if err != nil {
		return "", false
	}
	sel, ok := st.Stmt.(*ast.SelectStmt)
	if !ok {
		return "", false
	}
	r := &viewRenamer{x: x, view: view, of: of, from: from, to: to}
	r.query(sel, nil)
	return parser.Deparse(sel), !r.unsure
}

func (r *viewRenamer) query(s *ast.SelectStmt, parent *nameScope) {
	if s == nil {
		return
	}
	if s.With != nil {
		r.unsure = true // its names could be relations'
		return
	}
	if s.Op != ast.SetNone {
		r.query(s.Left, parent) // ORDER BY names what comes out
		r.query(s.Right, parent)
		return
	}
	sc := &nameScope{parent: parent}
	for _, ref := range s.From {
		r.item(ref, sc)
	}
	label := false
	for _, t := range s.Targets {
		bare, isRef := t.Expr.(*ast.ColumnRef)
		was := isRef && len(bare.Fields) > 0 && bare.Fields[len(bare.Fields)-1] == r.from
		r.expr(t.Expr, sc)
		if was && t.Name == "" && bare.Fields[len(bare.Fields)-1] == r.to {
			t.Name = r.from
		}
		label = label || t.Name == r.from && !was
	}
	for _, row := range s.Values {
		for _, e := range row {
			r.expr(e, sc)
		}
	}
	for _, e := range s.DistinctOn {
		r.expr(e, sc)
	}
	r.expr(s.Where, sc)
	r.groups(s.GroupBy, sc)
	r.expr(s.Having, sc)
	if len(s.Windows) > 0 {
		r.unsure = true
	}
	for _, o := range s.OrderBy {
		if c, ok := o.Expr.(*ast.ColumnRef); ok && label && len(c.Fields) == 1 {
			continue // the label, not the column
		}
		r.expr(o.Expr, sc)
	}
	r.expr(s.Offset, sc)
	r.expr(s.Limit, sc)
}

func (r *viewRenamer) groups(items []ast.GroupItem, sc *nameScope) {
	for _, it := range items {
		r.expr(it.Expr, sc)
		r.groups(it.Sets, sc)
	}
}

// item adds an item of FROM to a scope.
func (r *viewRenamer) item(ref ast.TableRef, sc *nameScope) {
	switch ref := ref.(type) {
	case *ast.RangeVar:
		name := ref.Name
		if ref.Alias != nil {
			name = ref.Alias.Name
		}
		t := r.x.snap().ResolveTable(r.view.Path, ref.Schema, ref.Name)
		switch {
		case t == nil || ref.Alias != nil && len(ref.Alias.Columns) > 0:
			sc.opaque = true
			r.unsure = r.unsure || t == r.of
		case t == r.of:
			sc.ours = append(sc.ours, name)
		default:
			sc.others = append(sc.others, name)
			sc.taken = sc.taken || t.Column(r.from) != nil
		}
	case *ast.JoinRef:
		if ref.Natural || ref.Alias != nil || slices.Contains(ref.Using, r.from) {
			r.unsure = true
		}
		r.item(ref.Left, sc)
		r.item(ref.Right, sc)
		r.expr(ref.On, sc)
	case *ast.SubqueryRef:
		parent := sc.parent
		if ref.Lateral {
			parent = sc
		}
		r.query(ref.Select, parent)
		sc.opaque = true
		if ref.Alias != nil {
			sc.others = append(sc.others, ref.Alias.Name)
		}
	default:
		sc.opaque = true
		r.unsure = r.unsure || len(sc.ours) > 0
	}
}

func (r *viewRenamer) expr(e ast.Expr, sc *nameScope) {
	if e == nil {
		return
	}
	ast.Walk(e, func(e ast.Expr) bool {
		switch e := e.(type) {
		case *ast.SubLink:
			r.query(e.Select, sc)
		case *ast.FuncCall:
			r.unsure = r.unsure || e.Over != nil && exprMentions(parser.DeparseExpr(e), r.from)
		case *ast.ColumnRef:
			n := len(e.Fields)
			if e.Star || n == 0 || e.Fields[n-1] != r.from {
				return true
			}
			if r.means(e.Fields[:n-1], sc) {
				e.Fields[n-1] = r.to
			}
		}
		return true
	})
}

// means reports whether the old name, behind these qualifiers, is the column.
func (r *viewRenamer) means(qualifiers []string, sc *nameScope) bool {
	for ; sc != nil; sc = sc.parent {
		switch len(qualifiers) {
		case 0:
			if len(sc.ours) > 0 {
				r.unsure = r.unsure || sc.opaque
				return true
			}
			if sc.taken {
				return false
			}
			if sc.opaque {
				// The item may have such a column, or the name may be one further out.
				for up := sc.parent; up != nil; up = up.parent {
					r.unsure = r.unsure || len(up.ours) > 0
				}
				return false
			}
		case 1:
			if slices.Contains(sc.ours, qualifiers[0]) {
				return true
			}
			if slices.Contains(sc.others, qualifiers[0]) {
				return false
			}
		default:
			r.unsure = true
			return false
		}
	}
	return false
}
