package hba

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
)

// maxFile bounds a file of rules.
const maxFile = 4 << 20

// File is a file of rules that may be replaced at any time. A new one holds from the next connection on; one with an
// error is reported, and the rules before it stay in force. It is safe for concurrent use.
type File struct {
	path string
	log  *slog.Logger

	mu    sync.Mutex
	mtime time.Time
	size  int64
	rules []Rule // in force
}

// Open reads a file of rules, which must be free of errors.
func Open(path string, log *slog.Logger) (*File, error) {
	f := &File{path: path, log: log}
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if f.rules, err = f.read(); err != nil {
		return nil, err
	}
	f.mtime, f.size = st.ModTime(), st.Size()
	return f, nil
}

func (f *File) read() ([]Rule, error) {
	rules, err := f.Lines()
	if err == nil {
		err = Check(rules)
	}
	if err == nil && len(rules) == 0 {
		err = errors.New("it holds no rules, so that nobody could log in")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, err)
	}
	return rules, nil
}

// Lines returns the rules that the file holds now, those with errors too.
func (f *File) Lines() ([]Rule, error) {
	r, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return Parse(io.LimitReader(r, maxFile))
}

// Rules returns the rules in force, after a look at whether the file has changed. They are not to be changed.
func (f *File) Rules() []Rule {
	st, err := os.Stat(f.path)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil && st.ModTime().Equal(f.mtime) && st.Size() == f.size {
		return f.rules
	}
	if err == nil {
		f.mtime, f.size = st.ModTime(), st.Size()
		var rules []Rule
		if rules, err = f.read(); err == nil {
			f.rules = rules
			f.log.Info("authentication rules were read again", "file", f.path, "rules", len(rules))
			return rules
		}
	} else if f.size == -1 {
		return f.rules // missing, and said so before
	} else {
		f.mtime, f.size = time.Time{}, -1
	}
	f.log.Error("authentication rules cannot be read; the ones before stay in force", "err", err)
	return f.rules
}
