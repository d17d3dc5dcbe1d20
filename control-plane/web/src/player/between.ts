import Hls from 'hls.js';

/** Off a segment's beginning by less than this, in seconds, is at it. */
const NEAR = 0.1;
/** With less than this ahead, in seconds, any rung at once is better than the right one later. */
const LITTLE = 0.3;

/**
 * hls.js changes rungs in the midst of a segment too, and loads that one anew from its keyframe then. Where its beginning is
 * on the screen already, browsers show no picture up to the next keyframe. This has it change between two segments.
 */
export class BetweenSegments extends Hls.DefaultConfig.abrController {
  override get nextAutoLevel(): number {
    const now = this.hls.loadLevel;
    const end = this.hls.mainForwardBufferInfo?.end;
    const list = this.hls.levels[now]?.details;
    const place = this.hls.media?.currentTime ?? 0;
    if (!end || !list || end - place <= LITTLE) return super.nextAutoLevel;
    const firsts = (list.partList ?? []).filter((part) => part.index === 0);
    const begins = [...list.fragments, ...firsts].some((it) => Math.abs(it.start - end) < NEAR);
    return begins ? super.nextAutoLevel : now;
  }

  override set nextAutoLevel(level: number) {
    super.nextAutoLevel = level;
  }
}
