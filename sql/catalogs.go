package sql

import (
	"context"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// Catalog is what sessions need of the node's catalog. Package server plugs it in.
type Catalog interface {
	// Login checks that role and database exist and that the role may connect. Errors: 28000, 3D000.
	Login(ctx context.Context, user, database string) (Login, error)
	// Verifier returns the stored password verifier of a role that may log in.
	Verifier(user string) (string, bool)
	// Begin pins the catalog for a transaction of s. It is called for every transaction, so it must be cheap.
	Begin(ctx context.Context, s *Session) (CatalogTxn, error)
	// SaveStats stores what ANALYZE found out.
	SaveStats(ctx context.Context, st *catalog.TableStats) error
	// NoteChanges counts rows written to a table, for refreshing its statistics.
	NoteChanges(table uint32, n int64)
}

// Login is what the catalog knows about a session's role.
type Login struct {
	Superuser          bool
	DatabaseID, RoleID uint32
	Settings           []NameValue // of ALTER DATABASE and ALTER ROLE, in the order to apply
	Limits             *ConnectionLimits
}

// NameValue is a setting and its value.
type NameValue struct{ Name, Value string }

// CatalogTxn is one transaction's view of the catalog: the version that was current when it began, and its
// own changes. It belongs to the session's goroutine.
type CatalogTxn interface {
	plan.Catalog
	// Statement begins a statement: a transaction that has not changed the catalog moves on to the newest
	// version. It fails with a retryable error when a change elsewhere has doomed the transaction.
	Statement(ctx context.Context) error
	// AsOf moves the view to the version that held at the timestamp of tx, which reads in the past.
	AsOf(ctx context.Context, tx kv.Txn) error
	// Use notes the relations that a statement uses; a change of one of them waits for the transaction. It
	// fails with catalog.ErrChanged when one has changed since Statement: the statement is planned anew.
	Use(ctx context.Context, tables []uint32) error
	// Version changes with every change of the catalog that the view shows, the transaction's own included.
	// Two views with one version are equal.
	Version() uint64
	// Changed reports whether the transaction has changed the catalog.
	Changed() bool
	SchemaExists(name string) bool
	RoleExists(name string) (superuser, ok bool)
	// TypeByOID finds a type that is not built in, nil for none.
	TypeByOID(oid types.OID) *types.T
	types.RegResolver

	// Execute runs a statement that changes the catalog and returns its command tag.
	Execute(ctx context.Context, stmt ast.Stmt, env DDLEnv) (tag string, err error)
	// Function supplies functions that need the catalog or sequences, as builtin.Ctx.Hook; nil for none.
	Function(fn *builtin.Func) builtin.EvalFunc

	// Mark and RollbackTo follow savepoints.
	Mark() CatalogMark
	RollbackTo(m CatalogMark)
	// BeforeCommit is called right before every commit. It bounds tx by the catalog's lease and writes what
	// publishes the transaction's own changes.
	BeforeCommit(ctx context.Context, tx kv.Txn) error
	// Virtual is what the row generators of system views get.
	Virtual() any
	// Release ends the view, after commit or rollback.
	Release(committed bool)
}

// CatalogMark is a savepoint's mark in a CatalogTxn.
type CatalogMark any

// DDLEnv is what a statement that changes the catalog runs in.
type DDLEnv struct {
	Txn     kv.Txn
	Session *Session
	Text    string // the statement's text
	Params  []types.Datum
	User    uint32 // whose privileges count; 0: the session's
}
