// Tokens as a person sees them.  A token is {id, bytes, logp (nats), name (of a special token), alternatives}.

import { h } from "./dom.js";

const strict = new TextDecoder("utf-8", { fatal: true });
const SEEN = { "\n": "↵", "\t": "⇥", "\r": "␍" };

/** The text of many tokens together: letters may be spread over several. */
export function textOf(tokens) {
  return new TextDecoder().decode(Uint8Array.from(tokens.flatMap((token) => token.bytes)));
}

/** Its own text, or its bytes where it is only part of a letter. */
export function label(token) {
  if (token.name) return token.name;
  try {
    return strict.decode(Uint8Array.from(token.bytes));
  } catch {
    return `‹${token.bytes.map((b) => b.toString(16).padStart(2, "0").toUpperCase()).join(" ")}›`;
  }
}

/** A label in which spaces and line breaks can be seen. */
export function visible(token) {
  const text = label(token);
  const parts = text.split(/([\n\t\r]|^ +| +$)/).filter(Boolean);
  return parts.map((part) => (part in SEEN || /^ +$/.test(part)
    ? h("i", { class: "space" }, SEEN[part] ?? "␣".repeat(part.length)) : part));
}

export const percent = (logp) => {
  const value = 100 * Math.exp(logp);
  return value >= 99.95 ? "100 %" : value >= 10 ? `${value.toFixed(0)} %` : value >= 0.1 ? `${value.toFixed(1)} %` : "< 0.1 %";
};

/** Sure is green, a coin's throw is golden, a surprise of 7 bits (1 in 128) and more is red. */
export function tone(logp) {
  const t = Math.min(1, -logp / Math.LN2 / 7);
  return t < 0.5 ? `color-mix(in oklab, var(--leaf) ${100 - 200 * t}%, var(--sun))` : `color-mix(in oklab, var(--sun) ${200 - 200 * t}%, var(--bloom))`;
}
