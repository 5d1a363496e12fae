import { h, legend, meter, pill, s, seconds, table, td, tn, tr } from "./lib.js";
import { regionColour, state } from "./data.js";
import { nodeTag } from "./tags.js";

// What each node knows of the time: its interval as a band that moves, and the samples that it was made from.

const SHOWN = 120; // samples across the band

const colours = { good: "good", liar: "bad", inconsistent: "bad", unreachable: "warn", "no majority": "warn" };
const colourOf = (src) => (src.age < 0 ? "dim" : colours[src.verdict] || "dim");

export function time() {
  const nodes = state.cluster.nodes, bounds = [];
  for (const n of nodes) for (const x of (state.history["clock" + n.id] || []).slice(-SHOWN)) if (x) bounds.push(x.bound);
  bounds.sort((a, b) => a - b);
  // One scale for all nodes, so that they can be compared. A moment far wider than the others is cut off.
  const reach = Math.max(1e-6, Math.min(bounds[bounds.length - 1] || 0, 5 * (bounds[bounds.length >> 1] || 0))) * 1.1;
  const least = nodes.filter((n) => n.answered && n.clock.synced).map((n) => n.clock.bound).sort((a, b) => a - b);
  return [
    h("section", { class: "card" }, h("h2", {}, "What each node knows of the time"),
      h("p", { class: "note" }, "True time lies in the band. A commit waits until the band has passed its timestamp; a node whose band grows wider than its ceiling, or that finds itself at odds with its sources or peers, fences itself and serves nothing.",
        least.length > 1 && ` Now the bounds are between ${seconds(least[0])} and ${seconds(least[least.length - 1])}.`),
      legend(["var(--good)", "a source that agrees with the majority"], ["var(--bad)", "a liar, ignored"], ["var(--warn)", "not heard from lately"], ["var(--accent)", "the node's interval"])),
    h("div", { class: "grid clocks" }, nodes.map((n) => clock(n, reach))),
  ];
}

function clock(n, reach) {
  const c = n.clock, level = !n.answered ? "bad" : c.fenced ? "bad" : !c.synced ? "warn" : "good";
  const text = !n.answered ? "does not answer" : c.fenced ? "fenced" : !c.synced ? "not synchronised" : "serving by its clock";
  return h("section", { class: "card clock" },
    h("div", { class: "clock-head" }, nodeTag(n.id), h("span", { class: "dim" }, n.region), pill(level, text)),
    n.answered && c.fenced && h("p", { class: "bad flat" }, c.fenced),
    n.answered && [
      h("div", { class: "figure" }, "± ", seconds(c.bound), h("small", {}, `of at most ${seconds(c.maxBound)}`)),
      meter(c.bound / c.maxBound, c.bound > c.maxBound / 2 ? "var(--warn)" : "var(--accent)", `${(100 * c.bound / c.maxBound).toFixed(1)} % of the ceiling`),
      band(n, reach), sources(n)]);
}

// band draws the interval over the last minutes, relative to where its middle is now: how wide it was, and how it moved.
function band(n, reach) {
  const list = (state.history["clock" + n.id] || []).slice(-SHOWN), W = 480, H = 96, middle = H / 2;
  const x = (i) => W - (list.length - 1 - i) * (W / (SHOWN - 1)), clip = (v) => Math.max(2, Math.min(H - 2, v));
  const y = (v) => clip(middle - (v / reach) * (middle - 4));
  const svg = s("svg", { class: "band", viewBox: `0 0 ${W} ${H}`, preserveAspectRatio: "none", role: "img", "aria-label": `The interval of node ${n.id}: ${seconds(n.clock.bound)} to either side` });
  svg.append(s("path", { class: "axis", d: `M0 ${middle}H${W}` }));
  let run = [];
  const flush = () => {
    if (run.length) {
      const right = run[run.length - 1].x + W / (SHOWN - 1), up = run.map((p) => `${p.x.toFixed(1)} ${p.high.toFixed(1)}`), down = run.map((p) => `${p.x.toFixed(1)} ${p.low.toFixed(1)}`).reverse();
      const end = run[run.length - 1];
      svg.append(s("path", { fill: end.fenced ? "var(--bad)" : regionColour(n.region), class: "interval", d: `M${up.join("L")}L${right} ${end.high}L${right} ${end.low}L${down.join("L")}Z` }));
    }
    run = [];
  };
  list.forEach((p, i) => {
    if (!p) { flush(); return; }
    if (run.length && run[run.length - 1].fenced !== p.fenced) flush();
    const moved = p.offset - n.clock.offset;
    run.push({ x: x(i), high: y(moved + p.bound), low: y(moved - p.bound), fenced: p.fenced });
  });
  flush();
  return h("div", { class: "band-box" }, svg, h("span", { class: "tick top" }, "+" + seconds(reach)), h("span", { class: "tick low" }, "−" + seconds(reach)), h("span", { class: "tick right" }, "now"));
}

function sources(n) {
  const list = n.clock.sources || [], reach = Math.max(n.clock.bound * 6, 1e-6);
  return table([{ t: "Source" }, { t: "Sample against the interval" }, { t: "Bound", n: 1 }, { t: "Age", n: 1 }],
    list.slice(0, 16).map((x) => tr(
      td(h("code", {}, x.name.replace(/^ntp:\/\//, "")), h("div", { class: "small " + colourOf(x) }, x.verdict, x.error && h("span", { class: "dim" }, ": " + x.error))),
      td(sample(n, x, reach)), tn(x.age >= 0 ? "± " + seconds(x.bound) : "–"), tn(x.age >= 0 ? seconds(x.age) : "–"))), "no sources", `time sources of node ${n.id}`);
}

function sample(n, src, reach) {
  const W = 160, H = 18, x = (v) => W / 2 + (Math.max(-reach, Math.min(reach, v - n.clock.offset)) / reach) * (W / 2 - 3);
  const svg = s("svg", { class: "sample", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": src.age < 0 ? "no sample" : `offset ${seconds(src.offset - n.clock.offset)} from the middle of the interval, ${seconds(src.bound)} to either side` });
  svg.append(s("rect", { x: x(n.clock.offset - n.clock.bound), y: 0, width: Math.max(2, x(n.clock.offset + n.clock.bound) - x(n.clock.offset - n.clock.bound)), height: H, fill: "var(--accent)", opacity: 0.28 }));
  if (src.age < 0) return svg;
  const colour = `var(--${colourOf(src)})`;
  svg.append(s("path", { d: `M${x(src.offset - src.bound)} ${H / 2}H${x(src.offset + src.bound)}`, stroke: colour, "stroke-width": 2.5, "stroke-linecap": "round" }),
    s("circle", { cx: x(src.offset), cy: H / 2, r: 3.2, fill: colour }));
  return svg;
}
