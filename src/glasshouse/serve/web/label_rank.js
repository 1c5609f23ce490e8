// Ranking answers: by dragging, by number or by arrow keys; equal numbers are ties.  Ranks count from 1, the best.

import { h, put } from "./dom.js";
import { markdown } from "./markdown.js";

const EDGE_PX = 70; // dragged this near to the edge, the page scrolls along
export const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

// ---- ranks, as pure functions ------------------------------------------------------------------------------------------

/** [2, 1, 2] -> [[1], [0, 2]]: answers of one rank together, the best first; those without a rank are left out. */
export function tiers(ranks) {
  const values = [...new Set(ranks.filter((rank) => rank !== null))].sort((a, b) => a - b);
  return values.map((value) => ranks.flatMap((rank, answer) => (rank === value ? [answer] : [])));
}

function ranksOf(tiers, n) {
  const ranks = Array(n).fill(null);
  tiers.filter((tier) => tier.length).forEach((tier, at) => tier.forEach((answer) => { ranks[answer] = at + 1; }));
  return ranks;
}

/** [4, 1, 4] -> [2, 1, 2] */
export const dense = (ranks) => ranksOf(tiers(ranks), ranks.length);

/** The order of the page: by rank, then what has none, each as first shown. */
export const order = (ranks) => [...tiers(ranks).flat(), ...ranks.flatMap((rank, answer) => (rank === null ? [answer] : []))];

/** Every answer has a rank: those without one follow in the order shown. */
export const filled = (ranks) => ranksOf([...tiers(ranks), ...ranks.flatMap((rank, answer) => (rank === null ? [[answer]] : []))], ranks.length);

/** One arrow press up (-1) or down (1): into a tie with the neighbour, and with the next press past it. */
export function stepped(ranks, answer, way) {
  const all = tiers(filled(ranks));
  const at = all.findIndex((tier) => tier.includes(answer));
  const isAlone = all[at].length === 1;
  if (isAlone && !all[at + way]) return filled(ranks);
  all[at] = all[at].filter((other) => other !== answer);
  if (isAlone) all[at + way].push(answer);
  else all.splice(way < 0 ? at : at + 1, 0, [answer]);
  return ranksOf(all, ranks.length);
}

/** Dropped on `target` (a tie), or before or after it. */
export function dropped(ranks, answer, target, where) {
  if (answer === target) return filled(ranks);
  const all = tiers(filled(ranks)).map((tier) => tier.filter((other) => other !== answer));
  const at = all.findIndex((tier) => tier.includes(target));
  if (where === "on") all[at].push(answer);
  else all.splice(where === "before" ? at : at + 1, 0, [answer]);
  return ranksOf(all, ranks.length);
}

// ---- the form ----------------------------------------------------------------------------------------------------------

/** `value()` is every answer's rank by its id, or null while one has none. */
export function createRankForm(task, before, onchange) {
  const n = task.answers.length;
  let ranks = task.answers.map(({ id }) => before?.ranks[id] ?? null);
  const cards = task.answers.map((answer, index) => createCard(answer, index));
  const element = h("ol", { class: "rank", "aria-label": "Answers: give the best one a 1" });

  function createCard(answer, index) {
    const chips = task.answers.map((_, i) => h("button", { type: "button", class: "chip", onclick: () => give(index, i + 1) }, String(i + 1)));
    const handle = h("span", { class: "handle", "aria-hidden": "true", title: "Drag" }, "⠿");
    const card = h("li", { class: "rank-card", tabindex: "0", "data-answer": String(index), "data-own-digits": true },
      h("header", {}, handle, h("b", { class: "letter" }, LETTERS[index]), h("span", { class: "tied" }, "tied"),
        h("span", { class: "chips", role: "group", "aria-label": `Rank of answer ${LETTERS[index]}` }, chips)),
      h("div", { class: "markdown" }, markdown(answer.text)));
    card.addEventListener("keydown", (event) => key(event, index));
    makeDraggable(card, handle.parentElement, index);
    return { card, chips };
  }

  function set(next, focusOn) {
    ranks = next;
    draw();
    if (focusOn !== undefined) cards[focusOn].card.focus();
    onchange();
  }

  /** After a number the next answer without one is in focus. */
  function give(index, rank) {
    const next = ranks.map((old, i) => (i === index ? (old === rank ? null : rank) : old));
    const following = next.indexOf(null);
    set(next, following < 0 || next[index] === null ? index : following);
  }

  function key(event, index) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (/^[1-9]$/.test(event.key) && Number(event.key) <= n) give(index, Number(event.key));
    else if (event.key === "ArrowUp") set(stepped(ranks, index, -1), index);
    else if (event.key === "ArrowDown") set(stepped(ranks, index, 1), index);
    else if (event.key === "Backspace" || event.key === "Delete") set(ranks.map((old, i) => (i === index ? null : old)), index);
    else return;
    event.preventDefault();
    event.stopPropagation(); // else a digit would also turn the page
  }

  function draw() {
    const shown = order(ranks);
    put(element, shown.map((index) => cards[index].card));
    shown.forEach((index, at) => {
      const { card, chips } = cards[index];
      const isTied = ranks[index] !== null && ranks.filter((rank) => rank === ranks[index]).length > 1;
      card.classList.toggle("unranked", ranks[index] === null);
      card.classList.toggle("tie", isTied);
      card.classList.toggle("tie-above", isTied && at > 0 && ranks[shown[at - 1]] === ranks[index]);
      card.setAttribute("aria-label", `Answer ${LETTERS[index]}, ${ranks[index] === null ? "no rank yet" : `rank ${ranks[index]}${isTied ? ", tied" : ""}`}`);
      chips.forEach((chip, i) => chip.setAttribute("aria-pressed", String(ranks[index] === i + 1)));
    });
  }

  function makeDraggable(card, grip, index) {
    let from = null; // {y, scroll} where the pointer went down
    let goal = null; // {target, where} under it now

    function place(event) {
      const others = [...element.children].filter((other) => other !== card);
      for (const other of others) {
        const box = other.getBoundingClientRect();
        if (event.clientY > box.bottom) continue;
        const share = (event.clientY - box.top) / box.height;
        return { element: other, target: Number(other.dataset.answer), where: share < 0.3 ? "before" : share > 0.7 ? "after" : "on" };
      }
      const last = others.at(-1);
      return last && { element: last, target: Number(last.dataset.answer), where: "after" };
    }

    function mark(next) {
      for (const other of element.children) delete other.dataset.drop;
      goal = next;
      if (goal) goal.element.dataset.drop = goal.where;
    }

    function end(isDone) {
      if (!from) return;
      from = null;
      card.classList.remove("dragged");
      card.style.transform = "";
      const { target, where } = goal ?? {};
      mark(null);
      if (isDone && target !== undefined) set(dropped(ranks, index, target, where), index);
    }

    grip.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || event.target.closest("button")) return;
      const scroller = card.closest(".label-main");
      from = { y: event.clientY, scroller, scroll: scroller?.scrollTop ?? 0, hasMoved: false };
      grip.setPointerCapture(event.pointerId);
      event.preventDefault();
      card.focus({ preventScroll: true });
    });
    grip.addEventListener("pointermove", (event) => {
      if (!from) return;
      if (!from.hasMoved && Math.abs(event.clientY - from.y) < 5) return; // a click, not a drag
      from.hasMoved = true;
      const room = from.scroller?.getBoundingClientRect();
      if (room && event.clientY < room.top + EDGE_PX) from.scroller.scrollTop -= 12;
      else if (room && event.clientY > room.bottom - EDGE_PX) from.scroller.scrollTop += 12;
      card.classList.add("dragged");
      card.style.transform = `translateY(${event.clientY - from.y + (from.scroller?.scrollTop ?? 0) - from.scroll}px)`;
      mark(place(event));
    });
    grip.addEventListener("pointerup", () => end(true));
    grip.addEventListener("pointercancel", () => end(false));
    grip.addEventListener("lostpointercapture", () => end(false));
  }

  draw();
  return {
    element,
    value: () => (ranks.includes(null) ? null : { ranks: Object.fromEntries(dense(ranks).map((rank, i) => [task.answers[i].id, rank])) }),
    missing: "Give every answer a rank. Equal ranks are ties.",
    keys: Object.fromEntries(task.answers.map((_, i) => [String(i + 1), () => give(order(ranks).find((answer) => ranks[answer] === null) ?? order(ranks)[0], i + 1)])),
    focus: () => cards[order(ranks)[0]]?.card.focus({ preventScroll: true }),
  };
}
