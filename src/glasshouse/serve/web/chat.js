// The Chat page: conversations on the left, the one shown in the middle, its settings on the right.

import { get, send, stream } from "./api.js";
import { createTurn, createWelcome, lastTurn } from "./chat_turn.js";
import { messagesFor, newestEnd, newId, path, toConversation, toMarkdown } from "./chat_tree.js";
import { copy, download, h, iconButton, icon, isTyping, notify } from "./dom.js";
import { createOutbox, newSubmissionId } from "./label_outbox.js";
import { createSettings } from "./settings.js";
import { createTracePanel } from "./trace.js";

const DEFAULT_MAX_TOKENS = 512;
const SAVE_AFTER_MS = 600;

export function createChatPage(models) {
  const chats = new Map(); // id -> conversation: an answer goes on where it was asked, whatever is shown
  const live = new Map(); // answer -> its AbortController
  let chat = blank();
  let turns = new Map(); // turn id -> its view
  let list = [];
  let isAtEnd = true; // the reader is at the end of the conversation

  function blank() {
    const first = models.find((model) => model.can_chat) ?? models[0];
    return { title: "", system: "", models: first ? [first.id] : [], settings: { temperature: 0, stop: [] }, turns: [], head: null };
  }

  // ---- keeping -------------------------------------------------------------------------------------------------

  const content = ({ title, system, models, settings, turns, head, revision }) => ({ title, system, models, settings, turns, head, revision });

  /** One write after the other, each naming the revision it began from. */
  function save(which = chat) {
    clearTimeout(which.timer);
    which.saving = (which.saving ?? Promise.resolve()).then(async () => {
      try {
        if (!which.id) {
          const made = await send("POST", "/studio/api/chats", { ...content(which), revision: undefined });
          Object.assign(which, { id: made.id, revision: made.revision });
          chats.set(which.id, which);
          if (which === chat) history.replaceState(null, "", `#/chat/${which.id}`);
        } else {
          which.revision = (await send("PUT", `/studio/api/chats/${which.id}`, content(which))).revision;
        }
        which.isUnsaved = false;
        await loadList();
      } catch (error) {
        which.isUnsaved = error.status === 0;
        notify(error.message);
        if (error.status === 409) { chats.delete(which.id); if (which === chat) await open(which.id); }
      }
    });
    return which.saving;
  }

  function saveSoon() {
    if (!chat.turns.length) return; // nothing said yet: nothing to keep
    const which = chat;
    clearTimeout(which.timer);
    which.timer = setTimeout(() => save(which), SAVE_AFTER_MS);
  }

  async function loadList() {
    list = await get("/studio/api/chats");
    drawList();
  }

  /** "": what was shown last; "new": nothing said yet. */
  async function open(id) {
    if (id === "new") chat = blank();
    else if (chats.has(id)) chat = chats.get(id);
    else if (id) {
      chat = await get(`/studio/api/chats/${id}`);
      chats.set(id, chat);
    }
    history.replaceState(null, "", chat.id ? `#/chat/${chat.id}` : "#/chat");
    draw();
  }

  async function remove({ id, title }) {
    if (!confirm(`Delete “${title || "Conversation"}”? This cannot be undone.`)) return;
    for (const turn of chats.get(id)?.turns ?? []) for (const answer of turn.answers) live.get(answer)?.abort();
    await chats.get(id)?.saving;
    try { await send("DELETE", `/studio/api/chats/${id}`); } catch (error) { notify(error.message); }
    chats.delete(id);
    if (chat.id === id) location.hash = "#/chat/new";
    await loadList();
  }

  // ---- speaking ------------------------------------------------------------------------------------------------

  function ask(text, parent = chat.head, lanes = null) {
    if (!chat.models.length) return;
    const answers = chat.models.map((model, lane) => lanes?.[lane] ?? { model, text: "", reason: null, error: "", notice: "", n_tokens: null, seconds: null });
    const turn = { id: newId(), parent, question: text, answers };
    chat.turns.push(turn);
    chat.head = turn.id;
    chat.title ||= text.split("\n")[0].slice(0, 60);
    const which = chat;
    for (const [lane, answer] of answers.entries()) if (!answer.reason) answerWith(which, turn, lane);
    draw();
    save(which);
  }

  async function answerWith(which, turn, lane) {
    const answer = turn.answers[lane];
    const controller = new AbortController();
    live.set(answer, controller);
    const update = () => { if (which === chat) turns.get(turn.id)?.update(lane); };
    const began = performance.now();
    try {
      const messages = await fitting(which, turn, lane, controller.signal);
      let n = 0;
      for await (const event of stream("/v1/chat/completions", requestFor(which, answer.model, messages), controller.signal)) {
        const choice = event.choices?.[0];
        if (choice?.delta?.content) { answer.text += choice.delta.content; n += 1; }
        if (choice?.finish_reason) answer.reason = choice.finish_reason === "length" ? "length" : "stop";
        answer.n_tokens = event.usage?.completion_tokens ?? n;
        update();
      }
      answer.reason ??= "stop";
    } catch (error) {
      answer.reason = error.name === "AbortError" ? "cancelled" : "error";
      if (answer.reason === "error") answer.error = error.message;
    }
    answer.seconds = (performance.now() - began) / 1000;
    live.delete(answer);
    update();
    drawComposer();
    save(which);
  }

  /** The messages that fit into the model's context, with a word about those that do not. */
  async function fitting(which, turn, lane, signal) {
    const messages = messagesFor(which, turn, lane);
    const max_tokens = which.settings.max_tokens ?? DEFAULT_MAX_TOKENS;
    const fit = await send("POST", "/studio/api/fit", { model: turn.answers[lane].model, messages, max_tokens }, { signal });
    if (!fit.n_dropped) return messages;
    const what = fit.n_dropped === 1 ? "The oldest turn no longer fits" : `The ${fit.n_dropped} oldest turns no longer fit`;
    turn.answers[lane].notice = `${what} into the context of ${fit.max_seq_len} tokens: the model did not read ${fit.n_dropped === 1 ? "it" : "them"}.`;
    const n_system = messages[0].role === "system" ? 1 : 0;
    return [...messages.slice(0, n_system), ...messages.slice(n_system + 2 * fit.n_dropped)];
  }

  function requestFor(which, model, messages) {
    const set = Object.fromEntries(Object.entries(which.settings).filter(([, value]) => value !== null && value !== undefined && value.length !== 0));
    return { temperature: 0, max_tokens: DEFAULT_MAX_TOKENS, ...set, model, messages, stream: true, stream_options: { include_usage: true } };
  }

  function again(turn, lane) {
    const lanes = turn.answers.map((answer, other) => (other !== lane && answer.reason ? { ...answer } : null));
    const spoken = chat.models;
    chat.models = turn.answers.map((answer, other) => (other === lane ? spoken[lane] ?? answer.model : answer.model));
    ask(turn.question, turn.parent, lanes);
    chat.models = spoken;
  }

  const outbox = createOutbox({ prefix: "glasshouse-judgement:", ask: send, onchange: () => {
    if (!outbox.waiting().length) for (const which of new Set([chat, ...chats.values()])) if (which.isUnsaved) save(which);
  } });

  /** A thumb or a better answer goes to the campaign "chat" of the labels, at once or when the server is there again. */
  async function judge(turn, lane, change) {
    const which = chat;
    const answer = turn.answers[lane];
    const before = { is_good: answer.is_good ?? null, better: answer.better ?? "" };
    const next = { ...before, ...change };
    if (next.better) next.is_good ??= false; // who writes a better one does not find this one good enough
    const show = (said) => {
      Object.assign(answer, said);
      if (which === chat) turns.get(turn.id)?.update(lane);
      save(which);
    };
    const id = newSubmissionId();
    show(next);
    await outbox.add(id, "/studio/api/labels/chat", { model: answer.model, prompt: messagesFor(which, turn, lane), answer: answer.text, ...next });
    await which.saving; // what it has to say is said first
    const left = outbox.waiting().find((entry) => entry.id === id);
    if (left?.refusal) {
      outbox.drop(id);
      show(before);
    }
    if (left) notify(left.refusal ?? "Kept in this browser until the server answers.");
  }

  /** Where an answer comes from: told in the panel, marked in `body`. */
  function trace(turn, lane, body) {
    openPanel("trace");
    tracing.show(turn.answers[lane], messagesFor(chat, turn, lane), body);
  }

  function stop() {
    for (const turn of path(chat)) for (const answer of turn.answers) live.get(answer)?.abort();
  }

  const isSpeaking = () => path(chat).some((turn) => turn.answers.some((answer) => live.has(answer)));

  // ---- drawing -------------------------------------------------------------------------------------------------

  const act = {
    chat: () => chat,
    isLive: (answer) => live.has(answer),
    edit: (turn, text) => ask(text, turn.parent),
    again,
    judge,
    trace,
    drawn: follow,
    goTo: (turn) => { chat.head = newestEnd(chat, turn); draw(); save(); },
  };

  const listElement = h("ul", { class: "chats" });
  const sidebar = h("aside", { class: "sidebar", "aria-label": "Conversations" },
    h("div", { class: "side-head" },
      h("button", { type: "button", class: "new", onclick: () => { location.hash = "#/chat/new"; openPanel(null); } }, icon("plus"), "New conversation"),
      iconButton("close", "Close the list", () => openPanel(null))),
    listElement);
  const title = h("input", { class: "title", "aria-label": "Title of this conversation", placeholder: "New conversation", maxlength: 120 });
  title.addEventListener("input", () => { chat.title = title.value; saveSoon(); });
  const pickers = h("div", { class: "pickers" });
  const thread = h("div", { class: "thread" });
  const field = h("textarea", { rows: 1, id: "question", placeholder: "Ask something", "aria-label": "Your question" });
  const sendButton = iconButton("send", "Send (Enter)", submit, { class: "icon send" });
  const stopButton = iconButton("stop", "Stop (Esc)", stop, { class: "icon send stop" });
  const composer = h("form", { class: "composer" }, field, sendButton, stopButton);
  composer.addEventListener("submit", (event) => { event.preventDefault(); submit(); });
  const scroller = h("div", { class: "scroller", tabindex: "-1" }, thread);
  const settings = createSettings(() => chat, saveSoon, () => openPanel(null));
  const tracing = createTracePanel(() => openPanel(null));
  const exporter = h("details", { class: "menu" },
    h("summary", { class: "icon", "aria-label": "Export this conversation", title: "Export" }, icon("export")),
    h("div", {},
      h("button", { type: "button", onclick: () => exportAs("md", "text/markdown", toMarkdown(chat)) }, "Markdown"),
      h("button", { type: "button", onclick: () => exportAs("json", "application/json", `${JSON.stringify(toConversation(chat), null, 1)}\n`) }, "JSON, ready to train on"),
      h("button", { type: "button", onclick: () => { copy(toMarkdown(chat)); notify("Copied."); exporter.open = false; } }, "Copy as Markdown")));
  const element = h("div", { class: "page chat" }, sidebar,
    h("section", { class: "conversation", "aria-label": "Conversation" },
      h("header", { class: "chat-head" },
        iconButton("menu", "Conversations", () => openPanel("sidebar"), { class: "icon only-small" }),
        title, pickers, exporter,
        iconButton("sliders", "Settings", () => openPanel(element.dataset.panel === "settings" ? null : "settings"), { "data-act": "settings" })),
      scroller, h("div", { class: "composer-place" }, composer)),
    settings.element, tracing.element);

  function openPanel(name) {
    if (name !== "trace") tracing.clear();
    if (name) element.dataset.panel = name;
    else delete element.dataset.panel;
  }

  function exportAs(ending, type, text) {
    exporter.open = false;
    download(`${(chat.title || "conversation").replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 50)}.${ending}`, type, text);
  }

  function submit() {
    const text = field.value.trim();
    if (!text || isSpeaking()) return;
    field.value = "";
    grow();
    ask(text);
  }

  function grow() {
    field.style.height = "auto";
    field.style.height = `${Math.min(field.scrollHeight, innerHeight * 0.4)}px`;
    drawComposer();
  }

  field.addEventListener("input", grow);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); submit(); }
  });

  function drawComposer() {
    const speaking = isSpeaking();
    sendButton.hidden = speaking;
    stopButton.hidden = !speaking;
    sendButton.disabled = !field.value.trim() || !chat.models.length;
  }

  function drawList() {
    listElement.replaceChildren(...list.map((item) => h("li", {},
      h("a", { href: `#/chat/${item.id}`, "aria-current": item.id === chat.id ? "page" : null, onclick: () => openPanel(null) },
        h("span", { class: "name" }, item.title || "Conversation"), h("span", { class: "hint" }, ago(item.updated_at))),
      iconButton("trash", `Delete ${item.title || "conversation"}`, () => remove(item)))));
    if (!list.length) listElement.append(h("li", { class: "hint none" }, "Conversations are kept here."));
  }

  /** Which model, or which two. */
  function drawPickers() {
    const pick = (lane) => {
      const select = h("select", { "aria-label": lane ? "Second model" : "Model" },
        models.map((model) => h("option", { value: model.id, selected: model.id === chat.models[lane] }, model.id)));
      select.addEventListener("change", () => { chat.models[lane] = select.value; saveSoon(); drawPickers(); if (!chat.turns.length) draw(); });
      return select;
    };
    const isTwo = chat.models.length === 2;
    const toggle = h("button", { type: "button", class: "icon", "aria-pressed": String(isTwo), "aria-label": "Two models side by side", title: "Two models side by side" }, icon("columns"));
    toggle.addEventListener("click", () => {
      const other = models.find((model) => model.can_chat && model.id !== chat.models[0]) ?? models[0];
      chat.models = isTwo ? chat.models.slice(0, 1) : [chat.models[0], other.id];
      saveSoon();
      drawPickers();
      if (!chat.turns.length) draw();
    });
    pickers.replaceChildren(...chat.models.map((_, lane) => pick(lane)), ...(models.length ? [toggle] : []));
  }

  function draw() {
    if (element.dataset.panel === "trace") openPanel(null); // of an answer that is no longer shown
    title.value = chat.title;
    turns = new Map();
    const shown = path(chat);
    for (const turn of shown) turns.set(turn.id, createTurn(turn, act));
    const used = models.filter((model) => chat.models.includes(model.id));
    thread.replaceChildren(...(shown.length ? [...turns.values()].map((turn) => turn.element)
      : [createWelcome(used, used[0]?.questions ?? [], ask)]));
    thread.classList.toggle("two", shown.some((turn) => turn.answers.length === 2));
    drawPickers();
    drawComposer();
    drawList();
    settings.show();
    isAtEnd = true;
    follow();
  }

  /** Stay at the end while it grows, unless the reader has gone up. */
  function follow() {
    if (isAtEnd) scroller.scrollTop = scroller.scrollHeight;
  }

  scroller.addEventListener("scroll", () => { isAtEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60; });

  document.addEventListener("keydown", (event) => {
    if (!element.isConnected || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "Escape") {
      if (exporter.open) exporter.open = false;
      else if (isSpeaking()) stop();
      else if (element.dataset.panel) openPanel(null);
      return;
    }
    if (isTyping(event)) return;
    const last = lastTurn(chat);
    const keys = {
      "/": () => field.focus(),
      n: () => { location.hash = "#/chat/new"; },
      e: () => last && turns.get(last.id).edit(),
      r: () => last && !isSpeaking() && again(last, 0),
      t: () => last && turns.get(last.id).trace(0),
      c: () => last && (copy(last.answers[0].text), notify("Copied.")),
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  document.addEventListener("click", (event) => { if (exporter.open && !exporter.contains(event.target)) exporter.open = false; });
  addEventListener("pagehide", () => {
    for (const which of chats.values()) {
      const isOpen = which.turns.some((turn) => turn.answers.some((answer) => live.has(answer)));
      if (isOpen) send("PUT", `/studio/api/chats/${which.id}`, content(which), { keepalive: true }).catch(() => {});
    }
  });

  return {
    element,
    async show(id) {
      outbox.flush(); // what was judged while the server was away
      if (id !== (chat.id ?? null) || !thread.hasChildNodes()) {
        try { await open(id); } catch (error) { notify(error.message); location.hash = "#/chat/new"; }
      }
      if (matchMedia("(min-width: 900px)").matches) field.focus();
      await loadList();
    },
  };
}

function ago(at) {
  const minutes = (Date.now() / 1000 - at) / 60;
  if (minutes < 1) return "now";
  if (minutes < 60) return `${Math.floor(minutes)} min`;
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h`;
  return new Date(at * 1000).toLocaleDateString();
}
