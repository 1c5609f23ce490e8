// How answers are drawn: sampling controls and the system prompt, beside the conversation.

import { h, iconButton } from "./dom.js";

// key, name, hint, attributes of the field.  An empty field leaves the choice to the server.
const FIELDS = [
  ["temperature", "Temperature", "0 takes the likeliest word", { min: 0, max: 2, step: 0.05, placeholder: "0" }],
  ["top_p", "Top p", "only words that together have this share", { min: 0.01, max: 1, step: 0.01, placeholder: "1" }],
  ["top_k", "Top k", "only the k likeliest", { min: 1, step: 1, placeholder: "all" }],
  ["min_p", "Min p", "at least this share of the likeliest", { min: 0, max: 1, step: 0.01, placeholder: "0" }],
  ["repetition_penalty", "Repetition", "above 1: says things once", { min: 0.5, max: 2, step: 0.05, placeholder: "1" }],
  ["presence_penalty", "Presence", "new subjects", { min: -2, max: 2, step: 0.1, placeholder: "0" }],
  ["frequency_penalty", "Frequency", "fewer repeats", { min: -2, max: 2, step: 0.1, placeholder: "0" }],
  ["max_tokens", "Longest answer", "in tokens", { min: 1, step: 1, placeholder: "512" }],
  ["seed", "Seed", "same seed, same answer", { step: 1, placeholder: "any" }],
];

/** `chat()` is the conversation shown; `onchange` is told when it was changed. */
export function createSettings(chat, onchange, onclose) {
  const system = h("textarea", { id: "system", rows: 4, placeholder: "None", oninput: () => { chat().system = system.value; onchange(); } });
  const fields = FIELDS.map(([key, name, hint, limits]) => {
    const input = h("input", { type: "number", id: `set-${key}`, inputmode: "decimal", "aria-describedby": `hint-${key}`, ...limits });
    input.addEventListener("change", () => {
      if (!input.reportValidity()) return;
      chat().settings[key] = input.value === "" ? null : input.valueAsNumber;
      onchange();
    });
    return { key, input, row: h("div", { class: "field" }, h("label", { for: input.id }, name), input,
      h("p", { class: "hint", id: `hint-${key}` }, hint)) };
  });
  const stop = h("input", { type: "text", id: "set-stop", placeholder: "none", "aria-describedby": "hint-stop" });
  stop.addEventListener("change", () => {
    chat().settings.stop = stop.value.split("|").filter(Boolean).slice(0, 16);
    onchange();
  });
  const element = h("aside", { class: "settings", "aria-label": "Settings of this conversation" },
    h("div", { class: "side-head" }, h("h2", {}, "Settings"), iconButton("close", "Close settings", onclose)),
    h("label", { for: "system" }, "System prompt"), system,
    h("h3", {}, "Sampling"),
    fields.map(({ row }) => row),
    h("div", { class: "field" }, h("label", { for: "set-stop" }, "Stop at"), stop, h("p", { class: "hint", id: "hint-stop" }, "texts, divided by |")));
  return {
    element,
    show() {
      system.value = chat().system;
      for (const { key, input } of fields) input.value = chat().settings[key] ?? "";
      stop.value = (chat().settings.stop ?? []).join("|");
    },
  };
}
