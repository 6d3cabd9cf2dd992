// The trash: what was deleted and can be had back for a while. It takes the place of the library while it is open.

import * as api from './api.js';
import { calm } from './channel.js';
import { byId, h, icon, iconButton, KeyedList, setIcon, setLabel, setText, showMessage } from './dom.js';
import { bytes, date, dateTime } from './format.js';
import { busy, toast } from './frame.js';
import { onLanguage, t, tn } from './i18n.js';
import { kept } from './kept.js';
import { applyMediaEvent, loadMediaSoon } from './media.js';
import { confirmEmpty, confirmPurge, trashed } from './remove.js';

const day = 86400; // seconds

const pageSize = 100; // items that are shown, until more are asked for

const trash = kept({ items: [], total: 0, index: 0, keep_seconds: null }); // items: the latest deletion first
let wanted = pageSize;
let failure = '';

const list = new KeyedList(byId('trash'), (item) => item.id, makeRow);

export function startTrash() {
  byId('trash-open').addEventListener('click', () => show(true));
  byId('trash-close').addEventListener('click', () => show(false));
  byId('trash-more').addEventListener('click', () => busy(byId('trash-more'), () => { wanted += pageSize; return loadTrash(); }));
  trashed.on(loadTrashSoon);
  byId('trash-empty-all').addEventListener('click', () => confirmEmpty(trash.value(), reload));
  onLanguage(render);
  setInterval(() => { if (isOpen()) render(); }, 60000); // what is left of the time
}

const isOpen = () => !byId('trash-card').hidden;

function show(open) {
  byId('trash-card').hidden = !open;
  byId('library-card').hidden = open;
  (open ? byId('trash-close') : byId('trash-open')).focus();
  wanted = pageSize;
  if (open) loadTrash();
}

/** Fetches what is shown of the trash; while it is closed, that is how much there is. Never rejects. */
export async function loadTrash() {
  try {
    if (!await trash.load(() => api.listTrash(isOpen() ? wanted : 1))) return;
    failure = '';
  } catch (error) {
    if (error.status === 401) return;
    failure = error.message;
  }
  render();
}

const loadTrashSoon = calm(loadTrash, 200, 1500);

// keepFocus gives the focus to what is left where its place is gone.
function keepFocus() {
  if (document.activeElement !== document.body) return;
  (byId('trash').querySelector('button') ?? byId('trash-close')).focus();
}

async function reload() {
  await loadTrash();
  keepFocus();
}

/** Takes over what an event says: name is media or trash. */
export function applyTrashEvent(name, data) {
  if (name === 'media' && data.goes_at) return loadTrashSoon();
  const { items, total } = trash.value();
  if (items.some((item) => item.id === data.id)) return left(data.id); // restored, or gone for good
  if (total > items.length) loadTrashSoon(); // it may be one that is not shown
}

// left takes an item off the list.
function left(id) {
  trash.change((now) => {
    const items = now.items.filter((item) => item.id !== id);
    return { ...now, items, total: now.total - (now.items.length - items.length) };
  });
  render();
}

/** Puts an item back into the library, and says under which name. */
export async function restore(id) {
  try {
    const back = await api.restoreMedia(id);
    left(id);
    applyMediaEvent(back.item);
    toast(t('trash.restored', { name: back.name }), 'good');
  } catch (error) {
    toast(error.message, 'bad');
    loadMediaSoon();
  }
  await loadTrash();
}

function render() {
  const { items, total, keep_seconds: keep } = trash.value();
  list.render(items);
  const count = byId('trash-count');
  count.hidden = total === 0;
  setText(count, String(total));
  setLabel(byId('trash-open'), total ? tn('trash.open', total) : t('trash.title'));
  byId('trash-empty-all').hidden = total === 0;
  byId('trash-more').hidden = items.length >= total;
  showMessage(byId('trash-error'), failure && t('trash.failed', { detail: failure }));
  const nothing = byId('trash-nothing');
  nothing.hidden = total > 0 || keep === null || Boolean(failure);
  setText(nothing.querySelector('p'), keep ? t('trash.emptyHint', { span: spanText(keep) }) : t('trash.none'));
}

/** For how long the trash keeps what is deleted now, in words; '' where it keeps nothing, null while that is not known. */
export function keepText() {
  const keep = trash.value().keep_seconds;
  if (keep === null) return null;
  return keep ? spanText(keep) : '';
}

function spanText(seconds) {
  return seconds >= day ? tn('time.days', Math.round(seconds / day)) : tn('time.hours', Math.max(1, Math.round(seconds / 3600)));
}

// leftText says how long an item will be there.
function leftText(item) {
  const seconds = (Date.parse(item.goes_at) - Date.now()) / 1000;
  return seconds < 3600 ? t('trash.goesSoon') : t('trash.left', { span: spanText(seconds) });
}

function makeRow() {
  let item = null;
  const art = h('span', { class: 'art' }, icon('file'));
  const name = h('strong', { class: 'item-name' });
  const facts = h('span', { class: 'item-sub muted small' });
  const left = h('span', { class: 'small trash-left' });
  const back = h('button', { class: 'button compact', type: 'button', data: { action: 'restore' } });
  back.addEventListener('click', () => busy(back, () => restore(item.id)).then(keepFocus));
  const purge = iconButton('trash', 'purge', 'danger');
  purge.addEventListener('click', () => confirmPurge(item, reload));
  return {
    el: h('li', { class: 'trash-item' }, art, h('div', { class: 'item-text' }, name, facts), left, back, purge),
    update(next) {
      item = next;
      Object.assign(this.el.dataset, { name: item.name, id: item.id });
      art.classList.toggle('audio', item.kind === 'audio');
      art.classList.toggle('video', item.kind === 'video');
      setIcon(art, { audio: 'music', video: 'film' }[item.kind] ?? 'file');
      setText(name, item.name);
      setText(facts, t('trash.facts', { size: bytes(item.size), when: date(item.deleted_at) }));
      facts.title = dateTime(item.deleted_at);
      setText(left, leftText(item));
      left.title = dateTime(item.goes_at);
      setText(back, t('trash.restore'));
      setLabel(back, t('trash.restoreName', { name: item.name }));
      setLabel(purge, t('trash.purgeName', { name: item.name }));
    },
  };
}
