// Publishes what a page draws and plays, by WHIP. `arguments`: endpoint, key, and what to send.
const [endpoint, key, wish] = arguments;
const state = (window.__whip = { error: null, session: null, offer: null, answer: null });

// A picture that says its time in black and white bars, and is white for the first tenth of each second; a tone meanwhile.
function drawn() {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [wish.width, wish.height];
  const context = canvas.getContext("2d", { alpha: false });
  const sound = new AudioContext({ sampleRate: 48000 });
  const tone = sound.createOscillator();
  const gain = sound.createGain();
  const out = sound.createMediaStreamDestination();
  tone.frequency.value = 1000;
  gain.gain.value = 0;
  tone.connect(gain).connect(out);
  tone.start();
  let planned = Math.floor(sound.currentTime) + 1;
  const epoch = () => performance.timeOrigin + performance.now();
  let turn = 0;
  const draw = () => {
    // Where on the sound's clock the present moment is, by which the tones are planned.
    const { contextTime, performanceTime } = sound.getOutputTimestamp();
    const now = contextTime + (performance.now() - performanceTime) / 1000;
    while (planned < now + 2) {
      gain.gain.setValueAtTime(0.5, planned);
      gain.gain.setValueAtTime(0, planned + 0.1);
      planned += 1;
    }
    const second = now - Math.floor(now);
    context.fillStyle = second < 0.1 ? "#fff" : `hsl(${(turn++ * 7) % 360} 60% 30%)`;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.fillStyle = `hsl(${(turn * 13) % 360} 80% 60%)`;
    context.fillRect((turn * 11) % canvas.width, canvas.height / 2, canvas.width / 8, canvas.height / 3);
    const ms = BigInt(Math.round(epoch()));
    for (let bit = 0; bit < 48; bit += 1) {
      context.fillStyle = (ms >> BigInt(bit)) & 1n ? "#fff" : "#000";
      context.fillRect((bit * canvas.width) / 48, 0, Math.ceil(canvas.width / 48), canvas.height / 8);
    }
  };
  setInterval(draw, 1000 / wish.fps);
  state.canvas = canvas;
  const stream = canvas.captureStream(wish.fps);
  return [...(wish.video ? stream.getVideoTracks() : []), ...(wish.audio ? out.stream.getAudioTracks() : [])];
}

(async () => {
  const tracks = drawn();
  const connection = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  state.connection = connection;
  for (const track of tracks) {
    const options = { direction: "sendonly" };
    if (track.kind === "video") {
      options.sendEncodings = wish.layers ?? [{ maxBitrate: wish.bitrate }];
    }
    const transceiver = connection.addTransceiver(track, options);
    if (track.kind === "video") {
      const all = RTCRtpSender.getCapabilities("video").codecs;
      const wanted = all.filter((codec) => codec.mimeType === wish.codec || /rtx|red|ulpfec/.test(codec.mimeType));
      transceiver.setCodecPreferences(wanted);
    }
  }
  await connection.setLocalDescription(await connection.createOffer());
  state.offer = connection.localDescription.sdp;
  const headers = { "Content-Type": "application/sdp", Authorization: `Bearer ${key}` };
  const answer = await fetch(endpoint, { method: "POST", headers, body: state.offer });
  if (answer.status !== 201) throw new Error(`${answer.status} ${await answer.text()}`);
  state.session = new URL(answer.headers.get("location"), endpoint).href;
  state.tag = answer.headers.get("etag");
  state.answer = await answer.text();
  await connection.setRemoteDescription({ type: "answer", sdp: state.answer });
})().catch((error) => (state.error = String(error)));
