// A map of numbers as shaded cells, drawn in one canvas: rows and columns have names, a cell is read by pointing at it
// or with the arrow keys.  Positive is leaf, negative is bloom.

import { h } from "./dom.js";

const MIN_CELL = 9, MAX_CELL = 30, GAP = 1, MAX_NAMED = 48;
const TEXT_PX = 12;

/** options: {label, describe(row, column, value), onpick(row, column)}. */
export function createHeat(options) {
  const canvas = h("canvas", { class: "heat-map", role: "img", tabindex: "0" });
  const readout = h("p", { class: "hint readout", "aria-live": "polite" });
  const frame = h("div", { class: "scroll" }, canvas);
  const element = h("div", { class: "heat-box" }, frame, readout);
  let rows = [];
  let names = { rows: [], columns: [] };
  let place = null;
  let at = null;

  /** values[row][column]; a row may be shorter than the others.  `most` is the value drawn in full colour. */
  function set(values, rowNames, columnNames, most = 1) {
    rows = { values, most };
    names = { rows: rowNames, columns: columnNames };
    at = null;
    readout.textContent = "";
    draw();
  }

  function draw() {
    const width = frame.clientWidth;
    if (!rows.values?.length || !width) return;
    const style = getComputedStyle(element);
    const [leaf, bloom, soft, ink, rail] = ["--leaf", "--bloom", "--soft", "--ink", "--glass"].map((name) => colour(element, name));
    const context = canvas.getContext("2d");
    context.font = `${TEXT_PX}px ${style.getPropertyValue("--mono")}`;
    const left = Math.min(110, 8 + Math.max(...names.rows.map((name) => context.measureText(name).width)));
    const isNamed = names.columns.length <= MAX_NAMED;
    const top = isNamed ? Math.min(90, 10 + Math.max(...names.columns.map((name) => context.measureText(name).width))) : 4;
    const n = names.columns.length;
    const cell = Math.max(MIN_CELL, Math.min(MAX_CELL, Math.floor((width - left - 4) / n)));
    const rowHeight = Math.max(cell, rows.values.length < 16 ? 18 : MIN_CELL);
    place = { left, top, cell, rowHeight };
    const size = { x: left + n * cell + 2, y: top + rows.values.length * rowHeight + 2 };
    const ratio = devicePixelRatio || 1;
    canvas.width = size.x * ratio;
    canvas.height = size.y * ratio;
    canvas.style.width = `${size.x}px`;
    canvas.style.height = `${size.y}px`;
    context.scale(ratio, ratio);
    context.font = `${TEXT_PX}px ${style.getPropertyValue("--mono")}`;
    context.textBaseline = "middle";
    context.fillStyle = soft;
    names.rows.forEach((name, i) => { if (rowHeight >= TEXT_PX || i % 2 === 0) context.fillText(fit(context, name, left - 8), 0, top + (i + 0.5) * rowHeight); });
    if (isNamed) names.columns.forEach((name, j) => {
      context.save();
      context.translate(left + (j + 0.5) * cell, top - 6);
      context.rotate(-Math.PI / 2);
      context.fillText(fit(context, name, top - 10), 0, 0);
      context.restore();
    });
    rows.values.forEach((row, i) => row.forEach((value, j) => {
      const [x, y] = [left + j * cell, top + i * rowHeight];
      context.globalAlpha = 1;
      context.fillStyle = rail;
      context.fillRect(x, y, cell - GAP, rowHeight - GAP);
      context.globalAlpha = Math.min(1, Math.abs(value) / rows.most);
      context.fillStyle = value >= 0 ? leaf : bloom;
      context.fillRect(x, y, cell - GAP, rowHeight - GAP);
    }));
    context.globalAlpha = 1;
    if (at) {
      context.strokeStyle = ink;
      context.lineWidth = 2;
      context.strokeRect(left + at.column * cell, top + at.row * rowHeight, cell - GAP, rowHeight - GAP);
    }
    const [label, count] = [options.label, `${rows.values.length} rows, ${n} columns`];
    canvas.setAttribute("aria-label", `${label}: ${count}. Arrow keys read the cells.`);
    canvas.dataset.cells = rows.values.reduce((sum, row) => sum + row.length, 0);
  }

  function look(row, column) {
    const value = rows.values?.[row]?.[column];
    if (value === undefined) return;
    at = { row, column };
    readout.textContent = options.describe(row, column, value);
    draw();
  }

  function under(event) {
    const box = canvas.getBoundingClientRect();
    const { left, top, cell, rowHeight } = place ?? {};
    return [Math.floor((event.clientY - box.top - top) / rowHeight), Math.floor((event.clientX - box.left - left) / cell)];
  }

  canvas.addEventListener("pointermove", (event) => look(...under(event)));
  canvas.addEventListener("click", (event) => { look(...under(event)); if (at) options.onpick?.(at.row, at.column); });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    if (!at) look(rows.values.length - 1, 0);
    else look(at.row + step[0], at.column + step[1]);
  });
  new ResizeObserver(draw).observe(frame);
  new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  return { element, set };
}

/** What a custom property is here and now: light-dark() and color-mix() resolved. */
function colour(element, name) {
  const probe = h("i");
  probe.style.color = `var(${name})`;
  element.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

function fit(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let short = text;
  while (short.length > 1 && context.measureText(`${short}…`).width > width) short = short.slice(0, -1);
  return `${short}…`;
}
