// The player page: wires its modules to each other.
//
// These ids and attributes are for tests and scripts as well, and stay:
//
//	sign-in      #tab-login #login-user #login-pass #login-submit #login-error
//	             #tab-signup #signup-user #signup-pass #signup-submit #signup-error
//	             #setup-user #setup-pass #setup-submit #setup-error (page opened with #setup=TOKEN)
//	session      #session-user (the name) #logout #live[data-state=live|reconnecting|polling]
//	node         #api-badge, its dialog #nodes-dialog with #nodes [data-node] and #nodes-url
//	upload       #file-input; #uploads [data-upload=NAME][data-state=waiting|sending|saving|paused|unfinished|done|failed|cancelled]
//	             with [data-action=pause|again|cancel]
//	library      #library [data-name=NAME][data-kind] with [data-action=play|convert|share|download|delete] and .item-check
//	selection    #select-all #selection-count #selection-convert #selection-clear
//	video        #video-player (the <video>) #video-close
//	audio        #audio-player (the <audio>) #audio-play #audio-next #audio-previous #audio-seek #playlist-toggle #tracks
//	convert      #convert-dialog #convert-purposes [name=purpose][value=NAME] #convert-format #convert-options (a <details>) with
//	             #convert-option-NAME and #convert-priority; #convert-submit #convert-error #convert-refused
//	jobs         #jobs [data-job=ID][data-status] with [data-action=play|download|retry|cancel|details] and a select.job-priority;
//	             #jobs-filter
//	job          #job-dialog [data-status] #job-pieces [data-seq][data-state] #job-show-pieces #job-show-log #job-log #job-copy
//	share        #share-dialog #share-minutes #share-create #share-link (an input) #share-copy
//	delete       #delete-dialog #delete-confirm; #toasts [data-action=toast] takes it back
//	trash        #trash-open #trash-close #trash [data-name=NAME] with [data-action=restore|purge]; #trash-more #trash-empty-all
//	unplayable   #unplayable-dialog #unplayable-convert #unplayable-download

import * as api from './api.js';
import * as audio from './audio.js';
import { startAudioBar } from './audiobar.js';
import { converted, openConvert, startConvert } from './convert.js';
import { byId, pressOne, setText } from './dom.js';
import { startFrame, toast } from './frame.js';
import { t } from './i18n.js';
import { startJobDetails } from './jobdetails.js';
import { applyJobEvent, applyQueueEvent, loadJobs, loadJobsSoon, loadStats, loadStatsSoon, outputAction, startJobs } from './jobs.js';
import { download, inOrder, itemAction, markPlaying, orderChanged, startLibrary } from './library.js';
import { follow } from './live.js';
import { allMedia, applyMediaEvent, byName, loadMedia, mediaChanged, tag, titleOf } from './media.js';
import { startNodes } from './nodes.js';
import { startQuorum } from './quorum.js';
import { openRemove, startRemove } from './remove.js';
import { selectionAction, startSelection } from './selection.js';
import { signedIn, signedOut, startSession } from './session.js';
import { openShare, startShare } from './share.js';
import { applyTrashEvent, keepText, loadTrash, restore, startTrash } from './trash.js';
import { startUploads } from './uploads.js';
import * as video from './video.js';

let live = null; // the stream of events while somebody is signed in
let unplayable = null; // what the dialog of that name is about

startFrame();
startSelection();
startLibrary();
startUploads();
audio.startAudio();
startAudioBar();
video.startVideo();
startConvert();
startJobs();
startJobDetails();
startShare();
startRemove();
startTrash();
startNodes();
wire();
startSession();

function wire() {
  itemAction.on(act);
  selectionAction.on(openConvert);
  video.videoAction.on(act);
  video.videoStarts.on(audio.pauseAudio);
  audio.audioStarts.on(video.pauseVideo);
  audio.audioChanged.on(showPlaying);
  video.videoChanged.on(showPlaying);
  audio.audioFailed.on((item, why, chosen) => cannotPlay(item, why, chosen));
  video.videoFailed.on((item, why) => cannotPlay(item, why, true));
  mediaChanged.on(fillPlaylist);
  orderChanged.on(fillPlaylist);
  converted.on(() => { loadJobsSoon(); loadStatsSoon(); });
  outputAction.on(useOutput);
  signedIn.on(begin);
  signedOut.on(() => { live?.stop(); live = null; audio.audioChanged.emit(); });
  startQuorum();
  byId('unplayable-convert').addEventListener('click', () => { byId('unplayable-dialog').close(); openConvert([unplayable]); });
  byId('unplayable-download').addEventListener('click', () => { byId('unplayable-dialog').close(); download(unplayable); });
  for (const button of document.querySelectorAll('.pane-tabs button')) {
    button.addEventListener('click', () => {
      byId('panes').dataset.pane = button.dataset.pane;
      pressOne(document.querySelectorAll('.pane-tabs button'), (b) => b === button);
    });
  }
}

function begin() {
  fetchAll();
  live?.stop();
  live = follow(api.eventsURL(), ['job', 'queue', 'media', 'trash', 'node', 'mesh']);
  live.event.on((name, data) => {
    if (name === 'job') applyJobEvent(data);
    if (name === 'queue') applyQueueEvent(data);
    if (name === 'media') applyMediaEvent(data);
    if (name === 'media' || name === 'trash') applyTrashEvent(name, data);
    if (name === 'mesh') api.noQuorum.emit(Boolean(data.stale));
  });
  live.resync.on(fetchAll);
  audio.audioChanged.emit();
}

async function fetchAll() {
  await Promise.all([loadMedia(), loadTrash(), loadJobs(), loadStats()]);
}

function act(action, item) {
  if (action === 'play') return play(item);
  const dialogs = { convert: (one) => openConvert([one]), share: openShare, delete: (one) => openRemove(one, keepText(), restore) };
  dialogs[action]?.(item);
}

// play starts an item with the player for its kind; pressed again it pauses and goes on.
function play(item) {
  if (item.kind === 'audio') {
    if (audio.audioState().current?.id === item.id) return audio.togglePlay();
    return audio.playTrack(item);
  }
  if (video.videoState().current?.id === item.id) return video.toggleVideo();
  return video.playVideo(item);
}

// fillPlaylist makes every song of the library the playlist, in the library's order.
function fillPlaylist() {
  audio.setTracks(inOrder(allMedia().filter((item) => item.kind === 'audio')));
}

function showPlaying() {
  const song = audio.audioState();
  const film = video.videoState();
  const current = film.current && (!film.paused || song.paused) ? film : song;
  markPlaying(current.current?.name ?? '', current.paused);
  const artist = tag(song.current, 'artist');
  document.title = song.current && !song.paused ? `${artist ? `${artist} – ` : ''}${titleOf(song.current)} · malla` : 'malla';
}

function cannotPlay(item, why, chosen) {
  if (why === 'format' && chosen) {
    unplayable = item;
    setText(byId('unplayable-name'), item.name);
    byId('unplayable-dialog').showModal();
    byId('unplayable-convert').focus();
    return;
  }
  if (why === 'format') return toast(t('unplayable.skipped', { name: item.name }));
  toast(t('play.failed', { name: item.name, detail: why }), 'bad');
}

// useOutput plays or saves what a job made; the library may not have heard of it yet.
async function useOutput(action, name) {
  if (!byName(name)) await loadMedia();
  const item = byName(name);
  if (!item) return toast(t('jobs.outputGone', { name }), 'bad');
  if (action === 'play') play(item);
  else download(item);
}
