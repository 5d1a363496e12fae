import { bytes, count, filterBox, filterText, h, legend, meter, note, plural, s, seconds, spark, table, td, tn, tr } from "./lib.js";
import { heatOf, nodeOf, regionColour, regionNames, sick, state } from "./data.js";
import { nodeTag } from "./tags.js";

// The key space: which region leads what and where the replicas are, how large and how busy each range is, and was.

const SHOWN = 300; // rows of the table

export function ranges() {
  const list = inOrder(state.cluster.ranges);
  const size = list.reduce((n, r) => n + r.size, 0), leads = (name) => list.filter((x) => (nodeOf(x.leader) || {}).region === name).length;
  const wanted = filterText("ranges"), found = list.filter((r) => !wanted || `r${r.id} ${title(r)} ${r.start} n${r.leader}`.toLowerCase().includes(wanted));
  const largest = Math.max(1, ...list.map((r) => r.size));
  return [
    h("section", { class: "card" }, h("h2", {}, `Key space: ${plural(list.length, "range")}, ${bytes(size)}`),
      legend(...regionNames().map((r) => [regionColour(r), r, " leads ", count(leads(r))]), [null, "strong: leads, pale: holds a replica"]),
      lanes(list)),
    h("section", { class: "card" }, filterBox("ranges", "Filter by table, key, range or leader", () => state.redraw()), table(
      [{ t: "Range" }, { t: "Begins with" }, { t: "Leader" }, { t: "Replicas" }, { t: "Size", n: 1 }, { t: "Entries", n: 1 }, { t: "Safe time behind", n: 1 }],
      found.slice(0, SHOWN).map((r) => tr(td("r" + r.id, r.quiesced && h("div", { class: "dim small" }, "quiet")),
        td(h("span", {}, title(r)), h("code", { class: "key dim" }, r.start || "")),
        td(r.leader ? nodeTag(r.leader, true) : h("span", { class: "bad" }, "none")),
        td((r.replicas || []).map((x) => nodeTag(x)), (r.learners || []).map((x) => h("span", { class: "dim" }, "learner ", nodeTag(x))), sick(r) && h("div", { class: "bad" }, sick(r))),
        tn(bytes(r.size), meter(r.size / largest)),
        h("td", { class: "n" }, h("div", { class: "with-spark end" }, spark((state.heat.get(r.id) || {}).rates, { cls: "spark inline" }), h("span", {}, count(heatOf(r)), h("span", { class: "dim" }, " /s")))),
        tn(r.lag < 0 ? `closed ${seconds(-r.lag)} ahead` : seconds(r.lag)))), wanted ? "no range is like that" : "no ranges", "ranges"),
      found.length > SHOWN && note(`and ${found.length - SHOWN} more: `, h("code", {}, "select * from meridian.ranges"))),
  ];
}

// inOrder follows the ranges from each one's end to the next one's start: printed keys do not sort as keys do. What no other
// leads to, as while a range splits, comes last.
function inOrder(all) {
  const byStart = new Map(all.map((r) => [r.start, r])), ends = new Set(all.map((r) => r.end)), list = [], seen = new Set();
  for (const first of [...all].sort((a, b) => ends.has(a.start) - ends.has(b.start) || a.id - b.id)) {
    for (let r = first; r && !seen.has(r.id); r = byStart.get(r.end)) { seen.add(r.id); list.push(r); }
  }
  return list;
}

// title names a range by its table.
function title(r) {
  if (r.table) return r.table;
  if (r.start === "" || r.start === "/min" || r.start.startsWith("/meta") || r.start.startsWith("/system")) return "system";
  const table = /^\/table(?:\/(\d+))?$/.exec(r.start);
  return table ? `tables from the ${table[1] ? "id " + table[1] : "first"} on` : "";
}

// lanes draws the key space from left to right, each range as wide as the root of its size: a lane for each region, then the
// sizes, then the heat of the last minute with now at the bottom.
function lanes(list) {
  const weights = list.map((r) => Math.sqrt(r.size) + 60), sum = weights.reduce((a, b) => a + b, 0) || 1, W = 1000;
  const cells = [];
  list.reduce((x, r, i) => { const w = (weights[i] / sum) * W; cells.push({ r, x, w }); return x + w; }, 0);
  const gap = list.length > 250 ? 0 : 1.2, label = (text) => h("div", { class: "lane-name" }, text);
  const lane = (height, draw, name) => {
    const svg = s("svg", { class: "lane", viewBox: `0 0 ${W} ${height}`, height, preserveAspectRatio: "none", role: "img", "aria-label": name });
    for (const c of cells) { const el = draw(c); if (el) { el.append(s("title", {}, describe(c.r))); svg.append(el); } }
    return svg;
  };
  const rows = regionNames().flatMap((name) => {
    const here = new Set(state.cluster.nodes.filter((n) => n.region === name).map((n) => n.id));
    return [label(name), lane(16, ({ r, x, w }) => {
      const leads = here.has(r.leader), holds = (r.replicas || []).some((id) => here.has(id));
      return leads || holds ? s("rect", { class: "seg" + (sick(r) ? " sick" : ""), x, y: 0, width: Math.max(0.4, w - gap), height: 16, fill: regionColour(name), opacity: leads ? 1 : 0.26 }) : null;
    }, `ranges with replicas in ${name}`)];
  });
  const leaderless = list.filter((r) => !r.leader);
  if (leaderless.length) rows.push(label("no leader"), lane(16, ({ r, x, w }) => (r.leader ? null : s("rect", { x, y: 0, width: Math.max(0.4, w - gap), height: 16, fill: "var(--bad)" })), "ranges without a leader"));
  const largest = Math.max(1, ...list.map((r) => r.size));
  rows.push(label("size"), lane(40, ({ r, x, w }) => { const y = Math.max(1.5, 40 * Math.sqrt(r.size / largest)); return s("rect", { class: "size", x, y: 40 - y, width: Math.max(0.4, w - gap), height: y }); }, "sizes"));
  rows.push(label("writes"), heat(cells, gap, W));
  return h("div", { class: "lanes" }, rows, h("div"), h("div", { class: "note flat" }, "log entries of the last minute; now is at the bottom"));
}
function describe(r) {
  const leader = nodeOf(r.leader);
  return `r${r.id} ${title(r)}\nfrom ${r.start || "the start"}\n${bytes(r.size)}, ${leader ? `led by n${r.leader} in ${leader.region}` : "without a leader"}, ${count(heatOf(r))} entries/s`;
}

// heat is a canvas: thousands of cells a second would be too much for elements.
function heat(cells, gap, W) {
  const H = 60, el = h("canvas", { class: "lane heat", width: W, height: H, role: "img", "aria-label": "log entries of each range in the last minute" }), g = el.getContext("2d");
  const rates = (r) => (state.heat.get(r.id) || {}).rates || [], hottest = Math.max(1, ...cells.map((c) => Math.max(0, ...rates(c.r))));
  g.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--heat");
  for (const { r, x, w } of cells) {
    const list = rates(r);
    list.forEach((v, i) => {
      if (v <= 0) return;
      g.globalAlpha = 0.12 + 0.88 * Math.log1p(v) / Math.log1p(hottest);
      g.fillRect(x, H - (list.length - i), Math.max(0.5, w - gap), 1);
    });
  }
  return el;
}
