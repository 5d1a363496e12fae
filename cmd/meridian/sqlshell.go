package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/term"
)

const defaultSQLURL = "postgres://postgres@127.0.0.1:5433/postgres"

// Exit codes of meridian sql, psql's own.
const (
	shellExitError      = 1 // a command given by -c failed, or a usage error
	shellExitConnection = 2 // the server could not be reached, or the connection was lost
	shellExitScript     = 3 // a script failed and --on-error-stop was set
)

// shellError ends the shell with an exit code. Its text has been printed already when silent is set.
type shellError struct {
	code   int
	err    error
	silent bool
}

func (e *shellError) Error() string {
	if e.silent {
		return ""
	}
	return e.err.Error()
}
func (e *shellError) Unwrap() error { return e.err }
func (e *shellError) ExitCode() int { return e.code }

// commands collects repeated -c flags.
type commands []string

func (c *commands) String() string     { return strings.Join(*c, "; ") }
func (c *commands) Set(s string) error { *c = append(*c, s); return nil }

// shell is one run of meridian sql.
type shell struct {
	ctx         context.Context
	conn        *pgconn.PgConn
	url         string
	in          *bufio.Reader // of a script; nil when interactive
	out         io.Writer
	errOut      io.Writer
	interactive bool
	stopOnError bool
	timing      bool
	expanded    bool
	tuplesOnly  bool
	unaligned   bool
	fieldSep    string
	quit        bool
	failed      bool
}

// runSQLShell is meridian sql [flags] [URL].
func runSQLShell(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("meridian sql", flag.ContinueOnError)
	fs.SetOutput(stderr)
	var cmds commands
	fs.Var(&cmds, "c", "run `command` and exit (repeatable)")
	file := fs.String("f", "", "run the commands in `file` and exit")
	tuples := fs.Bool("t", false, "print rows only")
	unaligned := fs.Bool("A", false, "unaligned output")
	sep := fs.String("F", "|", "field `separator` of unaligned output")
	stop := fs.Bool("on-error-stop", false, "end a script at its first error, with exit code 3")
	fs.Usage = func() {
		fmt.Fprintf(stderr, "usage: meridian sql [flags] [URL]\n\nURL defaults to $MERIDIAN_SQL_URL, then %s\n\n", defaultSQLURL)
		fs.PrintDefaults()
	}
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return &shellError{code: shellExitError, err: err, silent: true}
	}
	if fs.NArg() > 1 {
		return &shellError{code: shellExitError, err: fmt.Errorf("unexpected argument %q: give one URL", fs.Arg(1))}
	}
	url := defaultSQLURL
	if v := os.Getenv("MERIDIAN_SQL_URL"); v != "" {
		url = v
	}
	if fs.NArg() == 1 {
		url = fs.Arg(0)
	}
	sh := &shell{ctx: ctx, url: url, out: stdout, errOut: stderr, stopOnError: *stop, tuplesOnly: *tuples, unaligned: *unaligned, fieldSep: *sep}
	if err := sh.connect(stdin, url); err != nil {
		return &shellError{code: shellExitConnection, err: err}
	}
	defer func() { sh.conn.Close(context.WithoutCancel(ctx)) }()

	switch {
	case len(cmds) > 0:
		for _, c := range cmds {
			if err := sh.runText(c); err != nil {
				return err
			}
			if sh.failed {
				return &shellError{code: shellExitError, err: errors.New("command failed"), silent: true}
			}
		}
		return nil
	case *file != "":
		return sh.runFile(*file)
	}
	if f, ok := stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		sh.interactive = true
		return sh.interact(f)
	}
	return sh.runScript(stdin)
}

// connect opens the connection, asking for a password on a terminal when the server wants one.
func (sh *shell) connect(stdin io.Reader, url string) error {
	cfg, err := pgconn.ParseConfig(url)
	if err != nil {
		return fmt.Errorf("bad connection URL: %w", err)
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "meridian sql"
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 10 * time.Second
	}
	cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { sh.printMessage((*pgconn.PgError)(n), "") }
	conn, err := pgconn.ConnectConfig(sh.ctx, cfg)
	var pgErr *pgconn.PgError
	if err != nil && cfg.Password == "" && errors.As(err, &pgErr) && pgErr.Code == "28P01" {
		if f, ok := stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			fmt.Fprintf(sh.errOut, "Password for user %s: ", cfg.User)
			secret, rerr := term.ReadPassword(int(f.Fd()))
			fmt.Fprintln(sh.errOut)
			if rerr != nil {
				return rerr
			}
			cfg.Password = string(secret)
			conn, err = pgconn.ConnectConfig(sh.ctx, cfg)
		}
	}
	if err != nil {
		return err
	}
	if sh.conn != nil {
		sh.conn.Close(sh.ctx)
	}
	sh.conn = conn
	return nil
}

func (sh *shell) runFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return &shellError{code: shellExitError, err: err}
	}
	defer f.Close()
	return sh.runScript(f)
}

// runScript runs everything that r holds.
func (sh *shell) runScript(r io.Reader) error {
	outer := sh.in
	sh.in = bufio.NewReader(r)
	defer func() { sh.in = outer }()
	var split splitter
	for !sh.quit {
		line, err := sh.in.ReadString('\n')
		if line != "" {
			if rerr := sh.feed(&split, strings.TrimSuffix(line, "\n")); rerr != nil {
				return rerr
			}
			if sh.failed && sh.stopOnError {
				return &shellError{code: shellExitScript, err: errors.New("script failed"), silent: true}
			}
		}
		if err != nil {
			break
		}
	}
	if rest := split.rest(); rest != "" && !sh.quit {
		if err := sh.runStatement(rest); err != nil {
			return err
		}
	}
	if sh.failed && sh.stopOnError {
		return &shellError{code: shellExitScript, err: errors.New("script failed"), silent: true}
	}
	return nil
}

// runText runs the text of a -c flag: one meta-command or SQL statements.
func (sh *shell) runText(text string) error {
	return sh.runScript(strings.NewReader(text))
}

// feed takes one line: a meta-command at the start of a statement, or a part of SQL.
func (sh *shell) feed(split *splitter, line string) error {
	if split.empty() && strings.HasPrefix(strings.TrimSpace(line), `\`) {
		return sh.meta(strings.TrimSpace(line))
	}
	for _, st := range split.feed(line + "\n") {
		if strings.HasPrefix(st, `\`) {
			if err := sh.meta(st); err != nil {
				return err
			}
			continue
		}
		if err := sh.runStatement(st); err != nil {
			return err
		}
	}
	return nil
}

// interact reads lines with editing and history.
func (sh *shell) interact(tty *os.File) error {
	fmt.Fprintf(sh.out, "meridian sql, server %s\nType \\? for help, \\q to quit.\n\n", sh.conn.ParameterStatus("server_version"))
	screen := struct {
		io.Reader
		io.Writer
	}{tty, sh.out}
	editor := term.NewTerminal(screen, "")
	var split splitter
	for !sh.quit {
		state, err := term.MakeRaw(int(tty.Fd()))
		if err != nil {
			return err
		}
		if w, h, err := term.GetSize(int(tty.Fd())); err == nil && w > 0 {
			editor.SetSize(w, h)
		}
		editor.SetPrompt(sh.prompt(&split))
		line, err := editor.ReadLine()
		term.Restore(int(tty.Fd()), state)
		if err != nil { // ctrl-C and ctrl-D alike
			if !split.empty() && !errors.Is(err, io.EOF) {
				split = splitter{}
				continue
			}
			fmt.Fprintln(sh.out, `\q`)
			return nil
		}
		if err := sh.feed(&split, line); err != nil {
			return err
		}
	}
	return nil
}

// prompt is psql's: database, transaction state, and whether a statement is open.
func (sh *shell) prompt(split *splitter) string {
	mark := map[byte]string{'T': "*", 'E': "!"}[sh.conn.TxStatus()]
	name := "meridian"
	if cfg, err := pgconn.ParseConfig(sh.url); err == nil && cfg.Database != "" {
		name = cfg.Database
	}
	if split.empty() {
		return name + "=" + mark + "> "
	}
	return name + "-" + mark + "> "
}

// runStatement sends one statement and prints its answers. It fails only when the connection is gone.
func (sh *shell) runStatement(text string) error {
	ctx, stop := sh.ctx, func() {}
	if sh.interactive {
		// ctrl-C cancels the statement, not the shell.
		ctx, stop = signal.NotifyContext(sh.ctx, os.Interrupt)
	}
	defer stop()
	start := time.Now()
	err := sh.send(ctx, text)
	if err != nil {
		sh.failed = true
		var pgErr *pgconn.PgError
		if errors.As(err, &pgErr) {
			sh.printMessage(pgErr, text)
		} else {
			fmt.Fprintf(sh.errOut, "%v\n", err)
		}
		if sh.conn.IsClosed() {
			if !sh.interactive {
				return &shellError{code: shellExitConnection, err: errors.New("connection to server was lost")}
			}
			fmt.Fprintln(sh.errOut, "The connection to the server was lost. Attempting reset.")
			if err := sh.connect(os.Stdin, sh.url); err != nil {
				return &shellError{code: shellExitConnection, err: err}
			}
		}
	} else {
		sh.failed = false
	}
	if sh.timing {
		fmt.Fprintf(sh.out, "Time: %.3f ms\n", float64(time.Since(start).Microseconds())/1000)
	}
	return nil
}

// send runs a statement; COPY moves its data between the server and the shell's own input and output.
func (sh *shell) send(ctx context.Context, text string) error {
	switch direction := copyDirection(text); direction {
	case "from":
		tag, err := sh.conn.CopyFrom(ctx, sh.copyInput(), text)
		if err == nil && !sh.tuplesOnly {
			fmt.Fprintln(sh.out, tag)
		}
		return err
	case "to":
		tag, err := sh.conn.CopyTo(ctx, sh.out, text)
		if err == nil && sh.interactive {
			fmt.Fprintln(sh.out, tag)
		}
		return err
	}
	results := sh.conn.Exec(ctx, text)
	for results.NextResult() {
		r := results.ResultReader()
		if err := sh.printResult(r); err != nil {
			results.Close()
			return err
		}
	}
	return results.Close()
}

// copyDirection says whether text is a COPY over the connection: "from", "to" or neither.
func copyDirection(text string) string {
	words := strings.Fields(strings.ToLower(text))
	if len(words) == 0 || words[0] != "copy" {
		return ""
	}
	for i, w := range words {
		w = strings.TrimRight(w, ";(")
		if i > 0 && w == "stdin" && words[i-1] == "from" {
			return "from"
		}
		if i > 0 && w == "stdout" && words[i-1] == "to" {
			return "to"
		}
	}
	return ""
}

// copyInput yields the lines that follow a COPY FROM STDIN up to a line of \. alone.
func (sh *shell) copyInput() io.Reader {
	src := sh.in
	if src == nil {
		fmt.Fprintln(sh.out, "Enter data to be copied followed by a newline.\nEnd with a backslash and a period on a line by itself, or an EOF signal.")
		src = bufio.NewReader(os.Stdin)
	}
	return &copyLines{src: src}
}

type copyLines struct {
	src  *bufio.Reader
	line []byte
	done bool
}

func (c *copyLines) Read(p []byte) (int, error) {
	for len(c.line) == 0 {
		if c.done {
			return 0, io.EOF
		}
		line, err := c.src.ReadBytes('\n')
		if err != nil {
			c.done = true
		}
		if s := strings.TrimRight(string(line), "\r\n"); s == `\.` {
			c.done = true
			continue
		}
		c.line = line
	}
	n := copy(p, c.line)
	c.line = c.line[n:]
	return n, nil
}
