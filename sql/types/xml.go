package types

import "regexp"

var xmlDeclaration = regexp.MustCompile(`^<\?xml\s+version\s*=\s*(?:"1\.0"|'1\.0')(?:\s+encoding\s*=\s*(?:"[^"]*"|'[^']*'))?\s*\?>\n?`)

// withoutPlainDeclaration is how a document is sent: without its XML declaration when that says what holds anyway. The
// encoding that it was written in no longer does.
func withoutPlainDeclaration(s string) string {
	return s[len(xmlDeclaration.FindString(s)):]
}
