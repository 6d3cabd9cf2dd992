// Both languages of the pages. Dictionaries are flat: a key is a text; keys ending in .one and .other are for tn().

import { channel } from './channel.js';
import { remember, remembered } from './prefs.js';
import en from './i18n/en.js';
import es from './i18n/es.js';

const dictionaries = { en, es };
const changed = channel();

let language = remembered('language', '');
if (!dictionaries[language]) language = (navigator.language || '').toLowerCase().startsWith('es') ? 'es' : 'en';
let plurals = new Intl.PluralRules(language);

/** Called after each change of the language, to say everything again. */
export const onLanguage = changed.on;

export function currentLanguage() {
  return language;
}

/** The text of a key with {name} replaced by params.name. */
export function t(key, params) {
  const text = dictionaries[language][key] ?? dictionaries.en[key] ?? key;
  if (!params) return text;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in params ? String(params[name]) : whole));
}

/** Whether there is a text for this key. */
export function has(key) {
  return key in dictionaries.en;
}

/** The text for a number of things: key.one or key.other, with {n}. */
export function tn(key, n, params) {
  return t(`${key}.${plurals.select(n) === 'one' ? 'one' : 'other'}`, { n: new Intl.NumberFormat(language).format(n), ...params });
}

/** Says everything below root that the page marks with data-i18n, data-i18n-label or data-i18n-placeholder. */
export function translate(root = document) {
  for (const el of root.querySelectorAll('[data-i18n]')) el.textContent = t(el.dataset.i18n);
  for (const el of root.querySelectorAll('[data-i18n-label]')) {
    const text = t(el.dataset.i18nLabel);
    el.setAttribute('aria-label', text);
    if (el.matches('button, a')) el.title = text;
  }
  for (const el of root.querySelectorAll('[data-i18n-placeholder]')) el.placeholder = t(el.dataset.i18nPlaceholder);
}

export function setLanguage(name) {
  language = name;
  plurals = new Intl.PluralRules(language);
  remember('language', name);
  document.documentElement.lang = name;
  translate();
  changed.emit();
}
