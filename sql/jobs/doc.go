// Package jobs runs long work that must survive the node it runs on: index builds, validations, backups, restores.
//
// A job is a Record in the system keys, created by the transaction that makes it necessary: a schema change and the
// job that completes it commit together. One node at a time owns a job, under a lease: the record names node, epoch
// and the end of the lease in true time. The owner renews it while it works; when it does not, because the node is
// gone, another node adopts the job under the next epoch and resumes it from its last checkpoint.
//
//	Create ──▶ running ──▶ succeeded
//	             │ ▲  └──▶ reverting ──▶ failed, canceled     (Handler.Revert undoes what was done)
//	      pause  ▼ │ resume
//	             paused
//
// Two owners never work at once as far as anyone can tell: what an owner writes on behalf of a job it commits before
// Run.Until, the end of the lease it holds (kv.Txn.CommitBefore), and the next owner begins after that has passed. So
// work may be repeated, from the last checkpoint, but never undone by an owner that was thought dead. Handlers must
// bear the repetition.
//
// Requests to pause, resume and cancel are written into the record by any node. The owner acts on them at its next
// renewal or checkpoint, which is within Config.Renew.
//
// Goroutines: Registry runs one that looks for jobs to adopt, and two for each job that it owns (the work, and the
// renewal); Stop ends them and gives the leases back, so that other nodes need not wait them out.
package jobs
