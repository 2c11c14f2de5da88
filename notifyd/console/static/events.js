// Live events: the latest ones, newest first. The console filters; here they are only shown.

import { VERDICTS } from "/charts.js";
import { byId, clock, el, microseconds, shown, told } from "/text.js";
import { mark } from "/tables.js";

const KEPT = 300; // rows
let paused = false;

/** Let the person filter; `changed` is called with the new filter. */
export function startEvents(changed) {
  const form = byId("event-filter");
  form.elements.verdict.append(...VERDICTS.map((name) => el("option", {}, name)));
  let timer = 0;
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(() => changed(new FormData(form)), 300);
  };
  form.addEventListener("input", later);
  form.addEventListener("submit", (event) => event.preventDefault());
  byId("event-clear").addEventListener("click", clearEvents);
  byId("event-pause").addEventListener("click", ({ target }) => {
    paused = !paused;
    target.setAttribute("aria-pressed", String(paused));
    target.textContent = paused ? "Go on" : "Pause";
  });
}

export function clearEvents() {
  byId("event-table").tBodies[0].replaceChildren();
  byId("no-events").hidden = false;
}

export function addEvents(events) {
  if (paused) return;
  const body = byId("event-table").tBodies[0];
  const rows = events.slice(-KEPT).reverse().map(row);
  body.prepend(...rows);
  while (body.rows.length > KEPT) body.lastChild.remove();
  byId("no-events").hidden = body.rows.length > 0;
}

function row(event) {
  const cells = [
    ["Time", clock(event.time), "time"],
    ["Workload", event.workload ? shown(event.workload, 60) : ""],
    ["What", shown(event.event === "call" ? event.operation : event.event, 60), "what"],
    ["Verdict", verdict(event)],
    ["About", about(event), "about"],
    ["Rule", event.rule ? shown(event.rule, 80) : ""],
    ["Took", microseconds(event.took_us), "number"],
  ];
  return el("tr", { "data-level": event.level ?? "" }, ...cells.map(([title, content, kind]) => (
    el("td", { "data-label": title, class: kind }, content))));
}

function verdict(event) {
  const word = event.verdict ?? event.state;
  if (!word) return "";
  const kind = { granted: "allow", refused: "deny" }[word] ?? word;
  return mark(kind, event.errno ? `${word} ${event.errno}` : word);
}

/** What a call is about: its program and arguments. Of all else, the sentence. */
function about(event) {
  if (event.says) return shown(event.says, 400);
  const said = el("span");
  if (event.exe) said.append(el("span", { class: "program" }, shown(event.exe, 80)), " ");
  said.append(shown(told(event.args ?? {}).map(([, value]) => value).join(", "), 300));
  if (event.reason) said.append(el("span", { class: "reason" }, " — ", shown(event.reason, 200)));
  return said;
}
