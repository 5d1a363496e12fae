package ast

// DefineStmt is CREATE AGGREGATE, OPERATOR, TYPE name (...), COLLATION, TEXT SEARCH ....
type DefineStmt struct {
	Object      ObjectType
	Name        []string
	Options     []*DefElem
	IfNotExists bool
	Replace     bool
	// Aggregates: the parameters, none of aggregate(*), unless OldStyle says that the options name them (basetype). Direct
	// is the number of those before ORDER BY, -1 without it.
	Params   []*FuncParam
	Direct   int
	OldStyle bool
}

// AlterOperatorStmt is ALTER OPERATOR ... SET.
type AlterOperatorStmt struct {
	Operator *FuncSig
	Options  []*DefElem
}

// CreateCastStmt is CREATE CAST. Func nil: WITHOUT FUNCTION, or WITH INOUT.
type CreateCastStmt struct {
	Source, Target *TypeName
	Func           *FuncSig
	InOut          bool
	Context        byte // pg_cast's: 'e', 'a', 'i'
}

// CreateEventTriggerStmt is CREATE EVENT TRIGGER. The options are the filter variables of WHEN with their lists of values.
type CreateEventTriggerStmt struct {
	Name   string
	Event  string
	Filter []*DefElem
	Func   []string
}

// AlterEventTriggerStmt is ALTER EVENT TRIGGER ... ENABLE and DISABLE: pg_event_trigger's 'O', 'D', 'R', 'A'.
type AlterEventTriggerStmt struct {
	Name    string
	Enabled byte
}

func (*DefineStmt) stmt()             {}
func (*AlterOperatorStmt) stmt()      {}
func (*CreateCastStmt) stmt()         {}
func (*CreateEventTriggerStmt) stmt() {}
func (*AlterEventTriggerStmt) stmt()  {}

func (s *DefineStmt) Tag() string           { return "CREATE " + string(s.Object) }
func (*AlterOperatorStmt) Tag() string      { return "ALTER OPERATOR" }
func (*CreateCastStmt) Tag() string         { return "CREATE CAST" }
func (*CreateEventTriggerStmt) Tag() string { return "CREATE EVENT TRIGGER" }
func (*AlterEventTriggerStmt) Tag() string  { return "ALTER EVENT TRIGGER" }
