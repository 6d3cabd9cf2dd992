// Every call to the API; besides, only resumable.js calls it, for uploads.
//
// Normally the API is that of the node which served the page, and the session is its HttpOnly cookie. With ?api=URL the
// page works with another node: calls carry a bearer token that is kept for this tab alone, and media are loaded by
// signed URLs, since neither the cookie nor a header can go along there.

import { channel } from './channel.js';
import { t } from './i18n.js';

const asked = originOf(new URLSearchParams(location.search).get('api'));

/** Origin of the other node's API, or '' for the node that served the page. */
export const remoteAPI = asked && asked !== location.origin ? asked : '';
export const apiOrigin = remoteAPI || location.origin;

/** The session ended: who is signed in must sign in again. */
export const unauthorized = channel();
/** true: the mesh has no quorum, so that changes are refused and what is read may be old; false: it has one again. */
export const noQuorum = channel();

const tokenKey = `malla.token.${remoteAPI}`;
let token = remoteAPI ? readToken() : '';
let newest = 0; // highest X-Malla-Index seen: what we did is never missing from what we read next

/** A refused or failed call. status is 0 when no answer came; message may be shown to people. */
export class ApiError extends Error {
  constructor(status, message, body) {
    super(message);
    this.status = status;
    this.body = body ?? {};
  }
}

/** The origin of a node's address as a person writes it; '' when it is none. */
export function originOf(text) {
  let trimmed = (text ?? '').trim();
  if (!trimmed) return '';
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(trimmed)) trimmed = `http://${trimmed}`;
  try {
    const url = new URL(trimmed);
    return url.protocol === 'http:' || url.protocol === 'https:' ? url.origin : '';
  } catch {
    return '';
  }
}

function readToken() {
  try {
    return sessionStorage.getItem(tokenKey) ?? '';
  } catch {
    return '';
  }
}

/** Keeps the bearer token of another node's API for this tab. With the page's own node it does nothing. */
export function keepToken(value) {
  if (!remoteAPI) return;
  token = value ?? '';
  try {
    if (token) sessionStorage.setItem(tokenKey, token);
    else sessionStorage.removeItem(tokenKey);
  } catch {
    // The token lives as long as the page.
  }
}

/** What people may read of an error's body: RFC 9457 `detail`, also where it is a list. */
export function problemText(status, body) {
  const detail = body?.detail;
  if (typeof detail === 'string' && detail) return detail;
  if (Array.isArray(detail) && detail.length) return detail.map((d) => d.msg ?? String(d)).join('; ');
  if (typeof body?.title === 'string' && body.title) return body.title;
  return status ? t('error.status', { status }) : t('error.network');
}

// noted looks at every answer for what concerns the whole page.
function noted(status, method, index, stale) {
  newest = Math.max(newest, Number(index) || 0);
  const changes = method !== 'GET' && method !== 'HEAD';
  if (stale || (changes && status === 503)) noQuorum.emit(true);
  else if (changes && status >= 200 && status < 300) noQuorum.emit(false);
}

/**
 * Calls the API. Returns the parsed JSON, or null where there is none; throws ApiError. text: the answer is a text; quiet: a 401
 * is the caller's business alone; anonymous: asks as somebody who is not signed in.
 */
async function call(path, { method = 'GET', json, text = false, quiet = false, anonymous = false } = {}) {
  const headers = { Accept: text ? 'text/plain' : 'application/json' };
  if (json !== undefined) headers['Content-Type'] = 'application/json';
  if (token && !anonymous) headers.Authorization = `Bearer ${token}`;
  if (newest) headers['X-Malla-Index'] = String(newest);
  let response;
  try {
    response = await fetch(remoteAPI + path, {
      method,
      headers,
      body: json === undefined ? undefined : JSON.stringify(json),
      credentials: remoteAPI || anonymous ? 'omit' : 'same-origin',
      cache: 'no-store',
    });
  } catch {
    throw new ApiError(0, t('error.network'));
  }
  noted(response.status, method, response.headers.get('X-Malla-Index'), response.headers.get('X-Malla-Stale'));
  if (text && response.ok) return response.text();
  const body = await readJSON(response);
  if (response.ok) return body;
  if (response.status === 401 && !quiet) unauthorized.emit();
  throw new ApiError(response.status, problemText(response.status, body), body);
}

async function readJSON(response) {
  if (!/\bjson\b/.test(response.headers.get('Content-Type') ?? '')) return null;
  try {
    return await response.json();
  } catch {
    return null;
  }
}

const enc = encodeURIComponent;

// Accounts

export const me = () => call('/auth/me', { quiet: true });
export const signUp = (username, password) => call('/auth/signup', { method: 'POST', json: { username, password }, quiet: true });
export const logIn = (username, password) => call('/auth/login', { method: 'POST', json: { username, password }, quiet: true });
export const setUp = (setupToken, username, password) => call('/auth/setup', { method: 'POST', json: { token: setupToken, username, password }, quiet: true });
export const logOut = () => call('/auth/logout', { method: 'POST', quiet: true });

// Media

/** All items of the library, page by page; at most 10,000. */
export async function listMedia() {
  const items = [];
  let cursor = '';
  do {
    const page = await call(`/media?limit=200${cursor && `&cursor=${enc(cursor)}`}`);
    items.push(...(page.items ?? (page.objects ?? []).map((name) => ({ id: name, name }))));
    cursor = page.next ?? '';
  } while (cursor && items.length < 10000);
  return items;
}

/** Deletes an item, by its id or its name. */
export const deleteMedia = (ref) => call(`/media/${enc(ref)}`, { method: 'DELETE' });

/** The first items that were deleted and can be restored, the latest first: {items, total, index, keep_seconds}. */
export async function listTrash(most) {
  const list = await call(`/trash?limit=${most}`);
  for (let part = list; part.next && list.items.length < most;) {
    part = await call(`/trash?limit=${most - list.items.length}&cursor=${enc(part.next)}`);
    list.items.push(...part.items);
  }
  return list;
}

export const restoreMedia = (id) => call(`/trash/${enc(id)}/restore`, { method: 'POST' });
export const purgeMedia = (id) => call(`/trash/${enc(id)}`, { method: 'DELETE' });

/** Deletes for good what was in the trash when the list with that index was made. */
export const emptyTrash = (index) => call(`/trash?confirm=true&index=${index}`, { method: 'DELETE' });

/** Where the bytes of an item are for a media element or a download. */
export async function mediaURL(item) {
  if (!remoteAPI) return `/media/${enc(item.name)}`;
  const { url } = await call(`/media/${enc(item.id ?? item.name)}/url`, { method: 'POST' });
  return new URL(url, remoteAPI).href;
}

/** Whether an item's bytes can be had at all; throws ApiError when not. Tells a lost file from one that cannot be decoded. */
export async function checkMedia(url) {
  let response;
  try {
    response = await fetch(url, { method: 'HEAD', credentials: remoteAPI ? 'omit' : 'same-origin' });
  } catch {
    throw new ApiError(0, t('error.network'));
  }
  if (response.status === 401 && !remoteAPI) unauthorized.emit();
  if (!response.ok) throw new ApiError(response.status, response.status === 404 ? t('error.gone') : t('error.status', { status: response.status }));
}

// Uploads go through resumable.js and its library, which ask here for what concerns every call.

/** Where resumable uploads begin, and below which they are. */
export const filesURL = `${apiOrigin}/files/`;

/** The headers that say who calls; a session's cookie goes along by itself. */
export const credentials = () => (token ? { Authorization: `Bearer ${token}` } : {});

/** Looks at an answer that came by another way than this module. */
export function seen(status, method, index) {
  noted(status, method, index);
  if (status === 401) unauthorized.emit();
}

/** How an upload stands: {sent, media, name}. media is '' until the library has the file. */
export const uploadOffset = (url) => aboutUpload(url, 'HEAD', {});

/** Asks for the answer that tells what an upload became of which every byte is there; {sent, media, name}. */
export const nameUpload = (url, size) => aboutUpload(url, 'PATCH', { 'Content-Type': 'application/offset+octet-stream', 'Upload-Offset': size });

async function aboutUpload(url, method, headers) {
  let response;
  try {
    response = await fetch(url, { method, headers: { 'Tus-Resumable': '1.0.0', ...headers, ...credentials() }, credentials: remoteAPI ? 'omit' : 'same-origin', cache: 'no-store' });
  } catch {
    throw new ApiError(0, t('error.network'));
  }
  seen(response.status, method, response.headers.get('X-Malla-Index'));
  if (!response.ok) {
    const body = await readJSON(response);
    throw new ApiError(response.status, problemText(response.status, body), body);
  }
  return {
    sent: Number(response.headers.get('Upload-Offset')) || 0,
    media: response.headers.get('Malla-Media-Id') ?? '',
    name: decodeURIComponent(response.headers.get('Malla-Media-Name') ?? ''),
  };
}

// Conversions

export const formats = () => call('/formats');
/** Asks for a conversion; ask is the body as the API takes it. */
export const convert = (ask) => call('/convert', { method: 'POST', json: ask });
export const listJobs = async (limit = 100) => (await call(`/jobs?limit=${limit}`)).jobs ?? [];
/** One job with its tasks. */
export const job = (id) => call(`/jobs/${enc(id)}`);
/** What a job did and why, as a text. */
export const jobLog = (id) => call(`/jobs/${enc(id)}/log`, { text: true });
export const cancelJob = (id) => call(`/jobs/${enc(id)}`, { method: 'DELETE' });
export const retryJob = (id) => call(`/jobs/${enc(id)}/retry`, { method: 'POST' });
export const setPriority = (id, priority) => call(`/jobs/${enc(id)}`, { method: 'PATCH', json: { priority } });
export const queueStats = () => call('/queue/stats');

// Shares

export const share = (name, minutes) => call(`/share/${enc(name)}?minutes=${minutes}`, { method: 'POST' });
export const listShares = async () => (await call('/shares')).shares ?? [];
export const revokeShare = (id) => call(`/shares/${enc(id)}`, { method: 'DELETE' });

// The mesh

export const version = () => call('/version', { quiet: true });
export const ready = () => call('/ready', { quiet: true });
/** The nodes, and what the agreement of the mesh bears. */
export const listNodes = async () => ({ nodes: [], strength: null, ...(await call('/nodes', { quiet: true })) });
export const drainNode = (id) => call(`/nodes/${enc(id)}/drain`, { method: 'POST' });
export const undrainNode = (id) => call(`/nodes/${enc(id)}/drain`, { method: 'DELETE' });
/** Takes a node out of the mesh for good; force: also where files are lost by that. */
export const forgetNode = (id, force) => call(`/nodes/${enc(id)}${force ? '?force=true' : ''}`, { method: 'DELETE' });
export const workerStats = () => call('/workers/stats', { quiet: true });
/** The newest jobs of everybody, masked, also for who is signed in. */
export const publicJobs = async (limit = 20) => (await call(`/jobs?limit=${limit}`, { quiet: true, anonymous: true })).jobs ?? [];

/** The address of the event stream, or '' where it cannot be used: an EventSource sends no bearer token. */
export const eventsURL = (query = '') => (remoteAPI && !query ? '' : `${remoteAPI}/events${query}`);
