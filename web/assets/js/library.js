// The library on the page: search, filter, order, list or grid, and the actions of a row.

import * as api from './api.js';
import { channel } from './channel.js';
import { byId, h, icon, iconButton, KeyedList, pressOne, setIcon, setLabel, setText, showMessage } from './dom.js';
import { bytes, clock, date, dateTime } from './format.js';
import { busy, toast } from './frame.js';
import { onLanguage, t, tn } from './i18n.js';
import { allMedia, extension, isLoaded, loadFailure, loadMedia, mediaChanged, tag } from './media.js';
import { remember, remembered } from './prefs.js';
import { isSelected, select, selectionChanged, showSelection } from './selection.js';

/** A row's button was pressed: called with (action, item); action is play, convert, share or delete. */
export const itemAction = channel();
/** Another order was chosen. */
export const orderChanged = channel();

const orders = {
  newest: (a, b) => String(b.created_at ?? '').localeCompare(String(a.created_at ?? '')),
  oldest: (a, b) => String(a.created_at ?? '').localeCompare(String(b.created_at ?? '')),
  name: (a, b) => collator.compare(a.name, b.name),
  'name-desc': (a, b) => collator.compare(b.name, a.name),
  size: (a, b) => (b.size ?? 0) - (a.size ?? 0),
  duration: (a, b) => (b.duration ?? 0) - (a.duration ?? 0),
};
const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' });

let kind = '';
let playing = { name: '', paused: true }; // what the players are at

const list = new KeyedList(byId('library'), (item) => item.id ?? item.name, makeRow);

export function startLibrary() {
  const sort = byId('library-sort');
  sort.value = remembered('sort', 'newest');
  if (!orders[sort.value]) sort.value = 'newest';
  sort.addEventListener('change', () => { remember('sort', sort.value); render(); orderChanged.emit(); });
  byId('library-search').addEventListener('input', render);
  byId('library-kind').addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (!button) return;
    kind = button.dataset.kind;
    pressOne(byId('library-kind').children, (b) => b === button);
    render();
  });
  byId('library-refresh').addEventListener('click', (event) => busy(event.currentTarget, loadMedia));
  for (const look of ['list', 'grid']) byId(`view-${look}`).addEventListener('click', () => setLook(look));
  setLook(remembered('look', 'list'));
  mediaChanged.on(render);
  selectionChanged.on(render);
  onLanguage(render);
  showWaiting();
}

/** Marks the row whose media is being played. */
export function markPlaying(name, paused) {
  if (playing.name === name && playing.paused === paused) return;
  playing = { name, paused };
  render();
}

/** Saves an item to the person's machine. */
export async function download(item) {
  try {
    const link = h('a', { href: await api.mediaURL(item), download: item.name, rel: 'noopener' });
    if (api.remoteAPI) link.target = '_blank'; // another origin's file opens instead of being saved
    document.body.append(link);
    link.click();
    link.remove();
  } catch (error) {
    toast(error.message, 'bad');
  }
}

function setLook(look) {
  remember('look', look);
  byId('library').dataset.look = look;
  for (const name of ['list', 'grid']) byId(`view-${name}`).setAttribute('aria-pressed', String(name === look));
}

/** Items in the order that was chosen for the library. */
export const inOrder = (items) => [...items].sort(orders[byId('library-sort').value]);

// showWaiting fills the list with grey rows until the first answer.
function showWaiting() {
  byId('library').append(...Array.from({ length: 4 }, () => h('li', { class: 'item ghost', 'aria-hidden': 'true' })));
}

function shown() {
  const words = byId('library-search').value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = allMedia()
    .filter((item) => !kind || item.kind === kind)
    .filter((item) => {
      const text = `${item.name} ${tag(item, 'title')} ${tag(item, 'artist')} ${tag(item, 'album')}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
  return inOrder(found);
}

function render() {
  if (!isLoaded() && !loadFailure()) return;
  const ul = byId('library');
  if (ul.getAttribute('aria-busy') === 'true') {
    ul.replaceChildren();
    ul.setAttribute('aria-busy', 'false');
  }
  const items = shown();
  list.render(items);
  showSelection(items);
  const total = allMedia().length;
  setText(byId('library-count'), items.length === total ? String(total) : `${items.length} / ${total}`);
  byId('library-count').title = tn('library.count', total);
  showMessage(byId('library-error'), loadFailure() && t('library.failed', { detail: loadFailure() }));
  const empty = byId('library-empty');
  empty.hidden = items.length > 0 || !isLoaded();
  setText(empty.querySelector('strong'), t(total ? 'library.noMatch' : 'library.empty'));
  setText(empty.querySelector('p'), t(total ? 'library.noMatchHint' : 'library.emptyHint'));
}

function makeRow() {
  let item = null;
  const check = h('input', { class: 'item-check', type: 'checkbox', on: { click: (event) => select(item, check.checked, event.shiftKey) } });
  const art = h('button', { class: 'art item-art', type: 'button', data: { action: 'play' } }, icon('file'), h('span', { class: 'art-play' }, icon('play')));
  const name = h('strong', { class: 'item-name' });
  const sub = h('span', { class: 'item-sub muted small' });
  const length = h('span', { class: 'number item-length' });
  const size = h('span', { class: 'number item-size' });
  const when = h('time', { class: 'number item-date' });
  const buttons = {
    convert: iconButton('convert', 'convert'),
    share: iconButton('share', 'share'),
    download: iconButton('download', 'download'),
    delete: iconButton('trash', 'delete', 'danger'),
  };
  const more = h('button', { class: 'icon-button item-more', type: 'button', 'aria-expanded': 'false' }, icon('more'));
  const el = h('li', { class: 'item' }, check, art,
    h('div', { class: 'item-text', on: { click: () => itemAction.emit('play', item) } }, name, sub),
    h('div', { class: 'item-facts muted small' }, length, size, when),
    h('div', { class: 'item-actions' }, ...Object.values(buttons)), more);

  el.addEventListener('click', (event) => {
    const action = event.target.closest('[data-action]')?.dataset.action;
    if (action === 'download') download(item);
    else if (action) itemAction.emit(action, item);
  });
  more.addEventListener('click', () => {
    const open = el.classList.toggle('open');
    more.setAttribute('aria-expanded', String(open));
  });

  return {
    el,
    update(next) {
      item = next;
      Object.assign(el.dataset, { name: item.name, id: item.id ?? '', kind: item.kind });
      const active = item.name === playing.name;
      el.classList.toggle('playing', active);
      check.checked = isSelected(item);
      el.classList.toggle('selected', check.checked);
      setLabel(check, t('selection.itemName', { name: item.name }));
      art.classList.toggle('audio', item.kind === 'audio');
      art.classList.toggle('video', item.kind === 'video');
      setIcon(art, { audio: 'music', video: 'film' }[item.kind] ?? 'file');
      setIcon(art.lastElementChild, active && !playing.paused ? 'pause' : 'play');
      setLabel(art, t(active && !playing.paused ? 'action.pauseName' : 'action.playName', { name: item.name }));
      setText(name, item.name);
      setText(sub, subtitle(item));
      setText(length, item.duration > 0 ? clock(item.duration) : '–');
      setText(size, bytes(item.size));
      setText(when, date(item.created_at));
      when.dateTime = item.created_at ?? '';
      when.title = dateTime(item.created_at);
      setLabel(buttons.convert, t('action.convertName', { name: item.name }));
      setLabel(buttons.share, t('action.shareName', { name: item.name }));
      setLabel(buttons.download, t('action.downloadName', { name: item.name }));
      setLabel(buttons.delete, t('action.deleteName', { name: item.name }));
      setLabel(more, t('action.moreName', { name: item.name }));
    },
  };
}

// subtitle tells what an item is: its artist and title where it has them, else its make.
function subtitle(item) {
  const title = tag(item, 'title');
  const artist = tag(item, 'artist');
  const parts = [];
  if (title) parts.push(artist ? `${artist} – ${title}` : title);
  const picture = (item.streams ?? []).find((stream) => stream.width > 0 && stream.height > 0);
  if (item.kind === 'video' && picture) parts.push(`${picture.width} × ${picture.height}`);
  const codecs = (item.streams ?? []).map((stream) => stream.codec).filter(Boolean);
  parts.push([extension(item.name).toUpperCase(), ...codecs].filter(Boolean).join(' · '));
  return parts.filter(Boolean).join(' · ');
}
