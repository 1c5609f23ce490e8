// One turn on the page: the question, and an answer a model, kept up to date while it is spoken.

import { path as pathOf, siblings } from "./chat_tree.js";
import { copy, h, icon, iconButton } from "./dom.js";
import { markdown } from "./markdown.js";

const REASONS = { length: "cut off here", cancelled: "stopped", error: "failed" };

/** `act` is what the page does: chat(), isLive(answer), edit(turn, text), again(turn, lane), goTo(turn), drawn(),
 *  judge(turn, lane, change): a thumb or a better answer, kept among the labels; trace(turn, lane, body): where the
 *  answer in `body` comes from. */
export function createTurn(turn, act) {
  const question = h("div", { class: "question" }, h("p", { class: "said" }, turn.question));
  const tools = h("div", { class: "turn-tools" },
    switcher(turn, act),
    iconButton("edit", "Edit and ask again", () => edit(turn, question, act), { "data-act": "edit" }));
  question.append(tools);
  const answers = turn.answers.map((answer, lane) => createAnswer(turn, lane, act));
  const element = h("article", { class: `turn lanes-${turn.answers.length}`, "aria-label": `Question: ${turn.question.slice(0, 80)}`, "data-turn": turn.id },
    question, h("div", { class: "answers" }, answers.map((answer) => answer.element)));
  return { element, update: (lane) => answers[lane].update(), trace: (lane) => answers[lane].trace(), edit: () => edit(turn, question, act) };
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
  const field = createField(turn.question, "Edit the question", {
    save: (text) => { if (text) act.edit(turn, text); }, rows: Math.min(10, turn.question.split("\n").length + 1), verb: "Ask again", sendsOnEnter: true,
    close: (isByKey) => { question.replaceChildren(...before); if (isByKey) question.querySelector("[data-act=edit]").focus(); },
  });
  question.replaceChildren(field.element);
  field.focus();
}

/** A text to change on the spot.  Where Enter makes a new line, Ctrl + Enter ends it. */
function createField(text, label, { save, close, rows, verb, sendsOnEnter = false }) {
  const field = h("textarea", { rows, "aria-label": label, value: text });
  const end = () => { close(); save(field.value.trim()); };
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close(true);
    else if (event.key === "Enter" && !event.isComposing && (event.ctrlKey || (sendsOnEnter && !event.shiftKey))) { event.preventDefault(); end(); }
    else return;
    event.stopPropagation();
  });
  const element = h("div", { class: "editing" }, field, h("p", { class: "buttons" },
    h("button", { type: "button", class: "main", onclick: end }, verb),
    h("button", { type: "button", class: "text", onclick: () => close() }, "Cancel")));
  return { element, focus() { field.focus(); field.setSelectionRange(field.value.length, field.value.length); } };
}

function createAnswer(turn, lane, act) {
  const body = h("div", { class: "markdown" });
  const meta = h("p", { class: "meta" });
  const copyButton = iconButton("copy", "Copy this answer", () => copy(turn.answers[lane].text, copyButton), { "data-act": "copy" });
  const again = iconButton("again", "Answer again", () => act.again(turn, lane), { "data-act": "again" });
  const traceButton = iconButton("trace", "Where does this come from? (t)", trace, { "data-act": "trace" });
  const thumb = (isGood, name, label) => iconButton(name, label, (event) => {
    if (event.detail < 2) act.judge(turn, lane, { is_good: turn.answers[lane].is_good === isGood ? null : isGood }); // a double click is one
  }, { "data-act": name });
  const thumbs = [[true, thumb(true, "up", "Good answer")], [false, thumb(false, "down", "Bad answer")]];
  const betterButton = iconButton("edit", "Write a better answer", writeBetter, { "data-act": "better" });
  const better = h("div", { class: "better" });
  const foot = h("footer", {}, meta, h("div", { class: "turn-tools" }, thumbs.map(([, button]) => button), betterButton, traceButton, copyButton, again));
  const element = h("section", { class: "answer", "aria-label": `Answer of ${turn.answers[lane].model}` },
    h("h3", { class: "model" }, turn.answers[lane].model), body, foot, better);
  let drawn = null;

  function trace() {
    const answer = turn.answers[lane];
    if (answer.text && !act.isLive(answer)) act.trace(turn, lane, body);
  }

  body.addEventListener("click", (event) => { // not while text is selected, nor on what has a use of its own
    if (getSelection().isCollapsed && !event.target.closest("a, button, pre")) trace();
  });

  function writeBetter() {
    const { text, better: written } = turn.answers[lane];
    const field = createField(written || text, "A better answer", { save: (now) => { if (now !== text) act.judge(turn, lane, { better: now }); }, close: drawBetter, rows: 4, verb: "Keep it" });
    better.replaceChildren(field.element);
    field.focus();
  }

  function drawBetter() {
    const { better: written } = turn.answers[lane];
    better.replaceChildren(...(written ? [h("details", {}, h("summary", { class: "hint" }, "Your better answer"), h("div", { class: "markdown" }, markdown(written)))] : []));
  }

  function draw() {
    const answer = turn.answers[lane];
    const isLive = act.isLive(answer);
    element.classList.toggle("live", isLive);
    body.classList.toggle("traceable", Boolean(answer.text) && !isLive);
    element.setAttribute("aria-busy", String(isLive));
    if (drawn !== answer.text) {
      drawn = answer.text;
      body.replaceChildren(markdown(answer.text));
    }
    const notes = [answer.notice && h("p", { class: "note" }, answer.notice), answer.error && h("p", { class: "note bad", role: "alert" }, answer.error)];
    for (const note of element.querySelectorAll(":scope > .note")) note.remove();
    foot.before(...notes.filter(Boolean));
    if (!answer.text && !isLive && !answer.error) body.replaceChildren(h("p", { class: "hint" }, answer.reason ? "(it said nothing)" : "(broken off)"));
    for (const [isGood, button] of thumbs) button.setAttribute("aria-pressed", String(answer.is_good === isGood));
    if (!better.querySelector("textarea")) drawBetter();
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
  return { element, update, trace };
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
