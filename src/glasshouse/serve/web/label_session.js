// Who labels in this tab: a name, a role and a key; the key is sent with every request of the Label page.

import { request } from "./api.js";

const KEPT = "glasshouse-annotator"; // for this tab only, like the API key
export const AT = "/studio/api/labels";

export function annotator() {
  try { return JSON.parse(sessionStorage.getItem(KEPT)); } catch { return null; }
}

export async function signIn(name, key) {
  const headers = { "X-Annotator-Key": key };
  const { annotator: found, role } = await (await request("POST", `${AT}/sign-in`, { name }, { headers })).json();
  sessionStorage.setItem(KEPT, JSON.stringify({ name: found, key, role }));
}

const ROLES = ["annotator", "reviewer", "owner"]; // each may do what those before may
/** What the server goes by; here it only decides what is shown. */
export const mayAs = (role) => ROLES.indexOf(annotator()?.role) >= ROLES.indexOf(role);

export function setRole(role) {
  const me = annotator();
  if (me && me.role !== role) sessionStorage.setItem(KEPT, JSON.stringify({ ...me, role }));
}

export const signOut = () => sessionStorage.removeItem(KEPT);

/** The server's answer as JSON, asked as the annotator of this tab. */
export async function ask(method, path, body) {
  const key = annotator()?.key;
  const response = await request(method, AT + path, body, { headers: key ? { "X-Annotator-Key": key } : {} });
  return response.json();
}

export const campaignPath = (name) => `/campaigns/${encodeURIComponent(name)}`;
