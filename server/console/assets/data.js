import { plural } from "./lib.js";

// What the node has told, and what follows from several answers: rates, and the last minutes of everything that is drawn as a
// line. Nothing of it outlives the page.

const KEEP = 180; // samples of history, about a second apart

export const state = { cluster: null, previous: null, error: "", paused: false, history: {}, heat: new Map(), rates: new Map(), events: [], redraw: () => {} };

// take makes an answer of the node the present.
export function take(cluster) {
  state.previous = state.cluster;
  state.cluster = cluster;
  state.error = "";
  observe();
  note();
}

export const now = () => new Date(state.cluster.now);
export const since = (t) => Math.max(0, (now() - new Date(t)) / 1000);
export const nodeOf = (id) => state.cluster.nodes.find((n) => n.id === Number(id));
export const regionNames = () => [...new Set(state.cluster.nodes.map((n) => n.region))].sort();
export function regionColour(name) {
  const i = regionNames().indexOf(name);
  return i < 0 ? "var(--dim)" : `var(--r${i % 8})`;
}

// ---- rates

const elapsed = () => (state.previous ? (now() - new Date(state.previous.now)) / 1000 : 0);

// growth is that of one node's counter. A node that restarted, or did not answer, counts from zero.
function growth(node, name) {
  const before = state.previous && state.previous.nodes.find((p) => p.id === node.id);
  return node.metrics && before && before.metrics ? Math.max(0, (node.metrics[name] || 0) - (before.metrics[name] || 0)) : 0;
}
// rate is the growth of a counter a second, of one node or of all.
export function rate(name, nodes = state.cluster.nodes) {
  const dt = elapsed();
  return dt > 0 ? nodes.reduce((sum, n) => sum + growth(n, name), 0) / dt : NaN;
}
// processes has one node of each process: those of a demo share theirs, and each tells what all of it has used.
function processes() {
  const seen = new Set();
  return state.cluster.nodes.filter((n) => {
    const key = (n.metrics || {}).process_start_time_seconds + " " + n.rpcAddr.replace(/:\d+$/, "");
    return !seen.has(key) && seen.add(key);
  });
}
export const last = (name) => { const l = state.history[name]; return l && l.length && l[l.length - 1] !== null ? l[l.length - 1] : NaN; };
function remember(name, value) {
  const list = state.history[name] || (state.history[name] = []);
  list.push(typeof value === "number" && !isFinite(value) ? null : value);
  if (list.length > KEEP) list.shift();
}

function observe() {
  const c = state.cluster, commits = rate("meridian_gateway_commits_total"), fsyncs = rate("meridian_range_log_fsyncs_total");
  remember("statements", rate("meridian_sql_statements_total"));
  remember("commits", commits);
  remember("errors", rate("meridian_sql_errors_total"));
  remember("retries", rate("meridian_sql_retries_total"));
  remember("wait", commits > 0 ? rate("meridian_txn_commit_wait_seconds_sum") / commits : 0);
  remember("locks", rate("meridian_txn_lock_wait_seconds_sum"));
  remember("fsyncs", fsyncs);
  remember("fsync", fsyncs > 0 ? rate("meridian_range_log_fsync_seconds_sum") / fsyncs : 0);
  remember("cpu", rate("process_cpu_seconds_total", processes()));
  const bounds = c.nodes.filter((n) => n.answered && n.clock.synced).map((n) => n.clock.bound);
  remember("bound", bounds.length ? Math.max(...bounds) : NaN);
  for (const n of c.nodes) {
    remember("node" + n.id, n.answered ? rate("meridian_sql_statements_total", [n]) : NaN);
    remember("clock" + n.id, n.answered && n.clock.synced ? { offset: n.clock.offset, bound: n.clock.bound, fenced: !!n.clock.fenced } : null);
  }
  observeRanges();
  observeStatements();
}

function observeRanges() {
  const dt = elapsed(), seen = new Set();
  for (const r of state.cluster.ranges) {
    seen.add(r.id);
    const heat = state.heat.get(r.id) || { applied: r.applied, rates: [] };
    heat.rates.push(dt > 0 ? Math.max(0, r.applied - heat.applied) / dt : 0);
    if (heat.rates.length > 60) heat.rates.shift();
    heat.applied = r.applied;
    state.heat.set(r.id, heat);
  }
  for (const id of state.heat.keys()) if (!seen.has(id)) state.heat.delete(id);
}
export const heatOf = (r) => { const x = (state.heat.get(r.id) || {}).rates || []; return x.length ? x[x.length - 1] : 0; };

// observeStatements takes the latencies of the last second from how the histograms of all statements have grown.
export const statementKey = (x) => x.database + " " + x.text;
function observeStatements() {
  const dt = elapsed(), before = new Map(((state.previous || {}).statements || []).map((x) => [statementKey(x), x])), sum = [];
  state.rates = new Map();
  for (const x of state.cluster.statements || []) {
    const old = before.get(statementKey(x));
    if (dt <= 0 || !old && !before.size) continue;
    state.rates.set(statementKey(x), Math.max(0, x.calls - (old ? old.calls : 0)) / dt);
    (x.histogram || []).forEach((n, i) => { sum[i] = (sum[i] || 0) + Math.max(0, n - ((old && old.histogram || [])[i] || 0)); });
  }
  remember("p50", quantile(sum, 0.5));
  remember("p99", quantile(sum, 0.99));
}
// quantile of a histogram whose bucket i ends at bucketEdge(i); within a bucket values count as evenly spread.
export const bucketEdge = (i) => 16e-6 * 2 ** i;
function quantile(counts, q) {
  const all = counts.reduce((a, b) => a + (b || 0), 0);
  let left = q * all;
  for (let i = 0; i < counts.length && all > 0; i++) {
    const n = counts[i] || 0, low = i ? bucketEdge(i - 1) : 0;
    if (n > 0 && left <= n) return low + (bucketEdge(i) - low) * left / n;
    left -= n;
  }
  return NaN;
}

// ---- health

// wanted is how many voters a range should have: what its policy says, else three, or as many nodes as there are.
const wanted = (r) => r.wanted || Math.min(3, state.cluster.nodes.length);
// sick says what a range lacks, "" if nothing.
export function sick(r) {
  const alive = (r.replicas || []).filter((id) => (nodeOf(id) || {}).live).length;
  if (!r.leader) return "no leader";
  return alive < wanted(r) ? `${alive} of ${wanted(r)} replicas live` : "";
}
export function nodeState(n) {
  if (!n.live) return ["bad", "down"];
  if (n.problem) return ["bad", "not serving"];
  if (n.draining) return ["warn", "draining"];
  return n.answered ? ["good", "serving"] : ["warn", "silent"];
}

// problems lists what needs somebody's attention, [level, text], the worst first.
export function problems() {
  const c = state.cluster, list = [];
  for (const n of c.nodes) {
    if (!n.live) list.push(["bad", `node ${n.id} (${n.region}) is down`]);
    else if (n.problem) list.push(["bad", `node ${n.id}: ${n.problem}`]);
    else if (!n.answered) list.push(["warn", `node ${n.id} does not answer`]);
    else if (n.draining) list.push(["warn", `node ${n.id} is draining`]);
    if (!n.answered) continue;
    for (const src of n.clock.sources || []) if (src.verdict === "liar") list.push(["warn", `node ${n.id}: time source ${src.name} lies`]);
    const m = n.metrics || {}, free = m.meridian_store_disk_available_bytes / m.meridian_store_disk_size_bytes;
    if (free < 0.05) list.push(["bad", `node ${n.id}: ${(100 * free).toFixed(1)} % of its disk is free`]);
    else if (free < 0.1) list.push(["warn", `node ${n.id}: ${(100 * free).toFixed(0)} % of its disk is free`]);
  }
  const leaderless = c.ranges.filter((r) => !r.leader).length, under = c.ranges.filter((r) => r.leader && sick(r)).length;
  if (leaderless) list.push(["bad", `${plural(leaderless, "range")} without a leader`]);
  if (under) list.push(["warn", `${plural(under, "range")} with too few live replicas`]);
  return list.sort((a, b) => (a[0] === b[0] ? 0 : a[0] === "bad" ? -1 : 1));
}

// note writes down what has begun and ended since the page was opened.
let known = null;
function note() {
  const present = new Map(problems().map(([level, text]) => [text.replace(/[\d.]+ %/, "little"), [level, text]]));
  if (known) {
    for (const [k, [level, text]] of present) if (!known.has(k)) state.events.unshift({ time: now(), level, text });
    for (const [k, [, text]] of known) if (!present.has(k)) state.events.unshift({ time: now(), level: "good", text: "over: " + text });
    state.events.length = Math.min(state.events.length, 30);
  }
  known = present;
}
