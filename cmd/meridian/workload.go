package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meridian-db/meridian/cmd/internal/workload"
)

var workloads = []string{"bank", "kv", "tpcc", "ycsb-a", "ycsb-b", "ycsb-c", "ycsb-d", "ycsb-e", "ycsb-f"}

// runWorkload is `meridian workload`: load a database and watch.
func runWorkload(ctx context.Context, args []string, e env) error {
	f := newFlags("workload", strings.Join(workloads, "|")+" [flags]", e)
	var urls []string
	f.Var((*list)(&urls), "url", "postgres:// URL; repeat it and the clients take turns (default postgres://postgres@127.0.0.1:5433/postgres)")
	o := workload.Options{Out: e.stdout}
	f.IntVar(&o.Clients, "clients", 8, "number of clients, one connection each; tpcc: 0 is one for each warehouse")
	f.DurationVar(&o.Time, "time", 10*time.Second, "how long to run; 0s with --init only loads")
	f.Float64Var(&o.Rate, "rate", 0, "operations a second that all clients begin together; 0: as many as they can")
	f.Uint64Var(&o.Seed, "seed", 0, "what the operations are drawn from; 0: another each time")
	f.DurationVar(&o.Every, "every", time.Second, "time between progress lines")
	load := f.Bool("init", false, "make and fill the tables first, replacing those that are there")
	check := f.Bool("check", false, "look for what must hold, at the end")
	rows := f.Int("rows", 10000, "bank: accounts; kv and ycsb: rows")
	reads := f.Float64("reads", 0.9, "kv: share of reads")
	warehouses := f.Int("warehouses", 1, "tpcc: warehouses")
	items := f.Int("items", 100000, "tpcc: items; fewer make it smaller than the standard wants")
	customers := f.Int("customers", 3000, "tpcc: customers, and orders at first, of a district")
	if len(args) > 0 && (args[0] == "--help" || args[0] == "-h") {
		f.help()
		return nil
	}
	if len(args) == 0 || !slices.Contains(workloads, args[0]) {
		return &usageError{"workload: name one of " + strings.Join(workloads, ", ")}
	}
	if err := f.parse(args[1:]); err != nil {
		if errors.Is(err, errHelp) {
			f.help()
			return nil
		}
		return err
	}
	if *rows < 2 || *warehouses < 1 || *items < 20 || *customers < 20 || *reads < 0 || *reads > 1 || o.Clients < 0 || o.Rate < 0 || o.Every <= 0 {
		return &usageError{"workload: --rows is at least 2, --warehouses 1, --items and --customers 20, --reads from 0 to 1, nothing below 0"}
	}
	w := newWorkload(args[0], *rows, *reads, &workload.TPCC{Warehouses: *warehouses, Items: *items, Customers: *customers})
	if o.Clients == 0 {
		o.Clients = 8
		if args[0] == "tpcc" {
			o.Clients = *warehouses
		}
	}
	if o.URLs = urls; len(urls) == 0 {
		o.URLs = []string{"postgres://postgres@127.0.0.1:5433/postgres"}
	}
	conn, err := pgx.Connect(ctx, o.URLs[0])
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if *load {
		began := time.Now()
		if err := w.Init(ctx, conn, e.stdout); err != nil {
			return err
		}
		fmt.Fprintf(e.stdout, "loaded in %.1f s\n", time.Since(began).Seconds())
	}
	if o.Time > 0 {
		if err := workload.Execute(ctx, w, o); err != nil {
			return err
		}
	}
	if !*check {
		return nil
	}
	if err := w.Check(ctx, conn); err != nil {
		return err
	}
	fmt.Fprintln(e.stdout, "\nwhat must hold, holds")
	return nil
}

func newWorkload(name string, rows int, reads float64, tpcc *workload.TPCC) workload.Workload {
	switch name {
	case "bank":
		return &workload.Bank{Accounts: rows}
	case "kv":
		return &workload.YCSB{Mix: 'K', Rows: rows, Read: reads}
	case "tpcc":
		return tpcc
	}
	return &workload.YCSB{Mix: strings.ToUpper(name)[len("ycsb-")], Rows: rows}
}
