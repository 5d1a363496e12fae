package server

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/meridian-db/meridian/txn/kv"
)

// The cluster version says what the nodes of a cluster may write for each other to read. Each build knows a span of versions
// and announces it with its record. The cluster moves to the newest version that every member knows, by itself, once
// all run a build that does; a build that does not know the cluster's version is refused. So one node after the other
// can be upgraded, and downgraded until the last one has been upgraded.
//
//	1  the beginning
//	2  memberships, reports to the placer
//	3  merges of ranges
//	4  columns whose value in older rows is in the catalog, GIN indexes, extensions
//	5  exclusion constraints, inheritance, rules
//	6  aggregates, operators, casts and event triggers of users
//	7  checks of replicas against each other
//	8  rows that tell which transaction wrote them
//	9  the type hstore
//	10 primary keys that are dropped while their table is in use
const (
	oldestVersion ClusterVersion = 1  // that this build can work with
	newestVersion ClusterVersion = 10 // that it knows

	versionMerges      ClusterVersion = 3
	versionCatalog     ClusterVersion = 4
	versionExclusions  ClusterVersion = 5
	versionDefinitions ClusterVersion = 6
	versionChecks      ClusterVersion = 7
	versionWriters     ClusterVersion = 8
	versionHstore      ClusterVersion = 9
	versionKeyDrops    ClusterVersion = 10
)

// ClusterVersion is a version of what nodes write for each other.
type ClusterVersion uint32

// SupportedVersions returns the cluster versions that this build works with.
func SupportedVersions() (oldest, newest ClusterVersion) { return oldestVersion, newestVersion }

// supports returns the versions that a node has announced. The first builds announced none.
func (r NodeRecord) supports() (oldest, newest ClusterVersion) {
	return max(r.OldestVersion, 1), max(r.NewestVersion, 1)
}

// fits returns why a build that knows the versions cannot be a member of a cluster at another, nil if it can.
func fits(oldest, newest, cluster ClusterVersion) error {
	switch {
	case cluster == 0:
		return nil // not known yet
	case newest < cluster:
		return fmt.Errorf("the cluster is at version %d, this build knows versions %d to %d: it is too old; install the build that the other nodes run", cluster, oldest, newest)
	case oldest > cluster:
		return fmt.Errorf("the cluster is at version %d, this build knows versions %d to %d: it is too new; upgrade by way of a build that knows version %d", cluster, oldest, newest, cluster)
	}
	return nil
}

// checkVersion says why this build cannot go on as a member, nil if it can.
func (s *Server) checkVersion() error {
	if err := fits(oldestVersion, newestVersion, s.registry.version()); err != nil {
		return flagErr("store", err.Error(), "the store has not been changed")
	}
	return nil
}

func versionKey() []byte { return systemKey('v') }

type versionRecord struct {
	Version ClusterVersion `json:"version"`
}

// readVersion returns the cluster's version as the database has it, 1 when nothing is recorded.
func readVersion(ctx context.Context, tx kv.Txn, lock kv.LockMode) (ClusterVersion, error) {
	v, err := tx.Get(ctx, versionKey(), lock, kv.WaitBlock)
	if err != nil || len(v) == 0 {
		return 1, err
	}
	var rec versionRecord
	if err := json.Unmarshal(v, &rec); err != nil || rec.Version == 0 {
		return 0, fmt.Errorf("the record of the cluster's version is damaged: %q", v)
	}
	return rec.Version, nil
}

func putVersion(tx kv.Txn, v ClusterVersion) error {
	b, err := json.Marshal(versionRecord{v})
	if err != nil {
		return err
	}
	return tx.Put(versionKey(), b)
}

// finaliseVersion moves the cluster to the newest version that all members know. Members that are down count: they come
// back with the build they had.
func (s *Server) finaliseVersion(ctx context.Context) error {
	if to := s.commonVersion(s.registry.list()); to <= s.registry.version() {
		return nil
	}
	var now ClusterVersion
	err := inTxn(ctx, s.core.DB, "cluster version", func(tx kv.Txn) (err error) {
		if now, err = readVersion(ctx, tx, kv.LockExclusive); err != nil {
			return err
		}
		// In the transaction that a join or an announcement conflicts with.
		nodes, err := scanNodes(ctx, tx)
		if err != nil {
			return err
		}
		if to := s.commonVersion(nodes); to > now {
			now = to
			return putVersion(tx, to)
		}
		return nil
	})
	if err == nil && s.registry.mergeVersion(now) {
		s.log.Info("the cluster has moved to a new version", "version", now)
	}
	return err
}

// commonVersion is the newest version that all of the nodes know that are still members.
func (s *Server) commonVersion(nodes []NodeRecord) ClusterVersion {
	v := newestVersion
	for _, n := range nodes {
		if s.registry.member(n.ID) != memberDecommissioned && !s.registry.replaced(n) {
			_, newest := n.supports()
			v = min(v, newest)
		}
	}
	return v
}
