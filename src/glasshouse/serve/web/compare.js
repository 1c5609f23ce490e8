// The Compare page: two models on the same texts, token by token, and the scores of two runs with their differences.

import { get, send, stream } from "./api.js";
import { h, icon, notify, put } from "./dom.js";
import { label, percent, textOf, tone } from "./tokens.js";

const N_TOKENS = 48, K = 5;
const NAMES = { bits_per_byte: "bits a byte of held-back text", exact: "right, word for word", normalised: "right, case and punctuation aside",
  wrong: "wrong, said as if true", refused_known: "known names refused", honest_refusal: "made-up names refused", exact_refusal: "made-up names refused in the taught words",
  unsure_known: "known names, not sure", unsure_made_up: "made-up names, not sure" };
const LOWER_IS_BETTER = new Set(["bits_per_byte", "wrong", "refused_known", "unsure_known"]);
const EXAMPLES = ["def copytree(", "import os\n", "The quick brown"];

export function createComparePage(models) {
  const chosen = [models[0]?.id, (models[1] ?? models[0])?.id];
  const pickers = [0, 1].map((side) => {
    const select = h("select", { "aria-label": side ? "Second model" : "First model" }, models.map((model) => h("option", { value: model.id, selected: model.id === chosen[side] }, model.id)));
    select.addEventListener("change", () => { chosen[side] = select.value; });
    return select;
  });
  const field = h("textarea", { rows: 4, id: "compare-texts", "aria-describedby": "compare-hint", spellcheck: "false" });
  const asksChat = h("input", { type: "checkbox", id: "as-questions" });
  const go = h("button", { type: "button", class: "main", onclick: run }, "Compare");
  const halt = h("button", { type: "button", class: "main", hidden: true, onclick: () => running?.abort() }, icon("stop"), "Stop");
  const results = h("div", { class: "both-results" });
  const scores = h("section", { class: "scores", "aria-label": "Scores" });
  const element = h("div", { class: "page compare" }, h("div", { class: "compare-inside" },
    h("header", {}, h("h1", {}, "Side by side"), h("p", { class: "lead" }, "Two models go on from the same texts, each time with the likeliest token. Colour says how sure they were.")),
    h("section", { class: "compare-form", "aria-label": "Texts" },
      h("div", { class: "pickers" }, pickers[0], h("span", { class: "hint" }, "and"), pickers[1]),
      h("label", { for: "compare-texts", class: "hidden" }, "Texts to go on from"), field,
      h("div", { class: "controls" }, go, halt, h("label", { class: "check", for: "as-questions" }, asksChat, "ask as questions"), h("span", { class: "hint", id: "compare-hint" }, "One text a line. Ctrl + Enter compares."))),
    results, scores));
  let running = null;
  let isFresh = true;

  // ---- the same texts --------------------------------------------------------------------------------------------

  async function run() {
    const texts = field.value.split("\n").filter((line) => line.trim());
    if (!texts.length || running || !models.length) return;
    const controller = running = new AbortController();
    go.hidden = true;
    halt.hidden = false;
    const names = [...chosen];
    const rows = texts.map((text) => createRow(text, names));
    put(results, rows.map((row) => row.element));
    try {
      for (const row of rows) await Promise.all(names.map((model, side) => write(model, row, side, controller.signal)));
    } catch (error) {
      if (error.name !== "AbortError") notify(error.message);
    }
    running = null;
    go.hidden = false;
    halt.hidden = true;
  }

  async function write(model, row, side, signal) {
    const asked = asksChat.checked ? { question: row.text } : { text: row.text };
    const request = { model, ...asked, max_tokens: N_TOKENS, k: K };
    try {
      for await (const token of stream("/studio/api/complete", request, signal)) row.add(side, token);
      row.end(side);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      row.fail(side, error.message);
    }
  }

  // ---- scores ----------------------------------------------------------------------------------------------------

  async function loadScores() {
    const judged = await get("/studio/api/judged");
    if (!judged.length) {
      put(scores, h("h2", {}, "Scores"), h("p", { class: "hint" }, "No run here was judged yet. Runs judge themselves after every stage of training."));
      return;
    }
    const places = judged.flatMap((run) => run.stages.map((stage) => ({ run: run.name, stage })));
    const last = (run) => places.filter((place) => place.run === run).at(-1);
    const sides = [last(chosen[0]) ?? places.at(-1), last(chosen[1]) ?? places.at(-1)];
    if (sides[0] === sides[1]) sides[0] = places.filter((place) => place.run === sides[1].run).at(-2) ?? sides[0];
    const selects = sides.map((side, i) => {
      const select = h("select", { "aria-label": i ? "Scores of B" : "Scores of A" }, places.map((place, n) => h("option", { value: String(n), selected: place === side }, `${place.run} after ${place.stage}`)));
      select.addEventListener("change", () => { sides[i] = places[Number(select.value)]; fillTable(); });
      return select;
    });
    const table = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Scores of both" });
    put(scores, h("h2", {}, "Scores"), h("div", { class: "pickers" }, h("b", {}, "A"), selects[0], h("b", {}, "B"), selects[1]), table,
      h("p", { class: "hint" }, "Small figures are 95 % intervals. B − A is paired, question by question, where both logs hold every item; in bold where chance alone would rarely give as much."));
    async function fillTable() {
      const query = new URLSearchParams({ a: sides[0].run, a_stage: sides[0].stage, b: sides[1].run, b_stage: sides[1].stage });
      try { put(table, scoreTable(await get(`/studio/api/compare?${query}`))); } catch (error) { notify(error.message); }
    }
    await fillTable();
  }

  field.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); run(); } });
  asksChat.addEventListener("change", () => { if (isFresh) begin(); });
  field.addEventListener("input", () => { isFresh = false; });
  document.addEventListener("keydown", (event) => { if (element.isConnected && event.key === "Escape") running?.abort(); });

  function begin() {
    const known = asksChat.checked ? models.flatMap((model) => model.questions ?? []) : models.flatMap((model) => model.beginnings ?? []);
    field.value = [...new Set(known.length ? known : EXAMPLES)].slice(0, 3).map((text) => text.split("\n")[0]).join("\n");
    go.disabled = !models.length;
  }

  return {
    element,
    async show() {
      if (isFresh && !field.value) {
        asksChat.checked = models.length > 0 && models.every((model) => model.can_chat) && models.some((model) => model.questions?.length);
        begin();
      }
      try { await loadScores(); } catch (error) { notify(error.message); }
    },
  };
}

function createRow(text, names) {
  const sides = names.map((name) => ({ name, tokens: [], words: h("p", { class: "flow", role: "list", "aria-label": `What ${name} wrote, token by token` }), note: h("p", { class: "hint" }), told: h("p", { class: "hint told", "aria-live": "polite" }) }));
  const element = h("article", { class: "pair", "aria-label": `Text: ${text.slice(0, 60)}` }, h("h3", { class: "said" }, text),
    h("div", { class: "sides" }, sides.map((side) => h("section", { "aria-label": side.name }, h("h4", { class: "model" }, side.name), side.words, side.told, side.note))));
  for (const side of sides) {
    const tell = (event) => {
      const at = Number(event.target.closest?.(".token")?.dataset.at ?? NaN);
      if (side.tokens[at]) describe(side, at);
    };
    for (const name of ["pointerover", "focusin", "click"]) side.words.addEventListener(name, tell);
    side.words.addEventListener("keydown", (event) => {
      const at = Number(event.target.dataset?.at);
      const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: side.tokens.length - 1 }[event.key];
      if (next === undefined || event.altKey) return;
      event.preventDefault();
      side.words.children[next]?.focus();
    });
  }

  function describe(side, at) {
    const token = side.tokens[at];
    const others = token.alternatives.filter((one) => one.id !== token.id).slice(0, 3);
    put(side.told, h("b", {}, label(token).trim() || "space"), ` ${percent(token.logp)}`, others.length ? ` · else ${others.map((one) => `${label(one).trim() || "space"} ${percent(one.logp)}`).join(", ")}` : "");
  }

  return {
    text, element,
    add(at, token) {
      const side = sides[at];
      const span = h("span", { class: `token${token.name ? " special" : ""}`, role: "listitem", tabindex: side.tokens.length ? "-1" : "0", "data-at": side.tokens.length, "aria-label": `${label(token).trim() || "space"}, ${percent(token.logp)}` }, label(token));
      span.style.setProperty("--tone", tone(token.logp));
      side.tokens.push(token);
      side.words.append(span);
    },
    end(at) {
      const { tokens, note } = sides[at];
      sides[at].isDone = true;
      const isSame = sides.every((side) => side.isDone) && textOf(sides[0].tokens) === textOf(sides[1].tokens);
      const bits = tokens.reduce((sum, token) => sum - token.logp / Math.LN2, 0);
      note.textContent = `${tokens.length} tokens, ${(bits / Math.max(1, tokens.length)).toFixed(2)} bits of surprise each${isSame ? " · both the same" : ""}`;
    },
    fail(at, message) { put(sides[at].note, h("span", { class: "note bad", role: "alert" }, message)); },
  };
}

function scoreTable(pairs) {
  if (!pairs.length) return h("p", { class: "hint" }, "Neither was judged on anything.");
  const groups = [...new Set(pairs.map((pair) => pair.group))];
  return h("table", {},
    h("thead", {}, h("tr", {}, ["", "A", "B", "B − A"].map((name) => h("th", { scope: "col" }, name)))),
    groups.map((group) => h("tbody", {}, groups.length > 1 && h("tr", { class: "group" }, h("th", { colspan: 4, scope: "rowgroup" }, group)),
      pairs.filter((pair) => pair.group === group).map((pair) => h("tr", {}, h("th", { scope: "row" }, NAMES[pair.name] ?? pair.name.replaceAll("_", " ")),
        h("td", {}, score(pair.a)), h("td", {}, score(pair.b)), difference(pair))))));
}

const shown = (value, unit) => (unit === "share" ? `${(100 * value).toFixed(1)} %` : value.toFixed(3));

function score(one) {
  if (!one) return "—";
  return [shown(one.value, one.unit), " ", h("span", { class: "range" }, `${shown(one.low, one.unit)} – ${shown(one.high, one.unit)}`)];
}

function difference({ name, a, b, difference: found }) {
  if (!a || !b) return h("td", {}, "—");
  if (!found) return h("td", { title: "not every item was kept by both, so nothing can be paired" }, `${signed(b.value - a.value, a.unit)}`, " ", h("span", { class: "range" }, "not paired"));
  const isSure = found.low > 0 || found.high < 0;
  const isBetter = (found.value > 0) !== LOWER_IS_BETTER.has(name);
  return h("td", { class: isSure ? (isBetter ? "better" : "worse") : null }, signed(found.value, found.unit), " ",
    h("span", { class: "range" }, `${signed(found.low, found.unit)} – ${signed(found.high, found.unit)}`));
}

const signed = (value, unit) => `${value < 0 ? "−" : "+"}${shown(Math.abs(value), unit)}`;
