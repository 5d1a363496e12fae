import { card, count, filterBox, filterText, h, legend, note, s, seconds, table, td, tn } from "./lib.js";
import { bucketEdge, state, statementKey } from "./data.js";

// Statements by their text without literals: what they cost, how their latencies are spread, and where the time went.

const SHOWN = 25; // rows until all are asked for
const view = { sort: "total", all: false, open: "" };

const sortings = {
  rate: { t: "Now", of: (x) => state.rates.get(statementKey(x)) || 0 }, calls: { t: "Calls", of: (x) => x.calls }, total: { t: "Total", of: (x) => x.total }, mean: { t: "Mean", of: (x) => x.mean },
  p99: { t: "p99", of: (x) => x.p99 }, rows: { t: "Rows", of: (x) => x.rows }, retries: { t: "Retries", of: (x) => x.retries }, failures: { t: "Failed", of: (x) => x.failures },
};
const phases = (x) => {
  const named = [["--lock", x.lockWait, "waiting for locks"], ["--repl", x.replication, "replication"], ["--wait", x.commitWait, "commit wait after that"]];
  return [...named, ["--rest", Math.max(0, x.total - named.reduce((n, p) => n + p[1], 0)), "all else"]];
};

export function statements() {
  const by = sortings[view.sort], wanted = filterText("statements");
  const list = (state.cluster.statements || []).filter((x) => !wanted || x.text.toLowerCase().includes(wanted) || x.database.toLowerCase().includes(wanted)).sort((a, b) => by.of(b) - by.of(a));
  const head = [{ t: "Statement" }, { t: "Where its time went" }, ...Object.entries(sortings).map(([key, o]) => ({
    n: 1, sorted: key === view.sort,
    el: h("button", { type: "button", class: "sort", "data-key": "sort-" + key, onclick: () => { view.sort = key; state.redraw(); }, "aria-label": "sort by " + o.t }, o.t, key === view.sort ? " ↓" : ""),
  })), { t: "Latency" }];
  const shown = view.all || wanted ? list : list.slice(0, SHOWN);
  return card("Statements of all nodes since they started",
    h("div", { class: "bar-line" }, filterBox("statements", "Filter by text or database", () => state.redraw()),
      legend(...phases({ total: 0 }).map(([c, , t]) => [`var(${c})`, t]))),
    table(head, shown.flatMap((x) => row(x)), wanted ? "no statement is like that" : "no statement has run yet", "statements"),
    shown.length < list.length && h("button", { type: "button", class: "more", "data-key": "all", onclick: () => { view.all = true; state.redraw(); } }, `Show all ${list.length}`),
    note("A line opens. ", h("code", {}, "select * from meridian.statements"), " has the same figures."));
}

function row(x) {
  const key = statementKey(x), open = view.open === key, toggle = () => { view.open = open ? "" : key; state.redraw(); };
  const line = h("tr", { class: "opens", onclick: toggle },
    td(h("button", { type: "button", class: open ? "sql" : "sql folded", "data-key": "q" + key, "aria-expanded": String(open), onclick: (e) => { e.stopPropagation(); toggle(); } }, x.text || "(empty)"),
      x.database && h("span", { class: "dim small" }, x.database)),
    td(split(x)), tn(count(state.rates.get(key) || 0), h("span", { class: "dim" }, " /s")), tn(count(x.calls)), tn(seconds(x.total)), tn(seconds(x.mean)), tn(seconds(x.p99)), tn(count(x.rows)),
    h("td", { class: x.retries ? "n warn" : "n" }, count(x.retries)), h("td", { class: x.failures ? "n bad" : "n" }, count(x.failures)), td(histogram(x.histogram || [], 96, 22)));
  return open ? [line, h("tr", { class: "detail" }, h("td", { colspan: 11 }, detail(x)))] : [line];
}

function detail(x) {
  const fact = (name, value) => [h("dt", {}, name), h("dd", {}, value)];
  return h("div", { class: "grid two flat" },
    h("div", {}, h("h3", {}, "Latencies"), bigHistogram(x.histogram || []),
      h("dl", { class: "facts" }, fact("p50", seconds(x.p50)), fact("p99", seconds(x.p99)), fact("longest", seconds(x.max)), fact("rows a call", count(x.calls ? x.rows / x.calls : 0)), fact("requests to nodes a call", count(x.calls ? x.rpcs / x.calls : 0)))),
    h("div", {}, h("h3", {}, "Where the time of a call goes"),
      h("dl", { class: "facts wide" }, phases(x).map(([c, t, name]) => [
        h("dt", {}, h("i", { css: { background: `var(${c})` } }), name),
        h("dd", {}, seconds(x.calls ? t / x.calls : 0), h("span", { class: "dim" }, ` ${Math.round(100 * t / (x.total || 1))} %`))]))));
}

function split(x) {
  const all = phases(x), sum = all.reduce((n, p) => n + p[1], 0) || 1;
  const text = all.filter((p) => p[1] > 0).map((p) => `${p[2]} ${Math.round(100 * p[1] / sum)} %`).join(", ");
  return h("div", { class: "split", title: text, role: "img", "aria-label": text }, all.map((p) => h("div", { css: { width: `${100 * p[1] / sum}%`, background: `var(${p[0]})` } })));
}

const BUCKETS = 24;
function histogram(counts, W, H) {
  const top = Math.max(1, ...counts), w = W / BUCKETS, svg = s("svg", { class: "histogram", viewBox: `0 0 ${W} ${H}`, width: W, height: H, role: "img", "aria-label": "histogram of latencies from 16 µs to 134 s" });
  counts.forEach((n, i) => {
    if (n) svg.append(s("rect", { x: i * w, y: H - (H - 2) * n / top - 1, width: w * 0.8, height: (H - 2) * n / top + 1 }, s("title", {}, `under ${seconds(bucketEdge(i))}: ${count(n)}`)));
  });
  return svg;
}
function bigHistogram(counts) {
  const first = Math.max(0, counts.findIndex((n) => n > 0) - 1), end = Math.min(BUCKETS, counts.length + 1), part = counts.slice(first, end), n = end - first;
  const W = 480, H = 110, w = W / n, top = Math.max(1, ...part), every = Math.ceil(n / 8);
  const svg = s("svg", { class: "histogram big", viewBox: `0 0 ${W} ${H + 18}`, role: "img", "aria-label": "histogram of latencies" });
  for (let i = 0; i < n; i++) {
    const v = part[i] || 0;
    if (v) svg.append(s("rect", { x: i * w, y: H - (H - 14) * v / top, width: w * 0.86, height: Math.max(1, (H - 14) * v / top) }, s("title", {}, `under ${seconds(bucketEdge(first + i))}: ${count(v)}`)),
      n <= 14 ? s("text", { class: "t-dim", x: (i + 0.43) * w, y: H - (H - 14) * v / top - 3, "text-anchor": "middle" }, count(v)) : "");
    if (i % every === 0) svg.append(s("text", { class: "t-dim", x: (i + 0.86) * w, y: H + 14, "text-anchor": "middle" }, seconds(bucketEdge(first + i))));
  }
  return svg;
}
