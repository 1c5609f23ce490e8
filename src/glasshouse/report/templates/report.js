"use strict";
// Draws the curves, switches their x axis, copies the command.  Without it the page shows the static curves.
const specs = JSON.parse(document.getElementById("specs").textContent);
const views = [];
for (const [id, spec] of Object.entries(specs)) {
  const place = document.getElementById(id);
  if (!place || !window.vegaEmbed) continue;
  const drawn = document.createElement("div");
  drawn.className = "drawn";
  // `ast`: expressions are interpreted, not compiled, so the page needs no permission to evaluate code.
  window.vegaEmbed(drawn, spec, { renderer: "svg", actions: false, ast: true }).then((result) => views.push(result.view));
  place.replaceChildren(drawn);
}
for (const choice of document.querySelectorAll("input[name='x_axis']")) {
  choice.addEventListener("change", () => {
    for (const view of views) view.signal("x_axis", choice.value).run();
    for (const label of document.querySelectorAll(".x-axis")) {
      label.textContent = choice.value === "minutes" ? "minutes" : label.dataset.tokens;
    }
  });
}
for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "copied";
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });
}
