package plpgsql

import (
	"context"
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

func (m *Machine) raise(ctx context.Context, s *raise) error {
	if s.level == "" {
		if len(m.errs) == 0 {
			return pgerr.New("0Z002", "RAISE without parameters cannot be used outside an exception handler")
		}
		return m.errs[len(m.errs)-1]
	}
	e := &pgerr.Error{Code: s.code}
	if s.hasFmt {
		var b strings.Builder
		arg := 0
		for i := 0; i < len(s.format); i++ {
			switch {
			case s.format[i] != '%' || s.code != "":
				b.WriteByte(s.format[i])
			case strings.HasPrefix(s.format[i:], "%%"):
				b.WriteByte('%')
				i++
			default:
				v, err := m.Host.Eval(ctx, s.args[arg], m.vars)
				if err != nil {
					return err
				}
				arg++
				if v.D.IsNull() {
					b.WriteString("<NULL>")
				} else {
					b.WriteString(m.Host.Text(v))
				}
			}
		}
		e.Message = b.String()
	}
	for _, o := range s.options {
		v, err := m.Host.Eval(ctx, o.value, m.vars)
		if err != nil {
			return err
		}
		if v.D.IsNull() {
			return pgerr.New(pgerr.NullValueNotAllowed, "RAISE statement option cannot be null")
		}
		t := m.Host.Text(v)
		switch o.name {
		case "errcode":
			if e.Code != "" {
				return pgerr.New(pgerr.SyntaxError, "RAISE option already specified: ERRCODE")
			}
			if codes, ok := conditions[t]; ok {
				t = codes[0]
			} else if len(t) != 5 {
				return pgerr.New(pgerr.UndefinedObject, "unrecognized exception condition %q", t)
			}
			e.Code = t
		case "message":
			if s.hasFmt && s.code == "" {
				return pgerr.New(pgerr.SyntaxError, "RAISE option already specified: MESSAGE")
			}
			e.Message = t
		case "detail":
			e.Detail = t
		case "hint":
			e.Hint = t
		case "column":
			e.Column = t
		case "constraint":
			e.Constraint = t
		case "datatype":
			e.DataType = t
		case "table":
			e.Table = t
		case "schema":
			e.Schema = t
		}
	}
	if e.Message == "" && !s.hasFmt {
		e.Message = e.Code
	}
	if s.level == "exception" {
		if e.Code == "" {
			e.Code = "P0001"
		}
		if e.Message == "" {
			e.Message = e.Code
		}
		return e
	}
	if e.Code == "" {
		e.Code = pgerr.SuccessfulCompletion
		if s.level == "warning" {
			e.Code = pgerr.Warning
		}
	}
	e.Severity = strings.ToUpper(s.level)
	m.Host.Notice(e)
	return nil
}

func (m *Machine) diagnostics(ctx context.Context, s *diagnostics) error {
	var e *pgerr.Error
	if s.stacked {
		if len(m.errs) == 0 {
			return pgerr.New("0Z002", "GET STACKED DIAGNOSTICS cannot be used outside an exception handler")
		}
		e = m.errs[len(m.errs)-1]
	}
	for _, it := range s.items {
		x := Value{T: types.Text}
		switch it.what {
		case "row_count":
			x = Value{types.NewInt(m.rows), types.Int8}
		case "pg_context":
			x.D = types.NewString(m.Host.Context())
		case "returned_sqlstate":
			x.D = types.NewString(e.Code)
		case "message_text":
			x.D = types.NewString(e.Message)
		case "pg_exception_detail":
			x.D = types.NewString(e.Detail)
		case "pg_exception_hint":
			x.D = types.NewString(e.Hint)
		case "pg_exception_context":
			x.D = types.NewString(e.Where)
		case "column_name":
			x.D = types.NewString(e.Column)
		case "constraint_name":
			x.D = types.NewString(e.Constraint)
		case "pg_datatype_name":
			x.D = types.NewString(e.DataType)
		case "table_name":
			x.D = types.NewString(e.Table)
		case "schema_name":
			x.D = types.NewString(e.Schema)
		}
		if err := m.assignTo(ctx, it.to, x); err != nil {
			return err
		}
	}
	return nil
}
