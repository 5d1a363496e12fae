package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/server"
)

// usageError is a mistake on the command line.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

// errHelp ends a command that has printed its help.
var errHelp = errors.New("help")

// flags is a flag.FlagSet whose every flag can also come from the environment: --sql-addr from MERIDIAN_SQL_ADDR.
// The command line wins. Single letters have no variable.
type flags struct {
	*flag.FlagSet
	e        env
	synopsis string
}

func newFlags(name, synopsis string, e env) *flags {
	f := &flags{flag.NewFlagSet(name, flag.ContinueOnError), e, synopsis}
	f.SetOutput(io.Discard)
	f.Usage = func() {} // Help goes to stdout, and only when asked for.
	return f
}

// variable returns the environment variable of a flag, "" for a single letter.
func variable(name string) string {
	if len(name) == 1 {
		return ""
	}
	return "MERIDIAN_" + server.EnvName(name)
}

// dashed is a flag as it is given.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// isBool reports whether a flag takes no value.
func isBool(fl *flag.Flag) bool {
	b, ok := fl.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// help prints the manual page of the command; or hands the flags to who collects them for completion.
func (f *flags) help() {
	if f.e.flagsOf != nil {
		f.e.flagsOf(f)
		return
	}
	page := pages[f.Name()]
	out := f.e.stdout
	fmt.Fprintf(out, "Usage: meridian %s %s\n", f.Name(), f.synopsis)
	if page.about != "" {
		fmt.Fprintf(out, "\n%s\n", page.about)
	}
	fmt.Fprintf(out, "\nFlags:\n")
	f.VisitAll(func(fl *flag.Flag) {
		kind, usage := flag.UnquoteUsage(fl)
		if kind != "" {
			kind = " " + strings.ToUpper(kind)
		}
		def := "default " + fl.DefValue
		switch {
		case isBool(fl) && fl.DefValue == "false":
			def = "default off"
		case isBool(fl):
			def = "default on"
		case fl.DefValue == "" || strings.Contains(usage, "default"):
			def = ""
		}
		notes := []string{def, variable(fl.Name)}
		notes = slices.DeleteFunc(notes, func(s string) bool { return s == "" })
		fmt.Fprintf(out, "  %s%s\n      %s", dashed(fl.Name), kind, usage)
		if len(notes) > 0 {
			fmt.Fprintf(out, " [%s]", strings.Join(notes, "; "))
		}
		fmt.Fprintln(out)
	})
	if len(page.examples) > 0 {
		fmt.Fprintf(out, "\nExamples:\n")
		for _, x := range page.examples {
			fmt.Fprintf(out, "  %s\n", x)
		}
	}
	fmt.Fprintf(out, "\nMERIDIAN_... are environment variables that stand for flags; the command line wins.\n")
}

// parse parses args and fills in the environment. It returns errHelp after --help.
func (f *flags) parse(args []string) error {
	err := f.FlagSet.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return errHelp
	case err != nil:
		return &usageError{fmt.Sprintf("%s: %v; `meridian %s --help` lists the flags", f.Name(), err, f.Name())}
	case f.NArg() > 0:
		return &usageError{fmt.Sprintf("%s: unexpected argument %q; flags start with --", f.Name(), f.Arg(0))}
	}
	given := map[string]bool{}
	f.Visit(func(fl *flag.Flag) { given[fl.Name] = true })
	f.VisitAll(func(fl *flag.Flag) {
		name := variable(fl.Name)
		if name == "" {
			return
		}
		v, ok := f.e.lookup(name)
		if !ok || v == "" || given[fl.Name] || err != nil {
			return
		}
		if serr := fl.Value.Set(v); serr != nil {
			err = &usageError{fmt.Sprintf("%s=%q (--%s): %v", name, v, fl.Name, serr)}
		}
	})
	return err
}

// list is a flag that can be repeated, or given once with commas.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(s string) error {
	for _, v := range strings.Split(s, ",") {
		if v = strings.TrimSpace(v); v != "" {
			*l = append(*l, v)
		}
	}
	return nil
}

// logger makes the process's log, on stderr.
func logger(e env, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, &server.FlagError{Flag: "log-level", Problem: fmt.Sprintf("%q is no level", level), Fix: "give debug, info, warn or error"}
	}
	return slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: l, ReplaceAttr: plainErrors})), nil
}

// plainErrors logs an error's message: by itself slog would print some libraries' errors with their stacks.
func plainErrors(_ []string, a slog.Attr) slog.Attr {
	if err, ok := a.Value.Any().(error); ok && a.Value.Kind() == slog.KindAny {
		a.Value = slog.StringValue(err.Error())
	}
	return a
}
