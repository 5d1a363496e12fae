package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meridian-db/meridian/server"
)

// runCert is meridian cert ca, node, client and store-key.
func runCert(_ context.Context, args []string, e env) error {
	kind := ""
	if len(args) > 0 {
		kind, args = args[0], args[1:]
	}
	switch kind {
	case "ca", "node", "client", "store-key":
	case "", "help", "-h", "--help":
		fmt.Fprintf(e.stdout, `Usage: meridian cert ca --out DIR            the cluster's certificate authority: ca.crt, ca.key
       meridian cert node --ca DIR --out DIR --host NAMES    a node's --certs directory: ca.crt, node.crt, node.key
       meridian cert client --ca DIR --out DIR --user ROLE    a certificate to log in with: ca.crt, client.ROLE.crt, client.ROLE.key
       meridian cert store-key --out FILE                      a key for --store-key

Keep ca.key away from the nodes: whoever has it can make himself one.
`)
		return nil
	default:
		return &usageError{fmt.Sprintf("cert: %q is not ca, node, client or store-key", kind)}
	}
	if kind == "store-key" {
		return runStoreKey(args, e)
	}
	f := newFlags("cert "+kind, "--out DIR [flags]", e)
	out := f.String("out", "", "directory to write into; created when it does not exist")
	var ca *string
	var hosts list
	var user *string
	days := 365
	switch kind {
	case "ca":
		days = 3650
	case "client":
		ca = f.String("ca", "", "directory with ca.crt and ca.key")
		user = f.String("user", "", "role that may log in with the certificate")
	default:
		ca = f.String("ca", "", "directory with ca.crt and ca.key")
		f.Var(&hosts, "host", "names and addresses by which clients and other nodes reach the node, separated by commas")
	}
	valid := f.Duration("valid", time.Duration(days)*24*time.Hour, "how long the certificate is good")
	if err := f.parse(args); err != nil {
		if errors.Is(err, errHelp) {
			f.help()
			return nil
		}
		return err
	}
	if *out == "" {
		return &server.FlagError{Flag: "out", Problem: "is required", Fix: "give the directory to write into"}
	}
	if kind == "ca" {
		if err := server.IssueCA(*out, *valid); err != nil {
			return err
		}
		fmt.Fprintf(e.stdout, "wrote %s/ca.crt and %s/ca.key\n", *out, *out)
		return nil
	}
	if *ca == "" {
		return &server.FlagError{Flag: "ca", Problem: "is required", Fix: "give the directory that `meridian cert ca` wrote"}
	}
	if kind == "client" {
		if err := server.IssueClient(*ca, *out, *user, *valid); err != nil {
			return err
		}
		fmt.Fprintf(e.stdout, "wrote %s/ca.crt, %s/client.%s.crt and %s/client.%s.key\n", *out, *out, *user, *out, *user)
		return nil
	}
	if err := server.IssueNode(*ca, *out, hosts, *valid); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "wrote %s/ca.crt, %s/node.crt and %s/node.key\n", *out, *out, *out)
	return nil
}

// runStoreKey is meridian cert store-key.
func runStoreKey(args []string, e env) error {
	f := newFlags("cert store-key", "--out FILE", e)
	out := f.String("out", "", "file to write the key to; it must not exist")
	if err := f.parse(args); err != nil {
		if errors.Is(err, errHelp) {
			f.help()
			return nil
		}
		return err
	}
	if *out == "" {
		return &server.FlagError{Flag: "out", Problem: "is required", Fix: "give the file to write to"}
	}
	if err := server.IssueStoreKey(*out); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "wrote %s\n", *out)
	return nil
}
