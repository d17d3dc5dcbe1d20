import type { Trouble } from './state';

/** What hls.js reports, as far as the words depend on it. */
export interface Fault {
  type: string;
  details: string;
  status?: number | undefined;
}

/** The picture stands still, and it is nobody's fault here. */
export const INTERRUPTED = 'The broadcaster’s connection is interrupted. The stream goes on here as soon as it is back.';
/** Nothing is on. */
export const OFFLINE = 'Offline. The stream begins here as soon as there is one.';

/** The reason of an error in plain words. */
export function explain(fault: Fault): Trouble {
  const { type, details, status } = fault;
  if (details === 'manifestIncompatibleCodecsError' || details === 'bufferAddCodecError') {
    return { text: 'This browser cannot decode this stream’s format. Another browser may.', retrying: false };
  }
  if (type === 'networkError') {
    if (status === 404) return { text: OFFLINE, retrying: true };
    if (status === 401 || status === 403) {
      return { text: 'The media server refuses this page. Load it again, or log in.', retrying: true };
    }
    if (status !== undefined && status >= 500) {
      return { text: `The media server is in trouble (${status}).`, retrying: true };
    }
    if (details.endsWith('TimeOut')) return { text: 'The media server takes too long to answer.', retrying: true };
    return { text: 'The media server cannot be reached. Is your connection up?', retrying: true };
  }
  if (type === 'mediaError') return { text: 'The picture could not be decoded.', retrying: true };
  return { text: `Playback failed (${details}).`, retrying: true };
}
