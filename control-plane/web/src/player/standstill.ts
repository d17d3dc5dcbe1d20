/** What is to be done about a picture that stands still although it is meant to move. */
export type Remedy = 'none' | 'tell' | 'edge' | 'restart';

/** The viewer is told after this long. */
const TELL_MS = 2000;
/** After this long, playback jumps to where the stream is now. */
const EDGE_MS = 5000;
/** After this long, playback begins anew; again after each such time. */
const RESTART_MS = 15_000;

/**
 * Watches that the picture moves. What hls.js reports as an error is handled elsewhere; this is for a standstill that
 * nobody reports: a hole in the buffer, a list that no longer grows, a decoder that has stopped.
 */
export class Standstill {
  private place = -1;
  private since: number | null = null;
  private given: Remedy = 'none';

  /** `now` in milliseconds, `place` in seconds. Each remedy is given once a standstill, `restart` again and again. */
  look(now: number, place: number, meantToMove: boolean): Remedy {
    if (!meantToMove || place !== this.place || this.since === null) {
      this.place = place;
      this.since = now;
      this.given = 'none';
      return 'none';
    }
    const still = now - this.since;
    if (still >= RESTART_MS) {
      this.since = now - TELL_MS;
      this.given = 'edge';
      return 'restart';
    }
    if (still >= EDGE_MS && this.given === 'tell') return (this.given = 'edge');
    if (still >= TELL_MS && this.given === 'none') return (this.given = 'tell');
    return 'none';
  }
}
