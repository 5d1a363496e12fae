import { card, count, h, legend, note, seconds, table, td, tn, tr } from "./lib.js";
import { since, state } from "./data.js";

// What has been decided about replicas and leaders, and why.

export function placement() {
  const list = state.cluster.decisions || [], counts = new Map();
  for (const d of list) counts.set(d.action, (counts.get(d.action) || 0) + 1);
  return [
    card("What has been decided about replicas and leaders, and why",
      legend(...[...counts].sort((a, b) => b[1] - a[1]).map(([k, n]) => [null, k, " ", h("b", {}, count(n))])),
      table([{ t: "When" }, { t: "Range" }, { t: "Decision" }, { t: "Reason" }, { t: "Outcome" }, { t: "Took", n: 1 }],
        list.map((d) => tr(h("td", { class: "nowrap" }, new Date(d.time).toISOString().slice(11, 19), h("div", { class: "dim small" }, seconds(since(d.time)) + " ago")),
          td("r" + d.range), h("td", { class: "value" }, d.action, h("div", { class: "dim small" }, d.change.replace(/^r\d+: /, ""))), h("td", { class: "reason" }, d.reason),
          td(h("span", { class: /^(done|ok)?$/.test(d.outcome) ? "good" : "warn" }, d.outcome || "under way")), tn(d.took > 0 ? seconds(d.took) : "–"))),
        "Nothing had to be decided since the nodes started.", "decisions")),
    note("Each node keeps the last thousand of its decisions in memory; ", h("code", {}, "select * from meridian.placement_log"), " has all of them."),
  ];
}
