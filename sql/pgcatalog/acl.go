package pgcatalog

import (
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// defaultPrivileges are the privileges on an object whose owner has granted and revoked nothing, by the letter
// of its kind: what everybody has, and what the owner has.
var defaultPrivileges = map[string]struct{ public, owner string }{
	"c": {},              // column
	"r": {"", "arwdDxt"}, // relation
	"s": {"", "rwU"},     // sequence
	"d": {"Tc", "CTc"},   // database
	"f": {"X", "X"},      // function
	"l": {"U", "U"},      // language
	"L": {"", "rw"},      // large object
	"n": {"", "UC"},      // schema
	"t": {"", "C"},       // tablespace
	"F": {"", "U"},       // foreign data wrapper
	"S": {"", "U"},       // foreign server
	"T": {"U", "U"},      // type
	"p": {"", "sA"},      // parameter
}

// aclDefault is acldefault(kind, owner). pg_dump compares it with what an object has.
func aclDefault(c *call) (types.Datum, error) {
	p, ok := defaultPrivileges[c.text(0)]
	if !ok {
		return types.Null, pgerr.New(pgerr.InternalError, "unrecognized object type abbreviation: %s", c.text(0))
	}
	owner := aclName(c.snap.RoleName(c.oid(1)))
	items := []types.Datum{}
	if p.public != "" {
		items = append(items, types.NewString("="+p.public+"/"+owner))
	}
	if p.owner != "" {
		items = append(items, types.NewString(owner+"="+p.owner+"/"+owner))
	}
	return types.NewArrayOf(types.Aclitem, items), nil
}

// aclName is a role's name as aclitem writes it.
func aclName(name string) string {
	for _, r := range name {
		if r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
			return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
		}
	}
	return name
}
