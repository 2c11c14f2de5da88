// The questions that wait: a card each, the chosen one open. Cards stay where they are while others
// come and go, and so does what somebody has typed into them.

import { byId, el, lasting, moment, plain, shown, told } from "/text.js";
import { mark } from "/tables.js";

const SETTLE = 600; // milliseconds in which nothing can be decided, after what is chosen has moved
const SCOPES = {
  once: "once", process: "this process", workload: "this workload", minutes: "for minutes", always: "always",
};

const cards = new Map(); // by id: {question, node, form, said}
let chosen = null;
let settled = 0;
let decide = null;

/** `work(id, answer)` is called with what a person decides, and raises if it does not count. */
export function startQuestions(work) {
  decide = work;
  setInterval(tick, 1000);
}

/** Show these questions and no others; returns those that are new. */
export function showQuestions(questions) {
  const list = byId("question-list");
  const ids = new Set(questions.map((one) => one.id));
  for (const [id, card] of cards) {
    if (!ids.has(id)) {
      card.node.remove();
      cards.delete(id);
    }
  }
  const fresh = questions.filter((one) => !cards.has(one.id));
  for (const question of fresh) {
    const card = build(question);
    cards.set(question.id, card);
    list.append(card.node);
  }
  if (!cards.has(chosen)) choose(cards.keys().next().value ?? null);
  byId("no-questions").hidden = cards.size > 0;
  tick();
  return fresh;
}

/** Move to the next question, or with -1 to the one before. */
export function move(by) {
  const ids = [...cards.keys()];
  if (!ids.length) return;
  const at = Math.min(ids.length - 1, Math.max(0, ids.indexOf(chosen) + by));
  choose(ids[at]);
  const { node } = cards.get(ids[at]);
  const open = node.querySelector(".open");
  open.focus({ preventScroll: true });
  for (const part of [node, open]) part.scrollIntoView({ block: "nearest" }); // its head, if no more
}

/** Decide the chosen one. */
export function answer(granted) {
  const card = cards.get(chosen);
  if (card) send(card, granted);
}

/** Choose the scope by its number on the card, from 0. */
export function scope(number) {
  cards.get(chosen)?.form.querySelectorAll("input[type=radio]")[number]?.click();
}

/** Go to the field for the reason. */
export function reason() {
  cards.get(chosen)?.form.elements.reason.focus();
}

function choose(id) {
  if (id === chosen) return;
  chosen = id;
  // Whoever presses a key or a button now meant the question that stood there before.
  settled = performance.now() + SETTLE;
  for (const [key, { node }] of cards) {
    node.classList.toggle("chosen", key === id);
    node.querySelector(".open").setAttribute("aria-expanded", String(key === id));
  }
}

async function send(card, granted) {
  if (performance.now() < settled || card.busy) return;
  const { form, said, question } = card;
  const chosenScope = form.elements.scope.value;
  const minutes = chosenScope === "minutes" ? Number(form.elements.minutes.value) : 0;
  if (chosenScope === "minutes" && !(minutes > 0)) {
    said.textContent = "How many minutes?";
    form.elements.minutes.focus();
    return;
  }
  card.busy = true;
  said.textContent = "";
  const body = { granted, scope: chosenScope, minutes, reason: form.elements.reason.value };
  try {
    await decide(question, body);
  } catch (error) {
    said.replaceChildren(shown(error.message, 300));
  } finally {
    card.busy = false;
  }
}

function build(question) {
  const title = `title-${question.id}`;
  const open = el("button", { type: "button", class: "open", "aria-expanded": "false", onclick: () => choose(question.id) },
    el("span", { class: "text", id: title }, shown(question.text, 2000)),
    el("span", { class: "meta" }, `#${question.id} · `, shown(question.workload, 80), " · ",
      el("span", { class: "age" })));
  const said = el("p", { class: "said", role: "alert" });
  const form = answerForm(question, said);
  const node = el("li", {}, el("article", { class: "card", "aria-labelledby": title }, open,
    el("div", { class: "body" }, el("p", { class: "rule" }, shown(question.title || question.rule, 200)),
      facts(question), form, details(question))));
  const card = { question, node, form, said, busy: false };
  form.addEventListener("submit", (event) => event.preventDefault());
  form.querySelector(".approve").addEventListener("click", () => send(card, true));
  form.querySelector(".deny").addEventListener("click", () => send(card, false));
  return card;
}

function fact(name, value) {
  return value === "" || value == null ? [] : [el("dt", {}, name), el("dd", {}, value instanceof Node ? value : shown(value))];
}

function facts(question) {
  const asks = question.tree[0];
  return el("dl", { class: "facts" },
    ...told(question.args).flatMap(([name, value]) => fact(plain(name, 30), value)),
    ...fact("Program", question.caller ? `${question.exe} [${question.caller}]` : question.exe),
    ...(asks ? fact("Command line", el("code", {}, shown(asks.cmdline))) : []),
    ...fact("User", `uid ${question.uid}`),
    ...fact("Workload", question.section ? `${question.workload} (${question.section})` : question.workload),
    ...fact("Container", question.container),
    ...fact("Call", `${question.operation}, ${question.syscall}, of process ${question.pid}`),
    ...fact("Rule", question.rule));
}

function answerForm(question, said) {
  const name = `scope-${question.id}`;
  const scopes = question.scopes.filter((one) => one in SCOPES);
  const minutes = el("input", { name: "minutes", type: "number", min: 1, max: 525600, value: 15, "aria-label": "Minutes" });
  const choices = scopes.map((one, at) => el("label", {},
    el("input", { type: "radio", name: "scope", value: one, id: `${name}-${one}`, checked: at === 0 }),
    el("span", {}, SCOPES[one])));
  const at = scopes.indexOf("minutes");
  if (at >= 0) {
    const radio = choices[at].firstChild;
    minutes.addEventListener("focus", () => radio.click());
    choices[at] = el("span", { class: "pair" }, choices[at], minutes);
  }
  return el("form", { class: "answer", "aria-label": `Answer to question ${question.id}` },
    el("fieldset", { class: "scopes" }, el("legend", {}, "For how long"), ...choices),
    el("label", { class: "reason" }, "Reason ", el("input", { name: "reason", maxlength: 1000, autocomplete: "off", placeholder: "for the record" })),
    el("p", { class: "row" },
      el("button", { type: "button", class: "approve" }, "Approve ", el("kbd", {}, "a")),
      el("button", { type: "button", class: "deny" }, "Deny ", el("kbd", {}, "d"))), said);
}

function details(question) {
  const parts = [];
  if (question.tree.length) {
    const lines = [...question.tree].reverse().map((one, depth, all) => (
      el("li", { "data-depth": Math.min(depth, 8) }, el("span", { class: "pid" }, String(one.pid)), " ",
        el("code", {}, shown(one.cmdline || one.name, depth + 1 < all.length ? 160 : 1000)), el("small", {}, ` uid ${one.uid}`))));
    parts.push(el("details", { open: true }, el("summary", {}, "Process tree"), el("ol", { class: "tree plain" }, ...lines)));
  }
  const noted = Object.entries(question.annotations);
  if (noted.length) {
    parts.push(el("details", {}, el("summary", {}, `Annotations (${noted.length})`),
      el("dl", { class: "facts" }, ...noted.flatMap(([key, value]) => fact(plain(key, 100), value)))));
  }
  parts.push(el("details", { open: question.history.length > 0 }, el("summary", {}, "Decided before"), before(question.history)));
  return el("div", { class: "details" }, ...parts);
}

function before(history) {
  if (!history.length) return el("p", { class: "empty" }, "Nobody has been asked this before.");
  return el("ul", { class: "plain before" }, ...history.map((one) => (
    el("li", {}, mark({ granted: "allow", refused: "deny" }[one.state] ?? "", one.state), " ",
      moment(one.ended), one.by ? " by " : "", shown(one.by, 60), one.scope ? `, ${SCOPES[one.scope] ?? ""}` : "",
      one.reason ? ": " : "", shown(one.reason, 300)))));
}

function tick() {
  const now = Date.now() / 1000;
  for (const { question, node } of cards.values()) {
    const left = question.within == null ? "" : `, ${lasting(question.asked + question.within - now)} left`;
    node.querySelector(".age").textContent = `waits for ${lasting(now - question.asked)}${left}`;
  }
}
