// Going on after a media element has failed in the middle: the node restarts, the connection is cut, or the browser
// cannot jump to a place near the end of a file.

import * as api from './api.js';

const wait = 2000; // ms between questions whether the file can be had again
const most = 15; // questions
const stepBack = 4; // seconds earlier than where it failed; more at each try
const mostReloads = 2;

/**
 * Watches an element. The returned function is called after its error event, with a function that tells whether the same
 * item is still wanted. It answers '' when playing goes on (or is no longer wanted), 'format' when the browser cannot
 * decode the file, or a text for people.
 */
export function recovery(element) {
  let reloads = 0;
  let goodSince = 0; // position from which playing went well
  let source = '';
  element.addEventListener('playing', () => { goodSince = element.currentTime; });
  element.addEventListener('timeupdate', () => { if (element.currentTime - goodSince > 2 * stepBack) reloads = 0; });
  element.addEventListener('loadstart', () => {
    if (element.src !== source) reloads = 0;
    source = element.src;
  });

  return async (wanted) => {
    const { currentSrc: url, currentTime: at, error } = element;
    const why = await reachable(url, wanted);
    if (!wanted()) return '';
    if (why) return why;
    const played = at > 0 && error?.code !== MediaError.MEDIA_ERR_SRC_NOT_SUPPORTED;
    if (!played || reloads >= mostReloads) return 'format';
    reloads++;
    const from = Math.max(0, at - reloads * stepBack);
    element.addEventListener('loadedmetadata', () => { element.currentTime = from; }, { once: true });
    element.load();
    element.play().catch(() => {}); // a failure is told by the next error event
    return '';
  };
}

// reachable waits until the file can be had: '' then, else why not.
async function reachable(url, wanted) {
  for (let i = 1; ; i++) {
    try {
      await api.checkMedia(url);
      return '';
    } catch (error) {
      if (!wanted() || i >= most || (error.status !== 0 && error.status < 500)) return error.message;
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}
