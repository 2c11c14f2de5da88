// Tables: workloads, grants, what was decided, sessions. On a narrow screen each row is a card, with
// the names of the columns beside the values.

import { byId, el, lasting, microseconds, moment, plain, shown } from "/text.js";

/** Fill a table. Columns are [title, how a row shows it, class]. */
function fill(id, columns, rows, empty) {
  const head = el("tr", {}, ...columns.map(([title, , kind]) => el("th", { scope: "col", class: kind }, title)));
  const lines = rows.map((row) => el("tr", {}, ...columns.map(([title, show, kind]) => {
    const content = show(row);
    return el("td", { "data-label": title, class: kind }, content instanceof Node || content === "" ? content : shown(content, 300));
  })));
  const table = byId(id);
  if (table.contains(document.activeElement)) return; // somebody is about to press a button in it
  table.replaceChildren(el("thead", {}, head), el("tbody", {}, ...lines));
  table.hidden = !rows.length;
  byId(empty).hidden = rows.length > 0;
}

export function showWorkloads(workloads) {
  const now = Date.now() / 1000;
  fill("workload-table", [
    ["Workload", (one) => el("strong", {}, shown(one.id, 120))],
    ["Section", (one) => one.section],
    ["Came by", (one) => one.arrival],
    ["From", (one) => one.peer],
    ["Process", (one) => one.pid || "", "number"],
    ["For", (one) => lasting(now - one.since), "number"],
    ["Calls", (one) => one.calls.toLocaleString(), "number"],
    ["Refused", (one) => one.refused.toLocaleString(), "number"],
    ["Waiting", (one) => one.pending, "number"],
    ["Slowest", (one) => microseconds(one.slowest_us), "number"],
  ], workloads, "no-workloads");
}

export function showGrants(grants, revoke) {
  fill("grant-table", [
    ["Answer", (one) => mark(one.granted ? "allow" : "deny", one.granted ? "approved" : "denied")],
    ["About", (one) => one.key],
    ["Program", (one) => one.exe],
    ["User", (one) => one.uid, "number"],
    ["Rule", (one) => one.rule],
    ["By", (one) => one.by],
    ["Reason", (one) => one.reason],
    ["Since", (one) => moment(one.made)],
    ["Until", (one) => (one.until ? moment(one.until) : "always")],
    ["", (one) => sure("Revoke", `Revoke the answer about ${plain(one.key, 80)}`, () => revoke(one.id))],
  ], grants, "no-grants");
}

const STATES = { granted: "allow", refused: "deny" };

export function showHistory(decisions) {
  fill("history-table", [
    ["When", (one) => moment(one.ended)],
    ["Outcome", (one) => mark(STATES[one.state] ?? "", one.state)],
    ["Question", (one) => one.text],
    ["Workload", (one) => one.workload],
    ["By", (one) => one.by],
    ["For", (one) => one.scope],
    ["Reason", (one) => one.reason],
    ["Waited", (one) => lasting(one.waited_s), "number"],
  ], decisions, "no-history");
}

export function showSessions(me, end) {
  byId("session-idle").textContent = Math.round(me.idle / 60);
  byId("session-lasts").textContent = Math.round(me.lasts / 3600);
  fill("session-table", [
    ["User", (one) => one.name],
    ["Browser", (one) => one.browser],
    ["Since", (one) => moment(one.since)],
    ["", (one) => (one.id === me.id ? el("em", {}, "this one")
      : sure("End", `End the session of ${plain(one.name, 40)}`, () => end(one.id)))],
  ], me.sessions, "no-sessions");
}

/** A verdict or a state, with a colour and its word. */
export function mark(kind, text) {
  return el("span", { class: "mark", "data-kind": kind }, shown(text, 40));
}

/** A button that asks once more before it does something. */
function sure(text, label, work) {
  const button = el("button", { type: "button", "aria-label": label }, text);
  button.addEventListener("click", () => {
    if (button.dataset.sure) {
      button.blur();
      work();
      return;
    }
    button.dataset.sure = "yes";
    button.textContent = "Really?";
    button.setAttribute("aria-label", `${label}: really?`);
    setTimeout(() => {
      delete button.dataset.sure;
      button.textContent = text;
      button.setAttribute("aria-label", label);
    }, 4000);
  });
  return button;
}
