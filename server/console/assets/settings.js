import { card, h, note, table, td } from "./lib.js";
import { state } from "./data.js";
import { nodeTag } from "./tags.js";

// How the nodes were started. What is the same everywhere is said once.

// own is what a node has of its own by nature: it does not count as a difference.
const own = new Set(["store", "sql-addr", "rpc-addr", "advertise-rpc-addr", "advertise-sql-addr", "http-addr", "region", "zone", "join", "certs"]);

export function settings() {
  const nodes = state.cluster.nodes.filter((n) => n.settings), names = [...new Set(nodes.flatMap((n) => Object.keys(n.settings)))].sort();
  const same = (k) => nodes.every((n) => n.settings[k] === nodes[0].settings[k]), value = (n, k) => (n.settings[k] === undefined ? h("span", { class: "dim" }, "–") : h("code", {}, n.settings[k].replace(/,(?! )/g, ", ")));
  const odd = names.filter((k) => !own.has(k) && !same(k)), each = names.filter((k) => own.has(k) && !same(k)), all = names.filter(same);
  const perNode = (list, title, cls) => list.length > 0 && card(title, table([{ t: "Flag" }, ...nodes.map((n) => ({ el: nodeTag(n.id) }))],
    list.map((k) => h("tr", {}, h("td", { class: "nowrap" }, h("code", { class: cls }, "--" + k)), nodes.map((n) => h("td", { class: "value" }, value(n, k))))), "", title));
  return [
    nodes.length === 0 && card("Settings", h("p", { class: "empty" }, "no node has answered")),
    perNode(odd, "Not the same on all nodes", "warn"),
    all.length > 0 && card("How the nodes were started: the same everywhere", h("dl", { class: "flags" }, all.map((k) => [h("dt", {}, h("code", {}, "--" + k)), h("dd", {}, value(nodes[0], k))]))),
    perNode(each, "Of each node", ""),
    note("Secrets are shown as “given”. Settings of databases, roles and sessions: ", h("code", {}, "select * from pg_settings"), ", ", h("code", {}, "\\drds"), " in psql."),
  ];
}
