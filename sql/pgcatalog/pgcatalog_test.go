package pgcatalog

import (
	"context"
	"testing"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/types"
)

// Every relation can be read from an empty catalog, with the number of columns it declares, and every generator
// belongs to a relation.
func TestRelations(t *testing.T) {
	seen := map[string]bool{}
	schemas := map[uint32]string{catalog.PgCatalogID: catalog.PgCatalog, catalog.InfoSchemaID: catalog.InfoSchema, catalog.MeridianSchemaID: catalog.Meridian}
	set := catalog.NewVirtualSet(Relations())
	if len(set.Tables()) < 200 {
		t.Fatalf("%d relations", len(set.Tables()))
	}
	for _, rel := range set.Tables() {
		seen[schemas[rel.Schema]+"."+rel.Name] = true
		if len(rel.Columns) == 0 || rel.Virtual == nil {
			t.Errorf("%s has no columns or no rows", rel.Name)
		}
	}
	for _, m := range generatorMaps {
		for name := range m {
			if !seen[name] {
				t.Errorf("%s has rows but is no relation", name)
			}
		}
	}
}

// Relations that depend on types and functions alone have rows in any snapshot.
func TestStaticRows(t *testing.T) {
	for _, name := range []string{"pg_operator", "pg_cast", "pg_proc", "pg_aggregate", "pg_language", "pg_collation", "pg_am"} {
		for _, rel := range Relations() {
			if rel.Name != name {
				continue
			}
			rows := 0
			err := rel.Virtual.Rows(context.Background(), &catalog.VirtualEnv{}, func(row []types.Datum) error {
				rows++
				for i, c := range rel.Columns {
					if c.NotNull && row[i].IsNull() {
						t.Fatalf("%s.%s is NULL", name, c.Name)
					}
				}
				return nil
			})
			if err != nil || rows == 0 {
				t.Errorf("%s: %d rows, %v", name, rows, err)
			}
		}
	}
}

func TestExprText(t *testing.T) {
	for in, want := range map[string]string{
		"(n >= 0)":                           "n >= 0",
		"((a > 1) AND (b < 2))":              "(a > 1) AND (b < 2)",
		"(a > 1) OR (b < 2)":                 "(a > 1) OR (b < 2)",
		"CAST('x' AS text)":                  "'x'::text",
		"CAST('it''s' AS character varying)": "'it''s'::character varying",
		"lower(CAST(name AS text))":          "lower((name)::text)",
		"(a = ')')":                          "a = ')'",
		"CAST('1' AS numeric(10,2))":         "'1'::numeric(10,2)",
		"CAST((a + b) AS bigint)":            "CAST((a + b) AS bigint)",
	} {
		if got := exprText(&catalog.VirtualEnv{}, in); got != want {
			t.Errorf("exprText(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestSplitName(t *testing.T) {
	for in, want := range map[string][2]string{
		"t": {"", "t"}, "S.T": {"s", "t"}, `"S".t`: {"S", "t"}, `"a""b"`: {"", `a"b`}, `db.s.t`: {"s", "t"},
	} {
		schema, name, err := splitName(in)
		if err != nil || schema != want[0] || name != want[1] {
			t.Errorf("splitName(%q) = %q, %q, %v", in, schema, name, err)
		}
	}
	for _, bad := range []string{"", ".", `"a`, "a.", "a.b.c.d", `"a"b`} {
		if _, _, err := splitName(bad); err == nil {
			t.Errorf("splitName(%q): no error", bad)
		}
	}
}
