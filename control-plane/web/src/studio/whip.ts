/** Publishes by WHIP (RFC 9725), and goes on publishing when the line breaks. */
import { backoff } from '../backoff';
import { links } from './links';

export type Air = 'off' | 'connecting' | 'live' | 'reconnecting';

export interface Listener {
  air(air: Air): void;
  /** What went wrong; null once it is over. */
  trouble(text: string | null): void;
}

/** What goes out, once a second. */
export interface Figures {
  bitrate: number;
  framesPerSecond: number;
  width: number;
  height: number;
  roundTripMs: number | null;
  /** Share of the packets that the server missed. */
  lost: number | null;
  /** Why the browser sends less than it was asked to. */
  limited: 'cpu' | 'bandwidth' | null;
}

const PATIENCE_MS = 10_000;
/** A path that is lost may come back by itself; after this long ICE begins again. */
const LOST_MS = 2500;
/** And after this long the session does. */
const GIVE_UP_MS = 12_000;
const LONGEST_WAIT_MS = 8000;

class Problem extends Error {
  constructor(
    readonly status: number,
    detail: string,
  ) {
    super(detail);
  }

  /** The same request gets the same answer. */
  get isFinal(): boolean {
    return this.status >= 400 && this.status < 500 && ![404, 408, 409, 412, 425, 429].includes(this.status);
  }
}

export class Whip {
  private connection: RTCPeerConnection | null = null;
  private session: URL | null = null;
  private etag = '*';
  private answer = '';
  private failures = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private restarts = false;
  private over = false;
  private sent = { bytes: 0, at: 0 };

  constructor(
    private readonly endpoint: string,
    private readonly key: string,
    private readonly listener: Listener,
    private video: MediaStreamTrack | null,
    private audio: MediaStreamTrack | null,
    /** Bits a second of the picture, at most. */
    private readonly bitrate: number,
  ) {
    listener.air('connecting');
    void this.begin();
  }

  /** Ends the stream. */
  async stop(): Promise<void> {
    this.over = true;
    clearTimeout(this.timer);
    this.listener.air('off');
    await this.leave();
  }

  /** What is sent from now on; a stream keeps the kinds of tracks that it began with. */
  async replace(video: MediaStreamTrack | null, audio: MediaStreamTrack | null): Promise<void> {
    [this.video, this.audio] = [video, audio];
    const senders = this.connection?.getTransceivers() ?? [];
    await Promise.all(
      senders.map(({ sender, receiver }) => sender.replaceTrack(receiver.track.kind === 'video' ? video : audio)),
    );
  }

  async figures(): Promise<Figures | null> {
    const connection = this.connection;
    if (!connection) return null;
    const reports = [...(await connection.getStats()).values()];
    const out = reports.filter((it) => it.type === 'outbound-rtp');
    const picture = out.find((it) => it.kind === 'video');
    const far = reports.filter((it) => it.type === 'remote-inbound-rtp');
    const bytes = out.reduce((sum, it) => sum + (it.bytesSent ?? 0), 0);
    const [now, before] = [performance.now(), this.sent];
    this.sent = { bytes, at: now };
    const trip = far.map((it) => it.roundTripTime).find((it) => typeof it === 'number');
    const pair = reports.find((it) => it.type === 'candidate-pair' && it.nominated)?.currentRoundTripTime;
    const limited = picture?.qualityLimitationReason;
    return {
      bitrate: before.at ? Math.max(0, ((bytes - before.bytes) * 8000) / (now - before.at)) : 0,
      framesPerSecond: picture?.framesPerSecond ?? 0,
      width: picture?.frameWidth ?? 0,
      height: picture?.frameHeight ?? 0,
      roundTripMs: typeof (trip ?? pair) === 'number' ? (trip ?? pair) * 1000 : null,
      lost: far.find((it) => it.kind === 'video')?.fractionLost ?? null,
      limited: limited === 'cpu' || limited === 'bandwidth' ? limited : null,
    };
  }

  private async begin(): Promise<void> {
    try {
      await this.open();
    } catch (error) {
      this.failed(error);
    }
  }

  private async open(): Promise<void> {
    const connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    this.connection = connection;
    this.sent = { bytes: 0, at: 0 };
    connection.addEventListener('connectionstatechange', () => this.changed(connection));
    if (this.video) await this.send(connection, this.video);
    if (this.audio) connection.addTransceiver(this.audio, { direction: 'sendonly' });
    const offer = await connection.createOffer();
    const reply = await this.ask(this.endpoint, 'POST', 'application/sdp', offer.sdp ?? '');
    this.answer = await reply.text();
    const location = reply.headers.get('location');
    if (!location) throw new Problem(0, 'The server did not say where the session is.');
    this.session = new URL(location, this.endpoint);
    this.etag = reply.headers.get('etag') ?? '*';
    if (this.connection !== connection || this.over) return void this.leave();
    // The servers that help to find a way must be known before it is looked for.
    const iceServers = links(reply.headers.get('link') ?? '');
    if (iceServers.length) connection.setConfiguration({ bundlePolicy: 'max-bundle', iceServers });
    await connection.setLocalDescription(offer);
    await connection.setRemoteDescription({ type: 'answer', sdp: this.answer });
    this.timer = setTimeout(() => {
      const detail = 'No connection came about: does a firewall keep UDP and TCP from the media server’s WebRTC port?';
      if (connection.connectionState !== 'connected') this.failed(new Problem(0, detail));
    }, PATIENCE_MS);
  }

  private async send(connection: RTCPeerConnection, track: MediaStreamTrack): Promise<void> {
    const encoding = { maxBitrate: this.bitrate };
    const transceiver = connection.addTransceiver(track, { direction: 'sendonly', sendEncodings: [encoding] });
    // Every player plays H.264.
    const codecs = RTCRtpSender.getCapabilities('video')?.codecs ?? [];
    const first = codecs.filter((codec) => codec.mimeType === 'video/H264');
    const rest = codecs.filter((codec) => codec.mimeType !== 'video/H264');
    if (first.length) transceiver.setCodecPreferences?.([...first, ...rest]);
    // Each new size is a break for those who watch the source: rather fewer pictures.
    const parameters = transceiver.sender.getParameters();
    Object.assign(parameters, { degradationPreference: 'maintain-resolution' });
    await transceiver.sender.setParameters(parameters).catch(() => undefined);
  }

  private async ask(url: string | URL, method: string, type: string | null, body: string | null): Promise<Response> {
    const headers: Record<string, string> = { Authorization: `Bearer ${this.key}` };
    if (type) headers['Content-Type'] = type;
    if (method === 'PATCH') headers['If-Match'] = this.etag;
    let reply: Response;
    try {
      const signal = AbortSignal.timeout(PATIENCE_MS);
      // A page that is closed still says goodbye.
      reply = await fetch(url, { method, headers, body, signal, keepalive: method === 'DELETE' });
    } catch {
      throw new Problem(0, `The media server cannot be reached at ${new URL(url).origin}.`);
    }
    if (reply.ok) return reply;
    const problem = (await reply.json().catch(() => null)) as { detail?: string } | null;
    throw new Problem(reply.status, problem?.detail ?? `The media server answered ${reply.status}.`);
  }

  private changed(connection: RTCPeerConnection): void {
    if (connection !== this.connection || this.over) return;
    const state = connection.connectionState;
    if (state === 'connected') {
      clearTimeout(this.timer);
      this.failures = 0;
      this.restarts = false;
      this.listener.air('live');
      this.listener.trouble(null);
    } else if (state === 'disconnected' || state === 'failed') {
      this.listener.air('reconnecting');
      this.listener.trouble('The line to the media server is lost. Trying again …');
      clearTimeout(this.timer);
      this.timer = setTimeout(() => void this.again(connection), state === 'failed' ? 0 : LOST_MS);
    }
  }

  /** A new path for the session that there is (RFC 9725 4.3.3); a new session where that does not come about. */
  private async again(connection: RTCPeerConnection): Promise<void> {
    if (connection !== this.connection || this.over) return;
    try {
      if (this.restarts || !this.session) throw new Problem(0, 'The line to the media server is lost. Trying again …');
      this.restarts = true;
      const offer = await connection.createOffer({ iceRestart: true });
      const names = ['ice-ufrag', 'ice-pwd'];
      const lines = names.map((name) => `a=${name}:${attribute(offer.sdp ?? '', name)}\r\n`);
      const reply = await this.ask(this.session, 'PATCH', 'application/trickle-ice-sdpfrag', lines.join(''));
      this.etag = reply.headers.get('etag') ?? '*';
      const fragment = await reply.text();
      for (const name of names) {
        const line = new RegExp(`a=${name}:.*\r\n`, 'g');
        this.answer = this.answer.replace(line, `a=${name}:${attribute(fragment, name)}\r\n`);
      }
      if (connection !== this.connection || this.over) return;
      await connection.setLocalDescription(offer);
      await connection.setRemoteDescription({ type: 'answer', sdp: this.answer });
      this.timer = setTimeout(() => {
        if (connection.connectionState !== 'connected') void this.again(connection);
      }, GIVE_UP_MS);
    } catch (error) {
      this.failed(error);
    }
  }

  private failed(error: unknown): void {
    if (this.over) return;
    clearTimeout(this.timer);
    void this.leave();
    this.restarts = false;
    this.listener.trouble(error instanceof Error ? error.message : String(error));
    if (error instanceof Problem && error.isFinal) {
      this.over = true;
      this.listener.air('off');
      return;
    }
    this.listener.air('reconnecting');
    this.timer = setTimeout(() => void this.begin(), backoff(this.failures++, 1000, LONGEST_WAIT_MS));
  }

  private async leave(): Promise<void> {
    const session = this.session;
    this.session = null;
    this.connection?.close();
    this.connection = null;
    if (session) await this.ask(session, 'DELETE', null, null).catch(() => undefined);
  }
}

/** The value of an attribute of SDP. */
function attribute(sdp: string, name: string): string {
  return new RegExp(`^a=${name}:(.*?)\r?$`, 'm').exec(sdp)?.[1] ?? '';
}
