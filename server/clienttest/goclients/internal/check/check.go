// Package check is what the programs of this module say they expect with. A program that is disappointed ends.
package check

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
)

// URL is where the server is, from the environment that libpq's programs use.
func URL() string {
	return fmt.Sprintf("postgres://%s@%s:%s/%s?sslmode=disable", os.Getenv("PGUSER"), os.Getenv("PGHOST"), os.Getenv("PGPORT"), os.Getenv("PGDATABASE"))
}

func fail(format string, args ...any) {
	_, file, line, _ := runtime.Caller(2)
	fmt.Printf("%s:%d: %s\n", file, line, fmt.Sprintf(format, args...))
	os.Exit(1)
}

// OK ends the program on an error.
func OK(err error) {
	if err != nil {
		fail("%v", err)
	}
}

// Must is OK for a call that returns a value too.
func Must[T any](v T, err error) T {
	if err != nil {
		fail("%v", err)
	}
	return v
}

// Equal ends the program unless got is want.
func Equal(got, want any) {
	if !reflect.DeepEqual(got, want) {
		fail("got %v, want %v", got, want)
	}
}

// State ends the program unless err carries the SQLSTATE.
func State(err error, code string) {
	var e interface{ SQLState() string }
	if !errors.As(err, &e) || e.SQLState() != code {
		fail("got %v, want SQLSTATE %s", err, code)
	}
}

// Done says that all went well.
func Done() { fmt.Println("ok") }
