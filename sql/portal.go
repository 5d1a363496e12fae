package sql

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/exec"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// portal is a statement bound to parameters: one of the extended protocol, or a cursor that DECLARE made.
type portal struct {
	name    string
	st      *statement
	params  []types.Datum
	formats []int16

	env    exec.Env     // of cursor
	cursor *exec.Cursor // open once rows have been asked for piecemeal
	done   bool         // ran to its end
	// running says that cursor is giving a row: functions of its query may write meanwhile.
	running bool
	serial  uint64 // Session.portalSerial when it was made

	declared *cursorState // set for cursors (cursor.go)
}

// BindArgs are the fields of a Bind message. The session keeps none of the slices.
type BindArgs struct {
	Portal        string
	Statement     string
	ParamFormats  []int16
	Params        [][]byte // nil: NULL
	ResultFormats []int16
}

// maxPrepared bounds what one session may hold, and with it the memory that a client can pin, as maxLongTexts does for
// the bytes of statements of more than longText.
const (
	maxPrepared  = 10000
	longText     = 1 << 20
	maxLongTexts = 64 << 20
)

// mayPrepare reports an error if the session holds too much to prepare another statement.
func (s *Session) mayPrepare(text string) error {
	if len(s.statements) >= maxPrepared {
		return pgerr.New(pgerr.ProgramLimitExceeded, "too many prepared statements")
	}
	if len(text) <= longText {
		return nil
	}
	held := len(text)
	for _, st := range s.statements {
		if len(st.text) > longText {
			held += len(st.text)
		}
	}
	if held > maxLongTexts {
		return pgerr.New(pgerr.ProgramLimitExceeded, "prepared statements of more than %d bytes in a session", maxLongTexts).
			WithHint("Send large data as parameters, or close statements that are no longer used.")
	}
	return nil
}

// Parse prepares a statement. The empty name is the unnamed statement, which a new one replaces.
func (s *Session) Parse(_ context.Context, name, text string, oids []uint32) error {
	ctx, err := s.beginMessage()
	if err != nil {
		return err
	}
	err = s.guarded(text, func() error { return s.parse(ctx, name, text, oids) })
	return s.endStatement(ctx, statementSpan{}, text, err)
}

func (s *Session) parse(ctx context.Context, name, text string, oids []uint32) error {
	text, err := s.standardStrings(text)
	if err != nil {
		return err
	}
	if name == "" {
		s.unnamed = nil
	} else if s.statements[name] != nil {
		return pgerr.New(pgerr.DuplicatePstatement, "prepared statement \"%s\" already exists", name)
	} else if err := s.mayPrepare(text); err != nil {
		return err
	}
	if s.txn.phase != phaseFailed {
		if st := s.lookupParsed(text, oids); st != nil {
			s.openImplicit()
			made := st.version
			if _, err := s.ensurePlan(ctx, st); err != nil {
				return err
			}
			if st.version != made {
				s.shareParsed(st, oids)
			}
			st.name, st.created, st.fixed = name, s.now(), true
			s.storeStatement(st)
			return nil
		}
	}
	if !utf8.ValidString(text) {
		return errEncoding()
	}
	list, err := parser.Parse(text)
	if err != nil {
		return err
	}
	st := &statement{name: name, text: text, created: s.now()}
	switch len(list) {
	case 0:
	case 1:
		st.node, st.from, st.to, st.numParams = list[0].Stmt, list[0].Start, list[0].End, list[0].NumParams
	default:
		return pgerr.New(pgerr.SyntaxError, "cannot insert multiple commands into a prepared statement")
	}
	if s.txn.phase == phaseFailed && st.node != nil && !endsTxn(st.node) {
		return errFailedTxn()
	}
	for _, oid := range oids {
		t := types.Unknown
		if oid != 0 {
			if t = s.resolveType(types.OID(oid)); t == nil {
				return pgerr.New(pgerr.UndefinedObject, "type with OID %d does not exist", oid)
			}
		}
		st.declared = append(st.declared, t)
	}
	if isPlanned(st.node) {
		s.openImplicit()
		if _, err := s.ensurePlan(ctx, st); err != nil {
			return err
		}
		st.fixed = true
		s.shareParsed(st, oids)
	} else if st.numParams > 0 && !takesParams(st.node) {
		return pgerr.New(pgerr.UndefinedParameter, "there is no parameter $%d", 1)
	} else if call, ok := st.node.(*ast.CallStmt); ok && st.numParams > 0 {
		s.openImplicit()
		if st.declared, err = s.callParams(ctx, call, st.declared, st.numParams); err != nil {
			return err
		}
	}
	s.storeStatement(st)
	return nil
}

// takesParams reports whether a statement that is not planned itself contains a query that may have
// parameters.
func takesParams(node ast.Stmt) bool {
	switch node.(type) {
	case *ast.CreateTableAsStmt, *ast.DeclareCursorStmt, *ast.SelectStmt, *ast.CallStmt, *ast.ExecuteStmt:
		return true
	}
	return false
}

func (s *Session) storeStatement(st *statement) {
	if st.name == "" {
		s.unnamed = st
	} else {
		s.statements[st.name] = st
	}
}

func (s *Session) findStatement(name string) (*statement, error) {
	st := s.unnamed
	if name != "" {
		st = s.statements[name]
	}
	if st == nil {
		if name == "" {
			return nil, pgerr.New(pgerr.InvalidSQLStatementName, "unnamed prepared statement does not exist")
		}
		return nil, pgerr.New(pgerr.InvalidSQLStatementName, "prepared statement \"%s\" does not exist", name)
	}
	return st, nil
}

// Bind makes a portal of a prepared statement. The unnamed portal is replaced.
func (s *Session) Bind(_ context.Context, a BindArgs) error {
	st, err := s.findStatement(a.Statement)
	if err != nil {
		return err
	}
	ctx, err := s.beginMessage()
	if err != nil {
		return err
	}
	err = s.guarded(st.text, func() error { return s.bind(ctx, st, a) })
	return s.endStatement(ctx, statementSpan{}, st.text, err)
}

func (s *Session) bind(ctx context.Context, st *statement, a BindArgs) error {
	if s.txn.phase == phaseFailed && st.node != nil && !endsTxn(st.node) {
		return errFailedTxn()
	}
	if n := len(a.ParamFormats); n > 1 && n != len(a.Params) {
		return pgerr.New(pgerr.ProtocolViolation, "bind message has %d parameter formats but %d parameters", n, len(a.Params))
	}
	paramTypes := st.declared
	if isPlanned(st.node) {
		s.openImplicit()
		p, err := s.ensurePlan(ctx, st)
		if err != nil {
			return err
		}
		paramTypes = p.ParamTypes
		if n := len(a.ResultFormats); n > 1 && n != len(p.Columns) {
			return pgerr.New(pgerr.ProtocolViolation, "bind message has %d result formats but query has %d columns", n, len(p.Columns))
		}
	}
	want := len(paramTypes)
	if len(a.Params) != want {
		return pgerr.New(pgerr.ProtocolViolation, "bind message supplies %d parameters, but prepared statement \"%s\" requires %d",
			len(a.Params), st.name, want)
	}
	for _, f := range a.ResultFormats {
		if f != FormatText && f != FormatBinary {
			return pgerr.New(pgerr.InvalidParameterValue, "invalid format code: %d", f)
		}
	}
	var p *portal
	if a.Portal == "" {
		s.dropPortal("")
		p = &s.unnamedP
	} else {
		if s.portals[a.Portal] != nil {
			return pgerr.New(pgerr.DuplicateCursor, "cursor \"%s\" already exists", a.Portal)
		}
		if len(s.portals) >= maxPrepared {
			return pgerr.New(pgerr.ProgramLimitExceeded, "too many portals")
		}
		p = &portal{name: a.Portal}
	}
	params := p.params[:0]
	for i, raw := range a.Params {
		d, err := s.decodeParam(i, raw, formatAt(a.ParamFormats, i), paramTypes[i])
		if err != nil {
			return err
		}
		params = append(params, d)
	}
	if isPlanned(st.node) {
		special, err := s.specialize(ctx, st, params)
		if err != nil {
			return err
		}
		st = special
	}
	*p = portal{name: a.Portal, st: st, params: params, formats: append(p.formats[:0], a.ResultFormats...)}
	if a.Portal != "" {
		s.addPortal(p)
	}
	return nil
}

// addPortal makes a portal known by its name.
func (s *Session) addPortal(p *portal) {
	s.portalSerial++
	p.serial = s.portalSerial
	s.portals[p.name] = p
}

// dropPortalsAfter drops the portals made after a savepoint, when the transaction returns to it.
func (s *Session) dropPortalsAfter(serial uint64) {
	s.dropPortal("")
	s.dropCursorsAfter(serial)
}

// dropCursorsAfter is dropPortalsAfter inside of a running statement, whose unnamed portal stays.
func (s *Session) dropCursorsAfter(serial uint64) {
	for name, p := range s.portals {
		if p.serial > serial {
			s.dropPortal(name)
		}
	}
}

func formatAt(formats []int16, i int) int16 {
	switch {
	case len(formats) == 1:
		return formats[0]
	case i < len(formats):
		return formats[i]
	}
	return FormatText
}

// decodeParam reads a parameter's value. raw is the read buffer's: what is kept of it is copied.
func (s *Session) decodeParam(i int, raw []byte, format int16, t *types.T) (types.Datum, error) {
	if raw == nil {
		return types.Null, nil
	}
	switch format {
	case FormatBinary:
		d, err := types.ParseBinary(raw, t, s.format)
		if err != nil {
			return d, paramError(err, i)
		}
		return d, nil
	case FormatText:
	default:
		return types.Null, pgerr.New(pgerr.InvalidParameterValue, "unsupported format code: %d", format)
	}
	var text string
	switch t.Kind {
	case types.KindInt, types.KindBool, types.KindFloat:
		text = unsafe.String(unsafe.SliceData(raw), len(raw)) // not kept by the parser of these kinds
	default:
		text = string(raw)
	}
	if !utf8.ValidString(text) {
		return types.Null, paramError(errEncoding(), i)
	}
	if strings.IndexByte(text, 0) >= 0 {
		return types.Null, paramError(pgerr.New(pgerr.CharacterNotInRepertoire, "invalid byte sequence for encoding \"UTF8\": 0x00"), i)
	}
	d, err := types.ParseText(text, t, s.format)
	if err != nil {
		return d, paramError(pgerr.Wrap(pgerr.InternalError, cloneText(err)), i)
	}
	return d, nil
}

// cloneText keeps an error's texts, which may alias the read buffer.
func cloneText(err error) error {
	e := *WireError(err)
	e.Message, e.Detail = strings.Clone(e.Message), strings.Clone(e.Detail)
	return &e
}

func paramError(err error, i int) error {
	e := *WireError(err)
	if e.Where == "" {
		e.Where = "unnamed portal parameter $" + itoa(i+1)
	}
	return &e
}

func (s *Session) findPortal(name string) (*portal, error) {
	p := &s.unnamedP
	if name != "" {
		p = s.portals[name]
	}
	if p == nil || p.st == nil && p.declared == nil {
		return nil, pgerr.New(pgerr.InvalidCursorName, "portal \"%s\" does not exist", name)
	}
	return p, nil
}

// DescribeStatement returns the types of a prepared statement's parameters and its result columns, nil for
// none.
func (s *Session) DescribeStatement(_ context.Context, name string) ([]types.OID, []Column, error) {
	st, err := s.findStatement(name)
	if err != nil {
		return nil, nil, err
	}
	if err := s.overdue(); err != nil {
		return nil, nil, err
	}
	ctx, span := s.beginStatement("sql.describe", st.text)
	oids, cols, err := s.describeStatement(ctx, st)
	return oids, cols, s.endStatement(ctx, span, st.text, err)
}

func (s *Session) describeStatement(ctx context.Context, st *statement) ([]types.OID, []Column, error) {
	cols, err := s.columnsOf(ctx, st)
	if err != nil {
		return nil, nil, err
	}
	paramTypes := st.declared
	if st.plan != nil {
		paramTypes = st.plan.ParamTypes
	}
	oids := make([]types.OID, len(paramTypes))
	for i, t := range paramTypes {
		oids[i] = t.OID
	}
	return oids, cols, nil
}

// DescribePortal returns a portal's result columns, nil for none, and their formats.
func (s *Session) DescribePortal(_ context.Context, name string) ([]Column, []int16, error) {
	p, err := s.findPortal(name)
	if err != nil {
		return nil, nil, err
	}
	if err := s.overdue(); err != nil {
		return nil, nil, err
	}
	if p.declared != nil {
		return p.declared.cols, p.formats, nil
	}
	if p.st.plan != nil && (p.cursor != nil || p.st.version == s.catalogVersion() && p.st.epoch == s.plannerEpoch) {
		return resultColumns(p.st.plan), p.formats, nil
	}
	if _, ok := p.st.node.(*ast.TransactionStmt); ok { // drivers ask at the begin and the end of every transaction
		return nil, p.formats, nil
	}
	ctx, span := s.beginStatement("sql.describe", p.st.text)
	cols, err := s.columnsOf(ctx, p.st)
	return cols, p.formats, s.endStatement(ctx, span, p.st.text, err)
}

func (s *Session) catalogVersion() uint64 {
	if s.txn.catalog == nil {
		return 0
	}
	return s.txn.catalog.Version()
}

// columnsOf returns the result columns of any statement.
func (s *Session) columnsOf(ctx context.Context, st *statement) ([]Column, error) {
	if isPlanned(st.node) {
		if s.txn.phase == phaseFailed {
			return nil, errFailedTxn()
		}
		s.openImplicit()
		p, err := s.ensurePlan(ctx, st)
		if err != nil {
			return nil, err
		}
		return resultColumns(p), nil
	}
	return s.utilityColumns(ctx, st)
}

// resultColumns are a plan's result columns: nil for a statement that returns no rows, empty for a SELECT
// whose rows have no columns.
func resultColumns(p *plan.Plan) []Column {
	switch {
	case len(p.Columns) > 0:
		return p.Columns
	case p.Verb == "SELECT":
		return []Column{}
	}
	return nil
}

// returnsRows reports whether a statement answers with rows even when they have no columns.
func returnsRows(node ast.Stmt) bool {
	_, ok := node.(*ast.SelectStmt)
	return ok
}

// Execute runs a portal for at most maxRows rows, all with 0. last says that nothing but Sync follows, so
// that the statement may be a transaction of its own.
func (s *Session) Execute(_ context.Context, name string, maxRows int64, last bool) error {
	p, err := s.findPortal(name)
	if err != nil {
		return err
	}
	if err := s.overdue(); err != nil {
		return err
	}
	text := ""
	if p.st != nil {
		text = p.st.text
	}
	ctx, span := s.beginStatement("sql.execute", text)
	err = s.guarded(text, func() error { return s.execute(ctx, p, maxRows, last) })
	s.statementEnd = time.Time{}
	return s.endStatement(ctx, span, text, err)
}

func (s *Session) execute(ctx context.Context, p *portal, maxRows int64, last bool) error {
	if s.statementRate > 0 {
		if err := s.pace(ctx); err != nil {
			return err
		}
	}
	if p.declared != nil {
		return s.executeDeclared(ctx, p, maxRows)
	}
	st := p.st
	switch {
	case st.node == nil:
		s.out.EmptyQuery()
		return nil
	case s.txn.phase == phaseFailed && !endsTxn(st.node):
		return errFailedTxn()
	case p.done:
		return s.executeAgain(p)
	}
	s.beginCost(st)
	err := s.executeNew(ctx, p, maxRows, last)
	s.endCost(err)
	return err
}

// executeNew executes a portal that has not run to its end.
func (s *Session) executeNew(ctx context.Context, p *portal, maxRows int64, last bool) error {
	st := p.st
	switch {
	case !isPlanned(st.node):
		p.done = true
		if !last {
			s.group(st.node)
		}
		return s.runUtility(ctx, st, p.params, p.formats, false, last)
	case p.cursor == nil && (maxRows <= 0 || st.plan != nil && len(st.plan.Columns) == 0 && st.plan.Verb != "SELECT"):
		p.done = true
		s.openImplicit()
		if last {
			return s.runOne(ctx, st, p.params, p.formats, false)
		}
		return s.runInTxn(ctx, st, p.params, p.formats, false)
	}
	return s.executeSome(ctx, p, maxRows)
}

// executeAgain answers Execute of a portal that ran to its end: no more rows.
func (s *Session) executeAgain(p *portal) error {
	if sel, ok := p.st.node.(*ast.SelectStmt); ok && sel.Into == nil {
		s.out.CompleteRows("SELECT", 0)
		return nil
	}
	return pgerr.New(pgerr.ObjectNotInPrerequisiteState, "portal \"%s\" cannot be run", p.name)
}

// executeSome returns the next rows of a portal.
func (s *Session) executeSome(ctx context.Context, p *portal, maxRows int64) error {
	s.openImplicit()
	s.txn.replay.stop()
	if p.cursor == nil {
		pl, err := s.ensurePlan(ctx, p.st)
		if err != nil {
			return err
		}
		if err := s.openCursor(ctx, p); err != nil {
			return err
		}
		s.out.BeginRows(pl.Columns, p.formats, s.format, false)
	} else {
		s.out.BeginRows(p.st.plan.Columns, p.formats, s.format, false)
	}
	var n int64
	for maxRows <= 0 || n < maxRows {
		row, err := p.nextRow(ctx)
		if err != nil {
			return err
		}
		if row == nil {
			done := completionOf(p.st.plan, p.cursor.Result())
			if done.tag == "" && p.st.plan.Verb == "SELECT" {
				done.rows = n // of this Execute
			}
			p.done = true
			p.cursor.Close()
			p.cursor = nil
			s.complete(done)
			return nil
		}
		if err := s.out.Row(row); err != nil {
			return err
		}
		n++
	}
	s.out.Suspended()
	return nil
}

// openCursor starts a portal's execution in the open transaction.
func (s *Session) openCursor(ctx context.Context, p *portal) error {
	if err := s.prepareEnv(ctx, &p.env, p.st.plan, p.params); err != nil {
		return err
	}
	// The cursor outlives the message, and its functions may see the session change meanwhile; now() may not.
	b := s.bctx
	b.Context = ctx
	p.env.Builtin = &b
	c, err := exec.Open(ctx, p.st.plan, &p.env)
	if err != nil {
		return err
	}
	p.cursor = c
	return nil
}

// CloseStatement drops a prepared statement; one that does not exist is no error.
func (s *Session) CloseStatement(name string) error {
	if name == "" {
		s.unnamed = nil
		return nil
	}
	delete(s.statements, name)
	return nil
}

// ClosePortal drops a portal; one that does not exist is no error.
func (s *Session) ClosePortal(name string) error {
	s.dropPortal(name)
	return nil
}

func (s *Session) dropPortal(name string) {
	if name == "" {
		p := &s.unnamedP
		p.close()
		*p = portal{params: p.params[:0], formats: p.formats[:0]}
		return
	}
	if p := s.portals[name]; p != nil {
		p.close()
		delete(s.portals, name)
	}
}

func (p *portal) close() {
	if p.cursor != nil {
		p.cursor.Close()
		p.cursor = nil
	}
}

func (s *Session) dropAllPortals() {
	s.dropPortal("")
	for name := range s.portals {
		s.dropPortal(name)
	}
}

// closeTxnPortals drops the portals that end with their transaction: all but held cursors.
func (s *Session) closeTxnPortals(committed bool) {
	s.dropPortal("")
	if len(s.portals) == 0 {
		return
	}
	for name, p := range s.portals {
		if p.declared != nil && p.declared.held && (committed || p.declared.survives) {
			p.declared.survives = true
			continue
		}
		s.dropPortal(name)
	}
}

// closeFailedPortals stops executions when their transaction fails; a held result of an earlier one stays.
func (s *Session) closeFailedPortals() {
	s.unnamedP.close()
	for _, p := range s.portals {
		p.close()
	}
}

func (s *Session) sortedStatements() []*statement {
	list := make([]*statement, 0, len(s.statements))
	for _, st := range s.statements {
		list = append(list, st)
	}
	slices.SortFunc(list, func(a, b *statement) int { return strings.Compare(a.name, b.name) })
	return list
}
