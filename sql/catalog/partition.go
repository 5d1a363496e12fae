package catalog

import (
	"fmt"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/partition"
	"github.com/meridian-db/meridian/sql/types"
)

// Partitioning is how a partitioned table's rows are spread over its partitions. The table itself stores none.
type Partitioning struct {
	Strategy partition.Strategy `json:"s"`
	Keys     []PartitionKey     `json:"k"`
	// Children are the partitions, in the order in which they were attached.
	Children []uint32 `json:"ch,omitempty"`
}

// PartitionKey is one column or expression of a partition key.
type PartitionKey struct {
	Column    int16   `json:"a,omitempty"` // 0: Expr
	Expr      string  `json:"e,omitempty"`
	Type      TypeRef `json:"t"`
	Collation string  `json:"col,omitempty"`
	OpClass   string  `json:"oc,omitempty"`
}

// PartitionBound is which rows of its parent a partition holds.
type PartitionBound struct {
	Default   bool             `json:"def,omitempty"`
	List      []PartitionValue `json:"l,omitempty"`
	Lower     []PartitionValue `json:"lo,omitempty"`
	Upper     []PartitionValue `json:"up,omitempty"`
	Modulus   int              `json:"m,omitempty"`
	Remainder int              `json:"r,omitempty"`
}

// PartitionValue is a value of a bound, in its type's text form.
type PartitionValue struct {
	Kind partition.Kind `json:"k,omitempty"`
	Null bool           `json:"n,omitempty"`
	Text string         `json:"t,omitempty"`
}

// IsPartitioned reports whether t's rows are in its partitions.
func (t *Table) IsPartitioned() bool { return t.Partitioning != nil }

// KeyTypes are the types of a partitioned table's key.
func (s *state) KeyTypes(t *Table) []*types.T {
	var out []*types.T
	for _, k := range t.Partitioning.Keys {
		if c := t.ColumnByNum(k.Column); c != nil {
			out = append(out, c.T)
		} else {
			out = append(out, s.typeRef(k.Type))
		}
	}
	return out
}

// Bound converts a stored bound of a partition of t.
func (s *state) Bound(t *Table, b *PartitionBound) (partition.Bound, error) {
	out := partition.Bound{Default: b.Default, Modulus: b.Modulus, Remainder: b.Remainder}
	key := s.KeyTypes(t)
	value := func(v PartitionValue, typ *types.T) (types.Datum, error) {
		if v.Null || v.Kind != partition.Literal {
			return types.Null, nil
		}
		d, err := types.ParseText(v.Text, typ, nil)
		if err != nil {
			err = fmt.Errorf("stored partition bound %q: %w", v.Text, err)
		}
		return d, err
	}
	for _, v := range b.List {
		d, err := value(v, key[0])
		if err != nil {
			return out, err
		}
		out.List = append(out.List, d)
	}
	side := func(vs []PartitionValue) ([]partition.Value, error) {
		var list []partition.Value
		for i, v := range vs {
			d, err := value(v, key[i])
			if err != nil {
				return nil, err
			}
			list = append(list, partition.Value{Kind: v.Kind, D: d})
		}
		return list, nil
	}
	var err error
	if out.Lower, err = side(b.Lower); err == nil {
		out.Upper, err = side(b.Upper)
	}
	return out, err
}

// PartitionSet returns the bounds of t's partitions, in the order of Partitioning.Children.
func (s *state) PartitionSet(t *Table) (*partition.Set, error) {
	var bounds []partition.Bound
	for _, id := range t.Partitioning.Children {
		c := s.TableByID(id)
		if c == nil || c.Bound == nil {
			return nil, fmt.Errorf("catalog: partition %d of %q is not there", id, t.Name)
		}
		b, err := s.Bound(t, c.Bound)
		if err != nil {
			return nil, err
		}
		bounds = append(bounds, b)
	}
	return partition.NewSet(t.Partitioning.Strategy, s.KeyTypes(t), bounds), nil
}

// Partitions lists t's partitions in the order of their bounds, the default one last.
func (s *state) Partitions(t *Table) []*Table {
	if t.Partitioning == nil {
		return nil
	}
	set, err := s.PartitionSet(t)
	if err != nil {
		return nil
	}
	var out []*Table
	for _, i := range set.Order() {
		out = append(out, s.TableByID(t.Partitioning.Children[i]))
	}
	return out
}

// Tree lists a table and everything below it, parents first.
func (s *state) Tree(t *Table) []*Table {
	out := []*Table{t}
	for _, c := range s.Partitions(t) {
		out = append(out, s.Tree(c)...)
	}
	return out
}

// Ancestors lists the tables that t is a partition of, the nearest first.
func (s *state) Ancestors(t *Table) []*Table {
	var out []*Table
	for t != nil && t.PartOf != 0 {
		if t = s.TableByID(t.PartOf); t != nil {
			out = append(out, t)
		}
	}
	return out
}

func (p *Partitioning) clone() *Partitioning {
	if p == nil {
		return nil
	}
	c := *p
	c.Keys = slices.Clone(p.Keys)
	c.Children = slices.Clone(p.Children)
	return &c
}

// BoundText prints a bound as pg_get_expr(relpartbound) does.
func (s *state) BoundText(parent *Table, b *PartitionBound) string {
	if b.Default {
		return "DEFAULT"
	}
	key := s.KeyTypes(parent)
	switch parent.Partitioning.Strategy {
	case partition.Hash:
		return fmt.Sprintf("FOR VALUES WITH (modulus %d, remainder %d)", b.Modulus, b.Remainder)
	case partition.List:
		var out []string
		for _, v := range b.List {
			out = append(out, v.literal(key[0]))
		}
		return "FOR VALUES IN (" + strings.Join(out, ", ") + ")"
	}
	return "FOR VALUES FROM " + BoundValues(b.Lower, key) + " TO " + BoundValues(b.Upper, key)
}

// BoundValues prints one side of a range bound.
func BoundValues(vs []PartitionValue, key []*types.T) string {
	var out []string
	for i, v := range vs {
		out = append(out, v.literal(key[i]))
	}
	return "(" + strings.Join(out, ", ") + ")"
}

// literal prints a value as a constant without a cast.
func (v PartitionValue) literal(t *types.T) string {
	switch {
	case v.Kind == partition.MinValue:
		return "MINVALUE"
	case v.Kind == partition.MaxValue:
		return "MAXVALUE"
	case v.Null:
		return "NULL"
	}
	digit := v.Text != "" && v.Text[0] >= '0' && v.Text[0] <= '9'
	switch t.BaseType().OID {
	case types.OIDInt4:
		if digit {
			return v.Text
		}
	case types.OIDNumeric:
		if digit && strings.ContainsAny(v.Text, "eE.") {
			return v.Text
		}
	case types.OIDBool:
		if v.Text == "t" {
			return "true"
		}
		return "false"
	}
	return "'" + strings.ReplaceAll(v.Text, "'", "''") + "'"
}

// KeyText prints a partition key as pg_get_partkeydef does; expr prints a stored expression.
func (t *Table) KeyText(expr func(string) string) string {
	word := map[partition.Strategy]string{partition.List: "LIST", partition.Range: "RANGE", partition.Hash: "HASH"}[t.Partitioning.Strategy]
	var out []string
	for _, k := range t.Partitioning.Keys {
		s := ""
		if c := t.ColumnByNum(k.Column); c != nil {
			s = types.QuoteIdent(c.Name)
		} else {
			s = expr(k.Expr)
		}
		if k.Collation != "" && k.Collation != "default" {
			s += " COLLATE " + types.QuoteIdent(k.Collation)
		}
		if k.OpClass != "" {
			s += " " + k.OpClass
		}
		out = append(out, s)
	}
	return word + " (" + strings.Join(out, ", ") + ")"
}
