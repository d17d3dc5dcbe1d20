import { Composite } from './composite';
import { Mixer } from './mixer';

/** What is shown. */
export type Show = 'camera' | 'screen' | 'both';

export interface Quality {
  label: string;
  width: number;
  height: number;
  /** Bits a second of the picture. */
  bitrate: number;
}

export const QUALITIES: Record<string, Quality> = {
  '1080p': { label: '1080p, 4.5 Mbit/s', width: 1920, height: 1080, bitrate: 4_500_000 },
  '720p': { label: '720p, 2.5 Mbit/s', width: 1280, height: 720, bitrate: 2_500_000 },
  '480p': { label: '480p, 1.2 Mbit/s', width: 854, height: 480, bitrate: 1_200_000 },
};

export interface Wish {
  show: Show;
  camera: string;
  microphone: string;
  quality: Quality;
}

const FPS = 30;

/** Devices of one kind by their names; names are known once access was granted. */
export async function devices(kind: MediaDeviceKind): Promise<MediaDeviceInfo[]> {
  const all = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  return all.filter((device) => device.kind === kind && device.deviceId !== '');
}

/** Why nothing can be captured here at all. */
export function unavailable(): string | null {
  if (window.isSecureContext && navigator.mediaDevices) return null;
  return 'Browsers give cameras and microphones to secure pages only: open the studio by https://, or on this machine by http://localhost.';
}

/** Everything that is captured at the moment. */
export class Capture {
  video: MediaStreamTrack | null = null;
  readonly mixer = new Mixer();
  private streams: MediaStream[] = [];
  private composite: Composite | null = null;

  /** `ended`: a source went away, e.g. the screen is not shared any more. */
  constructor(private readonly ended: (what: string) => void) {}

  get audio(): MediaStreamTrack | null {
    return this.mixer.track;
  }

  /** Opens what is wished, in place of what was open; that stays where this fails. */
  async open(wish: Wish): Promise<void> {
    const { width, height } = wish.quality;
    const opened: MediaStream[] = [];
    const take = async (stream: Promise<MediaStream>, gone: string) => {
      const taken = await stream;
      opened.push(taken);
      for (const track of taken.getTracks()) track.addEventListener('ended', () => this.ended(gone));
      return taken;
    };
    const ask = navigator.mediaDevices;
    const exactly = (device: string) => (device ? { deviceId: { exact: device } } : {});
    let composite: Composite | null = null;
    try {
      // The screen first: browsers ask only shortly after a click.
      const limits = { width: { max: width }, height: { max: height }, frameRate: { max: FPS } };
      const screen =
        wish.show === 'camera'
          ? null
          : await take(ask.getDisplayMedia({ video: limits, audio: true }), 'The screen is not shared any more.');
      const size = { width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: FPS, max: FPS } };
      const camera =
        wish.show === 'screen'
          ? null
          : await take(ask.getUserMedia({ video: { ...size, ...exactly(wish.camera) } }), 'The camera is gone.');
      const microphone =
        wish.microphone === 'none'
          ? null
          : await take(ask.getUserMedia({ audio: wish.microphone ? exactly(wish.microphone) : true }), 'The microphone is gone.');
      const [face, desk] = [camera?.getVideoTracks()[0], screen?.getVideoTracks()[0]];
      if (desk) desk.contentHint = 'detail';
      if (face && desk) composite = await Composite.of(desk, face, FPS);
      await this.mixer.open(microphone, screen);
      this.release();
      [this.streams, this.composite] = [opened, composite];
      this.video = composite?.track ?? desk ?? face ?? null;
    } catch (error) {
      composite?.close();
      for (const stream of opened) stop(stream);
      throw error;
    }
  }

  /** The picture is black while it is off. */
  showPicture(on: boolean): void {
    for (const stream of this.streams) for (const track of stream.getVideoTracks()) track.enabled = on;
  }

  close(): void {
    this.release();
    this.mixer.close();
  }

  private release(): void {
    this.composite?.close();
    for (const stream of this.streams) stop(stream);
    [this.streams, this.composite, this.video] = [[], null, null];
  }
}

function stop(stream: MediaStream): void {
  for (const track of stream.getTracks()) track.stop();
}

/** What to say when a device cannot be had. */
export function explain(error: unknown): string {
  const name = error instanceof DOMException ? error.name : '';
  switch (name) {
    case 'NotAllowedError':
    case 'SecurityError':
      return 'Access was not allowed. Allow it in the browser’s address bar, then try again.';
    case 'NotFoundError':
    case 'OverconstrainedError':
      return 'There is no such device. Plug it in, or choose another one.';
    case 'NotReadableError':
    case 'AbortError':
      return 'The device does not start. Does another program use it?';
    default:
      return error instanceof Error ? error.message : String(error);
  }
}
