"use strict";
// Before the first paint: the choice made earlier, else what the system asks for.
try {
  const chosen = localStorage.getItem("glasshouse-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch { /* no storage: the system decides */ }
