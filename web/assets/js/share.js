// The dialog that makes a public link to an item, and shows and revokes the ones it has.

import * as api from './api.js';
import { byId, h, iconButton, KeyedList, pressOne, setLabel, setText, showMessage } from './dom.js';
import { dateTime } from './format.js';
import { busy, toast } from './frame.js';
import { onLanguage, t, tn } from './i18n.js';

const longest = 7 * 24 * 60; // minutes

let item = null;
let minutesMade = 0; // how long the link that is shown lives
const list = new KeyedList(byId('share-list'), (share) => share.token, makeShare);

export function startShare() {
  const input = byId('share-minutes');
  byId('share-presets').addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (!button) return;
    input.value = button.dataset.minutes;
    showPreset();
  });
  input.addEventListener('input', showPreset);
  byId('share-form').addEventListener('submit', (event) => {
    event.preventDefault();
    busy(byId('share-create'), create);
  });
  byId('share-copy').addEventListener('click', copy);
  byId('share-link').addEventListener('focus', (event) => event.target.select());
  onLanguage(label);
  label();
}

/** A span of minutes in words. */
function minutesText(minutes) {
  if (minutes % 1440 === 0) return tn('time.days', minutes / 1440);
  if (minutes % 60 === 0) return tn('time.hours', minutes / 60);
  return tn('time.minutes', minutes);
}

function label() {
  for (const button of byId('share-presets').children) setText(button, minutesText(Number(button.dataset.minutes)));
  setText(byId('share-copy').lastElementChild, t('share.copy'));
  if (minutesMade) setText(byId('share-expires'), t('share.expires', { span: minutesText(minutesMade) }));
}

function showPreset() {
  pressOne(byId('share-presets').children, (button) => button.dataset.minutes === byId('share-minutes').value);
}

/** Opens the dialog for an item. */
export function openShare(next) {
  item = next;
  minutesMade = 0;
  setText(byId('share-name'), item.name);
  byId('share-minutes').value = '60';
  byId('share-result').hidden = true;
  byId('share-existing').hidden = true;
  showMessage(byId('share-error'), '');
  showPreset();
  byId('share-dialog').showModal();
  byId('share-minutes').focus();
  loadShares();
}

async function create() {
  const minutes = Number(byId('share-minutes').value);
  if (!Number.isInteger(minutes) || minutes < 1 || minutes > longest) {
    byId('share-minutes').focus();
    return showMessage(byId('share-error'), t('share.error.minutes', { most: longest }));
  }
  showMessage(byId('share-error'), '');
  try {
    const answer = await api.share(item.name, minutes);
    byId('share-link').value = new URL(answer.url, api.apiOrigin).href;
    minutesMade = answer.expires_in_min ?? minutes;
    byId('share-result').hidden = false;
    label();
    byId('share-copy').focus();
    loadShares();
  } catch (error) {
    showMessage(byId('share-error'), error.message);
  }
}

// copy uses the clipboard where the browser gives it to this page (it does not on plain http), else the old way.
async function copy() {
  const input = byId('share-link');
  let copied = true;
  try {
    await navigator.clipboard.writeText(input.value);
  } catch {
    input.focus();
    input.select();
    copied = document.execCommand('copy');
  }
  const text = byId('share-copy').lastElementChild;
  setText(text, t(copied ? 'share.copied' : 'share.copyByHand'));
  setTimeout(() => setText(text, t('share.copy')), 2000);
}

// loadShares shows the links that this item has. Without them the dialog does its work too.
async function loadShares() {
  const of = item;
  let shares;
  try {
    shares = await api.listShares();
  } catch {
    return;
  }
  if (item !== of) return;
  shares = shares.filter((share) => (share.media_id ? share.media_id === item.id : share.media === item.id || share.media === item.name));
  list.render(shares);
  byId('share-existing').hidden = shares.length === 0;
}

function makeShare() {
  let share = null;
  const when = h('span', { class: 'small' });
  const used = h('span', { class: 'small muted' });
  const revoke = iconButton('trash', 'revoke', 'danger');
  revoke.addEventListener('click', () => busy(revoke, async () => {
    try {
      await api.revokeShare(share.token);
      toast(t('share.revoked'), 'good');
    } catch (error) {
      showMessage(byId('share-error'), error.message);
    }
    await loadShares();
  }));
  return {
    el: h('li', { class: 'share-item' }, h('div', {}, when, used), revoke),
    update(next) {
      share = next;
      setText(when, t('share.until', { when: dateTime(share.expires_at) }));
      setText(used, Number.isFinite(share.downloads) ? tn('share.used', share.downloads) : '');
      setLabel(revoke, t('share.revoke'));
    },
  };
}
