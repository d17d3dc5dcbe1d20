// Plays a stream by hls.js on a page of its own, and writes down what a viewer sees: each picture that is shown, how the
// place in the stream goes beside the clock, and whether the player had to wait or to seek.
const [source, library, options] = arguments;
const state = (window.__player = {
  frames: [], // [wall ms, media time s, pictures shown so far, width]
  clock: [], // [wall ms, place s, seconds of media ahead without a hole]
  waiting: 0, seeking: 0, errors: [], shown: [], plays: false, rung: null,
});
const video = document.createElement('video');
video.muted = options.muted;
video.playsInline = true;
document.body.replaceChildren(video);
window.__video = video;

const look = (now, frame) => {
  state.frames.push([now, frame.mediaTime, frame.presentedFrames, frame.width]);
  video.requestVideoFrameCallback(look);
};
video.requestVideoFrameCallback(look);
video.addEventListener('waiting', () => { if (state.plays) state.waiting += 1; });
video.addEventListener('seeking', () => { if (state.plays) state.seeking += 1; });
video.addEventListener('error', () => state.errors.push('video: ' + (video.error && video.error.message)));

const ahead = () => {
  const { buffered, currentTime } = video;
  for (let i = 0; i < buffered.length; i += 1) {
    if (buffered.start(i) <= currentTime && currentTime < buffered.end(i)) return buffered.end(i) - currentTime;
  }
  return -1;
};
setInterval(() => {
  if (video.currentTime > 0) state.clock.push([performance.now(), video.currentTime, ahead()]);
}, 50);

const script = document.createElement('script');
script.src = library;
script.onload = () => {
  // Told which rung comes next, and changes to it as our pages do: between two segments.
  class Told extends betweenSegments(Hls) {
    get wished() { return state.rung ?? super.wished; }
  }
  const hls = (window.__hls = new Hls({
    abrController: Told,
    lowLatencyMode: true, liveDurationInfinity: true, backBufferLength: Infinity,
    maxLiveSyncPlaybackRate: 1, // the place goes as the clock does, or something is wrong
    ...options.hls,
  }));
  hls.on(Hls.Events.ERROR, (_, data) => state.errors.push((data.fatal ? 'fatal: ' : '') + data.details +
    (data.error ? ': ' + data.error.message : '')));
  hls.on(Hls.Events.MANIFEST_PARSED, () => video.play().catch((error) => state.errors.push(String(error))));
  hls.on(Hls.Events.LEVEL_SWITCHED, (_, data) => state.shown.push([performance.now(), data.level]));
  hls.loadSource(source);
  hls.attachMedia(video);
};
document.head.append(script);
