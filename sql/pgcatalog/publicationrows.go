package pgcatalog

import (
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// publicationRows are what is published.
var publicationRows = map[string]generator{
	"pg_catalog.pg_publication":           pgPublication,
	"pg_catalog.pg_publication_rel":       pgPublicationRel,
	"pg_catalog.pg_publication_namespace": pgPublicationNamespace,
	"pg_catalog.pg_publication_tables":    pgPublicationTables,
}

func init() {
	generatorMaps = append(generatorMaps, publicationRows)
	functions["pg_get_publication_tables"] = publicationTables
	functions["pg_get_replica_identity_index"] = replicaIdentityIndex
	functions["pg_relation_is_publishable"] = func(c *call) (types.Datum, error) {
		t := c.snap.TableByID(c.oid(0))
		if t == nil {
			return types.Null, nil
		}
		return boolean(catalog.Publishable(t))
	}
}

func pgPublication(g *gen) error {
	for _, p := range g.snap.Publications() {
		if err := g.row("oid", p.ID, "pubname", p.Name, "pubowner", p.Owner, "puballtables", p.AllTables, "pubinsert", p.Insert,
			"pubupdate", p.Update, "pubdelete", p.Delete, "pubtruncate", p.Truncate, "pubviaroot", false); err != nil {
			return err
		}
	}
	return nil
}

func pgPublicationRel(g *gen) error {
	for _, p := range g.snap.Publications() {
		for _, t := range p.Tables {
			if g.snap.TableByID(t.Table) == nil {
				continue
			}
			var attrs any
			if t.Columns != nil {
				attrs = int2s(t.Columns)
			}
			if err := g.row("oid", t.OID, "prpubid", p.ID, "prrelid", t.Table, "prattrs", attrs); err != nil {
				return err
			}
		}
	}
	return nil
}

func pgPublicationNamespace(g *gen) error {
	for _, p := range g.snap.Publications() {
		for _, s := range p.Schemas {
			if g.snap.SchemaByID(s.Schema) == nil {
				continue
			}
			if err := g.row("oid", s.OID, "pnpubid", p.ID, "pnnspid", s.Schema); err != nil {
				return err
			}
		}
	}
	return nil
}

// publishedColumns are the columns of a table that a publication gives. Generated ones are computed by the subscriber.
func publishedColumns(p catalog.Published) (nums []int16, names []string) {
	for _, c := range p.Table.PublishedColumns(p.Columns) {
		nums, names = append(nums, c.Num), append(names, c.Name)
	}
	return nums, names
}

func pgPublicationTables(g *gen) error {
	for _, p := range g.snap.Publications() {
		for _, pt := range g.snap.PublishedTables(p) {
			_, names := publishedColumns(pt)
			if err := g.row("pubname", p.Name, "schemaname", g.snap.SchemaName(pt.Table.Schema), "tablename", pt.Table.Name, "attnames", names); err != nil {
				return err
			}
		}
	}
	return nil
}

func int2s(nums []int16) types.Datum {
	t := types.ByInternalName("int2vector")
	ds := make([]types.Datum, len(nums))
	for i, n := range nums {
		ds[i] = types.NewInt(int64(n))
	}
	return vector(t, ds)
}

func publicationTables(c *call) (types.Datum, error) {
	p := c.snap.PublicationByName(c.text(0))
	if p == nil {
		return types.Null, pgerr.New(pgerr.UndefinedObject, "publication %q does not exist", c.text(0))
	}
	var rows [][]types.Datum
	for _, pt := range c.snap.PublishedTables(p) {
		nums, _ := publishedColumns(pt)
		rows = append(rows, []types.Datum{types.NewInt(int64(pt.Table.ID)), int2s(nums), types.Null})
	}
	return rowsValue(rows)
}

func replicaIdentityIndex(c *call) (types.Datum, error) {
	if t := c.snap.TableByID(c.oid(0)); t != nil {
		if ix := t.ReplicaIdentityIndex(); ix != nil {
			return types.NewInt(int64(ix.OID)), nil
		}
	}
	return types.Null, nil
}
