package ast

// Stmt is one SQL statement.
type Stmt interface {
	// Tag is the command tag without counts, such as "SELECT" or "CREATE TABLE".
	Tag() string
	stmt()
}

// Expr is a scalar expression.
type Expr interface {
	// Position is the byte offset of the node in the query string, -1 if unknown.
	Position() int32
	expr()
}

// TableRef is an item of FROM.
type TableRef interface {
	tableRef()
}

// Pos is embedded by nodes that know where they stand in the query string: a byte offset, -1 if unknown.
type Pos struct{ Off int32 }

// Position returns the byte offset, -1 if unknown.
func (p Pos) Position() int32 { return p.Off }

// PgPos turns a byte offset into the value of an error's Position field: one-based, 0 if unknown.
func PgPos(off int32) int32 {
	if off < 0 {
		return 0
	}
	return off + 1
}

// Statement is a parsed statement with its place in the query string.
type Statement struct {
	Stmt Stmt
	// Start and End bound the statement's text in the query string, without the semicolon and without
	// the white space and comments around it.
	Start, End int32
	// NumParams is the largest n of the $n in the statement.
	NumParams int
}

// RangeVar names a table, view, sequence or index, as written. Empty Catalog or Schema: not written.
type RangeVar struct {
	Catalog, Schema, Name string
	Alias                 *Alias
	Only                  bool        // ONLY t: without inheritance children
	Persistence           Persistence // only where a statement creates the relation
	Pos
}

// Persistence says how long a created relation lives.
type Persistence uint8

const (
	Permanent Persistence = iota
	Temporary
	Unlogged
)

// Alias renames a FROM item and its columns.
type Alias struct {
	Name    string
	Columns []string
}

// TypeName is a type as written. Names is the possibly qualified name in PostgreSQL's internal spelling:
// the grammar turns INTEGER into pg_catalog.int4, DOUBLE PRECISION into pg_catalog.float8 and so on, while
// user-written names stay as they are.
type TypeName struct {
	Names   []string
	Setof   bool
	PctType bool    // name%TYPE
	Typmods []Expr  // varchar(10), numeric(10,2), interval day to second(3)
	Bounds  []int32 // one per array dimension, -1 where no bound was given
	Pos
}

// Name returns the last part of the type's name.
func (t *TypeName) Name() string { return t.Names[len(t.Names)-1] }

// IsArray reports whether array dimensions were written.
func (t *TypeName) IsArray() bool { return len(t.Bounds) > 0 }

// DropBehavior is CASCADE or RESTRICT. The default is Restrict.
type DropBehavior uint8

const (
	Restrict DropBehavior = iota
	Cascade
)

// DefElem is one option of a statement whose options are an open list.
type DefElem struct {
	Namespace string
	Name      string
	Arg       *DefArg // nil when the option stands alone
	Action    DefAction
	Pos
}

// DefAction says what ALTER ... OPTIONS does with an option.
type DefAction uint8

const (
	DefUnspecified DefAction = iota
	DefSet
	DefAdd
	DefDrop
)

// DefArgKind says which field of a DefArg is set.
type DefArgKind uint8

const (
	DefString  DefArgKind = iota // Str
	DefInteger                   // Int
	DefFloat                     // Str, the number as written
	DefBool                      // Bool
	DefType                      // Type
	DefList                      // List
	DefExpr                      // Expr
	DefStar                      // an asterisk
	DefNames                     // Names: a qualified name
	DefRole                      // Role
	DefVarSet                    // Set: SET clauses of functions
)

// DefArg is the argument of a DefElem.
type DefArg struct {
	Kind  DefArgKind
	Str   string
	Int   int64
	Bool  bool
	Type  *TypeName
	List  []*DefArg
	Expr  Expr
	Names []string
	Role  *RoleSpec
	Set   *SetStmt
}

// RoleSpec names a role.
type RoleSpec struct {
	Kind RoleKind
	Name string // RoleNamed only
	Pos
}

// RoleKind is the form of a RoleSpec.
type RoleKind uint8

const (
	RoleNamed RoleKind = iota
	RoleCurrentRole
	RoleCurrentUser
	RoleSessionUser
	RolePublic
)

// ObjectType names a kind of database object, in the words of DROP, COMMENT and ALTER.
type ObjectType string

const (
	ObjTable            ObjectType = "TABLE"
	ObjColumn           ObjectType = "COLUMN"
	ObjIndex            ObjectType = "INDEX"
	ObjSequence         ObjectType = "SEQUENCE"
	ObjView             ObjectType = "VIEW"
	ObjMatView          ObjectType = "MATERIALIZED VIEW"
	ObjForeignTable     ObjectType = "FOREIGN TABLE"
	ObjSchema           ObjectType = "SCHEMA"
	ObjDatabase         ObjectType = "DATABASE"
	ObjRole             ObjectType = "ROLE"
	ObjTablespace       ObjectType = "TABLESPACE"
	ObjType             ObjectType = "TYPE"
	ObjAttribute        ObjectType = "ATTRIBUTE"
	ObjDomain           ObjectType = "DOMAIN"
	ObjDomainConstraint ObjectType = "DOMAIN CONSTRAINT"
	ObjTableConstraint  ObjectType = "CONSTRAINT"
	ObjDefault          ObjectType = "DEFAULT"
	ObjFunction         ObjectType = "FUNCTION"
	ObjProcedure        ObjectType = "PROCEDURE"
	ObjRoutine          ObjectType = "ROUTINE"
	ObjAggregate        ObjectType = "AGGREGATE"
	ObjOperator         ObjectType = "OPERATOR"
	ObjOperatorClass    ObjectType = "OPERATOR CLASS"
	ObjOperatorFamily   ObjectType = "OPERATOR FAMILY"
	ObjTrigger          ObjectType = "TRIGGER"
	ObjEventTrigger     ObjectType = "EVENT TRIGGER"
	ObjRule             ObjectType = "RULE"
	ObjPolicy           ObjectType = "POLICY"
	ObjExtension        ObjectType = "EXTENSION"
	ObjLanguage         ObjectType = "LANGUAGE"
	ObjCast             ObjectType = "CAST"
	ObjCollation        ObjectType = "COLLATION"
	ObjConversion       ObjectType = "CONVERSION"
	ObjLargeObject      ObjectType = "LARGE OBJECT"
	ObjPublication      ObjectType = "PUBLICATION"
	ObjSubscription     ObjectType = "SUBSCRIPTION"
	ObjStatistics       ObjectType = "STATISTICS"
	ObjServer           ObjectType = "SERVER"
	ObjFDW              ObjectType = "FOREIGN DATA WRAPPER"
	ObjAccessMethod     ObjectType = "ACCESS METHOD"
	ObjTransform        ObjectType = "TRANSFORM"
	ObjTSConfig         ObjectType = "TEXT SEARCH CONFIGURATION"
	ObjTSDict           ObjectType = "TEXT SEARCH DICTIONARY"
	ObjTSParser         ObjectType = "TEXT SEARCH PARSER"
	ObjTSTemplate       ObjectType = "TEXT SEARCH TEMPLATE"
	ObjUserMapping      ObjectType = "USER MAPPING"
	ObjParameter        ObjectType = "PARAMETER"
)

// FuncSig names a function, aggregate or operator with its argument types.
type FuncSig struct {
	Name            []string
	Args            []*TypeName
	ArgsUnspecified bool // no parentheses were written
	Pos
}
