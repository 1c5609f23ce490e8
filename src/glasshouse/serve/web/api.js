// Asking the server: JSON in, JSON or server-sent events out.  Errors carry the server's own words.

import { h } from "./dom.js";

export class ApiError extends Error {
  constructor(status, message, code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

const KEY = "glasshouse-api-key"; // for this tab only

export async function request(method, path, body, options = {}) {
  const { signal, keepalive } = options;
  const headers = { ...options.headers };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const key = sessionStorage.getItem(KEY);
  if (key) headers.Authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(path, { method, headers, signal, keepalive, cache: "no-store", body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server does not answer. Is it still running?");
  }
  if (response.status === 401 && (await askForKey())) return request(method, path, body, options);
  if (!response.ok) throw await explain(response);
  return response;
}

async function explain(response) {
  let told = {};
  try { told = await response.json(); } catch { /* not JSON: the status has to do */ }
  const retry = response.headers.get("Retry-After");
  const message = told.error?.message ?? (typeof told.detail === "string" ? told.detail : `The server said ${response.status}.`);
  return new ApiError(response.status, retry ? `${message} Try again in ${retry} s.` : message, told.error?.code);
}

export const get = async (path, options) => (await request("GET", path, undefined, options)).json();

export async function send(method, path, body, options) {
  const response = await request(method, path, body, options);
  return response.status === 204 ? null : response.json();
}

/** Each event of a stream as a value; ends at [DONE].  Stopping the loop early closes the connection. */
export async function* stream(path, body, signal) {
  const response = await request("POST", path, body, { signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (held + value).split("\n");
      held = lines.pop();
      for (const line of lines) {
        if (!line.startsWith("data:")) continue;
        const data = line.slice(5).trim();
        if (data === "[DONE]") return;
        const event = JSON.parse(data);
        if (event.error) throw new ApiError(500, event.error.message, event.error.code);
        yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

let asking = null;

/** One dialog however many requests were refused at once.  True when a key was given. */
function askForKey() {
  asking ??= new Promise((resolve) => {
    const input = h("input", { type: "password", autocomplete: "off", required: true, id: "api-key" });
    const dialog = h("dialog", { class: "card", "aria-labelledby": "key-title" },
      h("form", { method: "dialog" },
        h("h2", { id: "key-title" }, "This server asks for a key"),
        h("p", { class: "hint" }, "Its owner makes one with: glass key create. It is kept for this tab only."),
        h("label", { for: "api-key" }, "API key"), input,
        h("p", { class: "buttons" }, h("button", { class: "main" }, "Use this key"))));
    dialog.addEventListener("close", () => {
      if (input.value) sessionStorage.setItem(KEY, input.value.trim());
      dialog.remove();
      asking = null;
      resolve(Boolean(input.value));
    });
    document.body.append(dialog);
    dialog.showModal();
  });
  return asking;
}
