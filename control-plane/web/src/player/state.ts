/** Where playback is at, for the page. */
export type Phase = 'connecting' | 'playing' | 'buffering' | 'reconnecting' | 'ended' | 'failed';

/** A rung of the ladder, as the quality menu shows it. */
export interface Rung {
  index: number;
  label: string;
  /** Short, for the closed menu. */
  name: string;
}

/** A sound to choose, in a language of its own. */
export interface Sound {
  index: number;
  name: string;
}

/** Why playback does not go, in plain words, and whether the viewer could do anything. */
export interface Trouble {
  text: string;
  /** The player tries again by itself. */
  retrying: boolean;
}

/** Figures for the stats panel and for tests. */
export interface Stats {
  phase: Phase;
  /** Behind the broadcaster's clock where the playlist tells it, else behind the live edge; seconds. */
  latency: number | null;
  /** Distance to the live edge of the playlist, seconds. */
  edgeLatency: number | null;
  targetLatency: number | null;
  /** Seconds of media ahead of the picture. */
  buffered: number;
  /** Times that the picture stood still after the first frame. */
  stalls: number;
  stalledMs: number;
  /** From opening the page to the first picture. */
  firstFrameMs: number | null;
  /** From the moment that the page knew of the stream to the first picture. */
  startupMs: number | null;
  droppedFrames: number;
  playbackRate: number;
  currentTime: number;
  width: number;
  height: number;
  /** Rungs as they stand in the playlist. */
  levels: { height: number; width: number; bitrate: number; codecs: string }[];
  currentLevel: number;
  bandwidthKbps: number | null;
  /** The latest errors, oldest first. */
  errors: { at: number; type: string; details: string; fatal: boolean }[];
}

/** What a rung is called. */
export function rungName(level: { height: number; frameRate?: number }): string {
  if (!level.height) return 'sound';
  const fps = level.frameRate && level.frameRate > 31 ? String(Math.round(level.frameRate)) : '';
  return `${level.height}p${fps}`;
}

/** A rung's name with what it costs. */
export function rungLabel(level: { height: number; bitrate: number; frameRate?: number }): string {
  return `${rungName(level)} · ${(level.bitrate / 1e6).toFixed(1)} Mbit/s`;
}
