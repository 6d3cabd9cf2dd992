// Which items of the library are selected, and what can be done with all of them.

import { channel } from './channel.js';
import { byId, setText } from './dom.js';
import { onLanguage, t, tn } from './i18n.js';
import { allMedia, mediaGone } from './media.js';

/** Another set of items is selected. */
export const selectionChanged = channel();
/** The selected items are to be converted; called with them. */
export const selectionAction = channel();

const keyOf = (item) => item.id ?? item.name;

let selected = new Set(); // keys of items
let shown = []; // items of the list as it is filtered, in their order
let last = ''; // key of the item that was selected last: a range begins there

export function startSelection() {
  byId('select-all').addEventListener('change', () => {
    for (const item of shown) mark(item, byId('select-all').checked);
    selectionChanged.emit();
  });
  byId('selection-convert').addEventListener('click', () => selectionAction.emit(allMedia().filter(isSelected)));
  byId('selection-clear').addEventListener('click', clear);
  byId('library').addEventListener('keydown', (event) => { if (event.key === 'Escape' && selected.size) clear(); });
  mediaGone.on((item) => { if (selected.delete(keyOf(item))) selectionChanged.emit(); });
  onLanguage(paint);
}

export const isSelected = (item) => selected.has(keyOf(item));

/** Selects an item or not; with range also all between it and the one before. */
export function select(item, on, range) {
  const at = (key) => shown.findIndex((other) => keyOf(other) === key);
  const ends = [at(last), at(keyOf(item))];
  const chosen = range && ends[0] >= 0 ? shown.slice(Math.min(...ends), Math.max(...ends) + 1) : [item];
  for (const one of chosen) mark(one, on);
  last = keyOf(item);
  selectionChanged.emit();
}

function mark(item, on) {
  if (on) selected.add(keyOf(item));
  else selected.delete(keyOf(item));
}

function clear() {
  selected = new Set();
  selectionChanged.emit();
  byId('select-all').focus();
}

/** Shows the bar of the selection for the items that the list shows. */
export function showSelection(items) {
  shown = items;
  paint();
}

function paint() {
  const some = shown.filter(isSelected).length;
  byId('selection').hidden = shown.length === 0 && selected.size === 0;
  const all = byId('select-all');
  all.checked = shown.length > 0 && some === shown.length;
  all.indeterminate = some > 0 && !all.checked;
  setText(byId('selection-count'), selected.size ? tn('selection.count', selected.size) : t('selection.all'));
  byId('selection').classList.toggle('active', selected.size > 0);
  byId('selection-convert').hidden = byId('selection-clear').hidden = selected.size === 0;
}
