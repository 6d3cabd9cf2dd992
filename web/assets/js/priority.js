// Priorities of conversions: which ones the person may choose, and the control for it.

import { h, setLabel, setText } from './dom.js';
import { t } from './i18n.js';
import { signedIn } from './session.js';

let administrator = false;
signedIn.on((user) => { administrator = user.role === 'admin'; });

const offered = (current) => ['high', 'normal', 'low'].filter((name) => name !== 'high' || administrator || current === 'high');

/** Fills a select with the priorities that the person may choose, and chooses one. A select that is in use is left alone. */
export function showPriorities(select, current) {
  setLabel(select, t('priority.label'));
  const names = offered(current);
  if ([...select.options].map((option) => option.value).join() !== names.join()) {
    select.replaceChildren(...names.map((name) => h('option', { value: name })));
  }
  for (const option of select.options) setText(option, t('priority.' + option.value));
  if (document.activeElement !== select) select.value = current;
}
