package ddl

import (
	"context"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/partition"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// partitionSpec checks PARTITION BY over the columns of t.
func (x *executor) partitionSpec(ctx context.Context, t *catalog.Table, spec *ast.PartitionSpec) (*catalog.Partitioning, error) {
	p := &catalog.Partitioning{Strategy: strategyOf(spec.Strategy)}
	if slices.ContainsFunc(spec.Elems, func(e *ast.IndexElem) bool { return e.Expr != nil }) {
		// Expressions are checked against a stored table, which is not there yet.
		draft := t.Clone()
		draft.Partitioning, draft.PartOf, draft.Bound = &catalog.Partitioning{Strategy: p.Strategy}, 0, nil
		if err := x.View.Put(ctx, draft); err != nil {
			return nil, err
		}
	}
	if p.Strategy == partition.List && len(spec.Elems) > 1 {
		return nil, pgerr.New(pgerr.InvalidObjectDefinition, "cannot use \"list\" partition strategy with more than one column")
	}
	if len(spec.Elems) > maxKeyColumns {
		return nil, pgerr.New(pgerr.TooManyColumns, "cannot partition using more than %d columns", maxKeyColumns)
	}
	for _, e := range spec.Elems {
		at := int(ast.PgPos(e.Position()))
		k := catalog.PartitionKey{}
		var typ *types.T
		name := e.Name
		if c, ok := e.Expr.(*ast.ColumnRef); ok && len(c.Fields) == 1 && !c.Star {
			name = c.Fields[0]
		}
		if name != "" {
			if systemColumns[name] {
				return nil, pgerr.New(pgerr.InvalidObjectDefinition, "cannot use system column %q in partition key", name).WithPosition(at)
			}
			c := t.Column(name)
			if c == nil {
				return nil, pgerr.New(pgerr.UndefinedColumn, "column %q named in partition key does not exist", name).WithPosition(at)
			}
			if c.Generated != "" {
				return nil, pgerr.New(pgerr.InvalidObjectDefinition, "cannot use generated column in partition key").
					WithDetail("Column %q is a generated column.", name).WithPosition(at)
			}
			k.Column, k.Type, typ = c.Num, c.Type, c.T
		} else {
			if err := checkExprShape(e.Expr, "partition key expression", true); err != nil {
				return nil, err
			}
			got, err := x.typeOf(ctx, t, e.Expr)
			if err != nil {
				return nil, err
			}
			if got.OID == types.OIDRecord || got.OID == types.OIDUnknown || got.Class == 'p' {
				return nil, pgerr.New(pgerr.InvalidTableDefinition, "partition key column %d has pseudo-type %s", len(p.Keys)+1, types.TypeName(got))
			}
			if len(columnsIn(t, e.Expr)) == 0 {
				return nil, pgerr.New(pgerr.InvalidObjectDefinition, "cannot use constant expression as partition key")
			}
			if err := x.wantImmutable(ctx, t, e.Expr, "functions in partition key expression must be marked IMMUTABLE"); err != nil {
				return nil, err
			}
			k.Expr, k.Type, typ = parser.DeparseExpr(normalize(e.Expr)), typeRef(got), got
		}
		if err := checkIndexable(typ); err != nil {
			return nil, err
		}
		if len(e.Collation) > 0 {
			if err := checkCollation(e.Collation, typ); err != nil {
				return nil, err
			}
			k.Collation = e.Collation[len(e.Collation)-1]
		}
		if len(e.OpClass) > 0 {
			k.OpClass = e.OpClass[len(e.OpClass)-1]
		}
		p.Keys = append(p.Keys, k)
	}
	return p, nil
}

func strategyOf(s ast.PartitionStrategy) partition.Strategy {
	return [...]partition.Strategy{partition.List, partition.Range, partition.Hash}[s]
}

// keyName is how a column of a partition key is called in messages.
func keyName(t *catalog.Table, k catalog.PartitionKey) string {
	if c := t.ColumnByNum(k.Column); c != nil {
		return c.Name
	}
	return strings.TrimSuffix(strings.TrimPrefix(k.Expr, "("), ")")
}

// bound checks FOR VALUES of a new partition of parent and evaluates it.
func (x *executor) bound(ctx context.Context, parent *catalog.Table, b *ast.PartitionBound) (*catalog.PartitionBound, error) {
	p := parent.Partitioning
	invalid := func(format string, args ...any) error {
		return pgerr.New(pgerr.InvalidTableDefinition, format, args...).WithPosition(int(ast.PgPos(b.Position())))
	}
	if b.Default {
		if p.Strategy == partition.Hash {
			return nil, invalid("a hash-partitioned table may not have a default partition")
		}
		return &catalog.PartitionBound{Default: true}, nil
	}
	if strategyOf(b.Strategy) != p.Strategy {
		return nil, invalid("invalid bound specification for a %s partition", map[partition.Strategy]string{
			partition.List: "list", partition.Range: "range", partition.Hash: "hash"}[p.Strategy])
	}
	out := &catalog.PartitionBound{}
	keys := x.snap().KeyTypes(parent)
	value := func(e ast.Expr, i int) (catalog.PartitionValue, error) {
		return x.boundValue(ctx, e, keys[i], keyName(parent, p.Keys[i]))
	}
	switch p.Strategy {
	case partition.Hash:
		switch {
		case b.Modulus <= 0:
			return nil, invalid("modulus for hash partition must be an integer value greater than zero")
		case b.Remainder < 0:
			return nil, invalid("remainder for hash partition must be an integer value greater than or equal to zero")
		case b.Remainder >= b.Modulus:
			return nil, invalid("remainder for hash partition must be less than modulus")
		}
		out.Modulus, out.Remainder = int(b.Modulus), int(b.Remainder)
	case partition.List:
		seen := map[catalog.PartitionValue]bool{}
		for _, e := range b.List {
			v, err := value(e, 0)
			if err != nil {
				return nil, err
			}
			if !seen[v] {
				seen[v] = true
				out.List = append(out.List, v)
			}
		}
	case partition.Range:
		side := func(what string, ds []ast.PartitionDatum) ([]catalog.PartitionValue, error) {
			if len(ds) != len(p.Keys) {
				return nil, invalid("%s must specify exactly one value per partitioning column", what)
			}
			var list []catalog.PartitionValue
			kind := partition.Literal
			for i, d := range ds {
				v := catalog.PartitionValue{}
				switch {
				case d.MinValue:
					v.Kind = partition.MinValue
				case d.MaxValue:
					v.Kind = partition.MaxValue
				default:
					var err error
					if v, err = value(d.Value, i); err != nil {
						return nil, err
					}
					if v.Null {
						return nil, pgerr.New(pgerr.InvalidObjectDefinition, "cannot specify NULL in range bound")
					}
				}
				if kind != partition.Literal && v.Kind != kind {
					word := map[partition.Kind]string{partition.MinValue: "MINVALUE", partition.MaxValue: "MAXVALUE"}[kind]
					return nil, pgerr.New(pgerr.DatatypeMismatch, "every bound following %s must also be %s", word, word)
				}
				kind = v.Kind
				list = append(list, v)
			}
			return list, nil
		}
		var err error
		if out.Lower, err = side("FROM", b.Lower); err != nil {
			return nil, err
		}
		if out.Upper, err = side("TO", b.Upper); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// boundValue evaluates one value of a bound in the key's type.
func (x *executor) boundValue(ctx context.Context, e ast.Expr, t *types.T, column string) (catalog.PartitionValue, error) {
	if err := checkExprShape(e, "partition bound", false); err != nil {
		if pe, ok := err.(*pgerr.Error); ok && strings.HasPrefix(pe.Message, "cannot use column reference") {
			pe.Message = "cannot use column reference in partition bound expression"
		}
		return catalog.PartitionValue{}, err
	}
	name, err := typeNameOf(t)
	if err != nil {
		return catalog.PartitionValue{}, err
	}
	cast := &ast.TypeCast{Arg: e, Type: name, Pos: ast.Pos{Off: e.Position()}}
	var v catalog.PartitionValue
	err = x.Query(ctx, x.selectOf(nil, cast), func(row []types.Datum) error {
		if row[0].IsNull() {
			v.Null = true
		} else {
			v.Text = string(types.AppendText(nil, row[0], t, nil))
		}
		return nil
	})
	if pgerr.Code(err) == "42846" {
		return v, pgerr.New(pgerr.DatatypeMismatch, "specified value cannot be cast to type %s for column %q", types.TypeName(t), column).
			WithPosition(int(ast.PgPos(e.Position())))
	}
	return v, err
}

// checkOverlap refuses a bound that the partitions of parent do not leave room for. It returns the set with the new
// partition at its end.
func (x *executor) checkOverlap(parent *catalog.Table, name string, b *catalog.PartitionBound) (*partition.Set, error) {
	set, err := x.snap().PartitionSet(parent)
	if err != nil {
		return nil, err
	}
	nb, err := x.snap().Bound(parent, b)
	if err != nil {
		return nil, err
	}
	child := func(i int) string { return x.snap().TableByID(parent.Partitioning.Children[i]).Name }
	if set.Empty(&nb) {
		return nil, pgerr.New(pgerr.InvalidObjectDefinition, "empty range bound specified for partition %q", name).
			WithDetail("Specified lower bound %s is greater than or equal to upper bound %s.",
				x.boundList(parent, b.Lower), x.boundList(parent, b.Upper))
	}
	if parent.Partitioning.Strategy == partition.Hash {
		below, above := set.Neighbours(nb.Modulus)
		const msg = "every hash partition modulus must be a factor of the next larger modulus"
		if below >= 0 && nb.Modulus%set.Bounds[below].Modulus != 0 {
			return nil, pgerr.New(pgerr.InvalidObjectDefinition, msg).
				WithDetail("The new modulus %d is not divisible by %d, the modulus of existing partition %q.", nb.Modulus, set.Bounds[below].Modulus, child(below))
		}
		if above >= 0 && set.Bounds[above].Modulus%nb.Modulus != 0 {
			return nil, pgerr.New(pgerr.InvalidObjectDefinition, msg).
				WithDetail("The new modulus %d is not a factor of %d, the modulus of existing partition %q.", nb.Modulus, set.Bounds[above].Modulus, child(above))
		}
	}
	if at := set.Overlap(&nb); at >= 0 {
		if nb.Default {
			return nil, pgerr.New(pgerr.InvalidObjectDefinition, "partition %q conflicts with existing default partition %q", name, child(at))
		}
		return nil, pgerr.New(pgerr.InvalidObjectDefinition, "partition %q would overlap partition %q", name, child(at))
	}
	return partition.NewSet(set.Strategy, set.Types, append(append([]partition.Bound(nil), set.Bounds...), nb)), nil
}

func (x *executor) boundList(parent *catalog.Table, vs []catalog.PartitionValue) string {
	return catalog.BoundValues(vs, x.snap().KeyTypes(parent))
}

// keysQuery selects the partition key of parent from a table that has its columns.
func (x *executor) keysQuery(parent, t *catalog.Table) (*ast.SelectStmt, error) {
	var es []ast.Expr
	for _, k := range parent.Partitioning.Keys {
		if c := parent.ColumnByNum(k.Column); c != nil {
			es = append(es, column(c.Name))
			continue
		}
		e, err := parser.ParseExpr(k.Expr)
		if err != nil {
			return nil, err
		}
		es = append(es, e)
	}
	return x.selectOf(t, es...), nil
}

// rowOutside reports whether a table has a row that belongs elsewhere than to the partition at a position.
func (x *executor) rowOutside(ctx context.Context, parent, t *catalog.Table, set *partition.Set, at int) (bool, error) {
	q, err := x.keysQuery(parent, t)
	if err != nil {
		return false, err
	}
	err = x.Query(ctx, q, func(row []types.Datum) error {
		if set.Find(row) != at {
			return errFound
		}
		return nil
	})
	if err == errFound {
		return true, nil
	}
	return false, err
}

// checkDefault makes sure that the default partition of parent has no row that belongs to the partition that set has
// as its last.
func (x *executor) checkDefault(ctx context.Context, parent *catalog.Table, set *partition.Set) error {
	last := len(set.Bounds) - 1
	if set.Default < 0 || set.Default == last {
		return nil
	}
	d := x.snap().TableByID(parent.Partitioning.Children[set.Default])
	bad, err := x.rowOutside(ctx, parent, d, set, set.Default)
	if err != nil || !bad {
		return err
	}
	return pgerr.New(pgerr.CheckViolation, "updated partition constraint for default partition %q would be violated by some row", d.Name).
		WithTable(x.snap().SchemaName(d.Schema), d.Name)
}
