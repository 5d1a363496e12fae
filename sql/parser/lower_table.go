package parser

import (
	pg "github.com/sqlc-dev/oliphant/ast"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/pgerr"
)

func (l *lowerer) createTable(s *pg.CreateStmt) *ast.CreateTableStmt {
	out := &ast.CreateTableStmt{
		Table: l.rangeVar(s.Relation), IfNotExists: s.IfNotExists, Options: l.defElems(s.Options),
		OnCommit: onCommit(s.Oncommit), Tablespace: s.Tablespacename, AccessMethod: s.AccessMethod,
		OfType: l.typeName(s.OfTypename),
	}
	for _, n := range s.TableElts {
		switch x := n.Node.(type) {
		case *pg.Node_ColumnDef:
			out.Columns = append(out.Columns, l.columnDef(x.ColumnDef))
		case *pg.Node_Constraint:
			out.Constraints = append(out.Constraints, l.constraint(x.Constraint))
		case *pg.Node_TableLikeClause:
			out.Likes = append(out.Likes, &ast.LikeClause{
				Table: l.rangeVar(x.TableLikeClause.Relation), Including: x.TableLikeClause.Options, After: len(out.Columns),
			})
		}
	}
	for _, n := range s.Constraints {
		out.Constraints = append(out.Constraints, l.constraint(n.GetConstraint()))
	}
	if s.Partbound != nil {
		out.Bound = l.partitionBound(s.Partbound)
		if len(s.InhRelations) > 0 {
			out.PartitionOf = l.rangeVar(s.InhRelations[0].GetRangeVar())
		}
	} else {
		out.Inherits = l.rangeVars(s.InhRelations)
	}
	if p := s.Partspec; p != nil {
		spec := &ast.PartitionSpec{Pos: pos(p.Location)}
		switch p.Strategy {
		case pg.PartitionStrategy_PARTITION_STRATEGY_RANGE:
			spec.Strategy = ast.PartitionRange
		case pg.PartitionStrategy_PARTITION_STRATEGY_HASH:
			spec.Strategy = ast.PartitionHash
		}
		for _, n := range p.PartParams {
			e := n.GetPartitionElem()
			spec.Elems = append(spec.Elems, &ast.IndexElem{Name: e.Name, Expr: l.optExpr(e.Expr),
				Collation: strs(e.Collation), OpClass: strs(e.Opclass), Pos: pos(e.Location)})
		}
		out.PartitionBy = spec
	}
	return out
}

func (l *lowerer) partitionBound(b *pg.PartitionBoundSpec) *ast.PartitionBound {
	if b == nil {
		return nil
	}
	out := &ast.PartitionBound{Default: b.IsDefault, Modulus: b.Modulus, Remainder: b.Remainder,
		List: l.exprs(b.Listdatums), Pos: pos(b.Location)}
	switch b.Strategy {
	case "r":
		out.Strategy = ast.PartitionRange
	case "h":
		out.Strategy = ast.PartitionHash
	}
	out.Lower, out.Upper = l.partitionDatums(b.Lowerdatums), l.partitionDatums(b.Upperdatums)
	return out
}

func (l *lowerer) partitionDatums(ns []*pg.Node) []ast.PartitionDatum {
	var out []ast.PartitionDatum
	for _, n := range ns {
		// MINVALUE and MAXVALUE are column references to the grammar.
		if c := n.GetColumnRef(); c != nil && len(c.Fields) == 1 {
			switch str(c.Fields[0]) {
			case "minvalue":
				out = append(out, ast.PartitionDatum{MinValue: true})
				continue
			case "maxvalue":
				out = append(out, ast.PartitionDatum{MaxValue: true})
				continue
			}
		}
		out = append(out, ast.PartitionDatum{Value: l.expr(n)})
	}
	return out
}

func (l *lowerer) columnDefs(ns []*pg.Node) []*ast.ColumnDef {
	var out []*ast.ColumnDef
	for _, n := range ns {
		if c := n.GetColumnDef(); c != nil {
			out = append(out, l.columnDef(c))
		}
	}
	return out
}

func (l *lowerer) columnDef(c *pg.ColumnDef) *ast.ColumnDef {
	out := &ast.ColumnDef{Name: c.Colname, Type: l.typeName(c.TypeName), Storage: c.StorageName, Compression: c.Compression, Pos: pos(c.Location)}
	if c.CollClause != nil {
		out.Collation = strs(c.CollClause.Collname)
	}
	out.Constraints = l.columnConstraints(c.Constraints)
	if c.RawDefault != nil {
		// ALTER COLUMN TYPE ... USING keeps its expression here.
		out.Constraints = append(out.Constraints, &ast.Constraint{Kind: ast.ConstrDefault, Expr: l.expr(c.RawDefault), Pos: pos(c.Location)})
	}
	return out
}

// columnConstraints folds DEFERRABLE, INITIALLY DEFERRED and ENFORCED, which the grammar lists as
// constraints of their own, into the constraint before them, with transformConstraintAttrs' errors.
func (l *lowerer) columnConstraints(ns []*pg.Node) []*ast.Constraint {
	var out []*ast.Constraint
	var last *ast.Constraint
	var sawDefer, sawInit bool
	for _, n := range ns {
		c := n.GetConstraint()
		if c == nil {
			continue
		}
		deferrable := func(clause string) {
			if last == nil || (last.Kind != ast.ConstrPrimary && last.Kind != ast.ConstrUnique &&
				last.Kind != ast.ConstrExclusion && last.Kind != ast.ConstrForeign) {
				l.fail(pgerr.SyntaxError, c.Location, "misplaced %s clause", clause)
			}
		}
		switch c.Contype {
		case pg.ConstrType_CONSTR_ATTR_DEFERRABLE, pg.ConstrType_CONSTR_ATTR_NOT_DEFERRABLE:
			not := c.Contype == pg.ConstrType_CONSTR_ATTR_NOT_DEFERRABLE
			if not {
				deferrable("NOT DEFERRABLE")
			} else {
				deferrable("DEFERRABLE")
			}
			if sawDefer {
				l.fail(pgerr.SyntaxError, c.Location, "multiple DEFERRABLE/NOT DEFERRABLE clauses not allowed")
			}
			sawDefer = true
			last.Deferrable = !not
			if not && last.InitiallyDeferred {
				l.fail(pgerr.SyntaxError, c.Location, "constraint declared INITIALLY DEFERRED must be DEFERRABLE")
			}
		case pg.ConstrType_CONSTR_ATTR_DEFERRED, pg.ConstrType_CONSTR_ATTR_IMMEDIATE:
			deferred := c.Contype == pg.ConstrType_CONSTR_ATTR_DEFERRED
			if deferred {
				deferrable("INITIALLY DEFERRED")
			} else {
				deferrable("INITIALLY IMMEDIATE")
			}
			if sawInit {
				l.fail(pgerr.SyntaxError, c.Location, "multiple INITIALLY IMMEDIATE/DEFERRED clauses not allowed")
			}
			sawInit = true
			last.InitiallyDeferred = deferred
			if deferred {
				if !sawDefer {
					last.Deferrable = true
				} else if !last.Deferrable {
					l.fail(pgerr.SyntaxError, c.Location, "constraint declared INITIALLY DEFERRED must be DEFERRABLE")
				}
			}
		case pg.ConstrType_CONSTR_ATTR_ENFORCED:
		case pg.ConstrType_CONSTR_ATTR_NOT_ENFORCED:
			if last != nil {
				last.NotEnforced = true
			}
		default:
			last = l.constraint(c)
			sawDefer, sawInit = false, false
			out = append(out, last)
		}
	}
	return out
}

func (l *lowerer) constraint(c *pg.Constraint) *ast.Constraint {
	out := &ast.Constraint{
		Name: c.Conname, Expr: l.optExpr(c.RawExpr), Options: l.defElems(c.Options),
		Columns: strs(c.Keys), Include: strs(c.Including), NullsNotDistinct: c.NullsNotDistinct,
		UsingIndex: c.Indexname, Tablespace: c.Indexspace, WithoutOverlaps: c.WithoutOverlaps,
		AccessMethod: c.AccessMethod, Where: l.optExpr(c.WhereClause),
		FKColumns: strs(c.FkAttrs), RefTable: l.rangeVar(c.Pktable), RefColumns: strs(c.PkAttrs),
		SetColumns: strs(c.FkDelSetCols),
		Deferrable: c.Deferrable, InitiallyDeferred: c.Initdeferred,
		NotValid: c.SkipValidation && !c.InitiallyValid, NoInherit: c.IsNoInherit, Pos: pos(c.Location),
	}
	switch c.Contype {
	case pg.ConstrType_CONSTR_NOTNULL:
		out.Kind = ast.ConstrNotNull
	case pg.ConstrType_CONSTR_DEFAULT:
		out.Kind = ast.ConstrDefault
	case pg.ConstrType_CONSTR_IDENTITY:
		out.Kind = ast.ConstrIdentity
		out.Always = c.GeneratedWhen == "a"
	case pg.ConstrType_CONSTR_GENERATED:
		out.Kind = ast.ConstrGenerated
		out.Always = c.GeneratedWhen == "a"
		out.Virtual = c.GeneratedKind == "v"
	case pg.ConstrType_CONSTR_CHECK:
		out.Kind = ast.ConstrCheck
		out.NotEnforced = !c.IsEnforced
	case pg.ConstrType_CONSTR_PRIMARY:
		out.Kind = ast.ConstrPrimary
	case pg.ConstrType_CONSTR_UNIQUE:
		out.Kind = ast.ConstrUnique
	case pg.ConstrType_CONSTR_EXCLUSION:
		out.Kind = ast.ConstrExclusion
		for _, n := range c.Exclusions {
			items := n.GetList().GetItems()
			if len(items) != 2 {
				continue
			}
			out.Exclusions = append(out.Exclusions, &ast.Exclusion{
				Elem: l.indexElem(items[0].GetIndexElem()), Op: strs(items[1].GetList().GetItems())})
		}
	case pg.ConstrType_CONSTR_FOREIGN:
		out.Kind = ast.ConstrForeign
		out.NotEnforced = !c.IsEnforced
		out.OnDelete, out.OnUpdate = fkAction(c.FkDelAction), fkAction(c.FkUpdAction)
		switch c.FkMatchtype {
		case "f":
			out.Match = ast.FKMatchFull
		case "p":
			out.Match = ast.FKMatchPartial
		}
	}
	return out
}

func fkAction(a string) ast.FKAction {
	switch a {
	case "r":
		return ast.FKRestrict
	case "c":
		return ast.FKCascade
	case "n":
		return ast.FKSetNull
	case "d":
		return ast.FKSetDefault
	}
	return ast.FKNoAction
}

func (l *lowerer) createIndex(s *pg.IndexStmt) *ast.CreateIndexStmt {
	return &ast.CreateIndexStmt{
		Name: s.Idxname, Table: l.rangeVar(s.Relation), AccessMethod: s.AccessMethod,
		Elems: l.indexElems(s.IndexParams), Include: l.indexElems(s.IndexIncludingParams),
		Options: l.defElems(s.Options), Where: l.optExpr(s.WhereClause), Tablespace: s.TableSpace,
		Unique: s.Unique, NullsNotDistinct: s.NullsNotDistinct, Concurrently: s.Concurrent, IfNotExists: s.IfNotExists,
	}
}

func (l *lowerer) alterTable(s *pg.AlterTableStmt) ast.Stmt {
	obj := objectTypes[s.Objtype]
	out := &ast.AlterTableStmt{Object: obj, Table: l.rangeVar(s.Relation), IfExists: s.MissingOk}
	for _, n := range s.Cmds {
		out.Cmds = append(out.Cmds, l.alterCmd(n.GetAlterTableCmd()))
	}
	return out
}

// plainAlterCmds are the commands that consist of a kind, a name and a behaviour.
var plainAlterCmds = map[pg.AlterTableType]ast.AlterCmd{
	pg.AlterTableType_AT_DropColumn:         ast.DropColumn,
	pg.AlterTableType_AT_SetNotNull:         ast.SetNotNull,
	pg.AlterTableType_AT_DropNotNull:        ast.DropNotNull,
	pg.AlterTableType_AT_DropExpression:     ast.DropExpression,
	pg.AlterTableType_AT_DropIdentity:       ast.DropIdentity,
	pg.AlterTableType_AT_ValidateConstraint: ast.ValidateConstraint,
	pg.AlterTableType_AT_DropConstraint:     ast.DropConstraint,
	pg.AlterTableType_AT_ClusterOn:          ast.ClusterOn,
	pg.AlterTableType_AT_DropCluster:        ast.DropCluster,
	pg.AlterTableType_AT_SetLogged:          ast.SetLogged,
	pg.AlterTableType_AT_SetUnLogged:        ast.SetUnlogged,
	pg.AlterTableType_AT_SetTableSpace:      ast.SetTablespace,
	pg.AlterTableType_AT_SetAccessMethod:    ast.SetAccessMethod,
	pg.AlterTableType_AT_DropOf:             ast.DropOf,
	pg.AlterTableType_AT_DropOids:           ast.DropOids,
	pg.AlterTableType_AT_EnableTrig:         ast.EnableTrigger,
	pg.AlterTableType_AT_EnableTrigAll:      ast.EnableTrigger,
	pg.AlterTableType_AT_DisableTrig:        ast.DisableTrigger,
	pg.AlterTableType_AT_DisableTrigAll:     ast.DisableTrigger,
	pg.AlterTableType_AT_EnableRule:         ast.EnableRule,
	pg.AlterTableType_AT_DisableRule:        ast.DisableRule,
	pg.AlterTableType_AT_EnableRowSecurity:  ast.EnableRowSecurity,
	pg.AlterTableType_AT_DisableRowSecurity: ast.DisableRowSecurity,
	pg.AlterTableType_AT_ForceRowSecurity:   ast.ForceRowSecurity,
	pg.AlterTableType_AT_NoForceRowSecurity: ast.NoForceRowSecurity,
}

func (l *lowerer) alterCmd(c *pg.AlterTableCmd) *ast.AlterTableCmd {
	out := &ast.AlterTableCmd{Name: c.Name, Num: int16(c.Num), IfExists: c.MissingOk, Behavior: behavior(c.Behavior)}
	if k, ok := plainAlterCmds[c.Subtype]; ok {
		out.Kind = k
		return out
	}
	def := c.Def
	switch c.Subtype {
	case pg.AlterTableType_AT_AddColumn:
		out.Kind, out.Column = ast.AddColumn, l.columnDef(def.GetColumnDef())
	case pg.AlterTableType_AT_AlterColumnType:
		out.Kind = ast.AlterColumnType
		cd := def.GetColumnDef()
		out.Using = l.optExpr(cd.RawDefault)
		out.Column = &ast.ColumnDef{Name: c.Name, Type: l.typeName(cd.TypeName), Pos: pos(cd.Location)}
		if cd.CollClause != nil {
			out.Column.Collation = strs(cd.CollClause.Collname)
		}
	case pg.AlterTableType_AT_ColumnDefault:
		out.Kind, out.Expr = ast.AlterDefault, l.optExpr(def)
	case pg.AlterTableType_AT_SetExpression:
		out.Kind, out.Expr = ast.SetExpression, l.optExpr(def)
	case pg.AlterTableType_AT_SetStatistics:
		out.Kind, out.Int = ast.SetStatistics, int64(def.GetInteger().GetIval())
	case pg.AlterTableType_AT_SetOptions:
		out.Kind, out.Options = ast.SetColumnOptions, l.defElems(def.GetList().GetItems())
	case pg.AlterTableType_AT_ResetOptions:
		out.Kind, out.Options = ast.ResetColumnOptions, l.defElems(def.GetList().GetItems())
	case pg.AlterTableType_AT_SetStorage:
		out.Kind, out.Str = ast.SetStorage, str(def)
	case pg.AlterTableType_AT_SetCompression:
		out.Kind, out.Str = ast.SetCompression, str(def)
	case pg.AlterTableType_AT_AddIdentity:
		out.Kind, out.Constraint = ast.AddIdentity, l.constraint(def.GetConstraint())
	case pg.AlterTableType_AT_SetIdentity:
		out.Kind, out.Options = ast.SetIdentity, l.defElems(def.GetList().GetItems())
	case pg.AlterTableType_AT_AddConstraint:
		out.Kind, out.Constraint = ast.AddConstraint, l.constraint(def.GetConstraint())
	case pg.AlterTableType_AT_AlterConstraint:
		a := def.GetAtalterConstraint()
		out.Kind, out.Name = ast.AlterConstraint, a.GetConname()
		out.Constraint = &ast.Constraint{Name: a.GetConname(), Deferrable: a.GetDeferrable(),
			InitiallyDeferred: a.GetInitdeferred(), NotEnforced: !a.GetIsEnforced(), NoInherit: a.GetNoinherit(), Pos: pos(-1)}
		if !a.GetAlterDeferrability() {
			out.Kind, out.Str = ast.UnsupportedAlter, "ALTER CONSTRAINT other than DEFERRABLE"
		}
	case pg.AlterTableType_AT_SetRelOptions:
		out.Kind, out.Options = ast.SetRelOptions, l.defElems(def.GetList().GetItems())
	case pg.AlterTableType_AT_ResetRelOptions:
		out.Kind, out.Options = ast.ResetRelOptions, l.defElems(def.GetList().GetItems())
	case pg.AlterTableType_AT_AddInherit:
		out.Kind, out.Parent = ast.AddInherit, l.rangeVar(def.GetRangeVar())
	case pg.AlterTableType_AT_DropInherit:
		out.Kind, out.Parent = ast.DropInherit, l.rangeVar(def.GetRangeVar())
	case pg.AlterTableType_AT_AddOf:
		out.Kind, out.Type = ast.AddOf, l.typeName(def.GetTypeName())
	case pg.AlterTableType_AT_ChangeOwner:
		out.Kind, out.Owner = ast.AlterOwner, role(c.Newowner)
	case pg.AlterTableType_AT_EnableAlwaysTrig:
		out.Kind, out.Str = ast.EnableTrigger, "ALWAYS"
	case pg.AlterTableType_AT_EnableReplicaTrig:
		out.Kind, out.Str = ast.EnableTrigger, "REPLICA"
	case pg.AlterTableType_AT_EnableTrigUser:
		out.Kind, out.Str = ast.EnableTrigger, "USER"
	case pg.AlterTableType_AT_DisableTrigUser:
		out.Kind, out.Str = ast.DisableTrigger, "USER"
	case pg.AlterTableType_AT_ReplicaIdentity:
		r := def.GetReplicaIdentityStmt()
		out.Kind, out.Name = ast.ReplicaIdentity, r.GetName()
		out.Str = map[string]string{"d": "DEFAULT", "f": "FULL", "n": "NOTHING", "i": "INDEX"}[r.GetIdentityType()]
	case pg.AlterTableType_AT_AttachPartition:
		p := def.GetPartitionCmd()
		out.Kind, out.Parent, out.Bound = ast.AttachPartition, l.rangeVar(p.GetName()), l.partitionBound(p.GetBound())
	case pg.AlterTableType_AT_DetachPartition:
		p := def.GetPartitionCmd()
		out.Kind, out.Parent, out.Concurrently = ast.DetachPartition, l.rangeVar(p.GetName()), p.GetConcurrent()
	default:
		out.Kind, out.Str = ast.UnsupportedAlter, c.Subtype.String()
	}
	return out
}

func (l *lowerer) createView(s *pg.ViewStmt) *ast.CreateViewStmt {
	out := &ast.CreateViewStmt{
		View: l.rangeVar(s.View), Columns: strs(s.Aliases), Query: l.selectNode(s.Query),
		Replace: s.Replace, Options: l.defElems(s.Options),
	}
	switch s.WithCheckOption {
	case pg.ViewCheckOption_LOCAL_CHECK_OPTION:
		out.CheckOption = "LOCAL"
	case pg.ViewCheckOption_CASCADED_CHECK_OPTION:
		out.CheckOption = "CASCADED"
	}
	return out
}
