// The Runs page: every run, and one of them told as it happens.

import { get } from "./api.js";
import { compact, createChart } from "./chart.js";
import { h, icon, notify, put } from "./dom.js";

const LIVE_MS = 1500;
const QUIET_MS = 8000;
const STATES = { running: "running", finished: "finished", interrupted: "interrupted", stopped: "stopped" };
// metric -> title, whether small, whether from zero
const CHARTS = [
  ["loss", "Loss, nats a token", false, false],
  ["bits_per_byte", "Bits a byte", false, false],
  ["lr", "Learning rate", true, true],
  ["tokens_per_s", "Tokens a second", true, true],
  ["grad_norm", "Gradient norm", true, true],
];

export function createRunsPage() {
  const listElement = h("ul", { class: "runs" });
  const detail = h("section", { class: "run", "aria-label": "Run" });
  const element = h("div", { class: "page runs-page" },
    h("aside", { class: "sidebar", "aria-label": "Runs" }, h("div", { class: "side-head" }, h("h2", {}, "Runs")), listElement), detail);
  let shown = null;
  let timer = 0;
  let listedAt = 0;

  /** Draws the list; without a name the latest run is the one shown.  Returns its name. */
  async function loadList(name) {
    listedAt = Date.now();
    const runs = await get("/studio/api/runs");
    name ||= runs[0]?.name;
    put(listElement, runs.map((run) => h("li", {}, h("a", { href: `#/runs/${encodeURIComponent(run.name)}`, "aria-current": run.name === name ? "page" : null },
      h("span", { class: "name" }, run.name), h("span", { class: `hint state ${run.state}` }, stateOf(run))))));
    if (!runs.length) put(listElement, h("li", { class: "hint none" }, "No runs yet. Begin one: glass run quickstart"));
    return name;
  }

  async function tick() {
    clearTimeout(timer);
    const run = shown;
    if (!run) return;
    try {
      await run.refresh();
      if (Date.now() - listedAt > QUIET_MS) await loadList(run.name);
    } catch (error) {
      if (!run.isLost) notify(error.message);
      run.isLost = true;
    }
    if (run === shown && element.isConnected) timer = setTimeout(tick, run.isLive() ? LIVE_MS : QUIET_MS);
  }

  return {
    element,
    async show(name) {
      try { name = await loadList(name); } catch (error) { notify(error.message); }
      if (!name) {
        detail.replaceChildren(h("div", { class: "welcome" }, h("h1", {}, "No runs yet"), h("p", { class: "lead" }, "Grow a first model from text that is already on this machine: glass run quickstart")));
        return;
      }
      if (shown?.name !== name) {
        shown = createRun(name);
        detail.replaceChildren(shown.element);
        detail.scrollTop = 0;
      }
      await tick();
    },
    hide() { clearTimeout(timer); },
  };
}

const stateOf = (run) => `${STATES[run.state]}${run.state !== "finished" && run.stage ? ` in ${run.stage}` : ""} · ${when(run.began_at)}`;

function when(at) {
  const date = new Date(at * 1000);
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday ? date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }) : date.toLocaleDateString();
}

function createRun(name) {
  const at = `/studio/api/runs/${encodeURIComponent(name)}`;
  const head = h("header", { class: "run-head" });
  const life = h("ol", { class: "life", "aria-label": "Stages" });
  const curves = h("div", { class: "curves" });
  const rest = h("div", { class: "rest-of-run" });
  const switcher = h("div", { class: "switch", role: "group", "aria-label": "Horizontal axis" },
    ["step", "minutes"].map((axis) => h("button", { type: "button", "aria-pressed": String(axis === "step"), onclick: (event) => switchAxis(axis, event.currentTarget) }, axis === "step" ? "steps" : "time")));
  const learning = h("section", { class: "learning", hidden: true }, h("div", { class: "side-head" }, h("h2", {}, "Learning"), switcher), curves);
  const element = h("div", { class: "run-inside" }, head, life, learning, rest);
  const stages = new Map(); // stage -> {records, charts}
  let offset = 0;
  let stamp = null;
  let axis = "step";
  let summary = null;

  function switchAxis(chosen, button) {
    axis = chosen;
    for (const other of switcher.children) other.setAttribute("aria-pressed", String(other === button));
    for (const stage of stages.values()) drawStage(stage);
  }

  /** New metrics, and everything else when it has changed. */
  async function refresh() {
    const changed = new Set();
    for (;;) {
      const answer = await get(`${at}/metrics?offset=${offset}`);
      if (answer.from === 0 && offset > 0) for (const stage of stages.values()) stage.records = [];
      for (const record of answer.records) changed.add(remember(record));
      offset = answer.offset;
      summary = answer.summary;
      if (answer.is_all) break;
    }
    for (const stage of changed) drawStage(stage);
    if (stamp !== summary.stamp || head.dataset.state !== summary.state) {
      stamp = summary.stamp;
      tell(await get(at));
    }
  }

  /** The last record of a step counts: a resumed stage repeats some. */
  function remember(record) {
    if (!stages.has(record.stage)) stages.set(record.stage, createStage(record.stage));
    const stage = stages.get(record.stage);
    while (stage.records.length && stage.records.at(-1).step > record.step) stage.records.pop();
    const last = stage.records.at(-1);
    if (last?.step === record.step) Object.assign(last.metrics, record.metrics);
    else stage.records.push(record);
    return stage;
  }

  function createStage(name) {
    const charts = new Map();
    const progress = h("span", { class: "hint" });
    const big = h("div", { class: "big" }), small = h("div", { class: "small" });
    curves.append(h("section", { class: "stage-curves" }, h("h3", {}, name, " ", progress), big, small));
    learning.hidden = false;
    return { name, records: [], charts, progress, big, small };
  }

  function drawStage(stage) {
    const began = stage.records[0]?.at ?? 0;
    const points = (key) => stage.records.filter((record) => key in record.metrics)
      .map((record) => [axis === "step" ? record.step : (record.at - began) / 60, record.metrics[key]]);
    const hasBits = stage.name !== "sft" && stage.records.some((record) => "bits_per_byte" in record.metrics);
    for (const [key, title, isSmall, startsAtZero] of CHARTS) {
      if (key === (hasBits ? "loss" : "bits_per_byte")) continue; // one measure a stage, as in the report
      const line = points(key);
      if (!line.length) continue;
      if (!stage.charts.has(key)) {
        const chart = createChart({ title, height: isSmall ? 130 : 280, startsAtZero, format: compact });
        stage.charts.set(key, chart);
        (isSmall ? stage.small : stage.big).append(chart.element);
      }
      const held = points(`eval/${key}`);
      stage.charts.get(key).set([{ name: "learned from", kind: "line", tone: "leaf", points: line }, ...(held.length ? [{ name: "held back", kind: "dots", tone: "bloom", points: held }] : [])], axis === "step" ? "step" : "minute");
    }
    const steps = planned[stage.name];
    const last = stage.records.at(-1)?.step ?? 0;
    stage.progress.textContent = steps ? `step ${last.toLocaleString()} of ${steps.toLocaleString()}` : `step ${last.toLocaleString()}`;
  }

  let planned = {};

  function tell(run) {
    planned = run.steps;
    head.dataset.state = run.state;
    put(head,
      h("p", { class: `state ${run.state}` }, h("i", { "aria-hidden": "true" }), stateOf(run)),
      h("h1", {}, run.headline.title), h("p", { class: "lead" }, run.headline.lead),
      run.headline.status && run.state !== "running" ? h("p", { class: "note" }, run.headline.status) : null,
      h("dl", { class: "figures" }, run.headline.figures.map((figure) => h("div", {}, h("dt", {}, figure.label), h("dd", {}, figure.value, figure.range ? h("span", { class: "range", title: "95 % interval" }, figure.range) : null)))),
      h("p", { class: "pickers" }, run.has_report ? h("a", { class: "button", href: `/studio/runs/${encodeURIComponent(name)}/report.html?key=${run.report_key}`, target: "_blank", rel: "noopener" }, "Read the whole report", icon("open")) : null, h("a", { class: "button", href: `#/card/${encodeURIComponent(name)}` }, "Model card")));
    life.replaceChildren(...run.panes.map((pane) => h("li", { class: pane.is_done ? "done" : "open" },
      h("span", { class: "stage" }, pane.name), h("span", { class: "key" }, pane.key || "…"), h("span", { class: "caption" }, pane.caption),
      pane.notes.map((note) => h("span", { class: "hint" }, note)), h("span", { class: "took" }, pane.took.split(" · ").filter(Boolean).flatMap((part, i) => [h("span", {}, i ? `· ${part}` : part), " "])))));
    life.hidden = run.panes.length < 2;
    put(rest, samplesOf(run), costsOf(run), warningsOf(run));
    for (const stage of stages.values()) drawStage(stage);
  }

  return { name, element, refresh, isLive: () => summary?.state === "running" };
}

function samplesOf(run) {
  if (!run.samples.length) return null;
  const group = (one, isOpen) => h("details", { open: isOpen },
    h("summary", {}, h("span", { class: "count" }, one.stage), " ", h("span", { class: "asked" }, one.prompt.trim() || one.prompt)),
    h("ol", { class: "samples" }, one.rows.map((row) => h("li", {}, h("p", { class: "when" }, h("b", {}, row.when), " ", h("span", { class: "hint" }, row.quality)),
      h("pre", {}, one.is_chat ? null : h("span", { class: "given" }, one.prompt), row.text)))));
  const last = run.samples.findLastIndex((one) => one.is_first);
  return h("section", {}, h("h2", {}, "What it wrote as it learned"), run.samples.map((one, i) => group(one, i === last)));
}

function costsOf(run) {
  if (!run.costs.length) return null;
  return h("section", {}, h("h2", {}, "What it cost"), run.is_estimated ? h("p", { class: "hint" }, "Energy is estimated: this machine shows no energy counters.") : null,
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Cost by stage" }, h("table", {},
      h("thead", {}, h("tr", {}, ["stage", "time", "work", "energy", "money", "CO₂"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, run.costs.map((row) => h("tr", { class: row.is_total ? "total" : null }, h("th", { scope: "row" }, row.stage),
        [row.time, row.flops, row.energy, row.money, row.co2].map((cell) => h("td", {}, cell))))))));
}

function warningsOf(run) {
  if (!run.warnings.length) return null;
  return h("section", {}, h("h2", {}, "Warnings"), h("ul", { class: "warnings" }, run.warnings.map((one) => h("li", {}, h("b", {}, one.stage), " ", one.text))));
}
