package main

// page is what a command's help says besides its flags.
type page struct {
	about    string
	examples []string
	// words are what may follow the command before its flags.
	words []string
}

// pages are by the name of the command's flags.
var pages = map[string]page{
	"demo": {about: `Runs a cluster of three regions in this process, with a time server for each, and prints how to reach it. It is
insecure, listens on loopback, and forgets its data at the end unless --data keeps it. ctrl-C ends it.`,
		examples: []string{"meridian demo", "meridian demo --regions us-east,eu-west,ap-south    # with the distances between these parts of the world",
			"meridian demo --data ./demo --nodes-per-region 2"}},
	"start": {about: `Runs a node until SIGTERM, which drains it, or a second signal. The first node, started with an empty store and
without --join, founds the cluster; the others join through any member. A node that is started again needs the same flags.
It listens on loopback until it is told otherwise, which needs --certs (see meridian cert).`,
		examples: []string{
			"meridian start --insecure --store ./n1                      # alone, to try out",
			"meridian start --store /var/lib/meridian --certs /etc/meridian --region eu-west --zone a \\",
			"    --sql-addr 0.0.0.0:5432 --rpc-addr 10.0.0.1:7433 --join 10.0.1.1:7433,10.0.2.1:7433 \\",
			"    --time-source ntp://10.0.0.10:123,ntp://10.0.0.11:123,ntp://10.0.0.12:123"}},
	"doctor": {about: `Takes the flags of start, looks at everything that the node will depend on (store, disk and its fsync, keys, ports,
certificates, time sources, the members to join and the versions they run) and says what to do. It changes nothing. With --url
it looks at a running cluster too: nodes, builds, cluster version, clocks, ranges. Status 1 if something would keep the node
from coming up or is unsafe.`,
		examples: []string{"meridian doctor --store /var/lib/meridian --certs /etc/meridian --time-source ntp://10.0.0.10:123 --join 10.0.1.1:7433",
			"meridian doctor --url postgres://postgres@10.0.0.1:5432/postgres    # of a running cluster only"}},
	"cert": {words: []string{"ca", "node", "client", "store-key"}},
	"cert ca": {about: "Makes the cluster's certificate authority: ca.crt, which all nodes and clients get, and ca.key, which no node gets.",
		examples: []string{"meridian cert ca --out ca"}},
	"cert node": {about: "Makes a node's --certs directory: ca.crt, node.crt and node.key. A running node takes up replaced files by itself.",
		examples: []string{"meridian cert node --ca ca --out eu-west-1 --host eu-west-1.example.com,10.0.0.1"}},
	"cert client": {about: "Makes a certificate that a role logs in with: ca.crt, client.ROLE.crt and client.ROLE.key.",
		examples: []string{"meridian cert client --ca ca --out app --user app"}},
	"cert store-key": {about: "Makes a key for --store-key. Keep copies of it elsewhere: without it the store is lost.",
		examples: []string{"meridian cert store-key --out /run/keys/store.key"}},
	"timeserver": {about: `Answers SNTP from this host's clock, for networks that reach no other time server. The host's own clock should be
disciplined; one in each region at least.`,
		examples: []string{"meridian timeserver --listen 10.0.0.10:123 --root-dispersion 1ms"}},
	"sql": {about: `A shell for SQL, with editing, history (in $MERIDIAN_HISTORY or ~/.meridian_history) and completion of keywords, tables
and columns by the tab key. Without a terminal it reads statements from its input. URL is a postgres:// URL or a
"host=... user=..." string; without one it is MERIDIAN_SQL_URL, then ` + defaultSQLURL + `. It ends with status 1 when a
command of -c fails, 2 when the server cannot be reached, 3 when --on-error-stop ends a script. \? lists its commands.`,
		examples: []string{"meridian sql", "meridian sql -c 'select * from meridian.nodes' --csv",
			"meridian sql 'postgres://app@eu-west-1/shop?sslmode=verify-full&sslrootcert=ca.crt' -f schema.sql --on-error-stop"}},
	"node": {about: `Shows the nodes of a cluster and takes them out. decommission moves everything off a node for good, and waits for it;
recommission takes that back; drain hands over what a node leads, until it is restarted.`,
		examples: []string{"meridian node status --url postgres://postgres@10.0.0.1:5432/postgres", "meridian node decommission 5"},
		words:    []string{"status", "decommission", "recommission", "drain"}},
	"backup": {about: `Backs up a cluster, a database or a table, consistent at one timestamp, without keeping anybody waiting; or, with
show, reads a backup and compares its checksums. The node of --url does it: file:// is a directory of that node.`,
		examples: []string{"meridian backup --to s3://vault/2026-11-21 --hold 26h",
			"meridian backup --to s3://vault/2026-11-22 --incremental-from s3://vault/2026-11-21 --revision-history --hold 26h",
			"meridian backup show s3://vault/2026-11-22"},
		words: []string{"show"}},
	"backup show": {about: "Says what a backup and those that it goes on from hold, and reads every file of them.",
		examples: []string{"meridian backup show file:///backups/monday"}},
	"restore": {about: `Restores what a backup holds: everything into an empty cluster of any shape, or a database or table into a running
one. Nothing is visible before all of it is.`,
		examples: []string{"meridian restore --from s3://vault/2026-11-22", "meridian restore --from s3://vault/2026-11-22 --database shop --into shop_monday --as-of '2026-11-22 03:04:05Z'"}},
	"debug": {words: []string{"zip"}},
	"debug zip": {about: `Collects what an engineer needs to find out what a cluster does, from all nodes, into one archive: per node status
(build, flags without secrets, clock, disk), log, metrics, goroutines, heap and CPU profile, replicas; nodes, ranges,
placement log, jobs, sessions, statements, transactions and locks of the cluster. It has no rows and no literals; where
ranges meet it has keys. It asks one node's HTTP port and needs neither SQL nor a quorum; nodes that are missing are
named in the archive and here.`,
		examples: []string{"meridian debug zip", "meridian debug zip --http https://10.0.0.1:8080,https://10.0.0.2:8080 --user postgres --ca ca.crt --out case-17.zip"}},
	"workload": {about: `Loads a database and prints rates, latencies and retries as it goes, and a table at the end: bank (transfers; the total must
hold), kv (reads and updates by key), ycsb-a to ycsb-f (the mixes of YCSB), tpcc (the transactions of TPC-C without think
times). --check looks for what must hold: for tpcc the consistency conditions of clause 3.3.2.`,
		examples: []string{"meridian workload bank --init --check", "meridian workload tpcc --init --check --warehouses 10 --clients 10 --time 10m",
			"meridian workload ycsb-a --clients 32 --url postgres://postgres@127.0.0.1:5433/postgres --url postgres://postgres@127.0.0.1:5434/postgres"},
		words: workloads},
	"sim": {about: `Lives through faults in whole simulated clusters, with the real server code on virtual time, and checks the histories of
their clients. A failure prints its seed, a shrunk schedule and a timeline; the same seed lives the same life again.`,
		examples: []string{"meridian sim --hours 100 --parallel 2", "meridian sim --seed 42 --timeline life.txt"}},
	"completion": {about: `Prints a script for a shell, which then completes commands, flags and their values.`,
		examples: []string{"source <(meridian completion bash)                                   # now; or into /etc/bash_completion.d/meridian",
			"meridian completion zsh > \"${fpath[1]}/_meridian\"", "meridian completion fish > ~/.config/fish/completions/meridian.fish"},
		words: []string{"bash", "zsh", "fish"}},
	"version": {about: "Prints the build and the cluster versions that it works with."},
}

// values are what a flag can be, where that is a short list.
var values = map[string][]string{
	"log-level":         {"debug", "info", "warn", "error"},
	"latency":           {"off", "lan", "wan", "world"},
	"simulated-latency": {"off", "lan", "wan", "world"},
}
