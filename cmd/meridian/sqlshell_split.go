package main

import "strings"

// splitter cuts a stream of lines into statements at semicolons that are not inside quotes, comments or
// parentheses.
type splitter struct {
	buf     strings.Builder
	quote   byte   // ' or " while inside; 0 outside
	escapes bool   // the string takes backslash escapes (E'..')
	dollar  string // the tag while inside a dollar-quoted string
	comment int    // depth of /* */
	parens  int
}

// empty reports whether no statement has been begun.
func (sp *splitter) empty() bool {
	return sp.quote == 0 && sp.dollar == "" && sp.comment == 0 && strings.TrimSpace(sp.buf.String()) == ""
}

// rest returns what has been fed and not ended by a semicolon.
func (sp *splitter) rest() string {
	s := strings.TrimSpace(sp.buf.String())
	*sp = splitter{}
	return s
}

// cutMeta cuts a backslash command off the end of a line of SQL: the first backslash outside of quotes and comments begins it.
func (sp *splitter) cutMeta(line string) (sql, command string) {
	for i := 0; i < len(line); i++ {
		if line[i] != '\\' {
			continue
		}
		probe := *sp
		probe.buf = strings.Builder{}
		probe.feed(line[:i])
		if probe.quote == 0 && probe.dollar == "" && probe.comment == 0 && !inLineComment(line[:i]) {
			return line[:i], strings.TrimSpace(line[i:])
		}
	}
	return line, ""
}

// inLineComment reports whether a -- comment is open at the end of a part of a line. A -- within quotes counts too, which
// leaves the backslash to the server.
func inLineComment(s string) bool { return strings.Contains(s, "--") }

// feed takes text and returns the statements that it completes.
func (sp *splitter) feed(text string) []string {
	var out []string
	for i := 0; i < len(text); i++ {
		c := text[i]
		rest := text[i:]
		switch {
		case sp.dollar != "":
			if strings.HasPrefix(rest, sp.dollar) {
				sp.buf.WriteString(sp.dollar)
				i += len(sp.dollar) - 1
				sp.dollar = ""
				continue
			}
		case sp.comment > 0:
			if strings.HasPrefix(rest, "*/") {
				sp.comment--
				sp.buf.WriteString("*/")
				i++
				continue
			}
			if strings.HasPrefix(rest, "/*") {
				sp.comment++
			}
		case sp.quote != 0:
			if sp.escapes && c == '\\' && i+1 < len(text) {
				sp.buf.WriteByte(c)
				i++
				c = text[i]
			} else if c == sp.quote {
				sp.quote = 0
			}
		case c == '\'' || c == '"':
			sp.escapes = c == '\'' && i > 0 && (text[i-1] == 'e' || text[i-1] == 'E') && (i == 1 || !isWord(text[i-2]))
			sp.quote = c
		case c == '-' && strings.HasPrefix(rest, "--"):
			end := strings.IndexByte(rest, '\n')
			if end < 0 {
				end = len(rest)
			}
			sp.buf.WriteString(rest[:end])
			i += end - 1
			continue
		case strings.HasPrefix(rest, "/*"):
			sp.comment++
			sp.buf.WriteString("/*")
			i++
			continue
		case c == '$' && (i == 0 || !isWord(text[i-1])):
			if tag := dollarTag(rest); tag != "" {
				sp.dollar = tag
				sp.buf.WriteString(tag)
				i += len(tag) - 1
				continue
			}
		case c == '(':
			sp.parens++
		case c == ')':
			sp.parens = max(0, sp.parens-1)
		case c == ';' && sp.parens == 0:
			if st := strings.TrimSpace(sp.buf.String()); st != "" {
				out = append(out, st+";")
			}
			sp.buf.Reset()
			continue
		}
		sp.buf.WriteByte(c)
	}
	return out
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// dollarTag returns the opening tag of a dollar-quoted string at the start of s, "" if there is none.
func dollarTag(s string) string {
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '$':
			return s[:i+1]
		case !isWord(s[i]) || i == 1 && s[i] >= '0' && s[i] <= '9':
			return ""
		}
	}
	return ""
}
