// Two small charts, drawn as SVG: calls by verdict, and how long answers took.

import { byId, el, microseconds, svg } from "/text.js";

const KEPT = 150; // samples
const WIDTH = 360;
const HEIGHT = 110;
const LEFT = 44; // for the numbers of the axis
export const VERDICTS = ["allow", "continue", "return", "supply", "ask", "deny", "kill"];

const samples = [];

export function setSamples(found) {
  samples.splice(0, samples.length, ...found.slice(-KEPT));
  draw();
}

export function addSample(sample) {
  if (samples.length && samples[samples.length - 1].time >= sample.time) return;
  samples.push(sample);
  if (samples.length > KEPT) samples.shift();
  draw();
}

function draw() {
  drawVerdicts();
  drawLatency();
}

function put(id, drawing, legend, words) {
  const figure = byId(id);
  for (const old of figure.querySelectorAll("svg, .legend")) old.remove();
  drawing.setAttribute("role", "img");
  drawing.setAttribute("aria-label", words);
  figure.append(drawing, el("p", { class: "legend" }, ...legend));
}

function frame(marks) {
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}` });
  for (const [y, text] of marks) {
    drawing.append(svg("line", { class: "grid", x1: LEFT, x2: WIDTH, y1: y, y2: y }));
    const label = svg("text", { class: "axis", x: LEFT - 5, y: y + 3, "text-anchor": "end" });
    label.textContent = text;
    drawing.append(label);
  }
  return drawing;
}

const across = (at) => LEFT + ((WIDTH - LEFT) * (KEPT - samples.length + at)) / KEPT;
const round = (value) => (value >= 1000 ? `${+(value / 1000).toPrecision(2)}k` : String(+value.toPrecision(2)));

function drawVerdicts() {
  const rates = samples.map((one) => VERDICTS.map((name) => (one.verdicts[name] ?? 0) / one.seconds));
  const sums = rates.map((rate) => rate.reduce((a, b) => a + b, 0));
  const top = Math.max(1, ...sums);
  const high = HEIGHT - 14;
  const drawing = frame([[10, round(top)], [HEIGHT - 4, "0"]]);
  rates.forEach((rate, at) => {
    let y = HEIGHT - 4;
    rate.forEach((value, which) => {
      if (!value) return;
      const height = Math.max(1, (value / top) * high);
      y -= height;
      drawing.append(svg("rect", { class: "bar", "data-kind": VERDICTS[which], x: across(at),
        y: Math.max(0, y), width: (WIDTH - LEFT) / KEPT, height }));
    });
  });
  const totals = VERDICTS.map((name) => [name, samples.reduce((sum, one) => sum + (one.verdicts[name] ?? 0), 0)]);
  const there = totals.filter(([, count]) => count);
  const legend = there.map(([name, count]) => key(name, `${name} ${count.toLocaleString()}`));
  put("verdict-chart", drawing, legend.length ? legend : ["no calls yet"],
    `Calls in the last five minutes: ${there.map((one) => one.join(" ")).join(", ") || "none"}`);
}

/** The time within which a part of the calls was answered, in µs; null if there were none. */
function within(buckets, part) {
  const all = buckets.reduce((sum, [, count]) => sum + count, 0);
  let below = 0;
  for (const [bound, count] of buckets) {
    below += count;
    if (all && below >= all * part) return (bound ?? 10) * 1e6;
  }
  return null;
}

function drawLatency() {
  const height = (value) => HEIGHT - 8 - ((HEIGHT - 18) * (Math.log10(Math.max(1, value)))) / 7;
  const marks = [[height(10), "10 µs"], [height(1e3), "1 ms"], [height(1e5), "100 ms"], [height(1e7), "10 s"]];
  const drawing = frame(marks);
  const lines = [["half", 0.5], ["most", 0.99]].map(([name, part]) => {
    const points = samples.map((one) => within(one.buckets, part));
    let path = "";
    points.forEach((value, at) => {
      if (value === null) return;
      const joined = at > 0 && points[at - 1] !== null;
      path += `${joined ? "L" : "M"}${across(at + (joined ? 0.5 : 0))} ${height(value)}`;
      if (!joined) path += `h${(WIDTH - LEFT) / KEPT / 2}`;
    });
    if (path) drawing.append(svg("path", { class: "line", "data-kind": name, d: path }));
    return points.filter((value) => value !== null).pop();
  });
  const [half, most] = lines.map((value) => (value === undefined ? "–" : `≤ ${microseconds(value)}`));
  put("latency-chart", drawing, [key("half", `half ${half}`), key("most", `99 % ${most}`)],
    `Time to the answer: half of the calls ${half}, 99 of 100 ${most}`);
}

function key(kind, text) {
  return el("span", { class: "key", "data-kind": kind }, text);
}
