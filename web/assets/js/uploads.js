// Files on their way in: chosen or dropped, sent two at a time, each with its progress and its own end.

import * as api from './api.js';
import { byId, h, icon, iconButton, KeyedList, setIcon, setLabel, setText } from './dom.js';
import { bytes, percent, span } from './format.js';
import { toast } from './frame.js';
import { onLanguage, t, tn } from './i18n.js';
import { kindOfName, loadMediaSoon } from './media.js';
import { signedIn } from './session.js';

const atOnce = 2;
const speedWindow = 4000; // ms of progress that the shown speed is the mean of

let uploads = []; // in the order they were chosen
let counter = 0;

const list = new KeyedList(byId('uploads'), (upload) => upload.key, makeRow);

export function startUploads() {
  const input = byId('file-input');
  input.addEventListener('change', () => {
    addFiles([...input.files]);
    input.value = ''; // so that the same file can be chosen again
  });
  byId('uploads-clear').addEventListener('click', () => {
    uploads = uploads.filter((upload) => isActive(upload));
    render();
  });
  wireDrop();
  onLanguage(render);
  signedIn.on(() => pump());
  addEventListener('beforeunload', (event) => { if (uploads.some(isActive)) event.preventDefault(); });
}

/** Puts files in line. */
export function addFiles(files) {
  for (const file of files) {
    const upload = { key: ++counter, file, state: 'waiting', sent: 0, total: file.size, error: '', marks: [], cancel: null };
    if (file.size === 0) Object.assign(upload, { state: 'failed', errorKey: 'upload.error.empty' });
    else if (file.type && !/^(audio|video)\/|octet-stream|^application\/(ogg|mp4|x-matroska)/.test(file.type) && !kindOfName(file.name)) {
      Object.assign(upload, { state: 'failed', errorKey: 'upload.error.notMedia' });
    }
    uploads = [upload, ...uploads];
  }
  render();
  pump();
}

const isActive = (upload) => ['waiting', 'sending', 'saving'].includes(upload.state);

function pump() {
  const sending = uploads.filter((upload) => upload.state === 'sending' || upload.state === 'saving').length;
  const waiting = uploads.filter((upload) => upload.state === 'waiting').reverse();
  for (const upload of waiting.slice(0, Math.max(0, atOnce - sending))) send(upload);
}

async function send(upload) {
  Object.assign(upload, { state: 'sending', sent: 0, error: '', errorKey: '', marks: [{ at: performance.now(), sent: 0 }] });
  const { promise, cancel } = api.upload(upload.file, (sent, total) => {
    Object.assign(upload, { sent, total, state: sent >= total ? 'saving' : 'sending' });
    mark(upload);
    renderSoon();
  });
  upload.cancel = cancel;
  render();
  try {
    const answer = await promise;
    Object.assign(upload, { state: 'done', name: answer.name ?? upload.file.name });
    loadMediaSoon();
  } catch (error) {
    if (error.name === 'AbortError') upload.state = 'cancelled';
    else {
      Object.assign(upload, { state: 'failed', error: error.message });
      toast(t('upload.failedName', { name: upload.file.name, detail: error.message }), 'bad');
    }
  }
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
  setText(byId('uploads-summary'), active ? tn('upload.active', active) : tn('upload.done', done));
  byId('uploads-clear').hidden = active === uploads.length;
}

function statusText(upload) {
  switch (upload.state) {
    case 'waiting': return t('upload.waiting', { size: bytes(upload.total) });
    case 'saving': return t('upload.saving');
    case 'done': return t('upload.saved', { size: bytes(upload.file.size) });
    case 'cancelled': return t('upload.cancelled');
    case 'failed': return upload.errorKey ? t(upload.errorKey) : upload.error;
    default: break;
  }
  const rate = speed(upload);
  const progress = `${bytes(upload.sent)} / ${bytes(upload.total)}`;
  if (!rate) return progress;
  return t('upload.progress', { progress, rate: `${bytes(rate)}/s`, left: span((upload.total - upload.sent) / rate) });
}

function makeRow() {
  let upload = null;
  const mark = h('span', { class: 'art' }, icon('file'));
  const name = h('strong', { class: 'upload-name' });
  const part = h('span', { class: 'number small' });
  const bar = h('progress', { max: 1 });
  const status = h('span', { class: 'small muted upload-status' });
  const retry = h('button', { class: 'button compact', type: 'button', on: { click: () => { upload.state = 'waiting'; render(); pump(); } } });
  const stop = iconButton('close', 'cancel');
  stop.addEventListener('click', () => {
    if (upload.state === 'sending' || upload.state === 'saving') return upload.cancel();
    if (upload.state === 'waiting') upload.state = 'cancelled';
    else uploads = uploads.filter((other) => other !== upload);
    render();
  });
  const el = h('li', { class: 'upload' }, mark,
    h('div', { class: 'upload-text' }, h('div', { class: 'upload-line' }, name, part), bar, status), retry, stop);
  return {
    el,
    update(next) {
      upload = next;
      el.dataset.state = upload.state;
      el.dataset.upload = upload.file.name;
      setIcon(mark, { done: 'check', failed: 'alert' }[upload.state] ?? 'upload');
      setText(name, upload.file.name);
      const moving = upload.state === 'sending' || upload.state === 'saving';
      setText(part, moving ? percent(upload.sent / upload.total) : '');
      bar.hidden = !moving;
      setLabel(bar, t('upload.progressName', { name: upload.file.name }));
      if (upload.state === 'saving') bar.removeAttribute('value');
      else bar.value = upload.total ? upload.sent / upload.total : 0;
      setText(status, statusText(upload));
      retry.hidden = !['failed', 'cancelled'].includes(upload.state) || Boolean(upload.errorKey);
      setText(retry, t('upload.retry'));
      setLabel(stop, t(isActive(upload) ? 'upload.cancelName' : 'upload.removeName', { name: upload.file.name }));
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
