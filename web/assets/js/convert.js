// The dialog that asks for what, into which format, and with which options, items are converted. Purposes, formats and options
// are those that the API names.

import * as api from './api.js';
import { channel } from './channel.js';
import { byId, h, setText, showMessage } from './dom.js';
import { busy, toast } from './frame.js';
import { has, onLanguage, t, tn } from './i18n.js';
import { extension } from './media.js';
import { makeField, optionName, valueText } from './options.js';
import { remember, remembered } from './prefs.js';
import { showPriorities } from './priority.js';

/** Conversions were accepted. */
export const converted = channel();

const most = 500; // files that one call takes

let known = null; // formats of the API, once they were fetched
let purposes = [];
let items = []; // to be converted
let purpose = null; // the chosen one; null: the person's own choice
let fields = []; // of the chosen format: {option, input, read()}

export function startConvert() {
  byId('convert-format').addEventListener('change', () => {
    remember('format', byId('convert-format').value);
    if (purpose && purpose.format !== byId('convert-format').value) choosePurpose(null);
    showOptions();
  });
  byId('convert-purposes').addEventListener('change', (event) => choosePurpose(purposes.find((p) => p.name === event.target.value) ?? null));
  byId('convert-form').addEventListener('submit', (event) => {
    event.preventDefault();
    busy(byId('convert-submit'), submit);
  });
  onLanguage(() => { if (byId('convert-dialog').open && known) showAll(); });
}

/** Opens the dialog for some items. */
export async function openConvert(next) {
  items = next;
  purpose = null;
  showItems();
  showMessage(byId('convert-error'), '');
  byId('convert-refused').replaceChildren();
  byId('convert-dialog').showModal();
  byId('convert-submit').disabled = true;
  try {
    if (!known) {
      const answer = await api.formats();
      purposes = answer.purposes ?? [];
      known = answer.formats ?? answer;
    }
    showPriorities(byId('convert-priority'), 'normal');
    byId('convert-priority').value = 'normal';
    showAll();
    byId('convert-submit').disabled = false;
    (byId('convert-purposes').querySelector('input:checked') ?? byId('convert-format')).focus();
  } catch (error) {
    showMessage(byId('convert-error'), error.message);
  }
}

const single = () => items.length === 1;
const someVideo = () => items.some((item) => item.kind !== 'audio');

function showItems() {
  setText(byId('convert-name'), single() ? items[0].name : tn('convert.items', items.length));
}

function showAll() {
  showItems();
  showPriorities(byId('convert-priority'), byId('convert-priority').value || 'normal');
  showPurposes();
  showFormats();
}

// showPurposes offers what the items can be for: a song has no picture.
function showPurposes() {
  const offered = purposes.filter((p) => p.kind === 'audio' || someVideo());
  const box = byId('convert-purposes');
  box.hidden = offered.length === 0;
  const choice = (value, text) => h('label', { class: 'choice' },
    h('input', { type: 'radio', name: 'purpose', value, checked: value === (purpose?.name ?? '') }), h('span', { text }));
  byId('convert-purpose-list').replaceChildren(choice('', t('convert.own')), ...offered.map((p) => choice(p.name, purposeText(p))));
  showPurposeHint();
}

const purposeText = (p) => (has('purpose.' + p.name) ? t('purpose.' + p.name) : p.text || p.name);

function showPurposeHint() {
  const said = purpose ? [purpose.format.toUpperCase(), ...Object.entries(purpose.options ?? {}).map(([name, value]) => `${optionName(name)}: ${valueText(name, value)}`)] : [];
  showMessage(byId('convert-purpose-hint'), said.join(' · '));
}

function choosePurpose(next) {
  purpose = next;
  for (const input of byId('convert-purpose-list').querySelectorAll('input')) input.checked = input.value === (purpose?.name ?? '');
  showPurposeHint();
  if (purpose) byId('convert-format').value = purpose.format;
  showOptions();
}

function showFormats() {
  const select = byId('convert-format');
  const before = purpose?.format || select.value || remembered('format', '');
  const groups = ['audio', 'video'].filter((kind) => kind === 'audio' || someVideo());
  const offered = [];
  select.replaceChildren(...groups.map((kind) => {
    const formats = known.filter((format) => format.kind === kind);
    offered.push(...formats.map((format) => format.name));
    return h('optgroup', { label: t('library.' + kind) }, ...formats.map((format) => h('option', { value: format.name, text: formatText(format.name) })));
  }));
  const first = someVideo() ? 'mp4' : 'mp3';
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
  if (!format) return;
  const usual = purpose?.format === format.name ? purpose.options ?? {} : {};
  fields = (format.options ?? []).map((option) => makeField(option, usual[option.name]));
  byId('convert-fields').replaceChildren(...fields.map((field) => field.el));
  setText(byId('convert-hint'), fields.length ? '' : t('convert.noOptions'));
  byId('convert-hint').hidden = fields.length > 0;
  showOutput(format);
}

// showOutput tells where the result will be.
function showOutput(format) {
  const soundOnly = format.kind === 'audio' && items.some((item) => item.kind === 'video');
  if (!single()) return setText(byId('convert-output'), t(soundOnly ? 'convert.outputsSound' : 'convert.outputs', { format: format.name }));
  const [item] = items;
  const dot = item.name.lastIndexOf('.');
  const stem = dot > 0 ? item.name.slice(0, dot) : item.name;
  setText(byId('convert-output'), t(soundOnly ? 'convert.outputSound' : 'convert.output', { name: `${stem}_converted.${format.name}`, from: extension(item.name).toUpperCase() }));
}

function request() {
  const options = {};
  for (const { option, read } of fields) {
    const value = read();
    if (value !== undefined) options[option.name] = value;
  }
  const ask = { output_format: chosen().name, options };
  if (purpose) ask.purpose = purpose.name;
  if (byId('convert-priority').value !== 'normal') ask.priority = byId('convert-priority').value;
  return ask;
}

async function submit() {
  showMessage(byId('convert-error'), '');
  byId('convert-refused').replaceChildren();
  const ask = request();
  try {
    if (single()) await convertOne(ask);
    else await convertAll(ask);
  } catch (error) {
    showMessage(byId('convert-error'), error.message);
    markField(error.body?.field);
  }
  byId('convert-error').scrollIntoView({ block: 'nearest' });
}

// markField leads to the option that was refused.
function markField(name) {
  for (const { option, input } of fields) {
    const wrong = name === `options.${option.name}`;
    input.toggleAttribute('aria-invalid', false);
    if (!wrong) continue;
    input.setAttribute('aria-invalid', 'true');
    byId('convert-options').open = true;
    input.focus();
  }
}

async function convertOne(ask) {
  const [item] = items;
  const answer = await api.convert({ input_file: item.id ?? item.name, ...ask });
  byId('convert-dialog').close();
  toast(t(answer.assigned_worker ? 'convert.acceptedOn' : 'convert.accepted', { name: item.name, format: ask.output_format.toUpperCase(), node: answer.assigned_worker }), 'good');
  converted.emit();
}

// convertAll asks for all items. Those that were refused stay in the dialog with the reason, to be tried another way.
async function convertAll(ask) {
  const refused = [];
  let accepted = 0;
  let wrong = null;
  for (let from = 0; from < items.length; from += most) {
    const part = items.slice(from, from + most);
    try {
      const { jobs } = await api.convert({ input_files: part.map((item) => item.id ?? item.name), ...ask });
      jobs.forEach((job, i) => (job.error ? refused.push({ item: part[i], why: job.error }) : accepted++));
    } catch (error) {
      wrong = error;
      refused.push(...part.map((item) => ({ item, why: error.message })));
    }
  }
  if (accepted) {
    toast(tn('convert.acceptedAll', accepted, { format: ask.output_format.toUpperCase() }), 'good');
    converted.emit();
  }
  if (!refused.length) return byId('convert-dialog').close();
  items = refused.map(({ item }) => item);
  showItems();
  if (!accepted && wrong) throw wrong;
  showMessage(byId('convert-error'), tn('convert.refused', refused.length));
  byId('convert-refused').replaceChildren(...refused.map(({ item, why }) => h('li', {}, h('strong', { text: item.name }), ` ${why}`)));
}
