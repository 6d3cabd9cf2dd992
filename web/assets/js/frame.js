// What both pages have around their content: theme, language, toasts, dialogs, the state of the live link.

import { byId, h, icon, iconButton, setIcon, setLabel, setText } from './dom.js';
import { currentLanguage, onLanguage, setLanguage, t } from './i18n.js';
import { remember, remembered } from './prefs.js';

const themes = { auto: 'auto', light: 'sun', dark: 'moon' }; // theme -> its icon

/** Wires theme and language buttons and every dialog of the page. */
export function startFrame() {
  const themeButton = byId('theme-toggle');
  const langButton = byId('lang-toggle');
  const label = () => {
    const theme = remembered('theme', 'auto');
    setIcon(themeButton, themes[theme] ?? 'auto');
    setLabel(themeButton, t('theme.' + (themes[theme] ? theme : 'auto')));
    const other = currentLanguage() === 'es' ? 'en' : 'es';
    setText(langButton, other.toUpperCase());
    setLabel(langButton, t('language.switch'));
  };
  themeButton.addEventListener('click', () => {
    const order = Object.keys(themes);
    const theme = order[(order.indexOf(remembered('theme', 'auto')) + 1) % order.length];
    remember('theme', theme);
    if (theme === 'auto') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    label();
    document.dispatchEvent(new Event('themechange'));
  });
  langButton.addEventListener('click', () => setLanguage(currentLanguage() === 'es' ? 'en' : 'es'));
  onLanguage(label);
  setLanguage(currentLanguage());
  for (const dialog of document.querySelectorAll('dialog')) wireDialog(dialog);
}

// wireDialog closes a dialog by its buttons and by a click beside it. A press that began inside and ends outside,
// as when text is selected, does not close it.
function wireDialog(dialog) {
  let pressedOutside = false;
  dialog.addEventListener('pointerdown', (event) => { pressedOutside = event.target === dialog; });
  dialog.addEventListener('click', (event) => {
    if (event.target.closest('[data-close]') || (pressedOutside && event.target === dialog)) dialog.close();
  });
}

/**
 * Says something in passing. kind: '', 'good' or 'bad'. action, {label, run}, offers a button. Bad news and offers stay
 * longer, and nothing goes while a pointer or the focus is on it.
 */
export function toast(text, kind = '', action = null) {
  const close = iconButton('close', 'dismiss');
  setLabel(close, t('dialog.close'));
  const names = { good: 'check', bad: 'alert' };
  const el = h('div', { class: `toast ${kind}` }, icon(names[kind] ?? 'info'), h('p', { text }), action && h('button', {
    class: 'button compact', type: 'button', text: action.label, data: { action: 'toast' }, on: { click: () => { el.remove(); action.run(); } },
  }), close);
  close.addEventListener('click', () => el.remove());
  const toasts = byId('toasts');
  for (const old of [...toasts.children]) if (old.querySelector('p').textContent === text) old.remove();
  while (toasts.children.length > 3) toasts.firstElementChild.remove();
  toasts.append(el);
  const leave = () => (el.matches(':hover, :focus-within') ? setTimeout(leave, 1000) : el.remove());
  setTimeout(leave, kind === 'bad' || action ? 9000 : 5000);
}

/** Shows how fresh the page is: live, reconnecting or polling; '' hides it. */
export function showLive(state) {
  const el = byId('live');
  el.hidden = !state;
  if (!state) return;
  el.dataset.state = state;
  setText(el.firstElementChild, t('live.' + state));
  el.title = t('live.hint.' + state);
}

/** Runs an action of a button: the button is busy and cannot be pressed twice. */
export async function busy(button, action) {
  if (button.getAttribute('aria-busy') === 'true') return;
  button.setAttribute('aria-busy', 'true');
  button.disabled = true;
  try {
    await action();
  } finally {
    button.removeAttribute('aria-busy');
    button.disabled = false;
  }
}
