package plan

import (
	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// windowIn finds a window function call in an expression, outside of its subqueries.
func windowIn(e ast.Expr) *ast.FuncCall {
	var found *ast.FuncCall
	ast.Walk(e, func(e ast.Expr) bool {
		if f, ok := e.(*ast.FuncCall); ok && f.Over != nil && found == nil {
			found = f
		}
		return found == nil
	})
	return found
}

// windowCall binds a window function call.
func (s *scope) windowCall(e *ast.FuncCall, name string, call *builtin.Call, args []Expr) (Expr, error) {
	switch {
	case s.noWindow:
		return nil, errAt(e.Off, pgerr.WindowingError, "window functions are not allowed in %s", clauseName(s.clause))
	case s.inAgg:
		return nil, errAt(e.Off, pgerr.GroupingError, "aggregate function calls cannot contain window function calls")
	case s.inWindow && (s.clause == "FILTER" || s.clause == "window definitions"):
		return nil, errAt(e.Off, pgerr.WindowingError, "window functions are not allowed in %s", s.clause)
	case s.inWindow:
		return nil, errAt(e.Off, pgerr.WindowingError, "window function calls cannot be nested")
	case e.Distinct:
		return nil, errAt(e.Off, pgerr.FeatureNotSupported, "DISTINCT is not implemented for window functions")
	case len(e.OrderBy) > 0 && !e.WithinGroup:
		return nil, errAt(e.Off, pgerr.FeatureNotSupported, "aggregate ORDER BY is not implemented for window functions")
	case e.WithinGroup:
		return nil, errAt(e.Off, pgerr.FeatureNotSupported, "OVER is not supported for ordered-set aggregate %s", name)
	case e.Filter != nil && call.Func.Kind == 'w':
		return nil, errAt(e.Off, pgerr.FeatureNotSupported, "FILTER is not implemented for non-aggregate window functions")
	}
	if len(args) == 0 && !e.Star && call.Func.Kind == 'a' {
		return nil, errAt(e.Off, pgerr.WrongObjectType, "%s(*) must be used to call a parameterless aggregate function", name)
	}
	if call.Func.Agg != nil && call.Func.Agg.Kind != 'n' {
		return nil, errAt(e.Off, pgerr.WrongObjectType, "WITHIN GROUP is required for ordered-set aggregate %s", name)
	}
	for _, a := range e.Args {
		if in := windowIn(a); in != nil {
			return nil, errAt(in.Off, pgerr.WindowingError, "window function calls cannot be nested")
		}
	}
	in := *s
	in.inWindow = true
	in.clause = "window definitions"
	w := &WindowFunc{Name: name, Call: call, Args: args, Slot: s.b.newSlot(), T: call.Ret, IsAgg: call.Func.Kind == 'a'}
	if e.Filter != nil {
		f := in
		f.clause = "FILTER"
		x, err := f.condition(e.Filter, "FILTER")
		if err != nil {
			return nil, err
		}
		w.Filter = x
	}
	spec, frame, err := in.windowDef(e.Over)
	if err != nil {
		return nil, err
	}
	w.Frame = frame
	for _, o := range s.q.windows {
		if sameWindow(o, spec) {
			o.funcs = append(o.funcs, w)
			return &Col{Slot: w.Slot, T: w.T, Name: name, Pos: -1}, nil
		}
	}
	spec.funcs = []*WindowFunc{w}
	s.q.windows = append(s.q.windows, spec)
	return &Col{Slot: w.Slot, T: w.T, Name: name, Pos: -1}, nil
}

// windowSpec is a partitioning and ordering with the functions over it.
type windowSpec struct {
	partition []Expr
	order     []SortKey
	funcs     []*WindowFunc
}

// Frame is the frame of a window function.
type Frame struct {
	Mode                   ast.FrameMode
	Start, End             ast.BoundKind
	StartOffset, EndOffset Expr
	Exclude                ast.FrameExclusion
	// RangeAdd and RangeSub compute key ± offset for RANGE with an offset; the operands are the sort key's
	// value and the offset.
	RangeAdd, RangeSub *Func
}

func (s *scope) windowDef(d *ast.WindowDef) (*windowSpec, *Frame, error) {
	def := *d
	ref := d.Ref
	if d.Name != "" && ref == "" && len(d.PartitionBy) == 0 && len(d.OrderBy) == 0 && d.Frame == nil {
		n := s.q.named[d.Name]
		if n == nil {
			return nil, nil, errAt(d.Off, pgerr.UndefinedObject, "window %q does not exist", d.Name)
		}
		def = *n
		ref = n.Ref
	}
	for ref != "" {
		n := s.q.named[ref]
		if n == nil {
			return nil, nil, errAt(d.Off, pgerr.UndefinedObject, "window %q does not exist", ref)
		}
		if len(def.PartitionBy) > 0 {
			return nil, nil, errAt(d.Off, pgerr.WindowingError, "cannot override PARTITION BY clause of window %q", ref)
		}
		if len(def.OrderBy) > 0 && len(n.OrderBy) > 0 {
			return nil, nil, errAt(d.Off, pgerr.WindowingError, "cannot override ORDER BY clause of window %q", ref)
		}
		if n.Frame != nil {
			return nil, nil, errAt(d.Off, pgerr.WindowingError, "cannot copy window %q because it has a frame clause", ref)
		}
		def.PartitionBy = n.PartitionBy
		if len(def.OrderBy) == 0 {
			def.OrderBy = n.OrderBy
		}
		ref = n.Ref
	}
	spec := &windowSpec{}
	for _, p := range def.PartitionBy {
		x, err := s.expr(p)
		if err != nil {
			return nil, nil, err
		}
		spec.partition = append(spec.partition, s.b.settle(x))
	}
	for _, o := range def.OrderBy {
		x, err := s.expr(o.Expr)
		if err != nil {
			return nil, nil, err
		}
		k, err := s.b.sortKey(o, s.b.settle(x))
		if err != nil {
			return nil, nil, err
		}
		spec.order = append(spec.order, k)
	}
	f := &Frame{Mode: ast.FrameRange, Start: ast.UnboundedPreceding, End: ast.CurrentRow}
	if def.Frame != nil {
		var err error
		if f, err = s.frame(def.Frame, spec, d.Off); err != nil {
			return nil, nil, err
		}
	}
	return spec, f, nil
}

func (s *scope) frame(d *ast.Frame, spec *windowSpec, pos int32) (*Frame, error) {
	f := &Frame{Mode: d.Mode, Start: d.Start, End: d.End, Exclude: d.Exclude}
	if d.Mode == ast.FrameGroups && len(spec.order) == 0 {
		return nil, errAt(pos, pgerr.WindowingError, "GROUPS mode requires an ORDER BY clause")
	}
	offset := func(e ast.Expr) (Expr, error) {
		if e == nil {
			return nil, nil
		}
		c := s.in("window frame", true, true, true)
		x, err := c.expr(e)
		if err != nil {
			return nil, err
		}
		var used slotSet
		if exprSlots(x, &used); !used.empty() && d.Mode != ast.FrameRange {
			return nil, errAt(e.Position(), pgerr.InvalidColumnReference, "argument of %s must not contain variables", frameName(d.Mode))
		}
		if d.Mode != ast.FrameRange {
			return s.b.coerce(x, types.Int8, builtin.CastImplicit, e.Position())
		}
		if len(spec.order) != 1 {
			return nil, errAt(pos, pgerr.WindowingError, "RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column")
		}
		kt := spec.order[0].E.Type()
		if isUnknown(x) {
			ot := kt
			switch kt.BaseType().OID {
			case types.OIDDate, types.OIDTimestamp, types.OIDTimestampTZ, types.OIDTime, types.OIDTimeTZ:
				ot = types.IntervalT
			}
			if x, err = s.b.coerce(x, bareType(ot), builtin.CastImplicit, e.Position()); err != nil {
				return nil, err
			}
		}
		for _, op := range []string{"+", "-"} {
			fn, err := s.b.holeOp(op, kt, x.Type(), e.Position())
			if err != nil && !rangeOffsets[kt.BaseType().OID] {
				return nil, errAt(e.Position(), pgerr.FeatureNotSupported, "RANGE with offset PRECEDING/FOLLOWING is not supported for column type %s", types.TypeName(kt))
			}
			if err != nil {
				return nil, errAt(e.Position(), pgerr.FeatureNotSupported, "RANGE with offset PRECEDING/FOLLOWING is not supported for column type %s and offset type %s",
					types.TypeName(kt), types.TypeName(x.Type())).WithHint("Cast the offset value to an appropriate type.")
			}
			if op == "+" {
				f.RangeAdd = fn
			} else {
				f.RangeSub = fn
			}
		}
		return x, nil
	}
	var err error
	if f.StartOffset, err = offset(d.StartOffset); err != nil {
		return nil, err
	}
	f.EndOffset, err = offset(d.EndOffset)
	return f, err
}

// rangeOffsets are the types with offsets in RANGE frames.
var rangeOffsets = map[types.OID]bool{types.OIDInt2: true, types.OIDInt4: true, types.OIDInt8: true, types.OIDFloat4: true, types.OIDFloat8: true, types.OIDNumeric: true,
	types.OIDDate: true, types.OIDTime: true, types.OIDTimeTZ: true, types.OIDTimestamp: true, types.OIDTimestampTZ: true, types.OIDInterval: true}

func frameName(m ast.FrameMode) string { return [...]string{"RANGE", "ROWS", "GROUPS"}[m] }

func sameWindow(a, b *windowSpec) bool {
	if len(a.partition) != len(b.partition) || len(a.order) != len(b.order) {
		return false
	}
	for i := range a.partition {
		if !sameExpr(a.partition[i], b.partition[i]) {
			return false
		}
	}
	for i := range a.order {
		if !sameKey(a.order[i], b.order[i]) {
			return false
		}
	}
	return true
}

func sameKey(a, b SortKey) bool {
	return a.Desc == b.Desc && a.NullsFirst == b.NullsFirst && sameExpr(a.E, b.E)
}
