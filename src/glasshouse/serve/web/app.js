// The shell: which page is shown, light or dark, and the list of shortcuts.

import { get } from "./api.js";
import { createCardPage } from "./card.js";
import { createChatPage } from "./chat.js";
import { createComparePage } from "./compare.js";
import { createCompletePage } from "./complete.js";
import { h, isTyping, notify } from "./dom.js";
import { createExplainPage } from "./explain.js";
import { createLabelPage } from "./label.js";
import { createRunsPage } from "./runs.js";

const PAGES = { chat: createChatPage, complete: createCompletePage, explain: createExplainPage, runs: createRunsPage, label: createLabelPage, compare: createComparePage, card: createCardPage };
const made = {};
const main = document.getElementById("main");
let shown = null;

/** A page is made when first seen and then kept, so that an answer goes on while one looks at a run. */
async function route() {
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  if (name && !(name in PAGES)) return; // an anchor inside the page
  const key = name || "chat";
  made[key] ??= PAGES[key](models);
  if (shown !== made[key]) {
    shown?.hide?.();
    shown = made[key];
    main.replaceChildren(shown.element);
  }
  for (const link of document.querySelectorAll("nav [data-page]")) {
    if (link.dataset.page === key) { link.setAttribute("aria-current", "page"); link.scrollIntoView({ inline: "nearest", block: "nearest" }); }
    else link.removeAttribute("aria-current");
  }
  document.title = `${key[0].toUpperCase()}${key.slice(1)} · Glasshouse studio`;
  await shown.show(rest.join("/"));
}

function switchTheme() {
  const root = document.documentElement;
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
  try { localStorage.setItem("glasshouse-theme", root.dataset.theme); } catch { /* for this visit only */ }
}

const SHORTCUTS = [
  ["Everywhere", [["1 … 6", "from page to page"], ["?", "this list"]]],
  ["Chat", [["Enter", "send"], ["Shift + Enter", "new line"], ["Esc", "stop the answer"], ["/", "to the question field"],
    ["n", "new conversation"], ["e", "edit the last question"], ["r", "answer again"], ["c", "copy the last answer"], ["t", "where the last answer comes from"]]],
  ["Complete", [["Ctrl + Enter", "write on"], ["Alt + 1 … 9", "choose the next token"], ["Alt + ←", "take back one token"],
    ["← →", "from token to token"], ["↓  or Enter", "to a token's alternatives"], ["Esc", "stop, or close"]]],
  ["Explain", [["Ctrl + Enter", "answer"], ["← →", "from token to token"], ["Alt + 1 … 4", "layers, attention, attribution, patching"],
    ["← → ↑ ↓", "inside a map, from cell to cell"]]],
  ["Compare", [["Ctrl + Enter", "compare"], ["← →", "from token to token"], ["Esc", "stop"]]],
  ["Label", [["Ctrl + Enter", "submit"], ["s", "skip"], ["f", "flag"], ["1 … 9", "rank, or rate"], ["↑ ↓", "move an answer; half a step is a tie"],
    ["g  b", "good, bad"]]],
];

function showShortcuts() {
  const dialog = h("dialog", { class: "card shortcuts", "aria-labelledby": "shortcuts-title" },
    h("h2", { id: "shortcuts-title" }, "Keyboard"),
    SHORTCUTS.map(([title, keys]) => [h("h3", {}, title),
      h("dl", {}, keys.map(([key, what]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, what))))]),
    h("form", { method: "dialog", class: "buttons" }, h("button", { class: "main" }, "Close")));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

document.getElementById("theme").addEventListener("click", switchTheme);
document.getElementById("help").addEventListener("click", showShortcuts);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || isTyping(event)) return;
  if (event.key === "?") showShortcuts();
  else if ("123456".includes(event.key)) location.hash = `#/${Object.keys(PAGES)[event.key - 1]}`;
  else return;
  event.preventDefault();
});

let models = [];
try {
  models = await get("/studio/api/models");
} catch (error) {
  notify(error.message);
}
addEventListener("hashchange", route);
await route();
