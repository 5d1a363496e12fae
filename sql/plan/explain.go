package plan

import (
	"context"
	"time"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// prepareExplain prepares EXPLAIN: a plan with one column that holds the inner plan.
func prepareExplain(ctx context.Context, st *ast.ExplainStmt, env Env) (*Plan, error) {
	o := &ExplainOptions{Costs: true}
	timing, summary := true, false
	summarySet := false
	for _, d := range st.Options {
		on := true
		text := ""
		if d.Arg != nil {
			switch d.Arg.Kind {
			case ast.DefBool:
				on = d.Arg.Bool
			case ast.DefInteger:
				on = d.Arg.Int != 0
			default:
				text = d.Arg.Str
				if len(d.Arg.Names) > 0 {
					text = d.Arg.Names[0]
				}
				switch text {
				case "off", "false":
					on = false
				}
			}
		}
		switch d.Name {
		case "analyze":
			o.Analyze = on
		case "verbose":
			o.Verbose = on
		case "costs":
			o.Costs = on
		case "timing":
			timing = on
		case "summary":
			summary, summarySet = on, true
		case "buffers", "settings", "wal", "generic_plan":
			o.Buffers = o.Buffers || d.Name == "buffers" && on
		case "format":
			switch text {
			case "json", "JSON":
				o.JSON = true
			case "text", "TEXT":
			default:
				return nil, errAt(d.Off, pgerr.InvalidParameterValue, "unrecognized value for EXPLAIN option \"format\": %q", text)
			}
		default:
			return nil, errAt(d.Off, pgerr.SyntaxError, "unrecognized EXPLAIN option %q", d.Name)
		}
	}
	o.Timing = timing
	o.Summary = o.Analyze
	if summarySet {
		o.Summary = summary
	}
	began := time.Now()
	inner, err := prepare(ctx, st.Query, env)
	o.Planning = time.Since(began)
	if err != nil {
		return nil, err
	}
	o.Inner = inner
	t := types.Text
	if o.JSON {
		t = types.ByOID(types.OIDJSON)
	}
	return &Plan{Verb: "EXPLAIN", Columns: []Column{{Name: "QUERY PLAN", Type: t}}, ParamTypes: inner.ParamTypes, Needs: inner.Needs,
		ReadOnly: inner.ReadOnly || !o.Analyze, Tables: inner.Tables, Explain: o}, nil
}
