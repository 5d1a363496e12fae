package pgcatalog

import (
	"strings"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/types"
)

// partitionRows are the relations that partitioned tables and default privileges fill.
var partitionRows = map[string]generator{
	"pg_catalog.pg_inherits":          pgInherits,
	"pg_catalog.pg_partitioned_table": pgPartitionedTable,
	"pg_catalog.pg_default_acl":       pgDefaultACL,
}

func count(is bool) int {
	if is {
		return 1
	}
	return 0
}

// indexKind is the relkind of a table's indexes.
func indexKind(t *catalog.Table) string {
	if t.IsPartitioned() {
		return "I"
	}
	return "i"
}

// boundText is a partition's relpartbound, which here is what pg_get_expr makes of it.
func (g *gen) boundText(t *catalog.Table) any {
	parent := g.snap.TableByID(t.PartOf)
	if parent == nil {
		return nil
	}
	return g.snap.BoundText(parent, t.Bound)
}

// constraintOf is the constraint of an index, 0 if there is none.
func (g *gen) constraintOf(index uint32) uint32 {
	if _, ix := g.snap.IndexByOID(index); ix != nil {
		return ix.Constraint
	}
	return 0
}

func pgInherits(g *gen) error {
	for _, t := range g.snap.Tables() {
		for i, up := range t.Inherits {
			if err := g.row("inhrelid", t.ID, "inhparent", up, "inhseqno", i+1); err != nil {
				return err
			}
		}
		if t.PartOf == 0 {
			continue
		}
		if err := g.row("inhrelid", t.ID, "inhparent", t.PartOf, "inhseqno", 1); err != nil {
			return err
		}
		for _, ix := range visibleIndexes(t) {
			if ix.PartOf == 0 {
				continue
			}
			if err := g.row("inhrelid", ix.OID, "inhparent", ix.PartOf, "inhseqno", 1); err != nil {
				return err
			}
		}
	}
	return nil
}

func pgPartitionedTable(g *gen) error {
	for _, t := range g.snap.Tables() {
		if !t.IsPartitioned() {
			continue
		}
		var attrs []int16
		var class, coll []uint32
		var exprs []string
		for i, k := range t.Partitioning.Keys {
			attrs = append(attrs, k.Column)
			if k.Column == 0 {
				exprs = append(exprs, k.Expr)
			}
			col := uint32(0)
			if info := types.InfoOf(g.snap.KeyTypes(t)[i].OID); info != nil {
				col = uint32(info.Collation)
			}
			class, coll = append(class, 0), append(coll, col)
		}
		deflt := uint32(0)
		for _, id := range t.Partitioning.Children {
			if c := g.snap.TableByID(id); c != nil && c.Bound.Default {
				deflt = id
			}
		}
		var expr any
		if exprs != nil {
			expr = strings.Join(exprs, ", ")
		}
		if err := g.row("partrelid", t.ID, "partstrat", string(rune(t.Partitioning.Strategy)), "partnatts", len(attrs), "partdefid", deflt,
			"partattrs", attrs, "partclass", class, "partcollation", coll, "partexprs", expr); err != nil {
			return err
		}
	}
	return nil
}

func partKeyDef(c *call) (types.Datum, error) {
	t := c.snap.TableByID(c.oid(0))
	if t == nil || !t.IsPartitioned() {
		return types.Null, nil
	}
	return str(t.KeyText(func(e string) string { return keyExpr(c.env, e) }))
}

// keyExpr prints an expression of a key: a function call as it is, anything else in parentheses.
func keyExpr(env *catalog.VirtualEnv, e string) string {
	text := exprText(env, e)
	if i := strings.IndexByte(text, '('); i > 0 && strings.HasSuffix(text, ")") && !strings.ContainsAny(text[:i], " +-*/|<>=:") && withoutParentheses(text[i:]) != text[i:] {
		return text
	}
	return "(" + text + ")"
}

// partitionOf finds what the functions over partition trees are asked about: a table or index that is partitioned or a
// partition. kids and up lead down and up.
type treeNode struct {
	id   uint32
	up   uint32
	kids []uint32
}

func partitionNode(s *catalog.Snapshot, oid uint32) *treeNode {
	if t := s.TableByID(oid); t != nil {
		if !t.IsPartitioned() && t.PartOf == 0 {
			return nil
		}
		n := &treeNode{id: oid, up: t.PartOf}
		for _, p := range s.Partitions(t) {
			n.kids = append(n.kids, p.ID)
		}
		return n
	}
	t, ix := s.IndexByOID(oid)
	if ix == nil || !t.IsPartitioned() && ix.PartOf == 0 {
		return nil
	}
	n := &treeNode{id: oid, up: ix.PartOf}
	for _, p := range s.Partitions(t) {
		for _, o := range p.AllIndexes() {
			if o.PartOf == oid {
				n.kids = append(n.kids, o.OID)
			}
		}
	}
	return n
}

// partitionTree lists a tree level by level, as PostgreSQL does.
func partitionTree(s *catalog.Snapshot, oid uint32) [][]types.Datum {
	type item struct {
		n     *treeNode
		level int
	}
	root := partitionNode(s, oid)
	if root == nil {
		return nil
	}
	var out [][]types.Datum
	for queue := []item{{root, 0}}; len(queue) > 0; queue = queue[1:] {
		it := queue[0]
		up := types.Null
		if it.n.up != 0 {
			up = types.NewInt(int64(it.n.up))
		}
		leaf := true
		if t := s.TableByID(it.n.id); t != nil {
			leaf = !t.IsPartitioned()
		} else if t, _ := s.IndexByOID(it.n.id); t != nil {
			leaf = !t.IsPartitioned()
		}
		out = append(out, []types.Datum{types.NewInt(int64(it.n.id)), up, types.NewBool(leaf), types.NewInt(int64(it.level))})
		for _, k := range it.n.kids {
			if n := partitionNode(s, k); n != nil {
				queue = append(queue, item{n, it.level + 1})
			}
		}
	}
	return out
}

func partitionAncestors(s *catalog.Snapshot, oid uint32) []uint32 {
	var out []uint32
	for n := partitionNode(s, oid); n != nil; n = partitionNode(s, n.up) {
		out = append(out, n.id)
	}
	return out
}

func partitionRoot(c *call) (types.Datum, error) {
	up := partitionAncestors(c.snap, c.oid(0))
	if len(up) == 0 {
		return types.Null, nil
	}
	return types.NewInt(int64(up[len(up)-1])), nil
}

// rowsValue is how a function that returns rows hands them to package builtin: as an array of records.
func rowsValue(rows [][]types.Datum) (types.Datum, error) {
	a := &types.Array{}
	for _, r := range rows {
		a.Elems = append(a.Elems, types.NewTuple(&types.Tuple{Elems: r}))
	}
	return types.NewArray(a), nil
}

func partitionTreeRows(c *call) (types.Datum, error) {
	return rowsValue(partitionTree(c.snap, c.oid(0)))
}

func partitionAncestorRows(c *call) (types.Datum, error) {
	var out [][]types.Datum
	for _, id := range partitionAncestors(c.snap, c.oid(0)) {
		out = append(out, []types.Datum{types.NewInt(int64(id))})
	}
	return rowsValue(out)
}

func pgDefaultACL(g *gen) error {
	if g.snap.Database() == nil {
		return nil
	}
	for _, r := range g.snap.Roles() {
		for i, d := range r.Defaults {
			if d.DB != g.snap.Database().ID {
				continue
			}
			if err := g.row("oid", r.ID<<8|uint32(i)|1<<31, "defaclrole", r.ID, "defaclnamespace", d.Schema, "defaclobjtype", string(rune(d.Kind)),
				"defaclacl", g.aclText(d.ACL)); err != nil {
				return err
			}
		}
	}
	return nil
}
