// The video player: the browser's own controls over a file that is streamed by range, large above the library.

import * as api from './api.js';
import { channel } from './channel.js';
import { byId, setText } from './dom.js';
import { bytes, clock } from './format.js';
import { download } from './library.js';
import { mediaGone } from './media.js';
import { recovery } from './recover.js';

/** Playing, pausing or closing changed what is played. */
export const videoChanged = channel();
/** A video cannot be played; called with (item, why: 'format' | message). */
export const videoFailed = channel();
/** A video starts, so that other players fall silent. */
export const videoStarts = channel();
/** A button beside the video was pressed; called with (action, item). */
export const videoAction = channel();

const element = byId('video-player');
const recover = recovery(element);
const stage = byId('stage');
let current = null;
let opener = null; // what had the focus before

export const videoState = () => ({ current, paused: element.paused });

export function startVideo() {
  for (const type of ['play', 'pause', 'ended']) element.addEventListener(type, () => videoChanged.emit());
  element.addEventListener('play', () => videoStarts.emit());
  element.addEventListener('error', failed);
  element.addEventListener('loadedmetadata', noPicture);
  byId('video-close').addEventListener('click', closeVideo);
  byId('video-actions').addEventListener('click', (event) => {
    const action = event.target.closest('[data-action]')?.dataset.action;
    if (action === 'download') download(current);
    else if (action) videoAction.emit(action, current);
  });
  stage.addEventListener('keydown', keys);
  mediaGone.on((item) => { if (current && item.id === current.id) closeVideo(); });
}

/** Opens the large view and plays. */
export async function playVideo(item) {
  if (stage.hidden) opener = document.activeElement;
  current = item;
  stage.hidden = false;
  setText(byId('video-title'), item.name);
  setText(byId('video-facts'), [item.duration > 0 ? clock(item.duration) : '', bytes(item.size)].filter(Boolean).join(' · '));
  stage.scrollIntoView({ block: 'start', behavior: 'smooth' });
  videoStarts.emit();
  try {
    const url = await api.mediaURL(item);
    if (current !== item) return;
    element.src = url;
    element.focus({ preventScroll: true });
    await element.play();
  } catch (error) {
    // A refused play() is told by the error event, or is only the browser wanting a press on the button first.
    if (error instanceof api.ApiError) fail(item, error.message);
  }
  videoChanged.emit();
}

export function toggleVideo() {
  if (element.paused) element.play().catch(() => videoChanged.emit());
  else element.pause();
}

export function pauseVideo() {
  if (!element.paused) element.pause();
}

/** Closes the large view and lets go of the connection. */
export function closeVideo() {
  if (!current) return;
  current = null;
  if (document.fullscreenElement === element) document.exitFullscreen();
  element.pause();
  element.removeAttribute('src');
  element.load();
  stage.hidden = true;
  if (opener?.isConnected) opener.focus({ preventScroll: true });
  opener = null;
  videoChanged.emit();
}

async function failed() {
  const item = current;
  if (!item || !element.getAttribute('src')) return;
  const why = await recover(() => current === item);
  if (why) fail(item, why);
}

// noPicture notices films of which the browser can decode the sound alone.
function noPicture() {
  const item = current;
  if (item?.kind === 'video' && element.videoWidth === 0) fail(item, 'format');
}

function fail(item, why) {
  if (current !== item) return;
  closeVideo();
  videoFailed.emit(item, why);
}

const steps = { ArrowLeft: -5, ArrowRight: 5, j: -10, l: 10 };

// keys are those of well-known players; they work while the video, not a button beside it, has the focus.
function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === 'Escape' && !document.fullscreenElement) return closeVideo();
  if (event.target !== element && event.target !== stage) return;
  if (event.key in steps) element.currentTime = Math.max(0, Math.min(element.duration || 0, element.currentTime + steps[event.key]));
  else if (event.key === ' ' || event.key === 'k') toggleVideo();
  else if (event.key === 'm') element.muted = !element.muted;
  else if (event.key === 'f') (document.fullscreenElement ? document.exitFullscreen() : element.requestFullscreen()).catch(() => {});
  else if (event.key === 'ArrowUp') element.volume = Math.min(1, element.volume + 0.1);
  else if (event.key === 'ArrowDown') element.volume = Math.max(0, element.volume - 0.1);
  else return;
  event.preventDefault();
}
