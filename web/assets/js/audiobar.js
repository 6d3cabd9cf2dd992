// The bar at the bottom and the playlist above it: how the audio player looks and is used, keys of the system included.

import * as audio from './audio.js';
import { byId, h, KeyedList, paintRange, setIcon, setLabel, setText } from './dom.js';
import { clock } from './format.js';
import { onLanguage, t } from './i18n.js';
import { tag, titleOf } from './media.js';

const seekSteps = 1000;
let seeking = false; // the slider is held: time updates must not pull it away

const list = new KeyedList(byId('tracks'), (track) => track.id, makeTrack);

export function startAudioBar() {
  byId('audio-play').addEventListener('click', audio.togglePlay);
  byId('audio-next').addEventListener('click', () => audio.next());
  byId('audio-previous').addEventListener('click', audio.previous);
  byId('audio-shuffle').addEventListener('click', audio.toggleShuffle);
  byId('audio-repeat').addEventListener('click', audio.cycleRepeat);
  byId('audio-mute').addEventListener('click', audio.toggleMute);
  byId('audio-volume').addEventListener('input', (event) => audio.setVolume(Number(event.target.value)));
  const slider = byId('audio-seek');
  slider.addEventListener('input', () => {
    seeking = true;
    paintRange(slider);
    setText(byId('audio-time'), clock((slider.value / seekSteps) * audio.audioState().duration));
  });
  slider.addEventListener('change', () => {
    audio.seek(slider.value / seekSteps);
    seeking = false;
  });
  byId('playlist-toggle').addEventListener('click', () => showPlaylist(byId('playlist').hidden));
  byId('playlist-close').addEventListener('click', () => { showPlaylist(false); byId('playlist-toggle').focus(); });
  byId('playlist-search').addEventListener('input', renderTracks);
  byId('playlist').addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return;
    showPlaylist(false);
    byId('playlist-toggle').focus();
  });
  document.addEventListener('keydown', spaceBar);
  audio.audioChanged.on(render);
  audio.audioMoved.on(renderPosition);
  onLanguage(render);
  wireSystem();
}

// spaceBar plays and pauses while nothing on the page has the focus.
function spaceBar(event) {
  if (event.key !== ' ' || event.target !== document.body || byId('audio-bar').hidden || !audio.audioState().current) return;
  event.preventDefault();
  audio.togglePlay();
}

function showPlaylist(open) {
  byId('playlist').hidden = !open;
  byId('playlist-toggle').setAttribute('aria-expanded', String(open));
  if (!open) return;
  renderTracks();
  byId('playlist-search').focus();
  byId('tracks').querySelector('.current')?.scrollIntoView({ block: 'center' });
}

function render() {
  const state = audio.audioState();
  const { current } = state;
  byId('audio-bar').hidden = (state.tracks.length === 0 && !current) || byId('app-view').hidden;
  document.documentElement.classList.toggle('with-bar', !byId('audio-bar').hidden);
  if (byId('audio-bar').hidden) byId('playlist').hidden = true;
  setText(byId('audio-title'), current ? titleOf(current) : t('audio.nothing'));
  setText(byId('audio-artist'), current ? tag(current, 'artist') || tag(current, 'album') : t('audio.nothingHint'));
  byId('audio-title').title = current?.name ?? '';
  byId('audio-art').classList.toggle('spinning', Boolean(current) && !state.paused);
  setIcon(byId('audio-play'), state.paused ? 'play' : 'pause');
  setLabel(byId('audio-play'), t(state.paused ? 'audio.play' : 'audio.pause'));
  byId('audio-shuffle').setAttribute('aria-pressed', String(state.shuffle));
  setLabel(byId('audio-shuffle'), t(state.shuffle ? 'audio.shuffle.on' : 'audio.shuffle.off'));
  byId('audio-repeat').classList.toggle('on', state.repeat !== 'off');
  byId('audio-repeat').dataset.mode = state.repeat;
  setIcon(byId('audio-repeat'), state.repeat === 'track' ? 'repeat-one' : 'repeat');
  setLabel(byId('audio-repeat'), t('audio.repeat.' + state.repeat));
  const silent = state.muted || state.volume === 0;
  setIcon(byId('audio-mute'), silent ? 'muted' : 'volume');
  setLabel(byId('audio-mute'), t(silent ? 'audio.unmute' : 'audio.mute'));
  const volume = byId('audio-volume');
  volume.value = state.muted ? 0 : state.volume;
  paintRange(volume);
  byId('audio-seek').disabled = !current;
  renderPosition();
  renderTracks();
  tellSystem(state);
}

function renderPosition() {
  const { position, duration } = audio.audioState();
  setText(byId('audio-duration'), clock(duration));
  if (seeking) return;
  const slider = byId('audio-seek');
  slider.value = duration > 0 ? (position / duration) * seekSteps : 0;
  slider.setAttribute('aria-valuetext', t('audio.position', { at: clock(position), of: clock(duration) }));
  setText(byId('audio-time'), clock(position));
  paintRange(slider);
}

function renderTracks() {
  if (byId('playlist').hidden) return;
  const { tracks } = audio.audioState();
  const wanted = byId('playlist-search').value.trim().toLowerCase();
  const found = tracks.filter((track) => `${track.name} ${titleOf(track)} ${tag(track, 'artist')}`.toLowerCase().includes(wanted));
  list.render(found);
  setText(byId('playlist-count'), String(tracks.length));
  byId('playlist-none').hidden = found.length > 0;
}

function makeTrack() {
  let track = null;
  const title = h('span', { class: 'track-title' });
  const artist = h('span', { class: 'track-artist muted small' });
  const length = h('span', { class: 'number small muted' });
  const button = h('button', { class: 'track', type: 'button', on: { click: () => audio.playTrack(track) } },
    h('span', { class: 'equalizer', 'aria-hidden': 'true' }, h('i'), h('i'), h('i')), h('span', { class: 'track-text' }, title, artist), length);
  return {
    el: h('li', {}, button),
    update(next) {
      track = next;
      const { current, paused } = audio.audioState();
      const isCurrent = current?.id === track.id;
      button.dataset.track = track.name;
      button.classList.toggle('current', isCurrent);
      button.classList.toggle('paused', isCurrent && paused);
      if (isCurrent) button.setAttribute('aria-current', 'true');
      else button.removeAttribute('aria-current');
      setText(title, titleOf(track));
      setText(artist, tag(track, 'artist'));
      setText(length, clock(track.duration));
    },
  };
}

// wireSystem answers the keys of keyboards, headsets and lock screens.
function wireSystem() {
  if (!('mediaSession' in navigator)) return;
  const handlers = {
    play: audio.togglePlay,
    pause: audio.pauseAudio,
    previoustrack: audio.previous,
    nexttrack: () => audio.next(),
    seekbackward: (details) => audio.seekBy(-(details.seekOffset ?? 10)),
    seekforward: (details) => audio.seekBy(details.seekOffset ?? 10),
    seekto: (details) => audio.seek(details.seekTime / (audio.audioState().duration || 1)),
  };
  for (const [action, handle] of Object.entries(handlers)) {
    try {
      navigator.mediaSession.setActionHandler(action, handle);
    } catch {
      // This browser does not know the action.
    }
  }
}

let told = null; // the track that the system was last told of

function tellSystem({ current, paused, position, duration }) {
  if (!('mediaSession' in navigator)) return;
  navigator.mediaSession.playbackState = current ? (paused ? 'paused' : 'playing') : 'none';
  if (current !== told) {
    told = current;
    navigator.mediaSession.metadata = current && new MediaMetadata({
      title: titleOf(current),
      artist: tag(current, 'artist'),
      album: tag(current, 'album'),
      artwork: [{ src: new URL('../logo.svg', import.meta.url).href, type: 'image/svg+xml' }],
    });
  }
  if (duration > 0) navigator.mediaSession.setPositionState?.({ duration, position: Math.min(position, duration), playbackRate: 1 });
}
