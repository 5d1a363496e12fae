package plan

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/types"
)

// testCatalog has tables that exist in name and statistics only.
type testCatalog struct{ tables map[string]*Table }

func (c *testCatalog) Table(_ []string, _, name string) (*Table, error) { return c.tables[name], nil }
func (c *testCatalog) TableByID(uint32) (*Table, error)                 { return nil, nil }
func (c *testCatalog) Type(_ []string, n *ast.TypeName) (*types.T, error) {
	if t := types.ByName(n.Name()); t != nil {
		return t, nil
	}
	return nil, types.ErrUndefinedType(n.Name())
}

// define reads a table:
//
//	<column> <type> [nd=<n distinct>] [null=<share>] [width=<n>] [range=<first>,<last>] [common=<value>:<share>,...] [nullable]
//	primary <columns>
//	index|unique <name> <columns> [include <columns>]
//
// range makes a histogram of integers, or of dates as days since 2000.
func (c *testCatalog) define(name string, rows float64, text string) error {
	t := &Table{ID: uint32(100 + len(c.tables)), Name: name, Schema: "public", RowCount: rows}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		switch f[0] {
		case "primary", "index", "unique":
			ix := &Index{ID: uint16(1 + len(t.Indexes)), Unique: f[0] != "index", Primary: f[0] == "primary", Name: name + "_pkey"}
			cols := f[1:]
			if f[0] != "primary" {
				ix.Name, cols = f[1], f[2:]
				ix.ID++
			}
			include := false
			for _, n := range cols {
				if n == "include" {
					include = true
					continue
				}
				for i, col := range t.Columns {
					if col.Name == n && include {
						ix.Include = append(ix.Include, i)
					} else if col.Name == n {
						ix.Keys = append(ix.Keys, IndexKey{Col: i, T: col.T})
					}
				}
			}
			if ix.Primary {
				t.Primary = ix
			} else {
				t.Indexes = append(t.Indexes, ix)
			}
			continue
		}
		ty := types.ByInternalName(f[1])
		if ty == nil {
			return fmt.Errorf("no type %q", f[1])
		}
		n := len(t.Columns) + 1
		col := &TableColumn{ID: uint32(n), AttNum: int16(n), Name: f[0], T: ty, NotNull: true}
		st := &ColumnStats{NDistinct: -1, AvgWidth: 4}
		for _, opt := range f[2:] {
			key, val, _ := strings.Cut(opt, "=")
			num, _ := strconv.ParseFloat(val, 64)
			switch key {
			case "nullable":
				col.NotNull = false
			case "nd":
				st.NDistinct = num
			case "null":
				st.NullFrac, col.NotNull = num, false
			case "width":
				st.AvgWidth = num
			case "range":
				var lo, hi int64
				if _, err := fmt.Sscanf(val, "%d,%d", &lo, &hi); err != nil {
					return err
				}
				for i := range int64(101) {
					d := types.NewInt(lo + (hi-lo)*i/100)
					if ty.Kind == types.KindDate {
						d = types.NewDate(d.Int())
					}
					st.Histogram = append(st.Histogram, d)
				}
			case "common":
				for part := range strings.SplitSeq(val, ",") {
					v, share, _ := strings.Cut(part, ":")
					d, err := types.ParseText(v, ty, nil)
					if err != nil {
						return err
					}
					f, _ := strconv.ParseFloat(share, 64)
					st.Common, st.CommonFreqs = append(st.Common, d), append(st.CommonFreqs, f)
				}
			}
		}
		if rows >= 0 {
			col.Stats = st
		}
		t.Columns = append(t.Columns, col)
	}
	c.tables[name] = t.Finish()
	return nil
}

// TestPlans holds plans against golden files: join orders, access paths, rewrites of subqueries.
func TestPlans(t *testing.T) {
	datadriven.Walk(t, "testdata/plans", func(t *testing.T, path string) {
		c := &testCatalog{tables: map[string]*Table{}}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "table":
				var name, rows string
				d.ScanArgs(t, "name", &name)
				d.ScanArgs(t, "rows", &rows)
				n, err := strconv.ParseFloat(rows, 64)
				if err == nil {
					err = c.define(name, n, d.Input)
				}
				if err != nil {
					d.Fatalf(t, "%v", err)
				}
				return ""
			case "explain":
				st, err := parser.ParseOne(d.Input)
				if err != nil {
					return err.Error() + "\n"
				}
				p, err := Prepare(context.Background(), st.Stmt, Env{Catalog: c, SearchPath: []string{"public"}, NumParams: st.NumParams})
				if err != nil {
					return err.Error() + "\n"
				}
				return strings.Join(Describe(p, &ExplainOptions{Costs: !d.HasArg("nocosts"), JSON: d.HasArg("json")}, nil), "\n") + "\n"
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
	})
}
