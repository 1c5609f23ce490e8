// Code with its comments, strings, numbers and keywords set apart.  One pattern for the families of languages that
// share it; nothing here needs to be right, only calm: an unknown language stays plain.

import { h } from "./dom.js";

const WORDS = new Set(("and as assert async await break case catch class const continue def del do elif else enum except export " +
  "extends False false final finally fn for from func function global if impl import in interface is lambda let match " +
  "mod mut new nil None nonlocal not null or package pass private pub public raise return self static struct super " +
  "switch this throw trait True true try type use var void while with yield SELECT FROM WHERE JOIN ON GROUP BY ORDER " +
  "INSERT INTO UPDATE SET").split(" "));

const STRING = String.raw`"""[\s\S]*?(?:"""|$)|'''[\s\S]*?(?:'''|$)|"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?`;
const REST = String.raw`\b\d[\w.]*|[A-Za-z_]\w*`;
const HASH = new RegExp(`(#.*)|(${STRING})|(${REST})`, "g");
const SLASH = new RegExp(String.raw`(//.*|/\*[\s\S]*?(?:\*/|$))|(${STRING}|` + "`(?:[^`\\\\]|\\\\.)*`?" + `)|(${REST})`, "g");
const HASHED = new Set(["", "py", "python", "sh", "bash", "shell", "toml", "yaml", "yml", "ruby", "rb", "r", "ini", "console"]);
const PLAIN = new Set(["text", "txt", "plain", "markdown", "md", "html", "xml", "diff"]);

/** A list of strings and elements. */
export function highlight(text, language) {
  if (PLAIN.has(language) || text.length > 50_000) return [text];
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(HASHED.has(language) ? HASH : SLASH)) {
    const [whole, comment, string] = match;
    const kind = comment ? "comment" : string ? "string" : /^\d/.test(whole) ? "number" : WORDS.has(whole) ? "word" : null;
    if (!kind) continue;
    parts.push(text.slice(end, match.index), h("span", { class: `hl-${kind}` }, whole));
    end = match.index + whole.length;
  }
  return [...parts, text.slice(end)];
}
