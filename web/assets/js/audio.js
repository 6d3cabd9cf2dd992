// The audio player itself: the playlist, what is played now and what comes next. How it looks is in audiobar.js.

import * as api from './api.js';
import { channel } from './channel.js';
import { byId } from './dom.js';
import { mediaGone } from './media.js';
import { remember, remembered } from './prefs.js';
import { recovery } from './recover.js';

/** Anything but the position changed. */
export const audioChanged = channel();
/** The position moved. */
export const audioMoved = channel();
/** A track cannot be played; called with (item, why: 'format' | message, chosen: it was asked for by name). */
export const audioFailed = channel();
/** A track starts, so that other players fall silent. */
export const audioStarts = channel();

export const repeatModes = ['list', 'track', 'off'];
const restartAfter = 5; // seconds: later than this, "previous" begins the track again

const element = byId('audio-player');
const recover = recovery(element);
let tracks = []; // the playlist, in its order
let current = null;
let chosen = false; // the current track was picked by name, not by what came before
let failures = 0; // tracks in a row that could not be played
let history = []; // ids played before under shuffle, newest last
let unheard = []; // ids that shuffle has not played in this round
let shuffle = remembered('shuffle', 'no') === 'yes';
let repeat = repeatModes.includes(remembered('repeat', 'list')) ? remembered('repeat', 'list') : 'list';

/** What there is to show. */
export const audioState = () => ({
  tracks, current, shuffle, repeat,
  paused: element.paused,
  volume: element.volume,
  muted: element.muted,
  position: element.currentTime || 0,
  duration: Number.isFinite(element.duration) && element.duration > 0 ? element.duration : current?.duration ?? 0,
});

export function startAudio() {
  element.volume = Math.min(1, Math.max(0, Number(remembered('volume', '0.8')) || 0));
  for (const type of ['play', 'pause', 'volumechange', 'loadedmetadata', 'durationchange']) element.addEventListener(type, () => audioChanged.emit());
  for (const type of ['timeupdate', 'seeked']) element.addEventListener(type, () => audioMoved.emit());
  element.addEventListener('playing', () => { failures = 0; });
  element.addEventListener('ended', ended);
  element.addEventListener('error', failed);
  mediaGone.on((item) => { if (current && item.id === current.id) drop(); });
}

/** Sets the playlist. What is being played goes on. */
export function setTracks(items) {
  tracks = items;
  if (current) current = tracks.find((track) => track.id === current.id) ?? current;
  const known = new Set(tracks.map((track) => track.id));
  unheard = unheard.filter((id) => known.has(id));
  history = history.filter((id) => known.has(id));
  audioChanged.emit();
}

/** Plays a track from its beginning, because somebody picked it. */
export function playTrack(item) {
  failures = 0;
  if (current && shuffle) history.push(current.id);
  return load(item, true);
}

async function load(item, byName) {
  current = item;
  chosen = byName;
  unheard = unheard.filter((id) => id !== item.id);
  audioStarts.emit();
  audioChanged.emit();
  try {
    const url = await api.mediaURL(item);
    if (current !== item) return;
    element.src = url;
    await element.play();
  } catch (error) {
    // A refused play() is told by the error event, or is only the browser wanting a press on the button first.
    if (error instanceof api.ApiError) audioFailed.emit(item, error.message, byName);
  }
  audioChanged.emit();
}

export function togglePlay() {
  if (!current) return void (tracks.length && playTrack(shuffle ? tracks[Math.floor(Math.random() * tracks.length)] : tracks[0]));
  if (!element.paused) return element.pause();
  audioStarts.emit();
  element.play().catch(() => audioChanged.emit());
}

export function pauseAudio() {
  if (!element.paused) element.pause();
}

/** The next track; after the last comes the first. */
export function next(byName = true) {
  const item = following(true);
  if (!item) return;
  if (current && shuffle) history.push(current.id);
  load(item, byName);
}

/** Begins the track again when it is well under way, else goes back one. */
export function previous() {
  if (current && element.currentTime > restartAfter) {
    element.currentTime = 0;
    return;
  }
  if (!tracks.length) return;
  if (shuffle && history.length) {
    const id = history.pop();
    const item = tracks.find((track) => track.id === id);
    if (item) return void load(item, true);
  }
  const at = tracks.findIndex((track) => track.id === current?.id);
  load(tracks[(at - 1 + tracks.length) % tracks.length], true);
}

// following finds what comes after the current track; wrap says whether the list starts over at its end.
function following(wrap) {
  if (!tracks.length) return null;
  if (!shuffle) {
    const at = tracks.findIndex((track) => track.id === current?.id) + 1;
    return at < tracks.length ? tracks[at] : wrap ? tracks[0] : null;
  }
  if (!unheard.length && wrap) newRound();
  if (!unheard.length) return null;
  const id = unheard[Math.floor(Math.random() * unheard.length)];
  return tracks.find((track) => track.id === id) ?? null;
}

// newRound makes every track unheard again, but never the same track twice in a row.
function newRound() {
  unheard = tracks.map((track) => track.id).filter((id) => tracks.length === 1 || id !== current?.id);
}

function ended() {
  if (repeat === 'track') {
    element.currentTime = 0;
    element.play().catch(() => audioChanged.emit());
    return;
  }
  const item = following(repeat === 'list');
  if (!item) return void audioChanged.emit();
  if (current && shuffle) history.push(current.id);
  load(item, false);
}

async function failed() {
  const item = current;
  if (!item || !element.getAttribute('src')) return;
  const picked = chosen;
  const why = await recover(() => current === item);
  if (!why || current !== item) return;
  audioFailed.emit(item, why, picked);
  failures++;
  if (!picked && why === 'format' && failures < tracks.length) next(false);
}

function drop() {
  element.pause();
  element.removeAttribute('src');
  element.load();
  current = null;
  audioChanged.emit();
}

/** Moves to a part (0 to 1) of the track. */
export function seek(part) {
  const { duration } = audioState();
  if (current && duration > 0) element.currentTime = Math.min(duration - 0.05, Math.max(0, part * duration));
}

export function seekBy(seconds) {
  const { duration, position } = audioState();
  if (duration > 0) seek((position + seconds) / duration);
}

export function setVolume(volume) {
  element.volume = volume;
  element.muted = false;
  remember('volume', String(volume));
}

export function toggleMute() {
  element.muted = !element.muted;
}

export function toggleShuffle() {
  shuffle = !shuffle;
  history = [];
  newRound();
  remember('shuffle', shuffle ? 'yes' : 'no');
  audioChanged.emit();
}

export function cycleRepeat() {
  repeat = repeatModes[(repeatModes.indexOf(repeat) + 1) % repeatModes.length];
  remember('repeat', repeat);
  audioChanged.emit();
}
