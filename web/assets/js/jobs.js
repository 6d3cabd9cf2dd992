// Conversions on the page: the list that lives by events, the figures of the queue, and what can be done with a job.

import * as api from './api.js';
import { calm, channel } from './channel.js';
import { byId, h, icon, KeyedList, setIcon, setLabel, setText, showMessage } from './dom.js';
import { ago, bytes, dateTime, decimal, percent, span } from './format.js';
import { busy, toast } from './frame.js';
import { onLanguage, t, tn } from './i18n.js';
import { reductionText, statusLook, statusText } from './jobtext.js';
import { kindOfName } from './media.js';

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
  // A late event must not bring a finished job back.
  if (known && isOver(known) && !isOver(data)) return;
  if (known) jobs.set(id, { ...known, ...data });
  else jobs = new Map([[id, data], ...jobs].slice(0, most));
  if (known?.status !== data.status) loadStatsSoon();
  render();
}

const isOver = (job) => !['pending', 'processing'].includes(job.status);

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
  const facts = [];
  const node = job.worker_id || job.assigned_worker;
  if (node) facts.push(t('jobs.onNode', { node }));
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
  const actions = h('div', { class: 'job-actions' }, play, save, again, stop);
  const el = h('li', { class: 'job' }, mark,
    h('div', { class: 'job-text' }, h('div', { class: 'job-line' }, name, format, status), facts, line, error, actions));
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
      line.hidden = job.status !== 'processing';
      bar.value = job.progress ?? 0;
      setLabel(bar, t('jobs.progressName', { name: job.input_file }));
      setText(part, percent((job.progress ?? 0) / 100));
      setText(facts, factsOf(job).join(' · '));
      facts.title = dateTime(job.created_at);
      showMessage(error, job.status === 'failed' && !job.canceled ? job.error || t('jobs.noReason') : '');
      const output = job.status === 'completed' && Boolean(job.output_file);
      const shown = [[play, output, 'jobs.play'], [save, output, 'action.download'], [again, job.status === 'failed', 'jobs.again'], [stop, !over, 'jobs.cancel']];
      for (const [el2, visible, key] of shown) {
        el2.hidden = !visible;
        setText(el2.lastElementChild, t(key));
      }
      actions.hidden = !shown.some(([, visible]) => visible);
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
    await api.convert(job.input_file, job.output_format, job.options ?? {});
    await loadJobs();
    loadStatsSoon();
  } catch (error) {
    toast(error.message, 'bad');
  }
}
