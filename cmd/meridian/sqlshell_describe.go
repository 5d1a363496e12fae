package main

import (
	"fmt"
	"strings"
)

// Patterns are psql's: * and ? are wild, a dot parts the schema from the name, without quotes letters are small.

// where makes conditions of a pattern over the columns of a schema's and an object's names. Without a schema in the pattern
// only what the search path shows counts, by visible.
func where(pattern, schemaCol, nameCol, visible string) string {
	if pattern == "" {
		return fmt.Sprintf("%s NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'meridian') AND %s", schemaCol, visible)
	}
	parts := patternParts(pattern)
	if len(parts) == 1 || schemaCol == "" {
		cond := nameCol + " ~ " + quoteLiteral(parts[len(parts)-1])
		if schemaCol != "" {
			cond += " AND " + visible
		}
		return cond
	}
	return schemaCol + " ~ " + quoteLiteral(parts[len(parts)-2]) + " AND " + nameCol + " ~ " + quoteLiteral(parts[len(parts)-1])
}

// patternParts makes anchored regular expressions of a pattern, cut at its dots.
func patternParts(pattern string) []string {
	var parts []string
	var b strings.Builder
	quoted := false
	end := func() {
		parts = append(parts, "^("+b.String()+")$")
		b.Reset()
	}
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		switch {
		case c == '"':
			quoted = !quoted
		case c == '.' && !quoted:
			end()
		case c == '*' && !quoted:
			b.WriteString(".*")
		case c == '?' && !quoted:
			b.WriteByte('.')
		case strings.IndexByte(`.^$*+?()[]{}|\`, c) >= 0:
			b.WriteString(`\` + string(c))
		case c >= 'A' && c <= 'Z' && !quoted:
			b.WriteByte(c + 'a' - 'A')
		default:
			b.WriteByte(c)
		}
	}
	end()
	return parts
}

const relkindName = `CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'i' THEN 'index'
 WHEN 'I' THEN 'partitioned index' WHEN 'S' THEN 'sequence' WHEN 'p' THEN 'partitioned table' WHEN 'f' THEN 'foreign table' ELSE c.relkind::text END`

// relations lists relations of kinds.
func relations(kinds, pattern string, more bool) string {
	cols, from := "", ""
	if strings.Contains(kinds, "'i'") {
		cols, from = `, t.relname AS "Table"`, " LEFT JOIN pg_catalog.pg_index x ON x.indexrelid = c.oid LEFT JOIN pg_catalog.pg_class t ON t.oid = x.indrelid"
	}
	if more {
		cols += `, pg_catalog.pg_size_pretty(pg_catalog.pg_table_size(c.oid)) AS "Size", pg_catalog.obj_description(c.oid, 'pg_class') AS "Description"`
	}
	return `SELECT n.nspname AS "Schema", c.relname AS "Name", ` + relkindName + ` AS "Type", pg_catalog.pg_get_userbyid(c.relowner) AS "Owner"` + cols + `
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace` + from + `
WHERE c.relkind IN (` + kinds + `) AND ` + where(pattern, "n.nspname", "c.relname", "pg_catalog.pg_table_is_visible(c.oid)") + ` ORDER BY 1, 2`
}

// listing is a command that prints a query's rows.
type listing struct {
	title string
	query func(pattern string, more bool) string
}

func plain(sql, schemaCol, nameCol, visible, order string) func(string, bool) string {
	return func(pattern string, _ bool) string {
		cond := "true"
		switch {
		case schemaCol != "" || pattern != "":
			cond = where(pattern, schemaCol, nameCol, visible)
		}
		return sql + " AND " + cond + " ORDER BY " + order
	}
}

var listings = map[string]listing{
	`\d`:    {"List of relations", func(p string, more bool) string { return relations(`'r','p','v','m','S','f'`, p, more) }},
	`\dt`:   {"List of relations", func(p string, more bool) string { return relations(`'r','p'`, p, more) }},
	`\di`:   {"List of relations", func(p string, more bool) string { return relations(`'i','I'`, p, more) }},
	`\dv`:   {"List of relations", func(p string, more bool) string { return relations(`'v'`, p, more) }},
	`\dm`:   {"List of relations", func(p string, more bool) string { return relations(`'m'`, p, more) }},
	`\ds`:   {"List of relations", func(p string, more bool) string { return relations(`'S'`, p, more) }},
	`\dn`:   {"List of schemas", plain(`SELECT nspname AS "Name", pg_catalog.pg_get_userbyid(nspowner) AS "Owner" FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'meridian')`, "", "nspname", "", "1")},
	`\du`:   {"List of roles", roleQuery},
	`\dg`:   {"List of roles", roleQuery},
	`\l`:    {"List of databases", plain(`SELECT datname AS "Name", pg_catalog.pg_get_userbyid(datdba) AS "Owner", pg_catalog.pg_encoding_to_char(encoding) AS "Encoding", datcollate AS "Collate", datctype AS "Ctype", pg_catalog.array_to_string(datacl, E'\n') AS "Access privileges" FROM pg_catalog.pg_database WHERE true`, "", "datname", "", "1")},
	`\db`:   {"List of tablespaces", plain(`SELECT spcname AS "Name", pg_catalog.pg_get_userbyid(spcowner) AS "Owner", pg_catalog.pg_tablespace_location(oid) AS "Location", pg_catalog.array_to_string(spcoptions, ', ') AS "Options" FROM pg_catalog.pg_tablespace WHERE true`, "", "spcname", "", "1")},
	`\dx`:   {"List of installed extensions", plain(`SELECT e.extname AS "Name", e.extversion AS "Version", n.nspname AS "Schema", d.description AS "Description" FROM pg_catalog.pg_extension e LEFT JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace LEFT JOIN pg_catalog.pg_description d ON d.objoid = e.oid AND d.classoid = 'pg_catalog.pg_extension'::pg_catalog.regclass WHERE true`, "", "e.extname", "", "1")},
	`\dT`:   {"List of data types", plain(`SELECT n.nspname AS "Schema", pg_catalog.format_type(t.oid, NULL) AS "Name", pg_catalog.obj_description(t.oid, 'pg_type') AS "Description" FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE (t.typrelid = 0 OR (SELECT c.relkind = 'c' FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid)) AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_type el WHERE el.oid = t.typelem AND el.typarray = t.oid)`, "n.nspname", "t.typname", "pg_catalog.pg_type_is_visible(t.oid)", "1, 2")},
	`\df`:   {"List of functions", plain(`SELECT n.nspname AS "Schema", p.proname AS "Name", pg_catalog.pg_get_function_result(p.oid) AS "Result data type", pg_catalog.pg_get_function_arguments(p.oid) AS "Argument data types", CASE p.prokind WHEN 'a' THEN 'agg' WHEN 'w' THEN 'window' WHEN 'p' THEN 'proc' ELSE 'func' END AS "Type" FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE true`, "n.nspname", "p.proname", "pg_catalog.pg_function_is_visible(p.oid)", "1, 2, 4")},
	`\dp`:   {"Access privileges", privilegeQuery},
	`\z`:    {"Access privileges", privilegeQuery},
	`\drds`: {"List of settings", plain(`SELECT rolname AS "Role", datname AS "Database", pg_catalog.array_to_string(setconfig, E'\n') AS "Settings" FROM pg_catalog.pg_db_role_setting s LEFT JOIN pg_catalog.pg_database d ON d.oid = setdatabase LEFT JOIN pg_catalog.pg_roles r ON r.oid = setrole WHERE true`, "", "rolname", "", "1, 2")},
	`\nodes`: {"Nodes of the cluster", func(string, bool) string {
		return `SELECT node_id, region, zone, sql_address, version, live, state, replicas, leaders, pg_catalog.pg_size_pretty(bytes) AS size FROM meridian.nodes ORDER BY 1`
	}},
	`\ranges`: {"Ranges", func(string, bool) string {
		return `SELECT range_id, start_key, leader, replicas, pg_catalog.pg_size_pretty(size_bytes) AS size, safe_time_lag FROM meridian.ranges ORDER BY start_key`
	}},
	`\jobs`: {"Jobs", func(string, bool) string {
		return `SELECT job_id, kind, state, round(100 * fraction) || ' %' AS done, started, finished, description, error FROM meridian.jobs ORDER BY started`
	}},
	`\clock`: {"Time sources of this node", func(string, bool) string { return `SELECT * FROM meridian.clock` }},
}

var roleQuery = plain(`SELECT rolname AS "Role name", concat_ws(', ', CASE WHEN rolsuper THEN 'Superuser' END, CASE WHEN NOT rolinherit THEN 'No inheritance' END,
 CASE WHEN rolcreaterole THEN 'Create role' END, CASE WHEN rolcreatedb THEN 'Create DB' END, CASE WHEN NOT rolcanlogin THEN 'Cannot login' END,
 CASE WHEN rolreplication THEN 'Replication' END, CASE WHEN rolbypassrls THEN 'Bypass RLS' END) AS "Attributes",
 ARRAY(SELECT b.rolname FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles b ON m.roleid = b.oid WHERE m.member = r.oid) AS "Member of"
 FROM pg_catalog.pg_roles r WHERE rolname !~ '^pg_'`, "", "rolname", "", "1")

var privilegeQuery = plain(`SELECT n.nspname AS "Schema", c.relname AS "Name", `+relkindName+` AS "Type", pg_catalog.array_to_string(c.relacl, E'\n') AS "Access privileges",
 pg_catalog.array_to_string(ARRAY(SELECT attname || E':\n  ' || pg_catalog.array_to_string(attacl, E'\n  ') FROM pg_catalog.pg_attribute a
 WHERE attrelid = c.oid AND NOT attisdropped AND attacl IS NOT NULL), E'\n') AS "Column privileges"
 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r','v','m','S','f','p')`,
	"n.nspname", "c.relname", "pg_catalog.pg_table_is_visible(c.oid)", "1, 2")

// describe is \d PATTERN: each relation with its columns, and what hangs on it.
func (sh *shell) describe(pattern string, more bool) error {
	rows, err := sh.query(`SELECT c.oid, n.nspname, c.relname, ` + relkindName + ` FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r','p','v','m','S','i','I','f','c') AND ` + where(pattern, "n.nspname", "c.relname", "pg_catalog.pg_table_is_visible(c.oid)") + ` ORDER BY 2, 3`)
	if err != nil {
		return sh.complain(err, "")
	}
	if len(rows) == 0 {
		sh.failed = true
		fmt.Fprintf(sh.errOut, "Did not find any relation named \"%s\".\n", pattern)
		return nil
	}
	for _, r := range rows {
		kind := strings.ToUpper(r[3][:1]) + r[3][1:]
		if err := sh.describeOne(r[0], fmt.Sprintf("%s \"%s.%s\"", kind, r[1], r[2]), r[3], more); err != nil || sh.failed {
			return err
		}
	}
	return nil
}

func (sh *shell) describeOne(oid, title, kind string, more bool) error {
	if kind == "sequence" {
		return sh.titled(title, `SELECT pg_catalog.format_type(seqtypid, NULL) AS "Type", seqstart AS "Start", seqmin AS "Minimum", seqmax AS "Maximum",
seqincrement AS "Increment", CASE WHEN seqcycle THEN 'yes' ELSE 'no' END AS "Cycles?", seqcache AS "Cache" FROM pg_catalog.pg_sequence WHERE seqrelid = `+oid, nil)
	}
	cols := ""
	if more {
		cols = `, CASE a.attstorage WHEN 'p' THEN 'plain' WHEN 'm' THEN 'main' WHEN 'x' THEN 'extended' ELSE 'external' END AS "Storage", pg_catalog.col_description(a.attrelid, a.attnum) AS "Description"`
	}
	columns := `SELECT a.attname AS "Column", pg_catalog.format_type(a.atttypid, a.atttypmod) AS "Type",
 (SELECT c.collname FROM pg_catalog.pg_collation c, pg_catalog.pg_type t WHERE c.oid = a.attcollation AND t.oid = a.atttypid AND a.attcollation <> t.typcollation) AS "Collation",
 CASE WHEN a.attnotnull THEN 'not null' ELSE '' END AS "Nullable",
 CASE WHEN a.attidentity = 'a' THEN 'generated always as identity' WHEN a.attidentity = 'd' THEN 'generated by default as identity'
  WHEN a.attgenerated = 's' THEN 'generated always as (' || pg_catalog.pg_get_expr(d.adbin, d.adrelid) || ') stored'
  ELSE coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), '') END AS "Default"` + cols + `
FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = ` + oid + ` AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`
	if strings.HasSuffix(kind, "index") {
		columns = `SELECT a.attname AS "Column", pg_catalog.format_type(a.atttypid, a.atttypmod) AS "Type", pg_catalog.pg_get_indexdef(a.attrelid, a.attnum, true) AS "Definition"
FROM pg_catalog.pg_attribute a WHERE a.attrelid = ` + oid + ` AND a.attnum > 0 ORDER BY a.attnum`
	}
	var foot []string
	for _, part := range []struct{ title, query string }{
		{"Partition of:", `SELECT inhparent::pg_catalog.regclass || ' ' || pg_catalog.pg_get_expr(c.relpartbound, c.oid) FROM pg_catalog.pg_inherits JOIN pg_catalog.pg_class c ON c.oid = inhrelid WHERE inhrelid = %s AND c.relispartition`},
		{"Partition key:", `SELECT pg_catalog.pg_get_partkeydef(%s) WHERE EXISTS (SELECT 1 FROM pg_catalog.pg_partitioned_table WHERE partrelid = %[1]s)`},
		{"Indexes:", `SELECT '"' || c.relname || '" ' || CASE WHEN i.indisprimary THEN 'PRIMARY KEY, ' WHEN i.indisunique THEN CASE WHEN k.oid IS NULL THEN 'UNIQUE, ' ELSE 'UNIQUE CONSTRAINT, ' END ELSE '' END
 || pg_catalog.substring(pg_catalog.pg_get_indexdef(i.indexrelid), ' USING (.*)$') || CASE WHEN i.indisvalid THEN '' ELSE ' INVALID' END
 FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = i.indexrelid AND k.contype = 'u'
 WHERE i.indrelid = %s ORDER BY i.indisprimary DESC, c.relname`},
		{"Check constraints:", `SELECT '"' || conname || '" ' || pg_catalog.pg_get_constraintdef(oid, true) FROM pg_catalog.pg_constraint WHERE conrelid = %s AND contype = 'c' ORDER BY 1`},
		{"Foreign-key constraints:", `SELECT '"' || conname || '" ' || pg_catalog.pg_get_constraintdef(oid, true) FROM pg_catalog.pg_constraint WHERE conrelid = %s AND contype = 'f' ORDER BY 1`},
		{"Referenced by:", `SELECT 'TABLE "' || conrelid::pg_catalog.regclass || '" CONSTRAINT "' || conname || '" ' || pg_catalog.pg_get_constraintdef(oid, true) FROM pg_catalog.pg_constraint WHERE confrelid = %s AND contype = 'f' ORDER BY 1`},
		{"Policies:", `SELECT 'POLICY "' || polname || '"' || coalesce(' USING (' || pg_catalog.pg_get_expr(polqual, polrelid) || ')', '') FROM pg_catalog.pg_policy WHERE polrelid = %s ORDER BY 1`},
		{"View definition:", `SELECT pg_catalog.pg_get_viewdef(%s, true) FROM pg_catalog.pg_class WHERE oid = %[1]s AND relkind IN ('v', 'm')`},
		{"Triggers:", `SELECT pg_catalog.pg_get_triggerdef(oid, true) FROM pg_catalog.pg_trigger WHERE tgrelid = %s AND NOT tgisinternal ORDER BY tgname`},
		{"Partitions:", `SELECT inhrelid::pg_catalog.regclass || ' ' || pg_catalog.pg_get_expr(c.relpartbound, c.oid) FROM pg_catalog.pg_inherits JOIN pg_catalog.pg_class c ON c.oid = inhrelid WHERE inhparent = %s AND c.relispartition ORDER BY 1`},
		{"Tablespace:", `SELECT '"' || spcname || '"' FROM pg_catalog.pg_class c JOIN pg_catalog.pg_tablespace t ON t.oid = c.reltablespace WHERE c.oid = %s`},
	} {
		if part.title == "View definition:" && !more {
			continue
		}
		rows, err := sh.query(fmt.Sprintf(part.query, oid))
		if err != nil {
			return sh.complain(err, "")
		}
		switch {
		case len(rows) == 0:
		case part.title == "Partition of:" || part.title == "Partition key:" || part.title == "Tablespace:":
			foot = append(foot, part.title+" "+rows[0][0])
		default:
			foot = append(foot, part.title)
			for _, r := range rows {
				foot = append(foot, "    "+r[0])
			}
		}
	}
	return sh.titled(title, columns, foot)
}
