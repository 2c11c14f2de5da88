// Elements and texts. Whatever targets say is hostile: it becomes text nodes, never markup, and what
// is invisible in it, or turns the writing direction, is shown as its number.

// Controls, format characters (bidi marks among them), strange spaces, private use, and halves of pairs.
const STRANGE = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Cn}\p{Zl}\p{Zp}]|(?! )\p{Zs}|\u115f|\u1160|\u3164|\uffa0|\u2800/gu;
const LONGEST = 4000; // characters

/** Make an element: `el("p", {class: "x", onclick: f}, "text", child)`. */
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, String(value));
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

/** A piece of SVG. */
export function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  made.append(...children);
  return made;
}

/** A hostile text as nodes: harmless, isolated, of bounded length. */
export function shown(value, longest = LONGEST) {
  let text = value == null ? "" : String(value);
  const more = text.length - longest;
  if (more > 0) text = text.slice(0, longest);
  const span = el("bdi");
  let last = 0;
  for (const found of text.matchAll(STRANGE)) {
    span.append(text.slice(last, found.index), el("span", { class: "strange" }, code(found[0])));
    last = found.index + found[0].length;
  }
  span.append(text.slice(last));
  if (more > 0) span.append(el("em", {}, `… (${more} more)`));
  return span;
}

/** The same as a string, for attributes and titles. */
export function plain(value, longest = 200) {
  const text = value == null ? "" : String(value);
  const cut = text.length > longest ? `${text.slice(0, longest)}…` : text;
  return cut.replace(STRANGE, code);
}

function code(character) {
  const number = character.codePointAt(0);
  if (number <= 0xff) return `\\x${number.toString(16).padStart(2, "0")}`;
  return `\\u${number.toString(16).padStart(4, "0")}`;
}

export const byId = (id) => document.getElementById(id);

/** `12:34:56` of seconds since 1970, or of an RFC 3339 text. */
export function clock(time) {
  const date = new Date(typeof time === "number" ? time * 1000 : time);
  return Number.isNaN(date.valueOf()) ? "" : date.toLocaleTimeString([], { hour12: false });
}

/** Day and time. */
export function moment(seconds) {
  if (!seconds) return "";
  const date = new Date(seconds * 1000);
  const day = date.toDateString() === new Date().toDateString() ? "" : `${date.toLocaleDateString()} `;
  return day + date.toLocaleTimeString([], { hour12: false });
}

/** `5 s`, `3 min`, `2 h`, `4 d`. */
export function lasting(seconds) {
  for (const [size, name] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= 2 * size) return `${Math.floor(seconds / size)} ${name}`;
  }
  return `${Math.max(0, Math.floor(seconds))} s`;
}

/** `12 µs`, `3.4 ms`, `1.2 s`. */
export function microseconds(value) {
  if (value == null) return "";
  if (value < 1000) return `${Math.round(value)} µs`;
  if (value < 1e6) return `${(value / 1000).toPrecision(2)} ms`;
  return `${(value / 1e6).toFixed(1)} s`;
}

const FIRST = ["path", "address", "argv"]; // what a decision is about

/** A call's arguments as [name, text], what matters first, nothing twice. */
export function told(args) {
  const there = Object.entries(args).filter(([name, value]) => (
    !(name === "pathname" && value === args.path) && value !== "AT_FDCWD"));
  const place = ([name]) => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length);
  return there.sort((a, b) => place(a) - place(b)).map(([name, value]) => [name, text(value)]);
}

function text(value) {
  return typeof value === "object" && value !== null ? JSON.stringify(value) : String(value);
}
