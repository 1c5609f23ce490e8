// The four ways of opening a token: layers, attention, attribution, patching.
// A view is {element, show(place)}; place is {tokens, target, text, isChat, ...}: what was read, and what came next.

import { h, put } from "./dom.js";
import { createHeat } from "./heat.js";
import { label, percent, visible } from "./tokens.js";

const ids = (tokens) => tokens.map((token) => token.id);
const signed = (value, digits = 2) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}`;
const share = (p) => percent(Math.log(Math.max(p, 1e-30)));
const short = (token) => label(token).replace(/\n/g, "↵").replace(/\t/g, "⇥").replace(/^ /, "␣") || "·";
const fault = (found) => h("p", { class: "note bad", role: "alert" }, found.error);
const waiting = () => h("p", { class: "hint" }, "Looking …");

// ---- layers ----------------------------------------------------------------------------------------------------------

export function createLayersView(ask) {
  const body = h("div");
  const tuned = h("input", { type: "checkbox", id: "lens-tuned" });
  const tunedBox = h("label", { class: "check", for: "lens-tuned", hidden: true }, tuned, "through trained translators");
  const element = h("div", { class: "view" },
    h("p", { class: "hint" }, "What each layer would have said, if it had been the last. The answer takes shape from top to bottom."), tunedBox, body);
  let place = null;
  tuned.addEventListener("change", () => show(place));

  async function show(given) {
    place = given;
    if (!body.firstChild) put(body, waiting());
    const found = await ask("lens", { ids: ids(place.tokens), target: place.target.id, is_tuned: tuned.checked });
    if (!found) return;
    if (found.error) { put(body, fault(found)); return; }
    tunedBox.hidden = !found.has_tuned;
    const last = found.rows.at(-1);
    put(body,
      h("ol", { class: "lens" }, found.rows.map((row) => h("li", { class: "lens-row" },
        h("span", { class: "lens-name" }, row.layer === null ? "embedding" : `layer ${row.layer}`),
        h("span", { class: "lens-tokens" }, row.tokens.slice(0, 4).map((token) => {
          const span = h("span", { class: `lens-token${token.id === place.target.id ? " it" : ""}`, title: share(token.p) }, visible(token));
          span.style.setProperty("--p", token.p);
          return span;
        })),
        h("span", { class: "lens-p" }, share(row.p_target), h("span", { class: "hint" }, ` · ${row.rank === 1 ? "first" : `place ${row.rank.toLocaleString()}`}`)),
        bar(row.p_target)))),
      h("h3", {}, "It could have been"),
      h("ol", { class: "next" }, last.tokens.map((token) => h("li", {}, h("div", { class: "choice", "aria-current": token.id === place.target.id ? "true" : null },
        h("span", { class: "what" }, visible(token)), h("span", { class: "p" }, share(token.p)), bar(token.p))))));
  }

  return { element, show };
}

function bar(p) {
  const fill = h("span", { class: "fill" });
  fill.style.width = `${100 * p}%`;
  return h("span", { class: "bar", "aria-hidden": "true" }, fill);
}

// ---- attention -------------------------------------------------------------------------------------------------------

const TRADES = [["previous", "looks at the token before"], ["duplicate", "looks at the same token, earlier"], ["induction", "looks at what came after the same token, earlier"]];

export function createAttentionView(ask) {
  const picker = h("div", { class: "heads", role: "radiogroup", "aria-label": "Head" });
  const about = h("p", { class: "hint" });
  const looks = h("div", { class: "sheet strip" });
  const heat = createHeat({ label: "Attention pattern", describe });
  const body = h("div", { hidden: true }, picker, about, h("h3", {}, "Where it looks for this token"), looks, h("h3", {}, "Its whole pattern"), heat.element);
  const message = h("div");
  const element = h("div", { class: "view" },
    h("p", { class: "hint" }, "Every head has a place of its own to look. The fuller a head's square, the better it fits one of three known trades."), message, body);
  let [layer, head] = [0, 0];
  let place = null;
  let known = null;

  function describe(row, column, value) {
    return `${short(place.tokens[row])} (${row}) looks at ${short(place.tokens[column])} (${column}): ${share(value)}`;
  }

  async function show(given) {
    place = given;
    if (!known) put(message, waiting());
    const found = await ask("heads", { ids: ids(place.tokens) });
    if (!found) return;
    put(message, found.error ? fault(found) : null);
    body.hidden = Boolean(found.error);
    if (found.error) return;
    known = found;
    layer = Math.min(layer, known.weights.length - 1);
    head = Math.min(head, known.weights[layer].length - 1);
    drawPicker();
    await showHead();
  }

  function drawPicker() {
    put(picker, known.weights.map((row, i) => h("div", { class: "head-row" }, h("span", { class: "hint" }, `layer ${i}`), row.map((_, j) => {
      const [trade, score] = best(i, j);
      const isIt = i === layer && j === head;
      const button = h("button", { type: "button", role: "radio", class: "head", "aria-checked": isIt ? "true" : "false", tabindex: isIt ? "0" : "-1", "data-head": `${i}.${j}`,
        "aria-label": `head ${i}.${j}, ${trade} ${score.toFixed(2)}`, title: `${i}.${j}: ${trade} ${score.toFixed(2)}`, onclick: () => pick(i, j) }, String(j));
      button.style.setProperty("--score", score);
      return button;
    }))));
  }

  const best = (i, j) => TRADES.map(([name]) => [name, known[name][i][j]]).reduce((a, b) => (b[1] > a[1] ? b : a));

  async function pick(i, j) {
    [layer, head] = [i, j];
    drawPicker();
    picker.querySelector("[aria-checked='true']").focus();
    await showHead();
  }

  picker.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!step || event.altKey || known.weights[layer + step[0]]?.[head + step[1]] === undefined) return;
    event.preventDefault();
    pick(layer + step[0], head + step[1]);
  });

  async function showHead() {
    const [i, j] = [layer, head];
    put(about, `Head ${i}.${j}: `, TRADES.map(([name, what]) => h("span", { title: what }, `${name} ${known[name][i][j].toFixed(2)}  `)));
    put(looks, place.tokens.map((token, t) => {
      const span = h("span", { class: "token shade", title: share(known.weights[i][j][t]) }, label(token));
      span.style.setProperty("--share", known.weights[i][j][t]);
      return span;
    }));
    const found = await ask("attention", { ids: ids(place.tokens), layer: i, head: j });
    if (!found) return;
    if (found.error) { put(message, fault(found)); return; }
    heat.set(found.pattern, place.tokens.map(short), place.tokens.map(short));
  }

  return { element, show };
}

// ---- attribution -----------------------------------------------------------------------------------------------------

export function createAttributionView(ask) {
  const method = h("select", { "aria-label": "Method" }, h("option", { value: "integrated" }, "integrated gradients"), h("option", { value: "gradient" }, "gradient × input"));
  const sheet = h("div", { class: "sheet strip" });
  const note = h("p", { class: "hint" });
  const list = h("ol", { class: "parts" });
  const sum = h("p", { class: "hint" });
  const body = h("div", { hidden: true }, sheet, note, h("h3", {}, "Who wrote it: the logit, as an exact sum"), list, sum);
  const message = h("div");
  const element = h("div", { class: "view" },
    h("div", { class: "controls" }, h("p", { class: "hint" }, "What it rests on. Green speaks for it, red against."), h("span", { class: "spring" }), method), message, body);
  let place = null;
  method.addEventListener("change", () => show(place));

  async function show(given) {
    place = given;
    if (body.hidden) put(message, waiting());
    const question = { ids: ids(place.tokens), target: place.target.id };
    const found = await ask("attribution", { ...question, method: method.value });
    if (!found) return;
    put(message, found.error ? fault(found) : null);
    body.hidden = Boolean(found.error);
    if (found.error) return;
    const most = Math.max(...found.shares.map(Math.abs), 1e-9);
    put(sheet, place.tokens.map((token, t) => {
      const span = h("span", { class: "token shade", title: `${signed(found.shares[t], 3)} nats`, "data-share": found.shares[t] }, label(token));
      span.style.setProperty("--share", Math.abs(found.shares[t]) / most);
      if (found.shares[t] < 0) span.style.setProperty("--tone", "var(--bloom)");
      return span;
    }));
    put(note, found.gap === null ? "How the answer's log-probability changes at once, when a token's embedding grows."
      : `The shares add up to ${signed(found.logp - found.baseline_logp)} nats, what the prompt is worth against no information; they do so to within ${Number(Math.abs(found.gap).toPrecision(1))}.`);
    const parts = await ask("parts", question);
    if (parts?.error) put(message, fault(parts));
    else if (parts) drawParts(parts);
  }

  function drawParts(parts) {
    const all = [["embedding", parts.embed], ...parts.heads.flatMap((row, i) => row.map((value, j) => [`head ${i}.${j}`, value])), ...parts.mlps.map((value, i) => [`MLP ${i}`, value])];
    all.sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
    const most = Math.abs(all[0][1]) || 1;
    put(list, all.slice(0, 12).map(([name, value]) => {
      const fill = h("span", { class: value < 0 ? "fill against" : "fill" });
      fill.style.width = `${50 * Math.abs(value) / most}%`;
      return h("li", {}, h("span", {}, name), h("span", { class: "both", "aria-hidden": "true" }, fill), h("span", { class: "p" }, signed(value)));
    }));
    const rest = all.slice(12).reduce((total, [, value]) => total + value, 0);
    put(sum, `${all.length > 12 ? `The other ${all.length - 12}: ${signed(rest)}. ` : ""}Together ${signed(parts.sum)}, the model's own logit is ${signed(parts.logit)}.`);
  }

  return { element, show };
}

// ---- patching --------------------------------------------------------------------------------------------------------

const SITES = [["resid_pre", "residual stream"], ["attn_out", "attention"], ["mlp_out", "MLP"]];

export function createPatchingView(ask) {
  const text = h("textarea", { rows: 2, id: "patch-text", "aria-label": "The other prompt" });
  const go = h("button", { type: "button", class: "main", onclick: run }, "Compare");
  const site = h("select", { "aria-label": "Where" }, SITES.map(([value, name]) => h("option", { value }, name)));
  const heat = createHeat({ label: "Patching map", describe });
  const note = h("p", { class: "hint" });
  const body = h("div", { hidden: true }, note, h("div", { class: "controls" }, h("label", { class: "hint" }, "At the ", site)), heat.element);
  const message = h("div");
  const element = h("div", { class: "view" },
    h("p", { class: "hint" }, "Change a word in the prompt, keep the number of tokens, and see where the difference sits: each cell is the other run with this one activation put in. Full green brings the whole answer back."),
    text, h("div", { class: "controls" }, go), message, body);
  let place = null;
  let found = null;
  site.addEventListener("change", run);

  async function show(given) {
    if (place?.text !== given.text) text.value = given.text;
    if (place?.tokens.length !== given.tokens.length || place?.target.id !== given.target.id) { body.hidden = true; put(message); }
    place = given;
  }

  async function run() {
    go.disabled = true;
    put(message, waiting());
    const encoded = await ask("encode", { text: text.value, is_chat: place.isChat });
    if (encoded && !encoded.error) {
      const said = place.tokens.slice(place.nPrompt); // what was answered so far follows either prompt
      const own = place.nPrompt <= place.tokens.length ? encoded.tokens : encoded.tokens.slice(0, place.tokens.length);
      found = await ask("patch", { ids: ids(place.tokens), other_ids: ids([...own, ...said]), target: place.target.id, site: site.value });
    } else found = encoded;
    go.disabled = false;
    if (!found) { put(message); return; }
    put(message, found.error ? fault(found) : null);
    body.hidden = Boolean(found.error);
    if (!found.error) draw();
  }

  function draw() {
    put(note, h("b", {}, visible(found.target)), ` leads `, h("b", {}, visible(found.other)), ` by ${signed(found.lead)} here, by ${signed(found.other_lead)} after the other prompt.`);
    const [rows] = Object.values(found.effects);
    heat.set(rows, rows.map((_, i) => `layer ${i}`), found.tokens.map(short));
  }

  function describe(row, column, value) {
    const changed = found.tokens[column].id === found.other_tokens[column].id ? "" : `, there ${short(found.other_tokens[column])}`;
    return `layer ${row}, ${short(found.tokens[column])}${changed}: ${Math.round(100 * value)} % of the answer comes back`;
  }

  return { element, show };
}
