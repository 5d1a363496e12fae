package main

import (
	"fmt"
	"net/url"
	"strings"
)

const shellHelp = `  \q                quit
  \? or \h          this help
  \conninfo         the connection
  \c DATABASE       connect to another database
  \d [NAME]         list relations, or describe one
  \dt \di \dv \ds   list tables, indexes, views, sequences
  \dn \du \l        list schemas, roles, databases
  \x                expanded output on or off
  \t  \a            rows only, unaligned output on or off
  \timing           timing of statements on or off
  \i FILE           run the commands in a file
  \echo TEXT        print text
  \nodes            the nodes of the cluster
`

const relationQuery = `SELECT n.nspname AS "Schema", c.relname AS "Name",
  CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'i' THEN 'index'
    WHEN 'S' THEN 'sequence' WHEN 'p' THEN 'partitioned table' ELSE c.relkind::text END AS "Type",
  pg_catalog.pg_get_userbyid(c.relowner) AS "Owner"
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN (%s) AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'meridian')
ORDER BY 1, 2`

var shellQueries = map[string]string{
	`\d`:  fmt.Sprintf(relationQuery, `'r','p','v','m','S'`),
	`\dt`: fmt.Sprintf(relationQuery, `'r','p'`),
	`\di`: fmt.Sprintf(relationQuery, `'i'`),
	`\dv`: fmt.Sprintf(relationQuery, `'v','m'`),
	`\ds`: fmt.Sprintf(relationQuery, `'S'`),
	`\dn`: `SELECT nspname AS "Name", pg_catalog.pg_get_userbyid(nspowner) AS "Owner" FROM pg_catalog.pg_namespace
WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'meridian') ORDER BY 1`,
	`\du`: `SELECT rolname AS "Role name", rolsuper AS "Superuser", rolcreaterole AS "Create role", rolcreatedb AS "Create DB",
rolcanlogin AS "Login" FROM pg_catalog.pg_roles WHERE rolname !~ '^pg_' ORDER BY 1`,
	`\l`: `SELECT datname AS "Name", pg_catalog.pg_get_userbyid(datdba) AS "Owner", pg_catalog.pg_encoding_to_char(encoding) AS "Encoding"
FROM pg_catalog.pg_database ORDER BY 1`,
	`\nodes`: `SELECT * FROM meridian.nodes ORDER BY 1`,
}

// meta runs a backslash command.
func (sh *shell) meta(line string) error {
	name, rest, _ := strings.Cut(strings.TrimSuffix(line, ";"), " ")
	rest = strings.TrimSpace(rest)
	name = strings.TrimSuffix(name, "+")
	sh.failed = false
	switch name {
	case `\q`, `\quit`:
		sh.quit = true
	case `\?`, `\h`, `\help`:
		fmt.Fprint(sh.out, shellHelp)
	case `\timing`:
		sh.toggle("Timing", &sh.timing, rest)
	case `\x`:
		sh.toggle("Expanded display", &sh.expanded, rest)
	case `\t`:
		sh.toggle("Tuples only", &sh.tuplesOnly, rest)
	case `\a`:
		sh.toggle("Unaligned output", &sh.unaligned, rest)
	case `\echo`:
		fmt.Fprintln(sh.out, rest)
	case `\conninfo`:
		fmt.Fprintf(sh.out, "Connected to %s (server %s, process %d).\n", redact(sh.url), sh.conn.ParameterStatus("server_version"), sh.conn.PID())
	case `\c`, `\connect`:
		return sh.reconnect(rest)
	case `\i`:
		return sh.runFile(rest)
	case `\g`:
	case `\d`:
		if rest != "" {
			return sh.describe(rest)
		}
		return sh.runStatement(shellQueries[name])
	default:
		q, ok := shellQueries[name]
		if !ok {
			sh.failed = true
			fmt.Fprintf(sh.errOut, "invalid command %s\nTry \\? for help.\n", name)
			return nil
		}
		return sh.runStatement(q)
	}
	return nil
}

func (sh *shell) toggle(what string, v *bool, arg string) {
	switch arg {
	case "on":
		*v = true
	case "off":
		*v = false
	default:
		*v = !*v
	}
	state := "off"
	if *v {
		state = "on"
	}
	fmt.Fprintf(sh.out, "%s is %s.\n", what, state)
}

// redact leaves the password out of a URL.
func redact(s string) string {
	if u, err := url.Parse(s); err == nil && u.Scheme != "" {
		return u.Redacted()
	}
	return "server"
}

// reconnect is \c.
func (sh *shell) reconnect(database string) error {
	target := sh.url
	if database != "" {
		u, err := url.Parse(sh.url)
		if err != nil || u.Scheme == "" {
			target = sh.url + " dbname=" + database
		} else {
			u.Path = "/" + database
			target = u.String()
		}
	}
	if err := sh.connect(nil, target); err != nil {
		sh.failed = true
		fmt.Fprintf(sh.errOut, "%v\nPrevious connection kept\n", err)
		return nil
	}
	sh.url = target
	fmt.Fprintln(sh.out, "You are now connected.")
	return nil
}

func quoteLiteral(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// describe is \d NAME: columns, indexes, constraints and the references to a table.
func (sh *shell) describe(name string) error {
	rel := quoteLiteral(name) + "::pg_catalog.regclass"
	timing, tuples := sh.timing, sh.tuplesOnly
	defer func() { sh.timing, sh.tuplesOnly = timing, tuples }()
	sh.timing = false
	err := sh.runStatement(`SELECT a.attname AS "Column", pg_catalog.format_type(a.atttypid, a.atttypmod) AS "Type",
  CASE WHEN a.attnotnull THEN 'not null' ELSE '' END AS "Nullable",
  coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), '') AS "Default"
FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = ` + rel + ` AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`)
	if err != nil || sh.failed {
		return err
	}
	sh.tuplesOnly = true
	for _, part := range []struct{ title, query string }{
		{"Indexes:", `SELECT '    ' || pg_catalog.pg_get_indexdef(i.indexrelid) FROM pg_catalog.pg_index i WHERE i.indrelid = ` + rel + ` ORDER BY i.indisprimary DESC, 1`},
		{"Constraints:", `SELECT '    ' || conname || ' ' || pg_catalog.pg_get_constraintdef(oid) FROM pg_catalog.pg_constraint WHERE conrelid = ` + rel + ` ORDER BY contype, conname`},
	} {
		fmt.Fprintln(sh.out, part.title)
		if err := sh.runStatement(part.query); err != nil || sh.failed {
			return err
		}
	}
	return nil
}
