// The controls for the options of a format, made from what the API tells of each: a new option needs nothing here but, for a
// nicer name, texts.

import { h, paintRange, setText } from './dom.js';
import { has, t } from './i18n.js';

const steps = { int: '1', integer: '1', number: '0.1' }; // type of an option -> step of its slider
const soundRates = ['64k', '96k', '128k', '160k', '192k', '256k', '320k'];
const pictureRates = ['500k', '1000k', '2000k', '4000k', '6000k', '8000k', '12000k', '20000k'];

/** What people call an option. */
export const optionName = (name) => (has('option.' + name) ? t('option.' + name) : name);

/** A value of an option as people read it. */
export function valueText(name, value, type = '') {
  const key = 'option.value.' + `${name}.${value}`;
  if (has(key)) return t(key);
  return type === 'bitrate' || /bitrate$/.test(name) ? `${String(value).replace(/k$/i, '')} kbit/s` : String(value);
}

/**
 * Makes the control of one option. usual, where it is given, is what a purpose says in the place of the format's default.
 * read() gives the chosen value, or undefined where that is the default; '' takes back what the purpose says.
 */
export function makeField(option, usual) {
  const id = `convert-option-${option.name}`;
  const fallback = String(usual ?? option.default ?? '');
  const make = (steps[option.type] && option.default && option.max !== undefined && makeSlider)
    || ((option.type === 'choice' || option.type === 'bitrate' || option.values?.length) && makeSelect) || makeInput;
  const { control, input, read } = make(option, id, fallback);
  const hintKey = 'option.hint.' + option.name;
  const hint = has(hintKey) ? h('span', { class: 'hint', id: `${id}-hint`, text: t(hintKey) }) : null;
  if (hint) input.setAttribute('aria-describedby', hint.id);
  return { option, read, input, el: h('div', { class: 'field' }, h('label', { htmlFor: id, text: optionName(option.name) }), control, hint) };
}

function makeSelect(option, id, fallback) {
  let values = (option.values ?? []).map(String);
  if (option.type === 'bitrate' && !values.length) values = (option.max > 1e6 ? pictureRates : soundRates).filter((rate) => within(rate, option));
  if (fallback && !values.includes(fallback)) values = [fallback, ...values];
  if (!option.default) values = ['', ...values]; // what is not done by default can be left undone
  const name = (value) => {
    if (value === '') return t('convert.unset');
    const text = valueText(option.name, value, option.type);
    return value === fallback ? t('convert.default', { value: text }) : text;
  };
  const select = h('select', { class: 'select', id, name: option.name }, ...values.map((value) => h('option', { value, text: name(value) })));
  select.value = fallback;
  return { control: select, input: select, read: () => (select.value === fallback ? undefined : select.value) };
}

// within tells whether a bitrate lies in what the format takes; limits may be numbers of bit/s or texts like "32k".
function within(rate, { min, max }) {
  const bits = (value) => (typeof value === 'number' ? value : Number.parseInt(value, 10) * (/k$/i.test(value) ? 1000 : 1));
  return (min === undefined || bits(rate) >= bits(min)) && (max === undefined || bits(rate) <= bits(max));
}

function makeSlider(option, id, fallback) {
  const usual = Number(fallback);
  const output = h('output', { class: 'number', htmlFor: id });
  const input = h('input', { type: 'range', id, name: option.name, min: String(option.min ?? 0), max: String(option.max), step: steps[option.type] });
  input.value = String(usual);
  const show = () => {
    paintRange(input);
    setText(output, Number(input.value) === usual ? t('convert.default', { value: input.value }) : input.value);
  };
  input.addEventListener('input', show);
  show();
  return { control: h('div', { class: 'slider' }, input, output), input, read: () => (Number(input.value) === usual ? undefined : Number(input.value)) };
}

// makeInput is for what is written: numbers without a default, times, and whatever this page does not know.
function makeInput(option, id, fallback) {
  const number = option.type in steps || option.type === 'size';
  const input = h('input', { class: 'input', id, name: option.name, autocomplete: 'off', inputMode: number ? 'decimal' : 'text', placeholder: option.type === 'time' ? '0:00:00' : t('convert.unset') });
  if (number) Object.assign(input, { type: 'number', step: option.type === 'number' || option.type === 'size' ? 'any' : '1', min: option.min ?? '', max: option.max ?? '' });
  input.value = fallback;
  const unit = option.type === 'size' || option.name === 'size_mb' ? 'MB' : option.name === 'loudness' ? 'LUFS' : '';
  const control = unit ? h('div', { class: 'with-unit' }, input, h('span', { class: 'muted', text: unit })) : input;
  return { control, input, read: () => (input.value.trim() === fallback ? undefined : input.value.trim()) };
}
