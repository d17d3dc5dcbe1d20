// Reads from each picture that a page's player shows when it was drawn.
const state = (window.__ages = []);
const video = document.querySelector("video");
const canvas = document.createElement("canvas");
const look = () => {
  const drawn = read(video, canvas);
  if (drawn !== null) state.push(performance.timeOrigin + performance.now() - drawn);
  video.requestVideoFrameCallback(look);
};
video.requestVideoFrameCallback(look);
