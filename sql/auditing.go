package sql

import (
	"net"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/audit"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
)

// auditing is what a session records, by the settings pgaudit.*, and what the statement under way has touched.
type auditing struct {
	on       bool
	classes  auditClass
	role     string // whose privileges say which objects are watched
	catalog  bool   // relations of the system catalog, too
	relation bool   // an event for each relation
	text     bool
	rows     bool
	verb     string      // of the statement's last plan
	needs    []plan.Need // of all its plans, those of functions included
}

// auditClass is a set of classes of statements.
type auditClass uint16

const (
	auditRead auditClass = 1 << iota
	auditWrite
	auditFunction
	auditRole
	auditDDL
	auditMisc
	auditMiscSet
	auditAll = auditMiscSet<<1 - 1
)

var auditClasses = map[string]auditClass{"read": auditRead, "write": auditWrite, "function": auditFunction, "role": auditRole,
	"ddl": auditDDL, "misc": auditMisc, "misc_set": auditMiscSet, "all": auditAll, "none": 0}

func (c auditClass) String() string {
	for name, one := range auditClasses {
		if c == one {
			return strings.ToUpper(name)
		}
	}
	return ""
}

// parseAuditClasses reads a list such as "all, -misc".
func parseAuditClasses(v string) (set auditClass, err error) {
	for word := range strings.SplitSeq(v, ",") {
		word = strings.ToLower(strings.Trim(strings.TrimSpace(word), `"'`))
		name, without := strings.CutPrefix(word, "-")
		c, ok := auditClasses[name]
		switch {
		case word == "":
		case !ok:
			return 0, invalidValue("pgaudit.log", v).WithHint("Give read, write, function, role, ddl, misc, misc_set, all or none, with a minus before what is left out.")
		case without:
			set &^= c
		case name == "none":
			set = 0
		default:
			set |= c
		}
	}
	return set, nil
}

func checkAuditLog(_ *Session, v string) (string, error) {
	_, err := parseAuditClasses(v)
	return v, err
}

// checkAuditParameter refuses what would put the content of rows, and secrets, into the log.
func checkAuditParameter(_ *Session, v string) (string, error) {
	if v == "on" {
		return "", pgerr.Unsupported("pgaudit.log_parameter is not supported: values of parameters are not recorded")
	}
	return v, nil
}

func assignAudit(s *Session, _ string) {
	a := &s.audit
	a.classes, _ = parseAuditClasses(s.setting("pgaudit.log"))
	a.role = s.setting("pgaudit.role")
	a.catalog = s.setting("pgaudit.log_catalog") == "on"
	a.relation = s.setting("pgaudit.log_relation") == "on"
	a.text = s.setting("pgaudit.log_statement") == "on"
	a.rows = s.setting("pgaudit.log_rows") == "on"
	a.on = s.srv.cfg.Audit != nil && (a.classes != 0 || a.role != "")
}

// auditPlan notes what a plan touches, before its privileges are checked.
func (s *Session) auditPlan(p *plan.Plan) {
	s.audit.verb = p.Verb
	s.audit.needs = append(s.audit.needs, p.Needs...)
	for _, id := range p.Tables {
		s.audit.needs = append(s.audit.needs, plan.Need{ID: id}) // for relations that need no privilege
	}
}

// auditCall notes a function that is called.
func (s *Session) auditCall(f *catalog.Function) {
	if !slices.ContainsFunc(s.audit.needs, func(n plan.Need) bool { return n.ID == f.ID && n.Priv == 'X' }) {
		s.audit.needs = append(s.audit.needs, plan.Need{ID: f.ID, Priv: 'X'})
	}
}

// classOf tells a statement's class. verb is that of the plan it has run, if any.
func classOf(node ast.Stmt, verb string) auditClass {
	byVerb := func() auditClass {
		switch verb {
		case "INSERT", "UPDATE", "DELETE", "MERGE":
			return auditWrite
		case "":
			return auditMisc
		}
		return auditRead
	}
	switch n := node.(type) {
	case *ast.SelectStmt:
		if n.Into != nil {
			return auditDDL
		}
		return auditRead
	case *ast.InsertStmt, *ast.UpdateStmt, *ast.DeleteStmt, *ast.MergeStmt, *ast.TruncateStmt:
		return auditWrite
	case *ast.CopyStmt:
		if n.From {
			return auditWrite
		}
		return auditRead
	case *ast.ExplainStmt:
		if n.Query != nil {
			return classOf(n.Query, verb)
		}
		return auditRead
	case *ast.ExecuteStmt, *ast.FetchStmt:
		return byVerb()
	case *ast.DeclareCursorStmt:
		return auditRead
	case *ast.CallStmt, *ast.DoStmt:
		return auditFunction
	case *ast.SetStmt:
		return auditMiscSet
	case *ast.CreateRoleStmt, *ast.AlterRoleStmt, *ast.AlterRoleSetStmt, *ast.DropRoleStmt, *ast.GrantStmt, *ast.GrantRoleStmt,
		*ast.AlterDefaultPrivilegesStmt, *ast.ReassignOwnedStmt, *ast.DropOwnedStmt:
		return auditRole
	case *ast.TransactionStmt, *ast.ShowStmt, *ast.DiscardStmt, *ast.ConstraintsSetStmt, *ast.PrepareStmt, *ast.DeallocateStmt, *ast.CloseStmt,
		*ast.ListenStmt, *ast.UnlistenStmt, *ast.NotifyStmt, *ast.LockStmt, *ast.VacuumStmt, *ast.CheckpointStmt, *ast.LoadStmt:
		return auditMisc
	}
	return auditDDL
}

// auditEnd records a statement that has ended.
func (s *Session) auditEnd(st *statement, err error, took time.Duration, rows int64) {
	a := &s.audit
	needs, verb := a.needs, a.verb
	a.needs, a.verb = a.needs[:0], ""
	class := classOf(st.node, verb)
	e := audit.Event{Time: s.now(), Event: "session", Session: s.pid, User: s.args.User, Database: s.args.Database,
		Application: s.setting("application_name"), Client: clientOf(s.args.Remote), TLS: s.args.TLS != nil,
		Class: class.String(), Command: st.node.Tag(), Micros: took.Microseconds()}
	if s.user != s.args.User {
		e.Role = s.user
	}
	if a.text {
		e.Statement = parser.Fingerprint(st.source())
	}
	if err != nil {
		e.State = WireError(err).Code
	} else if a.rows {
		e.Rows = &rows
	}
	s.stmtCtx.mu.Lock()
	if sc := trace.SpanContextFromContext(s.stmtCtx.traced); sc.IsValid() {
		e.Trace = sc.TraceID().String()
	}
	s.stmtCtx.mu.Unlock()
	objects, watched := s.auditedObjects(needs)
	for _, o := range watched {
		e := e
		e.Event, e.ObjectType, e.Object = "object", o.kind, o.name
		s.srv.cfg.Audit.Write(&e)
	}
	if a.classes&class == 0 {
		if a.classes&auditFunction == 0 {
			return
		}
		// A query that calls functions is of that class, too, for the sake of these.
		objects = slices.DeleteFunc(objects, func(o auditedObject) bool { return o.kind != "FUNCTION" && o.kind != "PROCEDURE" })
		if len(objects) == 0 {
			return
		}
		e.Class = auditFunction.String()
	}
	if len(objects) > 0 && !a.catalog && !slices.ContainsFunc(objects, func(o auditedObject) bool { return !o.system }) {
		return
	}
	switch {
	case len(objects) == 1, a.relation && len(objects) > 0:
		for _, o := range objects {
			e.ObjectType, e.Object = o.kind, o.name
			s.srv.cfg.Audit.Write(&e)
		}
	default:
		s.srv.cfg.Audit.Write(&e)
	}
}

// auditedObject is a relation or function that a statement has touched.
type auditedObject struct {
	kind, name string
	system     bool
}

// auditedObjects names what a statement has touched, and which of it the audit role has a privilege on that the statement used.
func (s *Session) auditedObjects(needs []plan.Need) (all, watched []auditedObject) {
	if len(needs) == 0 {
		return nil, nil
	}
	c, ok := s.srv.cfg.Catalog.(*nodeCatalog)
	if !ok {
		return nil, nil
	}
	snap := c.cfg.Manager.Snapshot(s.databaseID)
	var role *catalog.Role
	if s.audit.role != "" {
		role = snap.RoleByName(s.audit.role)
	}
	seen := map[uint32]bool{}
	for i := range needs {
		n := &needs[i]
		if n.Schema != "" {
			continue
		}
		var o auditedObject
		watch := false
		if n.Priv == 'X' {
			f := snap.FunctionByID(n.ID)
			if f == nil {
				continue
			}
			o.kind, o.name = "FUNCTION", snap.SchemaName(f.Schema)+"."+f.Name
			if f.Procedure {
				o.kind = "PROCEDURE"
			}
		} else {
			t := snap.TableByID(n.ID)
			if t == nil || n.Priv == 0 && t.Virtual == nil {
				continue
			}
			o.kind, o.name = strings.ToUpper(relationWord(t)), snap.SchemaName(t.Schema)+"."+t.Name
			o.system = t.Virtual != nil
			watch = role != nil && !o.system && snap.MayTable(role.ID, t, n.Priv, n.Cols)
		}
		if !seen[n.ID] {
			seen[n.ID] = true
			all = append(all, o)
		}
		if watch && !slices.Contains(watched, o) {
			watched = append(watched, o)
		}
	}
	return all, watched
}

func clientOf(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}
