package replication

import (
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// Verb is what a command of the replication protocol asks for.
type Verb uint8

// The commands.
const (
	NoCommand Verb = iota // SQL, or nothing
	IdentifySystem
	CreateSlot
	StartReplication
	DropSlot
	ReadSlot
)

// Snapshot is what CREATE_REPLICATION_SLOT does with the slot's snapshot.
type Snapshot uint8

// The choices.
const (
	SnapshotExport Snapshot = iota
	SnapshotUse
	SnapshotNothing
)

// Command is a parsed command.
type Command struct {
	Verb      Verb
	Slot      string
	Plugin    string
	Temporary bool
	Wait      bool // of DropSlot: until nobody uses the slot
	Snapshot  Snapshot
	From      LSN
	Options   []Option
}

// ParseCommand parses a command of the replication protocol. A text that is none, by its first word, has the verb NoCommand.
func ParseCommand(text string) (*Command, error) {
	p := commandParser{rest: text}
	c := &Command{}
	word, _ := p.word()
	switch strings.ToUpper(word) {
	case "IDENTIFY_SYSTEM":
		c.Verb = IdentifySystem
	case "CREATE_REPLICATION_SLOT":
		c.Verb = CreateSlot
		c.Slot = p.need("slot name")
		if p.accept("TEMPORARY") {
			c.Temporary = true
		}
		if p.accept("PHYSICAL") {
			return nil, pgerr.Unsupported("physical replication slots are not supported")
		}
		p.expect("LOGICAL")
		c.Plugin = p.need("output plugin")
		if err := p.slotOptions(c); err != nil {
			return nil, err
		}
	case "START_REPLICATION":
		c.Verb = StartReplication
		if !p.accept("SLOT") {
			return nil, pgerr.Unsupported("physical replication is not supported")
		}
		c.Slot = p.need("slot name")
		if !p.accept("LOGICAL") {
			return nil, pgerr.Unsupported("physical replication is not supported")
		}
		lsn, ok := ParseLSN(p.token("/"))
		if !ok {
			p.fail("position")
		}
		c.From = lsn
		p.options(c)
	case "DROP_REPLICATION_SLOT":
		c.Verb = DropSlot
		c.Slot = p.need("slot name")
		c.Wait = p.accept("WAIT")
	case "READ_REPLICATION_SLOT":
		c.Verb = ReadSlot
		c.Slot = p.need("slot name")
	case "BASE_BACKUP", "TIMELINE_HISTORY":
		return nil, pgerr.Unsupported("%s is not supported", strings.ToUpper(word))
	default:
		return c, nil
	}
	p.space()
	p.rest = strings.TrimSpace(strings.TrimSuffix(p.rest, ";"))
	if p.rest != "" {
		p.fail("end of command")
	}
	if p.err != nil {
		return nil, p.err
	}
	return c, nil
}

// slotOptions reads the options of CREATE_REPLICATION_SLOT, of today's form or of that before PostgreSQL 15.
func (p *commandParser) slotOptions(c *Command) error {
	for {
		switch {
		case p.accept("EXPORT_SNAPSHOT"):
			c.Snapshot = SnapshotExport
			continue
		case p.accept("NOEXPORT_SNAPSHOT"):
			c.Snapshot = SnapshotNothing
			continue
		case p.accept("USE_SNAPSHOT"):
			c.Snapshot = SnapshotUse
			continue
		case p.accept("TWO_PHASE"):
			return pgerr.Unsupported("two-phase commits are not decoded before they are committed")
		}
		break
	}
	p.options(c)
	for i := range c.Options {
		o := &c.Options[i]
		on, ok := o.boolean()
		switch strings.ToLower(o.Name) {
		case "snapshot":
			switch strings.ToLower(o.Value) {
			case "export":
				c.Snapshot = SnapshotExport
			case "use":
				c.Snapshot = SnapshotUse
			case "nothing":
				c.Snapshot = SnapshotNothing
			default:
				return pgerr.New(pgerr.InvalidParameterValue, "unrecognized value for CREATE_REPLICATION_SLOT option \"snapshot\": %q", o.Value)
			}
		case "two_phase":
			if !ok || on {
				return pgerr.Unsupported("two-phase commits are not decoded before they are committed")
			}
		case "reserve_wal":
		default:
			return pgerr.New(pgerr.SyntaxError, "unrecognized option: %s", o.Name)
		}
	}
	c.Options = nil
	return nil
}

type commandParser struct {
	rest string
	err  error
}

func (p *commandParser) fail(wanted string) {
	if p.err == nil {
		near := p.rest
		if len(near) > 20 {
			near = near[:20]
		}
		p.err = pgerr.New(pgerr.SyntaxError, "syntax error at or near %q: %s expected", near, wanted)
	}
	p.rest = ""
}

func (p *commandParser) space() { p.rest = strings.TrimLeft(p.rest, " \t\r\n") }

// token takes letters, digits, underscores and what more says.
func (p *commandParser) token(more string) string {
	p.space()
	n := 0
	for n < len(p.rest) {
		b := p.rest[n]
		if b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '_' || b >= 0x80 || strings.IndexByte(more, b) >= 0 {
			n++
			continue
		}
		break
	}
	t := p.rest[:n]
	p.rest = p.rest[n:]
	return t
}

// word takes an identifier, quoted or folded to lower case.
func (p *commandParser) word() (string, bool) {
	p.space()
	if !strings.HasPrefix(p.rest, `"`) {
		t := p.token("")
		return strings.ToLower(t), t != ""
	}
	return p.quoted('"')
}

// quoted takes a text in quotes, in which the quote is doubled.
func (p *commandParser) quoted(q byte) (string, bool) {
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		if p.rest[i] != q {
			b.WriteByte(p.rest[i])
			continue
		}
		if i+1 < len(p.rest) && p.rest[i+1] == q {
			b.WriteByte(q)
			i++
			continue
		}
		p.rest = p.rest[i+1:]
		return b.String(), true
	}
	p.fail("closing quote")
	return "", false
}

func (p *commandParser) need(what string) string {
	w, ok := p.word()
	if !ok {
		p.fail(what)
	}
	return w
}

// accept takes a keyword if it is there.
func (p *commandParser) accept(keyword string) bool {
	before := p.rest
	if strings.EqualFold(p.token(""), keyword) {
		return true
	}
	p.rest = before
	return false
}

func (p *commandParser) expect(keyword string) {
	if !p.accept(keyword) {
		p.fail(keyword)
	}
}

// options reads ( name [value], ... ), if it is there.
func (p *commandParser) options(c *Command) {
	p.space()
	if !strings.HasPrefix(p.rest, "(") {
		return
	}
	p.rest = p.rest[1:]
	for p.err == nil {
		var o Option
		p.space()
		if strings.HasPrefix(p.rest, `"`) {
			o.Name = p.need("option")
		} else if o.Name = p.token("-"); o.Name == "" { // names such as include-xids may come without quotes
			p.fail("option")
		}
		p.space()
		switch {
		case strings.HasPrefix(p.rest, "'"):
			o.Value, _ = p.quoted('\'')
		case strings.HasPrefix(p.rest, `"`):
			o.Value, _ = p.quoted('"')
		case p.rest != "" && p.rest[0] != ',' && p.rest[0] != ')':
			if o.Value = p.token("-+."); o.Value == "" {
				p.fail("value")
			}
		default:
			o.Alone = true
		}
		c.Options = append(c.Options, o)
		p.space()
		if strings.HasPrefix(p.rest, ",") {
			p.rest = p.rest[1:]
			continue
		}
		if !strings.HasPrefix(p.rest, ")") {
			p.fail("\")\"")
			return
		}
		p.rest = p.rest[1:]
		return
	}
}
