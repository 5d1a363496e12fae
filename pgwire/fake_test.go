package pgwire

import (
	"context"
	"log/slog"
	"net"
	"testing"

	"github.com/meridian-db/meridian/sql"
	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/kv/kvtest"
)

// emptyCatalog is a catalog without tables, so that the protocol can be tested without the layers that make
// them.
type emptyCatalog struct{}

func (emptyCatalog) Login(_ context.Context, user, database string) (sql.Login, error) {
	if database != "postgres" {
		return sql.Login{}, pgerr.New(pgerr.InvalidCatalogName, "database \"%s\" does not exist", database)
	}
	return sql.Login{Superuser: user == "postgres"}, nil
}
func (emptyCatalog) Begin(context.Context, *sql.Session) (sql.CatalogTxn, error) {
	return emptyCatalogTxn{}, nil
}

func (emptyCatalog) Verifier(string) (string, bool) { return "", false }

func (emptyCatalog) SaveStats(context.Context, *catalog.TableStats) error { return nil }
func (emptyCatalog) NoteChanges(uint32, int64)                            {}

type emptyCatalogTxn struct{}

func (emptyCatalogTxn) Table([]string, string, string) (*plan.Table, error) { return nil, nil }
func (emptyCatalogTxn) TableByID(uint32) (*plan.Table, error)               { return nil, nil }
func (emptyCatalogTxn) Type(_ []string, n *ast.TypeName) (*types.T, error) {
	if t := types.ByInternalName(n.Name()); t != nil {
		return t, nil
	}
	return nil, pgerr.New(pgerr.UndefinedObject, "type \"%s\" does not exist", n.Name())
}
func (emptyCatalogTxn) AsOf(context.Context, kv.Txn) error  { return nil }
func (emptyCatalogTxn) Statement(context.Context) error     { return nil }
func (emptyCatalogTxn) Use(context.Context, []uint32) error { return nil }
func (emptyCatalogTxn) Version() uint64                     { return 1 }
func (emptyCatalogTxn) Changed() bool                       { return false }
func (emptyCatalogTxn) SchemaExists(name string) bool {
	return name == "public" || name == "pg_catalog"
}
func (emptyCatalogTxn) RoleExists(name string) (bool, bool)         { return true, name == "postgres" }
func (emptyCatalogTxn) TypeByOID(types.OID) *types.T                { return nil }
func (emptyCatalogTxn) RegName(types.OID, uint32) (string, bool)    { return "", false }
func (emptyCatalogTxn) RegLookup(types.OID, string) (uint32, error) { return 0, nil }
func (emptyCatalogTxn) Function(*builtin.Func) builtin.EvalFunc     { return nil }
func (emptyCatalogTxn) Mark() sql.CatalogMark                       { return nil }
func (emptyCatalogTxn) RollbackTo(sql.CatalogMark)                  {}
func (emptyCatalogTxn) BeforeCommit(context.Context, kv.Txn) error  { return nil }
func (emptyCatalogTxn) Release(bool)                                {}
func (emptyCatalogTxn) Virtual() any                                { return nil }
func (emptyCatalogTxn) Execute(_ context.Context, st ast.Stmt, _ sql.DDLEnv) (string, error) {
	return "", pgerr.Unsupported("%s", st.Tag())
}

// startServer serves on a loopback port and returns its address.
func startServer(t testing.TB, cfg Config) (*Server, string) {
	t.Helper()
	if cfg.SQL == nil {
		s, err := sql.NewServer(sql.Config{DB: kvtest.New(), Catalog: emptyCatalog{}})
		if err != nil {
			t.Fatal(err)
		}
		cfg.SQL = s
	}
	cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	srv, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		srv.Close()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return srv, l.Addr().String()
}
