package ddl

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// Locality is where a node is.
type Locality struct{ Region, Zone string }

// tablespaceOptions are the options a tablespace may have. Those of PostgreSQL are kept and have no effect.
var tablespaceOptions = []string{"regions", "replicas", "leaders", "global", "survive",
	"seq_page_cost", "random_page_cost", "effective_io_concurrency", "maintenance_io_concurrency"}

// defaultReplicas is the number of voters where a tablespace does not say.
const defaultReplicas = 3

func (x *executor) createTablespace(ctx context.Context, s *ast.CreateTablespaceStmt) error {
	if !x.superuser() {
		return pgerr.New(pgerr.InsufficientPrivilege, "permission denied to create tablespace %q", s.Name).
			WithHint("Must be superuser to create a tablespace.")
	}
	if err := checkTablespaceName(s.Name); err != nil {
		return err
	}
	if s.Location != "" {
		return pgerr.New(pgerr.InvalidObjectDefinition, "tablespace location must be empty").
			WithHint("A tablespace is a placement: say LOCATION '' and give regions, replicas and leaders as options.")
	}
	if x.snap().TablespaceByName(s.Name) != nil {
		return pgerr.New(pgerr.DuplicateObject, "tablespace %q already exists", s.Name)
	}
	t := &catalog.Tablespace{Header: catalog.Header{Name: s.Name, Owner: x.User}}
	if s.Owner != nil {
		r, err := x.role(s.Owner)
		if err != nil {
			return err
		}
		t.Owner = r.ID
	}
	if err := x.setTablespaceOptions(ctx, t, s.Options); err != nil {
		return err
	}
	var err error
	if t.ID, err = x.View.NewID(ctx); err != nil {
		return err
	}
	return x.View.Put(ctx, t)
}

func checkTablespaceName(name string) error {
	if strings.HasPrefix(name, "pg_") {
		return pgerr.New(pgerr.ReservedName, "unacceptable tablespace name %q", name).
			WithDetail("The prefix \"pg_\" is reserved for system tablespaces.")
	}
	return nil
}

// setTablespaceOptions adds options to a tablespace, checks all it has then, and whether the cluster can keep them.
func (x *executor) setTablespaceOptions(ctx context.Context, t *catalog.Tablespace, opts []*ast.DefElem) error {
	t.Options = slices.Clone(t.Options)
	seen := map[string]bool{}
	for _, o := range opts {
		if o.Namespace != "" || !slices.Contains(tablespaceOptions, o.Name) {
			name := o.Name
			if o.Namespace != "" {
				name = o.Namespace + "." + name
			}
			return pgerr.New(pgerr.InvalidParameterValue, "unrecognized parameter %q", name)
		}
		if seen[o.Name] {
			return pgerr.New(pgerr.InvalidParameterValue, "parameter %q specified more than once", o.Name)
		}
		seen[o.Name] = true
		t.Options = slices.DeleteFunc(t.Options, func(s string) bool { return strings.HasPrefix(s, o.Name+"=") })
		t.Options = append(t.Options, relOptions([]*ast.DefElem{o})...)
	}
	p, err := catalog.ParseTablespaceOptions(t.Options)
	if err != nil {
		return pgerr.New(pgerr.InvalidParameterValue, "%s", err.Error())
	}
	if x.Nodes == nil {
		return nil
	}
	nodes, err := x.Nodes(ctx)
	if err != nil {
		return err
	}
	return x.checkPlacement(t.Name, p, nodes)
}

// checkPlacement checks what a tablespace asks for against the nodes there are: regions must exist, and a survival
// goal must be within reach. Too few nodes for the replicas alone are only warned about: placement makes as many as
// it can, and more when nodes join.
func (x *executor) checkPlacement(name string, p catalog.TablespaceOptions, nodes []Locality) error {
	regions := map[string]int{}
	for _, n := range nodes {
		regions[n.Region]++
	}
	for _, option := range []struct {
		name string
		list []string
	}{{"regions", p.Regions}, {"leaders", p.Leaders}} {
		for _, r := range option.list {
			if regions[r] == 0 {
				return pgerr.New(pgerr.InvalidParameterValue, "region %q in option %q of tablespace %q does not exist", r, option.name, name).
					WithDetail("The cluster has nodes in %s.", strings.Join(slices.Sorted(maps.Keys(regions)), ", "))
			}
			if option.name == "leaders" && len(p.Regions) > 0 && !slices.Contains(p.Regions, r) {
				return pgerr.New(pgerr.InvalidParameterValue, "region %q in option \"leaders\" of tablespace %q is none of its regions", r, name).
					WithDetail("Leaders are chosen among the replicas, which option \"regions\" keeps in %s.", strings.Join(p.Regions, ", "))
			}
		}
	}
	replicas := p.Replicas
	if replicas == 0 {
		replicas = defaultReplicas
	}
	zones, homes, usable := map[Locality]int{}, map[string]int{}, 0
	for _, n := range nodes {
		if len(p.Regions) == 0 || slices.Contains(p.Regions, n.Region) {
			zones[n]++
			homes[n.Region]++
			usable++
		}
	}
	where := "the cluster"
	if len(p.Regions) > 0 {
		where = strings.Join(p.Regions, ", ")
	}
	if p.Survive == "" {
		if usable < p.Replicas {
			x.warning(pgerr.Warning, "tablespace %q asks for %d replicas, and %s has %s", name, replicas, where, counted(usable, "node"))
		}
		return nil
	}
	// A quorum is left when no domain holds more than a minority.
	minority := (replicas - 1) / 2
	if minority == 0 {
		return pgerr.New(pgerr.InvalidParameterValue, "tablespace %q cannot survive the loss of a %s with %d replica", name, p.Survive, replicas).
			WithHint("Set replicas to 3 or more.")
	}
	room, domains := 0, 0
	if p.Survive == catalog.SurviveRegion {
		domains = len(homes)
		for _, n := range homes {
			room += min(n, minority)
		}
	} else {
		domains = len(zones)
		for _, n := range zones {
			room += min(n, minority)
		}
	}
	if room >= replicas {
		return nil
	}
	return pgerr.New(pgerr.ObjectNotInPrerequisiteState, "tablespace %q cannot survive the loss of a %s", name, p.Survive).
		WithDetail("Of %d replicas no %s may hold more than %d. The nodes in %s are in %s, which leaves room for %d.",
			replicas, p.Survive, minority, where, counted(domains, p.Survive), room).
		WithHint("Name more regions, add nodes in another %s, or ask for fewer replicas.", p.Survive)
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return utoa(uint32(n)) + " " + what + "s"
}

func (x *executor) warning(code, format string, args ...any) {
	if x.Notice != nil {
		x.Notice(pgerr.New(code, format, args...).WithSeverity(pgerr.SeverityWarning))
	}
}

// ownTablespace finds a tablespace that the user is to change.
func (x *executor) ownTablespace(name string) (*catalog.Tablespace, error) {
	t := x.snap().TablespaceByName(name)
	if t == nil {
		return nil, noTablespace(name)
	}
	return t, x.own(&t.Header, "tablespace")
}

func noTablespace(name string) error {
	return pgerr.New(pgerr.UndefinedObject, "tablespace %q does not exist", name)
}

// alterTablespace is ALTER TABLESPACE ... SET and RESET. The policies of what is in it change in the same transaction.
func (x *executor) alterTablespace(ctx context.Context, s *ast.AlterTablespaceStmt) error {
	t, err := x.ownTablespace(s.Name)
	if err != nil {
		return err
	}
	n := *t
	if s.Reset {
		n.Options = slices.Clone(t.Options)
		for _, o := range s.Options {
			if o.Arg != nil {
				return pgerr.New(pgerr.SyntaxError, "RESET must not include values for parameters")
			}
			n.Options = slices.DeleteFunc(n.Options, func(s string) bool { return strings.HasPrefix(s, o.Name+"=") })
		}
		err = x.setTablespaceOptions(ctx, &n, nil)
	} else {
		err = x.setTablespaceOptions(ctx, &n, s.Options)
	}
	if err != nil {
		return err
	}
	if t.ID == catalog.GlobalTablespaceID {
		if o, err := catalog.ParseTablespaceOptions(n.Options); err != nil || len(o.Regions)+len(o.Leaders)+o.Replicas > 0 || o.Follow || o.Global || o.Survive != "" {
			return pgerr.Unsupported("the placement of tablespace %q cannot be changed", t.Name)
		}
	}
	return x.View.Put(ctx, &n)
}

func (x *executor) renameTablespace(ctx context.Context, s *ast.RenameStmt) error {
	t, err := x.ownTablespace(s.Sub)
	if err != nil {
		return err
	}
	if err := checkTablespaceName(s.New); err != nil {
		return err
	}
	if x.snap().TablespaceByName(s.New) != nil {
		return pgerr.New(pgerr.DuplicateObject, "tablespace %q already exists", s.New)
	}
	n := *t
	n.Name = s.New
	return x.View.Put(ctx, &n)
}

func (x *executor) dropTablespace(ctx context.Context, s *ast.DropTablespaceStmt) error {
	t := x.snap().TablespaceByName(s.Name)
	if t == nil {
		if s.IfExists {
			x.notice("00000", "tablespace %q does not exist, skipping", s.Name)
			return nil
		}
		return noTablespace(s.Name)
	}
	if err := x.own(&t.Header, "tablespace"); err != nil {
		return err
	}
	if t.ID < catalog.FirstUserID {
		return pgerr.New(pgerr.InsufficientPrivilege, "permission denied for tablespace %s", t.Name)
	}
	if users := x.tablespaceUsers(t.ID); len(users) > 0 {
		return pgerr.New(pgerr.ObjectNotInPrerequisiteState, "tablespace %q is not empty", t.Name).
			WithDetail("%s", strings.Join(users, "\n"))
	}
	return x.View.Delete(ctx, t)
}

// maxUsers bounds the objects that an error names.
const maxUsers = 10

// tablespaceUsers names objects of any database that are in a tablespace.
func (x *executor) tablespaceUsers(id uint32) []string {
	var out []string
	for _, d := range x.snap().Databases() {
		if d.Tablespace == id {
			out = append(out, "default tablespace of database "+d.Name)
		}
		for _, t := range x.snap().InDatabase(d.ID).Tables() {
			if t.Tablespace == id {
				out = append(out, kindWord(t)+" "+t.Name+" in database "+d.Name)
			}
			for _, ix := range t.AllIndexes() {
				if ix.Tablespace == id {
					out = append(out, "index "+ix.Name+" in database "+d.Name)
				}
			}
			if len(out) > maxUsers {
				return append(out[:maxUsers], "and more")
			}
		}
	}
	return out
}

// tablespaceFor finds the tablespace of a new or moved relation: 0 stands for the database's default. An empty name
// means none was given, and default_tablespace decides.
func (x *executor) tablespaceFor(name string, temporary, partitioned bool) (uint32, error) {
	given := name != ""
	if !given {
		if name = x.DefaultTablespace; name == "" || temporary {
			return 0, nil
		}
		if x.snap().TablespaceByName(name) == nil {
			return 0, nil // it has been dropped since it was set
		}
	}
	id, err := x.tablespace(name)
	if err != nil {
		return 0, err
	}
	if id == 0 && partitioned {
		// PostgreSQL could not tell this from none given, which partitions would inherit.
		return 0, pgerr.Unsupported("cannot specify default tablespace for partitioned relations")
	}
	return id, nil
}

// tablespace finds a tablespace by name that the user may put relations of this database into.
func (x *executor) tablespace(name string) (uint32, error) {
	t := x.snap().TablespaceByName(name)
	switch {
	case t == nil:
		return 0, noTablespace(name)
	case t.ID == x.snap().Database().TablespaceID():
		return 0, nil
	case t.ID == catalog.GlobalTablespaceID:
		return 0, pgerr.New(pgerr.InvalidParameterValue, "only shared relations can be placed in pg_global tablespace")
	}
	return t.ID, x.mayUseTablespace(t)
}

func (x *executor) mayUseTablespace(t *catalog.Tablespace) error {
	if x.snap().HasPrivsOf(x.User, t.Owner) || x.snap().Grants(t.ACL, x.User, 'C') {
		return nil
	}
	return pgerr.New(pgerr.InsufficientPrivilege, "permission denied for tablespace %s", t.Name)
}

// moveIndex is ALTER INDEX ... SET TABLESPACE.
func (x *executor) moveIndex(ctx context.Context, rel catalog.Relation, name string) error {
	if err := x.ownTable(rel.Table); err != nil {
		return err
	}
	id, err := x.tablespace(name)
	if err != nil {
		return err
	}
	nt := x.snap().TableByID(rel.Table.ID).Clone()
	for _, ix := range nt.AllIndexes() {
		if ix.OID == rel.Index.OID {
			ix.Tablespace = id
		}
	}
	return x.View.Put(ctx, nt)
}

// moveAll is ALTER TABLE, INDEX or MATERIALIZED VIEW ALL IN TABLESPACE ... SET TABLESPACE.
func (x *executor) moveAll(ctx context.Context, s *ast.MoveAllStmt) error {
	from := x.snap().TablespaceByName(s.From)
	if from == nil {
		return noTablespace(s.From)
	}
	if from.ID == catalog.GlobalTablespaceID {
		return pgerr.New(pgerr.ObjectNotInPrerequisiteState, "cannot move relations in to or out of pg_global tablespace")
	}
	source := from.ID
	if source == x.snap().Database().TablespaceID() {
		source = 0
	}
	target, err := x.tablespace(s.To)
	if err != nil {
		return err
	}
	if source == target {
		return nil
	}
	var owners []uint32
	for _, r := range s.Owners {
		role, err := x.role(r)
		if err != nil {
			return err
		}
		owners = append(owners, role.ID)
	}
	found := false
	for _, t := range x.snap().Tables() {
		if len(owners) > 0 && !slices.Contains(owners, t.Owner) || !t.IsTable() {
			continue
		}
		nt, changed := t.Clone(), false
		switch {
		case s.Object == ast.ObjIndex:
			for _, ix := range nt.AllIndexes() {
				if !ix.Hidden && ix.Tablespace == source {
					ix.Tablespace, changed = target, true
				}
			}
		case (s.Object == ast.ObjMatView) == (t.Kind == catalog.RelMatView) && t.Tablespace == source:
			nt.Tablespace, changed = target, true
		}
		if !changed {
			continue
		}
		found = true
		if err := x.ownTable(t); err != nil {
			return err
		}
		if err := x.View.Put(ctx, nt); err != nil {
			return err
		}
	}
	if !found {
		x.notice("02000", "no matching relations in tablespace %q found", s.From)
	}
	return nil
}
