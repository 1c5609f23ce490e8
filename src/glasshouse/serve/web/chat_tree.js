// A chat is a tree of turns: asking again or differently adds a sibling.  Pure functions over the stored form.

export const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(8)), (b) => b.toString(16).padStart(2, "0")).join("");

const byId = (chat, id) => chat.turns.find((turn) => turn.id === id);
export const children = (chat, id) => chat.turns.filter((turn) => turn.parent === id);
export const siblings = (chat, turn) => children(chat, turn.parent);

/** From the first turn to `head`. */
export function path(chat, head = chat.head) {
  const found = [];
  for (let turn = byId(chat, head); turn && !found.includes(turn); turn = byId(chat, turn.parent)) found.unshift(turn);
  return found;
}

/** Where one lands who goes to `turn`: the newest end of what followed it. */
export function newestEnd(chat, turn) {
  for (;;) {
    const next = children(chat, turn.id).at(-1);
    if (!next) return turn.id;
    turn = next;
  }
}

/** What lane `lane` is asked at `turn`: everything before it as that lane heard it. */
export function messagesFor(chat, turn, lane) {
  const messages = chat.system.trim() ? [{ role: "system", content: chat.system }] : [];
  for (const before of path(chat, turn.parent)) {
    const answer = before.answers[lane] ?? before.answers[0];
    messages.push({ role: "user", content: before.question }, { role: "assistant", content: answer?.text ?? "" });
  }
  return [...messages, { role: "user", content: turn.question }];
}

/** The form that training reads: one JSON object with the messages of one lane. */
export function toConversation(chat, lane = 0) {
  const last = path(chat).at(-1);
  const messages = last ? messagesFor(chat, last, lane) : [];
  const answer = last?.answers[lane] ?? last?.answers[0];
  if (answer?.text) messages.push({ role: "assistant", content: answer.text });
  return { id: chat.id, messages, meta: { title: chat.title, model: answer?.model ?? "", settings: chat.settings } };
}

export function toMarkdown(chat) {
  const parts = [`# ${chat.title || "Conversation"}`];
  if (chat.system.trim()) parts.push(`*System prompt:* ${chat.system}`);
  for (const turn of path(chat)) {
    parts.push(`## ${turn.question.replaceAll("\n", "\n> ")}`);
    for (const answer of turn.answers) parts.push(`**${answer.model}**\n\n${answer.text}`);
  }
  return `${parts.join("\n\n")}\n`;
}
