// Markdown of an untrusted writer into safe elements.
// HTML in it is shown as the text it is; what the parser makes is cleaned once more; pictures are never fetched.

import { copy, h } from "./dom.js";
import { highlight } from "./highlight.js";
import { Marked } from "./vendor/marked.js";
import DOMPurify from "./vendor/purify.js";

const escape = (text) => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

const parser = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    html: ({ text }) => escape(text),
    image: ({ text, href }) => escape(`[picture: ${text || href}]`),
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
  },
});

const ALLOWED = {
  ALLOWED_TAGS: ["a", "b", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "li",
    "ol", "p", "pre", "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "ul"],
  ALLOWED_ATTR: ["href", "title", "start", "align", "class"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

export function markdown(text) {
  const fragment = DOMPurify.sanitize(parser.parse(text), ALLOWED);
  for (const link of fragment.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
  }
  for (const block of fragment.querySelectorAll("pre > code")) frameCode(block);
  for (const element of fragment.querySelectorAll("[class]:not(.code, .code *)")) element.removeAttribute("class");
  for (const table of fragment.querySelectorAll("table")) {
    const scroll = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table" });
    table.replaceWith(scroll);
    scroll.append(table);
  }
  return fragment;
}

function frameCode(block) {
  const language = [...block.classList].find((name) => name.startsWith("language-"))?.slice(9) ?? "";
  const text = block.textContent.replace(/\n$/, "");
  const button = h("button", { type: "button", class: "text", "aria-label": "Copy this code", onclick: () => copy(text, button) }, "copy");
  block.parentElement.replaceWith(
    h("figure", { class: "code" }, h("figcaption", {}, h("span", {}, language || "code"), button),
      h("pre", { tabindex: "0" }, h("code", {}, highlight(text, language)))));
}
