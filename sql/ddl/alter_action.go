package ddl

import (
	"context"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// alterIndex takes the commands on indexes that change nothing here.
func (x *executor) alterIndex(ctx context.Context, s *ast.AlterTableStmt) error {
	rel := x.relation(s.Table)
	if rel.Index == nil {
		if s.IfExists && rel.Table == nil {
			x.notice(pgerr.UndefinedTable, "relation %q does not exist, skipping", s.Table.Name)
			return nil
		}
		return noRelation(s.Table)
	}
	for _, c := range s.Cmds {
		switch c.Kind {
		case ast.SetRelOptions, ast.ResetRelOptions, ast.SetStatistics:
		case ast.SetTablespace:
			if err := x.moveIndex(ctx, rel, c.Name); err != nil {
				return err
			}
		case ast.AttachPartition:
			if err := x.attachIndexPart(ctx, rel, c); err != nil {
				return err
			}
		default:
			return pgerr.Unsupported("this form of ALTER INDEX is not supported")
		}
	}
	return nil
}

// alterActions are the words that messages have for commands.
var alterActions = map[ast.AlterCmd]string{
	ast.AddColumn: "ADD COLUMN", ast.DropColumn: "DROP COLUMN", ast.AlterColumnType: "ALTER COLUMN ... SET DATA TYPE",
	ast.SetNotNull: "ALTER COLUMN ... SET NOT NULL", ast.DropNotNull: "ALTER COLUMN ... DROP NOT NULL",
	ast.DropExpression: "ALTER COLUMN ... DROP EXPRESSION", ast.SetStatistics: "ALTER COLUMN ... SET STATISTICS",
	ast.SetColumnOptions: "ALTER COLUMN ... SET", ast.ResetColumnOptions: "ALTER COLUMN ... RESET", ast.SetStorage: "ALTER COLUMN ... SET STORAGE",
	ast.SetCompression: "ALTER COLUMN ... SET COMPRESSION", ast.AddIdentity: "ALTER COLUMN ... ADD IDENTITY",
	ast.SetIdentity: "ALTER COLUMN ... SET", ast.DropIdentity: "ALTER COLUMN ... DROP IDENTITY", ast.AddConstraint: "ADD CONSTRAINT",
	ast.AlterConstraint: "ALTER CONSTRAINT", ast.ValidateConstraint: "VALIDATE CONSTRAINT", ast.DropConstraint: "DROP CONSTRAINT",
	ast.ClusterOn: "CLUSTER ON", ast.DropCluster: "SET WITHOUT CLUSTER", ast.SetLogged: "SET LOGGED", ast.SetUnlogged: "SET UNLOGGED",
	ast.SetTablespace: "SET TABLESPACE", ast.SetAccessMethod: "SET ACCESS METHOD", ast.SetRelOptions: "SET", ast.ResetRelOptions: "RESET",
	ast.AddInherit: "INHERIT", ast.DropInherit: "NO INHERIT", ast.AddOf: "OF", ast.DropOf: "NOT OF", ast.EnableTrigger: "ENABLE TRIGGER",
	ast.DisableTrigger: "DISABLE TRIGGER", ast.EnableRule: "ENABLE RULE", ast.DisableRule: "DISABLE RULE",
	ast.EnableRowSecurity: "ENABLE ROW SECURITY", ast.DisableRowSecurity: "DISABLE ROW SECURITY", ast.ForceRowSecurity: "FORCE ROW SECURITY",
	ast.NoForceRowSecurity: "NO FORCE ROW SECURITY", ast.ReplicaIdentity: "REPLICA IDENTITY", ast.AttachPartition: "ATTACH PARTITION",
	ast.DetachPartition: "DETACH PARTITION",
}

func cannotAlter(t *catalog.Table, c ast.AlterCmd) error {
	return pgerr.New(pgerr.WrongObjectType, "ALTER action %s cannot be performed on relation %q", alterActions[c], t.Name).
		WithDetail("This operation is not supported for %ss.", kindWord(t))
}
