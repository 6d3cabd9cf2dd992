// The items of the library as the page knows them, apart from how they are shown.

import * as api from './api.js';
import { calm, channel } from './channel.js';
import { kept } from './kept.js';

const audioTypes = new Set(['mp3', 'flac', 'wav', 'aac', 'ogg', 'oga', 'opus', 'm4a', 'wma', 'aiff', 'aif']);
const videoTypes = new Set(['mp4', 'avi', 'mkv', 'webm', 'mov', 'm4v', 'mpg', 'mpeg', 'ts', 'wmv', 'flv', 'ogv', '3gp']);

/** The list changed in any way. */
export const mediaChanged = channel();
/** An item is no more; called with it. */
export const mediaGone = channel();

const library = kept([]); // items as told by the API, with kind always set
let told = []; // those that the rest of the page knows
let loaded = false;
let failure = '';

/** Every item. */
export const allMedia = library.value;
/** Whether the list was fetched at least once. */
export const isLoaded = () => loaded;
/** Why the list could not be fetched the last time; '' when it could. */
export const loadFailure = () => failure;

export const byName = (name) => allMedia().find((item) => item.name === name);

/** The extension of a name, in lower case, without the dot. */
export function extension(name) {
  const dot = name.lastIndexOf('.');
  return dot < 0 ? '' : name.slice(dot + 1).toLowerCase();
}

/** 'audio' or 'video' by a name alone; '' when it does not tell. */
export function kindOfName(name) {
  const ext = extension(name);
  if (audioTypes.has(ext)) return 'audio';
  return videoTypes.has(ext) ? 'video' : '';
}

function normal(item) {
  const kind = item.kind || (item.type ?? '').split('/')[0];
  return { ...item, kind: kind === 'audio' || kind === 'video' ? kind : kindOfName(item.name) };
}

/** A tag of an item ("title", "artist"); '' when there is none. Names of tags are of any case. */
export function tag(item, name) {
  const tags = item?.tags;
  if (!tags || Array.isArray(tags)) return '';
  const key = Object.keys(tags).find((k) => k.toLowerCase() === name);
  return key ? String(tags[key]) : '';
}

/** What people call an item. */
export const titleOf = (item) => tag(item, 'title') || item.name;

/** Fetches the list. Never rejects: a failure is kept for loadFailure. */
export async function loadMedia() {
  try {
    const counts = await library.load(async () => (await api.listMedia()).map(normal));
    if (!counts) return;
    loaded = true;
    failure = '';
  } catch (error) {
    if (error.status === 401) return;
    failure = error.message;
  }
  tell();
}

/** Fetches the list soon; many calls at once become one. */
export const loadMediaSoon = calm(loadMedia, 200, 1500);

// tell says what is no more, and that the list is another.
function tell() {
  const ids = new Set(allMedia().map((item) => item.id));
  const gone = told.filter((item) => !ids.has(item.id));
  told = allMedia();
  for (const item of gone) mediaGone.emit(item);
  mediaChanged.emit();
}

/** Takes over what an event says about one item. */
export function applyMediaEvent(data) {
  if (data.deleted) return forget(data.id, data.name);
  if (data.size === undefined || !data.name) return loadMediaSoon();
  const item = normal(data);
  library.change((items) => {
    const at = items.findIndex((known) => known.id === item.id);
    return at < 0 ? [item, ...items] : items.with(at, { ...items[at], ...item });
  });
  tell();
}

/** Removes an item from the list, by id or, where there is none, by name. */
export function forget(id, name) {
  library.change((items) => items.filter((item) => (id ? item.id !== id : item.name !== name)));
  tell();
}
