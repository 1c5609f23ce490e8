// The Card page: a run's model card, from its records as they are now.

import { get } from "./api.js";
import { copy, h, iconButton, put } from "./dom.js";
import { markdown } from "./markdown.js";

export function createCardPage() {
  const body = h("article", { class: "markdown card-body", "aria-busy": "true" });
  const back = h("a", { class: "button" });
  const copyButton = iconButton("copy", "Copy the card as Markdown", () => copy(text, copyButton));
  const picker = h("select", { "aria-label": "Run" });
  picker.addEventListener("change", () => { location.hash = `#/card/${encodeURIComponent(picker.value)}`; });
  const element = h("div", { class: "page card-page" }, h("div", { class: "card-inside" },
    h("header", { class: "card-head" }, back, h("span", { class: "spring" }), picker, copyButton), body));
  let text = "";

  return {
    element,
    async show(name) {
      const runs = await get("/studio/api/runs").catch(() => []);
      name ||= runs.find((run) => run.has_model)?.name ?? runs[0]?.name;
      put(picker, runs.map((run) => h("option", { value: run.name, selected: run.name === name }, run.name)));
      back.href = name ? `#/runs/${encodeURIComponent(name)}` : "#/runs";
      back.textContent = name ? `The run ${name}` : "Runs";
      try {
        if (!name) throw new Error("There are no runs yet. Begin one: glass run quickstart");
        text = (await get(`/studio/api/runs/${encodeURIComponent(name)}/card`)).markdown;
        body.replaceChildren(markdown(text));
      } catch (error) {
        put(body, h("p", { class: "note", role: "alert" }, error.message));
      }
      body.setAttribute("aria-busy", "false");
      element.scrollTop = 0;
    },
  };
}
