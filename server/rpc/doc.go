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
// Per peer there is one connection for each class (Raft, requests, bulk), so that a snapshot cannot hold up a
// vote. Raft and requests run on one long-lived gRPC stream each, with our own ids, deadline, cancellation and
// trace context in a small envelope (frame.go): a third of the CPU of unary calls. Many frames travel in one
// gRPC message when there is a crowd. Unary gRPC serves the join request, which comes before membership.
//
//	Call ─▶ peerLink.outbox ─▶ writer goroutine ══ gRPC stream ══▶ reader goroutine ─▶ worker ─▶ Handler
//	  ▲                                                                                          │
//	  └───────────── reader goroutine ◀══════════ gRPC stream ══════ writer goroutine ◀── outbox ┘
//
// A request about transactions whose peer cannot be reached goes through a third node that can (relay.go).
//
// # Goroutines
//
// A link (one peer, one class) owns a dialing loop and, while connected, a writer; the dialing goroutine reads.
// The accepting side has a reader and a writer per stream, and idle workers that run handlers. All end in Close.
//
// Simulated latency (Config.Latency) holds frames back in the sender's outbox, in order. Bulk streams pay it once,
// when they open.
package rpc
