package sql

import (
	"context"
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// FunctionCall is the message of that name: one function, called by its OID. libpq and JDBC use it for large objects. The
// session keeps none of the slices.
type FunctionCall struct {
	OID          uint32
	ArgFormats   []int16
	Args         [][]byte // nil: NULL
	ResultFormat int16
}

// CallFunction runs a function as a statement SELECT f(...) and returns its value in the format asked for, nil for NULL.
func (s *Session) CallFunction(_ context.Context, call FunctionCall) (value []byte, err error) {
	text := "<FASTPATH>"
	ctx, span := s.beginStatement("sql.function call", text)
	err = s.guarded(text, func() error {
		value, err = s.callFunction(ctx, &call)
		if err != nil || s.txn.phase != phaseImplicit {
			return err
		}
		return s.commitBlock(ctx)
	})
	return value, s.endStatement(ctx, span, text, err)
}

func (s *Session) callFunction(ctx context.Context, call *FunctionCall) ([]byte, error) {
	if s.txn.phase == phaseFailed {
		return nil, errFailedTxn()
	}
	own := s.txn.pristine()
	s.openImplicit()
	st, err := s.functionStatement(ctx, types.OID(call.OID))
	if err != nil {
		return nil, err
	}
	switch n := len(call.ArgFormats); {
	case len(call.Args) != len(st.declared):
		return nil, pgerr.New(pgerr.ProtocolViolation, "function call message contains %d arguments but function requires %d", len(call.Args), len(st.declared))
	case n > 1 && n != len(call.Args):
		return nil, pgerr.New(pgerr.ProtocolViolation, "function call message contains %d argument formats but %d arguments", n, len(call.Args))
	case call.ResultFormat != FormatText && call.ResultFormat != FormatBinary:
		return nil, pgerr.New(pgerr.InvalidParameterValue, "unsupported format code: %d", call.ResultFormat)
	}
	params := make([]types.Datum, len(call.Args))
	for i, raw := range call.Args {
		if params[i], err = s.decodeParam(i, raw, formatAt(call.ArgFormats, i), st.declared[i]); err != nil {
			return nil, err
		}
	}
	out := &oneValue{Output: s.out, format: call.ResultFormat}
	sink := s.sink
	s.out, s.sink = out, out.Row
	defer func() { s.out, s.sink = out.Output, sink }()
	if own {
		err = s.runOne(ctx, st, params, nil, false)
	} else {
		s.txn.replay.stop() // which compares what is sent, and this is not
		err = s.runInTxn(ctx, st, params, nil, false)
	}
	return out.value, err
}

// functionStatement is the statement that calls a function.
func (s *Session) functionStatement(ctx context.Context, oid types.OID) (*statement, error) {
	c, err := s.pinCatalog(ctx)
	if err != nil {
		return nil, err
	}
	schema, fn := "pg_catalog", builtin.FuncByOID(oid)
	if v, ok := c.(*catalogView); ok && fn == nil {
		v.env()
		if d := v.snap.FunctionByID(uint32(oid)); d != nil {
			schema, fn = v.snap.SchemaName(d.Schema), v.SnapshotCatalog.RoutineByID(uint32(oid))
		}
	}
	if fn == nil {
		return nil, pgerr.New(pgerr.UndefinedFunction, "function with OID %d does not exist", oid)
	}
	if fn.Kind != 'f' || fn.RetSet {
		return nil, pgerr.New(pgerr.FeatureNotSupported, "cannot call function \"%s\" via fastpath interface", fn.Name)
	}
	st := &statement{created: s.now()}
	var args []string
	for i, a := range fn.Args {
		t := s.resolveType(a)
		if t == nil {
			return nil, pgerr.New(pgerr.UndefinedObject, "type with OID %d does not exist", a)
		}
		st.declared = append(st.declared, t)
		args = append(args, "$"+strconv.Itoa(i+1))
	}
	st.text = "SELECT " + parser.QuoteIdent(schema) + "." + parser.QuoteIdent(fn.Name) + "(" + strings.Join(args, ", ") + ")"
	list, err := parser.Parse(st.text)
	if err != nil {
		return nil, err
	}
	st.node, st.from, st.to, st.numParams = list[0].Stmt, list[0].Start, list[0].End, list[0].NumParams
	return st, nil
}

// oneValue is the Output of a function call: of its row the value is kept, and nothing is sent.
type oneValue struct {
	Output
	format   int16
	t        *types.T
	settings *types.Settings
	value    []byte
}

func (o *oneValue) BeginRows(cols []Column, _ []int16, settings *types.Settings, _ bool) {
	o.t, o.settings = cols[0].Type, settings
}

func (o *oneValue) Row(row []types.Datum) (err error) {
	o.value = nil
	switch {
	case row[0].IsNull():
	case o.format == FormatBinary:
		o.value, err = types.AppendBinary([]byte{}, row[0], o.t, o.settings)
	default:
		o.value = types.AppendText([]byte{}, row[0], o.t, o.settings)
	}
	return err
}

func (*oneValue) Complete(string)            {}
func (*oneValue) CompleteRows(string, int64) {}
