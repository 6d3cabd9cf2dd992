// The banner that tells when the mesh cannot agree: changes must wait, and what is read may be old.

import * as api from './api.js';
import { byId } from './dom.js';

const askEvery = 2000;

let timer = 0;

/** Shows the banner of the page while there is no quorum. */
export function startQuorum() {
  api.noQuorum.on(show);
}

// show asks until the mesh has a leader again.
function show(missing) {
  byId('banner').hidden = !missing;
  clearInterval(timer);
  if (!missing) return;
  timer = setInterval(async () => {
    try {
      await api.ready();
      show(false);
    } catch {
      // Not yet.
    }
  }, askEvery);
}
