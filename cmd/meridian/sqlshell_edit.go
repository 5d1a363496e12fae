package main

import (
	"bufio"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"
)

// maxHistory bounds the lines that are kept from one run of the shell to the next.
const maxHistory = 2000

// history is the lines that were entered, in a file too. It implements term.History.
type history struct {
	path  string   // "": nothing is written
	lines []string // oldest first
}

// openHistory reads the history of the shells before this one; what cannot be read is forgotten.
func openHistory(e env) *history {
	h := &history{}
	if path, ok := e.lookup("MERIDIAN_HISTORY"); ok {
		h.path = path
	} else if home, err := os.UserHomeDir(); err == nil {
		h.path = filepath.Join(home, ".meridian_history")
	}
	b, err := os.ReadFile(h.path)
	if err != nil {
		return h
	}
	for line := range strings.Lines(string(b)) {
		if s, err := strconv.Unquote(strings.TrimSuffix(line, "\n")); err == nil {
			h.lines = append(h.lines, s)
		}
	}
	if len(h.lines) > maxHistory {
		h.lines = h.lines[len(h.lines)-maxHistory:]
		var w strings.Builder
		for _, l := range h.lines {
			w.WriteString(strconv.Quote(l) + "\n")
		}
		os.WriteFile(h.path, []byte(w.String()), 0o600) // a longer file does no harm
	}
	return h
}

// Add implements term.History. What may hold a password is not kept, nor what is empty or entered again.
func (h *history) Add(line string) {
	lower := strings.ToLower(line)
	if strings.TrimSpace(line) == "" || len(h.lines) > 0 && h.lines[len(h.lines)-1] == line || strings.Contains(lower, "password") {
		return
	}
	h.lines = append(h.lines, line)
	if h.path == "" {
		return
	}
	f, err := os.OpenFile(h.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		h.path = "" // a home that cannot be written: this shell remembers by itself
		return
	}
	f.WriteString(strconv.Quote(line) + "\n")
	f.Close()
}

func (h *history) Len() int          { return len(h.lines) }
func (h *history) At(idx int) string { return h.lines[len(h.lines)-1-idx] }

// keys hands the terminal's keys to the editor. The editor ends for ctrl-C as it does for ctrl-D; here ctrl-C becomes
// an empty line, with broken set.
type keys struct {
	tty    io.Reader
	broken bool
	rest   []byte
}

func (k *keys) Read(p []byte) (int, error) {
	if len(k.rest) == 0 {
		buf := make([]byte, max(1, len(p)/4))
		n, err := k.tty.Read(buf)
		if n == 0 {
			return 0, err
		}
		for _, c := range buf[:n] {
			if c != 3 {
				k.rest = append(k.rest, c)
				continue
			}
			k.broken = true
			k.rest = append(k.rest, 5, 21, '\r') // to the end of the line, erase it, enter
		}
	}
	n := copy(p, k.rest)
	k.rest = k.rest[n:]
	return n, nil
}

// interact reads lines with editing, history and completion.
func (sh *shell) interact(tty *os.File, e env) error {
	sh.printf("meridian sql, server %s\nType \\? for help, \\q to quit.\n\n", sh.conn.ParameterStatus("server_version"))
	// While a statement runs ctrl-C cancels it (run), else it is a key like any other. It never ends the process, as it does by
	// default and for the other commands.
	signal.Reset(os.Interrupt)
	idle := make(chan os.Signal, 1)
	signal.Notify(idle, os.Interrupt)
	defer signal.Stop(idle)
	in := &keys{tty: tty}
	screen := struct {
		io.Reader
		io.Writer
	}{in, sh.out}
	editor := term.NewTerminal(screen, "")
	editor.History = openHistory(e)
	complete := &completer{sh: sh, screen: editor}
	editor.AutoCompleteCallback = complete.key
	editor.SetBracketedPasteMode(true)
	defer editor.SetBracketedPasteMode(false)
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
		in.broken = false
		line, err := editor.ReadLine()
		term.Restore(int(tty.Fd()), state)
		if err == term.ErrPasteIndicator {
			err = nil
		}
		switch {
		case err != nil:
			sh.printf("\\q\n")
			return nil
		case in.broken:
			split = splitter{}
			continue
		}
		if err := sh.feed(&split, line); err != nil {
			return err
		}
	}
	return nil
}

// completer completes words by the tab key.
type completer struct {
	sh     *shell
	screen io.Writer
	// names are the database's, read when they are first wanted and again after a while.
	names []string
	read  time.Time
}

// namesAge is how long names are good for.
const namesAge = 30 * time.Second

var keywords = strings.Fields(`ALTER ANALYZE AND AS ASC BEGIN BETWEEN BY CASCADE CASE CHECK COLUMN COMMIT CONSTRAINT COPY CREATE CROSS DATABASE
DEFAULT DELETE DESC DISTINCT DROP ELSE END EXCEPT EXISTS EXPLAIN FALSE FOREIGN FROM FULL FUNCTION GRANT GROUP HAVING IN INDEX INNER INSERT INTERSECT
INTO IS JOIN KEY LEFT LIKE LIMIT NOT NULL OFFSET ON OR ORDER OUTER PRIMARY REFERENCES RETURNING REVOKE RIGHT ROLE ROLLBACK SCHEMA SELECT SEQUENCE
SET SHOW TABLE TABLESPACE THEN TO TRANSACTION TRUE TRUNCATE TYPE UNION UNIQUE UPDATE USING VALUES VIEW WHEN WHERE WITH
avg( coalesce( count( generate_series( greatest( least( length( lower( max( min( now() round( string_agg( substring( sum( upper(`)

// key implements term.Terminal.AutoCompleteCallback.
func (c *completer) key(line string, pos int, key rune) (string, int, bool) {
	if key != '\t' {
		return "", 0, false
	}
	start := pos
	for start > 0 && (isWord(line[start-1]) || line[start-1] == '.' || line[start-1] == '\\') {
		start--
	}
	word := line[start:pos]
	if word == "" {
		return line, pos, true
	}
	found := matches(word, c.words(word))
	switch len(found) {
	case 0:
		return line, pos, true
	case 1:
		full := found[0]
		if !strings.HasSuffix(full, "(") && !strings.HasSuffix(full, ".") {
			full += " "
		}
		return line[:start] + full + line[pos:], start + len(full), true
	}
	if common := commonPrefix(found); len(common) > len(word) {
		return line[:start] + common + line[pos:], start + len(common), true
	}
	const most = 60
	more := ""
	if len(found) > most {
		found, more = found[:most], " ..."
	}
	io.WriteString(c.screen, strings.Join(found, "  ")+more+"\n")
	return line, pos, true
}

// words are what a word like this one may become.
func (c *completer) words(word string) []string {
	if strings.HasPrefix(word, `\`) {
		var out []string
		for line := range strings.Lines(shellHelp) {
			for _, w := range strings.Fields(line) {
				if !strings.HasPrefix(w, `\`) {
					break
				}
				out = append(out, w)
			}
		}
		return out
	}
	if c.sh.conn.TxStatus() != 'E' && time.Since(c.read) > namesAge {
		rows, err := c.sh.query(`SELECT relname FROM pg_class WHERE relkind IN ('r','p','v','m','S') AND relnamespace <> 'pg_toast'::regnamespace
			UNION SELECT nspname || '.' || relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r','p','v','m','S') AND nspname NOT IN ('pg_catalog', 'pg_toast')
			UNION SELECT attname FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n ON n.oid = relnamespace
				WHERE attnum > 0 AND NOT attisdropped AND relkind IN ('r','p','v','m') AND nspname NOT IN ('pg_catalog', 'information_schema', 'meridian')
			UNION SELECT nspname || '.' FROM pg_namespace UNION SELECT name FROM pg_settings ORDER BY 1`)
		if c.read = time.Now(); err == nil {
			c.names = nil
			for _, r := range rows {
				c.names = append(c.names, r[0])
			}
		}
	}
	return append(slices.Clone(c.names), keywords...)
}

// matches returns the words that word begins, in order. Keywords follow the case of what was typed.
func matches(word string, words []string) []string {
	var out []string
	lower := strings.ToLower(word)
	for _, w := range words {
		if !strings.HasPrefix(strings.ToLower(w), lower) {
			continue
		}
		if w == strings.ToUpper(w) && word == lower {
			w = strings.ToLower(w)
		}
		out = append(out, w)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func commonPrefix(words []string) string {
	p := words[0]
	for _, w := range words[1:] {
		for !strings.HasPrefix(strings.ToLower(w), strings.ToLower(p)) {
			p = p[:len(p)-1]
		}
	}
	return p
}

// lineReader reads what is copied from the terminal.
func lineReader() *bufio.Reader { return bufio.NewReader(os.Stdin) }
