// Package partition knows the bounds of partitions: which partition of a table a row belongs to, which bounds
// overlap, and which partitions can hold rows that satisfy some conditions. It knows nothing of tables.
//
// A Set is one level of partitioning: the key's types and the bounds of the partitions at that level. Sets are
// immutable. HASH uses PostgreSQL's hash functions for the types that have one here, so that rows dumped from
// one partition of a PostgreSQL table belong to the partition of the same bound.
package partition
