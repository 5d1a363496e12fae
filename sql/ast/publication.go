package ast

// CreatePublicationStmt is CREATE PUBLICATION. Options: publish, publish_via_partition_root.
type CreatePublicationStmt struct {
	Name      string
	AllTables bool
	Objects   []*PublicationObject
	Options   []*DefElem
}

// AlterPublicationStmt is ALTER PUBLICATION with options, or with objects.
type AlterPublicationStmt struct {
	Name    string
	Action  PublicationAction
	Objects []*PublicationObject
	Options []*DefElem
}

// PublicationAction says what ALTER PUBLICATION does with its objects.
type PublicationAction uint8

const (
	PublicationOptions PublicationAction = iota // no objects: SET (options)
	PublicationAdd
	PublicationDrop
	PublicationSet
)

// PublicationObject is a table, with the columns that are published, or a schema.
type PublicationObject struct {
	Table   *RangeVar // nil: a schema
	Columns []string
	Where   Expr
	Schema  string // "" without Table: the first of the search path
	Pos
}

func (*CreatePublicationStmt) stmt() {}
func (*AlterPublicationStmt) stmt()  {}

// Tag is the command tag.
func (*CreatePublicationStmt) Tag() string { return "CREATE PUBLICATION" }

// Tag is the command tag.
func (*AlterPublicationStmt) Tag() string { return "ALTER PUBLICATION" }
