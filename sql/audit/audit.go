// Package audit writes what happened, who did it and from where: one JSON object a line, to a file that is only added to.
//
// Statements are recorded without their literals and parameters, so that no secret and no row's content gets into the file.
// Each line is written before the client has its answer. It is with the operating system then, not synced: what a power
// failure takes is the last seconds.
package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Event is one line. Empty fields are left out.
type Event struct {
	Time        time.Time `json:"time"`
	Node        uint64    `json:"node,omitempty"`
	Event       string    `json:"event"`             // login, login_failed, logout, session, object
	Session     int32     `json:"session,omitempty"` // as in pg_stat_activity
	User        string    `json:"user,omitempty"`    // who logged in
	Role        string    `json:"role,omitempty"`    // the current role, if another
	Database    string    `json:"database,omitempty"`
	Application string    `json:"application,omitempty"`
	Client      string    `json:"client,omitempty"` // host:port
	TLS         bool      `json:"tls,omitempty"`
	Port        string    `json:"port,omitempty"`    // of logins: sql or http
	Method      string    `json:"method,omitempty"`  // of logins: scram-sha-256, cert, trust
	Class       string    `json:"class,omitempty"`   // READ, WRITE, FUNCTION, ROLE, DDL, MISC, MISC_SET
	Command     string    `json:"command,omitempty"` // SELECT, CREATE TABLE, ...
	ObjectType  string    `json:"object_type,omitempty"`
	Object      string    `json:"object,omitempty"`    // schema.name
	Statement   string    `json:"statement,omitempty"` // without literals
	Rows        *int64    `json:"rows,omitempty"`
	State       string    `json:"sqlstate,omitempty"` // of a failure
	Error       string    `json:"error,omitempty"`    // of a failed login
	Micros      int64     `json:"us,omitempty"`       // how long it took
	Trace       string    `json:"trace,omitempty"`
}

// reopenEvery is how often the file is looked for under its name: log rotation renames it.
const reopenEvery = time.Second

// Log is an audit log. It is safe for concurrent use; a nil Log drops everything.
type Log struct {
	path string
	node uint64
	log  *slog.Logger
	lost atomic.Uint64

	mu     sync.Mutex
	file   *os.File // nil: it could not be opened
	looked time.Time
	buf    []byte
	closed bool
}

// Open opens an audit log, which is made for its owner's eyes when it does not exist.
func Open(path string, log *slog.Logger) (*Log, error) {
	l := &Log{path: path, log: log}
	if err := l.open(); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *Log) open() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	l.file = f
	return nil
}

// SetNode says which node's events these are, once it is known.
func (l *Log) SetNode(node uint64) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.node = node
}

// Write adds an event. One that cannot be written is counted and reported in the process's log; what it is about has happened.
func (l *Log) Write(e *Event) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	e.Node = l.node
	line, err := json.Marshal(e)
	if err == nil {
		l.buf = append(append(l.buf[:0], line...), '\n')
		err = l.write(e.Time)
	}
	if err != nil && l.lost.Add(1) == 1 {
		l.log.Error("audit events are being lost", "err", err)
	}
}

func (l *Log) write(now time.Time) error {
	if l.file == nil || now.Sub(l.looked) > reopenEvery || now.Before(l.looked) {
		l.looked = now
		l.reopen()
	}
	if l.file == nil {
		return fmt.Errorf("%s is not open", l.path)
	}
	// One write a line: lines of several processes, or around a rotation, stay whole.
	n, err := l.file.Write(l.buf)
	if err != nil && n > 0 && n < len(l.buf) {
		_, err2 := l.file.Write([]byte{'\n'}) // the next line begins anew
		err = errors.Join(err, err2)
	}
	return err
}

// reopen opens the file anew when another one, or none, has its name.
func (l *Log) reopen() {
	if l.file != nil {
		have, err1 := l.file.Stat()
		named, err2 := os.Stat(l.path)
		if err1 == nil && err2 == nil && os.SameFile(have, named) {
			return
		}
	}
	old := l.file
	if err := l.open(); err != nil {
		if old == nil {
			l.file = nil
		}
		l.log.Error("audit log cannot be opened", "err", err)
		return
	}
	if old != nil {
		old.Close()
	}
}

// Lost returns how many events could not be written.
func (l *Log) Lost() uint64 {
	if l == nil {
		return 0
	}
	return l.lost.Load()
}

// Close closes the file. What is written afterwards is dropped.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.file == nil {
		return nil
	}
	err := errors.Join(l.file.Sync(), l.file.Close())
	l.file = nil
	return err
}
