// The dialog that asks into which format, and with which options, an item is converted. Formats and options are those that
// the API names, so a new one needs nothing here but, for a nicer name, a text.

import * as api from './api.js';
import { channel } from './channel.js';
import { byId, h, paintRange, setText, showMessage } from './dom.js';
import { busy, toast } from './frame.js';
import { has, onLanguage, t } from './i18n.js';
import { extension } from './media.js';
import { remember, remembered } from './prefs.js';

/** A conversion was accepted; called with the answer. */
export const converted = channel();

const sliderSteps = { int: '1', integer: '1', number: '0.1' }; // type of an option -> step of its slider
const usualRates = ['64k', '96k', '128k', '160k', '192k', '256k', '320k'];

let known = null; // formats of the API, once they were fetched
let item = null;
let fields = []; // of the chosen format: {option, read()}

export function startConvert() {
  byId('convert-format').addEventListener('change', () => { remember('format', byId('convert-format').value); showOptions(); });
  byId('convert-form').addEventListener('submit', (event) => {
    event.preventDefault();
    busy(byId('convert-submit'), submit);
  });
  onLanguage(() => { if (byId('convert-dialog').open) showFormats(); });
}

/** Opens the dialog for an item. */
export async function openConvert(next) {
  item = next;
  setText(byId('convert-name'), item.name);
  showMessage(byId('convert-error'), '');
  byId('convert-dialog').showModal();
  byId('convert-submit').disabled = true;
  try {
    if (!known) {
      const answer = await api.formats();
      known = answer.formats ?? answer;
    }
    showFormats();
    byId('convert-submit').disabled = false;
    byId('convert-format').focus();
  } catch (error) {
    showMessage(byId('convert-error'), error.message);
  }
}

// showFormats fills the list. A song has no picture, so it is offered audio formats alone.
function showFormats() {
  const select = byId('convert-format');
  const before = select.value || remembered('format', '');
  const groups = ['audio', 'video'].filter((kind) => kind === 'audio' || item.kind !== 'audio');
  const offered = [];
  select.replaceChildren(...groups.map((kind) => {
    const formats = known.filter((format) => format.kind === kind);
    offered.push(...formats.map((format) => format.name));
    return h('optgroup', { label: t('library.' + kind) }, ...formats.map((format) => h('option', { value: format.name, text: formatText(format.name) })));
  }));
  const first = item.kind === 'video' ? 'mp4' : 'mp3';
  select.value = offered.includes(before) ? before : offered.includes(first) ? first : offered[0];
  showOptions();
}

function formatText(name) {
  const key = 'format.' + name;
  return has(key) ? `${name.toUpperCase()} – ${t(key)}` : name.toUpperCase();
}

const chosen = () => known.find((format) => format.name === byId('convert-format').value);

function showOptions() {
  const format = chosen();
  const options = format.options ?? [];
  fields = options.map(makeField);
  byId('convert-fields').replaceChildren(...fields.map((field) => field.el));
  byId('convert-options').hidden = options.length === 0;
  setText(byId('convert-hint'), options.length ? '' : t('convert.noOptions'));
  byId('convert-hint').hidden = options.length > 0;
  const dot = item.name.lastIndexOf('.');
  const stem = dot > 0 ? item.name.slice(0, dot) : item.name;
  const key = item.kind === 'video' && format.kind === 'audio' ? 'convert.outputSound' : 'convert.output';
  setText(byId('convert-output'), t(key, { name: `${stem}_converted.${format.name}`, from: extension(item.name).toUpperCase() }));
}

/** Makes the control of one option; read() gives its value, or undefined while it is the default. */
function makeField(option) {
  const id = `convert-option-${option.name}`;
  const nameKey = 'option.' + option.name;
  const hintKey = 'option.hint.' + option.name;
  const label = h('label', { htmlFor: id, text: has(nameKey) ? t(nameKey) : option.name });
  const hint = has(hintKey) ? h('span', { class: 'hint', text: t(hintKey) }) : null;
  const { control, read } = option.type in sliderSteps ? makeSlider(option, id) : makeSelect(option, id);
  return { option, read, el: h('div', { class: 'field' }, label, control, hint) };
}

function makeSelect(option, id) {
  const fallback = option.default === undefined || option.default === null ? '' : String(option.default);
  let values = (option.values ?? []).map(String);
  if (option.type === 'bitrate' && !values.length) values = usualRates.filter((rate) => within(rate, option));
  if (fallback && !values.includes(fallback)) values = [fallback, ...values];
  const name = (value) => {
    const text = option.type === 'bitrate' ? `${value.replace(/k$/i, '')} kbit/s` : value;
    return value === fallback ? t('convert.default', { value: text }) : text;
  };
  const select = h('select', { class: 'select', id, name: option.name }, ...values.map((value) => h('option', { value, text: name(value) })));
  select.value = fallback;
  return { control: select, read: () => (select.value === fallback ? undefined : select.value) };
}

// within tells whether a bitrate lies in what the format takes; limits may be numbers of bit/s or texts like "32k".
function within(rate, { min, max }) {
  const bits = (value) => (typeof value === 'number' ? value : Number.parseInt(value, 10) * (/k$/i.test(value) ? 1000 : 1));
  return (min === undefined || bits(rate) >= bits(min)) && (max === undefined || bits(rate) <= bits(max));
}

function makeSlider(option, id) {
  const fallback = Number(option.default ?? 0);
  const output = h('output', { class: 'number', htmlFor: id });
  const input = h('input', { type: 'range', id, name: option.name, min: String(option.min ?? 0), max: String(option.max ?? 100), step: sliderSteps[option.type] });
  input.value = String(fallback);
  const show = () => {
    paintRange(input);
    setText(output, Number(input.value) === fallback ? t('convert.default', { value: input.value }) : input.value);
  };
  input.addEventListener('input', show);
  show();
  return {
    control: h('div', { class: 'slider' }, input, output),
    read: () => (Number(input.value) === fallback ? undefined : Number(input.value)),
  };
}

async function submit() {
  showMessage(byId('convert-error'), '');
  const options = {};
  for (const { option, read } of fields) {
    const value = read();
    if (value !== undefined) options[option.name] = value;
  }
  const format = chosen();
  try {
    const answer = await api.convert(item.name, format.name, options);
    byId('convert-dialog').close();
    toast(t(answer.assigned_worker ? 'convert.acceptedOn' : 'convert.accepted', { name: item.name, format: format.name.toUpperCase(), node: answer.assigned_worker }), 'good');
    converted.emit(answer);
  } catch (error) {
    showMessage(byId('convert-error'), error.message);
  }
}
