// Items that annotators judged differently or flagged, one after the other: who said what, and the decision that counts.

import { h, notify, put } from "./dom.js";
import { createForm, tell } from "./label_forms.js";
import { newSubmissionId } from "./label_outbox.js";
import { ask, campaignPath } from "./label_session.js";
import { markdown } from "./markdown.js";

export function createReview(campaign, outbox) {
  const at = campaignPath(campaign.name);
  const element = h("section", { class: "review", "aria-label": "Review" });
  let shownId = null;

  async function refresh() {
    const { items } = await ask("GET", `${at}/review`);
    if (items.some((item) => item.item_id === shownId) && element.hasChildNodes()) return; // somebody is deciding it
    if (items.length) draw(items[0], items.length);
    else {
      shownId = null;
      put(element, h("div", { class: "welcome" }, h("h1", {}, "Nothing to decide"), h("p", { class: "lead" }, "Nothing is flagged, and where several people judged the same item, they agree or it has been decided.")));
    }
  }

  function draw(item, n) {
    shownId = item.item_id;
    const id = newSubmissionId();
    const button = h("button", { type: "button", class: "main", onclick: decide }, "Decide");
    const form = createForm(campaign, item, null, () => button.classList.toggle("ready", form?.value() != null));
    async function decide() {
      const label = form.value();
      if (label === null) return notify(form.missing);
      button.disabled = true;
      await outbox.add(id, `${at}/items/${encodeURIComponent(item.item_id)}/decision`, { label });
      if (outbox.waiting().some((entry) => !entry.refusal)) return notify("Kept in this browser until the server answers.");
      shownId = null;
      await refresh();
    }
    put(element,
      h("p", { class: "hint" }, n === 1 ? "One item to decide" : `${n} items to decide`),
      h("div", { class: "asked-for" }, item.prompt.map((message) => h(message.role === "user" ? "p" : "div", { class: message.role === "user" ? "said" : "earlier" },
        message.role === "user" ? message.content : h("div", { class: "markdown" }, markdown(message.content))))),
      h("h2", {}, "What was said"),
      h("ul", { class: "said-by" }, item.flags.map(({ annotator, reason }) => h("li", {}, h("b", {}, annotator), h("span", { class: "verdict flagged" }, "flagged: ", reason))), item.labels.map(({ annotator, label, version }) => h("li", {}, h("b", {}, annotator), h("span", { class: "verdict" }, tell(campaign.kind, label, item.answers)),
        version !== campaign.guidelines.version && h("span", { class: "hint" }, `under version ${version}`)))),
      item.answers.length > 1 && h("p", { class: "hint" }, "The letters are those of the answers below."),
      h("h2", {}, "The decision"), form.element, h("div", { class: "actions" }, button, h("span", { class: "hint" }, "It counts in place of all of them.")));
  }
  return { element, refresh };
}
