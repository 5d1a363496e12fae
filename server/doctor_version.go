package server

import (
	"fmt"
	"slices"
	"strings"
)

// diagnoseVersions looks whether this build can go on with the cluster that the store belongs to, and what the other
// members run, as far as the store remembers.
func diagnoseVersions(cfg Config, say sayFunc) {
	id, _, err := LoadIdentity(cfg.FS, cfg.Store)
	if err != nil {
		return // said already
	}
	r := newRegistry(cfg.FS, cfg.Store, id.NodeID, cfg.Logger)
	r.load()
	var members []NodeRecord
	for _, n := range r.list() {
		if r.member(n.ID) != memberDecommissioned {
			members = append(members, n)
		}
	}
	if r.member(id.NodeID) == memberDecommissioned {
		say(Bad, "--store", "give an empty directory", "node %d has been decommissioned: its store is refused", id.NodeID)
	}
	for _, f := range versionFindings(r.version(), members, id.NodeID == 0) {
		say(f.Level, f.Area, f.Fix, "%s", f.Text)
	}
}

// versionFindings judges this build against a cluster's version, and the builds of its members against each other.
func versionFindings(cluster ClusterVersion, members []NodeRecord, stranger bool) []Finding {
	const area = "versions"
	var out []Finding
	if err := fits(oldestVersion, newestVersion, cluster); err != nil {
		out = append(out, Finding{Bad, area, err.Error(), "the node would be refused; nothing has been changed"})
	} else if cluster != 0 && !stranger {
		out = append(out, Finding{Level: Good, Area: area, Text: fmt.Sprintf("build %s knows cluster versions %d to %d, the cluster is at %d", Version, oldestVersion, newestVersion, cluster)})
	}
	builds := map[string][]string{}
	var holding []string
	for _, n := range members {
		builds[n.Build] = append(builds[n.Build], fmt.Sprintf("n%d", n.ID))
		if _, newest := n.supports(); newest < newestVersion {
			holding = append(holding, fmt.Sprintf("n%d", n.ID))
		}
	}
	if len(builds) > 1 {
		var text []string
		for b, nodes := range builds {
			text = append(text, fmt.Sprintf("%s (%s)", b, strings.Join(nodes, ", ")))
		}
		slices.Sort(text)
		out = append(out, Finding{Doubtful, area, "the members run several builds: " + strings.Join(text, "; "), "finish the upgrade, one node after the other"})
	}
	if len(holding) > 0 {
		out = append(out, Finding{Doubtful, area, fmt.Sprintf("%s hold the cluster below version %d, which this build knows", strings.Join(holding, ", "), newestVersion),
			"upgrade them; decommission those that do not come back"})
	}
	return out
}
