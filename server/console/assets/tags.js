import { h } from "./lib.js";
import { nodeOf, regionColour } from "./data.js";

// Nodes and regions as they are named everywhere on the page: with their region's colour.

export function regionTag(name) {
  return h("span", { class: "tag" }, h("i", { css: { background: regionColour(name) } }), name);
}
export function nodeTag(id, filled) {
  const n = nodeOf(id);
  return h("span", { class: filled ? "tag strong" : "tag", title: n ? n.region : "unknown" }, h("i", { css: { background: n ? regionColour(n.region) : "var(--dim)" } }), "n" + id);
}
