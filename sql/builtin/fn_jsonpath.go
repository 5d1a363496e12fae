package builtin

import (
	"strings"
	"sync"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// pathCache keeps the parsed form of the paths that a statement uses again and again.
var pathCache sync.Map

const maxCachedPath = 4096

func parsedPath(text string) (*types.PathExpr, error) {
	if p, ok := pathCache.Load(text); ok {
		return p.(*types.PathExpr), nil
	}
	p, err := types.ParsePath(text)
	if err == nil && len(text) <= maxCachedPath {
		pathCacheAdd(text, p)
	}
	return p, err
}

var pathCacheLen struct {
	sync.Mutex
	n int
}

func pathCacheAdd(text string, p *types.PathExpr) {
	pathCacheLen.Lock()
	defer pathCacheLen.Unlock()
	if pathCacheLen.n++; pathCacheLen.n > maxCachedRegexes {
		pathCache.Clear()
		pathCacheLen.n = 1
	}
	pathCache.Store(strings.Clone(text), p)
}

func registerJSONPath(l library) {
	run := func(ctx *Ctx, a []types.Datum, tz bool, out *pathList) (pathResult, error) {
		p, err := parsedPath(a[1].Str())
		if err != nil {
			return pathFailed, err
		}
		var vars *types.JSON
		silent := true
		if len(a) == 4 {
			vars, silent = a[2].JSON(), a[3].Bool()
		}
		return runPath(ctx, a[0].JSON(), p, vars, silent, tz, out)
	}
	for _, suffix := range []string{"", "_tz", "_opr"} {
		tz := suffix == "_tz"
		l.fn("jsonb_path_exists"+suffix, func(ctx *Ctx, a []types.Datum) (types.Datum, error) {
			r, err := run(ctx, a, tz, nil)
			if err != nil || r == pathFailed {
				return types.Null, err
			}
			return types.NewBool(r == pathFound), nil
		})
		l.fn("jsonb_path_match"+suffix, func(ctx *Ctx, a []types.Datum) (types.Datum, error) {
			var out pathList
			if _, err := run(ctx, a, tz, &out); err != nil {
				return types.Null, err
			}
			if len(out.items) == 1 {
				switch it := out.items[0]; {
				case it.is(types.JSONBool):
					return types.NewBool(it.json.Bool), nil
				case it.is(types.JSONNull):
					return types.Null, nil
				}
			}
			if len(a) == 4 && !a[3].Bool() {
				return types.Null, pgerr.New(pgerr.SingletonSQLJSONItemRequired, "single boolean result is expected")
			}
			return types.Null, nil
		})
		if suffix == "_opr" {
			continue
		}
		query := func(ctx *Ctx, a []types.Datum) ([]*types.JSON, error) {
			var out pathList
			// An error in silent mode leaves what was found before it.
			if _, err := run(ctx, a, tz, &out); err != nil {
				return nil, err
			}
			vals := make([]*types.JSON, len(out.items))
			for i, it := range out.items {
				vals[i] = it.value(ctx)
			}
			return vals, nil
		}
		l.rows("jsonb_path_query"+suffix, func(ctx *Ctx, a []types.Datum) (RowIter, error) {
			vals, err := query(ctx, a)
			if err != nil {
				return nil, err
			}
			out := make([]types.Datum, len(vals))
			for i, v := range vals {
				out[i] = types.NewJSON(v)
			}
			return columnList(out), nil
		})
		l.fn("jsonb_path_query_array"+suffix, func(ctx *Ctx, a []types.Datum) (types.Datum, error) {
			vals, err := query(ctx, a)
			if err != nil {
				return types.Null, err
			}
			return types.NewJSON(types.NewJSONArray(vals)), nil
		})
		l.fn("jsonb_path_query_first"+suffix, func(ctx *Ctx, a []types.Datum) (types.Datum, error) {
			vals, err := query(ctx, a)
			if err != nil || len(vals) == 0 {
				return types.Null, err
			}
			return types.NewJSON(vals[0]), nil
		})
	}
}
