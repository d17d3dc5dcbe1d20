// hls.js changes rungs in the midst of a segment too, and loads that one anew from its keyframe then. Where its beginning is on the
// screen already, browsers show no picture up to the next keyframe. This has it change between two segments.
function betweenSegments(Hls) {
  return class extends Hls.DefaultConfig.abrController {
    get wished() { return super.nextAutoLevel; }
    get nextAutoLevel() {
      const now = this.hls.loadLevel;
      const end = this.hls.mainForwardBufferInfo?.end;
      const list = now >= 0 ? this.hls.levels[now]?.details : null;
      // What is loaded next lies within a segment whose beginning is loaded.
      const within = list && end && ![...list.fragments, ...(list.partList ?? []).filter((part) => part.index === 0)]
        .some((it) => Math.abs(it.start - end) < 0.1);
      return within && end - this.hls.media?.currentTime > 0.3 ? now : this.wished;
    }
    set nextAutoLevel(level) { super.nextAutoLevel = level; }
  };
}
