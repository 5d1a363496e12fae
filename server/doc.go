// Package server is one node: it makes a database of the layers below it, and gives it identity, neighbours,
// sockets and a life from start to drain.
//
//	Server            a process's node: sockets, RPC, HTTP, clock, signals' meaning
//	  └─ Core         the node's database: store, participants, transactions, catalog, SQL; no sockets
//	       over Network (server/rpc, or a simulation), vfs.FS, truetime.Clock
//	Demo              several Servers and their time servers in one process
//
// # What it guarantees
//
//   - A store belongs to one node of one cluster for ever: its IDENTITY file is written before anything else
//     and checked on every start. A store of another cluster, or of a newer format, is refused untouched.
//   - A node serves SQL only while its clock is good and its ranges answer (/readyz).
//   - Stop undoes Start in reverse order: clients leave, leases move away, then layers close from the top.
//   - Every configuration error names the flag and the fix.
//
// # Membership
//
// The registry (registry.go) knows the nodes. The truth is in the database (0x02 'n' nodeID), where the node that
// answers a join request puts it together with the new id; copies travel by gossip and are kept in the store's NODES
// file, so that a cluster that starts from nothing finds itself before the database is there to ask.
//
// # Goroutines
//
// A Server owns the HTTP and SQL listeners' goroutines and the registry's gossip; the layers own theirs.
package server
