// What player and dashboard say about a job in the same words.

import { percent } from './format.js';
import { has, t } from './i18n.js';

const looks = { pending: 'warn', processing: 'info', completed: 'good', failed: 'bad' }; // status -> badge

/** The name of a status in the page's language; one that this page does not know yet is shown as it is. */
export function statusText(status) {
  const key = 'jobs.status.' + status;
  return has(key) ? t(key) : status;
}

export const statusLook = (status) => looks[status] ?? '';

/** "38 % smaller" or "12 % larger"; '' where it is not known. */
export function reductionText(job) {
  const n = job.size_reduction_percent;
  if (!Number.isFinite(n)) return '';
  if (Math.abs(n) < 0.5) return t('jobs.sameSize');
  return t(n > 0 ? 'jobs.smaller' : 'jobs.larger', { part: percent(Math.abs(n) / 100) });
}
