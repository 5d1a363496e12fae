package parser

import "strings"

// EscapedStrings rewrites a text for a session that has turned standard_conforming_strings off: in 'plain' literals a backslash
// escapes there, as it does in E'these', which they become. nonstandard says what the first literal with a backslash has: "\\" before
// a backslash, "\'" before a quote, "escape" before anything else; "" if none has one. unicode is where a literal U&'like this' is, which
// such a session may not write; -1 if there is none.
func EscapedStrings(text string) (out, nonstandard string, unicode int) {
	unicode = -1
	var b strings.Builder
	from := 0
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case strings.HasPrefix(text[i:], "--"):
			if n := strings.IndexByte(text[i:], '\n'); n >= 0 {
				i += n
			} else {
				i = len(text)
			}
		case strings.HasPrefix(text[i:], "/*"):
			i = afterComment(text, i)
		case c == '"':
			i = afterQuoted(text, i, '"', false)
		case c == '$':
			i = afterDollar(text, i)
		case c == '\'':
			escapes := true
			if word := wordBefore(text, i); word != "" {
				switch strings.ToLower(word) {
				case "b", "x", "u&":
					escapes = false
				}
				if word[len(word)-1] == '&' && unicode < 0 {
					unicode = i - len(word)
				}
				if strings.EqualFold(word, "e") || !escapes {
					i = afterQuoted(text, i, '\'', strings.EqualFold(word, "e"))
					continue
				}
			}
			end := afterQuoted(text, i, '\'', true)
			if at := strings.IndexByte(text[i:end], '\\'); at >= 0 {
				if nonstandard == "" {
					switch {
					case strings.HasPrefix(text[i+at:], `\\`):
						nonstandard = `\\`
					case strings.HasPrefix(text[i+at:], `\'`):
						nonstandard = `\'`
					default:
						nonstandard = "escape"
					}
				}
				b.WriteString(text[from:i])
				if i > 0 && inWord(text[i-1]) {
					b.WriteByte(' ') // name'literal'
				}
				b.WriteByte('E')
				from = i
			}
			i = end
		default:
			i++
		}
	}
	return b.String() + text[from:], nonstandard, unicode
}

// wordBefore is what a quote at i belongs to: the letter, or the U&, right before it that no longer word ends in.
func wordBefore(text string, i int) string {
	from := i
	if from > 0 && text[from-1] == '&' {
		from--
	}
	if from == 0 || !isLetter(text[from-1]) {
		return ""
	}
	from--
	if from > 0 && inWord(text[from-1]) {
		return ""
	}
	return text[from:i]
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80 }

// inWord says whether a name may have c after its first letter.
func inWord(c byte) bool { return isLetter(c) || c >= '0' && c <= '9' || c == '_' || c == '$' }

// afterQuoted is the place after a literal or name that starts at i.
func afterQuoted(text string, i int, quote byte, escapes bool) int {
	for i++; i < len(text); i++ {
		switch {
		case escapes && text[i] == '\\':
			i++
		case text[i] == quote:
			if i+1 < len(text) && text[i+1] == quote {
				i++
				continue
			}
			return i + 1
		}
	}
	return len(text)
}

func afterComment(text string, i int) int {
	depth := 0
	for i < len(text) {
		switch {
		case strings.HasPrefix(text[i:], "/*"):
			depth, i = depth+1, i+2
		case strings.HasPrefix(text[i:], "*/"):
			depth, i = depth-1, i+2
			if depth == 0 {
				return i
			}
		default:
			i++
		}
	}
	return i
}

// afterDollar is the place after a dollar-quoted literal at i, or after the dollar if none starts there.
func afterDollar(text string, i int) int {
	if i > 0 && inWord(text[i-1]) {
		return i + 1
	}
	end := i + 1
	for end < len(text) && (isLetter(text[end]) || text[end] == '_' || end > i+1 && text[end] >= '0' && text[end] <= '9') {
		end++
	}
	if end >= len(text) || text[end] != '$' {
		return i + 1
	}
	tag := text[i : end+1]
	if n := strings.Index(text[end+1:], tag); n >= 0 {
		return end + 1 + n + len(tag)
	}
	return len(text)
}
