package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"io"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// format is how rows are printed.
type format string

const (
	aligned   format = "aligned"
	unaligned format = "unaligned"
	csvFormat format = "csv"
	jsonRows  format = "json" // an array of objects for each result
)

// streams reports whether rows are printed as they come, whatever their number.
func (f format) streams() bool { return f == csvFormat || f == jsonRows }

// printStream prints a result as CSV or JSON.
func (sh *shell) printStream(r *pgconn.ResultReader) error {
	w := bufio.NewWriter(sh.out)
	var err error
	if sh.format == csvFormat {
		err = printCSV(w, r, !sh.tuplesOnly, sh.null)
	} else {
		err = printJSON(w, r)
	}
	if ferr := w.Flush(); err == nil {
		err = ferr
	}
	return err
}

// printCSV prints what COPY TO ... CSV would. With the default, NULL is nothing between two commas.
func printCSV(w io.Writer, r *pgconn.ResultReader, header bool, null string) error {
	c := csv.NewWriter(w)
	fields := r.FieldDescriptions()
	row := make([]string, len(fields))
	if header {
		for i, f := range fields {
			row[i] = f.Name
		}
		c.Write(row) // its error is Flush's
	}
	for r.NextRow() {
		for i, v := range r.Values() {
			if row[i] = string(v); v == nil {
				row[i] = null
			}
		}
		c.Write(row)
	}
	if _, err := r.Close(); err != nil {
		return err
	}
	c.Flush()
	return c.Error()
}

// printJSON prints an object a line within one array: numbers, booleans and JSON as they are, all else as strings.
func printJSON(w io.Writer, r *pgconn.ResultReader) error {
	fields := r.FieldDescriptions()
	names := make([]string, len(fields))
	for i, f := range fields {
		b, err := json.Marshal(f.Name)
		if err != nil {
			return err
		}
		names[i] = string(b)
	}
	sep := "["
	for r.NextRow() {
		var b strings.Builder
		b.WriteString(sep + "{")
		for i, v := range r.Values() {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(names[i] + ": " + jsonValue(fields[i].DataTypeOID, v))
		}
		b.WriteString("}")
		if _, err := io.WriteString(w, b.String()); err != nil {
			return err
		}
		sep = ",\n "
	}
	if _, err := r.Close(); err != nil {
		return err
	}
	if sep == "[" {
		_, err := io.WriteString(w, "[]\n")
		return err
	}
	_, err := io.WriteString(w, "]\n")
	return err
}

// jsonValue is a value in the text format of its type as JSON.
func jsonValue(oid uint32, v []byte) string {
	if v == nil {
		return "null"
	}
	s := string(v)
	switch oid {
	case 16: // bool
		return strconv.FormatBool(s == "t")
	case 20, 21, 23, 26, 700, 701, 1700: // numbers; NaN and Infinity are none in JSON
		if json.Valid(v) {
			return s
		}
	case 114, 3802: // json, jsonb
		if json.Valid(v) {
			return s
		}
	}
	b, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(b)
}
