package ddl

import (
	"context"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
)

func (x *executor) createPublication(ctx context.Context, s *ast.CreatePublicationStmt) error {
	db := x.snap().Database()
	if !x.snap().IsMember(x.User, db.Owner) && !hasPriv(db.ACL, x, "C") {
		return pgerr.New(pgerr.InsufficientPrivilege, "permission denied for database %s", db.Name)
	}
	if s.AllTables && !x.superuser() {
		return pgerr.New(pgerr.InsufficientPrivilege, "must be superuser to create FOR ALL TABLES publication")
	}
	if x.snap().PublicationByName(s.Name) != nil {
		return pgerr.New(pgerr.DuplicateObject, "publication %q already exists", s.Name)
	}
	p := &catalog.Publication{Header: catalog.Header{Name: s.Name, Owner: x.User}, DB: db.ID, AllTables: s.AllTables,
		Insert: true, Update: true, Delete: true, Truncate: true}
	if err := publicationOptions(p, s.Options); err != nil {
		return err
	}
	if err := x.addPublished(ctx, p, s.Objects); err != nil {
		return err
	}
	var err error
	if p.ID, err = x.View.NewID(ctx); err != nil {
		return err
	}
	return x.View.Put(ctx, p)
}

func publicationOptions(p *catalog.Publication, opts []*ast.DefElem) error {
	seen := map[string]bool{}
	for _, o := range opts {
		if seen[o.Name] {
			return pgerr.New(pgerr.SyntaxError, "conflicting or redundant options").WithPosition(int(ast.PgPos(o.Position())))
		}
		seen[o.Name] = true
		switch o.Name {
		case "publish":
			p.Insert, p.Update, p.Delete, p.Truncate = false, false, false, false
			for _, what := range strings.Split(argText(o.Arg), ",") {
				switch what = strings.TrimSpace(what); what {
				case "insert":
					p.Insert = true
				case "update":
					p.Update = true
				case "delete":
					p.Delete = true
				case "truncate":
					p.Truncate = true
				case "":
				default:
					return pgerr.New(pgerr.SyntaxError, "unrecognized value for publication option \"publish\": %q", what)
				}
			}
		case "publish_via_partition_root":
			switch strings.ToLower(argText(o.Arg)) {
			case "false", "off", "no", "0":
			default:
				return pgerr.Unsupported("publish_via_partition_root is not supported: changes are published as the partitions'")
			}
		default:
			return pgerr.New(pgerr.SyntaxError, "unrecognized publication parameter: %q", o.Name)
		}
	}
	return nil
}

// addPublished adds tables and schemas to a publication.
func (x *executor) addPublished(ctx context.Context, p *catalog.Publication, objects []*ast.PublicationObject) error {
	for _, o := range objects {
		oid, err := x.View.NewID(ctx)
		if err != nil {
			return err
		}
		if o.Table == nil {
			sc, err := x.publishedSchema(o)
			if err != nil {
				return err
			}
			if !x.superuser() {
				return pgerr.New(pgerr.InsufficientPrivilege, "must be superuser to add or set schemas")
			}
			if slices.ContainsFunc(p.Schemas, func(in catalog.PublishedIn) bool { return in.Schema == sc.ID }) {
				return pgerr.New(pgerr.DuplicateObject, "schema %q is already member of publication %q", sc.Name, p.Name)
			}
			p.Schemas = append(p.Schemas, catalog.PublishedIn{OID: oid, Schema: sc.ID})
			continue
		}
		t, err := x.any(o.Table)
		if err != nil {
			return err
		}
		if !catalog.Publishable(t) {
			e := pgerr.New(pgerr.InvalidParameterValue, "cannot add relation %q to publication", t.Name)
			switch {
			case t.Virtual != nil:
				return e.WithDetail("This operation is not supported for system tables.")
			case t.Persistence == 't':
				return e.WithDetail("This operation is not supported for temporary tables.")
			case t.Persistence == 'u':
				return e.WithDetail("This operation is not supported for unlogged tables.")
			}
			return e.WithDetail("This operation is not supported for %ss.", kindWord(t))
		}
		if err := x.ownTable(t); err != nil {
			return err
		}
		if o.Where != nil {
			return pgerr.Unsupported("row filters of publications are not supported")
		}
		if slices.ContainsFunc(p.Tables, func(pt catalog.PublishedTable) bool { return pt.Table == t.ID }) {
			return pgerr.New(pgerr.DuplicateObject, "relation %q is already member of publication %q", t.Name, p.Name)
		}
		pt := catalog.PublishedTable{OID: oid, Table: t.ID}
		for _, name := range o.Columns {
			c := t.Column(name)
			if c == nil || c.Hidden {
				return pgerr.New(pgerr.UndefinedColumn, "column %q of relation %q does not exist", name, t.Name)
			}
			if c.Generated != "" {
				return pgerr.New("42P10", "cannot use generated column %q in publication column list", name)
			}
			if slices.Contains(pt.Columns, c.Num) {
				return pgerr.New(pgerr.DuplicateObject, "duplicate column %q in publication column list", name)
			}
			pt.Columns = append(pt.Columns, c.Num)
		}
		slices.Sort(pt.Columns)
		p.Tables = append(p.Tables, pt)
	}
	if len(p.Schemas) > 0 && slices.ContainsFunc(p.Tables, func(pt catalog.PublishedTable) bool { return pt.Columns != nil }) {
		return pgerr.New(pgerr.InvalidParameterValue, "cannot add schema to publication %q", p.Name).
			WithDetail("Schemas cannot be added if any tables that specify a column list are already part of the publication.")
	}
	return nil
}

func (x *executor) publishedSchema(o *ast.PublicationObject) (*catalog.Schema, error) {
	name := o.Schema
	if name == "" {
		if len(x.SearchPath) == 0 {
			return nil, pgerr.New(pgerr.InvalidSchemaName, "no schema has been selected for CURRENT_SCHEMA")
		}
		name = x.SearchPath[0]
	}
	sc := x.snap().SchemaByName(name)
	if sc == nil {
		return nil, pgerr.New(pgerr.InvalidSchemaName, "schema %q does not exist", name)
	}
	if sc.DB == 0 {
		return nil, pgerr.New(pgerr.InvalidParameterValue, "cannot add schema %q to publication", name).
			WithDetail("This operation is not supported for system schemas.")
	}
	return sc, nil
}

// publication finds a publication that the user owns.
func (x *executor) publication(name string) (*catalog.Publication, error) {
	p := x.snap().PublicationByName(name)
	if p == nil {
		return nil, pgerr.New(pgerr.UndefinedObject, "publication %q does not exist", name)
	}
	return p, x.own(&p.Header, "publication")
}

func (x *executor) alterPublication(ctx context.Context, s *ast.AlterPublicationStmt) error {
	p, err := x.publication(s.Name)
	if err != nil {
		return err
	}
	n := p.Clone()
	if s.Action == ast.PublicationOptions {
		if err := publicationOptions(n, s.Options); err != nil {
			return err
		}
		return x.View.Put(ctx, n)
	}
	if n.AllTables {
		return pgerr.New(pgerr.ObjectNotInPrerequisiteState, "publication %q is defined as FOR ALL TABLES", p.Name).
			WithDetail("Tables or schemas cannot be added to, dropped from, or set for FOR ALL TABLES publications.")
	}
	switch s.Action {
	case ast.PublicationSet:
		n.Tables, n.Schemas = nil, nil
		fallthrough
	case ast.PublicationAdd:
		if err := x.addPublished(ctx, n, s.Objects); err != nil {
			return err
		}
	case ast.PublicationDrop:
		for _, o := range s.Objects {
			before := len(n.Tables) + len(n.Schemas)
			what := ""
			if o.Table == nil {
				sc, err := x.publishedSchema(o)
				if err != nil {
					return err
				}
				what = "tables from schema \"" + sc.Name + "\" are"
				n.Schemas = slices.DeleteFunc(n.Schemas, func(in catalog.PublishedIn) bool { return in.Schema == sc.ID })
			} else {
				if o.Columns != nil || o.Where != nil {
					return pgerr.New(pgerr.SyntaxError, "column list must not be specified in ALTER PUBLICATION ... DROP")
				}
				t, err := x.any(o.Table)
				if err != nil {
					return err
				}
				what = "relation \"" + t.Name + "\" is"
				n.Tables = slices.DeleteFunc(n.Tables, func(pt catalog.PublishedTable) bool { return pt.Table == t.ID })
			}
			if len(n.Tables)+len(n.Schemas) == before {
				return pgerr.New(pgerr.UndefinedObject, "%s not part of the publication", what)
			}
		}
	}
	return x.View.Put(ctx, n)
}

func (x *executor) dropPublications(ctx context.Context, s *ast.DropStmt) error {
	for _, o := range s.Objects {
		if x.snap().PublicationByName(o.Names[0]) == nil && s.IfExists {
			x.notice(pgerr.UndefinedObject, "publication %q does not exist, skipping", o.Names[0])
			continue
		}
		p, err := x.publication(o.Names[0])
		if err != nil {
			return err
		}
		if err := x.View.Delete(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (x *executor) renamePublication(ctx context.Context, s *ast.RenameStmt) error {
	name := s.Sub
	if name == "" && s.Name != nil {
		name = s.Name.Names[0]
	}
	p, err := x.publication(name)
	if err != nil {
		return err
	}
	if x.snap().PublicationByName(s.New) != nil {
		return pgerr.New(pgerr.DuplicateObject, "publication %q already exists", s.New)
	}
	n := p.Clone()
	n.Name = s.New
	return x.View.Put(ctx, n)
}

func (x *executor) publicationOwner(ctx context.Context, s *ast.AlterOwnerStmt) error {
	p, err := x.publication(s.Name.Names[0])
	if err != nil {
		return err
	}
	n := p.Clone()
	if n.Owner, err = x.newOwner(s.Owner); err != nil {
		return err
	}
	return x.View.Put(ctx, n)
}

// replicaIdentity sets by what replication tells the old version of a row.
func (x *executor) replicaIdentity(ctx context.Context, t *catalog.Table, c *ast.AlterTableCmd) error {
	nt := t.Clone()
	nt.ReplIdent = map[string]byte{"DEFAULT": 'd', "FULL": 'f', "NOTHING": 'n', "INDEX": 'i'}[c.Str]
	found := false
	for _, ix := range nt.AllIndexes() {
		ix.ReplIdent = false
		if c.Str != "INDEX" || ix.Name != c.Name || ix.Hidden {
			continue
		}
		found = true
		wrong := ""
		switch {
		case !ix.Unique && !ix.Primary:
			wrong = "non-unique index"
		case ix.Deferrable:
			wrong = "non-immediate index"
		case ix.Where != "":
			wrong = "partial index"
		case ix.State != catalog.IndexPublic:
			wrong = "invalid index"
		}
		for _, k := range ix.Keys {
			if k.Column == 0 {
				wrong = "expression index"
			} else if col := nt.ColumnByNum(k.Column); wrong == "" && !col.NotNull {
				return pgerr.New(pgerr.WrongObjectType, "index %q cannot be used as replica identity because column %q is nullable", ix.Name, col.Name)
			}
		}
		if wrong != "" {
			return pgerr.New(pgerr.WrongObjectType, "cannot use %s %q as replica identity", wrong, ix.Name)
		}
		ix.ReplIdent = true
	}
	if c.Str == "INDEX" && !found {
		return pgerr.New(pgerr.UndefinedObject, "index %q for table %q does not exist", c.Name, t.Name)
	}
	return x.View.Put(ctx, nt)
}
