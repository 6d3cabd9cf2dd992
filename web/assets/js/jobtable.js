// The table of recent conversions on the dashboard.

import { byId, h, KeyedList, setText } from './dom.js';
import { dateTime, decimal, percent, span } from './format.js';
import { t } from './i18n.js';
import { headway, reductionText, statusLook, statusText } from './jobtext.js';

const list = new KeyedList(byId('job-rows'), (job) => job.job_id, makeRow);

/** Shows jobs, newest first, as the API gives them. */
export function renderJobs(jobs) {
  list.render(jobs);
  byId('jobs-empty').hidden = jobs.length > 0;
  byId('job-rows').parentElement.hidden = jobs.length === 0;
}

function makeRow() {
  const cell = (className = '') => h('td', { class: className });
  const cells = { input: cell('cell-name'), format: cell(), status: cell('cell-status'), node: cell(), attempt: cell('number'), duration: cell('number'), reduction: cell('number') };
  const badge = h('span', { class: 'badge' });
  const bar = h('progress', { max: 100 });
  const how = h('span', { class: 'small muted cell-how' });
  cells.status.append(badge, bar, how);
  const el = h('tr', {}, ...Object.values(cells));
  return {
    el,
    update(job) {
      Object.assign(el.dataset, { job: job.job_id, status: job.status });
      setText(cells.input, job.input_file ?? '');
      cells.input.title = dateTime(job.created_at);
      setText(cells.format, String(job.output_format ?? '').toUpperCase());
      badge.className = `badge ${statusLook(job)}`;
      setText(badge, job.status === 'processing' ? `${statusText(job)} ${percent((job.progress ?? 0) / 100)}` : statusText(job));
      badge.title = job.error ?? '';
      bar.hidden = job.status !== 'processing';
      bar.value = job.progress ?? 0;
      bar.setAttribute('aria-label', statusText(job));
      setText(how, headway(job).join(' · '));
      setText(cells.node, job.worker_id || job.assigned_worker || '');
      setText(cells.attempt, Number.isFinite(job.attempt) && job.attempt > 0 ? decimal(job.attempt) : '');
      setText(cells.duration, Number.isFinite(job.duration_seconds) ? span(job.duration_seconds) : '');
      setText(cells.reduction, reductionText(job));
      const names = { format: 'admin.col.format', node: 'admin.col.node', attempt: 'admin.col.attempt', duration: 'admin.col.duration', reduction: 'admin.col.reduction' };
      for (const [name, key] of Object.entries(names)) {
        cells[name].dataset.label = t(key);
        cells[name].classList.toggle('blank', !cells[name].textContent);
      }
    },
  };
}
