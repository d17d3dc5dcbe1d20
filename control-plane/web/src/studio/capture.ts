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
  private camera: MediaStream | null = null;
  private screen: MediaStream | null = null;
  private microphone: MediaStream | null = null;
  private composite: Composite | null = null;

  /** `ended`: a source went away, e.g. the screen is not shared any more. */
  constructor(private readonly ended: (what: string) => void) {}

  get audio(): MediaStreamTrack | null {
    return this.mixer.track;
  }

  /** Opens what is wished, in place of what was open. */
  async open(wish: Wish): Promise<void> {
    this.release();
    const { width, height } = wish.quality;
    const size = { width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: FPS, max: FPS } };
    // The screen first: browsers ask only shortly after a click.
    if (wish.show !== 'camera') {
      this.screen = await navigator.mediaDevices.getDisplayMedia({
        video: { width: { max: width }, height: { max: height }, frameRate: { max: FPS } },
        audio: true,
      });
      this.watch(this.screen, 'The screen is not shared any more.');
    }
    if (wish.show !== 'screen') {
      const deviceId = wish.camera ? { exact: wish.camera } : undefined;
      this.camera = await navigator.mediaDevices.getUserMedia({ video: { ...size, ...(deviceId && { deviceId }) } });
      this.watch(this.camera, 'The camera is gone.');
    }
    if (wish.microphone !== 'none') {
      const deviceId = wish.microphone ? { exact: wish.microphone } : undefined;
      this.microphone = await navigator.mediaDevices.getUserMedia({ audio: deviceId ? { deviceId } : true });
      this.watch(this.microphone, 'The microphone is gone.');
    }
    const [camera, screen] = [this.camera?.getVideoTracks()[0], this.screen?.getVideoTracks()[0]];
    if (screen) screen.contentHint = 'detail';
    if (camera && screen) {
      this.composite = await Composite.of(screen, camera, FPS);
      this.video = this.composite.track;
    } else this.video = screen ?? camera ?? null;
    await this.mixer.open(this.microphone, this.screen?.getAudioTracks().length ? this.screen : null);
  }

  /** The picture is black while it is off. */
  showPicture(on: boolean): void {
    for (const stream of [this.camera, this.screen]) for (const track of stream?.getVideoTracks() ?? []) track.enabled = on;
  }

  close(): void {
    this.release();
    this.mixer.close();
  }

  private release(): void {
    this.composite?.close();
    for (const stream of [this.camera, this.screen, this.microphone]) for (const track of stream?.getTracks() ?? []) track.stop();
    this.camera = this.screen = this.microphone = this.composite = this.video = null;
  }

  private watch(stream: MediaStream, text: string): void {
    for (const track of stream.getTracks()) track.addEventListener('ended', () => this.ended(text));
  }
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
