/** The screen with the camera in a corner. */

/** The camera's width, in widths of the screen, and its distance from the edges. */
const SHARE = 0.24;
const MARGIN = 0.02;

// Of browsers that have it: frames go through the page without being shown, so that they flow in the background too.
interface Breakout {
  MediaStreamTrackProcessor?: new (init: { track: MediaStreamTrack }) => { readable: ReadableStream<VideoFrame> };
  MediaStreamTrackGenerator?: new (init: { kind: 'video' }) => MediaStreamTrack & { writable: WritableStream<VideoFrame> };
}

export class Composite {
  private readonly off = new AbortController();

  private constructor(readonly track: MediaStreamTrack) {}

  static async of(screen: MediaStreamTrack, camera: MediaStreamTrack, fps: number): Promise<Composite> {
    const { MediaStreamTrackProcessor: Processor, MediaStreamTrackGenerator: Generator } = window as Breakout;
    if (Processor && Generator) {
      const out = new Generator({ kind: 'video' });
      const composite = new Composite(out);
      void composite.pipe(new Processor({ track: screen }).readable, new Processor({ track: camera }).readable, out.writable, fps);
      return composite;
    }
    return Composite.drawn(screen, camera, fps);
  }

  close(): void {
    this.off.abort();
    this.track.stop();
  }

  private async pipe(
    screen: ReadableStream<VideoFrame>,
    camera: ReadableStream<VideoFrame>,
    out: WritableStream<VideoFrame>,
    fps: number,
  ): Promise<void> {
    const canvas = new OffscreenCanvas(2, 2);
    const context = canvas.getContext('2d', { alpha: false });
    const writer = out.getWriter();
    const newest: { screen: VideoFrame | null; camera: VideoFrame | null } = { screen: null, camera: null };
    const follow = async (stream: ReadableStream<VideoFrame>, which: keyof typeof newest, then: () => Promise<void>) => {
      const reader = stream.getReader();
      this.off.signal.addEventListener('abort', () => void reader.cancel().catch(() => undefined));
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        newest[which]?.close();
        newest[which] = value;
        await then();
      }
      newest[which]?.close();
      newest[which] = null;
    };
    const began = performance.now();
    let last = -Infinity;
    // Screens send a frame when something changes, cameras all the time: whichever comes makes a picture.
    const draw = async () => {
      const now = performance.now();
      if (!newest.screen || !context || now - last < 750 / fps) return;
      last = now;
      const { displayWidth: width, displayHeight: height } = newest.screen;
      if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
      context.drawImage(newest.screen, 0, 0, width, height);
      const frame = newest.camera;
      if (frame) {
        const at = corner(width, height, frame.displayWidth / frame.displayHeight);
        context.drawImage(frame, at.x, at.y, at.width, at.height);
      }
      await writer.write(new VideoFrame(canvas, { timestamp: Math.round((now - began) * 1000) }));
    };
    const both = [follow(screen, 'screen', draw), follow(camera, 'camera', draw)];
    await Promise.allSettled(both);
    await writer.close().catch(() => undefined);
  }

  /** On a canvas, for other browsers: they may slow it down while the page is not shown. */
  private static async drawn(screen: MediaStreamTrack, camera: MediaStreamTrack, fps: number): Promise<Composite> {
    const canvas = document.createElement('canvas');
    const context = canvas.getContext('2d', { alpha: false });
    const [below, above] = await Promise.all([screen, camera].map(playing));
    const composite = new Composite(canvas.captureStream(fps).getVideoTracks()[0]!);
    const timer = setInterval(() => {
      const [width, height] = [below!.videoWidth, below!.videoHeight];
      if (!width || !context) return;
      if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
      context.drawImage(below!, 0, 0);
      if (!above!.videoWidth) return;
      const at = corner(width, height, above!.videoWidth / above!.videoHeight);
      context.drawImage(above!, at.x, at.y, at.width, at.height);
    }, 1000 / fps);
    composite.off.signal.addEventListener('abort', () => clearInterval(timer));
    return composite;
  }
}

/** Where the camera is: at the lower right. */
function corner(width: number, height: number, ratio: number): { x: number; y: number; width: number; height: number } {
  const [wide, margin] = [Math.round(width * SHARE), Math.round(width * MARGIN)];
  const high = Math.round(wide / ratio);
  return { x: width - wide - margin, y: height - high - margin, width: wide, height: high };
}

async function playing(track: MediaStreamTrack): Promise<HTMLVideoElement> {
  const video = document.createElement('video');
  Object.assign(video, { muted: true, playsInline: true, srcObject: new MediaStream([track]) });
  await video.play();
  return video;
}
