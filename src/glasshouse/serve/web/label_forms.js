// The kinds of task, each as a form: what is shown of the answers, what is asked, and what was said so far.
//
// A form is {element, value(), missing, focus()}: `value()` is the label, or null while something is missing.

import { h, icon } from "./dom.js";
import { createRankForm, LETTERS } from "./label_rank.js";
import { markdown } from "./markdown.js";

/** Kind of campaign -> its form.  `before` is a label to begin from, `onchange()` is told of every change. */
const FORMS = { demonstration: createWriting, edit: createEditing, ranking: createRankForm, thumbs: createThumbs, rating: createRating };

export const createForm = (campaign, task, before, onchange) => FORMS[campaign.kind](task, before, onchange, campaign);

function createWriting(task, before, onchange, _, { text = "", label = "Your answer", missing = "Write an answer first." } = {}) {
  const count = h("p", { class: "hint", "aria-live": "off" });
  const preview = h("div", { class: "markdown" });
  const shown = h("details", { class: "preview" }, h("summary", { class: "hint" }, "How it will look"), preview);
  const field = h("textarea", { class: "writing", id: "label-text", rows: 8, value: before?.text ?? text, "aria-label": label, placeholder: "Write it as the guidelines ask" });
  const update = () => {
    const n = field.value.trim().split(/\s+/).filter(Boolean).length;
    count.textContent = `${n} word${n === 1 ? "" : "s"}`;
    if (shown.open) preview.replaceChildren(markdown(field.value));
    field.style.height = "auto";
    field.style.height = `${Math.max(field.scrollHeight + 2, 190)}px`;
    onchange();
  };
  field.addEventListener("input", update);
  shown.addEventListener("toggle", update);
  requestAnimationFrame(update);
  return {
    element: h("div", { class: "label-form" }, h("label", { for: "label-text" }, label), field, h("div", { class: "below" }, shown, count)),
    value: () => (field.value.trim() && field.value !== text ? { text: field.value } : null),
    missing,
    focus: () => field.focus({ preventScroll: true }),
  };
}

function createEditing(task, before, onchange) {
  const [answer] = task.answers;
  const writing = createWriting(task, before, onchange, null, { text: answer.text, label: "A better answer", missing: "Change something first, or skip." });
  writing.element.prepend(showAnswer(answer));
  return writing;
}

const showAnswer = (answer) => h("section", { class: "shown-answer" }, h("h3", {}, "The answer"), h("div", { class: "markdown" }, markdown(answer.text)));

/** Buttons of which one is pressed; `keys` are what presses them. */
function createChoice(name, choices, chosen, onchoose) {
  const buttons = choices.map(([value, text, glyph]) => {
    const button = h("button", { type: "button", class: "choice-button", "aria-pressed": String(value === chosen), title: text }, glyph && icon(glyph), h("span", {}, text));
    button.addEventListener("click", () => choose(value));
    return button;
  });
  function choose(value) {
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(choices[i][0] === value)));
    onchoose(value);
  }
  return { element: h("div", { class: "choice-row", role: "group", "aria-label": name }, buttons), choose, buttons };
}

function createThumbs(task, before, onchange) {
  const [answer] = task.answers;
  let isGood = before?.is_good ?? null;
  const choice = createChoice("Your judgement", [[true, "Good", "up"], [false, "Bad", "down"]], isGood, (value) => { isGood = value; onchange(); });
  const better = h("textarea", { class: "writing", rows: 4, value: before?.better ?? answer.text, "aria-label": "A better answer" });
  const element = h("div", { class: "label-form", tabindex: "-1" }, showAnswer(answer), choice.element,
    h("details", { class: "preview", open: Boolean(before?.better) }, h("summary", { class: "hint" }, "Write a better answer, if you like"), better));
  const isBetter = () => better.value.trim() && better.value !== answer.text;
  return {
    element,
    value: () => (isGood === null ? null : { is_good: isGood, ...(isBetter() ? { better: better.value } : {}) }),
    missing: "Say whether it is good or bad: G or B.",
    focus: () => element.focus({ preventScroll: true }),
    keys: { g: () => choice.choose(true), b: () => choice.choose(false) },
  };
}

/** Every criterion of the rubric on its own scale.  A digit answers the row in focus and goes on to the next. */
function createRating(task, before, onchange, campaign) {
  const scores = { ...before?.scores };
  const rows = campaign.rubric.map((criterion) => {
    const steps = Array.from({ length: criterion.high - criterion.low + 1 }, (_, i) => [criterion.low + i, String(criterion.low + i)]);
    const choice = createChoice(criterion.name, steps, scores[criterion.name], (value) => { scores[criterion.name] = value; onchange(); });
    const row = h("div", { class: "criterion", "data-own-digits": true }, h("div", {}, h("h3", {}, criterion.name), h("p", { class: "hint" }, criterion.question)), choice.element);
    row.addEventListener("keydown", (event) => {
      const at = steps.findIndex(([value]) => String(value) === event.key);
      if (at < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      event.stopPropagation();
      choice.choose(steps[at][0]);
      (row.nextElementSibling?.querySelector("button") ?? choice.buttons[at]).focus();
    });
    return { row, choice };
  });
  return {
    element: h("div", { class: "label-form" }, showAnswer(task.answers[0]), h("div", { class: "rubric" }, rows.map(({ row }) => row))),
    value: () => (campaign.rubric.every(({ name }) => scores[name] !== undefined) ? { scores } : null),
    missing: "Rate every line of the rubric.",
    focus: () => rows[0]?.choice.buttons[0].focus({ preventScroll: true }),
  };
}

/** A label in words, for review: "B › A = C". */
export function tell(kind, label, answers) {
  if (kind === "thumbs") return label.is_good ? "good" : "bad";
  if (kind === "rating") return Object.entries(label.scores).map(([name, score]) => `${name} ${score}`).join(" · ");
  if (kind !== "ranking") return label.text;
  const placed = answers.map(({ id }, i) => [label.ranks[id], LETTERS[i]]).sort((a, b) => a[0] - b[0]);
  return placed.map(([rank, letter], i) => (i ? (rank === placed[i - 1][0] ? " = " : " › ") : "") + letter).join("");
}
