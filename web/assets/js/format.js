// Numbers as people read them, in the language of the page.

import { currentLanguage } from './i18n.js';

const units = ['B', 'KB', 'MB', 'GB', 'TB', 'PB'];

/** 1536 -> "1.5 KB" (powers of 1000, as the API's limits are told). */
export function bytes(n) {
  if (!Number.isFinite(n)) return '–';
  let unit = 0;
  let value = n;
  while (Math.abs(value) >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${decimal(value, unit > 0 && Math.abs(value) < 100 ? 1 : 0)} ${units[unit]}`;
}

export function decimal(n, digits = 0) {
  if (!Number.isFinite(n)) return '–';
  return new Intl.NumberFormat(currentLanguage(), { maximumFractionDigits: digits }).format(n);
}

/** 0.423 -> "42 %" */
export function percent(part, digits = 0) {
  if (!Number.isFinite(part)) return '–';
  return new Intl.NumberFormat(currentLanguage(), { style: 'percent', maximumFractionDigits: digits }).format(part);
}

/** Seconds on a clock: 75 -> "1:15". */
export function clock(seconds) {
  if (!Number.isFinite(seconds) || seconds < 0) return '–';
  const whole = Math.floor(seconds);
  const h = Math.floor(whole / 3600);
  const m = Math.floor((whole % 3600) / 60);
  const s = String(whole % 60).padStart(2, '0');
  return h ? `${h}:${String(m).padStart(2, '0')}:${s}` : `${m}:${s}`;
}

/** A span of time in words: 4.2 -> "4.2 s", 75 -> "1 min 15 s". */
export function span(seconds) {
  if (!Number.isFinite(seconds)) return '–';
  if (seconds < 10) return `${decimal(seconds, 1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A day; of today, the time. */
export function date(value) {
  const when = new Date(value);
  if (Number.isNaN(when.getTime())) return '–';
  const now = new Date();
  if (when.toDateString() === now.toDateString()) {
    return new Intl.DateTimeFormat(currentLanguage(), { hour: 'numeric', minute: '2-digit' }).format(when);
  }
  const year = when.getFullYear() === now.getFullYear() ? undefined : 'numeric';
  return new Intl.DateTimeFormat(currentLanguage(), { day: 'numeric', month: 'short', year }).format(when);
}

/** A time of day, to the second; '' where it is none. */
export function time(value) {
  const when = new Date(value);
  return Number.isNaN(when.getTime()) ? '' : new Intl.DateTimeFormat(currentLanguage(), { timeStyle: 'medium' }).format(when);
}

export function dateTime(value) {
  const when = new Date(value);
  if (Number.isNaN(when.getTime())) return '–';
  return new Intl.DateTimeFormat(currentLanguage(), { dateStyle: 'medium', timeStyle: 'short' }).format(when);
}

/** How long ago: "3 seconds ago". Times before 1970 mean never. */
export function ago(value) {
  const when = new Date(value);
  if (!(when.getTime() > 0)) return '–';
  const seconds = Math.min(0, Math.round((when.getTime() - Date.now()) / 1000));
  const format = new Intl.RelativeTimeFormat(currentLanguage(), { numeric: 'auto' });
  if (seconds > -60) return format.format(seconds, 'second');
  if (seconds > -3600) return format.format(Math.round(seconds / 60), 'minute');
  if (seconds > -86400) return format.format(Math.round(seconds / 3600), 'hour');
  return format.format(Math.round(seconds / 86400), 'day');
}
