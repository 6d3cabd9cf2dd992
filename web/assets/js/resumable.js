// Files on their way to the node by tus, so that nothing is sent twice: after a pause, after the network broke, and after
// the page was loaded anew. The library keeps in this browser where an upload is, never a token.

import * as api from './api.js';

const pieces = 64 << 20; // bytes of one request at most: proxies refuse larger ones
const delays = [0, 1000, 2000, 4000, 8000, 15000, 30000, 30000, 30000, 30000]; // ms before each new try; each byte that goes through begins them anew
const askName = 2000; // ms between questions for what a complete upload became
const askTabs = 150; // ms that other tabs get to say what they are sending

const mine = new Set(); // places of the uploads that this tab sends or holds
const tabs = new BroadcastChannel('malla.uploads');
tabs.addEventListener('message', ({ data }) => { if (data.ask) tabs.postMessage({ held: [...mine] }); });

const lasting = (status) => status >= 400 && status < 500 && ![401, 408, 409, 423, 429].includes(status);
const passing = (status) => status === 0 || status === 408 || status === 409 || status === 423 || status === 429 || (status >= 500 && status !== 507);

const statusOf = (error) => error.originalResponse?.getStatus() ?? error.causingError?.status ?? 0;

// options are what all requests of the library have in common.
function options() {
  return {
    endpoint: api.filesURL,
    headers: api.credentials(),
    retryDelays: delays,
    onAfterResponse(request, response) {
      const status = response.getStatus();
      api.seen(status, request.getMethod(), response.getHeader('X-Malla-Index'));
      // Only where the upload is gone is it begun anew; the library would do so after any refusal of this question.
      if (request.getMethod() === 'HEAD' && (status < 200 || status >= 300) && ![404, 410, 423].includes(status)) throw new api.ApiError(status, api.problemText(status));
    },
  };
}

// printOf tells a person's file from all others, as far as a page can see it: a file's bytes are not read for it.
const printOf = (file, user) => [`malla|${api.apiOrigin}|${user}`, file.name, file.size, file.lastModified].join('|');

/**
 * One file that is being sent. hears has sent(bytes), which with all bytes means that only the answer is awaited; broken(),
 * when it waits to try again; done(name); and failed(error, {lasting, signIn}), where lasting says that another try is in vain.
 */
export class Sending {
  #tus;
  #print;
  #ended = false;

  constructor(file, user, hears) {
    this.#print = printOf(file, user);
    this.#tus = new globalThis.tus.Upload(file, {
      ...options(),
      chunkSize: pieces,
      metadata: { filename: file.name },
      fingerprint: async () => this.#print,
      onUploadUrlAvailable: () => mine.add(this.#tus.url),
      onProgress: (sent) => hears.sent(sent),
      onShouldRetry: (error) => {
        const again = passing(statusOf(error));
        if (again) hears.broken();
        return again;
      },
      onSuccess: async ({ lastResponse }) => {
        // Where the last answer was lost, all bytes are there but no file may name them yet.
        const named = lastResponse.getHeader('Malla-Media-Id')
          ? { name: decodeURIComponent(lastResponse.getHeader('Malla-Media-Name') ?? '') }
          : await nameOf(this.#tus.url, file.size, hears, () => this.#ended);
        if (!named) return;
        await this.#forget();
        if (named.error) hears.failed(named.error, { lasting: true, signIn: false });
        else hears.done(named.name || file.name);
      },
      onError: (error) => {
        const status = statusOf(error);
        if (lasting(status)) this.#forget();
        hears.failed(reason(error), { lasting: lasting(status), signIn: status === 401 });
      },
    });
  }

  /** Goes on with an upload that a page before this one began. */
  goOnWith(before) {
    mine.add(before.url);
    this.#tus.resumeFromPreviousUpload({ uploadUrl: before.url, urlStorageKey: before.key });
  }

  /** Begins, or goes on after a pause or a failure, with whoever is signed in now. */
  start() {
    this.#tus.options.headers = api.credentials();
    this.#tus.start();
  }

  pause() {
    this.#tus.abort();
  }

  /** Ends it, here and on the node. */
  async cancel() {
    this.#ended = true;
    mine.delete(this.#tus.url);
    try {
      await this.#tus.abort(true);
    } catch {
      await this.#forget(); // the node drops it by itself after a day
    }
  }

  async #forget() {
    mine.delete(this.#tus.url);
    for (const kept of await this.#tus.findPreviousUploads()) {
      if (kept.uploadUrl === this.#tus.url) await storage().removeUpload(kept.urlStorageKey);
    }
  }
}

// reason is why a request failed, as the API's errors are told.
function reason(error) {
  if (error.causingError instanceof api.ApiError) return error.causingError;
  const response = error.originalResponse;
  if (!response) return new api.ApiError(0, error.originalRequest ? api.problemText(0) : error.message);
  let body = null;
  try {
    body = JSON.parse(response.getBody());
  } catch {
    // Not JSON: the status alone speaks.
  }
  return new api.ApiError(response.getStatus(), api.problemText(response.getStatus(), body), body);
}

// nameOf asks until it is known what an upload became of which every byte is there: {name} or {error}. It is null where that
// was given up, or has been told to hears.
async function nameOf(url, size, hears, ended) {
  hears.sent(size);
  while (!ended()) {
    try {
      return await api.nameUpload(url, size);
    } catch (error) {
      if (ended()) return null;
      if (lasting(error.status)) return { error };
      if (!passing(error.status)) {
        hears.failed(error, { lasting: false, signIn: error.status === 401 });
        return null;
      }
    }
    await new Promise((resolve) => setTimeout(resolve, askName));
  }
  return null;
}

/** Waits for the name of an upload that unfinished found complete; hears as of Sending. ended tells that nobody waits any more. */
export async function waitForName({ url, key, size, name }, hears, ended) {
  const named = await nameOf(url, size, hears, ended);
  if (!named) return;
  await storage().removeUpload(key);
  if (named.error) hears.failed(named.error, { lasting: true, signIn: false });
  else hears.done(named.name || name);
}

const storage = () => globalThis.tus.defaultOptions.urlStorage;

/**
 * What this person's pages began to send to this node and did not finish, without what another tab is sending: {name, size,
 * sent, url, key, is(file)}. What the node does not know any more is left out. Those in the library have done set, those of
 * which every byte is there, but no name yet, have saving set.
 */
export async function unfinished(user) {
  const prefix = `tus::malla|${api.apiOrigin}|${user}|`;
  const kept = (await storage().findAllUploads()).filter((one) => one.urlStorageKey.startsWith(prefix) && one.uploadUrl?.startsWith(api.filesURL));
  if (kept.length === 0) return [];
  const held = await heldByTabs();
  const found = await Promise.all(kept.filter((one) => !held.has(one.uploadUrl)).map(look));
  return found.filter(Boolean).map((one) => ({ ...one, is: (file) => one.key.startsWith(`tus::${printOf(file, user)}::`) }));
}

async function look({ uploadUrl: url, urlStorageKey: key, metadata, size, creationTime }) {
  const one = { name: metadata?.filename ?? '', size, sent: 0, url, key, begun: Date.parse(creationTime) || 0, done: false, saving: false };
  try {
    const { sent, media } = await api.uploadOffset(url);
    if (media) await storage().removeUpload(key);
    return { ...one, sent, done: Boolean(media), saving: !media && sent >= size };
  } catch (error) {
    if (!lasting(error.status)) return one; // it may be there: choosing the file again finds out
    await storage().removeUpload(key);
    return null;
  }
}

// heldByTabs asks the other tabs which uploads they have.
async function heldByTabs() {
  const held = new Set(mine);
  const listen = ({ data }) => { for (const url of data.held ?? []) held.add(url); };
  tabs.addEventListener('message', listen);
  tabs.postMessage({ ask: true });
  await new Promise((resolve) => setTimeout(resolve, askTabs));
  tabs.removeEventListener('message', listen);
  return held;
}

/** Ends an upload of which there is no file in this page. */
export async function giveUp({ url, key }) {
  await storage().removeUpload(key);
  try {
    await globalThis.tus.Upload.terminate(url, { ...options(), retryDelays: null });
  } catch {
    // The node drops it by itself after a day.
  }
}
