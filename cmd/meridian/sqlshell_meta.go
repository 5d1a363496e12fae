package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"time"
)

const shellHelp = `  \q                   quit
  \? \h                this help
  \conninfo            the connection
  \c [DATABASE]        connect to another database
  \d [PATTERN]         list relations, or describe those that match; \d+ tells more
  \dt \di \dv \dm \ds  list tables, indexes, views, materialized views, sequences
  \dn \du \l           list schemas, roles, databases
  \df \dT \dp          list functions, types, privileges
  \db \dx \drds        list tablespaces, extensions, settings of roles and databases
  \nodes \ranges       the nodes and ranges of the cluster
  \jobs \clock         its jobs, this node's time sources
  \x \t \a             expanded output, rows only, unaligned output: on or off
  \pset format NAME    aligned, unaligned, csv or json
  \pset null TEXT      what stands for NULL
  \timing              timing of statements on or off
  \g \gx               run what has been entered; \gx expanded
  \p \r                print, or forget, what has been entered
  \watch [SECONDS]     run it, or what ran last, again and again (2) until ctrl-C
  \copy TABLE FROM|TO FILE [WITH (...)]   COPY with a file of this machine
  \o [FILE]            output into a file
  \i FILE              run the commands in a file
  \echo TEXT           print text
  \! COMMAND           run a command of the system
`

// meta runs a backslash command. entered is the statement begun before it, which \g and its kin run.
func (sh *shell) meta(line, entered string) error {
	name, rest, _ := strings.Cut(strings.TrimSuffix(line, ";"), " ")
	rest = strings.TrimSpace(rest)
	more := strings.HasSuffix(name, "+")
	name = strings.TrimSuffix(name, "+")
	sh.failed = false
	switch name {
	case `\q`, `\quit`:
		sh.quit = true
	case `\?`, `\h`, `\help`:
		sh.printf("%s", shellHelp)
	case `\timing`:
		sh.toggle("Timing", &sh.timing, rest)
	case `\x`:
		sh.toggle("Expanded display", &sh.expanded, rest)
	case `\t`:
		sh.toggle("Tuples only", &sh.tuplesOnly, rest)
	case `\a`:
		sh.setFormat(map[bool]format{true: aligned, false: unaligned}[sh.format == unaligned])
	case `\pset`:
		sh.pset(rest)
	case `\echo`:
		sh.printf("%s\n", rest)
	case `\conninfo`:
		sh.printf("Connected to database \"%s\" as user \"%s\" on %s:%d (server %s, process %d).\n", sh.cfg.Database, sh.cfg.User, sh.cfg.Host, sh.cfg.Port,
			sh.conn.ParameterStatus("server_version"), sh.conn.PID())
	case `\c`, `\connect`:
		return sh.reconnect(rest)
	case `\i`:
		err := sh.runFile(rest)
		var ended *shellError
		if errors.As(err, &ended) && ended.code == shellExitError {
			return sh.complain(ended.err, "")
		}
		return err
	case `\o`:
		return sh.output(rest)
	case `\g`, `\gx`:
		if entered == "" {
			entered = sh.last
		}
		if entered == "" {
			return nil
		}
		defer func(was bool) { sh.expanded = was }(sh.expanded)
		sh.expanded = sh.expanded || name == `\gx`
		return sh.runStatement(entered)
	case `\p`:
		sh.printf("%s\n", cmp.Or(entered, sh.last, "Query buffer is empty."))
	case `\r`:
		sh.printf("Query buffer reset (cleared).\n")
	case `\watch`:
		return sh.again(cmp.Or(entered, sh.last), rest)
	case `\copy`:
		return sh.copyFile(rest)
	case `\!`:
		cmd := exec.CommandContext(sh.ctx, "sh", "-c", rest)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, sh.out, sh.errOut
		if err := cmd.Run(); err != nil {
			return sh.complain(err, "")
		}
	default:
		if name == `\d` && rest != "" {
			return sh.describe(rest, more)
		}
		l, ok := listings[name]
		if !ok {
			sh.failed = true
			fmt.Fprintf(sh.errOut, "invalid command %s\nTry \\? for help.\n", name)
			return nil
		}
		return sh.titled(l.title, l.query(rest, more), nil)
	}
	return nil
}

// titled prints a query's rows below a title, and lines after them.
func (sh *shell) titled(title, query string, foot []string) error {
	timing := sh.timing
	sh.timing, sh.title, sh.foot = false, title, foot
	defer func() { sh.timing, sh.title, sh.foot = timing, "", nil }()
	return sh.run(query)
}

// query returns the rows of one of the shell's own queries; NULL is "".
func (sh *shell) query(text string) ([][]string, error) {
	res, err := sh.conn.Exec(sh.ctx, text).ReadAll()
	if err != nil || len(res) == 0 {
		return nil, err
	}
	var out [][]string
	for _, row := range res[0].Rows {
		var r []string
		for _, v := range row {
			r = append(r, string(v))
		}
		out = append(out, r)
	}
	return out, nil
}

// setFormat changes how rows are printed.
func (sh *shell) setFormat(f format) {
	sh.format = f
	sh.printf("Output format is %s.\n", f)
}

// pset is \pset.
func (sh *shell) pset(rest string) {
	name, value, _ := strings.Cut(rest, " ")
	value = strings.Trim(strings.TrimSpace(value), "'")
	switch name {
	case "format":
		switch f := format(value); f {
		case aligned, unaligned, csvFormat, jsonRows:
			sh.setFormat(f)
			return
		}
		fmt.Fprintln(sh.errOut, `\pset: allowed formats are aligned, csv, json, unaligned`)
	case "null":
		sh.null = value
		sh.printf("Null display is \"%s\".\n", value)
		return
	case "expanded", "x":
		sh.toggle("Expanded display", &sh.expanded, value)
		return
	case "tuples_only", "t":
		sh.toggle("Tuples only", &sh.tuplesOnly, value)
		return
	case "fieldsep":
		sh.fieldSep = value
		return
	default:
		fmt.Fprintln(sh.errOut, `\pset: unknown option: give format, null, expanded, tuples_only or fieldsep`)
	}
	sh.failed = true
}

// output is \o: into a file, or without one back to where it went.
func (sh *shell) output(name string) error {
	if sh.file != nil {
		sh.file.Close()
		sh.out, sh.file = sh.screen, nil
	}
	if name == "" {
		return nil
	}
	f, err := os.Create(name)
	if err != nil {
		return sh.complain(err, "")
	}
	sh.out, sh.file = f, f
	return nil
}

// again is \watch.
func (sh *shell) again(text, seconds string) error {
	pause := 2.0
	if seconds != "" {
		var err error
		if pause, err = strconv.ParseFloat(strings.TrimPrefix(seconds, "interval="), 64); err != nil || pause <= 0 {
			return sh.complain(fmt.Errorf(`\watch: incorrect interval value "%s"`, seconds), "")
		}
	}
	if text == "" {
		return sh.complain(errors.New(`\watch cannot be used with an empty query`), "")
	}
	ctx, stop := signal.NotifyContext(sh.ctx, os.Interrupt)
	defer stop()
	for {
		sh.printf("%s (every %gs)\n\n", time.Now().Format(time.UnixDate), pause)
		if err := sh.run(text); err != nil || sh.failed {
			return err
		}
		select {
		case <-time.After(time.Duration(pause * float64(time.Second))):
		case <-ctx.Done():
			return nil
		}
	}
}

func (sh *shell) toggle(what string, v *bool, arg string) {
	switch arg {
	case "on":
		*v = true
	case "off":
		*v = false
	default:
		*v = !*v
	}
	state := "off"
	if *v {
		state = "on"
	}
	sh.printf("%s is %s.\n", what, state)
}

// reconnect is \c.
func (sh *shell) reconnect(database string) error {
	target := sh.url
	if database != "" {
		u, err := url.Parse(sh.url)
		if err != nil || u.Scheme == "" {
			target = sh.url + " dbname=" + database
		} else {
			u.Path = "/" + database
			target = u.String()
		}
	}
	if err := sh.connect(nil, target); err != nil {
		sh.failed = true
		fmt.Fprintf(sh.errOut, "%v\nPrevious connection kept\n", err)
		return nil
	}
	sh.url = target
	sh.printf("You are now connected to database \"%s\" as user \"%s\".\n", sh.cfg.Database, sh.cfg.User)
	return nil
}

func quoteLiteral(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
