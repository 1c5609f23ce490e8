// One task after the other: asked for, timed, answered, skipped or flagged; nothing counts as sent before the server says so.

import { h, icon, isTyping, notify, put } from "./dom.js";
import { createForm } from "./label_forms.js";
import { newSubmissionId } from "./label_outbox.js";
import { ask, campaignPath } from "./label_session.js";
import { markdown } from "./markdown.js";

const SUBMIT = ["Ctrl Enter", "submit"];
const KEYS = { // what is worth knowing while one does it; the whole list is under "?"
  demonstration: [SUBMIT],
  edit: [SUBMIT],
  ranking: [["1 – 9", "rank"], ["↑ ↓", "move"], SUBMIT],
  thumbs: [["G", "good"], ["B", "bad"], SUBMIT],
  rating: [["1 – 5", "rate"], SUBMIT],
};
const LONGEST_S = 24 * 3600;
const REASONS = ["The question makes no sense", "It asks for something harmful", "It holds private data", "I cannot judge it"];

/** `onprogress()` is told when a label was acknowledged, `onshown(version)` under which guidelines a task is given. */
export function createTaskView(campaign, outbox, onprogress, onshown) {
  const at = campaignPath(campaign.name);
  const prompt = h("div", { class: "asked-for" });
  const place = h("div", { class: "form-place" });
  const problem = h("p", { class: "note", role: "status", hidden: true });
  const submitButton = h("button", { type: "button", class: "main", onclick: submit }, "Submit");
  const skipButton = h("button", { type: "button", class: "text", onclick: () => leave("skip") }, "Skip");
  const flagButton = h("button", { type: "button", class: "text", onclick: flag }, "Flag");
  const backButton = h("button", { type: "button", class: "text", onclick: goBack, hidden: true }, icon("undo"), "Last one");
  const bar = h("div", { class: "actions" }, submitButton, skipButton, flagButton, backButton, h("span", { class: "hint keys" }, KEYS[campaign.kind].map(([key, what]) => h("span", {}, h("kbd", {}, key), " ", what))));
  const inside = h("div", { class: "task-inside" });
  const element = h("section", { class: "task", "aria-label": "Task" }, inside, problem);
  let task = null;
  let form = null;
  let id = null; // of the one submission this task can become: pressing twice is pressing once
  let isSent = false;
  let isHeldUp = false; // the server did not take it yet; the outbox goes on trying
  let replaces = null; // the label that this one corrects
  let last = null; // {task, label, id}: what can be changed once more
  const clock = createClock();
  const isWaiting = () => outbox.waiting().some((entry) => !entry.refusal);

  function draw(next, before = null, corrects = null) {
    task = next;
    replaces = corrects;
    id = newSubmissionId();
    isSent = false;
    form = createForm(campaign, task, before, update);
    put(prompt, task.prompt.map((message, i) => (message.role === "user" && i === task.prompt.length - 1
      ? h("p", { class: "said" }, message.content)
      : h("div", { class: `earlier ${message.role}` }, h("span", { class: "hint" }, message.role), h("div", { class: "markdown" }, markdown(message.content))))));
    place.replaceChildren(form.element);
    inside.replaceChildren(prompt, place, bar);
    problem.hidden = true;
    backButton.hidden = !last || last.task.item_id === task.item_id;
    for (const button of [submitButton, skipButton, flagButton, backButton]) button.disabled = false;
    skipButton.hidden = flagButton.hidden = Boolean(replaces);
    onshown(task.guidelines_version);
    clock.restart();
    update();
    element.closest(".label-main")?.scrollTo(0, 0);
    form.focus();
  }

  function update() {
    submitButton.classList.toggle("ready", !isSent && form?.value() != null);
  }

  /** Labels that wait go first, or the same item would come back. */
  async function next() {
    isHeldUp = false;
    try {
      await outbox.flush();
      if (isWaiting()) return explain();
      const found = (await ask("POST", `${at}/next`)).task;
      if (found) draw(found);
      else finished();
    } catch (error) {
      put(problem, error.message, " ", h("button", { type: "button", class: "text", onclick: next }, "Try again"));
      problem.hidden = false;
    }
  }

  function explain() {
    isHeldUp = true;
    const entry = outbox.waiting().find((one) => !one.refusal);
    put(problem, `${entry.trouble ?? "The server does not answer."} Your label is kept in this browser and is sent as soon as the server has time for it.`);
    problem.hidden = false;
  }

  function finished() {
    task = form = null;
    inside.replaceChildren(h("div", { class: "welcome" }, h("h1", {}, "Nothing left for you here"),
      h("p", { class: "lead" }, "Every item has the labels it needs, or is with somebody else just now."),
      h("p", { class: "buttons" }, h("button", { type: "button", class: "main", onclick: next }, "Look again"), last && backButton)));
    backButton.hidden = !last;
    problem.hidden = true;
  }

  function submit() {
    if (!task || isSent) return;
    const label = form.value();
    if (label === null) {
      notify(form.missing);
      return;
    }
    last = { task, label, id };
    hand("labels", { label, seconds: clock.seconds(), ...(replaces ? { replaces } : {}) });
  }

  /** Gives the outbox what was said of this task, and goes on once it has arrived. */
  async function hand(what, body) {
    isSent = true;
    for (const button of [submitButton, skipButton, flagButton, backButton]) button.disabled = true;
    await outbox.add(id, `${at}/items/${encodeURIComponent(task.item_id)}/${what}`, body);
    if (isWaiting()) return explain();
    onprogress();
    await next();
  }

  function leave(what, body = {}) {
    if (task && !isSent && !replaces) hand(what, body);
  }

  function flag() {
    if (!task || isSent || replaces) return;
    const field = h("input", { id: "flag-reason", list: "flag-reasons", required: true, maxlength: 500, placeholder: "What is wrong with it?" });
    const dialog = h("dialog", { class: "card", "aria-labelledby": "flag-title" }, h("form", { method: "dialog" },
      h("h2", { id: "flag-title" }, "Flag this task"),
      h("p", { class: "hint" }, "It is set aside for whoever leads the campaign."),
      h("label", { for: "flag-reason" }, "Reason"), field,
      h("div", { class: "reasons" }, REASONS.map((reason) => h("button", { type: "button", class: "choice-button", onclick: () => { field.value = reason; } }, reason))),
      h("p", { class: "buttons" }, h("button", { class: "main", value: "flag" }, "Flag it"), h("button", { type: "button", class: "text", onclick: () => dialog.close() }, "Cancel"))));
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (dialog.returnValue === "flag" && field.value.trim()) leave("flag", { reason: field.value.trim() });
    });
    document.body.append(dialog);
    dialog.showModal();
  }

  /** The label given last, once more: a later label of the same annotator counts in place of the earlier. */
  function goBack() {
    if (last) draw(last.task, last.label, last.id);
  }

  /** Comes before the page's own shortcuts: a digit here is a rank, not another page. */
  function key(event) {
    const pressed = event.key.toLowerCase();
    const isAlone = !event.ctrlKey && !event.altKey && !event.metaKey && !isTyping(event);
    const own = isAlone && !event.target.closest("[data-own-digits]") && form?.keys?.[pressed];
    if (!task || event.target.closest("dialog")) return;
    if (pressed === "enter" && (event.ctrlKey || event.metaKey)) submit();
    else if (own) own();
    else if (isAlone && pressed === "enter" && !event.target.closest("button, a, summary")) submit();
    else if (isAlone && pressed === "s") leave("skip");
    else if (isAlone && pressed === "f") flag();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  return {
    element, key, next, hasTask: () => task !== null,
    /** What was held up has arrived, perhaps long after. */
    arrived() {
      if (!isHeldUp || isWaiting()) return;
      onprogress();
      next();
    },
  };
}

/** Seconds in which the page was seen: a task left open in another tab costs nobody time. */
function createClock() {
  let before_ms = 0;
  let since = null;
  const pause = () => { if (since !== null) before_ms += performance.now() - since; since = null; };
  document.addEventListener("visibilitychange", () => (document.hidden ? pause() : (since ??= performance.now())));
  return {
    restart() { before_ms = 0; since = document.hidden ? null : performance.now(); },
    seconds: () => Math.min((before_ms + (since === null ? 0 : performance.now() - since)) / 1000, LONGEST_S),
  };
}
