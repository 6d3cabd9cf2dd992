// Conversions on the page: the list that lives by events, the figures of the queue, and what can be done with a job.

import * as api from './api.js';
import { calm, channel } from './channel.js';
import { byId, h, icon, KeyedList, setIcon, setLabel, setText, showMessage } from './dom.js';
import { ago, bytes, dateTime, decimal, percent, span } from './format.js';
import { busy, toast } from './frame.js';
import { onLanguage, t, tn } from './i18n.js';
import { jobChanged, openJob } from './jobdetails.js';
import { headway, isOver, reductionText, remarks, statusLook, statusText } from './jobtext.js';
import { kindOfName } from './media.js';
import { showPriorities } from './priority.js';

/** Somebody wants the output of a job; called with (action: play or download, name). */
export const outputAction = channel();

const most = 200; // jobs that are kept and shown

let jobs = new Map(); // job_id -> job, newest first
let loaded = false;

const list = new KeyedList(byId('jobs'), (job) => job.job_id, makeJob);

export function startJobs() {
  byId('jobs-filter').addEventListener('change', render);
  byId('jobs-refresh').addEventListener('click', (event) => busy(event.currentTarget, () => Promise.all([loadJobs(), loadStats()])));
  onLanguage(render);
}

/** Fetches the list. Never rejects. */
export async function loadJobs() {
  try {
    const fetched = await api.listJobs();
    jobs = new Map(fetched.map((job) => [job.job_id, job]));
    loaded = true;
    showMessage(byId('jobs-error'), '');
  } catch (error) {
    if (error.status === 401) return;
    showMessage(byId('jobs-error'), t('jobs.failedToLoad', { detail: error.message }));
  }
  render();
}

/** Fetches the figures of the queue. Never rejects: old figures are better than none. */
export async function loadStats() {
  let answer;
  try {
    answer = await api.queueStats();
  } catch {
    return;
  }
  const figures = { queue: answer.queue_length, total: answer.total_jobs, ...answer.stats };
  for (const el of byId('queue-stats').querySelectorAll('[data-stat]')) setText(el, decimal(figures[el.dataset.stat]));
}

export const loadStatsSoon = calm(loadStats, 300, 1500);
export const loadJobsSoon = calm(loadJobs, 200, 1000);

/** Takes over what an event says about a job. */
export function applyJobEvent(data) {
  const id = data.job_id;
  if (!id) return loadJobsSoon();
  const known = jobs.get(id);
  if (!known && !data.created_at) return loadJobsSoon();
  // Events carry a job as a whole: what one does not tell any more is not so any more.
  if (known) jobs.set(id, data);
  else jobs = new Map([[id, data], ...jobs].slice(0, most));
  if (known?.status !== data.status) loadStatsSoon();
  jobChanged(id);
  render();
}

/** Takes over where pending jobs stand in the queue: that changes without them. */
export function applyQueueEvent(data) {
  for (const [id, place] of Object.entries(data.positions ?? {})) {
    const job = jobs.get(id);
    if (job?.status === 'pending') jobs.set(id, { ...job, queue_position: place });
  }
  render();
}

function render() {
  const wanted = byId('jobs-filter').value;
  const all = [...jobs.values()].sort((a, b) => String(b.created_at ?? '').localeCompare(String(a.created_at ?? '')));
  const shown = all.filter((job) => !wanted || job.status === wanted);
  list.render(shown);
  const empty = byId('jobs-empty');
  empty.hidden = shown.length > 0 || !loaded;
  setText(empty.querySelector('strong'), t(all.length ? 'jobs.noMatch' : 'jobs.empty'));
  setText(empty.querySelector('p'), t(all.length ? 'jobs.noMatchHint' : 'jobs.emptyHint'));
  const active = all.filter((job) => !isOver(job)).length;
  byId('jobs-active').hidden = active === 0;
  setText(byId('jobs-active'), String(active));
}

function factsOf(job) {
  const facts = headway(job);
  const node = job.worker_id || job.assigned_worker;
  if (node && !(job.segments > 1)) facts.push(t('jobs.onNode', { node }));
  if (job.status === 'completed') {
    if (Number.isFinite(job.duration_seconds)) facts.push(t('jobs.took', { span: span(job.duration_seconds) }));
    if (Number.isFinite(job.output_size_bytes)) facts.push(`${bytes(job.input_size_bytes)} → ${bytes(job.output_size_bytes)}`);
    const reduction = reductionText(job);
    if (reduction) facts.push(reduction);
  }
  const attempts = Number(job.attempt ?? job.attempts ?? 0);
  if (attempts > 1) facts.push(tn('jobs.attempts', attempts));
  facts.push(ago(job.completed_at || job.started_at || job.created_at));
  return facts;
}

function makeJob() {
  let job = null;
  const mark = h('span', { class: 'art' }, icon('convert'));
  const name = h('strong', { class: 'job-name' });
  const format = h('span', { class: 'badge job-format' });
  const status = h('span', { class: 'badge job-status' });
  const marks = h('div', { class: 'job-marks' });
  const notes = h('ul', { class: 'small muted job-notes' });
  const bar = h('progress', { max: 100 });
  const part = h('span', { class: 'number small' });
  const line = h('div', { class: 'job-progress' }, bar, part);
  const facts = h('p', { class: 'small muted job-facts' });
  const error = h('p', { class: 'notice bad job-error' });
  const button = (iconName, action, run) => h('button', { class: 'button compact', type: 'button', data: { action }, on: { click: (event) => run(event.currentTarget) } }, icon(iconName, 'icon-small'), h('span'));
  const play = button('play', 'play', () => outputAction.emit('play', job.output_file));
  const save = button('download', 'download', () => outputAction.emit('download', job.output_file));
  const again = button('refresh', 'retry', (el) => busy(el, () => retry(job)));
  const stop = button('close', 'cancel', (el) => busy(el, () => cancel(job)));
  const more = button('info', 'details', () => openJob(job));
  const priority = h('select', { class: 'select compact job-priority', on: { change: () => setPriority(job, priority.value) } });
  const actions = h('div', { class: 'job-actions' }, play, save, again, stop, more, priority);
  const el = h('li', { class: 'job' }, mark,
    h('div', { class: 'job-text' }, h('div', { class: 'job-line' }, name, format, status), marks, line, facts, notes, error, actions));
  return {
    el,
    update(next) {
      job = next;
      const over = isOver(job);
      Object.assign(el.dataset, { job: job.job_id, status: job.status });
      const kind = kindOfName(`x.${job.output_format}`);
      mark.className = `art ${kind}`;
      setIcon(mark, { audio: 'music', video: 'film' }[kind] ?? 'convert');
      setText(name, job.input_file ?? '');
      name.title = `${job.input_file} – ${job.job_id}`;
      setText(format, `→ ${String(job.output_format ?? '').toUpperCase()}`);
      status.className = `badge job-status ${statusLook(job)}`;
      setText(status, statusText(job));
      showMarks(marks, job);
      showNotes(notes, remarks(job));
      line.hidden = job.status !== 'processing';
      bar.value = job.progress ?? 0;
      setLabel(bar, t('jobs.progressName', { name: job.input_file }));
      setText(part, percent((job.progress ?? 0) / 100));
      setText(facts, factsOf(job).join(' · '));
      facts.title = dateTime(job.created_at);
      showMessage(error, job.status === 'failed' && !job.canceled ? job.error || t('jobs.noReason') : '');
      const output = job.status === 'completed' && Boolean(job.output_file);
      const shown = [[play, output, 'jobs.play'], [save, output, 'action.download'], [again, job.status === 'failed', 'jobs.again'], [stop, !over, 'jobs.cancel'], [more, true, 'jobs.details']];
      for (const [el2, visible, key] of shown) {
        el2.hidden = !visible;
        setText(el2.lastElementChild, t(key));
      }
      setLabel(more, t('jobs.detailsName', { name: job.input_file }));
      priority.hidden = over || !job.priority;
      if (!priority.hidden) showPriorities(priority, job.priority);
    },
  };
}

async function cancel(job) {
  try {
    await api.cancelJob(job.job_id);
    toast(t('jobs.cancelled', { name: job.input_file }));
    await loadJobs();
    loadStatsSoon();
  } catch (error) {
    toast(error.message, 'bad');
  }
}

async function retry(job) {
  try {
    await api.retryJob(job.job_id);
    await loadJobs();
    loadStatsSoon();
  } catch (error) {
    toast(error.message, 'bad');
  }
}

async function setPriority(job, name) {
  try {
    await api.setPriority(job.job_id, name);
    toast(t('priority.set', { name: job.input_file, priority: t('priority.' + name) }), 'good');
  } catch (error) {
    toast(error.message, 'bad');
  }
  document.activeElement?.blur();
  await loadJobs();
}

// showMarks shows what is special about a job; the priority of one that is not over is shown by its menu.
function showMarks(el, job) {
  const marks = [];
  if (isOver(job) && job.priority === 'high') marks.push(['warn', t('priority.badge.high')]);
  if (isOver(job) && job.priority === 'low') marks.push(['', t('priority.badge.low')]);
  if (job.reused) marks.push(['good', t('jobs.reused')]);
  if (job.redone_reason) marks.push(['warn', t('jobs.redone')]);
  el.hidden = marks.length === 0;
  el.replaceChildren(...marks.map(([look, text]) => h('span', { class: `badge ${look}`, text })));
}

function showNotes(el, notes) {
  el.hidden = notes.length === 0;
  if ([...el.children].map((li) => li.textContent).join('\n') === notes.join('\n')) return;
  el.replaceChildren(...notes.map((text) => h('li', { text })));
}
