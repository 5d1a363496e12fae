package replication

import (
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// testDecoding is the output plugin test_decoding: one line of text for each change.
type testDecoding struct {
	settings   *types.Settings
	xids       bool
	timestamps bool
}

// newTestDecoding reads the plugin's options.
func newTestDecoding(settings *types.Settings, options []Option) (*testDecoding, error) {
	p := &testDecoding{settings: settings, xids: true}
	for _, o := range options {
		on, ok := o.boolean()
		switch {
		case o.Name == "include-xids" && ok:
			p.xids = on
		case o.Name == "include-timestamp" && ok:
			p.timestamps = on
		case o.Name == "skip-empty-xacts" && ok: // there are none
		case o.Name == "force-binary" && ok && !on, o.Name == "include-rewrites" && ok && !on, o.Name == "only-local" && ok && !on,
			o.Name == "include-sequences" && ok && !on, o.Name == "stream-changes" && ok && !on:
		case o.Name == "force-binary", o.Name == "include-rewrites", o.Name == "only-local", o.Name == "include-sequences", o.Name == "stream-changes":
			return nil, pgerr.Unsupported("option \"%s\" of test_decoding is not supported", o.Name)
		default:
			return nil, pgerr.New(pgerr.InvalidParameterValue, "option \"%s\" = \"%s\" is unknown", o.Name, o.Value)
		}
	}
	return p, nil
}

func (p *testDecoding) begin(b []byte, x transaction) []byte { return p.mark(b, "BEGIN", x, false) }

func (p *testDecoding) commit(b []byte, x transaction) []byte {
	return p.mark(b, "COMMIT", x, p.timestamps)
}

func (p *testDecoding) mark(b []byte, word string, x transaction, at bool) []byte {
	b = append(b, word...)
	if p.xids {
		b = strconv.AppendUint(append(b, ' '), uint64(x.xid), 10)
	}
	if at {
		b = append(b, " (at "...)
		b = types.AppendText(b, types.NewTimestampTZ(pgMicros(x.ts)), types.TimestampTZ, p.settings)
		b = append(b, ')')
	}
	return b
}

func (*testDecoding) describe(*relation, func([]byte) error) error { return nil }

func appendIdent(b []byte, name string) []byte {
	if name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == "" && (name[0] < '0' || name[0] > '9') {
		return append(b, name...)
	}
	return append(append(append(b, '"'), strings.ReplaceAll(name, `"`, `""`)...), '"')
}

func (p *testDecoding) head(b []byte, r *relation, what string) []byte {
	b = append(b, "table "...)
	b = appendIdent(b, r.schema)
	b = appendIdent(append(b, '.'), r.table.Name)
	return append(append(append(b, ": "...), what...), ':')
}

func (p *testDecoding) tuple(b []byte, r *relation, d row, keyOnly bool) []byte {
	for i, c := range r.columns {
		if keyOnly && (!c.key || d[i].IsNull()) {
			continue
		}
		b = appendIdent(append(b, ' '), c.name)
		b = append(append(append(b, '['), types.TypeName(c.t)...), "]:"...)
		if d[i].IsNull() {
			b = append(b, "null"...)
			continue
		}
		switch v := string(types.AppendText(nil, d[i], c.t, p.settings)); c.t.OID {
		case types.OIDInt2, types.OIDInt4, types.OIDInt8, types.OIDOid, types.OIDFloat4, types.OIDFloat8, types.OIDNumeric:
			b = append(b, v...)
		case types.OIDBit, types.OIDVarBit:
			b = append(append(append(b, "B'"...), v...), '\'')
		case types.OIDBool:
			b = strconv.AppendBool(b, d[i].Bool())
		default:
			b = append(append(append(b, '\''), strings.ReplaceAll(v, "'", "''")...), '\'')
		}
	}
	return b
}

func (p *testDecoding) insert(b []byte, r *relation, now row) []byte {
	return p.tuple(p.head(b, r, "INSERT"), r, now, false)
}

func (p *testDecoding) update(b []byte, r *relation, old, now row) []byte {
	b = p.head(b, r, "UPDATE")
	if old != nil {
		b = p.tuple(append(b, " old-key:"...), r, old, true)
		b = append(b, " new-tuple:"...)
	}
	return p.tuple(b, r, now, false)
}

func (p *testDecoding) remove(b []byte, r *relation, old row) []byte {
	b = p.head(b, r, "DELETE")
	if old == nil {
		return append(b, " (no-tuple-data)"...)
	}
	return p.tuple(b, r, old, true)
}

func (p *testDecoding) truncate(b []byte, rs []*relation) []byte {
	b = append(b, "table "...)
	for i, r := range rs {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = appendIdent(b, r.schema)
		b = appendIdent(append(b, '.'), r.table.Name)
	}
	return append(b, ": TRUNCATE: (no-flags)"...)
}
