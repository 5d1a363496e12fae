package sql

import (
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// copyFormat is the layout of COPY data.
type copyFormat uint8

const (
	copyText copyFormat = iota
	copyCSV
	copyBinary
)

// copyOptions are COPY's options, checked and completed.
type copyOptions struct {
	format       copyFormat
	delim        byte
	null         string
	header       bool
	headerMatch  bool
	quote        byte
	escape       byte
	forceQuote   []string
	quoteAll     bool
	forceNotNull []string
	forceNull    []string
	freeze       bool
}

// wire is the format code of the copy response messages.
func (o *copyOptions) wire() int16 {
	if o.format == copyBinary {
		return FormatBinary
	}
	return FormatText
}

// parseCopyOptions reads the options of a COPY statement.
func parseCopyOptions(n *ast.CopyStmt) (*copyOptions, error) {
	o := &copyOptions{}
	seen := map[string]bool{}
	var nullSet, delimSet, quoteSet, escapeSet bool
	for _, d := range n.Options {
		if seen[d.Name] {
			return nil, pgerr.New(pgerr.SyntaxError, "conflicting or redundant options").WithPosition(int(ast.PgPos(d.Off)))
		}
		seen[d.Name] = true
		switch d.Name {
		case "format":
			switch v := argText(d); v {
			case "text":
			case "csv":
				o.format = copyCSV
			case "binary":
				o.format = copyBinary
			default:
				return nil, pgerr.New(pgerr.InvalidParameterValue, "COPY format \"%s\" not recognized", v).WithPosition(int(ast.PgPos(d.Off)))
			}
		case "delimiter":
			v := argText(d)
			if len(v) != 1 {
				return nil, pgerr.New(pgerr.FeatureNotSupported, "COPY delimiter must be a single one-byte character")
			}
			o.delim, delimSet = v[0], true
		case "null":
			o.null, nullSet = argText(d), true
		case "header":
			if v := argText(d); strings.EqualFold(v, "match") {
				o.header, o.headerMatch = true, true
			} else {
				b, err := argBool(d)
				if err != nil {
					return nil, pgerr.New(pgerr.SyntaxError, "header requires a Boolean value or \"match\"")
				}
				o.header = b
			}
		case "quote":
			v := argText(d)
			if len(v) != 1 {
				return nil, pgerr.New(pgerr.FeatureNotSupported, "COPY quote must be a single one-byte character")
			}
			o.quote, quoteSet = v[0], true
		case "escape":
			v := argText(d)
			if len(v) != 1 {
				return nil, pgerr.New(pgerr.FeatureNotSupported, "COPY escape must be a single one-byte character")
			}
			o.escape, escapeSet = v[0], true
		case "force_quote":
			if d.Arg != nil && d.Arg.Kind == ast.DefStar {
				o.quoteAll = true
			} else {
				o.forceQuote = argList(d)
			}
		case "force_not_null":
			o.forceNotNull = argList(d)
		case "force_null":
			o.forceNull = argList(d)
		case "encoding":
			if _, err := checkEncoding(nil, argText(d)); err != nil {
				return nil, pgerr.New(pgerr.InvalidParameterValue, "argument to option \"%s\" must be a valid encoding name", "encoding")
			}
		case "freeze":
			b, err := argBool(d)
			if err != nil {
				return nil, err
			}
			o.freeze = b
		default:
			return nil, pgerr.New(pgerr.SyntaxError, "option \"%s\" not recognized", d.Name).WithPosition(int(ast.PgPos(d.Off)))
		}
	}
	if o.format == copyBinary {
		switch {
		case delimSet:
			return nil, pgerr.New(pgerr.SyntaxError, "cannot specify DELIMITER in BINARY mode")
		case nullSet:
			return nil, pgerr.New(pgerr.SyntaxError, "cannot specify NULL in BINARY mode")
		case o.header:
			return nil, pgerr.New(pgerr.FeatureNotSupported, "cannot specify HEADER in BINARY mode")
		}
	}
	if !delimSet {
		o.delim = '\t'
		if o.format == copyCSV {
			o.delim = ','
		}
	}
	if !nullSet && o.format == copyText {
		o.null = `\N`
	}
	if !quoteSet {
		o.quote = '"'
	}
	if !escapeSet {
		o.escape = o.quote
	}
	return o, o.check(n, quoteSet, escapeSet)
}

// check refuses combinations that would make the data ambiguous.
func (o *copyOptions) check(n *ast.CopyStmt, quoteSet, escapeSet bool) error {
	csv := o.format == copyCSV
	switch {
	case o.delim == '\n' || o.delim == '\r':
		return pgerr.New(pgerr.InvalidParameterValue, "COPY delimiter cannot be newline or carriage return")
	case strings.ContainsAny(o.null, "\r\n"):
		return pgerr.New(pgerr.InvalidParameterValue, "COPY null representation cannot use newline or carriage return")
	case !csv && strings.IndexByte("\\.abcdefghijklmnopqrstuvwxyz0123456789", o.delim) >= 0:
		return pgerr.New(pgerr.InvalidParameterValue, "COPY delimiter cannot be \"%c\"", o.delim)
	case !csv && quoteSet:
		return pgerr.New(pgerr.FeatureNotSupported, "COPY quote available only in CSV mode")
	case !csv && escapeSet:
		return pgerr.New(pgerr.FeatureNotSupported, "COPY escape available only in CSV mode")
	case csv && o.delim == o.quote:
		return pgerr.New(pgerr.InvalidParameterValue, "COPY delimiter and quote must be different")
	case !csv && (o.quoteAll || o.forceQuote != nil):
		return pgerr.New(pgerr.FeatureNotSupported, "COPY force quote available only in CSV mode")
	case n.From && (o.quoteAll || o.forceQuote != nil):
		return pgerr.New(pgerr.FeatureNotSupported, "COPY force quote only available using COPY TO")
	case !csv && o.forceNotNull != nil:
		return pgerr.New(pgerr.FeatureNotSupported, "COPY force not null available only in CSV mode")
	case !n.From && o.forceNotNull != nil:
		return pgerr.New(pgerr.FeatureNotSupported, "COPY force not null only available using COPY FROM")
	case !csv && o.forceNull != nil:
		return pgerr.New(pgerr.FeatureNotSupported, "COPY force null available only in CSV mode")
	case !n.From && o.forceNull != nil:
		return pgerr.New(pgerr.FeatureNotSupported, "COPY force null only available using COPY FROM")
	case strings.IndexByte(o.null, o.delim) >= 0:
		return pgerr.New(pgerr.FeatureNotSupported, "COPY delimiter must not appear in the NULL specification")
	case csv && strings.IndexByte(o.null, o.quote) >= 0:
		return pgerr.New(pgerr.FeatureNotSupported, "CSV quote character must not appear in the NULL specification")
	case o.headerMatch && !n.From:
		return pgerr.New(pgerr.FeatureNotSupported, "cannot use \"match\" with HEADER in COPY TO")
	}
	return nil
}

// argText is the text of an option's argument, empty for none.
func argText(d *ast.DefElem) string {
	if d.Arg == nil {
		return ""
	}
	switch d.Arg.Kind {
	case ast.DefString, ast.DefFloat:
		return d.Arg.Str
	case ast.DefInteger:
		return itoa(int(d.Arg.Int))
	case ast.DefBool:
		return onOff(d.Arg.Bool)
	case ast.DefType:
		return d.Arg.Type.Name()
	case ast.DefNames:
		return strings.Join(d.Arg.Names, ".")
	}
	return ""
}

// argBool is an option's argument as a Boolean; an option that stands alone is on.
func argBool(d *ast.DefElem) (bool, error) {
	if d.Arg == nil {
		return true, nil
	}
	b, ok := parseBoolSetting(argText(d))
	if !ok {
		return false, pgerr.New(pgerr.SyntaxError, "%s requires a Boolean value", d.Name).WithPosition(int(ast.PgPos(d.Off)))
	}
	return b, nil
}

func argList(d *ast.DefElem) []string {
	list := []string{}
	if d.Arg == nil {
		return list
	}
	if d.Arg.Kind == ast.DefNames {
		return d.Arg.Names
	}
	for _, a := range d.Arg.List {
		list = append(list, a.Str)
	}
	return list
}
