package sql

import (
	"bytes"
	"context"
	"encoding/binary"
	"strings"
	"sync"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// planCache holds plans of statements that differ in their literals only, shared by all sessions of a node.
// Its key is the text with literals replaced by typed placeholders, which costs a tenth of a parse.
type planCache struct {
	mu      sync.RWMutex
	entries map[string]*sharedPlan
	max     int
}

// sharedPlan is one entry: a statement whose literals are parameters. Immutable.
type sharedPlan struct {
	st       statement // never executed itself: sessions copy it
	template parser.Template
	next     *sharedPlan // another statement with the same key
	depth    int         // of the list
	// exact is set for a costly plan: it serves its own text alone. Planning anew for other literals, whose
	// selectivity may be another, costs little beside it.
	exact string
	// subject, if not empty, is whom a plan with row-level security has been made for: Session.subject.
	subject string
}

// costlyPlan is the estimated cost from which a plan is made for its literals: some ten thousand rows.
const costlyPlan = 100

func (c *planCache) init(max int) {
	c.max = max
	c.entries = map[string]*sharedPlan{}
}

func (c *planCache) get(key []byte) *sharedPlan {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.entries[string(key)]
}

// replace stores an entry in the place of any other that serves the same subject.
func (c *planCache) replace(key []byte, e *sharedPlan) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= c.max {
		clear(c.entries)
	}
	old := c.entries[string(key)]
	switch {
	case old == nil || old.subject == "" || e.subject == "" || old.st.version != e.st.version || old.depth >= maxVariants:
	case old.subject == e.subject:
		e.next, e.depth = old.next, old.depth
	default:
		e.next, e.depth = old, old.depth+1
	}
	c.entries[string(key)] = e
}

// put stores an entry. A full cache is emptied: what is used comes back at once, and keeping track of use
// would cost every hit.
func (c *planCache) put(key []byte, e *sharedPlan) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= c.max {
		clear(c.entries)
	}
	if old := c.entries[string(key)]; old != nil && old.depth < maxVariants && old.st.version == e.st.version {
		e.next, e.depth = old, old.depth+1
	}
	c.entries[string(key)] = e
}

// maxCachedLiterals keeps bulk statements, which never come twice, out of the cache.
const maxCachedLiterals = 500

// maxVariants bounds the entries under one key that differ in literals that are part of the tree.
const maxVariants = 8

// sharedKey returns the cache key of a text, nil when the text has to be parsed without the cache. Besides
// the text, a plan depends on the database, the search path, and the settings under which constants were
// read.
func (s *Session) sharedKey(text string) []byte {
	if s.planCacheOff || !s.norm.Scan(text) || len(s.norm.Lits) > maxCachedLiterals {
		return nil
	}
	s.keyBuf = append(append(s.keyBuf[:0], s.planPrefix()...), s.norm.Key...)
	return s.keyBuf
}

// planPrefix is the part of the cache keys that stands for everything but the text.
func (s *Session) planPrefix() []byte {
	if s.keyEpoch != s.plannerEpoch || len(s.keyPrefix) == 0 {
		b := binary.BigEndian.AppendUint32(s.keyPrefix[:0], s.databaseID)
		for _, schema := range s.path() {
			b = append(append(b, schema...), 0)
		}
		for _, name := range formatSettings {
			b = append(append(b, s.setting(name)...), 0)
		}
		for i := range settingTable {
			if strings.HasPrefix(settingTable[i].name, "enable_") {
				b = append(b, s.vars.cur[i]...)
			}
		}
		s.keyPrefix, s.keyEpoch = b, s.plannerEpoch
	}
	return s.keyPrefix
}

// maxParsedText keeps long texts, which seldom come twice, out of the cache of Parse messages.
const maxParsedText = 8 << 10

// parseKey returns the cache key of a Parse message: its exact text, with parameters, and the types the client
// gave them. nil when it is not cached. Drivers that do not name their statements parse the same texts again
// and again.
func (s *Session) parseKey(text string, oids []uint32) []byte {
	if s.planCacheOff || len(text) > maxParsedText {
		return nil
	}
	// A byte that no normalised text begins with keeps the two kinds of key apart.
	b := append(append(s.keyBuf[:0], s.planPrefix()...), 0xff)
	b = binary.BigEndian.AppendUint16(b, uint16(len(oids)))
	for _, oid := range oids {
		b = binary.BigEndian.AppendUint32(b, oid)
	}
	s.keyBuf = append(b, text...)
	return s.keyBuf
}

// lookupParsed finds a statement that this or another session has parsed and planned, nil for none.
func (s *Session) lookupParsed(text string, oids []uint32) *statement {
	key := s.parseKey(text, oids)
	if key == nil {
		return nil
	}
	e := s.srv.plans.get(key)
	for e != nil && !s.admits(e) {
		e = e.next
	}
	if e == nil {
		s.srv.metrics.planMisses.Inc()
		return nil
	}
	s.srv.metrics.planHits.Inc()
	st := e.st
	st.epoch = s.plannerEpoch
	return &st
}

// oidsOf are the parameter types that a client gave with a Parse message.
func oidsOf(declared []*types.T) []uint32 {
	oids := make([]uint32, len(declared))
	for i, t := range declared {
		if t != nil {
			oids[i] = uint32(t.OID)
		}
	}
	return oids
}

// shareParsed puts a statement that Parse has planned into the cache.
func (s *Session) shareParsed(st *statement, oids []uint32) {
	if st.version&ownVersion != 0 {
		return
	}
	if key := s.parseKey(st.text, oids); key != nil {
		s.statsOf(st)
		e := &sharedPlan{st: *st, subject: s.subject(st)}
		e.st.name, e.st.fixed = "", false
		s.srv.plans.replace(key, e)
	}
}

// subject names what a plan with row-level security depends on besides the catalog's version: the role and its wish to
// be told of policies. It is empty for other plans.
func (s *Session) subject(st *statement) string {
	if st.plan == nil || st.plan.Secure == nil {
		return ""
	}
	return s.user + "\x00" + s.setting("row_security")
}

// admits reports whether an entry's plan has been made for the current role. That is not what protects: ensurePlan looks
// again.
func (s *Session) admits(e *sharedPlan) bool { return e.subject == "" || e.subject == s.subject(&e.st) }

// formatSettings are the settings that the meaning of a literal depends on.
var formatSettings = []string{"datestyle", "timezone", "intervalstyle"}

// lookupShared finds a plan for a simple query by its normalised text, with the values of the literals. It
// returns nil when the text has to be parsed.
func (s *Session) lookupShared(text string) (*statement, []types.Datum, error) {
	key := s.sharedKey(text)
	if key == nil {
		return nil, nil, nil
	}
	for e := s.srv.plans.get(key); e != nil; e = e.next {
		if !e.template.Match(text, s.norm.Lits) || e.exact != "" && e.exact != text || !s.admits(e) {
			continue
		}
		st := e.st
		st.text, st.epoch = text, s.plannerEpoch
		st.from, st.to = 0, int32(len(text))
		params, err := s.literalParams(&e.template, text, st.plan.ParamTypes)
		if err != nil {
			return nil, nil, err
		}
		st.template, st.values = &e.template, params
		s.srv.metrics.planHits.Inc()
		return &st, params, nil
	}
	s.srv.metrics.planMisses.Inc()
	return nil, nil, nil
}

// parseShared parses a text that lookupShared did not find, and plans it so that the next text of its form
// need not be. It returns nil when that cannot be done; the statement is then planned as it is written.
func (s *Session) parseShared(ctx context.Context, text string, parsed ast.Statement) (*statement, []types.Datum) {
	key := s.sharedKey(text)
	if key == nil || !isPlanned(parsed.Stmt) || parsed.NumParams > 0 {
		return nil, nil
	}
	key = bytes.Clone(key) // planning may look at other texts
	template := parser.Parameterize(&parsed, text, s.norm.Lits)
	for _, f := range template.Fixed {
		if changesWithTime(f.Text) {
			return nil, nil
		}
	}
	st := &statement{text: text, node: parsed.Stmt, from: parsed.Start, to: parsed.End, numParams: parsed.NumParams}
	own := s.txn.phase == phaseIdle
	s.openImplicit()
	s.paramValues = func(ts []*types.T) []types.Datum {
		params, err := s.literalParams(template, text, ts)
		if err != nil {
			return nil
		}
		return params
	}
	p, err := s.ensurePlan(ctx, st)
	s.paramValues = nil
	if err != nil {
		return nil, nil
	}
	params, err := s.literalParams(template, text, p.ParamTypes)
	if err != nil {
		if own {
			s.endTxn(ctx, false)
		}
		return nil, nil
	}
	if st.version&ownVersion == 0 {
		s.statsOf(st)
		e := &sharedPlan{st: *st, template: *template, subject: s.subject(st)}
		e.st.text = ""
		if p.Root != nil && p.Root.Base().Cost > costlyPlan {
			e.exact = strings.Clone(text)
		}
		s.srv.plans.put(key, e)
	}
	st.template, st.values = template, params
	return st, params
}

// changesWithTime reports whether a literal names a moment that moves: a plan with it would grow stale.
func changesWithTime(lit string) bool {
	lit = strings.ToLower(strings.Trim(lit, "' "))
	for _, word := range []string{"now", "today", "tomorrow", "yesterday"} {
		if strings.Contains(lit, word) {
			return true
		}
	}
	return false
}

// readAgain gives the parameters of a simple query the values of its literals in other types.
func (s *Session) readAgain(st *statement, to []*types.T) error {
	if s.sharedKey(st.text) == nil {
		return pgerr.New(pgerr.InternalError, "a statement cannot be read again")
	}
	params, err := s.literalParams(st.template, st.text, to)
	if err == nil {
		copy(st.values, params)
	}
	return err
}

// literalParams reads the literals of a text as parameters of a plan.
func (s *Session) literalParams(t *parser.Template, text string, to []*types.T) ([]types.Datum, error) {
	if len(t.Params) != len(to) {
		return nil, pgerr.New(pgerr.InternalError, "statement has %d literals and %d parameters", len(t.Params), len(to))
	}
	params := make([]types.Datum, len(to))
	for i := range t.Params {
		p := &t.Params[i]
		lit := &s.norm.Lits[p.Literal]
		if p.Kind != ast.ConstString && p.Kind != ast.ConstNumeric && to[i].Kind == types.KindInt {
			v := lit.Int
			if p.Negate {
				v = -v
			}
			params[i] = types.NewInt(v)
			continue
		}
		value := lit.Text(text)
		if p.Negate {
			value = "-" + value
		}
		d, err := types.ParseText(value, to[i], s.format)
		if err != nil {
			e := *WireError(err)
			return nil, e.WithPosition(int(lit.Start) + 1)
		}
		params[i] = d
	}
	return params, nil
}
