import { s, seconds } from "./lib.js";
import { nodeOf, regionColour, regionNames, state } from "./data.js";

// Where the regions are, with the round trips between them. Regions whose names say which part of the world they are in are
// put on a map of dots, all others on a ring.

// land is the map: a row for each three degrees from 74 north to the south, a bit for each three degrees from the date line
// to the east.
const land = [
  "00001820c03ff000000001fffc0000", "03f8c3c03c1ff0001c001ffffffffc", "e3fffffe063f00007f9fe7ffffffff",
  "03fff7f80c1c0001effffffffffffe", "07fffff838040003cfffffffffff38", "0101fff83e000020cfffffffffe0c0",
  "00007fff3f0000533fffffffffc0c0", "00003fefff800017fffffffffff000", "00001ffdf840001fffffffffffd000",
  "00001ffe7b00000fff777fffff8000", "00003ffff000003cbc77ffffff1000", "00001fffe000007057f3fffff62000",
  "00001fffc000000703fffffff86000", "000007ffc000003f00fffffff00000", "000007ff8000007fdffffffff00000",
  "000001f0000000fffefffffff00000", "000000f0000001ffff787fffe00000", "00000070800001ffff7f1fff000000",
  "0000003e080001ffffbe0f9f000000", "00000006000001ffffb8060f080000", "00000001000001ffffc00603000000",
  "000000009e0001fffff80400000000", "000000003f8000fffff00004000000", "000000003fc00003fff00008200000",
  "000000003fe00001ffe00004600000", "000000007ff80000ffc00002408000", "000000007ffe0000ff800000007000",
  "000000003fff0000ff800000000c00", "000000003fff00007f800000001000", "000000001ffe0000ff80000001d000",
  "000000000ffe0000ff90000007f800", "0000000007fe0000ff1000001ffc00", "000000000ff800007f0000003ffc00",
  "000000000ff000007e0000003ffe00", "000000000fe000003c0000003ffe00", "000000000fe00000380000003cfc00",
  "000000000fc0000000000000003c00", "000000000f00000000000000000800", "000000000e00000000000000000000",
  "000000000c00000000000000000008", "000000000800000000000000000000",
];
const NORTH = 74, STEP = 3;

// Latitude, longitude, and on which side the name stands.
const places = {
  "us-east": [38.9, -77.5, "s"], "us-central": [41.2, -95.9, "n"], "us-west": [40.5, -121.5, "s"], "sa-east": [-23.5, -46.6, "s"],
  "eu-west": [53.3, -6.3, "nw"], "eu-central": [50.1, 8.7, "s"], "eu-north": [59.3, 18, "e"], "me-central": [24.5, 54.4, "s"], "af-south": [-33.9, 18.4, "s"],
  "ap-south": [19.1, 72.9, "s"], "ap-southeast": [1.3, 103.8, "s"], "ap-northeast": [35.7, 139.7, "n"], "au-east": [-33.9, 151.2, "s"],
};
// placeOf knows a region by its name, numbered or not: eu-west, eu-west-1, europe-west4.
function placeOf(name) {
  return places[name.toLowerCase().replace(/^europe/, "eu").replace(/^asia/, "ap").replace(/-?\d+[a-z]?$/, "")];
}

// links are the pairs of regions with the median round trip of those connections that are up.
export function links(names = regionNames()) {
  const list = [];
  names.forEach((a, i) => names.forEach((b, j) => {
    if (j <= i) return;
    const rtts = [], ups = [];
    for (const n of state.cluster.nodes) for (const p of n.peers || []) {
      const o = nodeOf(p.node);
      if (!o || !((n.region === a && o.region === b) || (n.region === b && o.region === a))) continue;
      ups.push(p.connected);
      if (p.connected && p.rtt > 0) rtts.push(p.rtt);
    }
    if (ups.length) list.push({ a, b, up: ups.some(Boolean), rtt: rtts.length ? rtts.sort((x, y) => x - y)[rtts.length >> 1] : 0 });
  }));
  return list;
}

let dots = "";
function landPath() {
  if (dots) return dots;
  land.forEach((row, y) => {
    for (let k = 0; k < row.length; k++) {
      const four = parseInt(row[k], 16);
      for (let b = 0; b < 4; b++) if (four & (8 >> b)) dots += `M${(k * 4 + b + 0.5) * 2 * STEP} ${(y + 0.5) * 2 * STEP}h0`;
    }
  });
  return dots;
}

// world draws the regions into a picture that will be about width pixels wide, so that letters keep their size.
export function world(width) {
  const names = regionNames(), W = 720, H = 2 * STEP * land.length, k = Math.max(1, W / Math.max(320, width));
  const svg = s("svg", { class: "world", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "Regions and the round trips between them" });
  const mapped = names.length > 0 && names.every(placeOf), at = new Map(), side = new Map();
  if (mapped) svg.append(s("path", { class: "land", d: landPath() }));
  else for (const r of [1, 0.66, 0.33]) svg.append(s("ellipse", { class: "graticule", cx: W / 2, cy: H / 2, rx: 215 * r, ry: 88 * k ** 0.1 }));
  // Regions of the same part of the world stand side by side.
  const taken = new Map();
  names.forEach((name, i) => {
    if (mapped) {
      const p = placeOf(name), n = taken.get(p) || 0;
      taken.set(p, n + 1);
      at.set(name, [(p[1] + 180) * 2 + n * 26 * k, (NORTH - p[0]) * 2]);
      side.set(name, p[2]);
    } else {
      const angle = -Math.PI / 2 + (2 * Math.PI * i) / names.length;
      at.set(name, names.length === 1 ? [W / 2, H / 2] : [W / 2 + 215 * Math.cos(angle), H / 2 + 88 * Math.sin(angle)]);
      side.set(name, Math.sin(angle) < -0.2 ? "n" : "s");
    }
  });
  const all = links(names), labelled = all.length <= 10, marks = [], texts = [];
  for (const l of all) {
    const [x1, y1] = at.get(l.a), [x2, y2] = at.get(l.b), far = Math.hypot(x2 - x1, y2 - y1), others = names.filter((n) => n !== l.a && n !== l.b).map((n) => at.get(n));
    // A link bends away from the regions that it would pass.
    const curve = (bend) => { const cx = (x1 + x2) / 2, cy = (y1 + y2) / 2 - far * bend; return (t) => [(1 - t) ** 2 * x1 + 2 * t * (1 - t) * cx + t * t * x2, (1 - t) ** 2 * y1 + 2 * t * (1 - t) * cy + t * t * y2, cx, cy]; };
    const clear = (on) => [0.3, 0.4, 0.5, 0.6, 0.7].every((t) => others.every(([x, y]) => Math.hypot(on(t)[0] - x, on(t)[1] - y) > 30));
    const bends = (mapped ? [0.22, -0.2, 0.4] : [0]).map(curve), on = bends.find(clear) || bends[0], [, , cx, cy] = on(0);
    svg.append(s("path", { class: l.up ? "link" : "link down", d: `M${x1} ${y1}Q${cx} ${cy} ${x2} ${y2}` }, s("title", {}, `${l.a} – ${l.b}: ${l.up ? seconds(l.rtt) : "no connection"}`)));
    const text = !l.up ? "no connection" : labelled && l.rtt ? seconds(l.rtt) : "";
    if (!text) continue;
    // The text goes where neither a region nor another text is near, in the middle if it can; else the list has it.
    const free = ([x, y]) => [...at.values(), ...marks].every(([a, b]) => Math.abs(x - a) > 46 * k || Math.abs(y - b) > 17 * k);
    const spot = [0.5, 0.58, 0.42, 0.66, 0.34, 0.74, 0.26].map(on).find(free);
    if (!spot) continue;
    marks.push(spot);
    texts.push(s("text", { class: l.up ? "rtt" : "rtt down", x: spot[0], y: spot[1] + 4 * k, "font-size": 11.5 * k, "stroke-width": 4 * k, "text-anchor": "middle" }, text));
  }
  svg.append(...texts);
  for (const name of names) {
    const [x, y] = at.get(name), here = state.cluster.nodes.filter((n) => n.region === name), up = here.filter((n) => n.live && !n.problem).length;
    const r = 11 * Math.sqrt(k), colour = up ? regionColour(name) : "var(--bad)", put = side.get(name);
    svg.append(s("circle", { cx: x, cy: y, r: r * 1.75, fill: colour, opacity: 0.18 }),
      s("circle", { cx: x, cy: y, r, fill: "var(--card)", stroke: colour, "stroke-width": 2.5 * Math.sqrt(k) }),
      s("text", { class: up < here.length ? "bad" : "", x, y: y + 4 * k ** 0.8, "font-size": 11 * k ** 0.8, "font-weight": 600, "text-anchor": "middle" }, `${up}`));
    const [dx, dy, anchor] = put === "n" ? [0, -r * 1.9, "middle"] : put === "nw" ? [-r * 1.1, -r * 1.5, "end"] : put === "e" ? [r * 2, 4 * k, "start"] : [0, r * 1.9 + 10 * k, "middle"];
    svg.append(s("text", { class: "place", x: x + dx, y: y + dy, "font-size": 12.5 * k, "stroke-width": 4 * k, "text-anchor": anchor }, name));
  }
  return svg;
}
