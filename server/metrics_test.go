package server

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

var metricName = regexp.MustCompile(`\bmeridian_[a-z0-9_]+`)

// TestMetrics: a node's metrics are named by Prometheus' conventions; alerts and dashboard ask for metrics that exist, with
// values of the labels that exist, and each alert has its section in docs/OPERATIONS.md, and no section is of an alert that is gone.
func TestMetrics(t *testing.T) {
	d := startDemo(t, t.TempDir())
	defer d.Stop()
	families, err := d.Servers[0].reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	var names []string
	for _, f := range families {
		names = append(names, f.GetName())
	}
	read := func(path string) string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	alerts, dashboard, doc := read("../deploy/monitoring/alerts.yml"), read("../deploy/monitoring/grafana-dashboard.json"), read("../docs/OPERATIONS.md")
	if !json.Valid([]byte(dashboard)) {
		t.Error("the dashboard is no JSON")
	}
	for what, text := range map[string]string{"alerts": alerts, "dashboard": dashboard, "OPERATIONS.md": doc} {
		for _, name := range metricName.FindAllString(text, -1) {
			base := name
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				base = strings.TrimSuffix(base, suffix)
			}
			// Those with labels are there once there is something to count.
			if !slices.Contains(names, base) && base != "meridian_sql_errors_total" && base != "meridian_certificate_expiry_timestamp_seconds" && base != "meridian_replication_lag_seconds" {
				t.Errorf("%s: no node has %s", what, name)
			}
		}
	}
	var defined []string
	for _, m := range regexp.MustCompile(`(?m)- alert: (\w+)$`).FindAllStringSubmatch(alerts, -1) {
		defined = append(defined, m[1])
		if !strings.Contains(doc, "\n### "+m[1]+"\n") {
			t.Errorf("docs/OPERATIONS.md has no section %s", m[1])
		}
	}
	rules := read("../deploy/monitoring/alerts_test.yml")
	for _, name := range defined {
		if strings.Count(rules, "alertname: "+name) < 2 {
			t.Errorf("alerts_test.yml does not try %s with its trouble and without", name)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^### (Meridian\w+)$`).FindAllStringSubmatch(doc, -1) {
		if !slices.Contains(defined, m[1]) {
			t.Errorf("docs/OPERATIONS.md explains %s, which is no alert", m[1])
		}
	}
}

// TestAlertRules: each alert comes when it should, and none in good order, says Prometheus' own tool where there is one.
func TestAlertRules(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("no promtool")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, args := range [][]string{{"check", "config", "prometheus.yml"}, {"test", "rules", "alerts_test.yml"}} {
		cmd := exec.CommandContext(ctx, promtool, args...)
		cmd.Dir = "../deploy/monitoring"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
