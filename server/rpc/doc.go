// Package rpc carries everything that nodes say to each other: requests with answers (transactions, lease
// votes, registry), one-way Raft messages, and bulk streams (snapshots). It is generic over bytes; what they
// mean is registered by service number.
//
// # What it guarantees
//
//   - A request is executed at most once. A Call that ends with ErrUnavailable was not executed; one that ends
//     with ErrAmbiguous, or with its context's error, may have been.
//   - Frames of one class from one node to another arrive in order, except Raft frames, of which any may be lost.
//   - Both ends of a connection belong to the same cluster, speak the same protocol version and are who they
//     say they are as far as the certificates go: the handshake refuses the rest with a reason.
//   - A hostile or truncated frame ends its connection with an error; it never crashes the node. All sizes and
//     queues are bounded (I12).
//   - With every ping the peers exchange their clock intervals, which the clock compares with its own (I1).
//
// # How
//
// Per peer there is one lasting connection for requests and one for Raft, so that neither holds up the other; a snapshot and
// a request to join have a connection each (handshake.go). They are TCP's, with mutual TLS over them if there are
// certificates, and carry frames with our own ids, deadline, cancellation and trace context (frame.go). A frame that comes alone is
// written by whoever has it, frames in a crowd share a write (outbox.go), and nobody waits for a peer that does not read
// (socket.go).
//
//	Call ─▶ link.outbox ══▶ reader goroutine ─▶ worker ─▶ Handler
//	  ▲                                                          │
//	  └──────────── reader goroutine ◀══ outbox ◀────────────────┘
//
// A request about transactions whose peer cannot be reached goes through a third node that can (relay.go).
//
// # Goroutines
//
// A link (one peer, one class) owns a dialing loop and, while connected, a writer; the dialing goroutine reads.
// The accepting side has a reader and a writer per connection, and idle workers that run handlers. A bulk stream's dialing
// end has a reader. All end in Close.
//
// Simulated latency (Config.Latency) holds frames back in the sender's outbox, in order. Bulk streams pay it once,
// when they open.
package rpc
