// Elements without markup: every text becomes a text node, so nothing a model or a file says is ever parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** h("button", { class: "icon", onclick: f, "aria-label": "Copy" }, "text", child, [more]) */
export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** The same for SVG. */
export function s(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...present(children));
  return element;
}

const present = (children) => children.flat().filter((child) => child !== null && child !== undefined && child !== false);

/** The children of `element` from now on; what is null or false is left out. */
export const put = (element, ...children) => element.replaceChildren(...present(children));

/** Line icons on a 24 by 24 grid. */
const ICONS = {
  menu: "M4 7h16M4 12h16M4 17h16",
  plus: "M12 5v14M5 12h14",
  copy: "M9 9h11v11H9ZM5 15H4V4h11v1",
  edit: "M4 20h4L19 9l-4-4L4 16Zm9-13 4 4",
  again: "M19 12a7 7 0 1 1-2.2-5.1L20 10m0-6v6h-6",
  send: "M12 20V5m-6 6 6-6 6 6",
  stop: "M7 7h10v10H7Z",
  sliders: "M4 8h9m5 0h2M4 16h3m5 0h8M15.500 5.500v5M9.500 13.500v5",
  export: "M12 4v11m-5-5 5 5 5-5M5 20h14",
  trash: "M5 7h14M9.500 7V4.500h5V7M7 7l1 13h8l1-13",
  columns: "M4 5h16v14H4Zm8 0v14",
  close: "m6 6 12 12M18 6 6 18",
  back: "m14 6-6 6 6 6",
  next: "m10 6 6 6-6 6",
  undo: "M9 8H4V3m.5 5A8.500 8.500 0 1 1 4 14",
  up: "M7 11v9H4v-9Zm0 0 4-7c1.500 0 2.500 1 2.500 2.500V10h5a1.500 1.500 0 0 1 1.500 1.800l-1.200 6.500A2 2 0 0 1 16.800 20H7",
  down: "M17 13V4h3v9Zm0 0-4 7c-1.500 0-2.500-1-2.500-2.500V14h-5A1.500 1.500 0 0 1 4 12.200l1.200-6.500A2 2 0 0 1 7.200 4H17",
  trace: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14Zm5 12 4 4M8 9.500h6M8 12.500h4",
  open: "M14 5h5v5m0-5-9 9M10 6H5v13h13v-5",
};

export function icon(name) {
  return s("svg", { viewBox: "0 0 24 24", "aria-hidden": "true", class: "glyph" }, s("path", { d: ICONS[name] }));
}

/** A button that is an icon with a name for those who cannot see it. */
export function iconButton(name, label, onclick, props = {}) {
  return h("button", { type: "button", class: "icon", "aria-label": label, title: label, onclick, ...props }, icon(name));
}

/** A short message for everybody, also for those who listen. */
export function notify(text) {
  const note = h("p", {}, text);
  document.getElementById("notices").append(note);
  setTimeout(() => note.remove(), 5000);
}

export async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // no permission, or not a secure address
    const area = h("textarea", { class: "hidden", value: text, "aria-hidden": "true" });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  if (!button) return;
  button.classList.add("done");
  setTimeout(() => button.classList.remove("done"), 1200);
}

/** Whether a key press belongs to a field and not to the page. */
export function isTyping(event) {
  return event.target.closest?.("input, textarea, select, [contenteditable], dialog") !== null;
}

export function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
