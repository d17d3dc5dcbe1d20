/**
 * Counts stalls: times that the picture stands still although it is meant to move, after the first frame.
 * A `waiting` that a seek or a start brings is none.
 */
export class Stalls {
  count = 0;
  totalMs = 0;
  private since: number | null = null;

  /** The picture stands still. */
  begin(now: number, meantToMove: boolean): void {
    if (this.since !== null || !meantToMove) return;
    this.since = now;
    this.count += 1;
  }

  /** The picture moves again, or is no longer meant to. */
  end(now: number): void {
    if (this.since === null) return;
    this.totalMs += now - this.since;
    this.since = null;
  }

  get active(): boolean {
    return this.since !== null;
  }
}
