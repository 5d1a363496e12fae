package catalog

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/types"
)

// Descriptor is an object of the catalog as it is stored. Descriptors are immutable once they are part of a
// Snapshot; a change makes a new one with the same ID and a greater Version.
type Descriptor interface {
	// DescID is the object's id, unique in the cluster over all kinds: PostgreSQL's oid.
	DescID() uint32
	// DescVersion is the catalog version at which the object was last changed.
	DescVersion() uint64
	kind() descKind
	setVersion(v uint64)
}

// Header is the part that all descriptors share.
type Header struct {
	ID      uint32 `json:"id"`
	Version uint64 `json:"v,omitempty"`
	Name    string `json:"n"`
	Owner   uint32 `json:"own,omitempty"` // role
	Comment string `json:"c,omitempty"`
	ACL     []ACL  `json:"acl,omitempty"` // nil: the default for the kind of object
}

func (h *Header) DescID() uint32      { return h.ID }
func (h *Header) DescVersion() uint64 { return h.Version }
func (h *Header) setVersion(v uint64) { h.Version = v }

// ACL is what one role may do. Privs and Grantable hold PostgreSQL's letters, such as "arwd".
type ACL struct {
	Role      uint32 `json:"r"` // 0: PUBLIC
	Privs     string `json:"p"`
	Grantable string `json:"g,omitempty"`
	Grantor   uint32 `json:"by"`
}

// Database is a database.
type Database struct {
	Header
	AllowConn  bool        `json:"conn"`
	IsTemplate bool        `json:"tmpl,omitempty"`
	ConnLimit  int32       `json:"limit"`
	Settings   []Setting   `json:"set,omitempty"`
	Tablespace uint32      `json:"ts,omitempty"` // of objects that name none; 0: pg_default
	Extensions []Extension `json:"ext,omitempty"`
}

// Setting is a default from ALTER DATABASE or ALTER ROLE ... SET.
type Setting struct {
	DB    uint32 `json:"db,omitempty"` // of a role's setting: the database it is for, 0 for all
	Name  string `json:"n"`
	Value string `json:"v"`
}

// Schema is a schema. DB is 0 for the built-in ones, which every database has.
type Schema struct {
	Header
	DB uint32 `json:"db"`
}

// monitors reports whether ALTER ROLE ... SET meridian.monitor lets the role see what the sessions of others do.
func (r *Role) monitors() bool {
	for _, s := range r.Settings {
		if s.Name == "meridian.monitor" {
			switch strings.ToLower(s.Value) {
			case "on", "true", "yes", "1":
				return true
			}
		}
	}
	return false
}

// Role is a role. Roles belong to the cluster.
type Role struct {
	Header
	Super       bool         `json:"su,omitempty"`
	CreateDB    bool         `json:"cdb,omitempty"`
	CreateRole  bool         `json:"cr,omitempty"`
	Inherit     bool         `json:"inh,omitempty"`
	Login       bool         `json:"login,omitempty"`
	Replication bool         `json:"repl,omitempty"`
	BypassRLS   bool         `json:"rls,omitempty"`
	ConnLimit   int32        `json:"limit"`
	ValidUntil  string       `json:"until,omitempty"`
	Verifier    string       `json:"pw,omitempty"` // SCRAM-SHA-256$iterations:salt$storedkey:serverkey
	MemberOf    []Membership `json:"mem,omitempty"`
	Settings    []Setting    `json:"set,omitempty"`
	// Defaults are ALTER DEFAULT PRIVILEGES for objects that the role makes.
	Defaults []DefaultPrivileges `json:"def,omitempty"`
}

// DefaultPrivileges are the privileges on new objects of a kind (pg_default_acl.defaclobjtype). With Schema 0 they take
// the place of the built-in ones, otherwise they come on top in that schema.
type DefaultPrivileges struct {
	DB     uint32 `json:"db"`
	Schema uint32 `json:"s,omitempty"`
	Kind   byte   `json:"k"`
	ACL    []ACL  `json:"acl"`
}

// Membership is a role that a role is in.
type Membership struct {
	Role    uint32 `json:"r"`
	Admin   bool   `json:"a,omitempty"`
	Grantor uint32 `json:"by,omitempty"`
}

// Tablespace is a named placement.
type Tablespace struct {
	Header
	Options []string `json:"opt,omitempty"` // name=value
}

// TypeRef is a type as descriptors store it.
type TypeRef struct {
	OID    types.OID `json:"o"`
	Typmod int32     `json:"m"` // -1: none
}

// Type is a user-defined type. Every type has an array type, whose id is Array.
type Type struct {
	Header
	DB     uint32 `json:"db"`
	Schema uint32 `json:"s"`
	Array  uint32 `json:"arr"`
	// Class is 'e' enum, 'd' domain, 'c' composite, 'r' range, 'm' multirange, or 'b' for a type that an extension has brought:
	// one like text in which case does not count or, with Like, another.
	Class  byte        `json:"cl"`
	Labels []EnumLabel `json:"lab,omitempty"`
	// Base is the type under a domain, the type of a range's bounds, and the range type of a multirange type.
	Base TypeRef `json:"base,omitzero"`
	// Ranges: the multirange type, which is dropped with the range, and the function for subtype_diff.
	Multirange  uint32    `json:"mr,omitempty"`
	SubtypeDiff types.OID `json:"sd,omitempty"`
	Collation   types.OID `json:"col,omitempty"`
	// Domains.
	NotNull bool     `json:"nn,omitempty"`
	Default string   `json:"def,omitempty"`
	Checks  []*Check `json:"chk,omitempty"`
	// Composite types.
	Fields []CompositeField `json:"f,omitempty"`
	// Extension is the extension that the type is a part of, 0 if none. Like is the type that it is alike of those that this package
	// knows: LikeHstore.
	Extension uint32 `json:"ext,omitempty"`
	Like      string `json:"like,omitempty"`

	t, arr *types.T // made when the snapshot is
}

// LikeHstore is the Type.Like of the extension hstore's type.
const LikeHstore = "hstore"

// What becomes of a temporary table when a transaction of its session commits (Table.OnCommit).
const (
	OnCommitDelete = 'd' // its rows go
	OnCommitDrop   = 'x'
)

// EnumLabel is one value of an enum. Labels are kept in their order.
type EnumLabel struct {
	OID   uint32  `json:"o"`
	Label string  `json:"l"`
	Order float32 `json:"n,omitempty"` // see Type.LabelOrder
}

// LabelOrder returns the sort order of an enum's labels, which keys are made of; nil stands for 1, 2, 3, ... Labels that were put
// between others while an index held the type have an order between theirs, and then all labels have their own.
func (t *Type) LabelOrder() []float32 {
	if !slices.ContainsFunc(t.Labels, func(l EnumLabel) bool { return l.Order != 0 }) {
		return nil
	}
	out := make([]float32, len(t.Labels))
	for i, l := range t.Labels {
		out[i] = l.Order
	}
	return out
}

// CompositeField is an attribute of a composite type.
type CompositeField struct {
	Name string  `json:"n"`
	Type TypeRef `json:"t"`
}

// RelKind is pg_class.relkind.
type RelKind byte

const (
	RelTable       RelKind = 'r'
	RelIndex       RelKind = 'i'
	RelSequence    RelKind = 'S'
	RelView        RelKind = 'v'
	RelMatView     RelKind = 'm'
	RelComposite   RelKind = 'c'
	RelPartitioned RelKind = 'p'
)

// Table is a relation with columns: a table, view, materialized view or sequence. Its indexes and
// constraints are part of it.
type Table struct {
	Header
	DB          uint32  `json:"db"`
	Schema      uint32  `json:"s"`
	Kind        RelKind `json:"k"`
	Persistence byte    `json:"p,omitempty"` // 'p' permanent, 't' temporary, 'u' unlogged

	Columns []*Column `json:"col,omitempty"` // in attnum order, dropped ones included
	// Primary is the index that holds the rows: of the primary key, or of the hidden rowid column.
	Primary     *Index        `json:"pk,omitempty"`
	Indexes     []*Index      `json:"idx,omitempty"` // secondary ones
	Checks      []*Check      `json:"chk,omitempty"`
	FKs         []*ForeignKey `json:"fk,omitempty"`
	Inbound     []InboundFK   `json:"in,omitempty"` // foreign keys of other tables, and own ones, that point here
	NextIndexID uint16        `json:"nidx,omitempty"`

	// Views. Query is the canonical text; Path the search path under which its names resolve.
	Query string   `json:"q,omitempty"`
	Path  []string `json:"path,omitempty"`
	// DependsOn are the relations that the view's query, or a default, refers to.
	DependsOn []uint32 `json:"dep,omitempty"`
	Populated bool     `json:"pop,omitempty"` // materialized views

	Sequence *Sequence `json:"seq,omitempty"`

	// Storage is the id under which the rows are stored. It is the table's own id until TRUNCATE or a
	// rewrite gives the table new storage.
	Storage uint32 `json:"st,omitempty"`
	// Truncations counts TRUNCATE, which replication tells from a rewrite by it.
	Truncations uint32   `json:"trn,omitempty"`
	Options     []string `json:"opt,omitempty"` // reloptions, name=value
	Tablespace  uint32   `json:"ts,omitempty"`
	RowType     uint32   `json:"rt,omitempty"`  // id of the row type
	RowArray    uint32   `json:"rta,omitempty"` // and of the array over it
	OnCommit    byte     `json:"oc,omitempty"`  // of temporary tables: OnCommitDelete, OnCommitDrop or 0
	ReplIdent   byte     `json:"ri,omitempty"`

	// Partitioning is set for partitioned tables; PartOf and Bound for partitions, which may be partitioned too.
	Partitioning *Partitioning   `json:"part,omitempty"`
	PartOf       uint32          `json:"po,omitempty"`
	Bound        *PartitionBound `json:"bd,omitempty"`

	// Inherits are the tables that this one inherits from, in the order of their names in CREATE TABLE; Heirs those that
	// inherit from it directly.
	Inherits []uint32 `json:"inhs,omitempty"`
	Heirs    []uint32 `json:"hrs,omitempty"`

	// OfType is the composite type that the table was made from, which its columns follow; 0 if none.
	OfType uint32 `json:"of,omitempty"`

	Triggers []*Trigger `json:"tg,omitempty"`
	Rules    []*Rule    `json:"rul,omitempty"` // by name, but for that of a view's query

	// RowSecurity says that the policies apply, ForceRowSecurity that they do to the owner too.
	RowSecurity      bool      `json:"rls,omitempty"`
	ForceRowSecurity bool      `json:"frls,omitempty"`
	Policies         []*Policy `json:"pol,omitempty"` // by name

	// Rewriting is set while the rows are written anew, in another shape, with the table in use.
	Rewriting *Rewriting `json:"rw,omitempty"`

	Virtual *Virtual `json:"-"` // rows come from a generator
}

// Column is a column. Num is its attnum, never reused, and tags its value in stored rows.
type Column struct {
	Num       int16   `json:"i"`
	Name      string  `json:"n"`
	Type      TypeRef `json:"t"`
	Collation string  `json:"col,omitempty"`
	NotNull   bool    `json:"nn,omitempty"`
	Default   string  `json:"d,omitempty"` // SQL text
	// Identity is 'a' for ALWAYS, 'd' for BY DEFAULT. Sequence is the sequence behind an identity or
	// serial column.
	Identity  byte   `json:"id,omitempty"`
	Sequence  uint32 `json:"seq,omitempty"`
	Generated string `json:"g,omitempty"` // SQL text of a stored generated column
	Hidden    bool   `json:"h,omitempty"` // rowid: not part of *
	Dropped   bool   `json:"x,omitempty"`
	Comment   string `json:"c,omitempty"`
	StatTgt   int32  `json:"sta,omitempty"`
	Storage   string `json:"sto,omitempty"`
	// Inherited: the table is a partition, or inherits, and its parent has the column. Parents is how many parents do,
	// if more than one; Local: its own definition has it too.
	Inherited bool  `json:"inh,omitempty"`
	Parents   int   `json:"ip,omitempty"`
	Local     bool  `json:"loc,omitempty"`
	ACL       []ACL `json:"acl,omitempty"`
	// Missing is the value, as package rowenc stores it under column id 1, of rows written before the column was added;
	// empty: NULL. A rewrite of the rows does away with it.
	Missing []byte `json:"mis,omitempty"`

	T *types.T `json:"-"` // Type resolved
}

// Drop leaves of a column what tells that its number is taken: rows may still have its values.
func (c *Column) Drop() {
	*c = Column{Num: c.Num, Name: "........pg.dropped." + strconv.Itoa(int(c.Num)) + "........", Type: c.Type, T: c.T, Dropped: true}
}

// IndexState is how far an index is.
type IndexState uint8

const (
	IndexPublic    IndexState = iota // read and written
	IndexWriteOnly                   // maintained by writes, not read: being built
)

// Index is an index, with the constraint it implements.
type Index struct {
	OID              uint32     `json:"o"`
	ID               uint16     `json:"i"` // in the table's key space
	Name             string     `json:"n"`
	Primary          bool       `json:"pk,omitempty"`
	Unique           bool       `json:"u,omitempty"`
	NullsNotDistinct bool       `json:"nnd,omitempty"`
	Keys             []IndexKey `json:"k"`
	Include          []int16    `json:"inc,omitempty"`
	Where            string     `json:"w,omitempty"`
	State            IndexState `json:"st,omitempty"`
	// Constraint is the oid of the primary key or unique constraint, 0 for a plain index. The
	// constraint has the index's name.
	Constraint        uint32   `json:"con,omitempty"`
	ConstraintComment string   `json:"cc,omitempty"`
	Deferrable        bool     `json:"def,omitempty"`
	InitDeferred      bool     `json:"idef,omitempty"`
	Comment           string   `json:"c,omitempty"`
	Options           []string `json:"opt,omitempty"`
	Tablespace        uint32   `json:"ts,omitempty"`
	Clustered         bool     `json:"cl,omitempty"`
	ReplIdent         bool     `json:"ri,omitempty"`
	Method            string   `json:"m,omitempty"` // as written: "btree", "hash", ...; "" is btree
	Hidden            bool     `json:"h,omitempty"` // on rowid
	// Exclude are the operators of an exclusion constraint, one for each key.
	Exclude []string `json:"ex,omitempty"`
	// PartOf is the oid of the partitioned table's index that this one is a part of; Only says that an index of a
	// partitioned table was made ON ONLY it, and is not valid until every partition has one attached.
	PartOf uint32 `json:"po,omitempty"`
	Only   bool   `json:"only,omitempty"`
}

// Inverted reports whether the index's entries are terms of its keys.
func (ix *Index) Inverted() bool { return ix.Method == "gin" }

// IndexKey is one part of an index key.
type IndexKey struct {
	Column     int16   `json:"a,omitempty"` // 0: Expr
	Expr       string  `json:"e,omitempty"`
	Type       TypeRef `json:"t,omitzero"` // of an expression
	Desc       bool    `json:"d,omitempty"`
	NullsFirst bool    `json:"nf,omitempty"`
	OpClass    string  `json:"oc,omitempty"`
	Collation  string  `json:"col,omitempty"`

	T *types.T `json:"-"` // Type resolved; of a column, the column's
}

// Check is a CHECK constraint of a table or domain.
type Check struct {
	OID       uint32  `json:"o"`
	Name      string  `json:"n"`
	Expr      string  `json:"e"`
	Columns   []int16 `json:"a,omitempty"` // that Expr mentions
	NoInherit bool    `json:"ni,omitempty"`
	NotValid  bool    `json:"nv,omitempty"`
	Comment   string  `json:"c,omitempty"`
	// Inherited: the parent of a partition, or of an heir, has it too. Parents and Local as in Column.
	Inherited bool `json:"inh,omitempty"`
	Parents   int  `json:"ip,omitempty"`
	Local     bool `json:"loc,omitempty"`
	// NotNull is the column for which the constraint stands in until the rows are known to be NOT NULL.
	NotNull int16 `json:"nnc,omitempty"`
}

// FK actions, as pg_constraint has them.
const (
	FKNoAction   = 'a'
	FKRestrict   = 'r'
	FKCascade    = 'c'
	FKSetNull    = 'n'
	FKSetDefault = 'd'
)

// ForeignKey is a foreign key of the table that holds it.
type ForeignKey struct {
	OID          uint32  `json:"o"`
	Name         string  `json:"n"`
	Columns      []int16 `json:"a"`
	RefTable     uint32  `json:"rt"`
	RefColumns   []int16 `json:"ra"`
	RefIndex     uint32  `json:"ri"` // oid of the unique index relied upon
	OnDelete     byte    `json:"d"`
	OnUpdate     byte    `json:"u"`
	SetColumns   []int16 `json:"set,omitempty"`
	MatchFull    bool    `json:"full,omitempty"`
	Deferrable   bool    `json:"def,omitempty"`
	InitDeferred bool    `json:"idef,omitempty"`
	NotValid     bool    `json:"nv,omitempty"`
	Comment      string  `json:"c,omitempty"`
	// PartOf is the oid of the partitioned table's constraint that this one is a part of. The table it points at
	// knows of the partitioned table's only.
	PartOf uint32 `json:"po,omitempty"`
}

// InboundFK names a foreign key that points at the table holding it.
type InboundFK struct {
	Table      uint32 `json:"t"`
	Constraint uint32 `json:"c"`
}

// Sequence is the definition of a sequence. Its state is elsewhere (SequenceKey).
type Sequence struct {
	Type      types.OID `json:"t"`
	Start     int64     `json:"s"`
	Increment int64     `json:"i"`
	Min       int64     `json:"min"`
	Max       int64     `json:"max"`
	Cache     int64     `json:"c"`
	Cycle     bool      `json:"cyc,omitempty"`
	// OwnerTable and OwnerColumn are set by OWNED BY, serial and identity.
	OwnerTable  uint32 `json:"ot,omitempty"`
	OwnerColumn int16  `json:"oc,omitempty"`
	Identity    bool   `json:"id,omitempty"`
	// State is the id of the sequence's state (SequenceKey). RESTART gives the sequence a new one, which
	// begins at Restart, so that it is undone with the transaction.
	State   uint32 `json:"sid"`
	Restart int64  `json:"r"`
}

// Virtual generates the rows of a relation that is not stored.
type Virtual struct {
	Rows func(ctx context.Context, env *VirtualEnv, emit func([]types.Datum) error) error
}

// VirtualEnv is what a virtual table may see.
type VirtualEnv struct {
	Snapshot *Snapshot
	// User is the current role's id.
	User uint32
	// SearchPath is the effective one.
	SearchPath []string
	// Providers is what the server offers to meridian.* and pg_stat_*; package pgcatalog declares it.
	Providers any
}

func (*Database) kind() descKind   { return kindDatabase }
func (*Schema) kind() descKind     { return kindSchema }
func (*Role) kind() descKind       { return kindRole }
func (*Tablespace) kind() descKind { return kindTablespace }
func (*Type) kind() descKind       { return kindType }
func (*Table) kind() descKind      { return kindTable }

// descKind tells descriptors apart in storage.
type descKind byte

const (
	kindDatabase    descKind = 'd'
	kindSchema      descKind = 's'
	kindRole        descKind = 'r'
	kindTablespace  descKind = 'p'
	kindType        descKind = 't'
	kindTable       descKind = 'c'
	kindPublication descKind = 'u'
)

// Column returns the live column of that name, nil if there is none.
func (t *Table) Column(name string) *Column {
	for _, c := range t.Columns {
		if c.Name == name && !c.Dropped {
			return c
		}
	}
	return nil
}

// ColumnByNum returns the column with that attnum, dropped or not, nil if there is none.
func (t *Table) ColumnByNum(num int16) *Column {
	if num >= 1 && int(num) <= len(t.Columns) {
		return t.Columns[num-1]
	}
	return nil
}

// AllIndexes returns the primary index and the secondary ones.
func (t *Table) AllIndexes() []*Index {
	out := make([]*Index, 0, 1+len(t.Indexes))
	if t.Primary != nil {
		out = append(out, t.Primary)
	}
	return append(out, t.Indexes...)
}

// PrimaryKey returns the primary key's index, nil if the table has none.
func (t *Table) PrimaryKey() *Index {
	if t.Primary != nil && t.Primary.Primary {
		return t.Primary
	}
	for _, ix := range t.Indexes {
		if ix.Primary {
			return ix
		}
	}
	return nil
}

// StorageID is the id under which the table's rows are stored.
func (t *Table) StorageID() uint32 {
	if t.Storage != 0 {
		return t.Storage
	}
	return t.ID
}

// IsTable reports whether rows can be stored in t.
func (t *Table) IsTable() bool {
	return t.Virtual == nil && (t.Kind == RelTable || t.Kind == RelMatView || t.Kind == RelPartitioned)
}

// T returns the type as the rest of SQL uses it; Array the array type over it.
func (t *Type) T() *types.T      { return t.t }
func (t *Type) ArrayT() *types.T { return t.arr }

// Clone returns a copy that may be changed and given to Txn.Put.
func (t *Table) Clone() *Table {
	c := *t
	c.Columns = cloneAll(t.Columns)
	c.Indexes = cloneAll(t.Indexes)
	c.Checks = cloneAll(t.Checks)
	c.FKs = cloneAll(t.FKs)
	c.Triggers = cloneAll(t.Triggers)
	c.Policies = cloneAll(t.Policies)
	c.Rules = cloneAll(t.Rules)
	c.Inbound = append([]InboundFK(nil), t.Inbound...)
	c.ACL = append([]ACL(nil), t.ACL...)
	c.DependsOn = append([]uint32(nil), t.DependsOn...)
	c.Options = append([]string(nil), t.Options...)
	c.Partitioning = t.Partitioning.clone()
	c.Inherits = append([]uint32(nil), t.Inherits...)
	c.Heirs = append([]uint32(nil), t.Heirs...)
	c.Rewriting = t.Rewriting.clone()
	if t.Primary != nil {
		p := *t.Primary
		c.Primary = &p
	}
	if t.Sequence != nil {
		s := *t.Sequence
		c.Sequence = &s
	}
	for _, ix := range c.AllIndexes() {
		ix.Keys = append([]IndexKey(nil), ix.Keys...)
	}
	return &c
}

func cloneAll[T any](in []*T) []*T {
	var out []*T
	for _, p := range in {
		c := *p
		out = append(out, &c)
	}
	return out
}
