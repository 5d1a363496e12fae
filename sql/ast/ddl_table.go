package ast

// OnCommit is what happens to a temporary table at commit.
type OnCommit uint8

const (
	OnCommitDefault OnCommit = iota
	OnCommitPreserve
	OnCommitDelete
	OnCommitDrop
)

// CreateTableStmt is CREATE TABLE. Table.Persistence tells TEMP and UNLOGGED.
type CreateTableStmt struct {
	Table        *RangeVar
	IfNotExists  bool
	Columns      []*ColumnDef
	Constraints  []*Constraint // table constraints
	Likes        []*LikeClause
	Inherits     []*RangeVar
	OfType       *TypeName
	PartitionBy  *PartitionSpec
	PartitionOf  *RangeVar // with Bound
	Bound        *PartitionBound
	Options      []*DefElem // WITH (..)
	OnCommit     OnCommit
	Tablespace   string
	AccessMethod string
	Foreign      bool // CREATE FOREIGN TABLE
}

// ColumnDef defines a column, in CREATE TABLE, ALTER TABLE and column definition lists.
type ColumnDef struct {
	Name        string
	Type        *TypeName
	Collation   []string
	Constraints []*Constraint // in the order written, attributes (DEFERRABLE) folded in
	Storage     string
	Compression string
	Pos
}

// LikeClause is LIKE table [INCLUDING ...] in CREATE TABLE.
type LikeClause struct {
	Table *RangeVar
	// Including is a set of the Like* bits.
	Including uint32
	// After is the number of columns that stand before the clause.
	After int
}

// Bits of LikeClause.Including.
const (
	LikeComments uint32 = 1 << iota
	LikeCompression
	LikeConstraints
	LikeDefaults
	LikeGenerated
	LikeIdentity
	LikeIndexes
	LikeStatistics
	LikeStorage
)

// ConstraintKind is the kind of a Constraint.
type ConstraintKind uint8

const (
	ConstrNull ConstraintKind = iota
	ConstrNotNull
	ConstrDefault
	ConstrIdentity
	ConstrGenerated
	ConstrCheck
	ConstrPrimary
	ConstrUnique
	ConstrExclusion
	ConstrForeign
)

// FKAction is what a foreign key does when the referenced row changes.
type FKAction uint8

const (
	FKNoAction FKAction = iota
	FKRestrict
	FKCascade
	FKSetNull
	FKSetDefault
)

// FKMatch is the MATCH type of a foreign key.
type FKMatch uint8

const (
	FKMatchSimple FKMatch = iota
	FKMatchFull
	FKMatchPartial
)

// Constraint is a column or table constraint.
type Constraint struct {
	Kind ConstraintKind
	Name string // empty: to be made up

	Expr Expr // ConstrDefault, ConstrCheck, ConstrGenerated

	// ConstrIdentity: Always or by default, with sequence options. ConstrGenerated: Virtual or stored.
	Always  bool
	Virtual bool
	Options []*DefElem // sequence options; WITH (..) of index constraints

	Columns          []string // ConstrPrimary, ConstrUnique, ConstrNotNull; empty in column constraints
	Include          []string
	NullsNotDistinct bool
	UsingIndex       string // ADD PRIMARY KEY USING INDEX
	Tablespace       string
	WithoutOverlaps  bool

	// ConstrExclusion.
	AccessMethod string
	Exclusions   []*Exclusion
	Where        Expr

	// ConstrForeign.
	FKColumns  []string // empty in column constraints
	RefTable   *RangeVar
	RefColumns []string // empty: the primary key
	Match      FKMatch
	OnDelete   FKAction
	OnUpdate   FKAction
	SetColumns []string // ON DELETE SET NULL (columns)

	Deferrable        bool
	InitiallyDeferred bool
	NotValid          bool // NOT VALID
	NoInherit         bool
	NotEnforced       bool
	Pos
}

// Exclusion is one element WITH operator of an EXCLUDE constraint.
type Exclusion struct {
	Elem *IndexElem
	Op   []string
}

// PartitionSpec is PARTITION BY.
type PartitionSpec struct {
	Strategy PartitionStrategy
	Elems    []*IndexElem
	Pos
}

// PartitionStrategy is LIST, RANGE or HASH.
type PartitionStrategy uint8

const (
	PartitionList PartitionStrategy = iota
	PartitionRange
	PartitionHash
)

// PartitionBound is FOR VALUES or DEFAULT.
type PartitionBound struct {
	Strategy           PartitionStrategy
	Default            bool
	Modulus, Remainder int32
	List               []Expr
	Lower, Upper       []PartitionDatum
	Pos
}

// PartitionDatum is one value of a range bound.
type PartitionDatum struct {
	MinValue, MaxValue bool
	Value              Expr
}

// IndexElem is a key of an index, of a partitioning or of an ON CONFLICT target.
type IndexElem struct {
	Name      string // or Expr
	Expr      Expr
	Collation []string
	OpClass   []string
	OpOptions []*DefElem
	Dir       SortDir
	Nulls     NullsOrder
	Pos
}

// CreateIndexStmt is CREATE INDEX.
type CreateIndexStmt struct {
	Name             string // empty: to be made up
	Table            *RangeVar
	AccessMethod     string // "btree" unless written
	Elems            []*IndexElem
	Include          []*IndexElem
	Options          []*DefElem
	Where            Expr
	Tablespace       string
	Unique           bool
	NullsNotDistinct bool
	Concurrently     bool
	IfNotExists      bool
}

// AlterTableStmt is ALTER TABLE and the forms of ALTER INDEX, VIEW, SEQUENCE, ... that share its commands.
type AlterTableStmt struct {
	Object   ObjectType
	Table    *RangeVar
	IfExists bool
	Cmds     []*AlterTableCmd
}

// AlterCmd is the kind of an AlterTableCmd.
type AlterCmd uint8

const (
	AddColumn        AlterCmd = iota + 1 // Column
	DropColumn                           // Name, IfExists, Behavior
	AlterColumnType                      // Name, Column (Type, Collation), Using
	AlterDefault                         // Name, Expr (nil: drop)
	SetNotNull                           // Name
	DropNotNull                          // Name
	SetExpression                        // Name, Expr
	DropExpression                       // Name
	SetStatistics                        // Name or Num, Int
	SetColumnOptions                     // Name, Options
	ResetColumnOptions
	SetStorage     // Name, Str
	SetCompression // Name, Str
	AddIdentity    // Name, Constraint
	SetIdentity    // Name, Options
	DropIdentity   // Name
	AddConstraint  // Constraint
	AlterConstraint
	ValidateConstraint // Name
	DropConstraint     // Name, IfExists, Behavior
	ClusterOn          // Name
	DropCluster
	SetLogged
	SetUnlogged
	SetTablespace   // Name
	SetAccessMethod // Name
	SetRelOptions   // Options
	ResetRelOptions // Options
	AddInherit      // Parent
	DropInherit     // Parent
	AddOf           // Type
	DropOf          //
	DropOids        //
	AlterOwner      // Owner
	EnableTrigger   // Name; empty: ALL; Str: "", "ALWAYS", "REPLICA", "USER"
	DisableTrigger  // Name; empty: ALL
	EnableRule      // Name
	DisableRule     // Name
	EnableRowSecurity
	DisableRowSecurity
	ForceRowSecurity
	NoForceRowSecurity
	ReplicaIdentity  // Str: "DEFAULT", "FULL", "NOTHING", "INDEX" with Name
	AttachPartition  // Parent is the partition, Bound
	DetachPartition  // Parent is the partition, Concurrently
	UnsupportedAlter // Str names it
)

// AlterTableCmd is one command of ALTER TABLE.
type AlterTableCmd struct {
	Kind         AlterCmd
	Name         string
	Num          int16
	Int          int64
	Str          string
	IfExists     bool // IF EXISTS, IF NOT EXISTS for AddColumn
	Behavior     DropBehavior
	Column       *ColumnDef
	Using        Expr
	Expr         Expr
	Constraint   *Constraint
	Options      []*DefElem
	Owner        *RoleSpec
	Parent       *RangeVar
	Bound        *PartitionBound
	Type         *TypeName
	Concurrently bool
}

// CreateTableAsStmt is CREATE TABLE AS and CREATE MATERIALIZED VIEW.
type CreateTableAsStmt struct {
	Object      ObjectType // ObjTable or ObjMatView
	Into        *IntoClause
	Query       Stmt // SelectStmt or ExecuteStmt
	IfNotExists bool
	SelectInto  bool // written as SELECT ... INTO
}

// RefreshStmt is REFRESH MATERIALIZED VIEW.
type RefreshStmt struct {
	View         *RangeVar
	Concurrently bool
	NoData       bool
}

// CreateViewStmt is CREATE VIEW.
type CreateViewStmt struct {
	View        *RangeVar
	Columns     []string
	Query       *SelectStmt
	Replace     bool
	Options     []*DefElem
	CheckOption string // "", "LOCAL", "CASCADED"
}

// TruncateStmt is TRUNCATE.
type TruncateStmt struct {
	Tables      []*RangeVar
	RestartSeqs bool
	Behavior    DropBehavior
}

func (*CreateTableStmt) stmt()   {}
func (*CreateIndexStmt) stmt()   {}
func (*AlterTableStmt) stmt()    {}
func (*CreateTableAsStmt) stmt() {}
func (*RefreshStmt) stmt()       {}
func (*CreateViewStmt) stmt()    {}
func (*TruncateStmt) stmt()      {}

func (s *CreateTableStmt) Tag() string {
	if s.Foreign {
		return "CREATE FOREIGN TABLE"
	}
	return "CREATE TABLE"
}
func (*CreateIndexStmt) Tag() string  { return "CREATE INDEX" }
func (s *AlterTableStmt) Tag() string { return "ALTER " + string(s.Object) }
func (s *CreateTableAsStmt) Tag() string {
	if s.Object == ObjMatView {
		return "CREATE MATERIALIZED VIEW"
	}
	if s.SelectInto {
		return "SELECT INTO"
	}
	return "CREATE TABLE AS"
}
func (*RefreshStmt) Tag() string    { return "REFRESH MATERIALIZED VIEW" }
func (*CreateViewStmt) Tag() string { return "CREATE VIEW" }
func (*TruncateStmt) Tag() string   { return "TRUNCATE TABLE" }
