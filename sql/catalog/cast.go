package catalog

import (
	"strconv"

	"github.com/meridian-db/meridian/sql/types"
)

// Cast is a cast that a user has made. It has no name and no schema; its types and function are named by their oids, built-in
// ones too.
type Cast struct {
	Header
	DB      uint32    `json:"db"`
	Source  types.OID `json:"from"`
	Target  types.OID `json:"to"`
	Func    types.OID `json:"f,omitempty"`
	Context byte      `json:"c"` // pg_cast's: 'e', 'a', 'i'
	Method  byte      `json:"m"` // 'f' function, 'i' by way of the text, 'b' as it is
}

// kindCast is the storage tag of casts.
const kindCast descKind = 'k'

// spaceCast has the casts of a database: the name is made of the types.
const spaceCast nameSpace = 'k'

func (*Cast) kind() descKind { return kindCast }

// Clone returns a copy that may be changed and given to Txn.Put.
func (c *Cast) Clone() *Cast {
	k := *c
	return &k
}

func castName(from, to types.OID) string {
	return strconv.FormatUint(uint64(from), 10) + "," + strconv.FormatUint(uint64(to), 10)
}

// CastBetween returns a user's cast, nil if there is none.
func (s *Snapshot) CastBetween(from, to types.OID) *Cast {
	if s.casts == 0 || s.db == nil {
		return nil
	}
	c, _ := s.byID[s.names[nameKey{spaceCast, s.db.ID, castName(from, to)}]].(*Cast)
	return c
}

// Casts lists the casts of the snapshot's database by id.
func (s *Snapshot) Casts() []*Cast {
	if s.casts == 0 {
		return nil
	}
	return sortedByID(s.byID, func(c *Cast) bool { return s.db != nil && c.DB == s.db.ID })
}
