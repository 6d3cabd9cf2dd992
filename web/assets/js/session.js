// Who is signed in: the sign-in view with its three forms, and the end of a session.

import * as api from './api.js';
import { channel } from './channel.js';
import { byId, setLabel, setText, showMessage } from './dom.js';
import { busy, toast } from './frame.js';
import { onLanguage, t } from './i18n.js';

/** Somebody signed in, at the start or again after the session ended; called with {username, role}. */
export const signedIn = channel();
/** The session is over; what was on the page is kept for the same person. */
export const signedOut = channel();

let user = null; // who is or last was signed in
let noticeKey = ''; // what the sign-in view says above its forms

export function currentUser() {
  return user;
}

/** Wires the forms and finds out who is signed in. Ends when one of the two views is shown. */
export async function startSession() {
  wireTabs();
  wireReveal();
  wireForm('login', false, (name, pass) => api.logIn(name, pass));
  wireForm('signup', true, (name, pass) => api.signUp(name, pass));
  wireForm('setup', true, (name, pass) => api.setUp(setupToken(), name, pass));
  byId('setup-cancel').addEventListener('click', () => { dropSetupToken(); start(); });
  byId('logout').addEventListener('click', () => busy(byId('logout'), leave));
  api.unauthorized.on(expired);
  onLanguage(showNotice);
  await start();
}

async function start() {
  if (setupToken()) return showAuth('setup');
  try {
    enter(await api.me());
  } catch (error) {
    if (error.status === 401) return showWaysIn();
    showAuth('account');
    showMessage(byId('login-error'), error.message);
    if (error.status === 503) setTimeout(start, 1000); // the node has only just started
  }
}

// showWaysIn shows only the ways in that the node has: sign-up may be closed, the first administrator missing. It asks before
// the forms are shown, which would move under the pointer otherwise.
async function showWaysIn() {
  const about = await api.version().catch(() => ({})); // whoever tries is told by the answer
  byId('tab-signup').hidden = about.signup_open === false;
  showAuth('account');
  if (about.setup_needed) say('setup.needed');
}

const setupToken = () => new URLSearchParams(location.hash.slice(1)).get('setup') ?? '';
const dropSetupToken = () => history.replaceState(null, '', location.pathname + location.search);

function enter(who) {
  // Another person's view must not show through: begin anew.
  if (user && user.username !== who.username) return location.reload();
  user = who;
  setText(byId('session-user'), who.username);
  byId('session').hidden = false;
  byId('auth-view').hidden = true;
  byId('app-view').hidden = false;
  for (const field of document.querySelectorAll('#auth-view input')) field.value = '';
  signedIn.emit(who);
}

function expired() {
  if (!user || byId('app-view').hidden) return;
  api.keepToken('');
  for (const dialog of document.querySelectorAll('dialog[open]')) dialog.close();
  showAuth('account');
  selectTab('login');
  say('auth.expired');
  byId('login-user').value = user.username;
  byId('login-pass').focus();
  signedOut.emit();
}

async function leave() {
  try {
    await api.logOut();
  } catch (error) {
    if (error.status !== 401) return toast(error.message, 'bad');
  }
  api.keepToken('');
  location.reload();
}

function showAuth(which) {
  byId('session').hidden = true;
  byId('app-view').hidden = true;
  byId('auth-view').hidden = false;
  for (const kind of ['login', 'signup', 'setup']) showMessage(byId(`${kind}-error`), '');
  byId('setup-form').hidden = which !== 'setup';
  byId('auth-account').hidden = which === 'setup';
  say(api.remoteAPI && which !== 'setup' ? 'auth.remote' : '');
  byId(which === 'setup' ? 'setup-user' : 'login-user').focus({ preventScroll: true });
}

function say(key) {
  noticeKey = key;
  showNotice();
}

function showNotice() {
  const notice = byId('auth-notice');
  notice.hidden = !noticeKey;
  if (noticeKey) setText(notice.querySelector('span'), t(noticeKey, { origin: api.apiOrigin }));
  for (const button of document.querySelectorAll('[data-reveal]')) {
    setLabel(button, t(byId(button.dataset.reveal).type === 'password' ? 'auth.reveal' : 'auth.conceal'));
  }
}

const tabs = ['login', 'signup'];

function selectTab(name) {
  for (const tab of tabs) {
    const button = byId(`tab-${tab}`);
    button.setAttribute('aria-selected', String(tab === name));
    button.tabIndex = tab === name ? 0 : -1;
    byId(`${tab}-panel`).hidden = tab !== name;
  }
}

function wireTabs() {
  for (const tab of tabs) {
    byId(`tab-${tab}`).addEventListener('click', () => selectTab(tab));
    byId(`tab-${tab}`).addEventListener('keydown', (event) => {
      if (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight') return;
      const other = tabs.find((name) => name !== tab);
      selectTab(other);
      byId(`tab-${other}`).focus();
    });
  }
}

function wireReveal() {
  for (const button of document.querySelectorAll('[data-reveal]')) {
    button.addEventListener('click', () => {
      const input = byId(button.dataset.reveal);
      input.type = input.type === 'password' ? 'text' : 'password';
      showNotice();
    });
  }
}

// wireForm sends one of the forms. A new account is checked here first, by the rules that the API has too, so that the
// mistake is named beside its field.
function wireForm(kind, isNew, send) {
  const form = byId(`${kind}-form`);
  const name = byId(`${kind}-user`);
  const pass = byId(`${kind}-pass`);
  const problem = (text, field) => {
    showMessage(byId(`${kind}-error`), text);
    for (const input of [name, pass]) input.setAttribute('aria-invalid', String(input === field));
    field?.focus();
  };
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const username = name.value.trim();
    if (!username) return problem(t('auth.error.noUser'), name);
    if (isNew && !/^[a-zA-Z0-9_.-]{3,32}$/.test(username)) return problem(t('auth.error.user'), name);
    if (!pass.value) return problem(t('auth.error.noPass'), pass);
    if (isNew && pass.value.length < 8) return problem(t('auth.error.pass'), pass);
    problem('');
    return busy(byId(`${kind}-submit`), async () => {
      try {
        const answer = await send(username, pass.value);
        api.keepToken(answer?.access_token);
        const who = await identify(username, pass.value, isNew);
        if (kind === 'setup') dropSetupToken();
        enter(who);
      } catch (error) {
        problem(error.message);
        pass.focus();
      }
    });
  });
}

// identify asks who is signed in now. An account may have been made without opening a session: then it is opened.
async function identify(username, password, isNew) {
  try {
    return await api.me();
  } catch (error) {
    if (error.status !== 401 || !isNew) throw error;
  }
  const answer = await api.logIn(username, password);
  api.keepToken(answer?.access_token);
  return api.me();
}
