package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
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
	cfg         *pgconn.Config // of conn
	in          *bufio.Reader  // of a script; nil when interactive
	out         io.Writer
	screen      io.Writer // where out goes without \o
	file        *os.File  // of \o
	errOut      io.Writer
	interactive bool
	people      bool // errOut is a terminal
	stopOnError bool
	quiet       bool
	timing      bool
	expanded    bool
	tuplesOnly  bool
	format      format
	null        string // what is printed for NULL
	fieldSep    string
	title       string   // of the next result
	foot        []string // lines after the next result
	last        string   // the statement that ran last
	quit        bool
	failed      bool
}

// printf prints what the shell itself has to say.
func (sh *shell) printf(form string, args ...any) {
	if !sh.quiet || sh.interactive {
		fmt.Fprintf(sh.out, form, args...)
	}
}

// runSQLShell is meridian sql [flags] [URL].
func runSQLShell(ctx context.Context, args []string, e env) error {
	fs := newFlags("sql", "[flags] [URL]", e)
	var cmds commands
	sh := &shell{ctx: ctx, out: e.stdout, screen: e.stdout, errOut: e.stderr, format: aligned}
	fs.Var(&cmds, "c", "run `command` and exit; repeatable, and a backslash command too")
	file := fs.String("f", "", "run the commands in `file` and exit")
	fs.BoolVar(&sh.tuplesOnly, "t", false, "print rows only, without header and count")
	noAlign := fs.Bool("A", false, "unaligned output")
	fs.StringVar(&sh.fieldSep, "F", "|", "field `separator` of unaligned output")
	fs.BoolVar(&sh.expanded, "x", false, "expanded output, a column a line")
	fs.BoolVar(&sh.quiet, "q", false, "print rows and errors, not what was done")
	asCSV := fs.Bool("csv", false, "CSV output")
	asJSON := fs.Bool("json", false, "JSON output: an array of objects for each statement with rows")
	fs.BoolVar(&sh.timing, "timing", false, "say how long each statement took")
	fs.BoolVar(&sh.stopOnError, "on-error-stop", false, "end a script at its first error, with exit code 3")
	url := ""
	for len(args) > 0 { // the URL may stand before flags, too
		switch err := fs.FlagSet.Parse(args); {
		case errors.Is(err, flag.ErrHelp):
			fs.help()
			return nil
		case err != nil:
			return &shellError{code: shellExitError, err: fmt.Errorf("sql: %w; `meridian sql --help` lists the flags", err)}
		case fs.NArg() > 0 && url != "":
			return &shellError{code: shellExitError, err: fmt.Errorf("sql: unexpected argument %q: give one URL", fs.Arg(0))}
		case fs.NArg() > 0:
			url = fs.Arg(0)
		}
		args = fs.Args()[min(1, fs.NArg()):]
	}
	if err := fs.parse(nil); err != nil { // the environment
		return &shellError{code: shellExitError, err: err}
	}
	switch {
	case *asCSV && *asJSON:
		return &shellError{code: shellExitError, err: errors.New("sql: give --csv or --json, not both")}
	case *asCSV:
		sh.format = csvFormat
	case *asJSON:
		sh.format = jsonRows
	case *noAlign:
		sh.format = unaligned
	}
	if v, ok := e.lookup("MERIDIAN_SQL_URL"); ok && url == "" {
		url = v
	}
	if sh.url = url; url == "" {
		sh.url = defaultSQLURL
	}
	if f, ok := e.stderr.(*os.File); ok {
		sh.people = term.IsTerminal(int(f.Fd()))
	}
	if err := sh.connect(e.stdin, sh.url); err != nil {
		return &shellError{code: shellExitConnection, err: err}
	}
	defer func() { sh.conn.Close(context.WithoutCancel(ctx)) }()
	defer sh.output("")

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
	case *file != "" && *file != "-":
		return sh.runFile(*file)
	}
	if f, ok := e.stdin.(*os.File); ok && *file == "" && term.IsTerminal(int(f.Fd())) {
		sh.interactive = true
		return sh.interact(f, e)
	}
	return sh.runScript(e.stdin)
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
		return plainConnectError(err)
	}
	if sh.conn != nil {
		sh.conn.Close(sh.ctx)
	}
	sh.conn, sh.cfg = conn, cfg
	return nil
}

// plainConnectError says each thing once: with sslmode=prefer the driver tries every address twice.
func plainConnectError(err error) error {
	var lines []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	text := strings.Join(lines, "\n  ")
	if errors.Is(err, syscall.ECONNREFUSED) {
		text += "\nIs a node running there? `meridian demo` starts a cluster to try; URL or MERIDIAN_SQL_URL name another one."
	}
	return errors.New(text)
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

// feed takes one line: a meta-command, alone or behind the beginning of a statement, or a part of SQL.
func (sh *shell) feed(split *splitter, line string) error {
	if split.empty() && strings.HasPrefix(strings.TrimSpace(line), `\`) {
		return sh.meta(strings.TrimSpace(line), "")
	}
	head, command := split.cutMeta(line)
	for _, st := range split.feed(head + "\n") {
		if err := sh.runStatement(st); err != nil {
			return err
		}
	}
	if command != "" {
		return sh.meta(command, split.rest())
	}
	return nil
}

// prompt is psql's: database, transaction state, and whether a statement is open.
func (sh *shell) prompt(split *splitter) string {
	mark := map[byte]string{'T': "*", 'E': "!"}[sh.conn.TxStatus()]
	name := cmp.Or(sh.cfg.Database, sh.cfg.User)
	if split.empty() {
		return name + "=" + mark + "> "
	}
	return name + "-" + mark + "> "
}

// runStatement runs a statement of the user, which \g and \watch repeat.
func (sh *shell) runStatement(text string) error {
	sh.last = text
	return sh.run(text)
}

// complain prints an error that leaves the shell going.
func (sh *shell) complain(err error, text string) error {
	sh.failed = true
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		sh.printMessage(pgErr, text)
	} else {
		fmt.Fprintf(sh.errOut, "%v\n", err)
	}
	return nil
}

// run sends one statement and prints its answers. It fails only when the connection is gone.
func (sh *shell) run(text string) error {
	ctx, stop := sh.ctx, func() {}
	if sh.interactive {
		// ctrl-C cancels the statement, not the shell.
		ctx, stop = signal.NotifyContext(sh.ctx, os.Interrupt)
	}
	defer stop()
	start := time.Now()
	sh.failed = false
	if err := sh.send(ctx, text); err != nil {
		sh.complain(err, text)
		if sh.conn.IsClosed() {
			if !sh.interactive {
				return &shellError{code: shellExitConnection, err: errors.New("connection to server was lost")}
			}
			fmt.Fprintln(sh.errOut, "The connection to the server was lost. Attempting reset.")
			if err := sh.connect(os.Stdin, sh.url); err != nil {
				return &shellError{code: shellExitConnection, err: err}
			}
		}
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
		return sh.copyFrom(ctx, text, sh.copyInput(), 0)
	case "to":
		return sh.copyTo(ctx, text, sh.out)
	}
	ctx, cancelled := sh.cancelling(ctx)
	defer cancelled()
	stop := sh.watch(text, nil, 0)
	results := sh.conn.Exec(ctx, text)
	for results.NextResult() {
		stop()
		if err := sh.printResult(results.ResultReader()); err != nil {
			results.Close()
			return err
		}
	}
	err := results.Close()
	stop()
	return err
}

// cancelling returns a context for the connection that does not end with ctx: the end of ctx is sent to the server as a
// cancel request instead, so that the connection, and the session with it, survives.
func (sh *shell) cancelling(ctx context.Context) (context.Context, func()) {
	stop := context.AfterFunc(ctx, func() {
		if sh.ctx.Err() == nil {
			cctx, cancel := context.WithTimeout(sh.ctx, 5*time.Second)
			defer cancel()
			sh.conn.CancelRequest(cctx) // should it fail, the statement goes on and ctrl-C can be tried again
		}
	})
	return sh.ctx, func() { stop() }
}

// copyFrom is COPY FROM STDIN with what r has, size bytes if that is known.
func (sh *shell) copyFrom(ctx context.Context, text string, r io.Reader, size int64) error {
	ctx, done := sh.cancelling(ctx)
	defer done()
	var n atomic.Int64
	stop := sh.watch(text, &n, size)
	tag, err := sh.conn.CopyFrom(ctx, io.TeeReader(r, tally{&n}), text)
	stop()
	if err == nil && !sh.tuplesOnly {
		sh.printf("%s\n", tag)
	}
	return err
}

// copyTo is COPY TO STDOUT into w.
func (sh *shell) copyTo(ctx context.Context, text string, w io.Writer) error {
	ctx, done := sh.cancelling(ctx)
	defer done()
	stop, out := func() {}, w
	if f, ok := w.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		var n atomic.Int64
		stop, out = sh.watch(text, &n, 0), io.MultiWriter(w, tally{&n})
	}
	tag, err := sh.conn.CopyTo(ctx, out, text)
	stop()
	if err == nil && (sh.interactive || w != sh.out) {
		sh.printf("%s\n", tag)
	}
	return err
}

// copyFile is \copy: COPY with a file of this machine.
func (sh *shell) copyFile(rest string) error {
	words := strings.Fields(rest)
	at, depth := -1, 0
	for i, w := range words {
		depth += strings.Count(w, "(") - strings.Count(w, ")")
		if l := strings.ToLower(w); depth == 0 && i > 0 && (l == "from" || l == "to") {
			at = i
			break
		}
	}
	if at < 0 || at+1 >= len(words) {
		return sh.complain(errors.New(`\copy: give TABLE FROM FILE or TABLE TO FILE`), "")
	}
	name := strings.Trim(words[at+1], "'")
	target, options := strings.Join(words[:at], " "), strings.Join(words[at+2:], " ")
	ctx, stop := signal.NotifyContext(sh.ctx, os.Interrupt)
	defer stop()
	start := time.Now()
	var err error
	switch lower := strings.ToLower(words[at]); {
	case lower == "from" && strings.ToLower(name) == "stdin":
		err = sh.copyFrom(ctx, "COPY "+target+" FROM STDIN "+options, sh.copyInput(), 0)
	case lower == "from":
		f, ferr := os.Open(name)
		if ferr != nil {
			return sh.complain(ferr, "")
		}
		defer f.Close()
		size := int64(0)
		if st, err := f.Stat(); err == nil {
			size = st.Size()
		}
		err = sh.copyFrom(ctx, "COPY "+target+" FROM STDIN "+options, f, size)
	case strings.ToLower(name) == "stdout":
		err = sh.copyTo(ctx, "COPY "+target+" TO STDOUT "+options, sh.out)
	default:
		f, ferr := os.Create(name)
		if ferr != nil {
			return sh.complain(ferr, "")
		}
		err = errors.Join(sh.copyTo(ctx, "COPY "+target+" TO STDOUT "+options, f), f.Close())
	}
	if err != nil {
		sh.complain(err, "")
	}
	if sh.timing {
		fmt.Fprintf(sh.out, "Time: %.3f ms\n", float64(time.Since(start).Microseconds())/1000)
	}
	return nil
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
		src = lineReader()
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
