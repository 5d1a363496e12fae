package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/meridian-db/meridian/server"
)

// usageError is a mistake on the command line.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

// errHelp ends a command that has printed its help.
var errHelp = errors.New("help")

// flags is a flag.FlagSet whose every flag can also come from the environment: --sql-addr from MERIDIAN_SQL_ADDR.
// The command line wins.
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

func (f *flags) help() {
	fmt.Fprintf(f.e.stdout, "Usage: meridian %s %s\n\nEach flag can also be given as an environment variable: --some-flag as MERIDIAN_SOME_FLAG.\n\n", f.Name(), f.synopsis)
	f.VisitAll(func(fl *flag.Flag) {
		def := ""
		if fl.DefValue != "" && fl.DefValue != "false" && fl.DefValue != "0" && fl.DefValue != "0s" {
			def = " (default " + fl.DefValue + ")"
		}
		fmt.Fprintf(f.e.stdout, "  --%-28s%s%s\n", fl.Name, fl.Usage, def)
	})
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
		name := "MERIDIAN_" + server.EnvName(fl.Name)
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
