// Command meridian is a node of a Meridian cluster, and the tools around it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"
	_ "time/tzdata" // The image has no zoneinfo.

	"github.com/meridian-db/meridian/server"
)

// version is set by the linker.
var version = "devel"

func main() {
	server.Version = version
	ctx, stop := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		stop()
		// A second signal is from somebody who does not want to wait.
		<-signals
		os.Exit(130)
	}()
	err := run(ctx, os.Args[1:], env{lookup: os.LookupEnv, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr})
	stop()
	var usage *usageError
	var exit interface{ ExitCode() int }
	switch {
	case err == nil:
	case errors.As(err, &exit):
		if msg := err.Error(); msg != "" {
			fmt.Fprintf(os.Stderr, "meridian: %s\n", msg)
		}
		os.Exit(exit.ExitCode())
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "meridian: %v\n", err)
		os.Exit(2)
	default:
		fmt.Fprintf(os.Stderr, "meridian: %v\n", err)
		os.Exit(1)
	}
}

// env is what a command sees of its process.
type env struct {
	lookup         func(string) (string, bool)
	stdin          io.Reader
	stdout, stderr io.Writer
	// flagsOf, when set, takes a command's flags in place of its help.
	flagsOf func(*flags)
}

// command is one subcommand.
type command struct {
	name, args, help string
	run              func(ctx context.Context, args []string, e env) error
}

func subcommands() []command {
	return []command{
		{"demo", "[flags]", "run a cluster of three regions in this process", runDemo},
		{"start", "--store DIR --time-source ntp://HOST:PORT [flags]", "run a node", runStart},
		{"doctor", "[flags of start]", "look at everything that a node will depend on; changes nothing", runDoctor},
		{"cert", "ca|node|client --out DIR", "make certificates for --certs, and for clients", runCert},
		{"timeserver", "--listen HOST:PORT", "answer NTP on a closed network", runTimeserver},
		{"sql", "[URL]", "an interactive SQL shell", func(ctx context.Context, args []string, e env) error {
			return runSQLShell(ctx, args, e)
		}},
		{"node", "status|decommission|recommission|drain [ID] [--url URL]", "look at the nodes of a cluster, and take them out", runNode},
		{"backup", "--to DEST [flags] | show DEST", "back up a cluster, a database or a table; verify a backup", runBackup},
		{"restore", "--from LOCATION [flags]", "restore what a backup holds", runRestore},
		{"debug", "zip [flags]", "collect what an engineer needs from all nodes into one archive", runDebug},
		{"workload", "NAME [flags]", "load a database with bank, kv, ycsb or tpcc, and watch", runWorkload},
		{"sim", "[flags]", "live through faults in simulated clusters and check what clients saw", runSim},
		{"completion", "bash|zsh|fish", "print a script that completes commands and flags", runCompletion},
		{"version", "", "print the version", runVersion},
	}
}

func run(ctx context.Context, args []string, e env) error {
	if len(args) > 1 && args[0] == "help" {
		args = append(slices.Clone(args[1:]), "--help")
	}
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		fmt.Fprintf(e.stdout, "Meridian is a globally distributed SQL database.\n\nUsage: meridian COMMAND\n\n")
		for _, c := range subcommands() {
			fmt.Fprintf(e.stdout, "  %-12s%s\n", c.name, c.help)
		}
		fmt.Fprintf(e.stdout, `
`+"`meridian COMMAND --help`"+` describes a command and its flags. To begin:

  meridian demo       # three regions in this process, and a psql line for each
  meridian sql        # a shell on the first of them

`)
		return nil
	}
	switch args[0] {
	case "--version", "-v":
		return runVersion(ctx, nil, e)
	case "__complete":
		return runComplete(ctx, args[1:], e)
	}
	for _, c := range subcommands() {
		if c.name == args[0] {
			return c.run(ctx, args[1:], e)
		}
	}
	return &usageError{fmt.Sprintf("unknown command %q; `meridian help` lists them", args[0])}
}

func runVersion(_ context.Context, args []string, e env) error {
	if len(args) == 1 && (args[0] == "--help" || args[0] == "-h") {
		newFlags("version", "", e).help()
		return nil
	}
	if len(args) > 0 {
		return &usageError{"version takes no arguments"}
	}
	goVersion, revision := "", ""
	if bi, ok := debug.ReadBuildInfo(); ok {
		goVersion = bi.GoVersion
		for _, s := range bi.Settings {
			if s.Key == "vcs.revision" {
				revision = " " + s.Value
			}
		}
	}
	fmt.Fprintf(e.stdout, "meridian %s%s (%s)\n", version, revision, goVersion)
	oldest, newest := server.SupportedVersions()
	fmt.Fprintf(e.stdout, "cluster versions %d to %d\n", oldest, newest)
	return nil
}
