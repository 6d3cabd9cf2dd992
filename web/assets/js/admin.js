// The dashboard: the figures of the mesh as they change. It needs no sign-in; names of files and people are masked by the API.
//
// Ids for tests: #tile-nodes #tile-running #tile-queue #tile-cpu #tile-done #tile-failed (each with a dd),
// #node-cards [data-node][data-status], #chart-cpu #chart-memory #chart-jobs #chart-conversions, #job-rows [data-job][data-status].

import * as api from './api.js';
import { drawCharts, startCharts } from './charts.js';
import { byId, setText, showMessage } from './dom.js';
import { strengthText } from './forget.js';
import { ago } from './format.js';
import { startFrame } from './frame.js';
import { onLanguage, t } from './i18n.js';
import { renderJobs } from './jobtable.js';
import { follow } from './live.js';
import { renderMesh } from './meshview.js';
import { startNodes } from './nodes.js';
import { startQuorum } from './quorum.js';

const pollEvery = 2000;
const shownJobs = 20;

let stats = null; // the last answer of /workers/stats
let statsAt = 0; // when it came
const known = new Map(); // worker_id -> the last that was heard of it: a node that vanishes stays, as offline
let jobs = [];

startFrame();
startNodes();
startQuorum();
startCharts();
onLanguage(() => { render(); renderJobs(jobs); });
setInterval(showAge, 1000);
begin();

function begin() {
  const live = follow(api.eventsURL('?public=1'), ['stats', 'job', 'mesh'], pollEvery);
  live.event.on((name, data) => {
    if (name === 'stats') take(data);
    if (name === 'job') takeJob(data);
    if (name === 'mesh') api.noQuorum.emit(Boolean(data.stale));
  });
  live.resync.on(load);
  load();
}

function load() {
  loadStats();
  loadJobs();
}

async function loadStats() {
  try {
    take(await api.workerStats());
  } catch (error) {
    showMessage(byId('stats-error'), t('admin.failed', { detail: error.message }));
  }
}

function take(answer) {
  if (!answer?.summary) return;
  stats = answer;
  statsAt = Date.now();
  showMessage(byId('stats-error'), '');
  for (const worker of answer.workers ?? []) known.set(worker.worker_id, worker);
  const present = new Set((answer.workers ?? []).map((worker) => worker.worker_id));
  for (const [id, worker] of known) {
    if (present.has(id)) continue;
    if (answer.strength) known.delete(id); // dead nodes are told of, too: it was forgotten
    else known.set(id, { ...worker, status: 'offline', cpu_load: 0, jobs_in_progress: 0, load_score: 0, disk: '', repair: null });
  }
  render();
  drawCharts(workers());
}

const workers = () => [...known.values()].sort((a, b) => a.worker_id.localeCompare(b.worker_id, undefined, { numeric: true }));

// The queue is a figure of the summary where the node tells it, else what waits among the jobs that are shown.
const queueLength = () => stats.summary.queue_length ?? jobs.filter((job) => job.status === 'pending').length;

function render() {
  if (!stats) return;
  renderMesh({ ...stats.summary, queue_length: queueLength(), total_workers: Math.max(stats.summary.total_workers ?? 0, known.size) }, workers());
  byId('mesh-strength').classList.toggle('warn', (stats.strength?.survives ?? 1) < 1);
  byId('mesh-strength').classList.toggle('good', stats.strength?.survives > 0);
  showMessage(byId('mesh-strength'), strengthText(stats.strength));
  showAge();
}

function showAge() {
  if (statsAt) setText(byId('updated'), t('admin.updated', { ago: ago(statsAt) }));
}

async function loadJobs() {
  try {
    jobs = await api.publicJobs(shownJobs);
    showMessage(byId('jobs-error'), '');
    renderJobs(jobs);
    render();
  } catch (error) {
    showMessage(byId('jobs-error'), t('admin.jobsFailed', { detail: error.message }));
  }
}

// takeJob puts what an event tells about a job in its place.
function takeJob(job) {
  if (!job?.job_id) return;
  const others = jobs.filter((other) => other.job_id !== job.job_id);
  jobs = [job, ...others].sort((a, b) => String(b.created_at).localeCompare(String(a.created_at))).slice(0, shownJobs);
  renderJobs(jobs);
  render();
}
