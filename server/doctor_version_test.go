package server

import (
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	ranges "github.com/meridian-db/meridian/range"
)

// TestDoctorVersions: the doctor says when this build does not fit the cluster, when its members run several builds, and who
// holds the version back.
func TestDoctorVersions(t *testing.T) {
	now := func(id int, build string, newest ClusterVersion) NodeRecord {
		return NodeRecord{ID: ranges.NodeID(id), Build: build, OldestVersion: oldestVersion, NewestVersion: newest}
	}
	for _, tc := range []struct {
		name    string
		cluster ClusterVersion
		members []NodeRecord
		want    []string
	}{
		{"as it should be", newestVersion, []NodeRecord{now(1, "a", newestVersion), now(2, "a", newestVersion)}, []string{"ok: knows cluster versions"}},
		{"too old", newestVersion + 1, nil, []string{"FAIL: it is too old"}},
		{"mixed", newestVersion, []NodeRecord{now(1, "a", newestVersion), now(2, "b", newestVersion), now(3, "a", newestVersion)},
			[]string{"ok: knows", "warn: several builds: a (n1, n3); b (n2)"}},
		{"held back", newestVersion - 1, []NodeRecord{now(1, "a", newestVersion), now(2, "a", newestVersion-1)}, []string{"ok: knows", "warn: n2 hold the cluster below version"}},
		{"not known yet", 0, nil, nil},
	} {
		got := versionFindings(tc.cluster, tc.members, false)
		if len(got) != len(tc.want) {
			t.Errorf("%s: %+v", tc.name, got)
			continue
		}
		for i, w := range tc.want {
			level, text, _ := strings.Cut(w, ": ")
			if got[i].Level.String() != level || !strings.Contains(got[i].Text, text) || level != "ok" && got[i].Fix == "" {
				t.Errorf("%s: %+v, want %s", tc.name, got[i], w)
			}
		}
	}
}

// TestDoctorReadsVersions: what the store remembers of the cluster is what is judged, and the store stays as it is.
func TestDoctorReadsVersions(t *testing.T) {
	fs := vfs.NewMem()
	if err := fs.MkdirAll("s", 0o755); err != nil {
		t.Fatal(err)
	}
	cfg := Config{FS: fs, Store: "s", Insecure: true, Logger: testLogger(t)}
	id := Identity{ClusterID: newUUID(), NodeID: 1, StoreID: newUUID()}
	if err := id.Save(fs, "s"); err != nil {
		t.Fatal(err)
	}
	r := newRegistry(fs, "s", 1, cfg.Logger)
	r.mergeVersion(newestVersion + 5)
	before, err := fs.List("s")
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	diagnoseVersions(cfg, func(l Level, area, fix, format string, args ...any) { said = append(said, l.String()+" "+area) })
	if len(said) != 1 || said[0] != "FAIL versions" {
		t.Errorf("said %q of a cluster that is newer than this build", said)
	}
	if after, err := fs.List("s"); err != nil || len(after) != len(before) {
		t.Errorf("the store has %q, before %q (%v)", after, before, err)
	}
}

// TestFoundedAtNewestVersion: what a new cluster's first statements may use does not wait for the member loop.
func TestFoundedAtNewestVersion(t *testing.T) {
	if v := startNode(t, func(c *Config) { c.Insecure = true }).registry.version(); v != newestVersion {
		t.Errorf("a node that has just founded a cluster serves it at version %d, want %d", v, newestVersion)
	}
}
