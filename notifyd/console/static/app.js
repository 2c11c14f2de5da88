// The page: logging in, the views, and the stream that keeps them up to date.

import { NotLoggedIn, call, forget, known, listen, login } from "/api.js";
import { addSample, setSamples } from "/charts.js";
import { addEvents, clearEvents, startEvents } from "/events.js";
import { startKeys } from "/keys.js";
import { showQuestions, startQuestions } from "/questions.js";
import { showGrants, showHistory, showSessions, showWorkloads } from "/tables.js";
import { byId, el, lasting, plain, shown } from "/text.js";

const VIEWS = ["questions", "events", "workloads", "decisions", "sessions"];
const STAY = 60000; // milliseconds between two notes that somebody is here
const NOTICE = 8000; // milliseconds

let view = "login";
let stream = null;
let first = true;
let wrong = "";
let noticed = 0;
let turns = 0; // of asking for what was decided

// -- logging in

/** The token of the address. It is taken out of the address bar and the history at once. */
function takeToken() {
  const found = /^#token=([\w-]+)$/.exec(location.hash);
  if (location.hash.startsWith("#token=")) history.replaceState(null, "", "/");
  return found?.[1];
}

async function enter() {
  const token = takeToken();
  if (token) {
    try {
      await login(token);
    } catch (error) {
      byId("login-said").textContent = error.message;
      leave();
      return;
    }
  }
  if (!known()) {
    leave();
    return;
  }
  await guarded(async () => {
    const me = await call("/api/me");
    document.querySelector(".who .name").replaceChildren(shown(me.name, 40));
    document.querySelector("nav").hidden = document.querySelector(".who").hidden = false;
    showSessions(me, endSession);
    show(VIEWS.includes(location.hash.slice(1)) ? location.hash.slice(1) : "questions");
    follow(new FormData(byId("event-filter")));
  });
}

function leave() {
  stream?.abort();
  forget();
  turns++; // what is under way is for nobody any more
  document.querySelector("nav").hidden = document.querySelector(".who").hidden = true;
  document.title = "notifyd";
  trouble("");
  showQuestions([]);
  clearEvents();
  for (const one of document.querySelectorAll("#live, #status, tbody")) one.replaceChildren();
  show("login");
}

/** Do something; whoever is not logged in any more comes to see that. */
async function guarded(work) {
  try {
    return await work();
  } catch (error) {
    if (error instanceof NotLoggedIn) leave();
    else notice(error.message);
    return undefined;
  }
}

// -- what the console tells

function follow(filter) {
  stream?.abort();
  stream = new AbortController();
  first = true;
  const query = new URLSearchParams(filter);
  const own = stream;
  guarded(() => listen(`/api/stream?${query}`, (name, value) => own === stream && HEARD[name]?.(value), own.signal));
}

const HEARD = {
  questions: (questions) => {
    const fresh = showQuestions(questions);
    const count = document.querySelector("nav .count");
    count.textContent = questions.length;
    count.hidden = !questions.length;
    document.title = questions.length ? `(${questions.length}) notifyd` : "notifyd";
    if (fresh.length) announce(fresh, first);
    first = false;
    if (view === "decisions") showDecisions();
  },
  events: addEvents,
  samples: setSamples,
  sample: addSample,
  trouble,
  state: ({ status, workloads }) => {
    showWorkloads(workloads);
    const rows = [["Daemon", `${status.version}, up ${lasting(Date.now() / 1000 - status.since)}`],
      ["Workloads", status.workloads], ["Calls", status.calls.toLocaleString()],
      ["Refused", status.refused.toLocaleString()], ["Rule errors", status.rule_errors.toLocaleString()]];
    byId("status").replaceChildren(...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))]));
  },
};

function announce(fresh, begun) {
  const text = fresh.length === 1 ? `Question: ${plain(fresh[0].text)}` : `${fresh.length} questions wait`;
  byId("live").textContent = begun && fresh.length > 1 ? `${fresh.length} questions wait` : text;
}

/** Something that lasts: there until it is well again. */
function trouble(text) {
  wrong = text;
  banner(text);
}

/** Something that happened: there for a while. */
function notice(text) {
  banner(text);
  clearTimeout(noticed);
  noticed = setTimeout(() => banner(wrong), NOTICE);
}

function banner(text) {
  const place = byId("trouble");
  place.hidden = !text;
  place.replaceChildren(shown(text, 300));
}

// -- the views

function show(name) {
  view = name;
  for (const one of ["login", ...VIEWS]) byId(one).hidden = one !== name;
  for (const button of document.querySelectorAll("nav [data-view]")) {
    if (button.dataset.view === name) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  if (name !== "login") history.replaceState(null, "", `#${name}`);
  if (name === "decisions") showDecisions();
  if (name === "sessions") guarded(showMe);
}

function showDecisions() {
  const turn = ++turns;
  return guarded(async () => {
    const [grants, decisions] = [await call("/api/grants"), await call("/api/history")];
    if (turn !== turns) return; // somebody has asked later, and knows more
    showGrants(grants, revoke);
    showHistory(decisions);
  });
}

async function showMe() {
  showSessions(await call("/api/me"), endSession);
}

// -- what a person does

function revoke(id) {
  guarded(async () => {
    await call("/api/revoke", { id });
    byId("live").textContent = "revoked";
    await showDecisions();
  });
}

function endSession(id) {
  guarded(async () => {
    await call("/api/sessions/end", { id });
    await showMe();
  });
}

async function decide(question, body) {
  try {
    await call("/api/answer", { id: question.id, ...body });
  } catch (error) {
    if (error instanceof NotLoggedIn) leave();
    throw error;
  }
  byId("live").textContent = `${body.granted ? "approved" : "denied"}: ${plain(question.text)}`;
}

/** Tell the console that somebody is here, once a minute at most. */
function startStaying() {
  let last = performance.now();
  const stay = () => {
    if (view === "login" || performance.now() - last < STAY) return;
    last = performance.now();
    guarded(() => call("/api/stay", {}));
  };
  for (const name of ["keydown", "pointerdown", "wheel"]) document.addEventListener(name, stay, { passive: true });
}

function start() {
  startQuestions(decide);
  startEvents((filter) => { clearEvents(); follow(filter); });
  startKeys(() => view, () => show(VIEWS[(VIEWS.indexOf(view) + 1) % VIEWS.length]));
  startStaying();
  for (const button of document.querySelectorAll("nav [data-view]")) {
    button.addEventListener("click", () => show(button.dataset.view));
  }
  byId("logout").addEventListener("click", () => guarded(async () => { await call("/api/logout", {}); leave(); }));
  byId("login-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const field = byId("login-token");
    const token = field.value.trim().replace(/^.*#token=/, "");
    field.value = "";
    byId("login-said").textContent = "";
    history.replaceState(null, "", `/#token=${token}`);
    enter();
  });
  window.addEventListener("hashchange", () => { if (location.hash.startsWith("#token=")) enter(); });
  enter();
}

start();
