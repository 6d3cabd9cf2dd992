// The stream of events that keeps a page fresh. EventSource reconnects by itself after a lost connection; where the
// server refuses the stream, the page asks again every few seconds instead and tries the stream again later.

import { channel } from './channel.js';
import { showLive } from './frame.js';
import { onLanguage } from './i18n.js';

const pollEvery = 5000;
const longestWait = 30000;

/**
 * Opens the stream at url ('' where there is none) for the named events. Returns {event, resync, stop}: event is called with
 * (name, data); resync when something may have been missed, so that everything is to be fetched again.
 */
export function follow(url, names, pollMs = pollEvery) {
  const event = channel();
  const resync = channel();
  let source = null;
  let state = '';
  let wait = 1000;
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
      wait = 1000;
      const missed = state !== '' && state !== 'live';
      say('live');
      if (missed) resync.emit();
    });
    source.addEventListener('error', () => {
      if (source.readyState === EventSource.CLOSED) return refused();
      say('reconnecting');
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

  const refused = () => {
    startPolling();
    clearTimeout(retry);
    retry = setTimeout(open, wait);
    wait = Math.min(wait * 2, longestWait);
  };

  const startPolling = () => {
    if (stopped) return;
    say('polling');
    if (!poll) poll = setInterval(() => { if (!document.hidden) resync.emit(); }, pollMs);
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
