import { card, count, filterBox, filterText, h, note, plural, s, seconds, table, td, tn, tr } from "./lib.js";
import { nodeOf, regionColour, since, state } from "./data.js";
import { nodeTag } from "./tags.js";

// Transactions in flight, who waits for whom, and the sessions that they come from.

const SHOWN = 100; // sessions
const short = (id) => id.slice(-8);
const levels = (x) => (x === "active" ? "good" : x.includes("aborted") ? "bad" : x.startsWith("idle in") || x === "waiting" ? "warn" : "dim");

export function transactions() {
  const c = state.cluster, locks = c.locks || [], waits = locks.filter((l) => !l.granted);
  const txns = [...(c.transactions || [])].sort((a, b) => since(b.since) - since(a.since)), held = new Map();
  for (const l of locks) if (l.granted) held.set(l.transaction, (held.get(l.transaction) || 0) + 1);
  return [
    card("Who waits for whom", waits.length === 0 ? h("p", { class: "empty" }, "no transaction waits for a lock") : [waitGraph(waits, locks), waitTable(waits, locks)]),
    card(`Transactions that hold locks: ${txns.length}`, table(
      [{ t: "Transaction" }, { t: "Gateway" }, { t: "State" }, { t: "Age", n: 1 }, { t: "Locks", n: 1 }, { t: "Ranges", n: 1 }, { t: "Statement" }],
      txns.map((x) => tr(td(h("code", {}, short(x.id)), x.pid ? h("div", { class: "dim small" }, "session " + x.pid) : null), td(nodeTag(x.node)),
        td(h("span", { class: levels(x.state) }, x.state)), tn(seconds(since(x.since))), tn(count(held.get(x.id) || 0)), tn(count(x.ranges)), td(h("code", { class: "text" }, x.statement)))), "none right now", "transactions")),
    sessions(c.sessions || []),
  ];
}

function sessions(all) {
  const rank = (x) => (x.state === "active" ? 0 : x.state.startsWith("idle in") ? 1 : 2), wanted = filterText("sessions");
  const list = all.filter((x) => !wanted || `${x.pid} ${x.user} ${x.database} ${x.application} ${x.client} ${x.state} ${x.statement}`.toLowerCase().includes(wanted))
    .sort((a, b) => rank(a) - rank(b) || since(b.since) - since(a.since));
  const active = all.filter((x) => x.state === "active").length;
  return card(`Sessions: ${all.length}, ${active} active`, all.length > 10 && filterBox("sessions", "Filter by role, database, client, state or text", () => state.redraw()), table(
    [{ t: "Session" }, { t: "Client" }, { t: "State" }, { t: "For", n: 1 }, { t: "Last statement" }],
    list.slice(0, SHOWN).map((x) => tr(td(x.pid, h("div", { class: "dim small" }, `${x.user} on ${x.database}`)), td(h("code", {}, x.client), h("div", { class: "dim small" }, x.application)),
      td(h("span", { class: levels(x.state) }, x.state)), tn(seconds(since(x.since))), td(h("code", { class: "text" }, x.statement)))), wanted ? "no session is like that" : "no client is connected", "sessions"),
    list.length > SHOWN && note(`and ${list.length - SHOWN} more: `, h("code", {}, "select * from pg_stat_activity")));
}

const holders = (w, locks) => locks.filter((l) => l.granted && l.range === w.range && l.key === w.key && l.transaction !== w.transaction);

function waitTable(waits, locks) {
  return table([{ t: "Key" }, { t: "Waits" }, { t: "Mode" }, { t: "Held by" }],
    waits.slice(0, 50).map((w) => tr(td(h("code", { class: "key" }, w.key), h("div", { class: "dim small" }, "r" + w.range)), td(h("code", {}, short(w.transaction))), td(w.mode),
      td([...new Set(holders(w, locks).map((l) => short(l.transaction)))].map((t) => h("div", {}, h("code", {}, t)))))), "", "lock waits");
}

// waitGraph draws the transactions that wait and those that they wait for: who holds up others without waiting itself is on
// the left, and each transaction right of those that it waits for. A cycle, which is a deadlock about to be broken, is red.
function waitGraph(waits, locks) {
  const after = new Map(), node = (t) => after.get(t) || after.set(t, new Set()).get(t);
  for (const w of waits) for (const l of holders(w, locks)) { node(w.transaction).add(l.transaction); node(l.transaction); }
  const depth = new Map(), circular = new Set();
  const level = (t, path) => {
    if (path.includes(t)) { for (const x of path.slice(path.indexOf(t))) circular.add(x); return 0; }
    if (!depth.has(t)) depth.set(t, Math.max(0, ...[...after.get(t)].map((o) => 1 + level(o, [...path, t]))));
    return depth.get(t);
  };
  const most = 60, columns = [];
  for (const t of [...after.keys()].slice(0, most)) (columns[level(t, [])] ||= []).push(t);
  if (!columns.length) return null;
  const W = 210, GAP = 64, ROW = 46, height = Math.max(...columns.map((c) => (c || []).length)) * ROW + 6, width = columns.length * (W + GAP) - GAP + 8, at = new Map();
  columns.forEach((c, i) => (c || []).forEach((t, k) => at.set(t, { x: 4 + i * (W + GAP), y: 4 + k * ROW })));
  const svg = s("svg", { class: "waits", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `${plural(at.size, "transaction")}; each waits for those that its arrows lead to` },
    s("defs", {}, s("marker", { id: "tip", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" }, s("path", { d: "M0 0 8 4 0 8z", fill: "context-stroke" }))));
  for (const [t, p] of at) for (const o of after.get(t)) {
    const q = at.get(o), bad = circular.has(t) && circular.has(o);
    if (q) svg.append(s("path", { class: bad ? "arrow bad" : "arrow", d: `M${p.x} ${p.y + 19}C${p.x - 32} ${p.y + 19} ${q.x + W + 32} ${q.y + 19} ${q.x + W + 2} ${q.y + 19}`, "marker-end": "url(#tip)" }));
  }
  const known = new Map((state.cluster.transactions || []).map((t) => [t.id, t]));
  for (const [t, p] of at) {
    const x = known.get(t), gateway = x && nodeOf(x.node), text = x ? x.statement : "", colour = circular.has(t) ? "var(--bad)" : gateway ? regionColour(gateway.region) : "var(--dim)";
    svg.append(s("g", {}, s("title", {}, x ? `${text}\n${x.state} for ${seconds(since(x.since))}` : "it began or ended just now"),
      s("rect", { class: "box", x: p.x, y: p.y, width: W, height: 38, rx: 7, stroke: colour }), s("rect", { x: p.x, y: p.y, width: 4, height: 38, rx: 2, fill: colour }),
      s("text", { x: p.x + 12, y: p.y + 15, "font-weight": 600 }, short(t) + (x ? ` at n${x.node}, ${seconds(since(x.since))}` : "")),
      s("text", { class: "t-dim", x: p.x + 12, y: p.y + 30 }, text.length > 30 ? text.slice(0, 29) + "…" : text || (x ? x.state : "it began or ended just now"))));
  }
  return [h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "wait graph" }, svg), after.size > most && note(`and ${after.size - most} more`)];
}
