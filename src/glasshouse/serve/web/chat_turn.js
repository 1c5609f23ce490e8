// One turn on the page: the question, and an answer a model, kept up to date while it is spoken.

import { path as pathOf, siblings } from "./chat_tree.js";
import { copy, h, icon, iconButton } from "./dom.js";
import { markdown } from "./markdown.js";

const REASONS = { length: "cut off here", cancelled: "stopped", error: "failed" };

/** `act` is what the page does: chat(), isLive(answer), edit(turn, text), again(turn, lane), goTo(turn), drawn(). */
export function createTurn(turn, act) {
  const question = h("div", { class: "question" }, h("p", { class: "said" }, turn.question));
  const tools = h("div", { class: "turn-tools" },
    switcher(turn, act),
    iconButton("edit", "Edit and ask again", () => edit(turn, question, act), { "data-act": "edit" }));
  question.append(tools);
  const answers = turn.answers.map((answer, lane) => createAnswer(turn, lane, act));
  const element = h("article", { class: `turn lanes-${turn.answers.length}`, "aria-label": `Question: ${turn.question.slice(0, 80)}`, "data-turn": turn.id },
    question, h("div", { class: "answers" }, answers.map((answer) => answer.element)));
  return { element, update: (lane) => answers[lane].update(), edit: () => edit(turn, question, act) };
}

/** ‹ 2/3 › where the same place was asked more than once. */
function switcher(turn, act) {
  const all = siblings(act.chat(), turn);
  if (all.length < 2) return null;
  const at = all.indexOf(turn);
  const step = (name, label, other) => iconButton(name, label, () => act.goTo(other), { disabled: !other });
  return h("div", { class: "switcher", role: "group", "aria-label": "Versions of this turn" },
    step("back", "Earlier version", all[at - 1]), h("span", {}, `${at + 1}/${all.length}`), step("next", "Later version", all[at + 1]));
}

function edit(turn, question, act) {
  const before = [...question.childNodes];
  const field = h("textarea", { rows: Math.min(10, turn.question.split("\n").length + 1), "aria-label": "Edit the question", value: turn.question });
  const close = () => question.replaceChildren(...before);
  const send = () => {
    const text = field.value.trim();
    close();
    if (text) act.edit(turn, text);
  };
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { close(); question.querySelector("[data-act=edit]").focus(); }
    else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
    else return;
    event.stopPropagation();
  });
  question.replaceChildren(h("div", { class: "editing" }, field, h("p", { class: "buttons" },
    h("button", { type: "button", class: "main", onclick: send }, "Ask again"),
    h("button", { type: "button", class: "text", onclick: close }, "Cancel"))));
  field.focus();
  field.setSelectionRange(field.value.length, field.value.length);
}

function createAnswer(turn, lane, act) {
  const body = h("div", { class: "markdown" });
  const meta = h("p", { class: "meta" });
  const copyButton = iconButton("copy", "Copy this answer", () => copy(turn.answers[lane].text, copyButton), { "data-act": "copy" });
  const again = iconButton("again", "Answer again", () => act.again(turn, lane), { "data-act": "again" });
  const foot = h("footer", {}, meta, h("div", { class: "turn-tools" }, copyButton, again));
  const element = h("section", { class: "answer", "aria-label": `Answer of ${turn.answers[lane].model}` },
    h("h3", { class: "model" }, turn.answers[lane].model), body, foot);
  let drawn = null;

  function draw() {
    const answer = turn.answers[lane];
    const isLive = act.isLive(answer);
    element.classList.toggle("live", isLive);
    element.setAttribute("aria-busy", String(isLive));
    if (drawn !== answer.text) {
      drawn = answer.text;
      body.replaceChildren(markdown(answer.text));
    }
    const notes = [answer.notice && h("p", { class: "note" }, answer.notice), answer.error && h("p", { class: "note bad", role: "alert" }, answer.error)];
    for (const note of element.querySelectorAll(":scope > .note")) note.remove();
    foot.before(...notes.filter(Boolean));
    if (!answer.text && !isLive && !answer.error) body.replaceChildren(h("p", { class: "hint" }, answer.reason ? "(it said nothing)" : "(broken off)"));
    meta.textContent = isLive ? (answer.text ? "" : "thinking …") : describe(answer);
    act.drawn();
  }

  let isWaiting = false;
  /** At most once a frame, and less often the longer drawing takes. */
  function update() {
    if (isWaiting) return;
    isWaiting = true;
    const pause = Math.min(400, (turn.answers[lane].text.length / 4000) * 40);
    setTimeout(() => requestAnimationFrame(() => { isWaiting = false; draw(); }), pause);
  }
  draw();
  return { element, update };
}

function describe(answer) {
  const parts = [];
  if (answer.n_tokens) parts.push(`${answer.n_tokens} token${answer.n_tokens === 1 ? "" : "s"}`);
  if (answer.n_tokens && answer.seconds) parts.push(`${Math.round(answer.n_tokens / answer.seconds)} tokens a second`);
  if (REASONS[answer.reason]) parts.push(REASONS[answer.reason]);
  else if (!answer.reason && answer.text) parts.push("broken off");
  return parts.join(" · ");
}

/** Before anything was asked. */
export function createWelcome(models, examples, ask) {
  const names = models.map((model) => model.id).join(" and ");
  return h("div", { class: "welcome" },
    h("h1", {}, models.length ? `Talk to ${names}` : "No model is loaded"),
    h("p", { class: "lead" }, models.length
      ? models.every((model) => model.can_chat) ? "It answers from what it was taught, one word after the other. Check what it says."
        : "This model was not taught to converse. See how it goes on with a text on the page Complete."
      : "Start the studio with a run or a checkpoint: glass studio runs/quickstart"),
    examples.length > 0 && h("ul", { class: "examples", "aria-label": "Questions to begin with" },
      examples.map((text) => h("li", {}, h("button", { type: "button", onclick: () => ask(text) }, text, icon("next"))))));
}

export const lastTurn = (chat) => pathOf(chat).at(-1);
