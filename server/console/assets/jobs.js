import { card, h, meter, note, pill, seconds, table, td, tn, tr } from "./lib.js";
import { since, state } from "./data.js";

// Background jobs: index builds, checks of constraints, backups and restores.

const levels = { succeeded: "good", running: "good", failed: "bad", canceled: "warn", paused: "warn" };

export function jobs() {
  const list = [...(state.cluster.jobs || [])].sort((a, b) => b.id - a.id), running = list.filter((j) => /running|pending/.test(j.state)).length;
  return [card(list.length ? `Jobs: ${running} of ${list.length} under way` : "Jobs", table(
    [{ t: "Job" }, { t: "State" }, { t: "Progress" }, { t: "Began", n: 1 }],
    list.map((j) => tr(td(h("b", {}, j.kind), h("span", { class: "dim small" }, ` ${j.id}`), h("div", { class: "reason" }, j.description)), td(pill(levels[j.state.split(",")[0]] || "dim", j.state), j.error && h("div", { class: "bad reason" }, j.error)),
      h("td", { class: "progress" }, Math.round(100 * j.fraction) + " %", meter(j.fraction, j.state.startsWith("failed") ? "var(--bad)" : "var(--accent)")), tn(seconds(since(j.started)), " ago"))),
    "There are no jobs. Index builds, new constraints, backups and restores appear here while they run.", "jobs")),
  note(h("code", {}, "select * from meridian.jobs"), " has the same rows; ", h("code", {}, "meridian.pause_job, resume_job, cancel_job"), " act on them.")];
}
