// Publishes what a page draws and plays, by WHIP. `arguments`: endpoint, key, and what to send.
const [endpoint, key, wish] = arguments;
const state = (window.__whip = { error: null, session: null, offer: null, answer: null });

// A picture that says its time in black and white bars, and a tone for the first tenth of each second of the sound's clock.
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
  const began = [];
  const draw = () => {
    // The tones are planned by the sound's clock, and what it says now is what leaves it now.
    const now = sound.currentTime;
    // Its clock goes on by leaps, so the least is the truest; where there is little time it loses some, so not of long ago.
    if (now > 0) began.push(epoch() - 1000 * now);
    if (began.length > 60) began.shift();
    state.began = Math.min(...began);
    while (planned < now + 2) {
      gain.gain.setValueAtTime(0.5, planned);
      gain.gain.setValueAtTime(0, planned + 0.1);
      planned += 1;
    }
    // Chromium begins a layer anew where its picture changes much, each of them by itself.
    const change = wish.layers ? 0.5 : 7;
    context.fillStyle = `hsl(${(turn++ * change) % 360} 60% 30%)`;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.fillStyle = `hsl(${(turn * 2 * change) % 360} 80% 60%)`;
    context.fillRect((turn * 11) % canvas.width, canvas.height / 2, canvas.width / 8, canvas.height / 3);
    const ms = BigInt(Math.round(epoch()));
    for (let bit = 0; bit < 48; bit += 1) {
      context.fillStyle = (ms >> BigInt(bit)) & 1n ? "#fff" : "#000";
      context.fillRect((bit * canvas.width) / 48, 0, Math.ceil(canvas.width / 48), canvas.height / 8);
    }
    // The next at a whole number of pictures.
    const next = (Math.floor(now * wish.fps + 0.5) + 1) / wish.fps;
    setTimeout(draw, Math.max(1, (next - sound.currentTime) * 1000));
  };
  draw();
  state.canvas = canvas;
  const stream = canvas.captureStream();
  return [...(wish.video ? stream.getVideoTracks() : []), ...(wish.audio ? out.stream.getAudioTracks() : [])];
}

// What the page makes of an answer: by which way it goes.
function routed(sdp) {
  const lines = sdp.split("\r\n").flatMap((line) => {
    if (!line.startsWith("a=candidate:")) return [line];
    const [head, component, transport, priority, , , ...rest] = line.split(" ");
    if (wish.tcp) return transport === "tcp" ? [line] : [];
    if (!wish.path) return [line];
    return transport === "udp" ? [[head, component, transport, priority, ...wish.path, ...rest].join(" ")] : [];
  });
  return lines.join("\r\n");
}

// So many kilobits a second are sent from the beginning, whatever the browser takes its line for.
function sure(sdp) {
  if (!wish.sure) return sdp;
  const rates = `x-google-min-bitrate=${wish.sure};x-google-start-bitrate=${wish.sure}`;
  return sdp.replace(/^(a=fmtp:\d+ .*profile-level-id=[^\r]*)/gm, `$1;${rates}`);
}

// ICE begins again, as RFC 9725 4.3.3 has it.
state.restart = async () => {
  const { connection } = state;
  connection.restartIce();
  await connection.setLocalDescription(await connection.createOffer());
  const offer = connection.localDescription.sdp;
  const named = (text, name) => text.match(new RegExp(`a=${name}:(.*)\r\n`))[1];
  const body = ["ice-ufrag", "ice-pwd"].map((name) => `a=${name}:${named(offer, name)}\r\n`).join("");
  const headers = { "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*" };
  const reply = await fetch(state.session, { method: "PATCH", headers, body });
  const fragment = await reply.text();
  if (reply.status !== 200) throw new Error(`${reply.status} ${fragment}`);
  state.tag = reply.headers.get("etag");
  let answer = state.answer;
  for (const name of ["ice-ufrag", "ice-pwd"]) {
    answer = answer.replace(new RegExp(`a=${name}:.*\r\n`, "g"), `a=${name}:${named(fragment, name)}\r\n`);
  }
  state.answer = answer;
  await connection.setRemoteDescription({ type: "answer", sdp: routed(answer) });
};

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
      // A machine that has much else to do leaves pictures out in place of making them smaller.
      const parameters = transceiver.sender.getParameters();
      parameters.degradationPreference = "maintain-resolution";
      await transceiver.sender.setParameters(parameters);
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
  await connection.setRemoteDescription({ type: "answer", sdp: sure(routed(state.answer)) });
})().catch((error) => (state.error = String(error)));
