// Emptying a node, for administrators, and what a node has still to copy.
//
// Ids for tests: [data-action=drain|drain-confirm|drain-cancel|undrain] in a row of the nodes.

import * as api from './api.js';
import { h, setLabel, setText, showMessage } from './dom.js';
import { bytes, decimal, span } from './format.js';
import { busy } from './frame.js';
import { t } from './i18n.js';

/** What a node has still to copy, and whether it is being emptied. */
export function copyingText({ draining, repair }) {
  if (draining === 'empty') return t('nodes.empty');
  if (!draining && !repair) return '';
  const left = repair && { chunks: decimal(repair.chunks), size: bytes(repair.bytes) };
  const words = [left ? t(draining ? 'nodes.drainingLeft' : 'nodes.repairing', left) : t('nodes.draining')];
  if (repair?.seconds > 0) words.push(t('nodes.about', { time: span(repair.seconds) }));
  return words.join(', ');
}

const pressable = (action, look = '') => h('button', { class: `button compact ${look}`.trim(), type: 'button', data: { action } });

/** The buttons of one node: to empty it, after a question, and to take that back. done is called when it was agreed on. */
export function makeDrain(done) {
  let node = {};
  let asking = false;
  const question = h('p', { class: 'small' });
  const error = h('p', { class: 'notice bad', role: 'alert', hidden: true });
  const buttons = { drain: pressable('drain'), confirm: pressable('drain-confirm', 'danger'), cancel: pressable('drain-cancel'), undrain: pressable('undrain') };
  const el = h('div', { class: 'node-drain', hidden: true }, question, h('div', { class: 'row' }, ...Object.values(buttons)), error);

  const ask = (on) => {
    asking = on;
    showMessage(error, '');
    show();
    (on ? buttons.cancel : buttons.drain).focus();
  };
  const change = (from, action) => busy(from, async () => {
    try {
      await action(node.id);
      asking = false;
      showMessage(error, '');
      await done();
    } catch (problem) {
      showMessage(error, problem.message);
    }
  });
  buttons.drain.addEventListener('click', () => ask(true));
  buttons.cancel.addEventListener('click', () => ask(false));
  buttons.confirm.addEventListener('click', () => change(buttons.confirm, api.drainNode));
  buttons.undrain.addEventListener('click', () => change(buttons.undrain, api.undrainNode));

  function show() {
    const name = node.name ?? node.id;
    el.hidden = !node.version || (!node.draining && (node.state === 'dead' || node.state === 'left')); // only administrators are told the version
    showMessage(question, asking ? t('nodes.drain.question', { name }) : '');
    buttons.drain.hidden = asking || Boolean(node.draining);
    buttons.confirm.hidden = buttons.cancel.hidden = !asking;
    buttons.undrain.hidden = !node.draining;
    setText(buttons.drain, t('nodes.drain'));
    setLabel(buttons.drain, t('nodes.drain.name', { name }));
    setText(buttons.confirm, t('nodes.drain.confirm'));
    setText(buttons.cancel, t('dialog.cancel'));
    setText(buttons.undrain, t('nodes.undrain'));
    setLabel(buttons.undrain, t('nodes.undrain.name', { name }));
  }

  return {
    el,
    update(now) {
      node = now;
      if (node.draining) asking = false;
      show();
    },
  };
}
