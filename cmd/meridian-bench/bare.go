package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// The bare commit is what replication to other processes costs here when nothing but it is done: a client sends a record
// to a leader; that one passes it on to two followers, writes and syncs its own file, and answers when one follower has
// answered, which did the same. Each is a process of its own, as with Meridian and PostgreSQL, and no database that
// replicates before it acknowledges is faster.

// bareRecord is the size of a record, in bytes: a small commit's.
const bareRecord = 512

// bareFile is the size to which files are filled with zeros first, so that a sync has no length to write. Records go round.
const bareFile = 4 << 20

// bareMode is the first argument of a process that takes part in a bare commit, before the file and a leader's followers.
const bareMode = "bare"

// bareReplica is such a process. It says where it listens, and ends with its client.
func bareReplica(args []string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("bare: a file is required")
	}
	f, err := os.Create(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, bareFile)); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	var followers []net.Conn
	for _, addr := range args[1:] {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		defer c.Close()
		followers = append(followers, c)
	}
	acks := make(chan error, 1) // a leader's: one for each record, of whichever follower is first
	turns := make([]chan struct{}, len(followers))
	for i, c := range followers {
		turns[i] = make(chan struct{}, 1)
		go func() {
			for range turns[i] {
				_, err := io.ReadFull(c, make([]byte, 1))
				acks <- err
			}
		}()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	fmt.Fprintln(out, l.Addr())
	client, err := l.Accept()
	if err != nil {
		return err
	}
	defer client.Close()
	record := make([]byte, bareRecord)
	for at := int64(0); ; at = (at + bareRecord) % bareFile {
		if _, err := io.ReadFull(client, record); err != nil {
			return nil
		}
		for i, c := range followers {
			if _, err := c.Write(record); err != nil {
				return err
			}
			turns[i] <- struct{}{}
		}
		if _, err := f.WriteAt(record, at); err != nil {
			return err
		}
		if err := fdatasync(f); err != nil {
			return err
		}
		if len(followers) > 0 {
			if err := <-acks; err != nil {
				return err
			}
		}
		if _, err := client.Write(record[:1]); err != nil {
			return err
		}
		for range len(followers) - 1 { // The others' are not this commit's business.
			if err := <-acks; err != nil {
				return err
			}
		}
	}
}

// bareProbe times bare commits.
type bareProbe struct {
	procs []*exec.Cmd
	conn  net.Conn
	files []string
}

func newBareProbe(ctx context.Context, dir string) (*bareProbe, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &bareProbe{}
	start := func(name string, followers ...string) (string, error) {
		file := filepath.Join(dir, name)
		cmd := exec.CommandContext(ctx, self, append([]string{bareMode, file}, followers...)...)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			return "", err
		}
		if err := cmd.Start(); err != nil {
			return "", err
		}
		p.procs, p.files = append(p.procs, cmd), append(p.files, file)
		addr, err := bufio.NewReader(out).ReadString('\n')
		return strings.TrimSpace(addr), err
	}
	var addrs []string
	for _, name := range []string{"bare-follower-1", "bare-follower-2"} {
		addr, err := start(name)
		if err != nil {
			p.close()
			return nil, err
		}
		addrs = append(addrs, addr)
	}
	addr, err := start("bare-leader", addrs...)
	if err == nil {
		p.conn, err = net.Dial("tcp", addr)
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *bareProbe) probe() (time.Duration, error) {
	b := make([]byte, bareRecord)
	start := time.Now()
	if _, err := p.conn.Write(b); err != nil {
		return 0, err
	}
	_, err := io.ReadFull(p.conn, b[:1])
	return time.Since(start), err
}

func (p *bareProbe) close() {
	if p.conn != nil {
		p.conn.Close()
	}
	for _, cmd := range p.procs {
		cmd.Process.Kill()
		cmd.Wait()
	}
	for _, f := range p.files {
		os.Remove(f)
	}
}
