package ddl

import (
	"context"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// taggedObjects are the kinds of objects whose CREATE, ALTER and DROP fire event triggers.
var taggedObjects = []string{"ACCESS METHOD", "AGGREGATE", "CAST", "COLLATION", "CONSTRAINT", "CONVERSION", "DOMAIN", "EXTENSION", "FOREIGN DATA WRAPPER",
	"FOREIGN TABLE", "FUNCTION", "INDEX", "LANGUAGE", "MATERIALIZED VIEW", "OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY", "POLICY", "PROCEDURE",
	"PUBLICATION", "ROUTINE", "RULE", "SCHEMA", "SEQUENCE", "SERVER", "STATISTICS", "SUBSCRIPTION", "TABLE", "TEXT SEARCH CONFIGURATION",
	"TEXT SEARCH DICTIONARY", "TEXT SEARCH PARSER", "TEXT SEARCH TEMPLATE", "TRANSFORM", "TRIGGER", "TYPE", "USER MAPPING", "VIEW"}

var otherTags = []string{"ALTER DEFAULT PRIVILEGES", "ALTER LARGE OBJECT", "COMMENT", "CREATE TABLE AS", "DROP OWNED", "GRANT", "IMPORT FOREIGN SCHEMA",
	"REFRESH MATERIALIZED VIEW", "REVOKE", "SECURITY LABEL", "SELECT INTO"}

// FiresEvents says whether a command fires event triggers: those about objects of the whole cluster, and about event triggers, do not.
func FiresEvents(tag string) bool {
	if slices.Contains(otherTags, tag) {
		return true
	}
	_, object, _ := strings.Cut(tag, " ")
	return slices.Contains(taggedObjects, object)
}

// clusterTags are commands that are known but fire nothing.
var clusterTags = []string{"DATABASE", "ROLE", "TABLESPACE", "EVENT TRIGGER"}

func (x *executor) createEventTrigger(ctx context.Context, s *ast.CreateEventTriggerStmt) error {
	if x.OlderDefinitions {
		return errOlderNodes("event triggers")
	}
	if err := x.mayEventTrigger("create", s.Name); err != nil {
		return err
	}
	switch s.Event {
	case "ddl_command_start", "ddl_command_end", "sql_drop":
	case "table_rewrite":
		return pgerr.Unsupported("event triggers on table_rewrite are not supported")
	default:
		return pgerr.New(pgerr.SyntaxError, "unrecognized event name %q", s.Event)
	}
	e := &catalog.EventTrigger{Header: catalog.Header{Name: s.Name, Owner: x.User}, DB: x.snap().Database().ID, Event: s.Event, Enabled: 'O'}
	for i, f := range s.Filter {
		if f.Name != "tag" {
			return pgerr.New(pgerr.SyntaxError, "unrecognized filter variable %q", f.Name)
		}
		if i > 0 {
			return pgerr.New(pgerr.SyntaxError, "filter variable %q specified more than once", f.Name)
		}
		for _, v := range f.Arg.Names {
			tag := strings.ToUpper(v)
			if !FiresEvents(tag) {
				if _, object, _ := strings.Cut(tag, " "); slices.Contains(clusterTags, object) {
					return pgerr.Unsupported("event triggers are not supported for %s", v)
				}
				return pgerr.New(pgerr.SyntaxError, "filter value %q not recognized for filter variable \"tag\"", v)
			}
			e.Tags = append(e.Tags, tag)
		}
	}
	if x.snap().EventTriggerByName(s.Name) != nil {
		return pgerr.New(pgerr.DuplicateObject, "event trigger %q already exists", s.Name)
	}
	f, err := x.routine(&ast.FuncSig{Name: s.Func}, ast.ObjFunction)
	if err != nil {
		return err
	}
	if f.Ret.OID != types.OIDEventTrigger {
		return pgerr.New(pgerr.InvalidObjectDefinition, "function %s must return type event_trigger", strings.Join(s.Func, "."))
	}
	e.Function = f.ID
	if e.ID, err = x.View.NewID(ctx); err != nil {
		return err
	}
	return x.View.Put(ctx, e)
}

// mayEventTrigger refuses event triggers to all but superusers: they see what everyone does.
func (x *executor) mayEventTrigger(verb, name string) error {
	if r := x.snap().RoleByID(x.User); r == nil || !r.Super {
		return pgerr.New(pgerr.InsufficientPrivilege, "permission denied to %s event trigger %q", verb, name).
			WithHint("Must be superuser to %s an event trigger.", verb)
	}
	return nil
}

// eventTrigger finds an event trigger that the user owns.
func (x *executor) eventTrigger(name string) (*catalog.EventTrigger, error) {
	e := x.snap().EventTriggerByName(name)
	if e == nil {
		return nil, pgerr.New(pgerr.UndefinedObject, "event trigger %q does not exist", name)
	}
	return e, x.own(&e.Header, "event trigger")
}

func (x *executor) enableEventTrigger(ctx context.Context, s *ast.AlterEventTriggerStmt) error {
	e, err := x.eventTrigger(s.Name)
	if err != nil {
		return err
	}
	n := e.Clone()
	n.Enabled = s.Enabled
	return x.View.Put(ctx, n)
}

func (x *executor) dropEventTriggers(ctx context.Context, s *ast.DropStmt) error {
	for _, o := range s.Objects {
		if x.snap().EventTriggerByName(o.Names[0]) == nil && s.IfExists {
			x.notice(pgerr.SuccessfulCompletion, "event trigger %q does not exist, skipping", o.Names[0])
			continue
		}
		e, err := x.eventTrigger(o.Names[0])
		if err != nil {
			return err
		}
		if err := x.View.Delete(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

func (x *executor) renameEventTrigger(ctx context.Context, s *ast.RenameStmt) error {
	name := s.Sub
	if name == "" && s.Name != nil {
		name = s.Name.Names[0]
	}
	e, err := x.eventTrigger(name)
	if err != nil {
		return err
	}
	if x.snap().EventTriggerByName(s.New) != nil {
		return pgerr.New(pgerr.DuplicateObject, "event trigger %q already exists", s.New)
	}
	n := e.Clone()
	n.Name = s.New
	return x.View.Put(ctx, n)
}

func (x *executor) eventTriggerOwner(ctx context.Context, s *ast.AlterOwnerStmt) error {
	e, err := x.eventTrigger(s.Name.Names[0])
	if err != nil {
		return err
	}
	n := e.Clone()
	if n.Owner, err = x.newOwner(s.Owner); err != nil {
		return err
	}
	if r := x.snap().RoleByID(n.Owner); r != nil && !r.Super {
		return pgerr.New(pgerr.InsufficientPrivilege, "permission denied to change owner of event trigger %q", e.Name).
			WithHint("The owner of an event trigger must be a superuser.")
	}
	return x.View.Put(ctx, n)
}
