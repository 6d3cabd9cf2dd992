// The questions before something is deleted: into the trash, from the trash for good, or all of it.

import * as api from './api.js';
import { channel } from './channel.js';
import { byId, setText, showMessage } from './dom.js';
import { busy, toast } from './frame.js';
import { t, tn } from './i18n.js';
import { forget, loadMediaSoon } from './media.js';

/** An item went into the trash; called with its id. */
export const trashed = channel();

let act = null; // {run, then} of the open question: what it does when it is affirmed, and once it is closed

export function startRemove() {
  byId('delete-confirm').addEventListener('click', () => busy(byId('delete-confirm'), confirmed));
}

// ask shows the question. The safe answer has the focus.
function ask({ title, name, text, confirm, run, then }) {
  act = { run, then };
  setText(byId('delete-title'), title);
  setText(byId('delete-name'), name);
  setText(byId('delete-text'), text);
  setText(byId('delete-confirm'), confirm);
  showMessage(byId('delete-error'), '');
  byId('delete-dialog').showModal();
  byId('delete-dialog').querySelector('[data-close]').focus();
}

async function confirmed() {
  const { run, then } = act;
  try {
    await run();
  } catch (error) {
    return showMessage(byId('delete-error'), error.message);
  }
  byId('delete-dialog').close();
  then?.();
}

// gone does what is asked for; that it is gone already is what was wanted.
async function gone(call) {
  try {
    return await call();
  } catch (error) {
    if (error.status !== 404) throw error;
    return null;
  }
}

/**
 * Asks whether an item is to be deleted, and deletes it. keep is how long the trash has it, in words; '' where it has not,
 * null while that is not known.
 */
export function openRemove(item, keep, undo) {
  ask({
    title: t('delete.title'),
    name: item.name,
    text: keep === null ? t('delete.textUnknown') : keep ? t('delete.text', { span: keep }) : t('delete.textForGood'),
    confirm: t('delete.confirm'),
    async run() {
      const answer = await gone(() => api.deleteMedia(item.id ?? item.name));
      forget(item.id, item.name);
      if (answer?.goes_at) {
        toast(t('delete.trashed', { name: item.name }), 'good', { label: t('delete.undo'), run: () => undo(answer.id) });
        trashed.emit(answer.id);
      } else toast(t('delete.done', { name: item.name }), 'good');
      loadMediaSoon();
    },
  });
}

/** Asks whether an item of the trash is to be deleted for good. */
export function confirmPurge(item, then) {
  ask({
    title: t('trash.purgeTitle'),
    name: item.name,
    text: t('delete.textForGood'),
    confirm: t('trash.purge'),
    async run() {
      await gone(() => api.purgeMedia(item.id));
      toast(t('delete.done', { name: item.name }), 'good');
    },
    then,
  });
}

/** Asks whether the trash is to be emptied of what a list shows: so many in all, as of its index. */
export function confirmEmpty({ total, index }, then) {
  ask({
    title: t('trash.emptyTitle'),
    name: tn('library.count', total),
    text: t('delete.textForGood'),
    confirm: t('trash.emptyAll'),
    async run() {
      const answer = await api.emptyTrash(index);
      toast(tn('trash.emptied', answer.deleted), 'good');
    },
    then,
  });
}
