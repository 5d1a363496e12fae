package ddl

import (
	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// setOnCommit notes what becomes of a new temporary table at each commit. Sessions see to it (sql.Session).
func setOnCommit(t *catalog.Table, c ast.OnCommit) error {
	if c == ast.OnCommitDefault {
		return nil
	}
	if t.Persistence != 't' {
		return pgerr.New(pgerr.InvalidTableDefinition, "ON COMMIT can only be used on temporary tables")
	}
	switch c {
	case ast.OnCommitDelete:
		t.OnCommit = catalog.OnCommitDelete
	case ast.OnCommitDrop:
		t.OnCommit = catalog.OnCommitDrop
	}
	return nil
}
