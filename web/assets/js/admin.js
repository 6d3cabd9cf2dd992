// The dashboard: the figures of the mesh as they change. It needs no sign-in; names of files and people are masked by the API.
//
// Ids for tests: #tile-nodes #tile-running #tile-queue #tile-cpu #tile-done #tile-failed (each with a dd),
// #node-cards [data-node][data-status], #chart-cpu #chart-memory #chart-jobs #chart-conversions, #job-rows [data-job][data-status].

import * as api from './api.js';
import { drawCharts, startCharts } from './charts.js';
import { byId, setText, showMessage } from './dom.js';
import { ago } from './format.js';
import { startFrame } from './frame.js';
import { onLanguage, t } from './i18n.js';
import { renderJobs } from './jobtable.js';
import { follow } from './live.js';
import { renderMesh } from './meshview.js';
import { startNodes } from './nodes.js';

const pollEvery = 2000;
const jobsAtLeastEvery = 10000; // ms, also while nothing seems to happen

let stats = null; // the last answer of /workers/stats
let statsAt = 0; // when it came
let known = new Map(); // worker_id -> the last that was heard of it: a node that vanishes stays, as offline
let jobs = [];
let jobsAt = 0;
let jobsSeen = ''; // the figures that the jobs were fetched for

startFrame();
startNodes();
startCharts();
onLanguage(() => { render(); renderJobs(jobs); });
setInterval(showAge, 1000);
loadStats();
begin();

function begin() {
  const live = follow(api.eventsURL('?public=1'), ['stats'], pollEvery);
  live.event.on((name, data) => take(data));
  live.resync.on(loadStats);
}

async function loadStats() {
  try {
    take(await api.workerStats());
  } catch (error) {
    showMessage(byId('stats-error'), t('admin.failed', { detail: error.message }));
    document.body.classList.toggle('stale', true);
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
    if (!present.has(id)) known.set(id, { ...worker, status: 'offline', cpu_load: 0, jobs_in_progress: 0, load_score: 0, gone: true });
  }
  render();
  drawCharts(workers());
  loadJobsIfNeeded();
}

const workers = () => [...known.values()].sort((a, b) => a.worker_id.localeCompare(b.worker_id, undefined, { numeric: true }));

// The queue is a figure of the summary where the node tells it, else what waits among the jobs that are shown.
const queueLength = () => stats.summary.queue_length ?? jobs.filter((job) => job.status === 'pending').length;

function render() {
  if (!stats) return;
  renderMesh({ ...stats.summary, queue_length: queueLength(), total_workers: Math.max(stats.summary.total_workers ?? 0, known.size) }, workers());
  showAge();
}

function showAge() {
  if (statsAt) setText(byId('updated'), t('admin.updated', { ago: ago(statsAt) }));
}

// loadJobsIfNeeded asks for the jobs when the figures say that something happens, and now and then.
async function loadJobsIfNeeded() {
  const { summary } = stats;
  const seen = [summary.total_jobs_processing, summary.total_conversions_success, summary.total_conversions_failed, summary.queue_length].join();
  if (seen === jobsSeen && !summary.total_jobs_processing && Date.now() - jobsAt < jobsAtLeastEvery) return;
  jobsSeen = seen;
  jobsAt = Date.now();
  try {
    jobs = await api.publicJobs(20);
    showMessage(byId('jobs-error'), '');
    renderJobs(jobs);
    render();
  } catch (error) {
    jobsSeen = '';
    showMessage(byId('jobs-error'), t('admin.jobsFailed', { detail: error.message }));
  }
}
