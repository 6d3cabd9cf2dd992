// The stream of events that keeps a page fresh. A lost connection is opened again by this module, since browsers wait
// longer and longer; where the server refuses the stream, the page asks every few seconds meanwhile.

import { channel } from './channel.js';
import { showLive } from './frame.js';
import { onLanguage } from './i18n.js';

const pollEvery = 5000;
const firstWait = 1000; // ms to a first new try; later ones wait longer
const longestWait = 5000;

/**
 * Opens the stream at url ('' where there is none) for the named events. Returns {event, resync, stop}: event is called with
 * (name, data); resync whenever the stream begins or cannot be had, since what happened meanwhile is not told: everything is
 * to be fetched again.
 */
export function follow(url, names, pollMs = pollEvery) {
  const event = channel();
  const resync = channel();
  let source = null;
  let state = '';
  let wait = firstWait;
  let retry = 0;
  let poll = 0;
  let stopped = false;

  const say = (next) => {
    state = next;
    showLive(state);
  };
  const offLanguage = onLanguage(() => showLive(state));

  const open = () => {
    if (stopped || !url) return;
    source = new EventSource(url);
    source.addEventListener('open', () => {
      clearInterval(poll);
      poll = 0;
      wait = firstWait;
      say('live');
      resync.emit();
    });
    source.addEventListener('error', () => {
      const refused = source.readyState === EventSource.CLOSED;
      source.close();
      if (refused) startPolling();
      else say('reconnecting');
      clearTimeout(retry);
      retry = setTimeout(open, wait);
      wait = Math.min(wait * 1.5, longestWait);
    });
    for (const name of names) {
      source.addEventListener(name, (message) => {
        let data;
        try {
          data = JSON.parse(message.data);
        } catch {
          return; // an event of another version: the next fetch tells
        }
        event.emit(name, data);
      });
    }
  };

  // startPolling also asks at once: an ended session refuses the stream as well, and is noticed by that.
  const startPolling = () => {
    if (stopped) return;
    const first = !poll;
    say('polling');
    if (!first) return;
    poll = setInterval(() => { if (!document.hidden) resync.emit(); }, pollMs);
    if (url) resync.emit();
  };

  if (url) open();
  else startPolling();

  return {
    event,
    resync,
    stop() {
      stopped = true;
      source?.close();
      clearTimeout(retry);
      clearInterval(poll);
      offLanguage();
      showLive('');
    },
  };
}
