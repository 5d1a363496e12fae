package ast

// CreateDatabaseStmt is CREATE DATABASE.
type CreateDatabaseStmt struct {
	Name    string
	Options []*DefElem
}

// AlterDatabaseStmt is ALTER DATABASE name WITH options, or SET when Set is not nil.
type AlterDatabaseStmt struct {
	Name    string
	Options []*DefElem
	Set     *SetStmt
}

// DropDatabaseStmt is DROP DATABASE.
type DropDatabaseStmt struct {
	Name     string
	IfExists bool
	Force    bool
}

// CreateSchemaStmt is CREATE SCHEMA with the statements it contains.
type CreateSchemaStmt struct {
	Name        string // empty: AUTHORIZATION's role
	Owner       *RoleSpec
	IfNotExists bool
	Elements    []Stmt
}

// CreateSequenceStmt is CREATE SEQUENCE. Options: increment, start, minvalue, maxvalue (no Arg: NO ..),
// cache, cycle (DefBool), owned_by (DefNames), as (DefType), restart.
type CreateSequenceStmt struct {
	Sequence    *RangeVar
	Options     []*DefElem
	IfNotExists bool
}

// AlterSequenceStmt is ALTER SEQUENCE with options.
type AlterSequenceStmt struct {
	Sequence *RangeVar
	Options  []*DefElem
	IfExists bool
}

// CreateEnumStmt is CREATE TYPE AS ENUM.
type CreateEnumStmt struct {
	Name   []string
	Labels []string
}

// AlterEnumStmt is ALTER TYPE ADD VALUE (Old empty) or RENAME VALUE.
type AlterEnumStmt struct {
	Name        []string
	Old, New    string
	Neighbor    string
	After       bool
	IfNotExists bool
}

// CreateCompositeStmt is CREATE TYPE AS (...).
type CreateCompositeStmt struct {
	Type    *RangeVar
	Columns []*ColumnDef
}

// CreateRangeStmt is CREATE TYPE AS RANGE.
type CreateRangeStmt struct {
	Name    []string
	Options []*DefElem
}

// CreateDomainStmt is CREATE DOMAIN.
type CreateDomainStmt struct {
	Name        []string
	Type        *TypeName
	Collation   []string
	Constraints []*Constraint
}

// AlterDomainCmd is the kind of an AlterDomainStmt.
type AlterDomainCmd uint8

const (
	DomainSetDefault AlterDomainCmd = iota // Expr, nil: drop
	DomainSetNotNull
	DomainDropNotNull
	DomainAddConstraint
	DomainDropConstraint
	DomainValidateConstraint
)

// AlterDomainStmt is ALTER DOMAIN.
type AlterDomainStmt struct {
	Name           []string
	Cmd            AlterDomainCmd
	Expr           Expr
	Constraint     *Constraint
	ConstraintName string
	IfExists       bool
	Behavior       DropBehavior
}

// CreateRoleStmt is CREATE ROLE, USER or GROUP. Options: password, superuser, createdb, createrole,
// isreplication, inherit, canlogin, bypassrls (DefBool), connectionlimit (DefInteger), validUntil,
// addroleto, rolemembers, adminmembers (DefList of DefRole).
type CreateRoleStmt struct {
	Kind    string // "ROLE", "USER", "GROUP"
	Name    string
	Options []*DefElem
}

// AlterRoleStmt is ALTER ROLE name WITH options, or adding and dropping members (ALTER GROUP).
type AlterRoleStmt struct {
	Role    *RoleSpec
	Options []*DefElem
	Drop    bool // ALTER GROUP DROP USER
}

// AlterRoleSetStmt is ALTER ROLE name [IN DATABASE db] SET. Role nil: ALL.
type AlterRoleSetStmt struct {
	Role     *RoleSpec
	Database string
	Set      *SetStmt
}

// DropRoleStmt is DROP ROLE.
type DropRoleStmt struct {
	Roles    []*RoleSpec
	IfExists bool
}

// CreateTablespaceStmt is CREATE TABLESPACE.
type CreateTablespaceStmt struct {
	Name     string
	Owner    *RoleSpec
	Location string
	Options  []*DefElem
}

// AlterTablespaceStmt is ALTER TABLESPACE SET or RESET.
type AlterTablespaceStmt struct {
	Name    string
	Options []*DefElem
	Reset   bool
}

// MoveAllStmt is ALTER TABLE, INDEX or MATERIALIZED VIEW ALL IN TABLESPACE .. SET TABLESPACE.
type MoveAllStmt struct {
	Object   ObjectType
	From, To string
	Owners   []*RoleSpec // OWNED BY; nil: anyone's
}

// DropTablespaceStmt is DROP TABLESPACE.
type DropTablespaceStmt struct {
	Name     string
	IfExists bool
}

// CreateExtensionStmt is CREATE EXTENSION.
type CreateExtensionStmt struct {
	Name        string
	IfNotExists bool
	Options     []*DefElem
}

// AlterExtensionStmt is ALTER EXTENSION UPDATE.
type AlterExtensionStmt struct {
	Name    string
	Options []*DefElem
}

// CreatePolicyStmt is CREATE POLICY. Cmd is in lower case, "all" without FOR.
type CreatePolicyStmt struct {
	Name        string
	Table       *RangeVar
	Restrictive bool
	Cmd         string
	Roles       []*RoleSpec
	Using       Expr // nil: none
	Check       Expr
}

// CreateRuleStmt is CREATE RULE. Event is "SELECT", "INSERT", "UPDATE" or "DELETE"; no Actions: NOTHING.
type CreateRuleStmt struct {
	Name    string
	Table   *RangeVar
	Event   string
	Where   Expr // nil: none
	Instead bool
	Replace bool
	Actions []Stmt
}

// AlterPolicyStmt is ALTER POLICY; what is nil stays as it is.
type AlterPolicyStmt struct {
	Name  string
	Table *RangeVar
	Roles []*RoleSpec
	Using Expr
	Check Expr
}

// ParamMode is the mode of a function parameter.
type ParamMode uint8

const (
	ParamIn ParamMode = iota
	ParamOut
	ParamInOut
	ParamVariadic
	ParamTable
)

// FuncParam is a parameter of CREATE FUNCTION.
type FuncParam struct {
	Name    string
	Type    *TypeName
	Mode    ParamMode
	Default Expr
	Pos
}

// CreateFunctionStmt is CREATE FUNCTION or PROCEDURE. Options: as (DefList of one or two strings),
// language, volatility, strict, security, leakproof, parallel, cost, rows, set, support, transform, window.
type CreateFunctionStmt struct {
	Procedure bool
	Replace   bool
	Name      []string
	Params    []*FuncParam
	Returns   *TypeName // nil: from the OUT parameters, or a procedure
	Options   []*DefElem
	Body      []Stmt // BEGIN ATOMIC ... END, or RETURN expr as one ReturnStmt
}

// ReturnStmt is RETURN expr as the body of a function.
type ReturnStmt struct{ Expr Expr }

// AlterFunctionStmt is ALTER FUNCTION with options.
type AlterFunctionStmt struct {
	Object  ObjectType
	Func    *FuncSig
	Options []*DefElem
}

// TriggerTiming is BEFORE, AFTER or INSTEAD OF.
type TriggerTiming uint8

const (
	TriggerAfter TriggerTiming = iota
	TriggerBefore
	TriggerInsteadOf
)

// Bits of CreateTriggerStmt.Events.
const (
	OnInsert uint8 = 1 << iota
	OnDelete
	OnUpdate
	OnTruncate
)

// CreateTriggerStmt is CREATE TRIGGER.
type CreateTriggerStmt struct {
	Replace           bool
	Constraint        bool
	Name              string
	Table             *RangeVar
	Func              []string
	Args              []string
	Row               bool
	Timing            TriggerTiming
	Events            uint8
	Columns           []string
	When              Expr
	OldTable          string
	NewTable          string
	Deferrable        bool
	InitiallyDeferred bool
	RefTable          *RangeVar
}

// ObjectName is the object of DROP, COMMENT, RENAME and their kin; which field is set depends on its type.
type ObjectName struct {
	Names []string  // a possibly qualified name; for columns, constraints, triggers the relation's first
	Func  *FuncSig  // functions, aggregates, operators
	Type  *TypeName // types and domains (also Names when plain), the source of casts
	To    *TypeName // the target of casts
	Pos
}

// DropStmt is DROP for every object named by qualified names or signatures.
type DropStmt struct {
	Object       ObjectType
	Objects      []*ObjectName
	IfExists     bool
	Behavior     DropBehavior
	Concurrently bool
}

// RenameStmt is ALTER ... RENAME. Relation is set for relations and things inside them; Object otherwise.
type RenameStmt struct {
	Object   ObjectType // what is renamed
	Relation ObjectType // the word after ALTER, where Object is something inside: ALTER VIEW .. RENAME COLUMN
	Table    *RangeVar
	Name     *ObjectName
	Sub      string // the column, constraint, trigger, attribute
	New      string
	IfExists bool
	Behavior DropBehavior
}

// AlterSchemaStmt is ALTER ... SET SCHEMA.
type AlterSchemaStmt struct {
	Object   ObjectType
	Table    *RangeVar
	Name     *ObjectName
	Schema   string
	IfExists bool
}

// AlterOwnerStmt is ALTER ... OWNER TO for objects that are not relations.
type AlterOwnerStmt struct {
	Object ObjectType
	Name   *ObjectName
	Owner  *RoleSpec
}

// CommentStmt is COMMENT ON. Comment nil: removed.
type CommentStmt struct {
	Object  ObjectType
	Name    *ObjectName
	Comment *string
}

// SecurityLabelStmt is SECURITY LABEL.
type SecurityLabelStmt struct {
	Object   ObjectType
	Name     *ObjectName
	Provider string
	Label    *string
}

// GrantTarget says how GRANT names its objects.
type GrantTarget uint8

const (
	GrantObjects     GrantTarget = iota
	GrantAllInSchema             // ALL TABLES IN SCHEMA
	GrantDefaults                // ALTER DEFAULT PRIVILEGES
)

// Privilege is one privilege of GRANT. Name empty: ALL.
type Privilege struct {
	Name    string
	Columns []string
}

// GrantStmt is GRANT and REVOKE of privileges on objects.
type GrantStmt struct {
	Revoke      bool
	Target      GrantTarget
	Object      ObjectType
	Objects     []*ObjectName
	Privileges  []Privilege // nil: ALL
	Grantees    []*RoleSpec
	GrantOption bool // WITH GRANT OPTION, GRANT OPTION FOR
	GrantedBy   *RoleSpec
	Behavior    DropBehavior
}

// GrantRoleStmt is GRANT and REVOKE of role membership.
type GrantRoleStmt struct {
	Revoke    bool
	Roles     []string
	Grantees  []*RoleSpec
	Options   []*DefElem // admin, inherit, set
	GrantedBy *RoleSpec
	Behavior  DropBehavior
}

// AlterDefaultPrivilegesStmt is ALTER DEFAULT PRIVILEGES.
type AlterDefaultPrivilegesStmt struct {
	Roles   []*RoleSpec
	Schemas []string
	Grant   *GrantStmt
}

// DropOwnedStmt is DROP OWNED BY.
type DropOwnedStmt struct {
	Roles    []*RoleSpec
	Behavior DropBehavior
}

// ReassignOwnedStmt is REASSIGN OWNED BY.
type ReassignOwnedStmt struct {
	Roles []*RoleSpec
	To    *RoleSpec
}

// UnsupportedStmt is a statement without an implementation; Name is its tag.
type UnsupportedStmt struct{ Name string }

func (*CreateDatabaseStmt) stmt()         {}
func (*AlterDatabaseStmt) stmt()          {}
func (*DropDatabaseStmt) stmt()           {}
func (*CreateSchemaStmt) stmt()           {}
func (*CreateSequenceStmt) stmt()         {}
func (*AlterSequenceStmt) stmt()          {}
func (*CreateEnumStmt) stmt()             {}
func (*AlterEnumStmt) stmt()              {}
func (*CreateCompositeStmt) stmt()        {}
func (*CreateRangeStmt) stmt()            {}
func (*CreateDomainStmt) stmt()           {}
func (*AlterDomainStmt) stmt()            {}
func (*CreateRoleStmt) stmt()             {}
func (*AlterRoleStmt) stmt()              {}
func (*AlterRoleSetStmt) stmt()           {}
func (*DropRoleStmt) stmt()               {}
func (*CreateTablespaceStmt) stmt()       {}
func (*AlterTablespaceStmt) stmt()        {}
func (*MoveAllStmt) stmt()                {}
func (*DropTablespaceStmt) stmt()         {}
func (*CreateExtensionStmt) stmt()        {}
func (*AlterExtensionStmt) stmt()         {}
func (*CreateFunctionStmt) stmt()         {}
func (*ReturnStmt) stmt()                 {}
func (*AlterFunctionStmt) stmt()          {}
func (*CreateTriggerStmt) stmt()          {}
func (*CreatePolicyStmt) stmt()           {}
func (*CreateRuleStmt) stmt()             {}
func (*AlterPolicyStmt) stmt()            {}
func (*DropStmt) stmt()                   {}
func (*RenameStmt) stmt()                 {}
func (*AlterSchemaStmt) stmt()            {}
func (*AlterOwnerStmt) stmt()             {}
func (*CommentStmt) stmt()                {}
func (*SecurityLabelStmt) stmt()          {}
func (*GrantStmt) stmt()                  {}
func (*GrantRoleStmt) stmt()              {}
func (*AlterDefaultPrivilegesStmt) stmt() {}
func (*DropOwnedStmt) stmt()              {}
func (*ReassignOwnedStmt) stmt()          {}
func (*UnsupportedStmt) stmt()            {}

func (*CreateDatabaseStmt) Tag() string  { return "CREATE DATABASE" }
func (*AlterDatabaseStmt) Tag() string   { return "ALTER DATABASE" }
func (*DropDatabaseStmt) Tag() string    { return "DROP DATABASE" }
func (*CreateSchemaStmt) Tag() string    { return "CREATE SCHEMA" }
func (*CreateSequenceStmt) Tag() string  { return "CREATE SEQUENCE" }
func (*AlterSequenceStmt) Tag() string   { return "ALTER SEQUENCE" }
func (*CreateEnumStmt) Tag() string      { return "CREATE TYPE" }
func (*AlterEnumStmt) Tag() string       { return "ALTER TYPE" }
func (*CreateCompositeStmt) Tag() string { return "CREATE TYPE" }
func (*CreateRangeStmt) Tag() string     { return "CREATE TYPE" }
func (*CreateDomainStmt) Tag() string    { return "CREATE DOMAIN" }
func (*AlterDomainStmt) Tag() string     { return "ALTER DOMAIN" }
func (*CreateRoleStmt) Tag() string      { return "CREATE ROLE" }
func (*AlterRoleStmt) Tag() string       { return "ALTER ROLE" }
func (*AlterRoleSetStmt) Tag() string    { return "ALTER ROLE" }
func (*DropRoleStmt) Tag() string        { return "DROP ROLE" }
func (*CreateTablespaceStmt) Tag() string {
	return "CREATE TABLESPACE"
}
func (*AlterTablespaceStmt) Tag() string { return "ALTER TABLESPACE" }
func (s *MoveAllStmt) Tag() string       { return "ALTER " + string(s.Object) }
func (*DropTablespaceStmt) Tag() string  { return "DROP TABLESPACE" }
func (*CreateExtensionStmt) Tag() string { return "CREATE EXTENSION" }
func (*AlterExtensionStmt) Tag() string  { return "ALTER EXTENSION" }
func (s *CreateFunctionStmt) Tag() string {
	if s.Procedure {
		return "CREATE PROCEDURE"
	}
	return "CREATE FUNCTION"
}
func (*ReturnStmt) Tag() string          { return "RETURN" }
func (s *AlterFunctionStmt) Tag() string { return "ALTER " + string(s.Object) }
func (*CreateTriggerStmt) Tag() string   { return "CREATE TRIGGER" }
func (*CreatePolicyStmt) Tag() string    { return "CREATE POLICY" }
func (*CreateRuleStmt) Tag() string      { return "CREATE RULE" }
func (*AlterPolicyStmt) Tag() string     { return "ALTER POLICY" }
func (s *DropStmt) Tag() string          { return "DROP " + string(s.Object) }
func (s *RenameStmt) Tag() string {
	if s.Relation != "" {
		return "ALTER " + string(s.Relation)
	}
	if s.Object == ObjDomainConstraint {
		return "ALTER DOMAIN"
	}
	return "ALTER " + string(s.Object)
}
func (s *AlterSchemaStmt) Tag() string { return "ALTER " + string(s.Object) }
func (s *AlterOwnerStmt) Tag() string  { return "ALTER " + string(s.Object) }
func (*CommentStmt) Tag() string       { return "COMMENT" }
func (*SecurityLabelStmt) Tag() string { return "SECURITY LABEL" }
func (s *GrantStmt) Tag() string {
	if s.Revoke {
		return "REVOKE"
	}
	return "GRANT"
}
func (s *GrantRoleStmt) Tag() string {
	if s.Revoke {
		return "REVOKE ROLE"
	}
	return "GRANT ROLE"
}
func (*AlterDefaultPrivilegesStmt) Tag() string { return "ALTER DEFAULT PRIVILEGES" }
func (*DropOwnedStmt) Tag() string              { return "DROP OWNED" }
func (*ReassignOwnedStmt) Tag() string          { return "REASSIGN OWNED" }
func (s *UnsupportedStmt) Tag() string          { return s.Name }
