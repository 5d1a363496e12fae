import { bytes, card, count, h, plural, seconds, spark, table, td, tn, tnw, tr, meter } from "./lib.js";
import { last, nodeState, problems, rate, regionColour, regionNames, sick, since, state } from "./data.js";
import { nodeTag, regionTag } from "./tags.js";
import { links, world } from "./world.js";

// The overview: is all well, how much is done how fast, and where.

function figure(label, value, unit, history, title, level) {
  return h("section", { class: "card figure-card", title }, h("div", { class: "label" }, label),
    h("div", { class: "figure" + (level ? " " + level : "") }, value, unit && h("small", {}, unit)), spark(state.history[history]));
}

export function overview() {
  const c = state.cluster, p = problems(), wide = document.getElementById("main").clientWidth;
  const bound = last("bound"), ceiling = Math.min(...c.nodes.filter((n) => n.answered).map((n) => n.clock.maxBound));
  return [
    p.length > 0 && h("section", { class: "card attention" }, h("h2", {}, "Needs attention"),
      h("ul", {}, p.slice(0, 12).map(([level, text]) => h("li", {}, h("i", { class: "dot " + level }), text)), p.length > 12 && h("li", { class: "dim" }, `and ${p.length - 12} more`))),
    h("div", { class: "grid cards" },
      figure("Statements", count(last("statements")), "/s", "statements"),
      figure("Latency, p99", seconds(last("p99")), isFinite(last("p50")) ? `p50 ${seconds(last("p50"))}` : "", "p99", "Of the statements of the last second, at the gateway"),
      figure("Commits", count(last("commits")), "/s", "commits"),
      figure("Retries and errors", count(last("retries")), `/s, ${count(last("errors"))} failed`, "retries", "Statements run again because of a conflict, and those that failed", last("errors") > 0 ? "warn" : ""),
      figure("Commit wait", seconds(last("wait")), "a commit", "wait", "What a commit still waits for its timestamp to pass once it is replicated"),
      figure("Log fsyncs", count(last("fsyncs")), `/s, ${seconds(last("fsync"))} each`, "fsyncs"),
      figure("CPU", isFinite(last("cpu")) ? last("cpu").toFixed(2) : "–", "cores", "cpu", "Of all nodes"),
      figure("Clock uncertainty", seconds(bound), `of ${seconds(ceiling)}`, "bound", "The widest bound among the nodes, and the one at which a node fences itself", bound > ceiling / 2 ? "warn" : "")),
    h("div", { class: "grid map" },
      h("section", { class: "card" }, h("h2", {}, "Regions"), world(wide > 900 ? wide * 7 / 12 : wide)),
      h("section", { class: "card" }, h("h2", {}, "What they do"), regions())),
    card(`Nodes: ${c.nodes.filter((n) => n.live).length} of ${c.nodes.length} live`, nodes()),
    state.events.length > 0 && card("Since this page was opened", h("ul", { class: "events" },
      state.events.map((e) => h("li", {}, h("time", {}, e.time.toISOString().slice(11, 19)), h("i", { class: "dot " + e.level }), e.text)))),
    h("p", { class: "note" }, "Cluster ", h("code", {}, c.id), ", Meridian ", c.version),
  ];
}

function regions() {
  const c = state.cluster, all = c.ranges.length || 1;
  return [table([{ t: "Region" }, { t: "Nodes", n: 1 }, { t: "Leads", n: 1 }, { t: "Statements", n: 1 }, { t: "Sessions", n: 1 }],
    regionNames().map((name) => {
      const nodes = c.nodes.filter((n) => n.region === name), up = nodes.filter((n) => nodeState(n)[0] === "good").length;
      const leads = c.ranges.filter((r) => nodes.some((n) => n.id === r.leader)).length;
      return tr(td(regionTag(name)), h("td", { class: up < nodes.length ? "n bad" : "n" }, `${up} / ${nodes.length}`),
        tn(`${leads} / ${c.ranges.length}`, meter(leads / all, regionColour(name))), tn(count(rate("meridian_sql_statements_total", nodes)), h("span", { class: "dim" }, " /s")),
        tn(count(nodes.reduce((sum, n) => sum + ((n.metrics || {}).meridian_sql_sessions || 0), 0))));
    }), "no regions", "regions"),
    h("p", { class: "note flat" }, under()), roundTrips()];
}
function roundTrips() {
  const list = links().slice(0, 15);
  return list.length > 0 && h("dl", { class: "trips" }, list.map((l) => h("div", {}, h("dt", {}, `${l.a} – ${l.b}`), h("dd", { class: l.up ? "" : "bad" }, l.up ? seconds(l.rtt) : "no connection"))));
}
function under() {
  const c = state.cluster, n = c.ranges.filter(sick).length;
  const size = c.ranges.reduce((sum, r) => sum + r.size, 0);
  return `${plural(c.ranges.length, "range")}, ${bytes(size)}, ` + (n ? `${n} need replicas` : "all replicated");
}

function nodes() {
  return table([{ t: "Node" }, { t: "Region" }, { t: "SQL" }, { t: "Statements" }, { t: "Leads / replicas", n: 1 }, { t: "Sessions", n: 1 }, { t: "Clock", n: 1 }, { t: "Disk free", n: 1 }, { t: "Memory", n: 1 }, { t: "Up", n: 1 }],
    state.cluster.nodes.map((n) => {
      const m = n.metrics || {}, [level, text] = nodeState(n), here = state.history["node" + n.id], said = (x) => (n.answered ? x : "–");
      return tr(tnw(nodeTag(n.id), h("span", { class: level }, text)), tnw(n.region, h("div", { class: "dim" }, "zone " + n.zone)), td(h("code", {}, n.sqlAddr)),
        td(n.answered && h("div", { class: "with-spark" }, spark(here, { cls: "spark inline", colour: regionColour(n.region) }), h("span", {}, count(last("node" + n.id)), h("span", { class: "dim" }, " /s")))),
        tn(said(`${m.meridian_range_leaders || 0} / ${m.meridian_range_replicas || 0}`)), tn(said(count(m.meridian_sql_sessions || 0))), tn(said("± " + seconds(n.clock.bound))),
        tn(said(m.meridian_store_disk_size_bytes ? Math.round(100 * m.meridian_store_disk_available_bytes / m.meridian_store_disk_size_bytes) + " %" : "–")),
        tn(said(bytes(m.process_resident_memory_bytes || 0))), tn(seconds(since(n.started))));
    }), "no nodes", "nodes");
}
