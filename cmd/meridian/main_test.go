package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

// try runs a command line and returns what it printed.
func try(vars map[string]string, args ...string) (string, error) {
	var out bytes.Buffer
	err := run(context.Background(), args, env{
		lookup: func(k string) (string, bool) { v, ok := vars[k]; return v, ok },
		stdin:  strings.NewReader(""), stdout: &out, stderr: &out,
	})
	return out.String(), err
}

// TestCommandLine: help lists the flags, and every mistake is named with its flag.
func TestCommandLine(t *testing.T) {
	for _, tc := range []struct {
		vars     map[string]string
		args     string
		out, err string
	}{
		{args: "", out: "timeserver"},
		{args: "help", out: "demo"},
		{args: "version", out: "meridian devel"},
		{args: "version", out: "cluster versions 1 to 10"},
		{args: "node --help", out: "--url"},
		{args: "node", err: "decommission"},
		{args: "node remove 4", err: "unknown command"},
		{args: "node drain", err: "give the node's id"},
		{args: "node decommission n4", err: "is no node id"},
		{args: "start --insecure --store /nowhere/at/all --replace-after 1ms", err: "--replace-after"},
		{args: "start --help", out: "--max-clock-uncertainty"},
		{args: "demo --help", out: "--nodes-per-region"},
		{args: "nonsense", err: "unknown command"},
		{args: "start --bogus", err: "-bogus"},
		{args: "start stray", err: "stray"},
		{args: "start --insecure", err: "--store (MERIDIAN_STORE)"},
		{args: "start --drain-timeout x --insecure", err: "drain-timeout"},
		{vars: map[string]string{"MERIDIAN_DRAIN_TIMEOUT": "x"}, args: "start --insecure", err: "MERIDIAN_DRAIN_TIMEOUT"},
		{vars: map[string]string{"MERIDIAN_STORE": "/nowhere/at/all", "MERIDIAN_JOIN": "x"}, args: "start --insecure", err: "--join"},
		{args: "start --insecure --store /nowhere/at/all --range-max-bytes 5", err: "--range-max-bytes"},
		{args: "start --log-level loud", err: "--log-level"},
		{args: "demo --regions a,a", err: "--regions"},
		{args: "demo --latency none", err: "--latency"},
		{args: "demo --sql-addr 0.0.0.0:1", err: "--sql-addr"},
		{args: "cert", out: "meridian cert node"},
		{args: "cert ca --help", out: "--valid"},
		{args: "cert friend", err: "not ca, node, client or store-key"},
		{args: "cert ca", err: "--out"},
		{args: "cert node --out x", err: "--ca"},
		{args: "cert node --out x --ca /nowhere", err: "--host"},
		{args: "cert node --out x --ca /nowhere --host h", err: "/nowhere/ca.crt"},
		{args: "cert ca --out x --valid 1s", err: "--valid"},
		{args: "workload --help", out: "--warehouses"},
		{args: "workload", err: "ycsb-a"},
		{args: "workload tpcx", err: "tpcc"},
		{args: "workload tpcc --warehouses 0", err: "--warehouses"},
		{args: "doctor --help", out: "--time-source"},
		{args: "doctor --insecure", out: "FAIL  --store", err: "1 problem"},
		{args: "timeserver", err: "--listen"},
		{args: "timeserver --listen 127.0.0.1:0 --stratum 16", err: "--stratum"},
	} {
		out, err := try(tc.vars, strings.Fields(tc.args)...)
		if tc.err == "" && (err != nil || !strings.Contains(out, tc.out)) {
			t.Errorf("%q printed %q, %v; want %q", tc.args, out, err, tc.out)
		}
		if tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
			t.Errorf("%q: error %v, want one about %q", tc.args, err, tc.err)
		}
	}
}
