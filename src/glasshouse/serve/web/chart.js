// A small line chart that can grow: lines and dots over one x axis, drawn in real pixels so that strokes stay fine.
// Point at it, or focus it and use the arrow keys, to read its values.

import { h, s } from "./dom.js";

const LEFT = 46, RIGHT = 14, TOP = 10, BOTTOM = 24;
const MAX_POINTS = 600; // more than there are pixels to show them

/** options: title, unit, height, format(value), startsAtZero. */
export function createChart(options) {
  const svg = s("svg", { role: "img", tabindex: "0", class: "plot", height: options.height });
  const tip = h("p", { class: "tip", hidden: true });
  const element = h("figure", { class: "chart" }, h("figcaption", {}, options.title, " ", h("span", { class: "now" })), h("div", { class: "frame" }, svg, tip));
  const now = element.querySelector(".now");
  let series = [];
  let xLabel = "";
  let scale = null;
  let at = -1;

  function set(newSeries, label) {
    series = newSeries.map((one) => ({ ...one, points: thin(one.points) }));
    xLabel = label;
    draw();
  }

  function draw() {
    const width = element.clientWidth;
    const points = series.flatMap((one) => one.points);
    if (!width || !points.length) return;
    scale = scales(points, width, options);
    const last = series[0].points.at(-1);
    now.textContent = last ? options.format(last[1]) : "";
    svg.setAttribute("width", width);
    svg.setAttribute("aria-label", `${options.title}, ${xLabel}: ${series.map((one) => `${one.name} ${one.points.length ? options.format(one.points.at(-1)[1]) : ""}`).join(", ")}`);
    svg.replaceChildren(...axes(scale, width, options), ...series.flatMap((one) => drawSeries(one, scale)),
      s("line", { class: "cross", y1: TOP, y2: options.height - BOTTOM, hidden: true }));
  }

  function show(index) {
    const line = series[0]?.points ?? [];
    if (!line.length || !scale) return;
    at = Math.max(0, Math.min(line.length - 1, index));
    const [x, y] = line[at];
    const cross = svg.querySelector(".cross");
    cross.removeAttribute("hidden");
    cross.setAttribute("x1", scale.x(x));
    cross.setAttribute("x2", scale.x(x));
    const dot = series[1]?.points.findLast((point) => point[0] <= x);
    tip.textContent = `${xLabel} ${compact(x)}: ${options.format(y)}${dot ? `, ${series[1].name} ${options.format(dot[1])}` : ""}`;
    tip.hidden = false;
    tip.style.left = `${Math.max(0, Math.min(scale.x(x) - tip.offsetWidth / 2, element.clientWidth - tip.offsetWidth))}px`;
  }

  function hide() {
    tip.hidden = true;
    svg.querySelector(".cross")?.setAttribute("hidden", "");
  }

  svg.addEventListener("pointermove", (event) => {
    if (!scale) return;
    const x = scale.invert(event.clientX - svg.getBoundingClientRect().left);
    const line = series[0].points;
    let best = 0;
    for (let i = 0; i < line.length; i++) if (Math.abs(line[i][0] - x) < Math.abs(line[best][0] - x)) best = i;
    show(best);
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20 };
    if (!(event.key in steps)) return;
    event.preventDefault();
    show((at < 0 ? series[0].points.length : at) + steps[event.key]);
  });
  new ResizeObserver(draw).observe(element);
  return { element, set };
}

/** Means over equal stretches, so that a spike still lifts its place. */
function thin(points) {
  if (points.length <= MAX_POINTS) return points;
  const size = points.length / MAX_POINTS;
  return Array.from({ length: MAX_POINTS }, (_, i) => {
    const part = points.slice(Math.floor(i * size), Math.floor((i + 1) * size));
    return [part.at(-1)[0], part.reduce((sum, point) => sum + point[1], 0) / part.length];
  });
}

function scales(points, width, { height, startsAtZero }) {
  let x0 = Infinity, x1 = -Infinity, y0 = startsAtZero ? 0 : Infinity, y1 = -Infinity;
  for (const [x, y] of points) {
    x0 = Math.min(x0, x); x1 = Math.max(x1, x);
    y0 = Math.min(y0, y); y1 = Math.max(y1, y);
  }
  if (x1 === x0) x1 = x0 + 1;
  if (y1 === y0) y1 = y0 + (Math.abs(y0) || 1) * 0.1;
  const yTicks = ticks(y0, y1, 4);
  y0 = Math.min(y0, yTicks[0]);
  y1 = Math.max(y1, yTicks.at(-1));
  const w = width - LEFT - RIGHT, hgt = height - TOP - BOTTOM;
  return {
    x: (x) => LEFT + ((x - x0) / (x1 - x0)) * w,
    y: (y) => TOP + (1 - (y - y0) / (y1 - y0)) * hgt,
    invert: (pixel) => x0 + ((pixel - LEFT) / w) * (x1 - x0),
    xTicks: ticks(x0, x1, width < 420 ? 3 : 5).filter((x) => x >= x0 && x <= x1),
    yTicks,
  };
}

function ticks(low, high, count) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((one) => one >= raw);
  const first = Math.floor(low / step), last = Math.ceil(high / step);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

function axes(scale, width, { height, format }) {
  return [
    ...scale.yTicks.flatMap((y) => [s("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: scale.y(y), y2: scale.y(y) }),
      s("text", { class: "tick", x: LEFT - 8, y: scale.y(y) + 4, "text-anchor": "end" }, format(y, true))]),
    ...scale.xTicks.map((x) => s("text", { class: "tick", x: scale.x(x), y: height - 6, "text-anchor": "middle" }, compact(x))),
  ];
}

function drawSeries({ kind, tone, points }, scale) {
  if (kind === "dots") return points.map(([x, y]) => s("circle", { class: tone, cx: scale.x(x), cy: scale.y(y), r: 3.5 }));
  const d = points.map(([x, y], i) => `${i ? "L" : "M"}${scale.x(x).toFixed(1)} ${scale.y(y).toFixed(1)}`).join("");
  return [s("path", { class: `line ${tone}`, d, "data-points": points.length })];
}

export function compact(value) {
  const size = Math.abs(value);
  if (size >= 1e9) return `${trim(value / 1e9)} G`;
  if (size >= 1e6) return `${trim(value / 1e6)} M`;
  if (size >= 1e4) return `${trim(value / 1e3)} k`;
  return size >= 0.001 || size === 0 ? trim(value) : value.toExponential(1).replace("e-", "e−");
}

const trim = (value) => String(Number(value.toPrecision(3)));
