package catalog

import "github.com/meridian-db/meridian/sql/types"

// Aggregate is what makes a Function an aggregate: a row of pg_aggregate. Functions are named by their oids, built-in ones
// too; 0: none.
type Aggregate struct {
	Kind     byte        `json:"k"` // 'n' normal, 'o' ordered-set, 'h' hypothetical-set
	Direct   int         `json:"dir,omitempty"`
	Trans    types.OID   `json:"t"`
	Final    types.OID   `json:"f,omitempty"`
	Combine  types.OID   `json:"c,omitempty"`
	Serial   types.OID   `json:"se,omitempty"`
	Deserial types.OID   `json:"de,omitempty"`
	SortOp   types.OID   `json:"so,omitempty"`
	Stage    AggregateBy `json:"p"`          // by adding values only
	Moving   AggregateBy `json:"m,omitzero"` // by taking them back too
	// MTrans, MInv and MFinal are the functions of moving-aggregate mode.
	MTrans types.OID `json:"mt,omitempty"`
	MInv   types.OID `json:"mi,omitempty"`
	MFinal types.OID `json:"mf,omitempty"`
}

// AggregateBy is what both modes of an aggregate have.
type AggregateBy struct {
	State  TypeRef `json:"st,omitzero"`
	Space  int32   `json:"sp,omitempty"`
	Init   *string `json:"i,omitempty"` // nil: NULL
	Extra  bool    `json:"x,omitempty"` // the final function takes the arguments' types too
	Modify byte    `json:"mod"`         // what the final function does to the state: 'r', 's', 'w'
}

// Functions lists the functions that the aggregate is made of.
func (a *Aggregate) Functions() []types.OID {
	var out []types.OID
	for _, id := range []types.OID{a.Trans, a.Final, a.Combine, a.Serial, a.Deserial, a.MTrans, a.MInv, a.MFinal} {
		if id != 0 {
			out = append(out, id)
		}
	}
	return out
}
