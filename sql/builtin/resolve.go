package builtin

import (
	"cmp"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// candidate is a function or operator as it would be called: variadic parameters expanded and defaults
// left out, arguments in the order supplied.
type candidate struct {
	fn       *Func
	op       *Operator
	args     []types.OID
	expanded int   // number of arguments gathered into the VARIADIC array, 0 if none
	order    []int // with named arguments: parameter position of each supplied argument
	variadic bool  // the call said VARIADIC
	casts    CastSource
	ndefault int // trailing parameters filled from defaults (positional calls)
}

// ResolveFunction chooses the function that name means for positional arguments of these types.
func ResolveFunction(name string, args []*types.T) (*Call, error) {
	return Resolve(FuncRequest{Name: name, Args: args})
}

// Resolve chooses a function as PostgreSQL's func_get_detail does: an exact match, else the best of those
// whose parameters the arguments can be implicitly coerced to. A one-argument call that names a type and
// means a cast is for the binder to try when this returns undefined_function.
func Resolve(r FuncRequest) (*Call, error) {
	cands := functionCandidates(r)
	best, err := choose(cands, r.Args)
	if err != nil {
		return nil, pgerr.New(pgerr.AmbiguousFunction, "function %s is not unique", signature(r)).
			WithHint("Could not choose a best candidate function. You might need to add explicit type casts.")
	}
	if best == nil {
		e := pgerr.New(pgerr.UndefinedFunction, "function %s does not exist", signature(r))
		return nil, e.WithHint("No function matches the given name and argument types. You might need to add explicit type casts.")
	}
	best.variadic = r.Variadic
	return bind(best, r.Args)
}

func signature(r FuncRequest) string {
	var b strings.Builder
	b.WriteString(cmp.Or(r.Shown, r.Name))
	b.WriteByte('(')
	for i, a := range r.Args {
		if i > 0 {
			b.WriteString(", ")
		}
		if i < len(r.ArgNames) && r.ArgNames[i] != "" {
			b.WriteString(r.ArgNames[i] + " => ")
		}
		b.WriteString(types.TypeName(a))
	}
	b.WriteByte(')')
	return b.String()
}

func functionCandidates(r FuncRequest) []*candidate {
	out := allCandidates(r)
	for _, c := range out {
		c.casts = r.Casts
	}
	return out
}

func allCandidates(r FuncRequest) []*candidate {
	var out []*candidate
	n := len(r.Args)
	named := slices.ContainsFunc(r.ArgNames, func(s string) bool { return s != "" })
	funcs := catalog().funcByName[r.Name]
	if r.Users != nil {
		funcs = slices.Concat(funcs, r.Users)
	}
	if r.OnlyUsers {
		funcs = r.Users
	}
	for _, fn := range funcs {
		if named {
			if c := namedCandidate(fn, r); c != nil {
				out = append(out, c)
			}
			continue
		}
		np := len(fn.Args)
		switch {
		case r.Whole:
			if n == np {
				out = append(out, &candidate{fn: fn, args: fn.Args})
			}
		case fn.Variadic != 0 && !r.Variadic && n >= np && (np > 0):
			args := slices.Clone(fn.Args[:np-1])
			for len(args) < n {
				args = append(args, fn.Variadic)
			}
			c := &candidate{fn: fn, args: args, expanded: n - np + 1}
			out = append(out, c)
		case n == np && (!r.Variadic || fn.Variadic != 0):
			out = append(out, &candidate{fn: fn, args: fn.Args})
		case n < np && n+len(fn.Defaults) >= np && !r.Variadic:
			out = append(out, &candidate{fn: fn, args: fn.Args[:n], ndefault: np - n})
		}
	}
	out = firstOnPath(out, r)
	// A function without defaults beats one that needs them for the same argument types, and one that takes
	// them as they are beats one that gathers them into an array.
	return slices.DeleteFunc(out, func(c *candidate) bool {
		if c.expanded > 0 && slices.ContainsFunc(out, func(o *candidate) bool { return o.expanded == 0 && o.ndefault == 0 && slices.Equal(o.args, c.args) }) {
			return true
		}
		return c.ndefault > 0 && slices.ContainsFunc(out, func(o *candidate) bool {
			return o.ndefault < c.ndefault && slices.Equal(o.args, c.args)
		})
	})
}

// firstOnPath drops, of a built-in and a user's function that take the same arguments, the one later on the search path.
func firstOnPath(cands []*candidate, r FuncRequest) []*candidate {
	if r.OnlyUsers || len(r.Users) == 0 {
		return cands
	}
	user := func(c *candidate) int { return slices.Index(r.Users, c.fn) }
	return slices.DeleteFunc(cands, func(c *candidate) bool {
		at := user(c)
		return slices.ContainsFunc(cands, func(o *candidate) bool {
			other := user(o)
			if (at < 0) == (other < 0) || c.expanded != o.expanded || c.ndefault != o.ndefault || !slices.Equal(c.args, o.args) {
				return false
			}
			return at >= r.Ahead || other >= 0 && other < r.Ahead
		})
	})
}

func namedCandidate(fn *Func, r FuncRequest) *candidate {
	n, np := len(r.Args), len(fn.Args)
	if n > np || n+len(fn.Defaults) < np || fn.ArgNames == nil {
		return nil
	}
	inNames := make([]string, 0, np)
	for i, name := range fn.ArgNames {
		if fn.ArgModes == "" || strings.IndexByte("ibv", fn.ArgModes[i]) >= 0 {
			inNames = append(inNames, name)
		}
	}
	c := &candidate{fn: fn, args: make([]types.OID, n), order: make([]int, n)}
	used := make([]bool, np)
	for i := range r.Args {
		p := i
		if r.ArgNames[i] != "" {
			if p = slices.Index(inNames, r.ArgNames[i]); p < 0 {
				return nil
			}
		}
		if used[p] {
			return nil
		}
		used[p], c.order[i], c.args[i] = true, p, fn.Args[p]
	}
	for p := range np - len(fn.Defaults) {
		if !used[p] {
			return nil
		}
	}
	return c
}

// ResolveOperator chooses the operator for operands of these types; left is nil for a prefix operator.
func ResolveOperator(name string, left, right *types.T) (*Call, error) {
	return ResolveOperatorIn(OperatorRequest{Name: name, Left: left, Right: right})
}

// ResolveOperatorIn is ResolveOperator where users have made operators of the name, or casts.
func ResolveOperatorIn(r OperatorRequest) (*Call, error) {
	name, left, right := r.Name, r.Left, r.Right
	if name == "!=" {
		name = "<>"
	}
	if !r.OnlyUsers {
		if call := foldedOperator(name, left, right); call != nil {
			return call, nil
		}
	}
	var actual []*types.T
	if left != nil {
		actual = append(actual, left)
	}
	actual = append(actual, right)
	var cands []*candidate
	for _, op := range r.operators(name) {
		if (op.Left == 0) != (left == nil) {
			continue
		}
		fn := r.function(op)
		if fn == nil {
			continue
		}
		args := []types.OID{op.Left, op.Right}
		if left == nil {
			args = args[1:]
		}
		cands = append(cands, &candidate{fn: fn, op: op, args: args, casts: r.Casts})
	}
	var best *candidate
	var err error
	if left != nil {
		// An untyped literal is first taken to have the other operand's type.
		l, r := left, right
		if l.OID == types.OIDUnknown {
			l = r
		} else if r.OID == types.OIDUnknown {
			r = l
		}
		if best = exactMatch(cands, []*types.T{l, r}); best == nil && (l != left || r != right) {
			best = exactMatch(cands, []*types.T{l.BaseType(), r.BaseType()})
		}
	}
	if best == nil {
		best, err = choose(cands, actual)
	}
	if err != nil {
		return nil, pgerr.New(pgerr.AmbiguousFunction, "operator is not unique: %s", operSignature(r.shown(), left, right)).
			WithHint("Could not choose a best candidate operator. You might need to add explicit type casts.")
	}
	if best == nil {
		hint := "No operator matches the given name and argument types. You might need to add explicit type casts."
		if left == nil {
			hint = "No operator matches the given name and argument type. You might need to add an explicit type cast."
		}
		return nil, pgerr.New(pgerr.UndefinedFunction, "operator does not exist: %s", operSignature(r.shown(), left, right)).WithHint("%s", hint)
	}
	if best.fn == shellFunc {
		return nil, pgerr.New(pgerr.UndefinedFunction, "operator is only a shell: %s", operSignature(r.shown(), left, right))
	}
	return bind(best, actual)
}

func operSignature(name string, left, right *types.T) string {
	s := name + " " + types.TypeName(right)
	if left != nil {
		s = types.TypeName(left) + " " + s
	}
	return s
}

// ResolveScalarArray resolves "left op ANY (array)": the call is for one element, and array is the type
// the right operand must be coerced to.
func ResolveScalarArray(name string, left, right *types.T) (call *Call, array *types.T, err error) {
	return ResolveScalarArrayIn(OperatorRequest{Name: name, Left: left, Right: right})
}

// ResolveScalarArrayIn is ResolveScalarArray where users have made operators of the name, or casts.
func ResolveScalarArrayIn(r OperatorRequest) (call *Call, array *types.T, err error) {
	right := r.Right
	elem := types.Unknown
	if right.OID != types.OIDUnknown {
		b := right.BaseType()
		if b.Kind != types.KindArray || b.Elem == nil {
			return nil, nil, pgerr.New(pgerr.WrongObjectType, "op ANY/ALL (array) requires array on right side")
		}
		elem = b.Elem
	}
	r.Right = elem
	call, err = ResolveOperatorIn(r)
	if err != nil {
		return nil, nil, err
	}
	if call.Ret.OID != types.OIDBool {
		return nil, nil, pgerr.New(pgerr.WrongObjectType, "op ANY/ALL (array) requires operator to yield boolean")
	}
	if array = types.ArrayOf(call.Args[1]); array == nil {
		return nil, nil, pgerr.New(pgerr.UndefinedObject, "could not find array type for data type %s", types.TypeName(call.Args[1]))
	}
	return call, array, nil
}

func exactMatch(cands []*candidate, actual []*types.T) *candidate {
	for _, c := range cands {
		ok := true
		for i, a := range actual {
			ok = ok && c.args[i] == a.OID
		}
		if ok {
			return c
		}
	}
	return nil
}

var errAmbiguous = pgerr.New(pgerr.AmbiguousFunction, "ambiguous")

// choose returns the best candidate, nil when none can be called, errAmbiguous when several can.
func choose(cands []*candidate, actual []*types.T) (*candidate, error) {
	if c := exactMatch(cands, actual); c != nil {
		return c, nil
	}
	var match []*candidate
	for _, c := range cands {
		if c.fn.RetType != nil && canCoerceUser(actual, c) || c.fn.RetType == nil && canCoerce(actual, c.args, CastImplicit, c.casts) {
			match = append(match, c)
		}
	}
	switch len(match) {
	case 0:
		return nil, nil
	case 1:
		return match[0], nil
	}
	if c := selectCandidate(match, actual); c != nil {
		return c, nil
	}
	return nil, errAmbiguous
}

// selectCandidate is func_select_candidate: it narrows the candidates by exact matches, by preferred
// types, then by what the untyped arguments may most plausibly be.
func selectCandidate(cands []*candidate, actual []*types.T) *candidate {
	n := len(actual)
	base := make([]types.OID, n)
	cats := make([]byte, n)
	unknowns := 0
	for i, a := range actual {
		b := a.BaseType()
		base[i], cats[i] = b.OID, b.Category
		if b.OID == types.OIDUnknown {
			unknowns++
		}
	}
	keepBest := func(score func(c *candidate) int) {
		bestScore, kept := -1, []*candidate(nil)
		for _, c := range cands {
			switch s := score(c); {
			case s > bestScore:
				bestScore, kept = s, []*candidate{c}
			case s == bestScore:
				kept = append(kept, c)
			}
		}
		cands = kept
	}
	keepBest(func(c *candidate) int {
		s := 0
		for i := range base {
			if base[i] != types.OIDUnknown && c.args[i] == base[i] {
				s++
			}
		}
		return s
	})
	if len(cands) == 1 {
		return cands[0]
	}
	keepBest(func(c *candidate) int {
		s := 0
		for i := range base {
			if base[i] != types.OIDUnknown && (c.args[i] == base[i] || preferredIn(cats[i], c.args[i])) {
				s++
			}
		}
		return s
	})
	if len(cands) == 1 {
		return cands[0]
	}
	if unknowns == 0 {
		return nil
	}
	if kept, ok := narrowUnknowns(cands, base); ok {
		cands = kept
		if len(cands) == 1 {
			return cands[0]
		}
	}
	if unknowns < n {
		// If all typed arguments agree, suppose that the untyped ones agree too.
		var known *types.T
		for _, a := range actual {
			if b := a.BaseType(); b.OID == types.OIDUnknown {
				continue
			} else if known == nil {
				known = b
			} else if known.OID != b.OID {
				return nil
			}
		}
		all := make([]*types.T, n)
		for i := range all {
			all[i] = known
		}
		var only *candidate
		for _, c := range cands {
			if canCoerce(all, c.args, CastImplicit, c.casts) {
				if only != nil {
					return nil
				}
				only = c
			}
		}
		return only
	}
	return nil
}

// narrowUnknowns guesses a type category for each untyped argument from what the candidates take there
// and drops those that disagree. ok is false when no guess is possible.
func narrowUnknowns(cands []*candidate, base []types.OID) (kept []*candidate, ok bool) {
	slotCat := make([]byte, len(base))
	slotPref := make([]bool, len(base))
	for i := range base {
		if base[i] != types.OIDUnknown {
			continue
		}
		conflict := false
		for _, c := range cands {
			t := typeByOID(c.args[i])
			switch {
			case slotCat[i] == 0:
				slotCat[i], slotPref[i] = t.Category, t.Preferred
			case t.Category == slotCat[i]:
				slotPref[i] = slotPref[i] || t.Preferred
			case t.Category == 'S':
				slotCat[i], slotPref[i] = 'S', t.Preferred
			default:
				conflict = true
			}
		}
		if conflict && slotCat[i] != 'S' {
			return nil, false
		}
	}
	for _, c := range cands {
		keep := true
		for i := range base {
			if base[i] != types.OIDUnknown {
				continue
			}
			t := typeByOID(c.args[i])
			if t.Category != slotCat[i] || slotPref[i] && !t.Preferred {
				keep = false
				break
			}
		}
		if keep {
			kept = append(kept, c)
		}
	}
	return kept, len(kept) > 0
}

func preferredIn(category byte, o types.OID) bool {
	t := types.ByOID(o)
	return t != nil && t.Preferred && t.Category == category
}

// canCoerce reports whether all arguments can be coerced, polymorphic parameters consistently.
func canCoerce(actual []*types.T, targets []types.OID, cc CastContext, casts CastSource) bool {
	poly := false
	for i, target := range targets {
		if isPolymorphic(target) {
			poly = true
			continue
		}
		if !canCoerceOne(actual[i], target, cc) && !userCoercible(casts, actual[i], target) {
			return false
		}
	}
	return !poly || polyCheck(actual, targets)
}

func canCoerceOne(from *types.T, target types.OID, cc CastContext) bool {
	if from.OID == target || target == types.OIDAny || from.OID == types.OIDUnknown {
		return true
	}
	if isPolymorphic(target) {
		return polyCheck([]*types.T{from}, []types.OID{target})
	}
	if target == types.OIDRecord && (from.Class == 'c' || from.Kind == types.KindTuple) {
		return true
	}
	return pathway(from, typeByOID(target), cc).method != 0
}

// CanCoerce reports whether a value of type from can become to in that context.
func CanCoerce(from, to *types.T, cc CastContext) bool {
	if from.OID == to.OID || from.OID == types.OIDUnknown {
		return true
	}
	return pathway(from, to, cc).method != 0
}

// CommonType chooses the type that UNION branches, CASE results, VALUES columns and array elements are
// brought to (select_common_type). what names the construct in the error: "UNION", "CASE", "ARRAY".
func CommonType(ts []*types.T, what string) (*types.T, error) {
	if len(ts) == 0 {
		return types.Text, nil
	}
	same := true
	for _, t := range ts {
		same = same && t.OID == ts[0].OID && t.OID != types.OIDUnknown
	}
	if same {
		return commonTypmod(ts), nil
	}
	p := types.Unknown
	for _, t := range ts {
		b := t.BaseType()
		switch {
		case b.OID == types.OIDUnknown || b.OID == p.OID:
		case p.OID == types.OIDUnknown:
			p = b
		case b.Category != p.Category:
			return nil, pgerr.New(pgerr.DatatypeMismatch, "%s types %s and %s cannot be matched", what, types.TypeName(p), types.TypeName(b))
		case !p.Preferred && canCoerceOne(p, b.OID, CastImplicit) && !canCoerceOne(b, p.OID, CastImplicit):
			p = b
		}
	}
	if p.OID == types.OIDUnknown {
		return types.Text, nil
	}
	p = bare(p)
	for _, t := range ts {
		if !CanCoerce(t, p, CastImplicit) {
			return nil, pgerr.New(pgerr.CannotCoerce, "%s could not convert type %s to %s", what, types.TypeName(t), types.TypeName(p))
		}
	}
	return p, nil
}

// commonTypmod keeps a modifier that all types share.
func commonTypmod(ts []*types.T) *types.T {
	for _, t := range ts[1:] {
		if t.Typmod != ts[0].Typmod {
			return bare(ts[0])
		}
	}
	return ts[0]
}

func commonType(ts []*types.T) (*types.T, bool) {
	t, err := CommonType(ts, "ARRAY")
	return t, err == nil
}
