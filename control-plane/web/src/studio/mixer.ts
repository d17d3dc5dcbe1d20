/** Microphone and screen in one sound, with the level of each. */
export class Mixer {
  /** One for the page's life: what is sent stays the same track when sources change. */
  private context: AudioContext | null = null;
  private out: MediaStreamAudioDestinationNode | null = null;
  private readonly inputs = new Map<string, { gain: GainNode; level: AnalyserNode; source: MediaStreamAudioSourceNode }>();
  private samples = new Float32Array(1024);

  get track(): MediaStreamTrack | null {
    return this.out?.stream.getAudioTracks()[0] ?? null;
  }

  /** Names of what is heard. */
  get names(): string[] {
    return [...this.inputs.keys()];
  }

  async open(microphone: MediaStream | null, screen: MediaStream | null): Promise<void> {
    this.context ??= new AudioContext({ sampleRate: 48_000, latencyHint: 'interactive' });
    this.out ??= this.context.createMediaStreamDestination();
    await this.context.resume();
    for (const input of this.inputs.values()) {
      input.source.disconnect();
      input.gain.disconnect();
    }
    this.inputs.clear();
    for (const [name, stream] of [['Microphone', microphone], ['Screen', screen]] as const) {
      if (!stream?.getAudioTracks().length) continue;
      const source = this.context.createMediaStreamSource(new MediaStream(stream.getAudioTracks()));
      const [gain, level] = [this.context.createGain(), this.context.createAnalyser()];
      level.fftSize = this.samples.length;
      source.connect(gain).connect(this.out);
      gain.connect(level);
      this.inputs.set(name, { gain, level, source });
    }
  }

  mute(name: string, muted: boolean): void {
    const input = this.inputs.get(name);
    if (input) input.gain.gain.value = muted ? 0 : 1;
  }

  /** The highest sample of the last 20 ms, 0 to 1. */
  peak(name: string): number {
    const input = this.inputs.get(name);
    if (!input) return 0;
    input.level.getFloatTimeDomainData(this.samples);
    return this.samples.reduce((peak, sample) => Math.max(peak, Math.abs(sample)), 0);
  }

  close(): void {
    void this.context?.close();
    this.context = this.out = null;
    this.inputs.clear();
  }
}
