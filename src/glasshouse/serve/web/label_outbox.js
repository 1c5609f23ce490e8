// Labels on their way.  Each has an id made here and stays in this browser until the server has said that it has it, so
// that a lost connection, a closed tab or a second click neither loses a label nor sends two: the same id is stored once.

const LONGEST_PAUSE_MS = 15_000;

export const newSubmissionId = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");

/** Labels kept under `prefix`, one key each: two tabs never write over each other.  `ask(method, path, body)` sends one;
 *  `owner()` names whose they are, where that differs.  `onchange()` is told when one came in, was acknowledged, or was
 *  refused. */
export function createOutbox({ prefix, ask, owner = () => "", onchange = () => {} }) {
  const unkept = new Map(); // where the browser has no storage, a label lives as long as the page
  let timer = 0;
  let pause_ms = 500;
  let sending = null;

  function put(entry) {
    try { localStorage.setItem(prefix + entry.id, JSON.stringify(entry)); } catch { unkept.set(entry.id, entry); }
  }

  function drop(id) {
    unkept.delete(id);
    try { localStorage.removeItem(prefix + id); } catch { /* nothing is kept there */ }
    onchange();
  }

  /** This owner's labels that are not acknowledged, the oldest first. */
  function waiting() {
    const found = [...unkept.values()];
    try {
      for (const key of Object.keys(localStorage)) if (key.startsWith(prefix)) found.push(JSON.parse(localStorage.getItem(key)));
    } catch { /* no storage */ }
    return found.filter((entry) => entry.annotator === owner()).sort((a, b) => a.at - b.at);
  }

  /** Sends what waits; a second call while one is under way waits for that one. */
  function flush() {
    sending ??= sendAll().finally(() => { sending = null; onchange(); });
    return sending;
  }

  async function sendAll() {
    clearTimeout(timer);
    for (let entry; (entry = waiting().find((one) => !one.refusal)); ) {
      try {
        await ask("POST", entry.path, { ...entry.body, submission_id: entry.id });
        drop(entry.id);
        pause_ms = 500;
      } catch (error) {
        const mayPass = [401, 403, 408, 429].includes(error.status) && error.code !== "NotAllowedError";
        const isFinal = error.status >= 400 && error.status < 500 && !mayPass;
        put({ ...entry, [isFinal ? "refusal" : "trouble"]: error.message });
        if (isFinal) continue; // it stays until the annotator has seen why
        pause_ms = Math.min(2 * pause_ms, LONGEST_PAUSE_MS);
        timer = setTimeout(flush, pause_ms);
        return;
      }
    }
  }

  addEventListener("online", flush);
  return {
    waiting, flush, drop,
    add(id, path, body) {
      put({ id, path, body, annotator: owner(), at: Date.now() });
      onchange();
      return flush();
    },
  };
}
