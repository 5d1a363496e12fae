// What all views share: elements, numbers and tables. Elements are built by hand: the page has no templates and never parses
// text as markup, so nothing that a client wrote can become part of it.

const SVG = "http://www.w3.org/2000/svg";

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
export const h = (tag, attrs, ...children) => make(document.createElement(tag), attrs, children);
export const s = (tag, attrs, ...children) => make(document.createElementNS(SVG, tag), attrs, children);

// ---- numbers

export function count(n) {
  if (!isFinite(n)) return "–";
  if (n >= 1e9) return (n / 1e9).toFixed(1) + " G";
  if (n >= 1e6) return (n / 1e6).toFixed(1) + " M";
  if (n >= 1e4) return (n / 1e3).toFixed(1) + " k";
  return n >= 100 || Number.isInteger(n) ? Math.round(n).toString() : n.toFixed(1);
}
export function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) { n /= 1024; i++; }
  return (i && n < 100 ? n.toFixed(1) : Math.round(n)) + " " + units[i];
}
// seconds prints a duration with three digits at most, in the unit that suits it.
export function seconds(t) {
  const a = Math.abs(t);
  if (!isFinite(t)) return "–";
  if (a === 0) return "0";
  if (a < 1e-6) return (t * 1e9).toFixed(0) + " ns";
  if (a < 0.9995e-3) return (t * 1e6).toFixed(a < 1e-5 ? 1 : 0) + " µs";
  if (a < 0.9995) return (t * 1e3).toFixed(a < 1e-2 ? 2 : a < 0.1 ? 1 : 0) + " ms";
  if (a < 120) return t.toFixed(a < 10 ? 2 : 1) + " s";
  if (a < 7200) return Math.round(t / 60) + " min";
  return a < 172800 ? (t / 3600).toFixed(1) + " h" : Math.round(t / 86400) + " d";
}
export const plural = (n, one, many) => `${count(n)} ${n === 1 ? one : many || one + "s"}`;

// ---- pieces

export function card(title, ...children) {
  return h("section", { class: "card" }, title && h("h2", {}, title), children);
}
export function note(...children) { return h("p", { class: "note" }, children); }
export function legend(...items) {
  return h("div", { class: "legend" }, items.filter(Boolean).map(([colour, ...text]) => h("span", {}, colour && h("i", { css: { background: colour } }), text)));
}
export function pill(level, text) { return h("span", { class: "pill " + level }, text); }

// table takes columns {t: text | el: element, n: numeric, sorted} and rows. It scrolls sideways by itself where it is too wide.
export function table(columns, rows, none, name) {
  if (!rows.length) return h("p", { class: "empty" }, none);
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name || "table" }, h("table", {},
    h("thead", {}, h("tr", {}, columns.map((x) => h("th", { class: x.n && "n", scope: "col", "aria-sort": x.sorted && "descending" }, x.el || x.t)))),
    h("tbody", {}, rows)));
}
export const tr = (...c) => h("tr", {}, c), td = (...c) => h("td", {}, c), tn = (...c) => h("td", { class: "n" }, c), tnw = (...c) => h("td", { class: "nowrap" }, c);

// spark draws a line over its area. The newest value is on the right; null is a gap. room is how many values fill the width.
export function spark(values, { room = 60, cls = "spark", colour } = {}) {
  const v = values || [], n = Math.max(room, v.length), top = Math.max(...v.map((x) => x || 0), 1e-12);
  const svg = s("svg", { class: cls, viewBox: `0 0 ${n - 1} 100`, preserveAspectRatio: "none", "aria-hidden": "true" });
  if (colour) svg.style.setProperty("--line-colour", colour);
  let run = [];
  const flush = () => {
    if (run.length > 1) {
      svg.append(s("path", { class: "area", d: `M${run[0][0]} 100L${run.map((p) => p.join(" ")).join("L")}L${run[run.length - 1][0]} 100Z` }),
        s("path", { d: "M" + run.map((p) => p.join(" ")).join("L") }));
    }
    run = [];
  };
  v.forEach((x, i) => { if (x === null) flush(); else run.push([n - v.length + i, (97 - 92 * x / top).toFixed(1)]); });
  flush();
  return svg;
}

// meter is a thin bar of which a share is filled.
export function meter(share, colour, title) {
  return h("div", { class: "meter", title }, h("div", { css: { width: `${100 * Math.max(0, Math.min(1, share))}%`, background: colour || "var(--accent)" } }));
}

// filterBox is a search field that outlives redrawing: the same element is put in again, with what was typed.
const boxes = new Map();
export function filterBox(key, label, redraw) {
  if (!boxes.has(key)) boxes.set(key, h("input", { type: "search", class: "filter", placeholder: label, "aria-label": label, "data-key": "filter-" + key, spellcheck: "false", oninput: redraw }));
  return boxes.get(key);
}
export const filterText = (key) => (boxes.has(key) ? boxes.get(key).value.trim().toLowerCase() : "");
