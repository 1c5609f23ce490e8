// Where an answer comes from: its passages in the training text, marked in the answer and told beside it.
//
// The answer is drawn from Markdown, so its characters are not those that were traced.  A passage is found by its letters
// and digits alone, in order, and marked by the highlights of the browser, which change nothing on the page.

import { send } from "./api.js";
import { h, iconButton, notify, put } from "./dom.js";
import { percent } from "./tokens.js";

const FOUND = "trace-found", NOW = "trace-now";
const plain = /[\p{L}\p{N}]/u;
const number = (n) => n.toLocaleString();
const times = (n) => (n === 1 ? "once" : `${number(n)} times`);
const oneLine = (text) => text.replaceAll("\n", "⏎");

/** `onclose` hides the panel. */
export function createTracePanel(onclose) {
  const inside = h("div", { class: "trace-inside" });
  const element = h("aside", { class: "settings trace", "aria-label": "Where this answer comes from" },
    h("div", { class: "side-head" }, h("h2", {}, "Where it comes from"), iconButton("close", "Close", onclose)), inside);
  let shown = null; // {body, answer, messages}
  let asking = null;

  async function show(answer, messages, body) {
    clear();
    const mine = shown = { answer, messages, body };
    asking?.abort();
    asking = new AbortController();
    put(inside, h("p", { class: "hint" }, "Looking through the training text …"));
    try {
      const prompt = messages.filter((message) => message.role === "user").at(-1)?.content ?? "";
      const found = await send("POST", "/studio/api/trace", { model: answer.model, text: answer.text, prompt }, { signal: asking.signal });
      if (mine !== shown) return;
      tell(found);
      mark(found.quotations);
    } catch (error) {
      if (error.name !== "AbortError" && mine === shown) put(inside, h("p", { class: "note", role: "alert" }, error.message));
    }
  }

  function clear() {
    shown = null;
    for (const name of [FOUND, NOW]) globalThis.CSS?.highlights?.delete(name);
  }

  function tell(found) {
    const share = Math.round(100 * found.p_covered);
    put(inside,
      h("p", { class: "lead", role: "status" }, found.quotations.length
        ? `${share} % of this answer stands word for word in the training text.`
        : "No passage of this answer stands word for word in the training text."),
      h("p", { class: "hint" }, `Longest run: ${number(found.longest_tokens)} of ${number(found.n_tokens)} tokens. Common short runs are left out.`),
      h("ol", { class: "quotations" }, found.quotations.map((one) => quotation(one))),
      Object.entries(found.nearest).map(([stage, near]) => near.length > 0 && h("section", { class: "near" },
        h("h3", {}, `Nearest of what ${stage} taught`), h("ul", {}, near.map(({ example }) => nearest(example))))));
  }

  function quotation(one) {
    const next = h("div", { class: "followed" });
    const ask = h("button", { type: "button", class: "text", onclick: () => follow(one, next, ask) }, "What came next there?");
    const item = h("li", { class: "quotation", tabindex: "0" },
      h("blockquote", {}, one.text.trim() || oneLine(one.text)),
      h("p", { class: "hint" }, `${number(one.last - one.first)} tokens · ${times(one.count)} in training · `, h("span", { title: "how unlikely the passage is: the sum over its tokens of -log2 of how frequent each is" }, `${Math.round(one.bits)} bits`)),
      one.places.map((place, i) => h("details", { open: i === 0 && one.bits > 60, ontoggle: showMark },
        h("summary", {}, h("span", { class: "source" }, place.source), h("span", { class: "hint" }, ` at character ${number(place.offset)}`)),
        h("pre", { tabindex: "0" }, h("span", {}, place.before), h("mark", {}, place.text), h("span", {}, place.after)))),
      one.count > one.places.length && one.places.length > 0 && h("p", { class: "hint" }, `and ${number(one.count - one.places.length)} more`),
      ask, next);
    for (const name of ["pointerenter", "focusin"]) item.addEventListener(name, () => highlight(NOW, [one]));
    for (const name of ["pointerleave", "focusout"]) item.addEventListener(name, () => highlight(NOW, []));
    return item;
  }

  /** The next token after a passage: how often each followed in training, and what the model gives it. */
  async function follow(one, place, button) {
    const { answer, messages } = shown;
    button.disabled = true;
    try {
      const found = await send("POST", "/studio/api/trace/next", { model: answer.model, messages, text: answer.text.slice(0, codeUnits(answer.text, one.stop)) });
      put(place,
        h("p", { class: "hint" }, `The last ${number(found.context)} tokens stand ${times(found.count)} in training. After them:`),
        h("table", {},
          h("thead", {}, h("tr", {}, ["next", "in training", "model"].map((name) => h("th", { scope: "col" }, name)))),
          h("tbody", {}, found.rows.map((row) => h("tr", {}, h("th", { scope: "row" }, h("code", {}, oneLine(row.text).replace(/^ | $/g, "␣") || "␣")), cell(row.p_training, "leaf"), cell(row.p_model, "sky"))))));
      button.hidden = true;
    } catch (error) {
      notify(error.message);
      button.disabled = false;
    }
  }

  // ---- marks -----------------------------------------------------------------------------------------------------

  function mark(quotations) { highlight(FOUND, quotations); }

  function highlight(name, quotations) {
    if (!globalThis.CSS?.highlights || !shown) return;
    const ranges = quotations.flatMap((one) => rangeOf(shown.body, shown.answer.text, one) ?? []);
    CSS.highlights.set(name, new Highlight(...ranges));
  }

  return { element, show, clear };
}

/** The passage in the middle of its neighbourhood. */
function showMark({ currentTarget }) {
  const frame = currentTarget.querySelector("pre");
  frame.scrollTop = currentTarget.querySelector("mark").offsetTop - frame.clientHeight / 3;
}

function cell(p, colour) {
  if (p === null) return h("td", { class: "p" }, "—");
  const bar = h("i", { class: colour, "aria-hidden": "true" });
  bar.style.width = p > 0 ? `${Math.max(1, 100 * p)}%` : "0";
  return h("td", { class: "p" }, p > 0 ? percent(Math.log(p)) : "never", bar);
}

function nearest(example) {
  return h("li", {}, h("p", { class: "said" }, example.prompt),
    example.answer && h("p", { class: "taught" }, example.answer),
    example.rejected && h("p", { class: "rejected" }, h("span", { class: "hint" }, "rather not: "), example.rejected),
    h("p", { class: "hint" }, [example.source, example.id].filter(Boolean).join(" · ")));
}

/** Python counts characters, JavaScript halves of some. */
const codeUnits = (text, n) => [...text].slice(0, n).join("").length;

/** The range of what is drawn that shows characters `[start, stop)` of `text`; null where it cannot be told. */
function rangeOf(body, text, { start, stop }) {
  const characters = [...text];
  const letters = (part) => part.filter((c) => plain.test(c)).join("");
  const wanted = letters(characters.slice(start, stop));
  if (!wanted) return null;
  const drawn = [];
  const walker = document.createTreeWalker(body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    let at = 0;
    for (const c of node.data) {
      if (plain.test(c)) for (let i = 0; i < c.length; i++) drawn.push([c[i], node, at, at + c.length]);
      at += c.length;
    }
  }
  const shown = drawn.map(([c]) => c).join("");
  const before = letters(characters.slice(0, start)).length;
  const found = shown.startsWith(wanted, before) ? before : shown.indexOf(wanted);
  if (found < 0) return null;
  const range = document.createRange();
  range.setStart(drawn[found][1], drawn[found][2]);
  range.setEnd(drawn[found + wanted.length - 1][1], drawn[found + wanted.length - 1][3]);
  return range;
}
