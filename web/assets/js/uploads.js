// Files on their way in: chosen or dropped, some at once, each with its progress, its pause and its own end. What a page
// before this one did not finish is shown, too: a page cannot open the file again by itself, but goes on with it once a
// person chooses it.

import { byId, h, icon, iconButton, KeyedList, setIcon, setLabel, setText } from './dom.js';
import { bytes, percent, span } from './format.js';
import { toast } from './frame.js';
import { onLanguage, t, tn } from './i18n.js';
import { kindOfName, loadMediaSoon } from './media.js';
import { giveUp, Sending, unfinished, waitForName } from './resumable.js';
import { currentUser, signedIn, signedOut } from './session.js';

const atOnce = 3;
const speedWindow = 4000; // ms of progress that the shown speed is the mean of

let uploads = []; // the newest first
let counter = 0;
let maySend = false; // somebody is signed in

const list = new KeyedList(byId('uploads'), (upload) => upload.key, makeRow);

export function startUploads() {
  const input = byId('file-input');
  input.addEventListener('change', () => {
    addFiles([...input.files]);
    input.value = ''; // so that the same file can be chosen again
  });
  byId('uploads-clear').addEventListener('click', () => {
    uploads = uploads.filter((upload) => upload.state !== 'done' && upload.state !== 'cancelled' && !(upload.state === 'failed' && upload.lasting));
    render();
  });
  wireDrop();
  onLanguage(render);
  signedIn.on(() => { maySend = true; findUnfinished(); pump(); });
  signedOut.on(() => { maySend = false; });
  addEventListener('online', () => {
    for (const upload of uploads) if (upload.state === 'failed' && upload.offline) upload.state = 'waiting';
    pump();
    render();
  });
  addEventListener('beforeunload', (event) => { if (uploads.some(isActive)) event.preventDefault(); });
}

// findUnfinished shows what earlier pages began.
async function findUnfinished() {
  const found = await unfinished(currentUser().username);
  for (const before of found.sort((a, b) => a.begun - b.begun)) {
    if (uploads.some((upload) => upload.before?.url === before.url)) continue;
    const state = (before.done && 'done') || (before.saving && 'saving') || 'unfinished';
    const upload = newUpload(before.name, before.size, { state, sent: before.sent, before });
    uploads = [upload, ...uploads];
    if (before.done) loadMediaSoon();
    if (before.saving) waitForName(before, hearsFor(upload), () => upload.state !== 'saving');
  }
  render();
}

const newUpload = (name, total, rest) => ({
  key: ++counter, name, total, file: null, state: 'waiting', sent: 0, error: '', errorKey: '', lasting: false, offline: false, broken: false, marks: [], sending: null, before: null, savedAs: '', ...rest,
});

/** Puts files in line. */
export function addFiles(files) {
  for (const file of files) {
    const begun = uploads.find((upload) => upload.state === 'unfinished' && upload.before.is(file));
    if (begun) {
      Object.assign(begun, { file, state: 'waiting' });
      continue;
    }
    if (uploads.some((upload) => upload.state === 'unfinished' && upload.name === file.name)) toast(t('upload.otherFile', { name: file.name }));
    const upload = newUpload(file.name, file.size, { file });
    if (file.size === 0) Object.assign(upload, { state: 'failed', errorKey: 'upload.error.empty', lasting: true });
    else if (file.type && !/^(audio|video)\/|octet-stream|^application\/(ogg|mp4|x-matroska)/.test(file.type) && !kindOfName(file.name)) {
      Object.assign(upload, { state: 'failed', errorKey: 'upload.error.notMedia', lasting: true });
    }
    uploads = [upload, ...uploads];
  }
  render();
  pump();
}

const isMoving = (upload) => upload.state === 'sending' || upload.state === 'saving';
const isActive = (upload) => isMoving(upload) || upload.state === 'waiting';

function pump() {
  if (!maySend) return;
  const waiting = uploads.filter((upload) => upload.state === 'waiting').reverse();
  for (const upload of waiting.slice(0, Math.max(0, atOnce - uploads.filter(isMoving).length))) send(upload);
}

function send(upload) {
  Object.assign(upload, { state: 'sending', error: '', lasting: false, offline: false, broken: false, marks: [] });
  if (!upload.sending) {
    upload.sending = new Sending(upload.file, currentUser().username, hearsFor(upload));
    if (upload.before) upload.sending.goOnWith(upload.before);
  }
  upload.sending.start();
  render();
}

const hearsFor = (upload) => ({
  sent(sent) {
    if (!isMoving(upload)) return;
    Object.assign(upload, { sent, state: sent >= upload.total ? 'saving' : 'sending', broken: false });
    mark(upload);
    renderSoon();
  },
  broken() {
    Object.assign(upload, { state: 'sending', broken: true, marks: [] });
    renderSoon();
  },
  done(name) {
    Object.assign(upload, { state: 'done', savedAs: name, sending: null });
    loadMediaSoon();
    render();
    pump();
  },
  failed(error, { lasting, signIn }) {
    Object.assign(upload, { state: signIn ? 'waiting' : 'failed', error: error.message, lasting, offline: error.status === 0 });
    if (lasting) Object.assign(upload, { sending: null, before: null, sent: 0 });
    if (!signIn) toast(t('upload.failedName', { name: upload.name, detail: error.message }), 'bad');
    render();
    pump();
  },
});

function pause(upload) {
  upload.sending?.pause();
  upload.state = 'paused';
  render();
  pump();
}

function goOn(upload) {
  upload.state = 'waiting';
  render();
  pump();
}

// stop cancels what is not finished, and takes the rest off the list.
function stop(upload) {
  const cancels = isActive(upload) || upload.state === 'paused';
  if (upload.sending) upload.sending.cancel();
  else if (upload.before && upload.state !== 'done') giveUp(upload.before);
  Object.assign(upload, { sending: null, before: null, sent: 0 });
  if (cancels) upload.state = 'cancelled';
  else uploads = uploads.filter((other) => other !== upload);
  render();
  pump();
}

function mark(upload) {
  const now = performance.now();
  upload.marks.push({ at: now, sent: upload.sent });
  while (upload.marks.length > 2 && now - upload.marks[0].at > speedWindow) upload.marks.shift();
}

/** Bytes per second over the last seconds; 0 when not known yet. */
function speed(upload) {
  const first = upload.marks[0];
  const last = upload.marks.at(-1);
  return last && last.at - first.at > 300 ? ((last.sent - first.sent) * 1000) / (last.at - first.at) : 0;
}

let painting = 0;
function renderSoon() {
  painting ||= requestAnimationFrame(() => { painting = 0; render(); });
}

function render() {
  list.render(uploads);
  byId('uploads-card').hidden = uploads.length === 0;
  const active = uploads.filter(isActive).length;
  const done = uploads.filter((upload) => upload.state === 'done').length;
  const stopped = uploads.filter((upload) => upload.state === 'paused' || upload.state === 'unfinished').length;
  const parts = [active && tn('upload.active', active), stopped && tn('upload.stopped', stopped), !active && done && tn('upload.done', done)];
  setText(byId('uploads-summary'), parts.filter(Boolean).join(' · '));
  byId('uploads-clear').hidden = active + stopped === uploads.length;
}

const progressOf = (upload) => `${bytes(upload.sent)} / ${bytes(upload.total)}`;

function statusText(upload) {
  switch (upload.state) {
    case 'waiting': return t('upload.waiting', { size: bytes(upload.total) });
    case 'paused': return t('upload.paused', { progress: progressOf(upload) });
    case 'unfinished': return t('upload.unfinished', { progress: progressOf(upload) });
    case 'saving': return t('upload.saving');
    case 'done': return t('upload.saved', { size: bytes(upload.total) });
    case 'cancelled': return t('upload.cancelled');
    case 'failed': return upload.errorKey ? t(upload.errorKey) : upload.error;
    default: break;
  }
  if (upload.broken) return t('upload.reconnecting', { progress: progressOf(upload) });
  const rate = speed(upload);
  if (!rate) return progressOf(upload);
  return t('upload.progress', { progress: progressOf(upload), rate: `${bytes(rate)}/s`, left: span((upload.total - upload.sent) / rate) });
}

function makeRow() {
  let upload = null;
  const mark = h('span', { class: 'art' }, icon('file'));
  const name = h('strong', { class: 'upload-name' });
  const part = h('span', { class: 'number small' });
  const bar = h('progress', { max: 1 });
  const status = h('span', { class: 'small muted upload-status' });
  const again = h('button', {
    class: 'button compact', type: 'button', data: { action: 'again' },
    on: { click: () => (upload.state === 'unfinished' ? byId('file-input').click() : goOn(upload)) },
  });
  const hold = iconButton('pause', 'pause');
  hold.addEventListener('click', () => (upload.state === 'paused' ? goOn(upload) : pause(upload)));
  const end = iconButton('close', 'cancel');
  end.addEventListener('click', () => stop(upload));
  const el = h('li', { class: 'upload' }, mark,
    h('div', { class: 'upload-text' }, h('div', { class: 'upload-line' }, name, part), bar, status), again, hold, end);
  return {
    el,
    update(next) {
      upload = next;
      el.dataset.state = upload.state;
      el.dataset.upload = upload.name;
      setIcon(mark, { done: 'check', failed: 'alert', paused: 'pause', unfinished: 'clock' }[upload.state] ?? 'upload');
      setText(name, upload.savedAs || upload.name);
      const begun = isMoving(upload) || upload.state === 'paused' || upload.state === 'unfinished';
      setText(part, begun && upload.state !== 'saving' ? percent(upload.sent / upload.total) : '');
      bar.classList.toggle('idle', !begun);
      setLabel(bar, t('upload.progressName', { name: upload.name }));
      if (upload.state === 'saving') bar.removeAttribute('value');
      else bar.value = upload.total ? upload.sent / upload.total : 0;
      setText(status, statusText(upload));
      again.hidden = !['failed', 'cancelled', 'unfinished'].includes(upload.state) || Boolean(upload.errorKey) || (upload.state !== 'unfinished' && !upload.file);
      setText(again, t(upload.state === 'unfinished' ? 'upload.chooseAgain' : 'upload.retry'));
      hold.hidden = !['waiting', 'sending', 'paused'].includes(upload.state);
      setIcon(hold, upload.state === 'paused' ? 'play' : 'pause');
      setLabel(hold, t(upload.state === 'paused' ? 'upload.resumeName' : 'upload.pauseName', { name: upload.name }));
      const cancels = begun || upload.state === 'waiting';
      setLabel(end, t(cancels ? 'upload.cancelName' : 'upload.removeName', { name: upload.name }));
    },
  };
}

// wireDrop lets files fall anywhere on the page while somebody is signed in.
function wireDrop() {
  const veil = byId('drop-veil');
  let depth = 0;
  const wanted = (event) => !byId('app-view').hidden && [...(event.dataTransfer?.types ?? [])].includes('Files');
  addEventListener('dragenter', (event) => {
    if (!wanted(event)) return;
    event.preventDefault();
    depth++;
    veil.hidden = false;
  });
  addEventListener('dragover', (event) => { if (wanted(event)) event.preventDefault(); });
  addEventListener('dragleave', (event) => {
    if (!wanted(event)) return;
    depth = Math.max(0, depth - 1);
    veil.hidden = depth === 0;
  });
  addEventListener('drop', (event) => {
    depth = 0;
    veil.hidden = true;
    if (!wanted(event)) return;
    event.preventDefault();
    addFiles([...event.dataTransfer.files]);
  });
}
