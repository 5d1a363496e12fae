import { h, plural, seconds } from "./lib.js";
import { nodeOf, problems, state, take } from "./data.js";
import { overview } from "./overview.js";
import { time } from "./time.js";
import { ranges } from "./ranges.js";
import { statements } from "./statements.js";
import { transactions } from "./transactions.js";
import { jobs } from "./jobs.js";
import { placement } from "./placement.js";
import { settings } from "./settings.js";

// The page asks for /api/cluster every second and draws the selected view anew. Nothing is written back.

const PERIOD = 1000; // ms between questions

const views = {
  overview: ["Overview", overview], time: ["Time", time], ranges: ["Ranges", ranges], statements: ["Statements", statements],
  transactions: ["Transactions", transactions], jobs: ["Jobs", jobs], placement: ["Placement", placement], settings: ["Settings", settings],
};
let selected = "overview";

function drawHealth() {
  const box = document.getElementById("health"), clock = document.getElementById("now");
  let level = "", text = "connecting";
  if (state.error) [level, text] = ["bad", state.error];
  else if (state.cluster) {
    const p = problems();
    [level, text] = p.length ? [p[0][0], p[0][1] + (p.length > 1 ? `, and ${p.length - 1} more` : "")] : ["good", "all is well"];
  }
  if (box.dataset.text !== level + text) { // a screen reader speaks changes only
    box.dataset.text = level + text;
    box.replaceChildren(h("i", { class: "dot " + level }), h("span", {}, text));
    document.title = level === "bad" ? "! Meridian" : "Meridian";
  }
  if (!state.cluster) return;
  const c = state.cluster, me = nodeOf(c.node);
  clock.replaceChildren(h("b", {}, new Date(c.now).toISOString().replace("T", " ").slice(0, 23)), " ± ", h("b", {}, me && me.answered ? seconds(me.clock.bound) : "?"),
    h("span", { class: "small-hidden" }, ` at node ${c.node}, ${plural(c.nodes.length, "node")}`));
}

// held keeps the page as it is while the reader has hold of it: a press of a button must end where it began, and marked text
// is there to be copied.
let pressed = false;
function held() {
  const mark = document.getSelection(), main = document.getElementById("main");
  return pressed || mark && !mark.isCollapsed && main.contains(mark.anchorNode) && document.activeElement.tagName !== "INPUT";
}

function draw() {
  drawHealth();
  if (held()) return;
  const main = document.getElementById("main");
  if (!state.cluster) {
    main.replaceChildren(h("p", { class: "empty" }, state.error || "Asking the node …"));
    return;
  }
  main.classList.toggle("stale", state.error !== "");
  // What the reader has scrolled or focused stays so.
  const scrolled = new Map([...main.querySelectorAll(".scroll")].map((d) => [d.getAttribute("aria-label"), d.scrollLeft]));
  const focus = document.activeElement, key = main.contains(focus) ? focus.dataset.key || focus.getAttribute("aria-label") : "";
  main.replaceChildren(...[views[selected][1]()].flat(Infinity).filter(Boolean));
  for (const d of main.querySelectorAll(".scroll")) d.scrollLeft = scrolled.get(d.getAttribute("aria-label")) || 0;
  if (key) [...main.querySelectorAll("[data-key],[aria-label][tabindex]")].find((el) => (el.dataset.key || el.getAttribute("aria-label")) === key)?.focus({ preventScroll: true });
}
state.redraw = () => { pressed = false; draw(); };

function show(view) {
  if (!views[view]) view = "overview";
  if (view !== selected) window.scrollTo(0, 0);
  selected = view;
  for (const b of document.querySelectorAll("nav button")) {
    const on = b.dataset.view === view;
    b.setAttribute("aria-selected", on);
    b.tabIndex = on ? 0 : -1;
    if (on) b.scrollIntoView({ block: "nearest", inline: "center" });
  }
  document.getElementById("main").setAttribute("aria-label", views[view][0]);
  draw();
}

function tabs() {
  const nav = document.querySelector("nav"), names = Object.keys(views);
  const go = (view) => { location.hash = view; nav.querySelector(`[data-view=${view}]`).focus({ preventScroll: true }); };
  nav.append(...names.map((v, i) => h("button", { type: "button", role: "tab", "data-view": v, "aria-controls": "main", title: `key ${i + 1}`, onclick: () => { location.hash = v; } }, views[v][0])));
  nav.addEventListener("keydown", (e) => {
    const at = names.indexOf(selected), to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: names.length - 1 }[e.key];
    if (to === undefined) return;
    go(names[(to + names.length) % names.length]);
    e.preventDefault();
  });
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || /INPUT|TEXTAREA/.test(e.target.tagName)) return;
    if (names[e.key - 1]) go(names[e.key - 1]);
    const filter = document.querySelector(".filter");
    if (e.key === "/" && filter) { filter.focus(); e.preventDefault(); }
  });
  window.addEventListener("hashchange", () => show(location.hash.slice(1)));
  window.addEventListener("resize", draw);
}

function hold() {
  document.getElementById("main").addEventListener("pointerdown", () => { pressed = true; });
  for (const end of ["pointerup", "pointercancel", "blur"]) window.addEventListener(end, () => { setTimeout(() => { pressed = false; }); });
}

function theme() {
  const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => { root.dataset.theme = localStorage.getItem("theme") || (dark.matches ? "dark" : "light"); };
  dark.addEventListener("change", apply);
  document.getElementById("theme").addEventListener("click", () => { localStorage.setItem("theme", root.dataset.theme === "dark" ? "light" : "dark"); apply(); draw(); });
  apply();
}

// pause stops asking, for a look at one moment.
function pause() {
  const button = document.getElementById("pause");
  button.addEventListener("click", () => {
    state.paused = !state.paused;
    button.setAttribute("aria-pressed", state.paused);
    document.body.classList.toggle("paused", state.paused);
  });
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

let asking = false;
async function poll() {
  setTimeout(poll, PERIOD);
  if (asking || document.hidden || state.paused) return;
  asking = true;
  let cluster = null;
  try {
    const resp = await fetch("api/cluster", { signal: AbortSignal.timeout(8000) });
    if (resp.status === 401) { location.href = "login"; return; }
    if (!resp.ok) throw new Error((await resp.text()).trim() || resp.statusText);
    cluster = await resp.json();
  } catch (e) {
    state.error = e.name === "TypeError" || e.name === "TimeoutError" ? "the node does not answer" : e.message;
  } finally {
    asking = false;
  }
  if (cluster) take(cluster);
  draw();
}

theme();
pause();
tabs();
hold();
show(location.hash.slice(1));
whoami();
poll();
