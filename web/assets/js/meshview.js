// Tiles and node cards of the dashboard.

import { byId, h, KeyedList, setText, showMessage } from './dom.js';
import { ago, bytes, decimal, percent, time } from './format.js';
import { has, t } from './i18n.js';
import { seriesOf } from './charts.js';
import { copyingText } from './draining.js';

const looks = { available: 'good', busy: 'info', offline: 'bad' }; // status -> badge
const list = new KeyedList(byId('node-cards'), (worker) => worker.worker_id, makeCard);

/** Shows the figures of the mesh and a card for each of its nodes. */
export function renderMesh(summary, workers) {
  const alive = workers.filter((worker) => worker.status !== 'offline').length;
  tile('nodes', `${decimal(alive)} / ${decimal(summary.total_workers)}`, alive < summary.total_workers);
  tile('running', decimal(summary.total_jobs_processing));
  tile('queue', decimal(summary.queue_length));
  tile('cpu', percent(summary.average_cpu_load, 1));
  tile('done', decimal(summary.total_conversions_success));
  tile('failed', decimal(summary.total_conversions_failed), summary.total_conversions_failed > 0);
  list.render(workers);
  byId('nodes-empty').hidden = workers.length > 0;
}

function tile(name, text, alarm = false) {
  const el = byId(`tile-${name}`);
  setText(el.querySelector('dd'), text);
  el.classList.toggle('alarm', alarm);
}

function makeMeter(labelKey) {
  const name = h('span', { class: 'muted' });
  const value = h('span', { class: 'number' });
  const bar = h('progress', { max: 1 });
  return {
    el: h('div', { class: 'meter' }, name, value, bar),
    /** part is 0 to 1, or null where there is no whole to compare with. */
    show(text, part) {
      setText(name, t(labelKey));
      setText(value, text);
      bar.hidden = part === null;
      bar.setAttribute('aria-label', `${t(labelKey)}: ${text}`);
      bar.value = Number.isFinite(part) ? Math.min(1, Math.max(0, part)) : 0;
      bar.className = part > 0.92 ? 'bad' : part > 0.75 ? 'warn' : '';
    },
  };
}

function makeCard() {
  const dot = h('span', { class: 'dot' });
  const name = h('h3');
  const role = h('span', { class: 'role' });
  const status = h('span', { class: 'badge' });
  const meters = { cpu: makeMeter('admin.cpu'), memory: makeMeter('admin.memory'), tasks: makeMeter('admin.tasks'), disk: makeMeter('admin.disk'), load: makeMeter('admin.load') };
  const done = h('span', { class: 'small' });
  const when = h('span', { class: 'small muted' });
  const aside = h('p', { class: 'notice warn node-aside' });
  const copying = h('p', { class: 'notice node-copying' });
  const el = h('li', { class: 'node-card card' },
    h('header', {}, dot, name, status, role), aside, copying,
    h('div', { class: 'meters' }, ...Object.values(meters).map((meter) => meter.el)),
    h('footer', {}, done, when));
  return {
    el,
    update(worker) {
      Object.assign(el.dataset, { node: worker.worker_id, status: worker.status });
      dot.className = `dot series-${seriesOf(worker.worker_id)}`;
      setText(name, worker.worker_id);
      role.hidden = !worker.role;
      setText(role, has('nodes.role.' + worker.role) ? t('nodes.role.' + worker.role) : worker.role ?? '');
      role.classList.toggle('leader', worker.role === 'leader');
      setText(status, has('admin.status.' + worker.status) ? t('admin.status.' + worker.status) : worker.status);
      status.className = `badge ${looks[worker.status] ?? ''}`;
      showMessage(aside, isAside(worker) ? t('admin.aside', { time: time(worker.aside_until) }) : '');
      el.dataset.draining = worker.draining ?? '';
      showMessage(copying, copyingText(worker));
      showMeters(meters, worker);
      setText(done, t('admin.conversions', { done: decimal(worker.conversions_success), failed: decimal(worker.conversions_failed) }));
      setText(when, worker.updated_at ? ago(worker.updated_at) : '');
    },
  };
}

// isAside tells whether a node gets no tasks for a while, since those it had failed.
const isAside = (worker) => worker.status !== 'offline' && new Date(worker.aside_until) > Date.now();

// showMeters fills the bars; what a node does not tell is left out, and old figures of one that is gone are not shown.
function showMeters(meters, worker) {
  if (worker.status === 'offline') {
    for (const meter of Object.values(meters)) meter.show('–', null);
    return;
  }
  meters.cpu.show(percent(worker.cpu_load), worker.cpu_load ?? 0);
  const memory = worker.memory_total_mb > 0 ? worker.memory_mb / worker.memory_total_mb : null;
  meters.memory.show(memory === null ? bytes(worker.memory_mb * 1e6) : `${bytes(worker.memory_mb * 1e6)} / ${bytes(worker.memory_total_mb * 1e6)}`, memory);
  const running = worker.jobs_in_progress ?? 0;
  meters.tasks.show(worker.slots > 0 ? `${decimal(running)} / ${decimal(worker.slots)}` : decimal(running), worker.slots > 0 ? running / worker.slots : null);
  const disk = worker.disk_total_bytes > 0;
  meters.disk.el.hidden = !disk;
  const told = [has('nodes.disk.' + worker.disk) ? t('nodes.disk.' + worker.disk) : t('admin.free', { size: bytes(worker.disk_free_bytes) })];
  if (worker.damaged_chunks > 0) told.push(t('admin.damaged', { count: decimal(worker.damaged_chunks) }));
  if (disk) meters.disk.show(told.join(', '), 1 - worker.disk_free_bytes / worker.disk_total_bytes);
  meters.load.show(decimal(worker.load_score), (worker.load_score ?? 0) / 100);
}
