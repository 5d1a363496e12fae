package catalog

import (
	"slices"
	"strconv"

	"github.com/meridian-db/meridian/sql/types"
)

// Operator is an operator that a user has made. Functions, operators and types are named by their oids, built-in ones too.
type Operator struct {
	Header
	DB     uint32    `json:"db"`
	Schema uint32    `json:"s"`
	Left   types.OID `json:"l,omitempty"` // 0: a prefix operator
	Right  types.OID `json:"r"`
	Ret    types.OID `json:"ret,omitempty"`
	// Func is 0 for a shell: another operator has named it, it has not been made yet.
	Func       types.OID `json:"f,omitempty"`
	Commutator types.OID `json:"com,omitempty"`
	Negator    types.OID `json:"neg,omitempty"`
	Restrict   types.OID `json:"re,omitempty"`
	Join       types.OID `json:"jo,omitempty"`
	Merges     bool      `json:"me,omitempty"`
	Hashes     bool      `json:"ha,omitempty"`
}

// kindOperator is the storage tag of operators.
const kindOperator descKind = 'o'

// spaceOperator has the operators of a schema: the name goes with the operands' types.
const spaceOperator nameSpace = 'o'

func (*Operator) kind() descKind { return kindOperator }

// Clone returns a copy that may be changed and given to Txn.Put.
func (o *Operator) Clone() *Operator {
	c := *o
	return &c
}

func (o *Operator) key() string {
	return o.Name + "(" + strconv.FormatUint(uint64(o.Left), 10) + "," + strconv.FormatUint(uint64(o.Right), 10) + ")"
}

func (s *state) addOperator(o *Operator) {
	k := functionName{o.Schema, o.Name}
	s.operators[k] = append(slices.Clone(s.operators[k]), o.ID)
}

func (s *state) forgetOperator(o *Operator) {
	k := functionName{o.Schema, o.Name}
	if ids := slices.DeleteFunc(slices.Clone(s.operators[k]), func(id uint32) bool { return id == o.ID }); len(ids) > 0 {
		s.operators[k] = ids
	} else {
		delete(s.operators, k)
	}
}

// OperatorByID returns a user's operator, nil if there is none.
func (s *state) OperatorByID(id uint32) *Operator {
	o, _ := s.byID[id].(*Operator)
	return o
}

// OperatorsNamed lists the operators of a name in a schema of the snapshot's database, shells too.
func (s *Snapshot) OperatorsNamed(schema, name string) []*Operator {
	if len(s.operators) == 0 {
		return nil
	}
	sc := s.SchemaByName(schema)
	if sc == nil {
		return nil
	}
	var out []*Operator
	for _, id := range s.operators[functionName{sc.ID, name}] {
		if o, ok := s.byID[id].(*Operator); ok {
			out = append(out, o)
		}
	}
	return out
}

// Operators lists the operators of the snapshot's database by id.
func (s *Snapshot) Operators() []*Operator {
	if len(s.operators) == 0 {
		return nil
	}
	return sortedByID(s.byID, func(o *Operator) bool { return s.db != nil && o.DB == s.db.ID })
}
