// Speaking with the console. It takes two secrets: the cookie, which no script can read, and the
// page's, which lies where no other port or site can read it and is sent in a header.

const KEPT = "notifyd-page";
const AGAIN = 1000; // milliseconds

export class NotLoggedIn extends Error {}

/** Log in with a one-time token. */
export async function login(token) {
  const answer = await fetch("/api/login", post({ token }));
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error);
  localStorage.setItem(KEPT, body.page);
}

/** Ask for something; with a body, have something done. Raises with the console's words. */
export async function call(path, body) {
  const answer = await fetch(path, body === undefined ? { headers: headers() } : post(body));
  return checked(answer);
}

/** Whether there is a login to try. */
export function known() {
  return localStorage.getItem(KEPT) !== null;
}

/** Forget who we are. */
export function forget() {
  localStorage.removeItem(KEPT);
}

/** Keep a stream open: `heard(name, value)` for each message, until `signal` aborts. */
export async function listen(path, heard, signal) {
  for (;;) {
    try {
      const answer = await fetch(path, { headers: headers(), signal });
      if (!answer.ok) await checked(answer);
      for await (const [name, value] of messages(answer.body)) {
        if (name === "ended") throw new NotLoggedIn("the session has ended");
        heard(name, value);
      }
      heard("trouble", "the console broke off; trying again");
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof NotLoggedIn) throw error;
      heard("trouble", error instanceof TypeError ? "the console does not answer" : error.message);
    }
    await new Promise((done) => setTimeout(done, AGAIN));
    if (signal.aborted) return;
  }
}

async function* messages(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (text + value).split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const found = /^event: (\w+)\ndata: (.*)$/s.exec(part);
      if (found) yield [found[1], JSON.parse(found[2])];
    }
  }
}

async function checked(answer) {
  const body = await answer.json().catch(() => ({ error: `the console says ${answer.status}` }));
  if (answer.status === 401) throw new NotLoggedIn(body.error);
  if (!answer.ok) throw new Error(body.error);
  return body;
}

function headers() {
  return { "x-notifyd-page": localStorage.getItem(KEPT) ?? "" };
}

function post(body) {
  const kind = { "content-type": "application/json" };
  return { method: "POST", headers: { ...headers(), ...kind }, body: JSON.stringify(body) };
}
