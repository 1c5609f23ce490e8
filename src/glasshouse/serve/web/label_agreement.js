// How well annotators agree: Krippendorff's alpha and every annotator against the others, each with its 95 % interval.

import { h, put } from "./dom.js";
import { ask, campaignPath } from "./label_session.js";

const LOWEST = -0.25; // where the scale begins, unless an interval goes below: alpha is 0 by chance

export function createAgreement(campaign) {
  const element = h("section", { class: "agreement", "aria-label": "Agreement" });

  async function refresh() {
    const found = await ask("GET", `${campaignPath(campaign.name)}/agreement`);
    put(element, summary(found), found.annotators.length > 0 && table(found));
  }
  return { element, refresh };
}

const number = (value) => value.toFixed(2).replace("-", "−");
const range = ({ low, high }) => `${number(low)} to ${number(high)}`;

function summary({ alphas, n_items, note }) {
  if (!alphas.length) return h("div", { class: "welcome" }, h("h1", {}, "Not known yet"), h("p", { class: "lead" }, `${note[0].toUpperCase()}${note.slice(1)}.`));
  const lowest = Math.max(-1, Math.min(LOWEST, ...alphas.map(({ low }) => low)));
  const title = ({ name }) => (alphas.length > 1 ? `alpha, ${name}` : "Krippendorff’s alpha");
  return h("div", { class: "alpha" },
    h("dl", { class: "figures" }, alphas.map((alpha) => figure(title(alpha), number(alpha.value), range(alpha))),
      figure("items that two or more people judged", n_items.toLocaleString())),
    h("div", { class: "intervals" }, alphas.flatMap((alpha) => [alphas.length > 1 && h("span", { class: "hint" }, alpha.name), interval(alpha, title(alpha), lowest)]),
      alphas.length > 1 && h("span", {}), scale(lowest)),
    h("p", { class: "hint" }, "1 is full agreement, 0 what chance would give. From 0.67 on conclusions are drawn with care, from 0.80 on with confidence."));
}

const figure = (label, value, between) => h("div", {}, h("dt", {}, label), h("dd", {}, value, between && h("span", { class: "range", title: "95 % interval" }, between)));

const place = (value, lowest) => `${(100 * (Math.max(value, lowest) - lowest)) / (1 - lowest)}%`;

/** A line from low to high with a dot at the value. */
function interval(score, label, lowest = 0) {
  const band = h("i", { class: "band" }), dot = h("i", { class: "dot" });
  band.style.left = place(score.low, lowest);
  band.style.width = `calc(${place(score.high, lowest)} - ${place(score.low, lowest)})`;
  dot.style.left = place(score.value, lowest);
  return h("div", { class: "interval", role: "img", "aria-label": `${label} ${number(score.value)}, 95 % interval ${range(score)}` }, band, dot);
}

function scale(lowest) {
  return h("div", { class: "interval-scale", "aria-hidden": "true" }, [0, 0.67, 0.8, 1].map((value) => {
    const mark = h("span", {}, String(value));
    mark.style.left = place(value, lowest);
    return mark;
  }));
}

const percent = ({ value }) => `${Math.round(100 * value)} %`;

function table({ annotators }) {
  const hasTests = annotators.some((one) => one.tests);
  const row = (one) => h("tr", {}, h("th", { scope: "row" }, one.name), h("td", {}, one.n_labels.toLocaleString()),
    h("td", {}, one.median_seconds === null ? "–" : `${one.median_seconds.toFixed(one.median_seconds < 10 ? 1 : 0)} s`),
    h("td", {}, one.with_others ? percent(one.with_others) : "–"),
    h("td", { class: "wide" }, one.with_others ? interval(one.with_others, one.name) : h("span", { class: "hint" }, "nothing in common with others yet")),
    hasTests && h("td", {}, one.tests ? `${percent(one.tests)} of ${one.tests.count}` : "–"));
  return h("section", {}, h("h2", {}, "Annotators"),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Annotators" }, h("table", {},
      h("thead", {}, h("tr", {}, ["name", "labels", "a label", "agrees with others", "", hasTests && "test questions"].filter((name) => name !== false).map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, annotators.map(row)))));
}
