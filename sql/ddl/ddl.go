package ddl

import (
	"context"
	"slices"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// Column is a result column of a query.
type Column struct {
	Name string
	Type *types.T
	// Mutable says that the query calls a function that is not immutable.
	Mutable bool
}

// Env is what a statement runs in.
type Env struct {
	View       *catalog.Txn // Required, and bound to the kv transaction.
	User       uint32       // The current role's id.
	SearchPath []string     // The existing schemas of search_path, in order.
	TempSchema string       // The session's schema for temporary tables; "" when it can have none.
	Text       string       // The statement's text, for messages.

	// Describe plans a query and returns its columns.
	Describe func(ctx context.Context, q ast.Stmt) ([]Column, error)
	// Query runs a query.
	Query func(ctx context.Context, q ast.Stmt, emit func(row []types.Datum) error) error
	// Constant computes an expression without columns as a value to be stored in a column of type t; not if it may be
	// another one for each row, or its value depends on more than the type. nil: every expression may be.
	Constant func(ctx context.Context, e ast.Expr, t *types.T) (d types.Datum, ok bool, err error)
	// Exec runs a statement that changes rows and returns their number. Row-level security policies apply as they do to
	// the role as; with 0 none does.
	Exec func(ctx context.Context, q ast.Stmt, as uint32) (int64, error)
	// FireTruncate fires a table's TRUNCATE triggers of a timing ('B' or 'A'); nil where there can be none.
	FireTruncate func(ctx context.Context, table uint32, timing byte) error
	// BuildIndex fills a new index, given the table's id and the index's oid.
	BuildIndex func(ctx context.Context, table, index uint32) error
	// Defer, when set, takes over the filling of an index of a table with many rows, after the statement's transaction
	// has committed: until then the index is only written.
	Defer func(ctx context.Context, t *catalog.Table, ix *catalog.Index) error
	// ManyRows reports, without taking locks, whether a table has more rows than are read at once. It goes with
	// Defer, DeferValidation and DeferRewrite.
	ManyRows func(ctx context.Context, t *catalog.Table) (bool, error)
	// DeferValidation, when set, takes over looking at the rows of a table with many for a constraint that is in the
	// catalog already, after the statement's transaction has committed.
	DeferValidation func(ctx context.Context, t *catalog.Table, name string, v Validation) error
	// DeferRewrite, when set, takes over writing the rows of a table anew, after the statement's transaction has committed.
	// The table is in the catalog, with its Rewriting. The job is 0 when the values of the columns could be others for others.
	DeferRewrite func(ctx context.Context, t *catalog.Table) (job uint64, err error)
	// OlderNodes says that the cluster may have nodes that do not know GIN indexes and extensions.
	OlderNodes bool
	// OlderHstore says that the cluster may have nodes that do not know the type hstore.
	OlderHstore bool
	// OlderExclusions says that it may have nodes that do not know exclusion constraints, inheritance and rules.
	OlderExclusions bool
	// OlderDefinitions says that it may have nodes that do not know aggregates, operators, casts and event triggers of users.
	OlderDefinitions bool
	// OlderOrders says that it may have nodes that take the labels of enums to be numbered from 1 on.
	OlderOrders bool
	// DefaultTablespace is the setting default_tablespace.
	DefaultTablespace string
	// Nodes lists where the cluster's nodes are; nil: what tablespaces ask for is not checked against it.
	Nodes func(ctx context.Context) ([]Locality, error)
	// InUse says whether a cursor of the session, or another query that has not ended, reads the table; nil: none does.
	InUse func(table uint32) bool
	// InSchema runs f with a new schema first in the session's search path, for the statements inside CREATE SCHEMA.
	InSchema func(schema string, f func() error) error
	// LargeObjectOwner gives a large object to another role.
	LargeObjectOwner func(ctx context.Context, id, owner uint32) error
	// CheckRoutine checks the body of a function that is stored; nil checks nothing.
	CheckRoutine func(ctx context.Context, f *catalog.Function) error
	// Notice sends a NOTICE or WARNING; may be nil.
	Notice func(n *pgerr.Error)
	// HashPassword makes a SCRAM verifier; nil stores no passwords.
	HashPassword func(password string) (string, error)
}

// Execute runs a statement and returns its command tag. It takes every statement that is not a query, does not
// change rows and is not about the session; those it does not support fail with 0A000.
func Execute(ctx context.Context, stmt ast.Stmt, env *Env) (string, error) {
	x := &executor{Env: env}
	x.lookup = env.SearchPath
	if env.TempSchema != "" && !slices.Contains(env.SearchPath, env.TempSchema) {
		x.lookup = append([]string{env.TempSchema}, env.SearchPath...)
	}
	if err := x.run(ctx, stmt); err != nil {
		return "", err
	}
	if x.tag != "" {
		return x.tag, nil
	}
	return stmt.Tag(), nil
}

// executor runs one statement.
type executor struct {
	*Env
	tag    string   // overrides the statement's tag
	lookup []string // the search path by which names are found: the temporary schema, then SearchPath
	only   bool     // ALTER TABLE ONLY
	below  bool     // the command was given for a table above this partition
	// announced are the relations of which a notice has said that they are dropped.
	announced map[uint32]bool
	// extension is the one whose objects are being made, 0 if none.
	extension uint32
}

// notInUse refuses a statement that would take a table away from under a query of the own session.
func (x *executor) notInUse(verb string, t *catalog.Table) error {
	if x.InUse != nil && x.InUse(t.ID) {
		return pgerr.New(pgerr.ObjectInUse, "cannot %s %q because it is being used by active queries in this session", verb, t.Name)
	}
	return nil
}

func (x *executor) run(ctx context.Context, stmt ast.Stmt) error {
	switch s := stmt.(type) {
	case *ast.CreateTableStmt:
		return x.createTable(ctx, s)
	case *ast.CreateTableAsStmt:
		return x.createTableAs(ctx, s)
	case *ast.CreateIndexStmt:
		return x.createIndex(ctx, s)
	case *ast.AlterTableStmt:
		return x.alterTable(ctx, s)
	case *ast.CreateFunctionStmt:
		return x.createFunction(ctx, s)
	case *ast.DefineStmt:
		return x.define(ctx, s)
	case *ast.CreateEventTriggerStmt:
		return x.createEventTrigger(ctx, s)
	case *ast.AlterEventTriggerStmt:
		return x.enableEventTrigger(ctx, s)
	case *ast.CreateCastStmt:
		return x.createCast(ctx, s)
	case *ast.AlterOperatorStmt:
		return x.alterOperator(ctx, s)
	case *ast.AlterFunctionStmt:
		return x.alterFunction(ctx, s)
	case *ast.CreateTriggerStmt:
		return x.createTrigger(ctx, s)
	case *ast.CreateRuleStmt:
		return x.createRule(ctx, s)
	case *ast.CreatePolicyStmt:
		return x.createPolicy(ctx, s)
	case *ast.AlterPolicyStmt:
		return x.alterPolicy(ctx, s)
	case *ast.CreateViewStmt:
		return x.createView(ctx, s)
	case *ast.RefreshStmt:
		return x.refresh(ctx, s)
	case *ast.DropStmt:
		return x.drop(ctx, s)
	case *ast.TruncateStmt:
		return x.truncate(ctx, s)
	case *ast.RenameStmt:
		return x.rename(ctx, s)
	case *ast.AlterSchemaStmt:
		return x.setSchema(ctx, s)
	case *ast.AlterOwnerStmt:
		return x.alterOwner(ctx, s)
	case *ast.CommentStmt:
		return x.comment(ctx, s)
	case *ast.CreateSequenceStmt:
		return x.createSequence(ctx, s)
	case *ast.AlterSequenceStmt:
		return x.alterSequence(ctx, s)
	case *ast.CreateSchemaStmt:
		return x.createSchema(ctx, s)
	case *ast.CreateDatabaseStmt:
		return x.createDatabase(ctx, s)
	case *ast.AlterDatabaseStmt:
		return x.alterDatabase(ctx, s)
	case *ast.DropDatabaseStmt:
		return x.dropDatabase(ctx, s)
	case *ast.CreateEnumStmt:
		return x.createEnum(ctx, s)
	case *ast.AlterEnumStmt:
		return x.alterEnum(ctx, s)
	case *ast.CreateDomainStmt:
		return x.createDomain(ctx, s)
	case *ast.AlterDomainStmt:
		return x.alterDomain(ctx, s)
	case *ast.CreateCompositeStmt:
		return x.createComposite(ctx, s)
	case *ast.DropOwnedStmt:
		return x.dropOwned(ctx, s)
	case *ast.ReassignOwnedStmt:
		return x.reassignOwned(ctx, s)
	case *ast.CreateRangeStmt:
		return x.createRange(ctx, s)
	case *ast.CreateRoleStmt:
		return x.createRole(ctx, s)
	case *ast.AlterRoleStmt:
		return x.alterRole(ctx, s)
	case *ast.AlterRoleSetStmt:
		return x.alterRoleSet(ctx, s)
	case *ast.DropRoleStmt:
		return x.dropRole(ctx, s)
	case *ast.GrantRoleStmt:
		return x.grantRole(ctx, s)
	case *ast.AlterDefaultPrivilegesStmt:
		return x.alterDefaultPrivileges(ctx, s)
	case *ast.GrantStmt:
		return x.grant(ctx, s)
	case *ast.CreateTablespaceStmt:
		return x.createTablespace(ctx, s)
	case *ast.AlterTablespaceStmt:
		return x.alterTablespace(ctx, s)
	case *ast.MoveAllStmt:
		return x.moveAll(ctx, s)
	case *ast.DropTablespaceStmt:
		return x.dropTablespace(ctx, s)
	case *ast.CreatePublicationStmt:
		return x.createPublication(ctx, s)
	case *ast.AlterPublicationStmt:
		return x.alterPublication(ctx, s)
	case *ast.CreateExtensionStmt:
		return x.createExtension(ctx, s)
	case *ast.AlterExtensionStmt:
		return x.alterExtension(s)
	case *ast.VacuumStmt, *ast.ReindexStmt, *ast.ClusterStmt, *ast.CheckpointStmt:
		return x.maintain(stmt)
	case *ast.UnsupportedStmt:
		return pgerr.Unsupported("%s is not supported", s.Name)
	}
	return pgerr.Unsupported("%s is not supported", stmt.Tag())
}

// maintain checks the tables of statements that tend to storage, which needs no tending.
func (x *executor) maintain(stmt ast.Stmt) error {
	var rels []*ast.RangeVar
	switch s := stmt.(type) {
	case *ast.VacuumStmt:
		for _, t := range s.Tables {
			rels = append(rels, t.Table)
		}
	case *ast.ReindexStmt:
		if s.Kind == "INDEX" {
			if r := x.relation(s.Relation); r.Index == nil {
				return noRelation(s.Relation)
			}
			return nil
		}
		rels = append(rels, s.Relation)
	case *ast.ClusterStmt:
		rels = append(rels, s.Table)
	}
	for _, r := range rels {
		if r == nil {
			continue
		}
		if _, err := x.table(r); err != nil {
			return err
		}
	}
	return nil
}

func (x *executor) notice(code, format string, args ...any) {
	if x.Notice != nil {
		x.Notice(pgerr.New(code, format, args...).WithSeverity(pgerr.SeverityNotice))
	}
}

// sendNotice sends a notice that has more than a message.
func (x *executor) sendNotice(n *pgerr.Error) {
	if x.Notice != nil {
		x.Notice(n.WithSeverity(pgerr.SeverityNotice))
	}
}

// snap is the catalog with the transaction's changes.
func (x *executor) snap() *catalog.Snapshot { return x.View.Snapshot() }

// path is the search path by which types and tables are found.
func (x *executor) path() []string { return x.lookup }
