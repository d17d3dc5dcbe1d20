// Plays by WHEP, and reads from each picture when it was drawn. `arguments`: endpoint, and what to do otherwise.
const [endpoint, wish] = arguments;
const state = (window.__whep = { error: null, session: null, ages: [], firstFrameMs: null, pictures: 0 });

(async () => {
  const began = performance.now();
  const connection = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  state.connection = connection;
  const video = document.createElement("video");
  Object.assign(video, { autoplay: true, playsInline: true });
  document.body.append(video);
  state.video = video;
  const stream = new MediaStream();
  connection.addEventListener("track", ({ track }) => stream.addTrack(track));
  video.srcObject = stream;
  const canvas = document.createElement("canvas");
  const look = () => {
    state.firstFrameMs ??= performance.now() - began;
    state.pictures += 1;
    const drawn = read(video, canvas);
    if (drawn !== null) state.ages.push(performance.timeOrigin + performance.now() - drawn);
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
  for (const kind of ["video", "audio"]) connection.addTransceiver(kind, { direction: "recvonly" });
  await connection.setLocalDescription(await connection.createOffer());
  const headers = { "Content-Type": "application/sdp" };
  const answer = await fetch(endpoint, { method: "POST", headers, body: connection.localDescription.sdp });
  if (answer.status !== 201) throw new Error(`${answer.status} ${await answer.text()}`);
  state.session = new URL(answer.headers.get("location"), endpoint).href;
  const lines = (await answer.text()).split("\r\n").flatMap((line) => {
    if (!wish.path || !line.startsWith("a=candidate:")) return [line];
    const [head, component, transport, priority, , , ...rest] = line.split(" ");
    return transport === "udp" ? [[head, component, transport, priority, ...wish.path, ...rest].join(" ")] : [];
  });
  await connection.setRemoteDescription({ type: "answer", sdp: lines.join("\r\n") });
})().catch((error) => (state.error = String(error)));
