package pgcatalog

import (
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// LargeObjectPage is the size of the pages of pg_largeobject in bytes, which programs that read it rely on.
const LargeObjectPage = 2048

// LargeObject is a row of pg_largeobject_metadata or, with the page, of pg_largeobject.
type LargeObject struct {
	ID, Owner uint32
	Page      int64
	Data      []byte
}

func init() {
	generatorMaps = append(generatorMaps, map[string]generator{
		"pg_catalog.pg_largeobject":          pgLargeobject,
		"pg_catalog.pg_largeobject_metadata": pgLargeobjectMetadata,
	})
}

func pgLargeobjectMetadata(g *gen) error {
	list := g.providers().LargeObjects
	if list == nil {
		return nil
	}
	return list(g.ctx, false, func(o LargeObject) error { return g.row("oid", o.ID, "lomowner", o.Owner) })
}

func pgLargeobject(g *gen) error {
	list := g.providers().LargeObjects
	if list == nil {
		return nil
	}
	if r := g.snap.RoleByID(g.env.User); r == nil || !r.Super {
		return pgerr.New(pgerr.InsufficientPrivilege, "permission denied for table pg_largeobject")
	}
	return list(g.ctx, true, func(o LargeObject) error {
		return g.row("loid", o.ID, "pageno", o.Page, "data", types.NewBytes(o.Data))
	})
}
