// What player and dashboard say about a job in the same words.

import { decimal, percent, span } from './format.js';
import { has, t } from './i18n.js';

const looks = { pending: 'warn', processing: 'info', completed: 'good', failed: 'bad' }; // status -> badge

/** A job's status in the page's language; one that this page does not know yet is shown as it is. */
export function statusText(job) {
  if (job.canceled) return t('jobs.status.cancelled');
  const key = 'jobs.status.' + job.status;
  return has(key) ? t(key) : job.status;
}

/** The class of a status badge. A job that somebody stopped counts as failed, but is no bad news. */
export const statusLook = (job) => (job.canceled ? '' : looks[job.status] ?? '');

/** "38 % smaller" or "12 % larger"; '' where it is not known. */
export function reductionText(job) {
  const n = job.size_reduction_percent;
  if (!Number.isFinite(n)) return '';
  if (Math.abs(n) < 0.5) return t('jobs.sameSize');
  return t(n > 0 ? 'jobs.smaller' : 'jobs.larger', { part: percent(Math.abs(n) / 100) });
}

/** Whether nothing will change about a job any more, unless it is tried again. */
export const isOver = (job) => !['pending', 'processing'].includes(job.status);

/** How a job gets on, in a few words each: its place in the queue, its segments, how fast, how long still. */
export function headway(job) {
  const words = [];
  if (job.status === 'pending' && job.queue_position > 0) words.push(t('jobs.place', { n: decimal(job.queue_position) }));
  if (!isOver(job) && job.segments > 0) words.push(t('jobs.segments', { done: decimal(job.segments_done ?? 0), all: decimal(job.segments) }));
  if (job.status !== 'processing') return words;
  if (job.speed > 0) words.push(t('jobs.speed', { times: decimal(job.speed, job.speed < 10 ? 1 : 0) }));
  if (Number.isFinite(job.eta_seconds)) words.push(t('jobs.left', { span: span(Math.max(1, Math.round(job.eta_seconds))) }));
  return words;
}

/** What is to be known about a job beside how it gets on: why it is done the way it is, what its output lacks. */
export function remarks(job) {
  const said = [];
  if (job.redone_reason) said.push(t('jobs.redoneWhy', { reason: job.redone_reason }));
  else if (job.whole_reason) said.push(t('jobs.wholeWhy', { reason: job.whole_reason }));
  return [...said, ...(job.notes ?? [])];
}
