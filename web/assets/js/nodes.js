// The badge that tells which node's API the page uses, and the dialog to go to another.
//
// Every node serves these pages, so going to another node is opening its page. Whoever wants this page with another
// node's API gets it by ?api=URL, with a sign-in of its own (see api.js).

import * as api from './api.js';
import { byId, h, icon, KeyedList, setLabel, setText, showMessage } from './dom.js';
import { copyingText, makeDrain } from './draining.js';
import { makeForget, strengthText } from './forget.js';
import { time } from './format.js';
import { has, onLanguage, t } from './i18n.js';

let here = ''; // name of the node whose API is used; '' until known
let nodes = [];
let strength = null; // what the mesh bears
let failure = '';
let looking = 0; // the timer while the dialog is open and something may go on
const lookEvery = 2000;

const looks = { alive: 'good', suspect: 'warn', dead: 'bad', left: '' }; // state -> badge
const list = new KeyedList(byId('nodes'), (node) => node.id ?? node.name, makeNode);

/** Wires the badge and finds out the node's name. */
export async function startNodes() {
  byId('api-badge').addEventListener('click', open);
  byId('nodes-form').addEventListener('submit', (event) => {
    event.preventDefault();
    go((origin) => `${origin}${location.pathname}`);
  });
  byId('nodes-use').addEventListener('click', () => go((origin) => {
    const url = new URL(location.href);
    url.hash = '';
    if (origin === location.origin) url.searchParams.delete('api');
    else url.searchParams.set('api', origin);
    return url.href;
  }));
  document.addEventListener('securitypolicyviolation', (event) => {
    if (event.effectiveDirective === 'connect-src') showBlocked();
  });
  onLanguage(label);
  label();
  try {
    here = (await api.version()).node ?? '';
  } catch {
    // The badge shows the address.
  }
  label();
}

function label() {
  const address = new URL(api.apiOrigin).host;
  byId('api-badge').querySelector('.prefix').hidden = !here;
  setText(byId('api-badge').lastElementChild, here || address);
  setLabel(byId('api-badge'), t('nodes.badgeHint', { name: here || address, address }));
  render();
}

async function open() {
  showMessage(byId('nodes-error'), '');
  byId('nodes-url').value = api.apiOrigin;
  render();
  byId('nodes-dialog').showModal();
  await load();
  clearInterval(looking);
  looking = setInterval(() => (byId('nodes-dialog').open ? load() : clearInterval(looking)), lookEvery);
}

async function load() {
  try {
    ({ nodes, strength } = await api.listNodes());
    failure = '';
  } catch (error) {
    failure = error.status === 401 ? 'nodes.signIn' : 'nodes.unknown';
  }
  render();
}

function render() {
  list.render([...nodes].sort((a, b) => String(a.name).localeCompare(String(b.name))));
  showMessage(byId('nodes-note'), failure ? t(failure) : strengthText(strength));
}

const isHere = (node) => node.self === true || (here ? node.name === here : api.originOf(node.url) === api.apiOrigin);

function makeNode() {
  const name = h('span');
  const role = h('span', { class: 'badge' });
  const state = h('span', { class: 'badge' });
  const aside = h('span', { class: 'badge warn' });
  const disk = h('span', { class: 'badge warn' });
  const url = h('span', { class: 'url' });
  const link = h('a', { class: 'button compact' });
  const mark = h('span', { class: 'badge accent' });
  const draining = h('span', { class: 'badge' });
  const copying = h('p', { class: 'small muted' });
  const drain = makeDrain(load);
  const forget = makeForget(load);
  const clock = h('span', { class: 'badge warn' });
  const el = h('li', { class: 'node-row' }, icon('node'), h('div', { class: 'grow' }, h('div', { class: 'name' }, name, role, state, aside, disk, clock, draining), url, copying, drain.el, forget.el), link, mark);
  return {
    el,
    update(node) {
      const origin = api.originOf(node.url);
      el.dataset.node = node.name;
      el.classList.toggle('here', isHere(node));
      setText(name, node.name ?? node.id);
      role.hidden = !node.role;
      setText(role, has('nodes.role.' + node.role) ? t('nodes.role.' + node.role) : node.role ?? '');
      role.className = `badge ${node.role === 'leader' ? 'accent' : ''}`;
      state.hidden = !node.state;
      state.className = `badge ${looks[node.state] ?? ''}`;
      setText(state, has('nodes.state.' + node.state) ? t('nodes.state.' + node.state) : node.state ?? '');
      aside.hidden = !(new Date(node.aside_until) > Date.now());
      setText(aside, t('nodes.aside', { time: time(node.aside_until) }));
      const trouble = [node.log === 'halted' ? 'nodes.log.halted' : 'nodes.disk.' + node.disk, 'nodes.log.' + node.log].find(has);
      disk.hidden = !trouble;
      if (trouble) setText(disk, t(trouble));
      draining.hidden = !node.draining;
      draining.className = `badge ${node.draining === 'empty' ? 'good' : 'warn'}`;
      if (node.draining) setText(draining, t('nodes.badge.' + node.draining));
      showMessage(copying, copyingText(node));
      drain.update(node);
      forget.update(node);
      clock.hidden = !node.clock_off;
      setText(clock, t('nodes.clock'));
      setText(url, origin || t('nodes.noAddress'));
      mark.hidden = !isHere(node);
      setText(mark, t('nodes.here'));
      link.hidden = isHere(node) || !origin || node.state === 'dead' || node.state === 'left';
      link.href = origin ? `${origin}${location.pathname}` : '';
      setText(link, t('nodes.open'));
      setLabel(link, t('nodes.openName', { name: node.name ?? node.id }));
    },
  };
}

function go(target) {
  const origin = api.originOf(byId('nodes-url').value);
  if (!origin) {
    byId('nodes-url').focus();
    return showMessage(byId('nodes-error'), t('nodes.error.url'));
  }
  location.assign(target(origin));
}

// showBlocked explains why calls to an address that is no node of this mesh do not leave the browser.
function showBlocked() {
  showMessage(byId('nodes-error'), t('nodes.blocked', { origin: api.apiOrigin }));
  if (!byId('nodes-dialog').open) open().then(() => showMessage(byId('nodes-error'), t('nodes.blocked', { origin: api.apiOrigin })));
}
