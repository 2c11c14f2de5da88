// Keys for people who decide a lot. None works while somebody types, or with a modifier.

import { byId } from "/text.js";
import { answer, move, reason, scope } from "/questions.js";

/** `view()` is the name of what is shown; `next()` shows the next one. */
export function startKeys(view, next) {
  const help = byId("help");
  byId("help-open").addEventListener("click", () => help.showModal());
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || help.open) return;
    const typing = event.target.closest("input:not([type=radio]), select, textarea");
    if (typing) {
      if (event.key === "Escape") typing.blur();
      return;
    }
    if (event.repeat && "ad".includes(event.key)) return; // a key that is held decides once
    if (view() === "login") return;
    const work = { "?": () => help.showModal(), g: next }[event.key]
      ?? (view() === "questions" ? ofQuestions(event.key) : undefined);
    if (!work) return;
    event.preventDefault();
    work();
  });
}

function ofQuestions(key) {
  if (/^[1-5]$/.test(key)) return () => scope(Number(key) - 1);
  return { j: () => move(1), k: () => move(-1), a: () => answer(true), d: () => answer(false), r: reason }[key];
}
