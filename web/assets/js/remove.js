// The question before an item is deleted.

import * as api from './api.js';
import { byId, setText, showMessage } from './dom.js';
import { busy, toast } from './frame.js';
import { t } from './i18n.js';
import { forget, loadMediaSoon } from './media.js';

let item = null;

export function startRemove() {
  byId('delete-confirm').addEventListener('click', () => busy(byId('delete-confirm'), remove));
}

/** Asks whether an item is to be deleted, and deletes it. */
export function openRemove(next) {
  item = next;
  setText(byId('delete-name'), item.name);
  showMessage(byId('delete-error'), '');
  byId('delete-dialog').showModal();
  byId('delete-dialog').querySelector('[data-close]').focus();
}

async function remove() {
  try {
    await api.deleteMedia(item.name);
  } catch (error) {
    if (error.status !== 404) return showMessage(byId('delete-error'), error.message); // gone already is what was wanted
  }
  byId('delete-dialog').close();
  forget(item.id, item.name);
  toast(t('delete.done', { name: item.name }), 'good');
  loadMediaSoon();
}
