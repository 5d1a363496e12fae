package ddl

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// privLetters are PostgreSQL's letters for privileges.
var privLetters = map[string]byte{
	"select": 'r', "insert": 'a', "update": 'w', "delete": 'd', "truncate": 'D', "references": 'x', "trigger": 't',
	"usage": 'U', "create": 'C', "connect": 'c', "temporary": 'T', "temp": 'T', "execute": 'X',
}

// allPrivs are the privileges of each kind of object, in the order PostgreSQL prints them.
var allPrivs = map[ast.ObjectType]string{
	ast.ObjTable: "arwdDxt", ast.ObjSequence: "rwU", ast.ObjSchema: "UC", ast.ObjDatabase: "CTc", ast.ObjType: "U", ast.ObjDomain: "U", ast.ObjTablespace: "C",
	ast.ObjFunction: "X",
}

func (x *executor) grant(ctx context.Context, s *ast.GrantStmt) error {
	grantees, err := x.grantees(s)
	if err != nil {
		return err
	}
	apply := func(h *catalog.Header, kind ast.ObjectType, what string) error {
		p, err := grantPrivs(s, kind)
		if err != nil || p == "" {
			return err // "": of columns only
		}
		acl := h.ACL
		if acl == nil {
			acl = defaultACL(kind, h.Owner)
		}
		h.ACL, err = x.editPrivileges(acl, aclEdit{stmt: s, grantees: grantees, owner: h.Owner, privs: p, order: allPrivs[kind],
			what: what + " " + h.Name, name: strconv.Quote(h.Name)})
		return err
	}
	if s.Target == ast.GrantAllInSchema {
		for _, o := range s.Objects {
			sc := x.snap().SchemaByName(o.Names[0])
			if sc == nil {
				return pgerr.New(pgerr.InvalidSchemaName, "schema %q does not exist", o.Names[0])
			}
			if s.Object == ast.ObjFunction || s.Object == ast.ObjProcedure || s.Object == ast.ObjRoutine {
				for _, f := range x.snap().Functions() {
					if f.Schema != sc.ID || s.Object == ast.ObjFunction && f.Procedure || s.Object == ast.ObjProcedure && !f.Procedure {
						continue
					}
					n := f.Clone()
					if err := apply(&n.Header, ast.ObjFunction, routineWord(f)); err != nil {
						return err
					}
					if err := x.View.Put(ctx, n); err != nil {
						return err
					}
				}
				continue
			}
			for _, t := range x.snap().Tables() {
				if t.Schema != sc.ID || (t.Kind == catalog.RelSequence) != (s.Object == ast.ObjSequence) {
					continue
				}
				nt := t.Clone()
				if err := apply(&nt.Header, s.Object, kindWord(t)); err != nil {
					return err
				}
				if err := x.View.Put(ctx, nt); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for _, o := range s.Objects {
		switch s.Object {
		case ast.ObjTable, ast.ObjSequence:
			t, err := x.any(rangeVarOfNames(o.Names))
			if err != nil {
				return err
			}
			if t.Virtual != nil {
				continue // everyone may read them, nobody may change them
			}
			kind := s.Object
			if t.Kind == catalog.RelSequence {
				kind = ast.ObjSequence
			}
			nt := t.Clone()
			if err := apply(&nt.Header, kind, kindWord(t)); err != nil {
				return err
			}
			if err := x.onColumns(nt, s, grantees); err != nil {
				return err
			}
			if err := x.View.Put(ctx, nt); err != nil {
				return err
			}
		case ast.ObjFunction, ast.ObjProcedure, ast.ObjRoutine, ast.ObjAggregate:
			f, err := x.routine(o.Func, s.Object)
			if err != nil {
				return err
			}
			n := f.Clone()
			if err := apply(&n.Header, ast.ObjFunction, routineWord(f)); err != nil {
				return err
			}
			if err := x.View.Put(ctx, n); err != nil {
				return err
			}
		case ast.ObjSchema:
			sc := x.snap().SchemaByName(o.Names[0])
			if sc == nil {
				return pgerr.New(pgerr.InvalidSchemaName, "schema %q does not exist", o.Names[0])
			}
			if sc.DB == 0 {
				continue
			}
			n := *sc
			n.ACL = slices.Clone(sc.ACL)
			if err := apply(&n.Header, s.Object, "schema"); err != nil {
				return err
			}
			if err := x.View.Put(ctx, &n); err != nil {
				return err
			}
		case ast.ObjDatabase:
			d := x.snap().DatabaseByName(o.Names[0])
			if d == nil {
				return pgerr.New(pgerr.UndefinedDatabase, "database %q does not exist", o.Names[0])
			}
			n := *d
			n.ACL = slices.Clone(d.ACL)
			if err := apply(&n.Header, s.Object, "database"); err != nil {
				return err
			}
			if err := x.View.Put(ctx, &n); err != nil {
				return err
			}
		case ast.ObjTablespace:
			t := x.snap().TablespaceByName(o.Names[0])
			if t == nil {
				return noTablespace(o.Names[0])
			}
			n := *t
			n.ACL = slices.Clone(t.ACL)
			if err := apply(&n.Header, s.Object, "tablespace"); err != nil {
				return err
			}
			if err := x.View.Put(ctx, &n); err != nil {
				return err
			}
		case ast.ObjType, ast.ObjDomain:
			t, err := x.userType(o.Names)
			if err != nil {
				return err
			}
			n := *t
			n.ACL = slices.Clone(t.ACL)
			if err := apply(&n.Header, s.Object, "type"); err != nil {
				return err
			}
			if err := x.View.Put(ctx, &n); err != nil {
				return err
			}
		case ast.ObjLanguage:
		default:
			return pgerr.Unsupported("GRANT ON %s is not supported", s.Object)
		}
	}
	return nil
}

// onColumns grants or revokes privileges on columns. What is revoked on the table is revoked on each of its columns.
func (x *executor) onColumns(t *catalog.Table, s *ast.GrantStmt, grantees []uint32) error {
	const all = "arwx"
	edit := func(c *catalog.Column, privs string) error {
		acl, err := x.editPrivileges(c.ACL, aclEdit{stmt: s, grantees: grantees, owner: t.Owner, privs: privs, order: all, above: t.ACL,
			what: fmt.Sprintf("column %q of relation %q", c.Name, t.Name), name: fmt.Sprintf("column %q of relation %q", c.Name, t.Name)})
		if c.ACL = acl; len(acl) == 0 {
			c.ACL = nil
		}
		return err
	}
	if whole, err := grantPrivs(s, ast.ObjTable); s.Revoke && t.Kind != catalog.RelSequence && err == nil && common(whole, all) != "" {
		for _, c := range t.Columns {
			if c.ACL != nil {
				if err := edit(c, common(whole, all)); err != nil {
					return err
				}
			}
		}
	}
	for _, p := range s.Privileges {
		if len(p.Columns) == 0 {
			continue
		}
		l, ok := privLetters[p.Name]
		if p.Name == "" {
			l, ok = 0, true // ALL
		}
		if !ok {
			return pgerr.New(pgerr.SyntaxError, "unrecognized privilege type %q", p.Name)
		}
		privs := all
		if l != 0 {
			if strings.IndexByte(all, l) < 0 {
				return pgerr.New("0LP01", "invalid privilege type %s for column", strings.ToUpper(p.Name))
			}
			privs = string(l)
		}
		for _, n := range p.Columns {
			c := t.Column(n)
			if c == nil || c.Hidden {
				return pgerr.New(pgerr.UndefinedColumn, "column %q of relation %q does not exist", n, t.Name)
			}
			if err := edit(c, privs); err != nil {
				return err
			}
		}
	}
	return nil
}

func kindPlain(kind ast.ObjectType) string {
	if kind == ast.ObjTable {
		return "relation"
	}
	return strings.ToLower(string(kind))
}

// defaultACL is what an object without an ACL grants.
func defaultACL(kind ast.ObjectType, owner uint32) []catalog.ACL {
	out := []catalog.ACL{{Role: owner, Privs: allPrivs[kind], Grantor: owner}}
	switch kind {
	case ast.ObjDatabase:
		out = append(out, catalog.ACL{Privs: "Tc", Grantor: owner})
	case ast.ObjFunction:
		out = append(out, catalog.ACL{Privs: "X", Grantor: owner})
	case ast.ObjType, ast.ObjDomain:
		out = append(out, catalog.ACL{Privs: "U", Grantor: owner})
	}
	return out
}

// grantees are the roles that GRANT or REVOKE names; 0 is PUBLIC.
func (x *executor) grantees(s *ast.GrantStmt) ([]uint32, error) {
	var out []uint32
	for _, g := range s.Grantees {
		if g.Kind == ast.RolePublic {
			out = append(out, 0)
			continue
		}
		r, err := x.role(g)
		if err != nil {
			return nil, err
		}
		out = append(out, r.ID)
	}
	return out, nil
}

// grantPrivs are the privileges on whole objects of a kind that GRANT or REVOKE names.
func grantPrivs(s *ast.GrantStmt, kind ast.ObjectType) (string, error) {
	if len(s.Privileges) == 0 {
		return allPrivs[kind], nil
	}
	out := ""
	for _, p := range s.Privileges {
		if len(p.Columns) > 0 {
			if kind != ast.ObjTable {
				return "", pgerr.New("0LP01", "column privileges are only valid for relations")
			}
			continue // onColumns does it
		}
		l, ok := privLetters[p.Name]
		if !ok {
			return "", pgerr.New(pgerr.SyntaxError, "unrecognized privilege type %q", p.Name)
		}
		if strings.IndexByte(allPrivs[kind], l) < 0 {
			return "", pgerr.New("0LP01", "invalid privilege type %s for %s", strings.ToUpper(p.Name), kindPlain(kind))
		}
		out += string(l)
	}
	return out, nil
}
