package ddl

import (
	"context"
	"math"
	"strconv"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// newSequence makes the sequence of a serial or identity column. b.finish stores it.
func (x *executor) newSequence(ctx context.Context, b *tableBuilder, c *catalog.Column, def *catalog.Sequence, opts []*ast.DefElem) (*catalog.Table, error) {
	name := chooseName(b.t.Name, c.Name, "seq", func(s string) bool {
		for _, q := range b.sequences {
			if q.Name == s {
				return true
			}
		}
		return s == b.t.Name || x.relationTaken(b.schema, s)
	})
	r := &ast.RangeVar{Schema: b.schema.Name, Name: name, Pos: ast.Pos{Off: -1}}
	for _, o := range opts {
		if o.Name == "sequence_name" && o.Arg != nil && len(o.Arg.Names) > 0 {
			r.Name = o.Arg.Names[len(o.Arg.Names)-1]
		}
	}
	if b.t.Persistence == 't' {
		r.Persistence = ast.Temporary
	}
	t, _, err := x.newTable(ctx, r, false)
	if err != nil {
		return nil, err
	}
	seqTable(t, def)
	t.ACL = x.newACL(ast.ObjSequence, t.Schema)
	if err := x.sequenceOptions(t, def, opts, true); err != nil {
		return nil, err
	}
	def.OwnerTable, def.OwnerColumn, def.State = b.t.ID, c.Num, t.ID
	b.sequences = append(b.sequences, t)
	return t, nil
}

// nextvalExpr is nextval of a sequence, which it names by its id: a rename does not matter then.
func nextvalExpr(seq uint32) ast.Expr {
	return &ast.FuncCall{Name: []string{"nextval"}, Pos: ast.Pos{Off: -1}, Args: []ast.Expr{&ast.TypeCast{
		Arg:  &ast.Const{Kind: ast.ConstString, Str: utoa(seq), Pos: ast.Pos{Off: -1}},
		Type: &ast.TypeName{Names: []string{"regclass"}, Pos: ast.Pos{Off: -1}}, Pos: ast.Pos{Off: -1}}}}
}

// seqRef is the part of a stored expression that names a sequence.
func seqRef(id uint32) string { return "CAST('" + utoa(id) + "' AS regclass)" }

// pinSequences replaces the names of sequences in nextval('s') and its relatives by their ids.
func (x *executor) pinSequences(e ast.Expr) error {
	var err error
	ast.Walk(e, func(e ast.Expr) bool {
		f, ok := e.(*ast.FuncCall)
		if !ok || len(f.Args) == 0 || err != nil {
			return err == nil
		}
		if n := f.Name[len(f.Name)-1]; n != "nextval" && n != "currval" && n != "setval" {
			return true
		}
		arg := f.Args[0]
		if c, ok := arg.(*ast.TypeCast); ok && c.Type.Name() == "regclass" {
			arg = c.Arg
		}
		c, ok := arg.(*ast.Const)
		if !ok || c.Kind != ast.ConstString || c.Str == "" || c.Str[0] >= '0' && c.Str[0] <= '9' {
			return true
		}
		st, perr := parser.ParseOne("TABLE " + c.Str)
		if perr != nil {
			return true
		}
		if sel, ok := st.Stmt.(*ast.SelectStmt); ok && len(sel.From) == 1 {
			if r, ok := sel.From[0].(*ast.RangeVar); ok {
				t, terr := x.any(r)
				if terr != nil {
					err = terr
					return false
				}
				f.Args[0] = nextvalExpr(t.ID).(*ast.FuncCall).Args[0]
			}
		}
		return true
	})
	return err
}

// seqTable makes a relation a sequence, with the columns that SELECT * FROM shows.
func seqTable(t *catalog.Table, def *catalog.Sequence) {
	t.Kind, t.Sequence = catalog.RelSequence, def
	t.Columns = []*catalog.Column{
		{Num: 1, Name: "last_value", Type: catalog.TypeRef{OID: types.OIDInt8, Typmod: -1}, NotNull: true},
		{Num: 2, Name: "log_cnt", Type: catalog.TypeRef{OID: types.OIDInt8, Typmod: -1}, NotNull: true},
		{Num: 3, Name: "is_called", Type: catalog.TypeRef{OID: types.OIDBool, Typmod: -1}, NotNull: true},
	}
}

func (x *executor) createSequence(ctx context.Context, s *ast.CreateSequenceStmt) error {
	t, _, err := x.newTable(ctx, s.Sequence, s.IfNotExists)
	if err != nil || t == nil {
		return err
	}
	def := &catalog.Sequence{Type: types.OIDInt8, State: t.ID}
	seqTable(t, def)
	t.ACL = x.newACL(ast.ObjSequence, t.Schema)
	if err := x.sequenceOptions(t, def, s.Options, true); err != nil {
		return err
	}
	return x.View.Put(ctx, t)
}

func (x *executor) alterSequence(ctx context.Context, s *ast.AlterSequenceStmt) error {
	t, err := x.any(s.Sequence)
	if err != nil {
		if s.IfExists && pgerr.Code(err) == pgerr.UndefinedTable {
			x.notice(pgerr.UndefinedTable, "relation %q does not exist, skipping", s.Sequence.Name)
			return nil
		}
		return err
	}
	if t.Kind != catalog.RelSequence {
		return pgerr.New(pgerr.WrongObjectType, "%q is not a sequence", t.Name)
	}
	if err := x.ownTable(t); err != nil {
		return err
	}
	return x.changeSequence(ctx, t, s.Options)
}

// changeSequence applies options to a stored sequence.
func (x *executor) changeSequence(ctx context.Context, t *catalog.Table, opts []*ast.DefElem) error {
	t = t.Clone()
	if err := x.sequenceOptions(t, t.Sequence, opts, false); err != nil {
		return err
	}
	for _, o := range opts {
		if o.Name == "restart" {
			id, err := x.View.NewID(ctx)
			if err != nil {
				return err
			}
			t.Sequence.State = id
		}
	}
	return x.View.Put(ctx, t)
}

// sequenceOptions applies the options of CREATE and ALTER SEQUENCE, with PostgreSQL's init_params' checks.
func (x *executor) sequenceOptions(t *catalog.Table, q *catalog.Sequence, opts []*ast.DefElem, create bool) error {
	seen := map[string]*ast.DefElem{}
	for _, o := range opts {
		if seen[o.Name] != nil {
			return pgerr.New(pgerr.SyntaxError, "conflicting or redundant options").WithPosition(int(ast.PgPos(o.Position())))
		}
		seen[o.Name] = o
	}
	oldType := q.Type
	if o := seen["as"]; o != nil {
		typ, err := x.snap().ResolveType(x.path(), o.Arg.Type)
		if err != nil {
			return err
		}
		switch typ.OID {
		case types.OIDInt2, types.OIDInt4, types.OIDInt8:
		default:
			return pgerr.New(pgerr.InvalidParameterValue, "sequence type must be smallint, integer, or bigint")
		}
		q.Type = typ.OID
	}
	lo, hi := sequenceRange(q.Type)
	oldLo, oldHi := sequenceRange(oldType)
	if create {
		q.Increment, q.Cache = 1, 1
	}
	if o := seen["increment"]; o != nil {
		n, err := optInt(o)
		if err != nil {
			return err
		}
		if n == 0 {
			return pgerr.New(pgerr.InvalidParameterValue, "INCREMENT must not be zero")
		}
		q.Increment = n
	}
	if o := seen["cycle"]; o != nil {
		q.Cycle = o.Arg == nil || o.Arg.Bool
	}
	typeChanged := !create && q.Type != oldType
	// A limit that was the old type's becomes the new type's.
	resetHi, resetLo := typeChanged && q.Max == oldHi, typeChanged && q.Min == oldLo
	if err := bound(seen["maxvalue"], &q.Max, create || resetHi, func() int64 {
		if q.Increment > 0 || resetHi {
			return hi
		}
		return -1
	}()); err != nil {
		return err
	}
	if q.Max < lo || q.Max > hi {
		return pgerr.New(pgerr.InvalidParameterValue, "MAXVALUE (%d) is out of range for sequence data type %s", q.Max, types.TypeNameOID(q.Type))
	}
	if err := bound(seen["minvalue"], &q.Min, create || resetLo, func() int64 {
		if q.Increment < 0 || resetLo {
			return lo
		}
		return 1
	}()); err != nil {
		return err
	}
	if q.Min < lo || q.Min > hi {
		return pgerr.New(pgerr.InvalidParameterValue, "MINVALUE (%d) is out of range for sequence data type %s", q.Min, types.TypeNameOID(q.Type))
	}
	if q.Min >= q.Max {
		return pgerr.New(pgerr.InvalidParameterValue, "MINVALUE (%d) must be less than MAXVALUE (%d)", q.Min, q.Max)
	}
	first := q.Min
	if q.Increment < 0 {
		first = q.Max
	}
	if o := seen["start"]; o != nil {
		n, err := optInt(o)
		if err != nil {
			return err
		}
		q.Start = n
	} else if create {
		q.Start = first
	}
	if q.Start < q.Min {
		return pgerr.New(pgerr.InvalidParameterValue, "START value (%d) cannot be less than MINVALUE (%d)", q.Start, q.Min)
	}
	if q.Start > q.Max {
		return pgerr.New(pgerr.InvalidParameterValue, "START value (%d) cannot be greater than MAXVALUE (%d)", q.Start, q.Max)
	}
	if create {
		q.Restart = q.Start
	}
	if o := seen["restart"]; o != nil {
		q.Restart = q.Start
		if o.Arg != nil {
			n, err := optInt(o)
			if err != nil {
				return err
			}
			q.Restart = n
		}
		if q.Restart < q.Min {
			return pgerr.New(pgerr.InvalidParameterValue, "RESTART value (%d) cannot be less than MINVALUE (%d)", q.Restart, q.Min)
		}
		if q.Restart > q.Max {
			return pgerr.New(pgerr.InvalidParameterValue, "RESTART value (%d) cannot be greater than MAXVALUE (%d)", q.Restart, q.Max)
		}
	}
	if o := seen["cache"]; o != nil {
		n, err := optInt(o)
		if err != nil {
			return err
		}
		if n <= 0 {
			return pgerr.New(pgerr.InvalidParameterValue, "CACHE (%d) must be greater than zero", n)
		}
		q.Cache = n
	}
	if o := seen["owned_by"]; o != nil {
		return x.ownedBy(t, q, o)
	}
	return nil
}

func sequenceRange(t types.OID) (lo, hi int64) {
	switch t {
	case types.OIDInt2:
		return math.MinInt16, math.MaxInt16
	case types.OIDInt4:
		return math.MinInt32, math.MaxInt32
	}
	return math.MinInt64, math.MaxInt64
}

// bound sets a limit from its option, NO MINVALUE and NO MAXVALUE included, or to its default.
func bound(o *ast.DefElem, v *int64, reset bool, def int64) error {
	switch {
	case o != nil && o.Arg != nil:
		n, err := optInt(o)
		if err != nil {
			return err
		}
		*v = n
	case o != nil || reset:
		*v = def
	}
	return nil
}

// optInt reads an integer option.
func optInt(o *ast.DefElem) (int64, error) {
	if o.Arg != nil {
		switch o.Arg.Kind {
		case ast.DefInteger:
			return o.Arg.Int, nil
		case ast.DefFloat, ast.DefString:
			n, err := strconv.ParseInt(o.Arg.Str, 10, 64)
			if err == nil {
				return n, nil
			}
			return 0, pgerr.New(pgerr.NumericValueOutOfRange, "value %q is out of range for type bigint", o.Arg.Str)
		}
	}
	return 0, pgerr.New(pgerr.SyntaxError, "%s requires a numeric value", o.Name)
}

// ownedBy makes a column the owner of a sequence: OWNED BY table.column, or NONE.
func (x *executor) ownedBy(t *catalog.Table, q *catalog.Sequence, o *ast.DefElem) error {
	names := o.Arg.Names
	if len(names) == 1 {
		if names[0] != "none" {
			return pgerr.New(pgerr.SyntaxError, "invalid OWNED BY option").WithHint("Specify OWNED BY table.column or OWNED BY NONE.")
		}
		q.OwnerTable, q.OwnerColumn = 0, 0
		return nil
	}
	owner, err := x.any(rangeVarOfNames(names[:len(names)-1]))
	if err != nil {
		return err
	}
	if owner.Schema != t.Schema {
		return pgerr.New(pgerr.ObjectNotInPrerequisiteState, "sequence must be in same schema as table it is linked to")
	}
	c := owner.Column(names[len(names)-1])
	if c == nil {
		return pgerr.New(pgerr.UndefinedColumn, "column %q of relation %q does not exist", names[len(names)-1], owner.Name)
	}
	q.OwnerTable, q.OwnerColumn = owner.ID, c.Num
	return nil
}
