package sql

import (
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/ddl"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/textsearch"
	"github.com/meridian-db/meridian/sql/types"
)

// functionQuery is builtin.Ctx.Query.
func (s *Session) functionQuery(text string, emit func(ts []*types.T, row []types.Datum) error) error {
	return s.queryText(s.bctx.Context, text, emit)
}

// fireBuiltin runs one of PostgreSQL's own trigger functions.
func (s *Session) fireBuiltin(name string, t *plan.Table, tr *plan.Trigger, event uint8, old, new []types.Datum) ([]types.Datum, error) {
	bad := func(what string) error { return pgerr.New("39P01", "%s: %s", name, what) }
	switch {
	case !tr.Desc.Row:
		return nil, bad("must be fired for row")
	case tr.Desc.Timing != plan.Before:
		return nil, bad("must be fired BEFORE event")
	}
	if name == "suppress_redundant_updates_trigger" {
		if event != catalog.TriggerUpdate {
			return nil, bad("must be called on update")
		}
		for i, c := range t.Columns {
			a, b := types.AppendText(nil, old[i], c.T, nil), types.AppendText(nil, new[i], c.T, nil)
			if old[i].IsNull() != new[i].IsNull() || !slices.Equal(a, b) {
				return new, nil
			}
		}
		return nil, nil
	}
	if event == catalog.TriggerDelete {
		return nil, bad("must be fired for INSERT or UPDATE")
	}
	byColumn := name == ddl.TSVectorByColumn
	args := tr.Desc.Args
	if len(args) < 3 {
		return nil, bad("arguments must be tsvector_field, ts_config, text_field1, ...)")
	}
	column := func(what, name string) (int, error) {
		if i := t.Column(name); i >= 0 && !t.Columns[i].Hidden {
			return i, nil
		}
		return 0, pgerr.New(pgerr.UndefinedColumn, "%s \"%s\" does not exist", what, name)
	}
	at, err := column("tsvector column", args[0])
	if err != nil {
		return nil, err
	}
	if t.Columns[at].T.BaseType() != types.ByInternalName("tsvector") {
		return nil, pgerr.New(pgerr.DatatypeMismatch, "column \"%s\" is not of tsvector type", args[0])
	}
	var cfg *textsearch.Config
	if byColumn {
		i, err := column("configuration column", args[1])
		switch {
		case err != nil:
			return nil, err
		case t.Columns[i].T.OID != types.OIDRegconfig:
			return nil, pgerr.New(pgerr.DatatypeMismatch, "column \"%s\" is not of regconfig type", args[1])
		case new[i].IsNull():
			return nil, pgerr.New(pgerr.NullValueNotAllowed, "configuration column \"%s\" must not be null", args[1])
		}
		cfg = textsearch.ByOID(uint32(new[i].Int()))
	} else {
		if !strings.Contains(args[1], ".") {
			return nil, pgerr.New(pgerr.InvalidParameterValue, "text search configuration name \"%s\" must be schema-qualified", args[1])
		}
		cfg = textsearch.ByName(strings.TrimPrefix(args[1], "pg_catalog."))
	}
	if cfg == nil {
		return nil, pgerr.New(pgerr.UndefinedObject, "text search configuration \"%s\" does not exist", args[1])
	}
	var texts []string
	for _, n := range args[2:] {
		i, err := column("column", n)
		if err != nil {
			return nil, err
		}
		if t.Columns[i].T.BaseType().Category != 'S' {
			return nil, pgerr.New(pgerr.DatatypeMismatch, "column \"%s\" is not of a character type", n)
		}
		if !new[i].IsNull() {
			texts = append(texts, string(types.AppendText(nil, new[i], t.Columns[i].T, nil)))
		}
	}
	doc, err := cfg.Document(nil, strings.Join(texts, " "))
	if err != nil {
		return nil, err
	}
	row := slices.Clone(new)
	row[at] = types.NewTSVectorDatum(doc)
	return row, nil
}
