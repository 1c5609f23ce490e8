// The Explain page: an answer token by token, coloured by how sure the model was; a chosen token is opened up.
// What lies before the token is what the model had read; the token is what is asked about.

import { ApiError, send, stream } from "./api.js";
import { h, icon, put } from "./dom.js";
import { createAttentionView, createAttributionView, createLayersView, createPatchingView } from "./explain_views.js";
import { label, percent, tone, visible } from "./tokens.js";

const VIEWS = [
  ["layers", "Layers", createLayersView], ["attention", "Attention", createAttentionView],
  ["attribution", "Attribution", createAttributionView], ["patching", "Patching", createPatchingView],
];
const BEGINNING = "def load(self, ";

export function createExplainPage(models) {
  let tokens = []; // prompt and answer; those of the answer have logp
  let nPrompt = 0;
  let chosen = null; // index into tokens
  let answering = null;
  let shown = "layers";

  const model = h("select", { "aria-label": "Model", id: "explain-model" }, models.map((one) => h("option", { value: one.id }, one.id)));
  const prompt = h("textarea", { id: "explain-prompt", rows: 3, "aria-label": "Prompt", placeholder: "A question, or the beginning of a text" });
  const isChat = h("input", { type: "checkbox", id: "explain-chat" });
  const chatBox = h("label", { class: "check", for: "explain-chat" }, isChat, "as a question");
  const count = h("select", { "aria-label": "Longest answer" }, [8, 24, 64].map((n) => h("option", { value: n, selected: n === 24 }, `${n} tokens`)));
  const go = h("button", { type: "button", class: "main", onclick: answer }, "Answer");
  const halt = h("button", { type: "button", class: "main halt", hidden: true, onclick: () => answering?.abort() }, icon("stop"), "Stop");
  const flow = h("div", { class: "sheet open-sheet", role: "listbox", "aria-label": "Prompt and answer, token by token" });
  const status = h("p", { class: "hint", role: "status" });
  const title = h("h2", {}, "Inside");
  const tabs = h("div", { class: "view-tabs", role: "tablist", "aria-label": "What to look at" });
  const panel = h("div", { class: "panel", role: "tabpanel", id: "explain-panel" });
  const views = {};

  const element = h("div", { class: "page complete explain" },
    h("header", { class: "row-head" }, h("h1", {}, "Why this token?"),
      h("p", { class: "lead" }, "Ask something. Then choose a token of the answer, and see what the model saw: what each layer would have said, where each head looked, what it rests on.")),
    h("div", { class: "bench inside" },
      h("section", { class: "questioned", "aria-label": "Prompt and answer" },
        h("div", { class: "side-head" }, h("h2", {}, "Prompt"), model), prompt,
        h("div", { class: "controls" }, go, halt, count, chatBox), flow,
        h("p", { class: "scale", "aria-hidden": "true" }, h("span", {}, "sure"), h("i"), h("span", {}, "a surprise")), status),
      h("section", { class: "opened", "aria-label": "Inside the chosen token" }, title, tabs, panel)));

  // ---- the answer ----------------------------------------------------------------------------------------------

  async function answer() {
    if (answering || !models.length || !prompt.value) return;
    const controller = answering = new AbortController();
    tokens = [];
    nPrompt = 0;
    chosen = null;
    draw();
    try {
      const body = { model: model.value, text: prompt.value, is_chat: isChat.checked, max_tokens: Number(count.value) };
      for await (const event of stream("/studio/api/explain/answer", body, controller.signal)) {
        if (event.prompt) { tokens = event.prompt; nPrompt = tokens.length; } else tokens.push(event);
        draw();
      }
    } catch (error) {
      if (error.name !== "AbortError") status.textContent = error.message;
    }
    answering = null;
    const failure = tokens.length ? "" : status.textContent;
    draw();
    if (failure) status.textContent = failure;
    else if (tokens.length > nPrompt) choose(nPrompt);
  }

  function draw() {
    go.hidden = Boolean(answering);
    halt.hidden = !answering;
    go.disabled = !models.length;
    flow.hidden = tokens.length === 0;
    flow.replaceChildren(...tokens.map(tokenElement));
    status.textContent = !models.length ? "No model is loaded." : answering ? "It is answering …" : tokens.length > nPrompt ? "Choose a token to open it. Those of the prompt can be opened too." : "";
    if (chosen === null) drawClosed();
  }

  function tokenElement(token, i) {
    const text = label(token);
    const isSaid = i >= nPrompt;
    const span = h("span", { class: `token${token.name ? " special" : ""}${isSaid ? "" : " read"}${i === chosen ? " open" : ""}`, role: "option",
      tabindex: i === (chosen ?? nPrompt) ? "0" : "-1", "data-at": i, "aria-selected": i === chosen ? "true" : "false",
      "aria-label": `${text.trim() || "space"}${isSaid ? `, ${percent(token.logp)}` : ", of the prompt"}` }, text);
    if (isSaid) span.style.setProperty("--tone", tone(token.logp));
    return span;
  }

  function choose(i) {
    if (i < 1 || i >= tokens.length) return; // before the first there is nothing to read
    chosen = i;
    for (const span of flow.children) {
      const isIt = Number(span.dataset.at) === i;
      span.classList.toggle("open", isIt);
      span.setAttribute("aria-selected", isIt);
      span.tabIndex = isIt ? 0 : -1;
    }
    put(title, "Why ", h("b", {}, visible(tokens[i])), tokens[i].logp === undefined ? null : h("span", { class: "hint" }, ` ${percent(tokens[i].logp)}`));
    look();
  }

  flow.addEventListener("click", (event) => { const span = event.target.closest(".token"); if (span) choose(Number(span.dataset.at)); });
  flow.addEventListener("keydown", (event) => {
    const i = Number(event.target.closest?.(".token")?.dataset.at);
    const to = { ArrowLeft: i - 1, ArrowRight: i + 1, Home: 1, End: tokens.length - 1, Enter: i, " ": i }[event.key];
    if (to === undefined || event.altKey) return;
    event.preventDefault();
    choose(to);
    flow.querySelector("[tabindex='0']")?.focus();
  });

  // ---- inside --------------------------------------------------------------------------------------------------

  function drawTabs() {
    put(tabs, VIEWS.map(([name, title], i) => h("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-selected": name === shown ? "true" : "false",
      "aria-controls": "explain-panel", "aria-keyshortcuts": `Alt+${i + 1}`, tabindex: name === shown ? "0" : "-1", onclick: () => turnTo(name) }, title)));
  }

  function turnTo(name) {
    shown = name;
    drawTabs();
    panel.setAttribute("aria-labelledby", `tab-${name}`);
    look();
  }

  tabs.addEventListener("keydown", (event) => {
    const at = VIEWS.findIndex(([name]) => name === shown);
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1 }[event.key];
    if (to === undefined || !VIEWS[to]) return;
    event.preventDefault();
    turnTo(VIEWS[to][0]);
    tabs.querySelector("[aria-selected='true']").focus();
  });

  function drawClosed() {
    put(title, "Inside");
    put(panel, h("p", { class: "hint" }, "Nothing is open yet."));
  }

  /** The shown view, for the chosen token.  Each asks for itself; what was asked for an earlier token is dropped. */
  async function look() {
    if (chosen === null) { drawClosed(); return; }
    const view = views[shown] ??= VIEWS.find(([name]) => name === shown)[2](ask);
    if (panel.firstChild !== view.element) put(panel, view.element);
    const known = models.find((one) => one.id === model.value);
    await view.show({ tokens: tokens.slice(0, chosen), target: tokens[chosen], text: prompt.value, isChat: isChat.checked, nPrompt, canChat: known?.can_chat });
  }

  let asking = null;

  /** One question at a time: a newer one ends the older.  Null where it was ended. */
  async function ask(path, body) {
    asking?.abort();
    const controller = asking = new AbortController();
    element.classList.add("asking");
    try {
      return await send("POST", `/studio/api/explain/${path}`, { model: model.value, ...body }, { signal: controller.signal });
    } catch (error) {
      if (error.name === "AbortError") return null;
      if (error instanceof ApiError) return { error: error.message };
      throw error;
    } finally {
      if (asking === controller) element.classList.remove("asking");
    }
  }

  // ---- the page ------------------------------------------------------------------------------------------------

  function fitModel() {
    const known = models.find((one) => one.id === model.value);
    chatBox.hidden = !known?.can_chat;
    isChat.checked = Boolean(known?.can_chat);
    const said = isChat.checked ? known.questions : known?.beginnings;
    prompt.value = said?.[0] ?? BEGINNING;
    tokens = [];
    chosen = null;
    draw();
  }

  model.addEventListener("change", () => { answering?.abort(); fitModel(); });
  document.addEventListener("keydown", (event) => {
    if (!element.isConnected) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) answer();
    else if (event.altKey && /^Digit[1-4]$/.test(event.code)) turnTo(VIEWS[Number(event.code.slice(5)) - 1][0]);
    else if (event.key === "Escape") { answering?.abort(); return; }
    else return;
    event.preventDefault();
  });
  drawTabs();
  fitModel();
  return { element, async show() {}, hide() { answering?.abort(); } };
}
