// Package pushdown runs filters, projections and partial aggregates beside the data (DESIGN section 6).
//
// A Program describes how a table's pairs are decoded, which conditions their rows must meet and what is answered for
// those that do: the pair itself, with as much of its value as is wanted, or partial aggregates of groups. The gateway
// encodes it (Program.Append) and sends it along with its reads; a store's Programs runs it over the pairs of each page
// (kv.Programs) and the gateway reads the result (Groups).
//
// # What it guarantees
//
// A program computes what the gateway would: expressions are plan's own, and only those travel that mean the same on
// every node (plan.Shipper). A store that cannot run a program, because another version made it, it is malformed, or a
// row makes an expression fail, says so and answers the pairs themselves; the gateway then evaluates them and raises
// what error there is, in the order of its rows. So there is no protocol for errors, and versions may be mixed.
//
// Programs are checked when they are decoded: no slot is read as another type than it has (I12).
//
// The package starts no goroutines. Programs is safe for concurrent use; decoded programs are cached by their bytes,
// as a scan sends the same one with each page.
package pushdown
