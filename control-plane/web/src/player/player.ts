import Hls, { type ErrorData, type HlsConfig } from 'hls.js';
import workerPath from 'hls.js/dist/hls.worker.js?url';

import { backoff } from '../backoff';
import { BetweenSegments } from './between';
import { POLICIES } from './policy';
import { Stalls } from './stalls';
import { Standstill } from './standstill';
import { type Phase, type Rung, type Sound, type Stats, type Trouble, rungLabel, rungName } from './state';
import { INTERRUPTED, OFFLINE, explain } from './trouble';

/** What the page is told. */
export interface Listener {
  phase(phase: Phase): void;
  trouble(trouble: Trouble | null): void;
  rungs(rungs: Rung[], current: number, auto: boolean): void;
  sounds(sounds: Sound[], current: number): void;
  muted(muted: boolean): void;
}

const SETTINGS: Partial<HlsConfig> = {
  lowLatencyMode: true,
  abrController: BetweenSegments,
  workerPath,
  // Seconds behind the edge: more than PART-HOLD-BACK asks for, so that the death of an encoder, whose successor has
  // to make up for a second on a busy machine, is not seen.
  liveSyncDuration: 1.8,
  // A little faster than life makes up for a stall without being heard.
  maxLiveSyncPlaybackRate: 1.06,
  liveDurationInfinity: true,
  // What was played is left to the browser to take out. hls.js 1.7.4 forgets the part that is on its way whenever it
  // takes something out itself, and asks for no sound again once that segment is over: a stall every few minutes.
  backBufferLength: Infinity,
  maxBufferLength: 12,
  maxMaxBufferLength: 20,
  // Rather the middle rung at once than the best one late.
  startLevel: -1,
  abrEwmaDefaultEstimate: 1_500_000,
  capLevelToPlayerSize: false,
  // Seconds; further behind than this, it is the edge again, not the past.
  liveMaxLatencyDuration: 12,
  ...POLICIES,
};

const ERRORS_KEPT = 50;
/** After this long without trouble, the next one starts with a short wait again. */
const CALM_MS = 20_000;
/** The longest wait before the next attempt: a viewer is back this soon after the stream is, at the latest. */
const LONGEST_WAIT_MS = 4000;
/** How often is looked whether the picture moves. */
const LOOK_MS = 500;

/** Plays one live stream in one video element, and comes back by itself. */
export class Player {
  readonly hls: Hls | null;
  private readonly stalls = new Stalls();
  private readonly errors: Stats['errors'] = [];
  private readonly off = new AbortController();
  private phaseNow: Phase = 'connecting';
  private readonly openedMs = performance.now();
  private firstFrameMs: number | null = null;
  private failures = 0;
  private lastFailure = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly standstill = new Standstill();
  private readonly looking: ReturnType<typeof setInterval>;
  /** The name of the sound that the viewer chose: it stays chosen when the stream is taken up again. */
  private sound: string | null = null;
  /** Nothing of the present attempt has been shown yet. */
  private fresh = true;

  constructor(
    readonly video: HTMLVideoElement,
    private readonly url: string,
    private readonly listener: Listener,
  ) {
    this.watchVideo();
    this.looking = setInterval(() => this.look(), LOOK_MS);
    if (Hls.isSupported()) {
      this.hls = new Hls(SETTINGS);
      this.watchHls(this.hls);
      this.hls.attachMedia(video);
      this.hls.loadSource(url);
    } else {
      this.hls = null;
      if (video.canPlayType('application/vnd.apple.mpegurl')) {
        video.src = url;
        void this.play();
      } else {
        this.fail({ text: 'This browser cannot play live streams.', retrying: false });
      }
    }
  }

  /** Ends playback and lets everything go. */
  destroy(): void {
    clearTimeout(this.timer);
    clearInterval(this.looking);
    this.off.abort();
    this.hls?.destroy();
    this.video.removeAttribute('src');
    this.video.load();
  }

  /** Tries again now. */
  retry(): void {
    clearTimeout(this.timer);
    this.fresh = true;
    this.enter('reconnecting');
    if (this.hls) {
      this.hls.stopLoad();
      this.hls.loadSource(this.url);
    } else {
      this.video.src = this.url;
    }
    void this.play();
  }

  /** A rung by its index; -1 lets the player choose. */
  choose(index: number): void {
    if (this.hls) this.hls.nextLevel = index;
    this.tellRungs();
  }

  /** A sound by its index. */
  chooseSound(index: number): void {
    const { hls } = this;
    const track = hls?.audioTracks[index];
    if (!hls || !track) return;
    this.sound = track.name;
    hls.audioTrack = index;
    this.tellSounds();
  }

  toLiveEdge(): void {
    const edge = this.hls?.liveSyncPosition ?? (this.video.seekable.length ? this.video.seekable.end(0) - 2 : null);
    if (edge !== null) this.video.currentTime = edge;
    void this.play();
  }

  async play(): Promise<void> {
    try {
      await this.video.play();
    } catch (error) {
      // Browsers let sound start only after a click. Without sound the picture may go on its own.
      if (error instanceof DOMException && error.name === 'NotAllowedError' && !this.video.muted) {
        this.video.muted = true;
        this.listener.muted(true);
        await this.video.play().catch(() => undefined);
      }
    }
  }

  stats(): Stats {
    const { video, hls } = this;
    const playingDate = hls?.playingDate;
    const edgeLatency = hls && this.firstFrameMs !== null ? hls.latency : null;
    const quality = video.getVideoPlaybackQuality?.();
    return {
      phase: this.phaseNow,
      latency: playingDate ? (Date.now() - playingDate.getTime()) / 1000 : edgeLatency,
      edgeLatency,
      targetLatency: hls?.targetLatency ?? null,
      buffered: this.bufferedAhead(),
      stalls: this.stalls.count,
      stalledMs: Math.round(this.stalls.totalMs),
      firstFrameMs: this.firstFrameMs,
      startupMs: this.firstFrameMs === null ? null : Math.round(this.firstFrameMs - this.openedMs),
      droppedFrames: quality?.droppedVideoFrames ?? 0,
      playbackRate: video.playbackRate,
      currentTime: video.currentTime,
      width: video.videoWidth,
      height: video.videoHeight,
      levels: (hls?.levels ?? []).map((level) => ({
        height: level.height,
        width: level.width,
        bitrate: level.bitrate,
        codecs: [level.videoCodec, level.audioCodec].filter(Boolean).join(','),
      })),
      currentLevel: hls?.currentLevel ?? -1,
      bandwidthKbps: hls ? Math.round(hls.bandwidthEstimate / 1000) : null,
      errors: this.errors,
    };
  }

  private watchVideo(): void {
    const { video } = this;
    const on = (name: string, act: () => void) => video.addEventListener(name, act, { signal: this.off.signal });
    const firstFrame = () => {
      this.firstFrameMs ??= Math.round(performance.now());
    };
    if ('requestVideoFrameCallback' in video) video.requestVideoFrameCallback(firstFrame);
    else on('loadeddata', firstFrame);
    on('waiting', () => {
      const meantToMove = this.firstFrameMs !== null && !video.paused && !video.seeking && !video.ended;
      this.stalls.begin(performance.now(), meantToMove);
      if (this.phaseNow === 'playing') this.enter('buffering');
    });
    const moving = () => {
      this.stalls.end(performance.now());
      this.fresh = false;
      if (!video.paused && this.phaseNow !== 'playing') {
        this.listener.trouble(null);
        this.enter('playing');
      }
    };
    on('playing', moving);
    on('timeupdate', () => {
      const shown = this.phaseNow === 'playing' || this.phaseNow === 'ended' || this.phaseNow === 'failed';
      if (!shown && video.readyState >= HTMLMediaElement.HAVE_FUTURE_DATA) moving();
      if (this.failures > 0 && performance.now() - this.lastFailure > CALM_MS) this.failures = 0;
    });
    on('pause', () => this.stalls.end(performance.now()));
    on('ended', () => this.enter('ended'));
    on('error', () => {
      if (!this.hls) this.later(explain({ type: 'networkError', details: 'native' }));
    });
    on('volumechange', () => this.listener.muted(video.muted));
  }

  private watchHls(hls: Hls): void {
    hls.on(Hls.Events.MANIFEST_PARSED, () => {
      this.tellRungs();
      void this.play();
    });
    hls.on(Hls.Events.LEVEL_SWITCHED, () => this.tellRungs());
    hls.on(Hls.Events.AUDIO_TRACKS_UPDATED, () => {
      const wanted = hls.audioTracks.findIndex((track) => track.name === this.sound);
      if (wanted >= 0 && wanted !== hls.audioTrack) hls.audioTrack = wanted;
      this.tellSounds();
    });
    hls.on(Hls.Events.AUDIO_TRACK_SWITCHED, () => this.tellSounds());
    hls.on(Hls.Events.LEVEL_LOADED, (_, { details }) => {
      // What is over is not played again from its beginning: the next stream is waited for.
      if (this.fresh && !details.live) {
        hls.stopLoad();
        this.later({ text: OFFLINE, retrying: true });
      }
    });
    hls.on(Hls.Events.ERROR, (_, data) => this.onError(hls, data));
  }

  private onError(hls: Hls, data: ErrorData): void {
    this.errors.push({ at: Math.round(performance.now()), type: data.type, details: data.details, fatal: data.fatal });
    if (this.errors.length > ERRORS_KEPT) this.errors.shift();
    if (!data.fatal) return;
    const trouble = explain({ type: data.type, details: data.details, status: data.response?.code });
    if (!trouble.retrying) return this.fail(trouble);
    if (data.type === Hls.ErrorTypes.MEDIA_ERROR && this.failures === 0) {
      this.noteFailure();
      hls.recoverMediaError();
      return;
    }
    this.later(trouble);
  }

  /** Looks whether the picture moves as it is meant to, and does something about it where it does not. */
  private look(): void {
    const { video, hls } = this;
    const shown = this.phaseNow === 'playing' || this.phaseNow === 'buffering';
    const meantToMove = !this.fresh && shown && !video.paused && !video.ended;
    switch (this.standstill.look(performance.now(), video.currentTime, meantToMove)) {
      case 'tell':
        this.listener.trouble({ text: INTERRUPTED, retrying: true });
        break;
      case 'edge':
        if (hls?.liveSyncPosition && hls.liveSyncPosition > video.currentTime) this.toLiveEdge();
        break;
      case 'restart':
        this.later({ text: INTERRUPTED, retrying: true });
        break;
      case 'none':
    }
  }

  private noteFailure(): void {
    this.failures += 1;
    this.lastFailure = performance.now();
  }

  private later(trouble: Trouble): void {
    this.listener.trouble(trouble);
    this.enter('reconnecting');
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.retry(), backoff(this.failures, 700, LONGEST_WAIT_MS));
    this.noteFailure();
  }

  private fail(trouble: Trouble): void {
    this.listener.trouble(trouble);
    this.enter('failed');
  }

  private enter(phase: Phase): void {
    this.phaseNow = phase;
    this.listener.phase(phase);
  }

  private tellRungs(): void {
    const hls = this.hls;
    if (!hls) return;
    const rungs = hls.levels.map((level, index) => ({ index, label: rungLabel(level), name: rungName(level) })).reverse();
    this.listener.rungs(rungs, hls.currentLevel, hls.autoLevelEnabled);
  }

  private tellSounds(): void {
    const hls = this.hls;
    if (!hls) return;
    this.listener.sounds(hls.audioTracks.map((track, index) => ({ index, name: track.name })), hls.audioTrack);
  }

  private bufferedAhead(): number {
    const { buffered, currentTime } = this.video;
    for (let n = 0; n < buffered.length; n += 1) {
      if (buffered.start(n) <= currentTime + 0.1 && buffered.end(n) >= currentTime) return buffered.end(n) - currentTime;
    }
    return 0;
  }
}
