package ddl

import (
	"context"
	"errors"
	"slices"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// selectOf makes SELECT e FROM the relation; without one if t is nil.
func (x *executor) selectOf(t *catalog.Table, es ...ast.Expr) *ast.SelectStmt {
	s := &ast.SelectStmt{Pos: ast.Pos{Off: -1}}
	for _, e := range es {
		s.Targets = append(s.Targets, &ast.Target{Expr: e, Pos: ast.Pos{Off: e.Position()}})
	}
	if t != nil {
		s.From = []ast.TableRef{x.rangeVarOf(t)}
	}
	return s
}

// typeOf plans an expression over a table's columns (none if t is nil) and returns its type.
func (x *executor) typeOf(ctx context.Context, t *catalog.Table, e ast.Expr) (*types.T, error) {
	if c, ok := e.(*ast.Const); ok && (c.Kind == ast.ConstNull || c.Kind == ast.ConstString) {
		return types.ByOID(types.OIDUnknown), nil
	}
	cols, err := x.Describe(ctx, x.selectOf(t, e))
	if err != nil {
		return nil, err
	}
	if len(cols) != 1 {
		return nil, pgerr.New(pgerr.SyntaxError, "expression yields %d columns", len(cols))
	}
	return cols[0].Type, nil
}

// wantImmutable refuses an expression over a table's columns whose value may change while the row does not.
func (x *executor) wantImmutable(ctx context.Context, t *catalog.Table, e ast.Expr, message string) error {
	cols, err := x.Describe(ctx, x.selectOf(t, e))
	if err != nil {
		return err
	}
	if cols[0].Mutable {
		return pgerr.New(pgerr.InvalidObjectDefinition, "%s", message)
	}
	return nil
}

// normalize drops the table's name from column references, so that the stored text survives a rename.
func normalize(e ast.Expr) ast.Expr {
	ast.WalkAll(e, func(e ast.Expr) bool {
		if c, ok := e.(*ast.ColumnRef); ok && len(c.Fields) > 1 && !c.Star {
			c.Fields = c.Fields[len(c.Fields)-1:]
		}
		return true
	}, nil)
	return e
}

// columnsIn lists the table's columns that an expression mentions, in attnum order.
func columnsIn(t *catalog.Table, e ast.Expr) []int16 {
	var out []int16
	ast.WalkAll(e, func(e ast.Expr) bool {
		if c, ok := e.(*ast.ColumnRef); ok && len(c.Fields) > 0 {
			if col := t.Column(c.Fields[len(c.Fields)-1]); col != nil && !slices.Contains(out, col.Num) {
				out = append(out, col.Num)
			}
		}
		return true
	}, nil)
	slices.Sort(out)
	return out
}

// setDefault sets a column's default after checking that it fits the column.
func (b *tableBuilder) setDefault(ctx context.Context, c *catalog.Column, e ast.Expr) error {
	text, err := b.x.defaultText(ctx, e, c.T, c.Name)
	if err != nil {
		return err
	}
	c.Default = text
	return nil
}

// defaultText checks a default expression for a column of type t and returns the text to store, "" for NULL.
func (x *executor) defaultText(ctx context.Context, e ast.Expr, t *types.T, column string) (string, error) {
	if err := checkExprShape(e, "DEFAULT expression", false); err != nil {
		return "", err
	}
	if c, ok := e.(*ast.Const); ok && c.Kind == ast.ConstNull {
		return "", nil
	}
	if err := x.pinSequences(e); err != nil {
		return "", err
	}
	got, err := x.typeOf(ctx, nil, e)
	if err != nil {
		return "", err
	}
	if got.OID == types.OIDUnknown {
		// The literal is read now, so that a bad one is an error of this statement.
		if c, ok := e.(*ast.Const); ok && c.Kind == ast.ConstString {
			if _, err := types.ParseText(c.Str, t, types.DefaultSettings); err != nil && pgerr.Code(err) != pgerr.StringDataRightTruncation {
				return "", err
			}
		}
	} else if !builtin.CanCoerce(got, t, builtin.CastAssignment) {
		return "", pgerr.New(pgerr.DatatypeMismatch, "column %q is of type %s but default expression is of type %s", column, types.TypeName(t), types.TypeName(got)).
			WithHint("You will need to rewrite or cast the expression.")
	}
	return parser.DeparseExpr(e), nil
}

// setGenerated sets a column's generation expression. The table is stored already, without it.
func (x *executor) setGenerated(ctx context.Context, t *catalog.Table, k *ast.Constraint) error {
	c := t.Column(k.Columns[0])
	if c.Default != "" {
		return pgerr.New(pgerr.SyntaxError, "both default and generation expression specified for column %q of table %q", c.Name, t.Name)
	}
	if c.Identity != 0 {
		return pgerr.New(pgerr.SyntaxError, "both identity and generation expression specified for column %q of table %q", c.Name, t.Name)
	}
	if err := checkExprShape(k.Expr, "column generation expression", true); err != nil {
		return err
	}
	for _, n := range columnsIn(t, k.Expr) {
		if o := t.ColumnByNum(n); o == c || o.Generated != "" {
			return pgerr.New(pgerr.InvalidObjectDefinition, "cannot use generated column %q in column generation expression", o.Name)
		}
	}
	got, err := x.typeOf(ctx, t, k.Expr)
	if err != nil {
		return err
	}
	if got.OID != types.OIDUnknown && !builtin.CanCoerce(got, c.T, builtin.CastAssignment) {
		return pgerr.New(pgerr.DatatypeMismatch, "column %q is of type %s but default expression is of type %s", c.Name, types.TypeName(c.T), types.TypeName(got)).
			WithHint("You will need to rewrite or cast the expression.")
	}
	if err := x.wantImmutable(ctx, t, k.Expr, "generation expression is not immutable"); err != nil {
		return err
	}
	c.Generated = parser.DeparseExpr(normalize(k.Expr))
	return nil
}

// wantBool checks that an expression over a table's columns is a condition.
func (x *executor) wantBool(ctx context.Context, t *catalog.Table, e ast.Expr, what string) error {
	got, err := x.typeOf(ctx, t, e)
	if err != nil {
		return err
	}
	if got.OID != types.OIDUnknown && got.BaseType().OID != types.OIDBool {
		return pgerr.New(pgerr.DatatypeMismatch, "argument of %s must be type boolean, not type %s", what, types.TypeName(got)).
			WithPosition(int(ast.PgPos(e.Position())))
	}
	return nil
}

// errFound stops a query at its first row.
var errFound = errors.New("found")

// anyRow reports whether a query has a row.
func (x *executor) anyRow(ctx context.Context, q *ast.SelectStmt) (bool, error) {
	q.Limit = &ast.Const{Kind: ast.ConstInt, Int: 1, Pos: ast.Pos{Off: -1}}
	err := x.Query(ctx, q, func([]types.Datum) error { return errFound })
	if errors.Is(err, errFound) {
		return true, nil
	}
	return false, err
}

func number(n int64) *ast.Const {
	return &ast.Const{Kind: ast.ConstInt, Int: n, Pos: ast.Pos{Off: -1}}
}

func op(l ast.Expr, name string, r ast.Expr) *ast.OpExpr {
	return &ast.OpExpr{Schema: catalog.PgCatalog, Op: name, Left: l, Right: r, Pos: ast.Pos{Off: -1}}
}

func not(e ast.Expr) *ast.BoolExpr {
	return &ast.BoolExpr{Op: ast.Not, Args: []ast.Expr{e}, Pos: ast.Pos{Off: -1}}
}

func and(es ...ast.Expr) ast.Expr {
	if len(es) == 1 {
		return es[0]
	}
	return &ast.BoolExpr{Op: ast.And, Args: es, Pos: ast.Pos{Off: -1}}
}

func isNull(e ast.Expr) *ast.NullTest { return &ast.NullTest{Arg: e, Pos: ast.Pos{Off: -1}} }
func isNotNull(e ast.Expr) *ast.NullTest {
	return &ast.NullTest{Arg: e, Not: true, Pos: ast.Pos{Off: -1}}
}
