// The items of the library as the page knows them, apart from how they are shown.

import * as api from './api.js';
import { calm, channel } from './channel.js';

const audioTypes = new Set(['mp3', 'flac', 'wav', 'aac', 'ogg', 'oga', 'opus', 'm4a', 'wma', 'aiff', 'aif']);
const videoTypes = new Set(['mp4', 'avi', 'mkv', 'webm', 'mov', 'm4v', 'mpg', 'mpeg', 'ts', 'wmv', 'flv', 'ogv', '3gp']);

/** The list changed in any way. */
export const mediaChanged = channel();
/** An item is no more; called with it. */
export const mediaGone = channel();

let items = []; // as told by the API, with kind always set
let loaded = false;
let failure = '';

/** Every item. */
export const allMedia = () => items;
/** Whether the list was fetched at least once. */
export const isLoaded = () => loaded;
/** Why the list could not be fetched the last time; '' when it could. */
export const loadFailure = () => failure;

export const byName = (name) => items.find((item) => item.name === name);

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
    const before = items;
    items = (await api.listMedia()).map(normal);
    loaded = true;
    failure = '';
    const ids = new Set(items.map((item) => item.id));
    for (const item of before) if (!ids.has(item.id)) mediaGone.emit(item);
  } catch (error) {
    if (error.status === 401) return;
    failure = error.message;
  }
  mediaChanged.emit();
}

/** Fetches the list soon; many calls at once become one. */
export const loadMediaSoon = calm(loadMedia, 200, 1500);

/** Takes over what an event says about one item. */
export function applyMediaEvent(data) {
  if (data.deleted) return forget(data.id, data.name);
  if (data.size === undefined || !data.name) return loadMediaSoon();
  const item = normal(data);
  const at = items.findIndex((known) => known.id === item.id);
  if (at < 0) items = [item, ...items];
  else items = items.with(at, { ...items[at], ...item });
  mediaChanged.emit();
}

/** Removes an item from the list, by id or, where there is none, by name. */
export function forget(id, name) {
  const gone = items.find((item) => (id ? item.id === id : item.name === name));
  if (!gone) return;
  items = items.filter((item) => item !== gone);
  mediaGone.emit(gone);
  mediaChanged.emit();
}
