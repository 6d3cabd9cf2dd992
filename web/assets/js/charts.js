// The charts of the dashboard: CPU, memory and tasks of every node over the last minutes, and conversions by node.
// Chart.js is loaded by the page before this module runs; without it the page does everything else.

import { byId, h, KeyedList, setText } from './dom.js';
import { decimal } from './format.js';
import { currentLanguage, onLanguage, t } from './i18n.js';

const points = 90; // kept: three minutes of an answer every two seconds
const leastGap = 1000; // ms between two points
const colours = 8; // classes series-0 to series-7 in admin.css

const places = new Map(); // worker_id -> its place in the order of first appearance, which decides its colour
const times = []; // ms, one for each point
const history = new Map(); // worker_id -> {cpu: [], memory: [], jobs: []}, null where the node was not heard
let newest = []; // workers of the last point
let charts = null; // name -> Chart

const legend = new KeyedList(byId('legend'), (id) => id, () => {
  const name = h('span');
  const dot = h('span');
  return { el: h('li', {}, dot, name), update(id) { dot.className = `dot series-${seriesOf(id)}`; setText(name, id); } };
});

/** The number of a node's colour. */
export function seriesOf(id) {
  if (!places.has(id)) places.set(id, places.size);
  return places.get(id) % colours;
}

/** Makes the empty charts. */
export function startCharts() {
  const { Chart } = globalThis;
  byId('charts').hidden = !Chart;
  byId('charts-none').hidden = Boolean(Chart);
  if (!Chart) return;
  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  Chart.defaults.animation = false;
  charts = {
    cpu: new Chart(byId('chart-cpu'), lines({ max: 100 })),
    memory: new Chart(byId('chart-memory'), lines({})),
    jobs: new Chart(byId('chart-jobs'), lines({ stepped: true, whole: true })),
    conversions: new Chart(byId('chart-conversions'), bars()),
  };
  paint();
  document.addEventListener('themechange', paint);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', paint);
  onLanguage(redraw);
}

const scales = (limits) => ({
  x: { grid: { display: false }, ticks: { maxTicksLimit: 6, maxRotation: 0 } },
  y: { beginAtZero: true, border: { display: false }, ticks: { maxTicksLimit: 5, precision: limits.whole ? 0 : undefined }, max: limits.max, suggestedMax: limits.whole ? 2 : undefined },
});

function lines(limits) {
  return {
    type: 'line',
    data: { labels: [], datasets: [] },
    options: {
      responsive: true,
      maintainAspectRatio: false,
      interaction: { mode: 'index', intersect: false },
      elements: { line: { borderWidth: 2, tension: limits.stepped ? 0 : 0.3, stepped: Boolean(limits.stepped) }, point: { radius: 0, hitRadius: 8, hoverRadius: 4 } },
      plugins: { legend: { display: false }, tooltip: { callbacks: { label: (context) => ` ${context.dataset.label}: ${decimal(context.parsed.y, 1)}` } } },
      scales: scales(limits),
    },
  };
}

function bars() {
  const config = lines({ whole: true });
  config.type = 'bar';
  Object.assign(config.options, { datasets: { bar: { borderRadius: 5, maxBarThickness: 34 } } });
  config.options.scales.x.ticks = { maxRotation: 0 };
  config.options.plugins.legend = { display: true, position: 'bottom', labels: { boxWidth: 10, boxHeight: 10, useBorderRadius: true, borderRadius: 3 } };
  return config;
}

/** Adds a point with what the nodes tell now. */
export function drawCharts(workers) {
  if (Date.now() - times.at(-1) < leastGap) return;
  times.push(Date.now());
  for (const worker of workers) {
    if (!history.has(worker.worker_id)) {
      const blank = () => Array(times.length - 1).fill(null);
      history.set(worker.worker_id, { cpu: blank(), memory: blank(), jobs: blank() });
    }
    const heard = worker.status !== 'offline';
    const past = history.get(worker.worker_id);
    past.cpu.push(heard ? worker.cpu_load * 100 : null);
    past.memory.push(heard ? worker.memory_mb : null);
    past.jobs.push(heard ? worker.jobs_in_progress : null);
  }
  if (times.length > points) {
    times.shift();
    for (const past of history.values()) for (const values of Object.values(past)) values.shift();
  }
  newest = workers;
  legend.render(workers.map((worker) => worker.worker_id));
  redraw();
}

// colourOf reads the present colour of a class: canvases do not follow custom properties by themselves.
function colourOf(name) {
  const probe = h('span', { class: name, hidden: true });
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

function paint() {
  const { Chart } = globalThis;
  Chart.defaults.color = colourOf('series-text');
  Chart.defaults.borderColor = colourOf('series-grid');
  for (const chart of Object.values(charts)) {
    for (const axis of Object.values(chart.options.scales)) {
      axis.ticks.color = Chart.defaults.color;
      axis.grid = { ...axis.grid, color: Chart.defaults.borderColor };
    }
    if (chart.options.plugins.legend.display) chart.options.plugins.legend.labels.color = Chart.defaults.color;
  }
  redraw();
}

function redraw() {
  if (!charts) return;
  const time = new Intl.DateTimeFormat(currentLanguage(), { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
  const labels = times.map((at) => time.format(at));
  for (const name of ['cpu', 'memory', 'jobs']) {
    const chart = charts[name];
    chart.data.labels = labels;
    chart.data.datasets = [...history].map(([id, past]) => {
      const colour = colourOf(`series-${seriesOf(id)}`);
      // Beyond the number of colours the lines are dashed, so that no two nodes look the same.
      return { label: id, data: past[name], borderColor: colour, backgroundColor: colour, clip: 6, borderDash: places.get(id) >= colours ? [5, 4] : [] };
    });
    chart.update('none');
  }
  const { conversions } = charts;
  conversions.data.labels = newest.map((worker) => worker.worker_id);
  conversions.data.datasets = [
    { label: t('admin.tile.done'), data: newest.map((worker) => worker.conversions_success), backgroundColor: colourOf('series-good') },
    { label: t('admin.tile.failed'), data: newest.map((worker) => worker.conversions_failed), backgroundColor: colourOf('series-bad') },
  ];
  conversions.update('none');
}
