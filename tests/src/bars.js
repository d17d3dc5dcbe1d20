// The time that the publisher's page drew in bars (whip.js), milliseconds since the epoch; null where they are no clear bars.
function read(video, canvas) {
  const context = canvas.getContext("2d", { willReadFrequently: true });
  [canvas.width, canvas.height] = [video.videoWidth, Math.max(1, Math.floor(video.videoHeight / 8))];
  context.drawImage(video, 0, 0);
  const row = context.getImageData(0, Math.floor(canvas.height / 2), canvas.width, 1).data;
  let ms = 0n;
  for (let bit = 0; bit < 48; bit += 1) {
    const level = row[4 * Math.floor(((bit + 0.5) * canvas.width) / 48)];
    if (level > 90 && level < 160) return null;
    if (level >= 160) ms |= 1n << BigInt(bit);
  }
  return Number(ms);
}
