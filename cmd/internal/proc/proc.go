// Package proc runs a cluster of real meridian processes on loopback, with real time servers, for tests
// and benchmarks that must be able to kill -9 a node. It owns the processes it starts: Close ends them.
package proc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Config configures a Cluster.
type Config struct {
	Binary      string    // Path of the meridian binary. Required.
	Dir         string    // Holds the stores and one log file per process. Required.
	Nodes       int       // Default 3; node i is in region r<i+1>.
	TimeServers int       // Default 3.
	Args        []string  // Further flags for every `meridian start`.
	Env         []string  // Further environment, as NAME=value.
	Certs       string    // Directory for --certs. Default: --insecure.
	Network     *Network  // Each node in a network namespace of its own. Default: all on loopback.
	SmallDisks  bool      // Each store on a file system of its own, in memory, that FillDisk can fill. Needs root.
	Log         io.Writer // Progress lines; nil for none.
}

// Cluster is a set of running processes.
type Cluster struct {
	cfg   Config
	times []*exec.Cmd
	addrs []string // of the time servers
	Nodes []*Node
}

// Node is one `meridian start` process. Its addresses and store outlive a kill.
type Node struct {
	Index    int
	Region   string
	Store    string
	SQLAddr  string
	RPCAddr  string
	HTTPAddr string

	cluster *Cluster
	mounted bool // Store is a file system of its own
	cmd     *exec.Cmd
	done    chan struct{} // closed when the process has been reaped
}

// Start brings up the time servers and all nodes and returns when every node is ready.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	if cfg.Binary == "" || cfg.Dir == "" {
		return nil, errors.New("proc: Config.Binary and Config.Dir are required")
	}
	if cfg.Nodes == 0 {
		cfg.Nodes = 3
	}
	if cfg.TimeServers == 0 {
		cfg.TimeServers = 3
	}
	if cfg.Log == nil {
		cfg.Log = io.Discard
	}
	c := &Cluster{cfg: cfg}
	for i := range cfg.TimeServers {
		addr, err := freeAddr("udp", c.host())
		if err != nil {
			return nil, err
		}
		cmd, err := c.spawn(fmt.Sprintf("time%d", i+1), -1, "timeserver", "--listen", addr)
		if err != nil {
			c.Close()
			return nil, err
		}
		c.times = append(c.times, cmd)
		c.addrs = append(c.addrs, addr)
	}
	for i := range cfg.Nodes {
		n := &Node{Index: i, Region: "r" + strconv.Itoa(i+1), Store: filepath.Join(cfg.Dir, fmt.Sprintf("n%d", i+1)), cluster: c}
		c.Nodes = append(c.Nodes, n)
	}
	if err := c.assignPorts(); err != nil {
		c.Close()
		return nil, err
	}
	for _, n := range c.Nodes {
		if cfg.SmallDisks {
			if err := n.mount(); err != nil {
				c.Close()
				return nil, err
			}
		}
		if err := n.Start(); err != nil {
			c.Close()
			return nil, err
		}
		if err := n.WaitReady(ctx); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// assignPorts asks the kernel for a port for every listener. All are held until the last is known, so that the
// kernel gives none twice.
func (c *Cluster) assignPorts() error {
	for _, n := range c.Nodes {
		if c.cfg.Network != nil {
			c.cfg.Network.addresses(n)
			continue
		}
		for _, a := range []*string{&n.SQLAddr, &n.RPCAddr, &n.HTTPAddr} {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			defer l.Close()
			*a = l.Addr().String()
		}
	}
	return nil
}

// URL is the node's connection string, without TLS.
func (n *Node) URL() string { return "postgres://postgres@" + n.SQLAddr + "/postgres?sslmode=disable" }

// Start starts the process; node 0 founds the cluster on its first start, the others join.
func (n *Node) Start() error {
	args := []string{"start", "--store", n.Store, "--sql-addr", n.SQLAddr, "--rpc-addr", n.RPCAddr,
		"--http-addr", n.HTTPAddr, "--region", n.Region, "--zone", "a"}
	if n.cluster.cfg.Certs != "" {
		args = append(args, "--certs", n.cluster.cfg.Certs)
	} else {
		args = append(args, "--insecure")
	}
	for _, a := range n.cluster.TimeSources() {
		args = append(args, "--time-source", a)
	}
	if n.Index > 0 {
		var seeds []string
		for _, o := range n.cluster.Nodes {
			if o != n {
				seeds = append(seeds, o.RPCAddr)
			}
		}
		args = append(args, "--join", strings.Join(seeds, ","))
	}
	if n.cluster.cfg.Network != nil {
		args = append(args, "--insecure-listen-anywhere")
	}
	cmd, err := n.cluster.spawn(fmt.Sprintf("node%d", n.Index+1), n.Index, append(args, n.cluster.cfg.Args...)...)
	if err != nil {
		return err
	}
	n.cmd, n.done = cmd, make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait()
		close(done)
	}(cmd, n.done)
	return nil
}

// Kill ends the process with SIGKILL and waits until it is gone.
func (n *Node) Kill() { n.stop(syscall.SIGKILL) }

// Stop ends the process with SIGTERM, which drains it, and waits until it is gone.
func (n *Node) Stop() { n.stop(syscall.SIGTERM) }

// Done is closed when the process of the last Start has ended; ExitCode is valid from then on.
func (n *Node) Done() <-chan struct{} { return n.done }

// ExitCode returns how the process ended, -1 when by a signal.
func (n *Node) ExitCode() int { return n.cmd.ProcessState.ExitCode() }

// LogPath returns the file with what the node's processes have written.
func (n *Node) LogPath() string { return n.cluster.logPath(fmt.Sprintf("node%d", n.Index+1)) }

// RSS returns the resident memory of the process in bytes.
func (n *Node) RSS() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", n.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		return 0, err
	}
	return resident * int64(os.Getpagesize()), nil
}

// SetArgs replaces Config.Args for processes started from here on.
func (c *Cluster) SetArgs(args ...string) { c.cfg.Args = args }

// Signal sends sig, as SIGSTOP and SIGCONT to pause a node.
func (n *Node) Signal(sig syscall.Signal) error { return n.cmd.Process.Signal(sig) }

func (n *Node) stop(sig syscall.Signal) {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Signal(sig)
	<-n.done
	n.cmd = nil
}

// WaitReady returns when /readyz answers 200, the process has died, or ctx is over.
func (n *Node) WaitReady(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := n.HTTP(ctx, "/readyz"); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-n.done:
			return fmt.Errorf("node %d ended before it was ready; see %s", n.Index+1, n.cluster.logPath(fmt.Sprintf("node%d", n.Index+1)))
		case <-ctx.Done():
			return fmt.Errorf("node %d not ready: %w", n.Index+1, ctx.Err())
		}
	}
}

// HTTP fetches a page of the node's admin port.
func (n *Node) HTTP(ctx context.Context, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.HTTPAddr+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, resp.Status)
	}
	return string(body), err
}

// Metric returns the sum of the samples of a Prometheus metric.
func (n *Node) Metric(ctx context.Context, name string) (float64, error) {
	page, err := n.HTTP(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	var sum float64
	found := false
	for line := range strings.Lines(page) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if base, _, _ := strings.Cut(series, "{"); !ok || base != name {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s: %w", name, err)
		}
		sum, found = sum+v, true
	}
	if !found {
		return 0, fmt.Errorf("metric %s: no sample", name)
	}
	return sum, nil
}

// CPU returns the user and system time the process has used.
func (n *Node) CPU() (time.Duration, error) { return TreeCPU(n.cmd.Process.Pid) }

// Close kills what still runs.
func (c *Cluster) Close() {
	for _, n := range c.Nodes {
		n.Kill()
	}
	for i := range c.times {
		c.StopTimeServer(i)
	}
	c.times = nil
	for _, n := range c.Nodes {
		n.unmount()
	}
}

// TimeServers returns how many time servers there are.
func (c *Cluster) TimeServers() int { return len(c.times) }

// StopTimeServer ends a time server, as if its host had gone.
func (c *Cluster) StopTimeServer(i int) {
	if cmd := c.times[i]; cmd != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		c.times[i] = nil
	}
}

// StartTimeServer starts it again where it was, with further flags, as --offset to have it lie.
func (c *Cluster) StartTimeServer(i int, args ...string) error {
	c.StopTimeServer(i)
	cmd, err := c.spawn(fmt.Sprintf("time%d", i+1), -1, append([]string{"timeserver", "--listen", c.addrs[i]}, args...)...)
	if err == nil {
		c.times[i] = cmd
	}
	return err
}

// TimeSources are the addresses of the time servers, as --time-source takes them.
func (c *Cluster) TimeSources() []string {
	var out []string
	for _, a := range c.addrs {
		out = append(out, "ntp://"+a)
	}
	return out
}

func (c *Cluster) logPath(name string) string { return filepath.Join(c.cfg.Dir, name+".log") }

// spawn starts a process; node -1 is on the host's side of the network.
func (c *Cluster) spawn(name string, node int, args ...string) (*exec.Cmd, error) {
	log, err := os.OpenFile(c.logPath(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(c.cfg.Binary, args...)
	if c.cfg.Network != nil && node >= 0 {
		cmd = exec.Command("ip", append([]string{"netns", "exec", c.cfg.Network.namespace(node), c.cfg.Binary}, args...)...)
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), c.cfg.Env...)
	// A test that is killed must not leave its cluster behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	fmt.Fprintf(c.cfg.Log, "start %s: %s\n", name, strings.Join(args, " "))
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return cmd, nil
}

// FreePort asks the kernel for a free loopback TCP port.
func FreePort() (string, error) {
	addr, err := freeAddr("tcp", "127.0.0.1")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(addr)
	return port, err
}

// host is the address of what is not in a namespace.
func (c *Cluster) host() string {
	if c.cfg.Network != nil {
		return c.cfg.Network.host()
	}
	return "127.0.0.1"
}

// freeAddr asks the kernel for a port. Another process may take it before it is used; the
// process started on it then fails with a clear error.
func freeAddr(network, host string) (string, error) {
	if network == "udp" {
		c, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
		if err != nil {
			return "", err
		}
		defer c.Close()
		return c.LocalAddr().String(), nil
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
