// Forgetting a node that is dead, for administrators.
//
// Ids for tests: [data-action=forget|forget-confirm|forget-force|forget-cancel] in a row of the nodes.

import * as api from './api.js';
import { h, setLabel, setText, showMessage } from './dom.js';
import { busy } from './frame.js';
import { t } from './i18n.js';

const pressable = (action, look = '') => h('button', { class: `button compact ${look}`.trim(), type: 'button', data: { action } });

/**
 * The buttons of one node that is gone: to forget it, after a question; where files would be lost by that, after another one.
 * done is called when it was forgotten.
 */
export function makeForget(done) {
  let node = {};
  let asking = ''; // '', 'forget', 'force'
  const question = h('p', { class: 'small' });
  const error = h('p', { class: 'notice bad', role: 'alert', hidden: true });
  const buttons = { forget: pressable('forget'), confirm: pressable('forget-confirm', 'danger'), force: pressable('forget-force', 'danger'), cancel: pressable('forget-cancel') };
  const el = h('div', { class: 'node-drain', hidden: true }, question, error, h('div', { class: 'row' }, ...Object.values(buttons)));

  const ask = (what) => {
    asking = what;
    if (what !== 'force') showMessage(error, '');
    show();
    (what ? buttons.cancel : buttons.forget).focus();
  };
  const forget = (from, force) => busy(from, async () => {
    try {
      await api.forgetNode(node.id, force);
      asking = '';
      showMessage(error, '');
      await done();
    } catch (problem) {
      showMessage(error, problem.message);
      if (problem.status === 409 && !force) ask('force');
    }
  });
  buttons.forget.addEventListener('click', () => ask('forget'));
  buttons.cancel.addEventListener('click', () => ask(''));
  buttons.confirm.addEventListener('click', () => forget(buttons.confirm, false));
  buttons.force.addEventListener('click', () => forget(buttons.force, true));

  function show() {
    const name = node.name ?? node.id;
    el.hidden = !node.version || (node.state !== 'dead' && node.state !== 'left'); // only administrators are told the version
    showMessage(question, asking && t(asking === 'force' ? 'nodes.force.question' : 'nodes.forget.question', { name }));
    buttons.forget.hidden = asking !== '';
    buttons.confirm.hidden = asking !== 'forget';
    buttons.force.hidden = asking !== 'force';
    buttons.cancel.hidden = asking === '';
    setText(buttons.forget, t('nodes.forget'));
    setLabel(buttons.forget, t('nodes.forget.name', { name }));
    setText(buttons.confirm, t('nodes.forget.confirm'));
    setText(buttons.force, t('nodes.force.confirm'));
    setText(buttons.cancel, t('dialog.cancel'));
  }

  return {
    el,
    update(now) {
      node = now;
      show();
    },
  };
}

/** What the agreement of the mesh bears, in words; '' where the node does not tell. */
export function strengthText(strength) {
  if (!strength?.nodes) return '';
  const { nodes, voters, alive, survives } = strength;
  if (survives < 0) return t('nodes.strength.stopped', { alive, voters, need: Math.floor(voters / 2) + 1 });
  if (nodes === 1) return t('nodes.strength.one');
  if (nodes === 2) return t('nodes.strength.two');
  if (survives === 0) return t('nodes.strength.none');
  return t(survives === 1 ? 'nodes.strength.survives.one' : 'nodes.strength.survives.other', { n: survives });
}
