// The field of the Complete page: text typed inline, right before the tokens that go on from it.
//
// Browsers show a line break at the end of a field only where another follows.  While nothing follows the typed text, it
// therefore ends with one that is not part of it (the mark), and line breaks are put in here, not by the browser, each
// of which has its own way of adding more.

import { h } from "./dom.js";

export function createTyped(onedit) {
  const element = h("span", { class: "typed", contenteditable: "plaintext-only", role: "textbox", "aria-multiline": "true",
    "aria-label": "Your text", spellcheck: "false", "data-placeholder": "Begin a sentence …" });
  let isMarked = false;

  const endsMarked = () => isMarked && element.textContent.endsWith("\n");
  const text = () => (endsMarked() ? element.textContent.slice(0, -1) : element.textContent);

  function set(value) {
    element.textContent = value;
    isMarked = false;
  }

  /** Call it with what follows before anything is drawn. */
  function setFollowed(isFollowed) {
    if (!isFollowed && !endsMarked()) element.append("\n");
    else if (isFollowed && endsMarked()) element.lastChild.deleteData(element.lastChild.length - 1, 1); // the caret stays
    isMarked = !isFollowed;
    element.classList.toggle("blank", !isFollowed && text() === "");
  }

  function caretToEnd() {
    element.focus();
    const last = element.lastChild;
    getSelection().collapse(last ?? element, last ? last.length - (endsMarked() ? 1 : 0) : 0);
  }

  element.addEventListener("beforeinput", (event) => {
    const isBreak = event.inputType === "insertParagraph" || event.inputType === "insertLineBreak";
    const added = isBreak ? "\n" : event.inputType === "insertFromPaste" ? event.dataTransfer?.getData("text/plain") ?? event.data : null;
    if (added === null) return;
    event.preventDefault();
    const range = getSelection().getRangeAt(0);
    range.deleteContents();
    const node = document.createTextNode(added.replace(/\r\n?/g, "\n"));
    range.insertNode(node);
    getSelection().collapse(node, node.length);
    onedit();
  });
  element.addEventListener("input", onedit);
  return { element, text, set, setFollowed, caretToEnd };
}
