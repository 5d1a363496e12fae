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
		if err == nil && !sh.tuplesOnly && tag.String() != "" && !strings.HasPrefix(tag.String(), "SELECT") {
			fmt.Fprintln(sh.out, tag)
		}
		return err
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
			row[i] = string(v)
		}
		rows = append(rows, row)
		if len(rows) > maxAlignedRows && sh.unaligned {
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
	case sh.expanded:
		printExpanded(sh.out, names, rows)
	case sh.unaligned:
		if !sh.tuplesOnly {
			fmt.Fprintln(sh.out, strings.Join(names, sh.fieldSep))
		}
		for _, row := range rows {
			fmt.Fprintln(sh.out, strings.Join(row, sh.fieldSep))
		}
	default:
		printAligned(sh.out, names, right, rows, sh.tuplesOnly)
	}
	if !sh.tuplesOnly && last {
		if len(rows) == 1 {
			fmt.Fprintln(sh.out, "(1 row)")
		} else {
			fmt.Fprintf(sh.out, "(%d rows)\n", len(rows))
		}
		if !sh.unaligned {
			fmt.Fprintln(sh.out)
		}
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
	wide := 0
	for _, n := range names {
		wide = max(wide, utf8.RuneCountInString(n))
	}
	for i, row := range rows {
		fmt.Fprintf(w, "-[ RECORD %d ]%s\n", i+1, strings.Repeat("-", max(0, wide)))
		for k, v := range row {
			fmt.Fprintf(w, "%s%s | %s\n", names[k], strings.Repeat(" ", wide-utf8.RuneCountInString(names[k])), v)
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
