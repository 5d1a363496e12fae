"use strict";

// The page asks for /api/cluster every second, keeps the last minutes of what it draws as lines, and renders the
// selected view anew each time. Nothing is written back.

const KEEP = 180;            // samples of history
const PERIOD = 1000;         // ms between samples
const SVG = "http://www.w3.org/2000/svg";

const state = { cluster: null, previous: null, error: "", view: "overview", sort: "total", history: {}, heat: new Map() };

const views = {
  overview: { title: "Overview", draw: overview },
  time: { title: "Time", draw: time },
  ranges: { title: "Ranges", draw: ranges },
  statements: { title: "Statements", draw: statements },
  activity: { title: "Activity", draw: activity },
  placement: { title: "Placement", draw: placement },
  settings: { title: "Settings", draw: settings },
};

// ---- elements

function make(el, attrs, children) {
  for (const [k, v] of Object.entries(attrs || {})) {
    if (v === undefined || v === null || v === false) continue;
    if (k.startsWith("on")) el.addEventListener(k.slice(2), v);
    else if (k === "css") for (const [p, x] of Object.entries(v)) el.style.setProperty(p, x);
    else el.setAttribute(k, v === true ? "" : v);
  }
  for (const c of children.flat(Infinity)) if (c !== null && c !== undefined && c !== false) el.append(c);
  return el;
}
const h = (tag, attrs, ...children) => make(document.createElement(tag), attrs, children);
const s = (tag, attrs, ...children) => make(document.createElementNS(SVG, tag), attrs, children);

// ---- numbers

function count(n) {
  if (!isFinite(n)) return "–";
  if (n >= 1e9) return (n / 1e9).toFixed(1) + " G";
  if (n >= 1e6) return (n / 1e6).toFixed(1) + " M";
  if (n >= 1e4) return (n / 1e3).toFixed(1) + " k";
  return n >= 100 || Number.isInteger(n) ? Math.round(n).toString() : n.toFixed(1);
}
function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) { n /= 1024; i++; }
  return (i && n < 100 ? n.toFixed(1) : Math.round(n)) + " " + units[i];
}
function seconds(t) {
  const a = Math.abs(t);
  if (!isFinite(t)) return "–";
  if (a === 0) return "0";
  if (a < 1e-6) return (t * 1e9).toFixed(0) + " ns";
  if (a < 1e-3) return (t * 1e6).toFixed(a < 1e-5 ? 1 : 0) + " µs";
  if (a < 1) return (t * 1e3).toFixed(a < 1e-1 ? 2 : 0) + " ms";
  if (a < 120) return t.toFixed(1) + " s";
  if (a < 7200) return Math.round(t / 60) + " min";
  return a < 172800 ? (t / 3600).toFixed(1) + " h" : Math.round(t / 86400) + " d";
}
const plural = (n, one, many) => `${count(n)} ${n === 1 ? one : many || one + "s"}`;
const since = (t) => (new Date(state.cluster.now) - new Date(t)) / 1000;

// ---- what is derived from two samples

function total(cluster, name) {
  return cluster.nodes.reduce((sum, n) => sum + ((n.metrics || {})[name] || 0), 0);
}
// rate sums the growth of a counter node by node: one that restarted, or did not answer, counts from zero.
function rate(name) {
  const { cluster, previous } = state;
  if (!previous) return NaN;
  const dt = (new Date(cluster.now) - new Date(previous.now)) / 1000;
  if (dt <= 0) return NaN;
  let sum = 0;
  for (const n of cluster.nodes) {
    const before = previous.nodes.find((p) => p.id === n.id);
    if (!n.metrics || !before || !before.metrics) continue;
    const d = (n.metrics[name] || 0) - (before.metrics[name] || 0);
    if (d > 0) sum += d;
  }
  return sum / dt;
}
function remember(name, value) {
  const list = state.history[name] || (state.history[name] = []);
  list.push(isFinite(value) ? value : null);
  if (list.length > KEEP) list.shift();
}
function observe() {
  const c = state.cluster;
  const commits = rate("meridian_gateway_commits_total");
  remember("statements", rate("meridian_sql_statements_total"));
  remember("commits", commits);
  remember("errors", rate("meridian_sql_errors_total"));
  remember("wait", commits > 0 ? rate("meridian_txn_commit_wait_seconds_sum") / commits : 0);
  remember("fsyncs", rate("meridian_range_log_fsyncs_total"));
  remember("cpu", rate("process_cpu_seconds_total"));
  for (const n of c.nodes) remember("bound" + n.id, n.answered && n.clock.synced ? n.clock.bound : NaN);
  const dt = state.previous ? (new Date(c.now) - new Date(state.previous.now)) / 1000 : 0;
  const seen = new Set();
  for (const r of c.ranges) {
    seen.add(r.id);
    const before = state.heat.get(r.id) || { applied: r.applied, rates: [] };
    before.rates.push(dt > 0 ? Math.max(0, r.applied - before.applied) / dt : 0);
    if (before.rates.length > 60) before.rates.shift();
    before.applied = r.applied;
    state.heat.set(r.id, before);
  }
  for (const id of state.heat.keys()) if (!seen.has(id)) state.heat.delete(id);
}

const regionNames = () => [...new Set(state.cluster.nodes.map((n) => n.region))].sort();
function regionColour(name) {
  const i = regionNames().indexOf(name);
  return i < 0 ? "var(--dim)" : `var(--r${i % 8})`;
}
const nodeOf = (id) => state.cluster.nodes.find((n) => n.id === id);
function regionTag(name) {
  return h("span", { class: "tag" }, h("i", { css: { background: regionColour(name) } }), name);
}
function nodeTag(id) {
  const n = nodeOf(Number(id));
  return h("span", { class: "tag", title: n ? n.region : "unknown" },
    h("i", { css: { background: n ? regionColour(n.region) : "var(--dim)" } }), "n" + id);
}
// wanted is how many voters a range should have: three, or as many nodes as there are.
const wanted = () => Math.min(3, state.cluster.nodes.length);
function sick(r) {
  const alive = (r.replicas || []).filter((id) => (nodeOf(id) || {}).live).length;
  if (!r.leader) return "no leader";
  return alive < wanted() ? `${alive} of ${wanted()} replicas live` : "";
}

// ---- health

function problems() {
  const c = state.cluster, list = [];
  for (const n of c.nodes) {
    if (!n.live) list.push(["bad", `node ${n.id} (${n.region}) is down`]);
    else if (n.problem) list.push(["bad", `node ${n.id}: ${n.problem}`]);
    else if (!n.answered) list.push(["warn", `node ${n.id} does not answer`]);
    else if (n.draining) list.push(["warn", `node ${n.id} is draining`]);
    if (n.answered) for (const src of n.clock.sources || [])
      if (src.verdict === "liar") list.push(["warn", `node ${n.id}: time source ${src.name} lies`]);
  }
  const leaderless = c.ranges.filter((r) => !r.leader).length;
  const under = c.ranges.filter((r) => r.leader && sick(r)).length;
  if (leaderless) list.push(["bad", `${plural(leaderless, "range")} without leader`]);
  if (under) list.push(["warn", `${plural(under, "range")} with too few live replicas`]);
  return list;
}
function drawHealth() {
  const box = document.getElementById("health"), now = document.getElementById("now");
  let level = "good", text = "all is well";
  if (state.error) [level, text] = ["bad", state.error];
  else if (state.cluster) {
    const p = problems();
    if (p.length) [level, text] = [p.some((x) => x[0] === "bad") ? "bad" : "warn", p[0][1] + (p.length > 1 ? `, and ${p.length - 1} more` : "")];
  } else [level, text] = ["", "connecting"];
  if (box.dataset.text !== level + text) { // a screen reader speaks changes only
    box.dataset.text = level + text;
    box.replaceChildren(h("i", { class: "dot " + level }), h("span", {}, text));
  }
  if (!state.cluster) return;
  const me = nodeOf(state.cluster.node);
  now.replaceChildren(h("b", {}, new Date(state.cluster.now).toISOString().replace("T", " ").slice(0, 23)), " ± ",
    h("b", {}, me && me.answered ? seconds(me.clock.bound) : "?"), ` at node ${state.cluster.node}`);
}

// ---- pieces

function spark(values) {
  const v = (values || []).map((x) => x || 0), top = Math.max(...v, 1e-12);
  const svg = s("svg", { class: "spark", viewBox: `0 0 ${KEEP - 1} 100`, preserveAspectRatio: "none", "aria-hidden": "true" });
  if (v.length < 2) return svg;
  const points = v.map((x, i) => `${KEEP - v.length + i} ${(96 - 90 * x / top).toFixed(1)}`);
  svg.append(s("path", { class: "area", d: `M${KEEP - v.length} 100L${points.join("L")}L${KEEP - 1} 100Z` }), s("path", { d: "M" + points.join("L") }));
  return svg;
}
function figure(label, value, unit, history, title) {
  return h("section", { class: "card", title }, h("div", { class: "label" }, label),
    h("div", { class: "figure" }, value, unit && h("small", {}, unit)), history && spark(history));
}
const last = (name) => { const l = state.history[name]; return l && l.length && l[l.length - 1] !== null ? l[l.length - 1] : NaN; };
function table(head, rows, none) {
  if (!rows.length) return h("p", { class: "empty" }, none);
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "table" }, h("table", {},
    h("thead", {}, h("tr", {}, head.map((x) => h("th", { class: x.n && "n", scope: "col", "aria-sort": x.sorted && "descending" }, x.el || x.t)))),
    h("tbody", {}, rows)));
}
const td = (...c) => h("td", {}, ...c), tn = (...c) => h("td", { class: "n" }, ...c);

// ---- overview

function overview() {
  const c = state.cluster, live = c.nodes.filter((n) => n.live).length;
  const bounds = c.nodes.filter((n) => n.answered && n.clock.synced).map((n) => n.clock.bound);
  const under = c.ranges.filter(sick).length;
  const p = problems();
  return [
    p.length > 0 && h("section", { class: "card" }, h("h2", {}, "Needs attention"),
      p.map(([level, text]) => h("div", {}, h("i", { class: "dot " + level }), " ", text))),
    h("div", { class: "grid cards" },
      figure("Statements", count(last("statements")), "/s", state.history.statements),
      figure("Commits", count(last("commits")), "/s", state.history.commits),
      figure("Commit wait after replication", seconds(last("wait")), "mean", state.history.wait, "What a commit still waits for its timestamp to pass once it is replicated"),
      figure("Log fsyncs", count(last("fsyncs")), "/s", state.history.fsyncs),
      figure("CPU", isFinite(last("cpu")) ? last("cpu").toFixed(2) : "–", "cores", state.history.cpu),
      figure("Nodes", `${live}`, `of ${c.nodes.length} live`),
      figure("Ranges", count(c.ranges.length), under ? `${under} need replicas` : "all replicated"),
      figure("Clock uncertainty", bounds.length ? seconds(Math.max(...bounds)) : "–", "worst node")),
    h("div", { class: "grid two" },
      h("section", { class: "card" }, h("h2", {}, "Regions"), globe()),
      h("section", { class: "card" }, h("h2", {}, "Nodes"), nodesTable())),
    h("p", { class: "dim" }, "Cluster ", h("code", {}, c.id), ", Meridian ", c.version),
  ];
}

function nodesTable() {
  const rows = state.cluster.nodes.map((n) => {
    const m = n.metrics || {};
    const [level, text] = !n.live ? ["bad", "down"] : n.problem ? ["bad", "not serving"] : n.draining ? ["warn", "draining"] : n.answered ? ["good", "serving"] : ["warn", "silent"];
    return h("tr", {}, td(nodeTag(n.id), h("span", { class: level }, text)), h("td", { class: "nowrap" }, n.region, h("div", { class: "dim" }, "zone " + n.zone)), td(h("code", {}, n.sqlAddr)),
      tn(n.answered ? `${m.meridian_range_leaders || 0} / ${m.meridian_range_replicas || 0}` : "–"), tn(n.answered ? count(m.meridian_sql_sessions || 0) : "–"),
      tn(n.answered ? bytes(m.process_resident_memory_bytes || 0) : "–"), tn(seconds(since(n.started))));
  });
  return table([{ t: "Node" }, { t: "Region" }, { t: "SQL" }, { t: "Leads / replicas", n: 1 }, { t: "Sessions", n: 1 }, { t: "Memory", n: 1 }, { t: "Up", n: 1 }], rows, "no nodes");
}

// globe puts the regions on a circle, with the round trips between them.
function globe() {
  const names = regionNames(), W = 460, H = 340, cx = W / 2, cy = H / 2, R = 112;
  const svg = s("svg", { class: "globe", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "Regions and the round-trip times between them" });
  for (const rx of [R, R * 0.72, R * 0.3]) svg.append(s("ellipse", { class: "graticule", cx, cy, rx, ry: R }));
  for (const k of [-0.5, 0, 0.5]) { const y = cy + R * k, x = Math.sqrt(R * R - (y - cy) ** 2); svg.append(s("path", { class: "graticule", d: `M${cx - x} ${y}H${cx + x}` })); }
  const at = (i) => {
    const a = -Math.PI / 2 + (2 * Math.PI * i) / names.length;
    return names.length === 1 ? [cx, cy] : [cx + R * Math.cos(a), cy + R * Math.sin(a)];
  };
  const nodes = state.cluster.nodes;
  names.forEach((a, i) => names.forEach((b, j) => {
    if (j <= i) return;
    const rtts = [], ups = [];
    for (const n of nodes) for (const p of n.peers || []) {
      const o = nodeOf(p.node);
      if (!o || !((n.region === a && o.region === b) || (n.region === b && o.region === a))) continue;
      ups.push(p.connected);
      if (p.connected && p.rtt > 0) rtts.push(p.rtt);
    }
    if (!ups.length) return;
    const [x1, y1] = at(i), [x2, y2] = at(j), up = ups.some(Boolean);
    svg.append(s("path", { class: up ? "link" : "link down", d: `M${x1} ${y1}L${x2} ${y2}` }));
    const text = rtts.length ? seconds(rtts.sort((p, q) => p - q)[rtts.length >> 1]) : up ? "" : "no connection";
    svg.append(s("text", { class: "t-dim", x: (x1 + x2) / 2, y: (y1 + y2) / 2 - 4, "text-anchor": "middle" }, text));
  }));
  names.forEach((name, i) => {
    const [x, y] = at(i), here = nodes.filter((n) => n.region === name);
    const up = here.filter((n) => n.live && !n.problem).length;
    svg.append(s("circle", { cx: x, cy: y, r: 15, fill: "var(--card)", stroke: up ? regionColour(name) : "var(--bad)", "stroke-width": 3 }));
    svg.append(s("text", { x, y: y + 4, "text-anchor": "middle" }, `${up}/${here.length}`));
    const below = y >= cy - 1;
    svg.append(s("text", { x, y: below ? y + 31 : y - 22, "text-anchor": "middle" }, name));
  });
  return svg;
}

// ---- time

function time() {
  const nodes = state.cluster.nodes.filter((n) => n.answered);
  const reach = Math.max(1e-6, ...nodes.map((n) => Math.abs(n.clock.offset) + n.clock.bound),
    ...nodes.flatMap((n) => (n.clock.sources || []).filter((x) => x.age >= 0 && x.verdict === "good").map((x) => Math.abs(x.offset) + x.bound))) * 1.15;
  return [
    h("section", { class: "card" }, h("h2", {}, "What each node knows of the time"),
      h("p", { class: "dim" }, "The band is the interval that contains true time, relative to the host's wall clock; thin lines are the samples it was made from. Commits wait until the interval has passed their timestamp."),
      h("div", { class: "legend" }, [["var(--good)", "agrees with the majority"], ["var(--bad)", "lies, ignored"], ["var(--dim)", "no sample"]].map(([c, t]) => h("span", {}, h("i", { css: { background: c } }), t)))),
    state.cluster.nodes.map((n) => h("section", { class: "card" },
      h("h2", {}, nodeTag(n.id), " ", regionTag(n.region), " ",
        !n.answered ? h("span", { class: "bad" }, "does not answer") : n.clock.fenced ? h("span", { class: "bad" }, "fenced: " + n.clock.fenced)
          : h("span", {}, "± ", seconds(n.clock.bound), h("span", { class: "dim" }, ` of at most ${seconds(n.clock.maxBound)}`))),
      n.answered && [band(n, reach), spark(state.history["bound" + n.id]), sources(n)])),
  ];
}

function band(n, reach) {
  const list = (n.clock.sources || []).slice(0, 12), W = 900, top = 34, H = top + 16 * list.length + 8;
  const x = (v) => W / 2 + (Math.max(-reach, Math.min(reach, v)) / reach) * (W / 2 - 60);
  const svg = s("svg", { class: "band", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `Interval of node ${n.id}: offset ${seconds(n.clock.offset)}, bound ${seconds(n.clock.bound)}` });
  svg.append(s("path", { d: `M${W / 2} 4V${H - 4}`, stroke: "var(--line)" }));
  for (const v of [-reach, reach]) svg.append(s("text", { class: "t-dim", x: x(v), y: 12, "text-anchor": v < 0 ? "end" : "start" }, (v > 0 ? "+" : "") + seconds(v)));
  if (n.clock.synced) svg.append(s("rect", { class: "live", x: x(n.clock.offset - n.clock.bound), y: 14, width: Math.max(2, x(n.clock.offset + n.clock.bound) - x(n.clock.offset - n.clock.bound)), height: 14, rx: 3,
    fill: n.clock.fenced ? "var(--bad)" : regionColour(n.region), opacity: .85 }));
  list.forEach((src, i) => {
    const y = top + 16 * i + 6, colour = src.age < 0 ? "var(--dim)" : src.verdict === "good" ? "var(--good)" : "var(--bad)";
    if (src.age >= 0) svg.append(s("path", { d: `M${x(src.offset - src.bound)} ${y}H${x(src.offset + src.bound)}`, stroke: colour, "stroke-width": 3, "stroke-linecap": "round" }),
      s("circle", { cx: x(src.offset), cy: y, r: 3.5, fill: colour }));
  });
  return svg;
}

function sources(n) {
  return h("details", {}, h("summary", {}, plural((n.clock.sources || []).length, "source")),
    table([{ t: "Source" }, { t: "Verdict" }, { t: "Offset", n: 1 }, { t: "Bound", n: 1 }, { t: "Sample's age", n: 1 }],
      (n.clock.sources || []).map((x) => h("tr", {}, td(h("code", {}, x.name)), td(h("span", { class: x.verdict === "good" ? "good" : "bad" }, x.verdict), x.error && h("div", { class: "dim" }, x.error)),
        tn(x.age >= 0 ? seconds(x.offset) : "–"), tn(x.age >= 0 ? seconds(x.bound) : "–"), tn(x.age >= 0 ? seconds(x.age) : "–"))), "no sources"));
}

// ---- ranges

function ranges() {
  const list = [...state.cluster.ranges].sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : a.id - b.id));
  const size = list.reduce((n, r) => n + r.size, 0);
  const heatOf = (r) => { const x = (state.heat.get(r.id) || {}).rates || []; return x.length ? x[x.length - 1] : 0; };
  const shown = list.slice(0, 500);
  return [
    h("section", { class: "card" }, h("h2", {}, `Key space: ${plural(list.length, "range")}, ${bytes(size)}`),
      h("div", { class: "legend" }, regionNames().map((r) => h("span", {}, h("i", { css: { background: regionColour(r) } }), r, " leads ", count(list.filter((x) => (nodeOf(x.leader) || {}).region === r).length)))),
      strip(list, heatOf)),
    h("section", { class: "card" }, table(
      [{ t: "Range" }, { t: "From" }, { t: "Leader" }, { t: "Replicas" }, { t: "Size", n: 1 }, { t: "Entries /s", n: 1 }, { t: "Safe time behind", n: 1 }],
      shown.map((r) => h("tr", {}, td("r" + r.id, r.quiesced && h("div", { class: "dim" }, "quiet")), td(h("code", {}, r.start || "start")),
        td(r.leader ? nodeTag(r.leader) : h("span", { class: "bad" }, "none")),
        td((r.replicas || []).map(nodeTag), (r.learners || []).map((x) => h("span", { class: "dim" }, "learner ", nodeTag(x))), sick(r) && h("div", { class: "bad" }, sick(r))),
        tn(bytes(r.size)), tn(count(heatOf(r))), tn(seconds(r.lag)))), "no ranges"),
      list.length > shown.length && h("p", { class: "dim" }, `and ${list.length - shown.length} more: select * from meridian.ranges`)),
  ];
}

// strip draws the key space: a segment for each range, as wide as the root of its size, over a minute of heat.
function strip(list, heatOf) {
  const W = 1200, heatRows = 30, H = 40 + heatRows * 2 + 22, weights = list.map((r) => Math.sqrt(r.size) + 40), sum = weights.reduce((a, b) => a + b, 0);
  const svg = s("svg", { class: "strip", viewBox: `0 0 ${W} ${H}`, preserveAspectRatio: "none", role: "img", "aria-label": `Key space of ${list.length} ranges, coloured by the leader's region, with the log entries of the last minute below` });
  const hottest = Math.max(1, ...list.map((r) => Math.max(0, ...((state.heat.get(r.id) || {}).rates || []))));
  let x = 0;
  list.forEach((r, i) => {
    const w = (weights[i] / sum) * W, leader = nodeOf(r.leader);
    const seg = s("rect", { class: "seg" + (sick(r) ? " sick" : ""), x, y: 0, width: w, height: 34, rx: 2, fill: leader ? regionColour(leader.region) : "var(--bad)", opacity: r.quiesced ? .55 : .95 });
    seg.append(s("title", {}, `r${r.id} from ${r.start || "the start"}\n${bytes(r.size)}, leader n${r.leader}, ${count(heatOf(r))} entries/s`));
    svg.append(seg);
    const rates = (state.heat.get(r.id) || {}).rates || [];
    if (list.length <= 300) for (let k = 0; k < rates.length; k += 2) {
      const v = Math.max(rates[k], rates[k + 1] || 0);
      if (v > 0) svg.append(s("rect", { x, y: 40 + (heatRows - 1 - (rates.length - 1 - k >> 1)) * 2, width: Math.max(.5, w - 1), height: 2, fill: "var(--accent)", opacity: (.15 + .85 * Math.log1p(v) / Math.log1p(hottest)).toFixed(2) }));
    }
    x += w;
  });
  svg.append(s("text", { class: "t-dim", x: 0, y: H - 4 }, "log entries of the last minute; now is at the bottom"));
  return svg;
}

// ---- statements

const sortings = {
  calls: { t: "Calls", of: (x) => x.calls }, total: { t: "Total", of: (x) => x.total }, mean: { t: "Mean", of: (x) => x.mean },
  p99: { t: "p99", of: (x) => x.p99 }, rows: { t: "Rows", of: (x) => x.rows }, retries: { t: "Retries", of: (x) => x.retries }, failures: { t: "Failed", of: (x) => x.failures },
};
function statements() {
  const by = sortings[state.sort], list = [...(state.cluster.statements || [])].sort((a, b) => by.of(b) - by.of(a));
  const head = [{ t: "Statement" }, { t: "Where its time went" }, ...Object.entries(sortings).map(([key, o]) => ({
    n: 1, sorted: key === state.sort, el: h("button", { type: "button", class: "sort", "data-key": "sort-" + key, onclick: () => { state.sort = key; draw(); }, "aria-label": "sort by " + o.t }, o.t, key === state.sort ? " ↓" : ""),
  })), { t: "Latency" }];
  return h("section", { class: "card" },
    h("h2", {}, "Statements of all nodes since they started"),
    h("div", { class: "legend" }, [["--lock", "waiting for locks"], ["--repl", "replication"], ["--wait", "commit wait after that"], ["--rest", "all else"]].map(([c, t]) => h("span", {}, h("i", { css: { background: `var(${c})` } }), t))),
    table(head, list.map((x) => h("tr", {}, td(statementText(x.text || "(empty)"), x.database && h("span", { class: "dim" }, x.database)), td(split(x)),
      tn(count(x.calls)), tn(seconds(x.total)), tn(seconds(x.mean)), tn(seconds(x.p99)), tn(count(x.rows)), tn(count(x.retries)),
      h("td", { class: x.failures ? "n bad" : "n" }, count(x.failures)), td(histogram(x.histogram || [])))), "no statement has run yet"));
}
// statementText shows the beginning of a long statement, all of it while it has the focus.
function statementText(text) {
  let hash = 0;
  for (let i = 0; i < text.length; i++) hash = (hash * 31 + text.charCodeAt(i)) | 0;
  return h("code", { class: "sql", ...(text.length > 160 && { class: "sql long", tabindex: 0, title: text, "data-key": "q" + hash }) }, text);
}
function split(x) {
  const parts = [["--lock", x.lockWait, "locks"], ["--repl", x.replication, "replication"], ["--wait", x.commitWait, "commit wait"]];
  const rest = Math.max(0, x.total - parts.reduce((n, p) => n + p[1], 0));
  const all = [...parts, ["--rest", rest, "else"]], sum = all.reduce((n, p) => n + p[1], 0) || 1;
  const text = all.filter((p) => p[1] > 0).map((p) => `${p[2]} ${Math.round(100 * p[1] / sum)} %`).join(", ");
  return h("div", { class: "bar", title: text, role: "img", "aria-label": text }, all.map((p) => h("div", { css: { width: `${100 * p[1] / sum}%`, background: `var(${p[0]})` } })));
}
function histogram(counts) {
  const W = 96, top = Math.max(1, ...counts), svg = s("svg", { viewBox: `0 0 ${W} 22`, width: W, height: 22, role: "img", "aria-label": "histogram of latencies from 16 µs to 134 s" });
  counts.forEach((n, i) => { if (n) svg.append(s("rect", { x: i * 4, y: 22 - 20 * n / top - 1, width: 3, height: 20 * n / top + 1, fill: "var(--accent)" }, s("title", {}, `under ${seconds(16e-6 * 2 ** i)}: ${count(n)}`))); });
  return svg;
}

// ---- activity

function activity() {
  const c = state.cluster, locks = c.locks || [];
  const waits = locks.filter((l) => !l.granted), short = (id) => id.slice(-12);
  return [
    h("section", { class: "card" }, h("h2", {}, "Sessions"), table(
      [{ t: "Session" }, { t: "Client" }, { t: "State" }, { t: "For", n: 1 }, { t: "Last statement" }],
      (c.sessions || []).map((x) => h("tr", {}, td(x.pid, h("div", { class: "dim" }, `${x.user} on ${x.database}`)), td(h("code", {}, x.client), h("div", { class: "dim" }, x.application)),
        td(h("span", { class: x.state === "active" ? "good" : x.state.includes("aborted") ? "bad" : x.state.startsWith("idle in") ? "warn" : "dim" }, x.state)), tn(seconds(Math.max(0, since(x.since)))), td(h("code", { class: "sql" }, x.statement)))), "no client is connected")),
    h("section", { class: "card" }, h("h2", {}, "Transactions that hold locks"), table(
      [{ t: "Transaction" }, { t: "Gateway" }, { t: "State" }, { t: "Age", n: 1 }, { t: "Ranges", n: 1 }, { t: "Statement" }],
      (c.transactions || []).map((x) => h("tr", {}, td(h("code", {}, short(x.id)), x.pid ? h("div", { class: "dim" }, "session " + x.pid) : null), td(nodeTag(x.node)), td(x.state), tn(seconds(Math.max(0, since(x.since)))), tn(count(x.ranges)), td(h("code", { class: "sql" }, x.statement)))), "none right now")),
    h("section", { class: "card" }, h("h2", {}, "Who waits for whom"), waits.length > 0 && waitGraph(waits, locks, short), table(
      [{ t: "Key" }, { t: "Waits" }, { t: "Mode" }, { t: "Held by" }],
      waits.map((w) => h("tr", {}, td("r" + w.range, " ", h("code", {}, w.key)), td(h("code", {}, short(w.transaction))), td(w.mode),
        td([...new Set(locks.filter((l) => l.granted && l.range === w.range && l.key === w.key).map((l) => short(l.transaction)))].map((t) => h("div", {}, h("code", {}, t)))))), "no transaction waits for a lock")),
    h("section", { class: "card" }, h("h2", {}, "Jobs"), table(
      [{ t: "Job" }, { t: "State" }, { t: "Progress", n: 1 }, { t: "Since", n: 1 }],
      (c.jobs || []).map((j) => h("tr", {}, td(j.kind, h("div", { class: "dim" }, j.description)), td(j.state, j.error && h("div", { class: "bad" }, j.error)), h("td", { class: "n" }, Math.round(100 * j.fraction) + " %", h("div", { class: "bar done" }, h("div", { css: { width: `${100 * j.fraction}%`, background: "var(--accent)" } }))), tn(seconds(since(j.started))))), "no jobs")),
  ];
}

// waitGraph draws the transactions that wait and those that they wait for: who holds up others without waiting itself is on
// the left, and each transaction right of those that it waits for. A cycle, which is a deadlock about to be broken, is red.
function waitGraph(waits, locks, short) {
  const after = new Map(), holders = (w) => locks.filter((l) => l.granted && l.range === w.range && l.key === w.key && l.transaction !== w.transaction);
  for (const w of waits) for (const l of holders(w)) {
    if (!after.has(w.transaction)) after.set(w.transaction, new Set());
    after.get(w.transaction).add(l.transaction);
    if (!after.has(l.transaction)) after.set(l.transaction, new Set());
  }
  const depth = new Map(), circular = new Set();
  const level = (t, path) => {
    if (path.includes(t)) { for (const x of path.slice(path.indexOf(t))) circular.add(x); return 0; }
    if (!depth.has(t)) depth.set(t, Math.max(0, ...[...after.get(t)].map((o) => 1 + level(o, [...path, t]))));
    return depth.get(t);
  };
  const most = 60, all = [...after.keys()].slice(0, most), columns = [];
  for (const t of all) (columns[level(t, [])] ||= []).push(t);
  if (all.length === 0) return null;
  const W = 150, row = 34, H = Math.max(...columns.map((c) => (c || []).length)) * row + 8, at = new Map();
  columns.forEach((c, i) => (c || []).forEach((t, k) => at.set(t, { x: 8 + i * (W + 70), y: 6 + k * row })));
  const width = columns.length * (W + 70);
  const svg = s("svg", { viewBox: `0 0 ${width} ${H}`, width, height: H, role: "img", "aria-label": `${all.length} transactions; each waits for those that its arrows lead to` },
    s("defs", {}, s("marker", { id: "tip", viewBox: "0 0 8 8", refX: 8, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" }, s("path", { d: "M0 0 8 4 0 8z", fill: "var(--dim)" }))));
  const byId = new Map((state.cluster.transactions || []).map((t) => [t.id, t]));
  for (const [t, p] of at) for (const o of after.get(t)) {
    const q = at.get(o);
    if (!q) continue;
    svg.append(s("path", { d: `M${p.x} ${p.y + 12} C${p.x - 35} ${p.y + 12} ${q.x + W + 35} ${q.y + 12} ${q.x + W} ${q.y + 12}`, fill: "none", stroke: circular.has(t) && circular.has(o) ? "var(--bad)" : "var(--dim)", "marker-end": "url(#tip)" }));
  }
  for (const [t, p] of at) {
    const x = byId.get(t), node = x && nodeOf(x.node);
    svg.append(s("g", {}, s("title", {}, x ? x.statement : "its gateway has not said"),
      s("rect", { x: p.x, y: p.y, width: W, height: 24, rx: 6, fill: "var(--faint)", stroke: circular.has(t) ? "var(--bad)" : node ? regionColour(node.region) : "var(--dim)" }),
      s("text", { x: p.x + 8, y: p.y + 16 }, short(t) + (x ? ` n${x.node}` : ""))));
  }
  return h("div", { class: "scroll" }, svg);
}

// ---- placement

function placement() {
  const c = state.cluster, list = c.decisions || [];
  const counts = new Map();
  for (const d of list) counts.set(d.action, (counts.get(d.action) || 0) + 1);
  return [
    h("section", { class: "card" }, h("h2", {}, "What has been decided about replicas and leaders, and why"),
      h("div", { class: "legend" }, [...counts].sort((a, b) => b[1] - a[1]).map(([k, n]) => h("span", {}, k, " ", h("b", {}, count(n))))),
      table([{ t: "When" }, { t: "Range" }, { t: "Decision" }, { t: "Reason" }, { t: "Outcome" }, { t: "Took", n: 1 }],
        list.map((d) => h("tr", {}, h("td", { class: "nowrap" }, new Date(d.time).toISOString().slice(11, 19), h("div", { class: "dim" }, seconds(Math.max(0, since(d.time))) + " ago")),
          td("r" + d.range), h("td", { class: "value" }, d.action, h("div", { class: "dim" }, d.change)), h("td", { class: "reason" }, d.reason),
          td(h("span", { class: /^(done|ok)?$/.test(d.outcome) ? "good" : "warn" }, d.outcome || "under way")), tn(d.took > 0 ? seconds(d.took) : "–"))),
        "nothing had to be decided since the nodes started")),
    h("p", { class: "dim" }, "Each node keeps what it has decided last in memory; ", h("code", {}, "select * from meridian.placement_log"), " has all of it."),
  ];
}

// ---- settings

function settings() {
  const nodes = state.cluster.nodes.filter((n) => n.settings), names = [...new Set(nodes.flatMap((n) => Object.keys(n.settings)))].sort();
  // What a node has of its own by nature does not count as a difference.
  const own = new Set(["store", "sql-addr", "rpc-addr", "advertise-rpc-addr", "http-addr", "region", "zone", "join", "certs"]);
  const differs = (k) => !own.has(k) && new Set(nodes.map((n) => n.settings[k])).size > 1;
  const odd = names.filter(differs);
  return [
    odd.length > 0 && h("section", { class: "card" }, h("h2", {}, "Not the same on all nodes"), h("p", { class: "warn flat" }, odd.map((k) => "--" + k).join(", "))),
    h("section", { class: "card" }, h("h2", {}, "How the nodes were started"), table(
      [{ t: "Flag" }, ...nodes.map((n) => ({ el: nodeTag(n.id) }))],
      names.map((k) => h("tr", {}, h("td", { class: "nowrap" }, h("code", { class: differs(k) ? "warn" : "" }, "--" + k)),
        nodes.map((n) => h("td", { class: "value" }, n.settings[k] === undefined ? h("span", { class: "dim" }, "–") : h("code", {}, n.settings[k]))))), "no node has answered")),
    h("p", { class: "dim" }, "Secrets are shown as “given”. Settings of databases, roles and sessions: ", h("code", {}, "select * from pg_settings"), ", ", h("code", {}, "\\drds"), " in psql."),
  ];
}

// ---- the page

function draw() {
  drawHealth();
  const main = document.getElementById("main");
  if (!state.cluster) {
    main.replaceChildren(h("p", { class: "empty" }, state.error || "Asking the node …"));
    return;
  }
  // What the reader has opened, scrolled or focused stays so.
  const open = [...main.querySelectorAll("details")].map((d) => d.open), scrolled = [...main.querySelectorAll(".scroll")].map((d) => d.scrollLeft);
  const key = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.key : undefined;
  main.replaceChildren(...[views[state.view].draw()].flat(Infinity).filter(Boolean));
  main.querySelectorAll("details").forEach((d, i) => { if (open[i]) d.open = true; });
  main.querySelectorAll(".scroll").forEach((d, i) => { if (scrolled[i]) d.scrollLeft = scrolled[i]; });
  if (key) { const el = main.querySelector(`[data-key="${key}"]`); if (el) el.focus({ preventScroll: true }); }
}

function show(view) {
  if (!views[view]) view = "overview";
  state.view = view;
  for (const b of document.querySelectorAll("nav button")) {
    const on = b.dataset.view === view;
    b.setAttribute("aria-selected", on);
    b.tabIndex = on ? 0 : -1;
    if (on && b.scrollIntoView) b.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  document.getElementById("main").setAttribute("aria-label", views[view].title);
  draw();
}

function tabs() {
  const nav = document.querySelector("nav"), names = Object.keys(views);
  nav.append(...names.map((v) => h("button", { type: "button", role: "tab", "data-view": v, "aria-controls": "main", onclick: () => { location.hash = v; } }, views[v].title)));
  nav.addEventListener("keydown", (e) => {
    const at = names.indexOf(state.view);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: names.length - 1 }[e.key];
    if (to === undefined) return;
    const next = names[(to + names.length) % names.length];
    location.hash = next;
    nav.querySelector(`[data-view=${next}]`).focus();
    e.preventDefault();
  });
  window.addEventListener("hashchange", () => show(location.hash.slice(1)));
  window.addEventListener("resize", () => { const b = nav.querySelector("[aria-selected=true]"); if (b) b.scrollIntoView({ block: "nearest", inline: "nearest" }); });
}

function theme() {
  const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => { root.dataset.theme = localStorage.getItem("theme") || (dark.matches ? "dark" : "light"); };
  dark.addEventListener("change", apply);
  document.getElementById("theme").addEventListener("click", () => { localStorage.setItem("theme", root.dataset.theme === "dark" ? "light" : "dark"); apply(); });
  apply();
}

// whoami offers to log out where somebody had to log in.
async function whoami() {
  try {
    const resp = await fetch("api/session");
    if (resp.status !== 200) return;
    const user = await resp.text();
    document.querySelector("header").append(h("form", { method: "post", action: "logout", class: "who" }, h("span", { class: "dim" }, user), h("button", { type: "submit" }, "Log out")));
  } catch { /* the node will be asked for the cluster anyway */ }
}

async function poll() {
  if (!document.hidden) {
    try {
      const resp = await fetch("api/cluster", { signal: AbortSignal.timeout(8000) });
      if (resp.status === 401) { location.href = "login"; return; }
      if (!resp.ok) throw new Error((await resp.text()).trim() || resp.statusText);
      const next = await resp.json();
      state.previous = state.cluster;
      state.cluster = next;
      state.error = "";
      observe();
    } catch (e) {
      state.error = e.name === "TypeError" || e.name === "TimeoutError" ? "the node does not answer" : e.message;
    }
    draw();
  }
  setTimeout(poll, PERIOD);
}

theme();
tabs();
show(location.hash.slice(1));
whoami();
poll();
