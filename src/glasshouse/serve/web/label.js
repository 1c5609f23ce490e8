// The Label page: campaigns on the left, the task in the middle, its guidelines on the right; agreement and review.

import { request } from "./api.js";
import { copy, download, h, iconButton, notify, put } from "./dom.js";
import { createAgreement } from "./label_agreement.js";
import { createOutbox } from "./label_outbox.js";
import { createReview } from "./label_review.js";
import { annotator, ask, AT, campaignPath, mayAs, setRole, signIn, signOut } from "./label_session.js";
import { createTaskView } from "./label_task.js";
import { markdown } from "./markdown.js";

const QUIET_MS = 5000; // between two looks at the progress of all
const KINDS = { demonstration: "Write an answer", ranking: "Rank the answers", thumbs: "Good or bad", rating: "Rate by rubric", edit: "Make it better" };
const TABS = { label: "Label", agreement: "Agreement", review: "Review" };

export function createLabelPage() {
  const outbox = createOutbox({ prefix: "glasshouse-label:", ask, owner: () => annotator()?.name, onchange: changed });
  const listElement = h("ul", { class: "campaigns" });
  const who = h("div", { class: "who" });
  const main = h("section", { class: "label-main", "aria-label": "Campaign" });
  const element = h("div", { class: "page label-page" },
    h("aside", { class: "sidebar", "aria-label": "Campaigns" }, h("div", { class: "side-head" }, h("h2", {}, "Campaigns")), listElement, who), main);
  let campaigns = [];
  let shown = null; // the campaign on the page: {name, key, task, element, ...}
  let timer = 0;
  let asked = 0; // how often a page was asked for

  async function loadList() {
    const { missing, campaigns: found } = await ask("GET", "/campaigns");
    campaigns = found;
    drawList();
    return missing;
  }

  function drawList() {
    put(listElement, campaigns.map((one) => h("li", {},
      h("a", { href: `#/label/${encodeURIComponent(one.name)}`, "aria-current": one.name === shown?.name ? "page" : null },
        h("span", { class: "name" }, one.name),
        h("span", { class: "hint" }, `${KINDS[one.kind]} · ${one.n_done.toLocaleString()} of ${one.n_items.toLocaleString()}`),
        bar(one.n_done, one.n_items)))));
    if (!campaigns.length) put(listElement, h("li", { class: "hint none" }, "No campaigns yet."));
  }

  function drawWho() {
    const me = annotator();
    put(who, me && [h("span", { class: "name" }, me.name), me.role !== "annotator" && h("span", { class: "hint" }, me.role), h("button", { type: "button", class: "text", onclick: leave }, "Sign out")]);
  }

  function leave() {
    signOut();
    shown = null;
    show("");
  }

  function changed() {
    const waiting = outbox.waiting();
    shown?.tell?.(waiting);
    shown?.task?.arrived();
  }

  async function tick() {
    clearTimeout(timer);
    try {
      await loadList();
      await shown?.refresh?.();
    } catch { /* the next look may succeed; what is asked by hand says what is wrong */ }
    if (element.isConnected) timer = setTimeout(tick, QUIET_MS);
  }

  async function show(path) {
    clearTimeout(timer);
    const mine = ++asked;
    const isWanted = () => mine === asked; // whoever signs out, or goes on, while a page is fetched no longer wants it
    const [name, tab = "label"] = path.split("/");
    try {
      const missing = await loadList();
      if (!isWanted()) return;
      drawWho();
      if (missing) main.replaceChildren(empty("Labels need one more package", missing));
      else if (!campaigns.length) main.replaceChildren(empty("No campaigns yet", "Somebody begins one on the command line:", "glass label create NAME --help"));
      else if (!annotator()) main.replaceChildren(createSignIn(() => show(path)));
      else await open(name || campaigns[0].name, tab in TABS ? tab : "label", isWanted);
    } catch (error) {
      if (!isWanted()) return;
      if (error.code === "KeyRefusedError") main.replaceChildren(createSignIn(() => show(path), error.message));
      else main.replaceChildren(empty("The labels cannot be read", error.message));
    }
    drawList();
    listElement.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
    timer = setTimeout(tick, QUIET_MS);
  }

  async function open(name, tab, isWanted) {
    if (shown?.name !== name || shown.who !== annotator().name) {
      const made = await createCampaign(await ask("GET", campaignPath(name)), outbox, tick);
      if (!isWanted()) return;
      shown = made;
      shown.tell(outbox.waiting());
    }
    if (!shown.element.isConnected) main.replaceChildren(shown.element);
    await shown.turnTo(tab);
  }

  document.addEventListener("keydown", (event) => {
    if (element.isConnected && shown?.element.isConnected && shown.tab === "label") shown.task.key(event);
  }, true);

  return { element, show, hide() { clearTimeout(timer); } };
}

function bar(n, total) {
  const fill = h("i", {});
  fill.style.width = `${total ? (100 * Math.min(n, total)) / total : 0}%`;
  return h("span", { class: "bar", "aria-hidden": "true" }, fill);
}

function empty(title, text, command) {
  return h("div", { class: "welcome" }, h("h1", {}, title), h("p", { class: "lead" }, text), command && h("p", {}, h("code", {}, command)));
}

function createSignIn(ondone, refusal = "") {
  const name = h("input", { id: "annotator-name", autocomplete: "username", required: true, maxlength: 200 });
  const key = h("input", { id: "annotator-key", type: "password", autocomplete: "current-password", required: true, maxlength: 200 });
  const problem = h("p", { class: "note bad", role: "alert", hidden: !refusal }, refusal);
  const form = h("form", { class: "sign-in" },
    h("h1", {}, "Who labels?"),
    h("p", { class: "lead" }, "Your name stands by what you say. Whoever leads the campaign gives you a key."),
    h("label", { for: "annotator-name" }, "Name"), name, h("label", { for: "annotator-key" }, "Key"), key, problem,
    h("p", { class: "buttons" }, h("button", { class: "main" }, "Sign in"), h("span", { class: "hint" }, "Kept for this tab only.")));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await signIn(name.value.trim(), key.value.trim());
      ondone();
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
    }
  });
  requestAnimationFrame(() => name.focus());
  return form;
}

async function createCampaign(campaign, outbox, onprogress) {
  const at = campaignPath(campaign.name);
  const figures = h("p", { class: "hint figures-line", role: "status" });
  const progress = h("div", { class: "label-progress" });
  const unsent = h("div", { class: "unsent" });
  const guidelines = h("div", { class: "markdown" });
  const version = h("span", { class: "hint" });
  const beside = h("details", { class: "guidelines", open: matchMedia("(min-width: 1101px)").matches },
    h("summary", {}, h("h2", {}, "Guidelines"), version), guidelines);
  const task = createTaskView(campaign, outbox, onprogress, guide);
  const views = { label: task, agreement: createAgreement(campaign), review: createReview(campaign, outbox) };
  const links = Object.entries(TABS).map(([tab, text]) => h("a", { href: `#/label/${encodeURIComponent(campaign.name)}${tab === "label" ? "" : `/${tab}`}`, "data-tab": tab }, text));
  const reviewLink = links.find((link) => link.dataset.tab === "review");
  const place = h("div", { class: "label-place" });
  const exportButton = iconButton("export", "Export the labels as JSON lines", exportLabels);
  const element = h("div", { class: "label-inside" },
    h("header", { class: "label-head" },
      h("div", { class: "label-title" }, h("p", { class: "hint" }, KINDS[campaign.kind]), h("h1", {}, campaign.name)),
      h("nav", { class: "tabs", "aria-label": "Parts of this campaign" }, links, exportButton),
      progress, figures),
    unsent, h("div", { class: "label-body" }, place, beside));

  /** The guidelines as they are now; a label is given under the version that is shown. */
  async function guide(wanted) {
    if (wanted !== undefined && wanted === campaign.guidelines.version) return;
    if (wanted !== undefined) {
      campaign.guidelines = (await ask("GET", at)).guidelines;
      notify(`The guidelines have changed: this is version ${campaign.guidelines.version}.`);
    }
    guidelines.replaceChildren(markdown(campaign.guidelines.text || "There are none yet."));
    version.textContent = `version ${campaign.guidelines.version}`;
  }

  async function exportLabels() {
    try {
      const response = await request("GET", `${AT}${at}/export`, undefined, { headers: { "X-Annotator-Key": annotator().key } });
      download(`${campaign.name.replace(/[^\p{L}\p{N}]+/gu, "-")}.jsonl`, "application/jsonl", await response.text());
    } catch (error) {
      notify(error.message);
    }
  }

  async function refresh() {
    const now = await ask("GET", `${at}/progress`);
    setRole(now.role);
    reviewLink.hidden = !mayAs("reviewer");
    exportButton.hidden = !mayAs("owner");
    put(progress, bar(now.n_done, now.n_items));
    figures.textContent = [`${now.n_done.toLocaleString()} of ${now.n_items.toLocaleString()} done`,
      `${now.n_mine.toLocaleString()} label${now.n_mine === 1 ? "" : "s"} by you`,
      now.median_seconds === null ? "" : `${duration(now.median_seconds)} a label`,
      now.n_disagreements ? `${now.n_disagreements} in dispute` : "", now.n_flags ? `${now.n_flags} flagged` : ""].filter(Boolean).join(" · ");
    await views[page.tab].refresh?.();
  }

  const page = {
    name: campaign.name, who: annotator().name, element, task, tab: "label", refresh,
    async turnTo(tab) {
      page.tab = tab;
      for (const link of links) link.dataset.tab === tab ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
      element.dataset.tab = tab;
      place.replaceChildren(views[tab].element);
      await Promise.all([refresh(), tab === "label" && !task.hasTask() ? task.next() : null]);
    },
    /** Labels that the server refused: said, with what was in them, until they are put aside. */
    tell(waiting) {
      put(unsent, waiting.filter((entry) => entry.refusal).map((entry) => h("p", { class: "note bad", role: "alert" }, `A label was not taken: ${entry.refusal} `,
        h("button", { type: "button", class: "text", onclick: () => copy(JSON.stringify(entry.body, null, 1)) }, "Copy it"),
        h("button", { type: "button", class: "text", onclick: () => outbox.drop(entry.id) }, "Put it aside"))));
    },
  };
  await guide();
  return page;
}

const duration = (seconds) => (seconds < 90 ? `${seconds.toFixed(seconds < 10 ? 1 : 0)} s` : `${Math.round(seconds / 60)} min`);
