package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
)

// maxAlignedRows is the number of rows kept to find the widths of columns; a longer result is printed in
// several tables' worth of rows under the first one's widths.
const maxAlignedRows = 10000

// printResult prints one statement's rows and tag.
func (sh *shell) printResult(r *pgconn.ResultReader) error {
	fields := r.FieldDescriptions()
	if len(fields) == 0 {
		tag, err := r.Close()
		if err == nil && !sh.tuplesOnly && tag.String() != "" && !strings.HasPrefix(tag.String(), "SELECT") && !sh.format.streams() {
			sh.printf("%s\n", tag)
		}
		return err
	}
	if sh.format.streams() {
		return sh.printStream(r)
	}
	names := make([]string, len(fields))
	right := make([]bool, len(fields))
	for i, f := range fields {
		names[i] = f.Name
		switch f.DataTypeOID {
		case 20, 21, 23, 26, 700, 701, 790, 1700:
			right[i] = true
		}
	}
	var rows [][]string
	for r.NextRow() {
		row := make([]string, len(fields))
		for i, v := range r.Values() {
			if row[i] = string(v); v == nil {
				row[i] = sh.null
			}
		}
		rows = append(rows, row)
		if len(rows) > maxAlignedRows && sh.format == unaligned {
			sh.printRows(names, right, rows, false)
			rows = rows[:0]
		}
	}
	if _, err := r.Close(); err != nil {
		return err
	}
	sh.printRows(names, right, rows, true)
	return nil
}

func (sh *shell) printRows(names []string, right []bool, rows [][]string, last bool) {
	switch {
	case sh.expanded && sh.title == "":
		printExpanded(sh.out, names, rows)
	case sh.format == unaligned:
		if !sh.tuplesOnly {
			fmt.Fprintln(sh.out, strings.Join(names, sh.fieldSep))
		}
		for _, row := range rows {
			fmt.Fprintln(sh.out, strings.Join(row, sh.fieldSep))
		}
	default:
		if sh.title != "" && !sh.tuplesOnly {
			width := 0
			for i, n := range names {
				w := utf8.RuneCountInString(n)
				for _, row := range rows {
					w = max(w, utf8.RuneCountInString(row[i]))
				}
				width += w + 3
			}
			fmt.Fprintf(sh.out, "%s%s\n", strings.Repeat(" ", max(0, (width-1-utf8.RuneCountInString(sh.title))/2)), sh.title)
		}
		printAligned(sh.out, names, right, rows, sh.tuplesOnly)
	}
	for _, line := range sh.foot {
		fmt.Fprintln(sh.out, line)
	}
	if !sh.tuplesOnly && last && (sh.title == "" || strings.HasPrefix(sh.title, "List of")) && !sh.expanded {
		if len(rows) == 1 {
			fmt.Fprintln(sh.out, "(1 row)")
		} else {
			fmt.Fprintf(sh.out, "(%d rows)\n", len(rows))
		}
	}
	if !sh.tuplesOnly && last && sh.format != unaligned {
		fmt.Fprintln(sh.out)
	}
}

// printAligned prints a table as psql does.
func printAligned(w io.Writer, names []string, right []bool, rows [][]string, tuplesOnly bool) {
	width := make([]int, len(names))
	for i, n := range names {
		width[i] = utf8.RuneCountInString(n)
	}
	for _, row := range rows {
		for i, v := range row {
			for line := range strings.SplitSeq(v, "\n") {
				width[i] = max(width[i], utf8.RuneCountInString(line))
			}
		}
	}
	var b strings.Builder
	if !tuplesOnly {
		for i, n := range names {
			if i > 0 {
				b.WriteByte('|')
			}
			gap := width[i] - utf8.RuneCountInString(n)
			b.WriteString(strings.Repeat(" ", gap/2+1) + n + strings.Repeat(" ", gap-gap/2+1))
		}
		b.WriteByte('\n')
		for i := range names {
			if i > 0 {
				b.WriteByte('+')
			}
			b.WriteString(strings.Repeat("-", width[i]+2))
		}
		b.WriteByte('\n')
	}
	for _, row := range rows {
		cells := make([][]string, len(row))
		height := 1
		for i, v := range row {
			cells[i] = strings.Split(v, "\n")
			height = max(height, len(cells[i]))
		}
		for k := range height {
			for i := range row {
				if i > 0 {
					b.WriteByte('|')
				}
				text := ""
				if k < len(cells[i]) {
					text = cells[i][k]
				}
				pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(text))
				more := " "
				if k < len(cells[i])-1 {
					more = "+"
				}
				switch {
				case right[i]:
					b.WriteString(" " + pad + text)
				case i < len(row)-1 || more == "+":
					b.WriteString(" " + text + pad)
				default:
					b.WriteString(" " + text)
				}
				if i < len(row)-1 || more == "+" {
					b.WriteString(more)
				}
			}
			b.WriteByte('\n')
		}
	}
	io.WriteString(w, b.String())
}

// printExpanded prints one column a line.
func printExpanded(w io.Writer, names []string, rows [][]string) {
	wide, wideValue := 0, 0
	for _, n := range names {
		wide = max(wide, utf8.RuneCountInString(n))
	}
	for _, row := range rows {
		for _, v := range row {
			for line := range strings.SplitSeq(v, "\n") {
				wideValue = max(wideValue, utf8.RuneCountInString(line))
			}
		}
	}
	for i, row := range rows {
		rule := fmt.Sprintf("-[ RECORD %d ]", i+1)
		// The rule has a cross where the lines below have the bar, unless its text covers that.
		line := []rune(strings.Repeat("-", wide+1) + "+" + strings.Repeat("-", wideValue+1))
		if copy(line, []rune(rule)) < len(rule) {
			line = []rune(rule)
		}
		fmt.Fprintln(w, string(line))
		for k, v := range row {
			lines := strings.Split(v, "\n")
			for n, text := range lines {
				name, more := "", ""
				if n == 0 {
					name = names[k]
				}
				if n < len(lines)-1 {
					more = strings.Repeat(" ", wideValue-utf8.RuneCountInString(text)) + "+"
				}
				fmt.Fprintf(w, "%s%s | %s%s\n", name, strings.Repeat(" ", wide-utf8.RuneCountInString(name)), text, more)
			}
		}
	}
}

// printMessage prints an error or notice with its place in the statement.
func (sh *shell) printMessage(e *pgconn.PgError, text string) {
	fmt.Fprintf(sh.errOut, "%s:  %s\n", e.Severity, e.Message)
	if e.Position > 0 && text != "" {
		runes := []rune(text)
		at := min(int(e.Position)-1, len(runes))
		start := at
		for start > 0 && runes[start-1] != '\n' {
			start--
		}
		end := at
		for end < len(runes) && runes[end] != '\n' {
			end++
		}
		line := 1 + strings.Count(string(runes[:start]), "\n")
		prefix := fmt.Sprintf("LINE %d: ", line)
		fmt.Fprintf(sh.errOut, "%s%s\n%s^\n", prefix, string(runes[start:end]), strings.Repeat(" ", len(prefix)+at-start))
	}
	if e.Detail != "" {
		fmt.Fprintf(sh.errOut, "DETAIL:  %s\n", e.Detail)
	}
	if e.Hint != "" {
		fmt.Fprintf(sh.errOut, "HINT:  %s\n", e.Hint)
	}
	if e.Where != "" {
		fmt.Fprintf(sh.errOut, "CONTEXT:  %s\n", e.Where)
	}
}
