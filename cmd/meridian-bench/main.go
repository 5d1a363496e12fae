// Command meridian-bench compares Meridian with PostgreSQL. It runs pgbench against three Meridian nodes and, in
// the same run on the same machine, against PostgreSQL with two synchronous standbys (ANY 1), and prints both with
// their ratios: throughput, latency, server CPU time per transaction over all three servers, and log fsyncs per commit.
//
//	make bench ARGS='-seconds 10 -clients 1,8,32 -workloads tpcb,simple,select -modes prepared'
//
// With -tpch it runs the 22 queries of TPC-H against both, PostgreSQL being a single server, and compares answers
// and times:
//
//	make bench ARGS='-tpch -tpch-scale 0.1'
//
// With -idle it measures three node processes that hold so many ranges and have nothing to do:
//
//	make bench ARGS='-idle 2000'
//
// With -load it copies rows into three node processes; with -index it makes indexes under TPC-B; with -ddl it measures schema
// changes; with -participants commits over many ranges; with -connections memory of connections; with -overhead what
// tracing and metrics cost; with -failover throughput over time while a region is killed.
//
// With -lag it measures how far followers are behind under TPC-B, beside what they should be: on one site, with clocks as in
// the paper, and in three regions:
//
//	make bench ARGS='-lag -clients 8'
//
// With -geo it runs three regions in this process, 80 to 220 ms apart, and prints what each kind of transaction takes
// beside the formula of its protocol:
//
//	make bench ARGS=-geo
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meridian-db/meridian/cmd/internal/proc"
)

// system is one of the two databases under test.
type system interface {
	name() string
	// target is pgbench's connection arguments.
	target() []string
	// cpu is the time all server processes have used so far.
	cpu() (time.Duration, error)
	// fsyncs counts the log fsyncs of the server that takes the writes.
	fsyncs(ctx context.Context) (float64, error)
	close()
}

type options struct {
	binary, pgbin, dir string
	scale, seconds     int
	clients            []string
	workloads, modes   []string
	skipPostgres       bool
	profile            string
	nodes              int
	tpch               tpchOptions
	idle               int
	load               loadOptions
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == bareMode {
		if err := bareReplica(os.Args[2:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "meridian-bench:", err)
			os.Exit(1)
		}
		return
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "meridian-bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	var o options
	var clients, workloads, modes, queries string
	var tpch bool
	fs := flag.NewFlagSet("meridian-bench", flag.ContinueOnError)
	fs.StringVar(&o.binary, "meridian", "bin/meridian", "path of the meridian binary")
	fs.StringVar(&o.pgbin, "postgres", "", "folder of PostgreSQL's server programs (default: the newest under /usr/lib/postgresql)")
	fs.StringVar(&o.dir, "dir", "", "folder for the data (default: a new temporary one)")
	fs.IntVar(&o.scale, "scale", 10, "pgbench scale factor")
	fs.IntVar(&o.seconds, "seconds", 10, "seconds per run")
	fs.StringVar(&clients, "clients", "1,8,32", "client counts")
	fs.StringVar(&workloads, "workloads", "tpcb,simple,select", "of tpcb, simple (-N), select (-S)")
	fs.StringVar(&modes, "modes", "prepared", "of simple, extended, prepared")
	fs.BoolVar(&o.skipPostgres, "only-meridian", false, "leave PostgreSQL out")
	fs.StringVar(&o.profile, "profile", "", "write CPU profiles of the nodes during each run into this folder")
	fs.IntVar(&o.nodes, "nodes", 3, "number of Meridian nodes")
	fs.BoolVar(&tpch, "tpch", false, "run TPC-H against one PostgreSQL server instead of pgbench")
	fs.Float64Var(&o.tpch.scale, "tpch-scale", 0.1, "TPC-H scale factor")
	fs.IntVar(&o.tpch.runs, "tpch-runs", 3, "timed runs of each TPC-H query; the best counts")
	fs.StringVar(&queries, "tpch-queries", "", "the TPC-H queries to run, such as Q1,Q6 (default: all)")
	fs.StringVar(&o.tpch.golden, "tpch-golden", "", "write PostgreSQL's answers to this file instead of measuring")
	fs.BoolVar(&o.tpch.explain, "tpch-explain", false, "print each plan")
	fs.IntVar(&o.idle, "idle", 0, "instead of pgbench, measure what so many idle ranges cost")
	fs.IntVar(&o.load.rows, "load", 0, "instead of pgbench, copy so many rows of 200 bytes into the nodes, and look at splits, balance and counts")
	fs.IntVar(&o.load.batch, "load-batch", 0, "rows of one COPY of -load (default: each client copies its share in one)")
	fs.Int64Var(&o.load.rangeBytes, "load-range-bytes", 64<<20, "ranges of -load split beyond this size")
	index := fs.Bool("index", false, "instead of pgbench, make indexes over the accounts while the first number of -clients run TPC-B")
	ddl := fs.Bool("ddl", false, "instead of pgbench, measure schema changes on an idle cluster")
	failover := fs.Bool("failover", false, "instead of pgbench, kill a region under TPC-B in three ways, as in Figure 5 of the Spanner paper")
	plot := fs.String("plot", "", "file for the plot of -failover, an SVG")
	participants := fs.Bool("participants", false, "instead of pgbench, measure commits over 1 to 200 ranges, as in Table 4 of the Spanner paper")
	connections := fs.Int("connections", 0, "instead of pgbench, open so many idle connections to one node, and 200 active ones beside them")
	overhead := fs.Int("overhead", 0, "instead of pgbench, compare CPU with tracing, with metrics and with neither, in so many turns")
	lag := fs.Bool("lag", false, "instead of pgbench, measure how far the safe time of followers is behind while the first number of -clients run TPC-B")
	geo := fs.Bool("geo", false, "instead of pgbench, measure transactions between three regions far apart, beside what they should take")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if queries != "" {
		o.tpch.queries = strings.Split(queries, ",")
	}
	o.clients, o.workloads, o.modes = strings.Split(clients, ","), strings.Split(workloads, ","), strings.Split(modes, ",")
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "meridian-bench")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.dir = dir
	}
	if *geo {
		return runGeo(ctx, o, out)
	}
	if *index {
		n, err := strconv.Atoi(o.clients[0])
		if err != nil {
			return fmt.Errorf("-clients: %w", err)
		}
		return runIndex(ctx, o, n, out)
	}
	if *lag {
		n, err := strconv.Atoi(o.clients[0])
		if err != nil {
			return fmt.Errorf("-clients: %w", err)
		}
		return runLag(ctx, o, n, out)
	}
	if *failover {
		return runFailover(ctx, o, *plot, out)
	}
	if *participants {
		return runParticipants(ctx, o, out)
	}
	if *connections > 0 {
		return runConnections(ctx, o, *connections, out)
	}
	if *overhead > 0 {
		return runOverhead(ctx, o, o.clients[0], *overhead, out)
	}
	if *ddl {
		return runDDL(ctx, o, out)
	}
	if o.idle > 0 {
		return runIdle(ctx, o, out)
	}
	if o.load.rows > 0 {
		return runLoad(ctx, o, out)
	}
	if tpch {
		return runTPCH(ctx, o, out)
	}
	var systems []system
	m, err := startMeridian(ctx, o)
	if err != nil {
		return err
	}
	defer m.close()
	systems = append(systems, m)
	if !o.skipPostgres {
		p, err := startPostgres(ctx, o, 3)
		if err != nil {
			return err
		}
		defer p.close()
		systems = append(systems, p)
	}
	for _, s := range systems {
		for _, steps := range []string{"dtGvp", "dtgvp"} {
			start := time.Now()
			if _, err := pgbench(ctx, s, "-i", "-q", "-s", strconv.Itoa(o.scale), "-I", steps); err != nil {
				return fmt.Errorf("initialise %s with -I %s: %w", s.name(), steps, err)
			}
			loaded := time.Since(start)
			if err := settle(ctx, s); err != nil {
				return err
			}
			fmt.Fprintf(out, "init %-10s -I %s scale %d: %.1f s, and %.1f s until its background work was done\n",
				s.name(), steps, o.scale, loaded.Seconds(), (time.Since(start) - loaded).Seconds())
		}
	}
	var broken []error // what went wrong in single runs; the others go on
	failures := 0
	fmt.Fprintf(out, "\n| workload | mode | clients | system | tps | latency ms | cpu ms/txn | fsyncs/txn | failed |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, w := range o.workloads {
		for _, mode := range o.modes {
			for _, c := range o.clients {
				var tps []float64
				for _, s := range systems {
					r, err := measure(ctx, o, s, w, mode, c)
					if err != nil {
						if ctx.Err() != nil {
							return err
						}
						broken = append(broken, fmt.Errorf("%s %s -M %s -c %s: %w", s.name(), w, mode, c, err))
						fmt.Fprintf(out, "| %s | %s | %s | %s | error | | | | |\n", w, mode, c, s.name())
						continue
					}
					if failures += r.failed; r.failed > 0 {
						broken = append(broken, fmt.Errorf("%s %s -M %s -c %s: %d transactions failed", s.name(), w, mode, c, r.failed))
					}
					tps = append(tps, r.tps)
					fmt.Fprintf(out, "| %s | %s | %s | %s | %.0f | %.3f | %.3f | %.2f | %d |\n",
						w, mode, c, s.name(), r.tps, r.latencyMS, r.cpuMS, r.fsyncs, r.failed)
				}
				if len(tps) == 2 {
					fmt.Fprintf(out, "| %s | %s | %s | **ratio** | **%.2f** | | | | |\n", w, mode, c, tps[0]/tps[1])
				}
			}
		}
	}
	for _, s := range systems {
		if err := balanced(ctx, s); err != nil {
			broken = append(broken, fmt.Errorf("%s: %w", s.name(), err))
		}
	}
	if err := commitLatency(ctx, o, m, systems, out); err != nil {
		return fmt.Errorf("commit latency: %w", err)
	}
	fmt.Fprintf(out, "\n%d runs went wrong, %d transactions failed\n", len(broken), failures)
	return errors.Join(broken...)
}

// balanced checks what every pgbench workload keeps: the balances of the accounts are the history's.
func balanced(ctx context.Context, s system) error {
	conn, err := pgx.Connect(ctx, s.target()[0])
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var accounts, history int64
	if err := conn.QueryRow(ctx, `select (select sum(abalance) from pgbench_accounts), (select coalesce(sum(delta), 0) from pgbench_history)`).
		Scan(&accounts, &history); err != nil {
		return err
	}
	if accounts != history {
		return fmt.Errorf("accounts hold %d, the history adds up to %d", accounts, history)
	}
	return nil
}

// settle waits until the servers have finished what a load leaves behind (compactions, checkpoints, moving of
// staged writes): two seconds with less than a tenth of a core. It gives up waiting after three minutes.
func settle(ctx context.Context, s system) error {
	const step = time.Second
	before, err := s.cpu()
	if err != nil {
		return err
	}
	for quiet, waited := 0, time.Duration(0); quiet < 2 && waited < 3*time.Minute; waited += step {
		select {
		case <-time.After(step):
		case <-ctx.Done():
			return ctx.Err()
		}
		now, err := s.cpu()
		if err != nil {
			return err
		}
		if quiet++; now-before > step/10 {
			quiet = 0
		}
		before = now
	}
	return nil
}

type result struct {
	tps, latencyMS, cpuMS, fsyncs float64
	failed                        int
}

var workloadFlags = map[string][]string{"tpcb": nil, "simple": {"-N"}, "select": {"-S"}}

func measure(ctx context.Context, o options, s system, workload, mode, clients string) (result, error) {
	flags, ok := workloadFlags[workload]
	if !ok {
		return result{}, fmt.Errorf("unknown workload %q", workload)
	}
	args := append([]string{"-n", "-M", mode, "-c", clients, "-j", "1", "-T", strconv.Itoa(o.seconds)}, flags...)
	if m, ok := s.(*meridian); ok && o.profile != "" {
		path := filepath.Join(o.profile, fmt.Sprintf("%s-%s-%s-n%%d.pprof", workload, mode, clients))
		go m.saveProfile(ctx, path, o.seconds-1)
	}
	cpu0, err := s.cpu()
	if err != nil {
		return result{}, err
	}
	sync0, err := s.fsyncs(ctx)
	if err != nil {
		return result{}, err
	}
	out, err := pgbench(ctx, s, args...)
	if err != nil {
		return result{}, err
	}
	cpu1, err := s.cpu()
	if err != nil {
		return result{}, err
	}
	sync1, err := s.fsyncs(ctx)
	if err != nil {
		return result{}, err
	}
	var r result
	if r.tps, err = figure(out, `tps = ([0-9.]+)`); err != nil {
		return result{}, err
	}
	if r.latencyMS, err = figure(out, `latency average = ([0-9.]+)`); err != nil {
		return result{}, err
	}
	txns, err := figure(out, `number of transactions actually processed: ([0-9]+)`)
	if err != nil {
		return result{}, err
	}
	failed, err := figure(out, `number of failed transactions: ([0-9]+)`)
	if err != nil {
		return result{}, err
	}
	r.failed = int(failed)
	r.cpuMS = float64(cpu1-cpu0) / float64(time.Millisecond) / txns
	r.fsyncs = (sync1 - sync0) / txns
	return r, nil
}

func figure(out, pattern string) (float64, error) {
	m := regexp.MustCompile(pattern).FindStringSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("pgbench printed no %q:\n%s", pattern, out)
	}
	return strconv.ParseFloat(m[1], 64)
}

func pgbench(ctx context.Context, s system, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "pgbench", append(args, s.target()...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("pgbench %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// meridian is three node processes.
type meridian struct{ c *proc.Cluster }

func startMeridian(ctx context.Context, o options) (*meridian, error) {
	dir := filepath.Join(o.dir, "meridian")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	c, err := proc.Start(ctx, proc.Config{Binary: o.binary, Dir: dir, Nodes: o.nodes})
	if err != nil {
		return nil, err
	}
	return &meridian{c}, nil
}

func (m *meridian) name() string     { return "meridian" }
func (m *meridian) target() []string { return []string{m.c.Nodes[0].URL()} }
func (m *meridian) close()           { m.c.Close() }

func (m *meridian) cpu() (time.Duration, error) {
	var sum time.Duration
	for _, n := range m.c.Nodes {
		d, err := n.CPU()
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

func (m *meridian) fsyncs(ctx context.Context) (float64, error) {
	return m.c.Nodes[0].Metric(ctx, "meridian_range_log_fsyncs_total")
}

// saveProfile writes a CPU profile of every node; %d in path is the node.
func (m *meridian) saveProfile(ctx context.Context, path string, seconds int) {
	for i, n := range m.c.Nodes {
		go func() {
			page, err := n.HTTP(ctx, fmt.Sprintf("/debug/pprof/profile?seconds=%d", max(1, seconds)))
			if err == nil {
				err = os.WriteFile(fmt.Sprintf(path, i+1), []byte(page), 0o644)
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, "profile:", err)
			}
		}()
	}
}

// postgres is one server, or a primary with two synchronous standbys.
type postgres struct {
	bin   string
	dirs  []string
	ports []string
	user  []string // prefix that runs a command as an unprivileged user
}

func startPostgres(ctx context.Context, o options, servers int) (*postgres, error) {
	p := &postgres{bin: o.pgbin}
	if p.bin == "" {
		found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
		if len(found) == 0 {
			return nil, errors.New("no PostgreSQL server found: install it, name it with -postgres, or use -only-meridian")
		}
		p.bin = found[len(found)-1]
	}
	root := filepath.Join(o.dir, "postgres")
	if err := os.MkdirAll(root, 0o777); err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 { // PostgreSQL refuses to run as root
		p.user = []string{"runuser", "-u", "postgres", "--"}
		for dir := root; dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
			_ = os.Chmod(dir, 0o777)
		}
	}
	for i := range servers {
		port, err := proc.FreePort()
		if err != nil {
			return nil, err
		}
		p.ports = append(p.ports, port)
		p.dirs = append(p.dirs, filepath.Join(root, fmt.Sprintf("pg%d", i)))
	}
	if err := p.exec(ctx, "initdb", "-D", p.dirs[0], "-U", "postgres", "-A", "trust", "--no-sync"); err != nil {
		return nil, err
	}
	conf := "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nmax_wal_senders = 10\nwal_level = replica\n" +
		"max_connections = 200\nshared_buffers = '512MB'\nmax_wal_size = '4GB'\n" +
		"synchronous_commit = on\n"
	if servers > 1 {
		conf += "synchronous_standby_names = 'ANY 1 (pg1, pg2)'\n"
	}
	if err := p.exec(ctx, "sh", "-c", fmt.Sprintf("printf %%s \"$1\" >> %s/postgresql.conf", p.dirs[0]), "conf", conf); err != nil {
		return nil, err
	}
	for i, dir := range p.dirs {
		if i > 0 {
			conn := fmt.Sprintf("host=127.0.0.1 port=%s user=postgres application_name=pg%d", p.ports[0], i)
			if err := p.exec(ctx, "pg_basebackup", "-D", dir, "-R", "-c", "fast", "--no-sync", "-d", conn); err != nil {
				p.close()
				return nil, err
			}
		}
		if err := p.exec(ctx, "pg_ctl", "-D", dir, "-w", "-l", dir+".log", "-o", "-p "+p.ports[i], "start"); err != nil {
			p.close()
			return nil, err
		}
	}
	return p, nil
}

func (p *postgres) exec(ctx context.Context, name string, args ...string) error {
	if path := filepath.Join(p.bin, name); name != "sh" {
		name = path
	}
	full := append(append([]string{}, p.user...), append([]string{name}, args...)...)
	cmd := exec.CommandContext(ctx, full[0], full[1:]...)
	cmd.Dir = "/"
	// pg_ctl leaves the server behind with our pipes: give it files instead.
	log, err := os.CreateTemp("", "pg")
	if err != nil {
		return err
	}
	defer os.Remove(log.Name())
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%s: %w\n%s", name, err, text)
	}
	return nil
}

func (p *postgres) name() string { return "postgres" }

func (p *postgres) target() []string {
	return []string{"postgres://postgres@127.0.0.1:" + p.ports[0] + "/postgres?sslmode=disable"}
}

func (p *postgres) close() {
	for i := range p.dirs {
		_ = p.exec(context.Background(), "pg_ctl", "-D", p.dirs[i], "-m", "immediate", "stop")
	}
}

// cpu adds up each postmaster, its living children, and the children it has reaped.
func (p *postgres) cpu() (time.Duration, error) {
	var sum time.Duration
	for _, dir := range p.dirs {
		pidfile, err := os.ReadFile(filepath.Join(dir, "postmaster.pid"))
		if err != nil {
			return 0, err
		}
		pid, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(string(pidfile), "\n", 2)[0]))
		if err != nil {
			return 0, err
		}
		d, err := proc.TreeCPU(pid)
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

func (p *postgres) fsyncs(ctx context.Context) (float64, error) {
	out, err := exec.CommandContext(ctx, "psql", append([]string{"-Atc", "select wal_sync from pg_stat_wal"}, p.target()...)...).Output()
	if err != nil {
		return 0, fmt.Errorf("pg_stat_wal: %w", err)
	}
	return strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
}
