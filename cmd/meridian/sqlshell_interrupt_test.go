//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/meridian-db/meridian/server"
)

// TestShellInterrupt: on a terminal ctrl-C cancels the statement that runs, and the shell goes on over the same connection.
func TestShellInterrupt(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the binary")
	}
	bin, err := builtBinary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	d, err := server.StartDemo(ctx, server.DemoConfig{SQLAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", Data: filepath.Join(dir, "data"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Stop()
	url := "postgres://postgres@" + d.Servers[0].SQLAddr() + "/postgres?sslmode=disable"
	watcher, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Close(ctx)

	master, slave := openTerminal(t)
	shell := exec.CommandContext(ctx, bin, "sql", url)
	shell.Env = append(os.Environ(), "MERIDIAN_HISTORY="+filepath.Join(dir, "history"))
	shell.Stdin, shell.Stdout, shell.Stderr = slave, slave, slave
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	var seen bytes.Buffer // what the shell has shown since the last text waited for
	until := func(text string) {
		t.Helper()
		master.SetReadDeadline(time.Now().Add(30 * time.Second)) // a bound, not a measure
		b := make([]byte, 4096)
		for !bytes.Contains(seen.Bytes(), []byte(text)) {
			n, err := master.Read(b)
			seen.Write(b[:n])
			if err != nil {
				t.Fatalf("%v before %q in\n%s", err, text, seen.Bytes())
			}
		}
		seen.Next(bytes.Index(seen.Bytes(), []byte(text)) + len(text))
	}
	until("postgres=> ")
	fmt.Fprint(master, "select pg_sleep(600);\r")
	for running := false; !running; {
		if err := watcher.QueryRow(ctx, "select count(*) > 0 from pg_stat_activity where state = 'active' and query like 'select pg_sleep(600)%'").Scan(&running); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Fprint(master, "\x03")
	until("canceling statement due to user request")
	until("postgres=> ")
	fmt.Fprint(master, "select 'still ' || 'here';\r")
	until("still here")
	fmt.Fprint(master, "\\q\r")
	if err := shell.Wait(); err != nil {
		t.Errorf("the shell ends with %v", err)
	}
}

// openTerminal returns the two ends of a pseudo terminal.
func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Skip("needs a pseudo terminal: ", err)
	}
	t.Cleanup(func() { master.Close() })
	conn, err := master.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	conn.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}
