// What player and dashboard say about a job in the same words.

import { percent } from './format.js';
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
