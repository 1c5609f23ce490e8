// The Complete page: a model predicts the next word, and that is all it does.
// What stands is typed text, then tokens by exact id; choosing another token keeps the way left as a branch.

import { send, stream } from "./api.js";
import { copy, h, icon, iconButton, notify } from "./dom.js";
import { label, percent, textOf, tone, visible } from "./tokens.js";
import { createTyped } from "./typed.js";

const SHOWN = 12;
const PAUSE_MS = 160; // after the last key, before the model is asked
const BEGINNINGS = ["Once upon a time", "The capital of France is", "def "];

export function createCompletePage(models) {
  let tokens = []; // after the typed text
  let next = null; // {tokens, n_prompt_tokens, max_seq_len} or {error}
  let branches = []; // {base, tokens}: ways left, the latest first
  let writing = null; // AbortController while it writes on
  let asking = null;
  let timer = 0;
  let isFresh = true;

  // ---- the sheet -----------------------------------------------------------------------------------------------

  const typed = createTyped(edited);
  const flow = h("span", { class: "flow", role: "list", "aria-label": "What the model wrote, token by token" });
  const sheet = h("div", { class: "sheet" }, typed.element, flow);
  const popover = h("div", { class: "popover", role: "dialog", "aria-label": "Alternatives", hidden: true });
  const nextList = h("ol", { class: "next" });
  const nextHead = h("p", { class: "hint" });
  const branchList = h("ul", { class: "branches" });
  const branchBox = h("section", { class: "branch-box", hidden: true }, h("h2", {}, "Ways not taken"), branchList);
  const model = h("select", { "aria-label": "Model", id: "complete-model" }, models.map((one) => h("option", { value: one.id }, one.id)));
  const temperature = h("input", { type: "range", id: "heat", min: 0, max: 1.5, step: 0.1, value: 0, "aria-label": "Temperature" });
  const heat = h("output", { for: "heat" }, "0");
  const count = h("select", { "aria-label": "How many tokens" }, [1, 8, 32, 128].map((n) => h("option", { value: n, selected: n === 32 }, n === 1 ? "1 token" : `${n} tokens`)));
  const go = h("button", { type: "button", class: "main", onclick: () => writeOn() }, "Write on");
  const halt = h("button", { type: "button", class: "main halt", hidden: true, onclick: () => writing?.abort() }, icon("stop"), "Stop");
  const back = iconButton("undo", "Take back one token (Alt + ←)", () => cut(tokens.length - 1));
  const keep = h("button", { type: "button", class: "text", onclick: keepAll, title: "Make it your own text, to edit it" }, "Edit as text");
  const clear = h("button", { type: "button", class: "text", onclick: clearAll }, "Clear");
  const copyButton = h("button", { type: "button", class: "text", onclick: () => { copy(typed.text() + textOf(tokens)); notify("Copied."); } }, "Copy");
  const status = h("p", { class: "hint", role: "status" });

  const element = h("div", { class: "page complete" },
    h("header", { class: "row-head" }, h("h1", {}, "What comes next?"),
      h("p", { class: "lead" }, "A language model does one thing: from the text so far it gives every token a probability to be the next. Type, and watch. Choose, and it goes on from there.")),
    h("div", { class: "bench" },
      h("section", { class: "writing", "aria-label": "Text" }, sheet,
        h("div", { class: "controls" }, go, halt, count,
          h("label", { class: "heat", for: "heat" }, "Temperature", temperature, heat), back,
          h("span", { class: "spring" }), keep, copyButton, clear),
        h("p", { class: "scale", "aria-hidden": "true" }, h("span", {}, "sure"), h("i"), h("span", {}, "a surprise")), status, branchBox),
      h("section", { class: "next-box", "aria-label": "Probabilities of the next token" },
        h("div", { class: "side-head" }, h("h2", {}, "The next token"), model), nextHead, nextList)),
    popover);

  // ---- what stands ---------------------------------------------------------------------------------------------

  const body = (more) => ({ model: model.value, text: typed.text(), ids: tokens.map((token) => token.id), k: SHOWN, ...more });

  function changed() {
    draw();
    askNext();
  }

  /** From token `at` on the way is left, and kept as a branch. */
  function cut(at) {
    if (at < 0 || at >= tokens.length) return;
    writing?.abort();
    leave(at);
    tokens = tokens.slice(0, at);
    changed();
  }

  function leave(at) {
    if (tokens.length <= at) return;
    const isKnown = branches.some((branch) => branch.base === typed.text() && same(branch.tokens.slice(0, tokens.length), tokens));
    if (!isKnown) branches = [{ base: typed.text(), tokens, at }, ...branches].slice(0, 12);
  }

  const same = (a, b) => a.length === b.length && a.every((token, i) => token.id === b[i].id);

  /** Go another way at token `at`, and on for as long as the way that was left. */
  async function branch(at, choice) {
    writing?.abort();
    hidePopover();
    const rest = tokens.length - at - 1;
    const alternatives = tokens[at].alternatives;
    leave(at);
    tokens = [...tokens.slice(0, at), { ...choice, alternatives }];
    changed();
    if (rest > 0) await writeOn(Math.max(rest, 8));
    focusToken(at);
  }

  function choose(choice) {
    tokens = [...tokens, { ...choice, alternatives: next.tokens }];
    changed();
  }

  function takeBranch(chosen) {
    writing?.abort();
    branches = branches.filter((one) => one !== chosen);
    if (!same(chosen.tokens.slice(0, tokens.length), tokens)) leave(0);
    tokens = chosen.tokens;
    changed();
  }

  function keepAll() {
    writing?.abort();
    typed.set(typed.text() + textOf(tokens));
    tokens = [];
    branches = [];
    changed();
    typed.caretToEnd();
  }

  function clearAll() {
    writing?.abort();
    typed.set("");
    tokens = [];
    branches = [];
    changed();
    typed.caretToEnd();
  }

  function edited() {
    isFresh = false;
    writing?.abort();
    tokens = [];
    draw();
    askNext(PAUSE_MS);
  }

  // ---- asking the model ----------------------------------------------------------------------------------------

  function askNext(pause = 0) {
    clearTimeout(timer);
    asking?.abort();
    if (writing || !models.length) return;
    timer = setTimeout(async () => {
      const controller = asking = new AbortController();
      element.classList.add("asking");
      try {
        next = await send("POST", "/studio/api/next-token", body(), { signal: controller.signal });
      } catch (error) {
        if (error.name === "AbortError") return;
        next = { error: error.message };
      }
      element.classList.remove("asking");
      drawNext();
    }, pause);
  }

  async function writeOn(n = Number(count.value)) {
    if (writing || !models.length) return;
    asking?.abort();
    clearTimeout(timer);
    const controller = writing = new AbortController();
    draw();
    try {
      const request = body({ max_tokens: n, temperature: Number(temperature.value) });
      for await (const token of stream("/studio/api/complete", request, controller.signal)) {
        if (controller.signal.aborted) break;
        tokens.push(token);
        if (tokens.length === 1) typed.setFollowed(true);
        flow.append(tokenElement(token, tokens.length - 1));
      }
    } catch (error) {
      if (error.name !== "AbortError") notify(error.message);
    }
    if (writing === controller) writing = null;
    draw();
    askNext();
  }

  // ---- drawing -------------------------------------------------------------------------------------------------

  function tokenElement(token, at) {
    const text = label(token);
    const span = h("span", { class: `token${token.name ? " special" : ""}`, role: "listitem", tabindex: at === 0 ? "0" : "-1", "data-at": at,
      "aria-label": `${text.trim() || "space"}, ${percent(token.logp)}`, "aria-haspopup": "dialog" }, text);
    span.style.setProperty("--tone", tone(token.logp));
    return span;
  }

  function draw() {
    hidePopover();
    flow.replaceChildren(...tokens.map(tokenElement));
    typed.setFollowed(tokens.length > 0);
    sheet.classList.toggle("writing-on", Boolean(writing));
    go.hidden = Boolean(writing);
    halt.hidden = !writing;
    go.disabled = !models.length;
    for (const button of [back, keep]) button.disabled = tokens.length === 0;
    const bits = tokens.reduce((sum, token) => sum - token.logp / Math.LN2, 0);
    const end = tokens.at(-1)?.name;
    status.textContent = tokens.length === 0 ? "" : `${tokens.length} token${tokens.length === 1 ? "" : "s"}, ${(bits / tokens.length).toFixed(2)} bits of surprise each${end ? `. It ended here, with ${end}` : ""}.`;
    drawBranches();
    drawNext();
  }

  function drawNext() {
    if (writing) { nextHead.textContent = "It is writing …"; return; }
    if (!models.length) { nextHead.textContent = "No model is loaded."; return; }
    if (!next) return;
    if (next.error) { nextHead.textContent = next.error; nextList.replaceChildren(); return; }
    nextHead.textContent = `After ${next.n_prompt_tokens} token${next.n_prompt_tokens === 1 ? "" : "s"} of ${next.max_seq_len} it can see:`;
    const rest = Math.max(0, 1 - next.tokens.reduce((sum, token) => sum + Math.exp(token.logp), 0));
    const hadFocus = nextList.contains(document.activeElement) ? Number(document.activeElement.dataset.choice) : -1;
    nextList.replaceChildren(...next.tokens.map((token, i) => h("li", {}, bar(token, i, () => choose(token)))),
      h("li", { class: "rest" }, h("span", { class: "choice" }, h("span", { class: "what" }, "all others"), h("span", { class: "p" }, percent(Math.log(rest))), meter(Math.log(rest)))));
    if (hadFocus >= 0) nextList.querySelector(`[data-choice="${hadFocus}"]`)?.focus();
  }

  function meter(logp) {
    const fill = h("span", { class: "fill" });
    fill.style.width = `${Math.max(0.4, 100 * Math.exp(logp))}%`;
    return h("span", { class: "bar", "aria-hidden": "true" }, fill);
  }

  function bar(token, i, onclick, isChosen = false) {
    const button = h("button", { type: "button", class: "choice", onclick, "data-choice": i, "data-logp": token.logp,
      "aria-label": `${label(token).trim() || "space"}, ${percent(token.logp)}`, "aria-current": isChosen ? "true" : null,
      "aria-keyshortcuts": i < 9 ? `Alt+${i + 1}` : null }, h("span", { class: "what" }, visible(token)), h("span", { class: "p" }, percent(token.logp)), meter(token.logp));
    return button;
  }

  function drawBranches() {
    const shown = branches.filter((one) => one.base === typed.text());
    branchBox.hidden = shown.length === 0;
    branchList.replaceChildren(...shown.map((one) => h("li", {}, h("button", { type: "button", onclick: () => takeBranch(one) },
      h("span", { class: "stem" }, `…${textOf(one.tokens.slice(0, one.at)).slice(-18)}`), h("span", { class: "way" }, textOf(one.tokens.slice(one.at)).slice(0, 160) || "(end)")))));
  }

  // ---- alternatives of a token ---------------------------------------------------------------------------------

  let hiding = 0;

  function showPopover(span) {
    clearTimeout(hiding);
    const at = Number(span.dataset.at);
    const token = tokens[at];
    if (!token || writing) return;
    const known = token.alternatives ?? [];
    const isListed = known.some((one) => one.id === token.id);
    popover.replaceChildren(
      h("p", { class: "hint" }, "Chosen: ", h("b", {}, visible(token)), ` with ${percent(token.logp)}. It could have been:`),
      h("ol", { class: "next" }, known.slice(0, 8).map((one, i) => h("li", {}, bar(one, i, () => branch(at, one), one.id === token.id))),
        isListed ? null : h("li", {}, bar(token, known.length, () => {}, true))));
    popover.dataset.at = at;
    popover.hidden = false;
    const box = span.getClientRects()[0];
    const frame = element.getBoundingClientRect();
    const width = Math.min(300, innerWidth - 24);
    const left = Math.max(12, Math.min(box.left, innerWidth - width - 12));
    popover.style.width = `${width}px`;
    popover.style.left = `${left - frame.left}px`;
    const isBelow = box.bottom + popover.offsetHeight + 12 < innerHeight || box.top < popover.offsetHeight + 70;
    popover.style.top = `${(isBelow ? box.bottom + 4 : box.top - popover.offsetHeight - 4) - frame.top}px`;
    for (const one of flow.querySelectorAll(".open")) one.classList.remove("open");
    span.classList.add("open");
  }

  function hidePopover() {
    clearTimeout(hiding);
    popover.hidden = true;
    for (const one of flow.querySelectorAll(".open")) one.classList.remove("open");
  }

  const hideSoon = () => { clearTimeout(hiding); hiding = setTimeout(() => { if (!popover.contains(document.activeElement)) hidePopover(); }, 220); };

  function focusToken(at) {
    const span = flow.children[Math.max(0, Math.min(at, flow.children.length - 1))];
    if (!span) return;
    for (const one of flow.querySelectorAll("[tabindex='0']")) one.tabIndex = -1;
    span.tabIndex = 0;
    span.focus();
  }

  const tokenOf = (event) => event.target.closest?.(".token");
  flow.addEventListener("pointerover", (event) => { if (tokenOf(event) && event.pointerType === "mouse") showPopover(tokenOf(event)); });
  flow.addEventListener("pointerout", hideSoon);
  flow.addEventListener("click", (event) => { if (tokenOf(event)) { focusToken(Number(tokenOf(event).dataset.at)); showPopover(tokenOf(event)); } });
  flow.addEventListener("focusin", (event) => { if (tokenOf(event)) showPopover(tokenOf(event)); });
  flow.addEventListener("focusout", hideSoon);
  popover.addEventListener("pointerenter", () => clearTimeout(hiding));
  popover.addEventListener("pointerleave", hideSoon);
  popover.addEventListener("focusout", hideSoon);
  flow.addEventListener("keydown", (event) => {
    const at = Number(tokenOf(event)?.dataset.at);
    const steps = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: tokens.length - 1 };
    if (event.altKey) return;
    if (event.key in steps) focusToken(steps[event.key]);
    else if (event.key === "ArrowDown" || event.key === "Enter") { showPopover(tokenOf(event)); popover.querySelector("button")?.focus(); }
    else return;
    event.preventDefault();
  });
  popover.addEventListener("keydown", (event) => {
    const buttons = [...popover.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement);
    if (event.key === "ArrowDown") buttons[Math.min(at + 1, buttons.length - 1)]?.focus();
    else if (event.key === "ArrowUp" && at > 0) buttons[at - 1].focus();
    else if (event.key === "ArrowUp" || event.key === "Escape") { const back = Number(popover.dataset.at); focusToken(back); if (event.key === "Escape") hidePopover(); }
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  sheet.addEventListener("click", (event) => { if (event.target === sheet) typed.caretToEnd(); });
  temperature.addEventListener("input", () => { heat.textContent = temperature.value; });
  model.addEventListener("change", () => { tokens = []; branches = []; changed(); });
  document.addEventListener("keydown", (event) => {
    if (!element.isConnected) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) writeOn();
    else if (event.altKey && /^Digit[1-9]$/.test(event.code)) { const choice = next?.tokens?.[Number(event.code.slice(5)) - 1]; if (choice && !writing) choose(choice); }
    else if (event.altKey && event.key === "ArrowLeft") cut(tokens.length - 1);
    else if (event.key === "Escape") { writing?.abort(); hidePopover(); return; }
    else return;
    event.preventDefault();
  });

  return {
    element,
    async show() {
      if (isFresh && !typed.text()) {
        const known = models.find((one) => one.id === model.value);
        typed.set(known?.beginnings?.[0] ?? BEGINNINGS[0]);
        changed();
      }
    },
    hide: hidePopover,
  };
}
