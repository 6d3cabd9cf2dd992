// The dialog that shows one conversion: its pieces with node, attempt and time, and its log.

import * as api from './api.js';
import { calm } from './channel.js';
import { byId, h, KeyedList, pressOne, setText, showMessage } from './dom.js';
import { dateTime, decimal, percent, span } from './format.js';
import { busy } from './frame.js';
import { has, onLanguage, t, tn } from './i18n.js';
import { headway, isOver, remarks, statusLook, statusText } from './jobtext.js';
import { optionName, valueText } from './options.js';

const refreshEvery = 2000; // ms between looks at a job that runs
const looks = { finished: 'good', assigned: 'info', blocked: '', waiting: '', given_up: 'bad', dropped: '' }; // state of a piece -> badge

let job = null; // with its tasks
let shownLog = false;
let timer = 0;

const rows = new KeyedList(byId('job-pieces'), (task) => task.task_id, makeRow);

export function startJobDetails() {
  byId('job-show-pieces').addEventListener('click', () => showPart(false));
  byId('job-show-log').addEventListener('click', () => showPart(true));
  byId('job-copy').addEventListener('click', copyLog);
  byId('job-refresh').addEventListener('click', (event) => busy(event.currentTarget, refresh));
  byId('job-dialog').addEventListener('close', () => { clearInterval(timer); job = null; });
  onLanguage(() => { if (job) render(); });
}

/** Opens the dialog for a job of the list, and keeps it fresh while it is open. */
export function openJob(next) {
  job = next;
  showMessage(byId('job-error'), '');
  setText(byId('job-log'), '');
  rows.render([]);
  byId('job-strip').replaceChildren();
  showPart(false);
  byId('job-dialog').showModal();
  refresh();
  clearInterval(timer);
  timer = setInterval(() => { if (!document.hidden && job && !isOver(job)) refresh(); }, refreshEvery);
}

/** A job changed: fetches it again where it is the one that is shown. */
export function jobChanged(id) {
  if (job?.job_id === id) refreshSoon();
}

const refreshSoon = calm(() => { if (job) refresh(); }, 300, 1000);

async function refresh() {
  const id = job.job_id;
  try {
    const next = await api.job(id);
    if (job?.job_id !== id) return;
    job = next;
    showMessage(byId('job-error'), '');
    render();
    if (shownLog) await loadLog();
  } catch (error) {
    showMessage(byId('job-error'), error.message);
  }
}

function showPart(log) {
  shownLog = log;
  pressOne([byId('job-show-pieces'), byId('job-show-log')], (button) => (button.id === 'job-show-log') === log);
  byId('job-part-pieces').hidden = log;
  byId('job-part-log').hidden = !log;
  render();
  if (log) loadLog();
}

async function loadLog() {
  const id = job.job_id;
  try {
    const text = await api.jobLog(id);
    if (job?.job_id === id) setText(byId('job-log'), text);
  } catch (error) {
    showMessage(byId('job-error'), error.message);
  }
}

// copyLog uses the clipboard where the browser gives it to this page (it does not on plain http), else the old way.
async function copyLog() {
  let copied = true;
  try {
    await navigator.clipboard.writeText(byId('job-log').textContent);
  } catch {
    getSelection().selectAllChildren(byId('job-log'));
    copied = document.execCommand('copy');
  }
  const text = byId('job-copy').lastElementChild;
  setText(text, t(copied ? 'share.copied' : 'share.copyByHand'));
  setTimeout(() => setText(text, t('share.copy')), 2000);
}

function render() {
  if (!job) return;
  byId('job-dialog').dataset.status = job.status;
  setText(byId('job-name'), `${job.input_file} → ${String(job.output_format ?? '').toUpperCase()}`);
  const status = byId('job-status');
  status.className = `badge ${statusLook(job)}`;
  setText(status, statusText(job));
  const bar = byId('job-bar');
  bar.hidden = isOver(job);
  bar.value = job.progress ?? 0;
  bar.setAttribute('aria-label', t('jobs.progressName', { name: job.input_file }));
  setText(byId('job-headway'), [...(isOver(job) ? [] : [percent((job.progress ?? 0) / 100)]), ...headway(job)].join(' · '));
  showMessage(byId('job-reason'), job.status === 'failed' && !job.canceled ? job.error || t('jobs.noReason') : '');
  byId('job-remarks').replaceChildren(...remarks(job).map((text) => h('li', { text })));
  byId('job-facts').replaceChildren(...factsOf().flatMap(([name, value]) => [h('dt', { text: name }), h('dd', { text: value })]));
  renderPieces(job.tasks);
}

function factsOf() {
  const facts = [[t('job.asked'), dateTime(job.created_at)]];
  const options = Object.entries(job.options ?? {}).map(([name, value]) => `${optionName(name)}: ${valueText(name, value)}`);
  if (options.length) facts.push([t('convert.options'), options.join(' · ')]);
  if (job.priority) facts.push([t('priority.label'), t('priority.' + job.priority)]);
  if (Number.isFinite(job.duration_seconds)) facts.push([t('job.took'), job.reused ? t('jobs.reused') : span(job.duration_seconds)]);
  if (job.output_file) facts.push([t('job.output'), job.output_file]);
  return facts;
}

// renderPieces draws the strip, a square for each piece of the film, and the table, which says the same in words.
function renderPieces(tasks) {
  if (!tasks) return;
  const wanted = tasks.filter((task) => task.state !== 'dropped' || task.attempts.length > 0);
  rows.render(wanted);
  byId('job-pieces-empty').hidden = wanted.length > 0;
  byId('job-pieces').closest('table').hidden = wanted.length === 0;
  const pieces = tasks.filter((task) => task.kind === 'segment' && task.state !== 'dropped');
  const strip = byId('job-strip');
  strip.hidden = pieces.length === 0;
  while (strip.children.length > pieces.length) strip.lastElementChild.remove();
  while (strip.children.length < pieces.length) strip.append(h('span'));
  pieces.forEach((task, i) => {
    const square = strip.children[i];
    Object.assign(square.dataset, { state: task.state, again: String(task.attempts.length > 0) });
    square.title = `${pieceName(task)}: ${pieceText(task)}`;
  });
  const count = (state) => pieces.filter((task) => task.state === state).length;
  strip.setAttribute('aria-label', t('job.strip', { done: decimal(count('finished')), running: decimal(count('assigned')), all: decimal(pieces.length) }));
  showLegend(pieces);
}

function showLegend(pieces) {
  const states = [...new Set(pieces.map((task) => task.state))];
  const items = states.map((state) => h('li', {}, h('span', { class: 'square', data: { state } }), `${stateName(state)} ${decimal(pieces.filter((task) => task.state === state).length)}`));
  const again = pieces.filter((task) => task.attempts.length > 0).length;
  if (again) items.push(h('li', {}, h('span', { class: 'square', data: { state: 'waiting', again: 'true' } }), tn('job.again', again)));
  byId('job-legend').replaceChildren(...items);
}

const stateName = (state) => (has('task.state.' + state) ? t('task.state.' + state) : state);

function pieceName(task) {
  if (task.kind === 'segment') return t('task.segment', { n: decimal((task.seq ?? 0) + 1) });
  return has('task.kind.' + task.kind) ? t('task.kind.' + task.kind) : task.kind;
}

// pieceText is how a piece stands, in words.
function pieceText(task) {
  const words = [task.state === 'assigned' ? `${stateName(task.state)} ${percent((task.progress ?? 0) / 100)}` : stateName(task.state)];
  if (task.node) words.push(t('jobs.onNode', { node: task.node }));
  if (task.attempt > 1) words.push(tn('jobs.attempts', task.attempt));
  if (task.took_seconds) words.push(span(task.took_seconds));
  return words.join(', ');
}

function makeRow() {
  const cells = { name: h('th', { scope: 'row' }), state: h('td'), node: h('td'), attempt: h('td', { class: 'number' }), took: h('td', { class: 'number' }) };
  const badge = h('span', { class: 'badge' });
  const tries = h('ul', { class: 'small job-tries' });
  const name = h('span');
  cells.name.append(name, tries);
  cells.state.append(badge);
  const el = h('tr', {}, ...Object.values(cells));
  return {
    el,
    update(task) {
      Object.assign(el.dataset, { seq: String(task.seq), state: task.state });
      setText(name, pieceName(task));
      badge.className = `badge ${looks[task.state] ?? ''}`;
      setText(badge, task.state === 'assigned' ? `${stateName(task.state)} ${percent((task.progress ?? 0) / 100)}` : stateName(task.state));
      setText(cells.node, task.node ?? '');
      setText(cells.attempt, task.attempt > 0 ? decimal(task.attempt) : '');
      setText(cells.took, timeOf(task));
      cells.took.title = [task.cpu_seconds && t('job.cpu', { span: span(task.cpu_seconds) })].filter(Boolean).join('');
      showTries(tries, task.attempts ?? []);
    },
  };
}

// timeOf is how long a piece took, or how fast it is being made.
function timeOf(task) {
  if (task.took_seconds) return span(task.took_seconds);
  return task.speed > 0 ? t('jobs.speed', { times: decimal(task.speed, 1) }) : '';
}

function showTries(el, attempts) {
  el.hidden = attempts.length === 0;
  const texts = attempts.map((a) => t('job.try', { n: decimal(a.number), node: a.node, cause: has('task.cause.' + a.cause) ? t('task.cause.' + a.cause) : a.cause, reason: a.reason }));
  if ([...el.children].map((li) => li.textContent).join('\n') === texts.join('\n')) return;
  el.replaceChildren(...texts.map((text) => h('li', { text })));
}
