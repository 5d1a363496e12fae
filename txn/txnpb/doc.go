// Package txnpb holds the messages of the transaction protocol. txn.proto is its specification; the Go
// code beside it is generated (make generate). The package imports nothing of this module.
//
// Decoding with UnmarshalVTUnsafe aliases the input buffer: the receiver owns that buffer then, and
// anything kept beyond the request must be copied.
package txnpb
