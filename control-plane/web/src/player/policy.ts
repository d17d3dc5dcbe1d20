import type { HlsConfig, RetryConfig } from 'hls.js';

/** A list or a segment is asked for again after these, milliseconds: doubling from the first to the second. */
const FIRST_PAUSE_MS = 400;
const LONGEST_PAUSE_MS = 2000;
/** Unanswered or answered 5xx: about 20 s, in which what is buffered stays and a server may restart. */
const TRIES = 12;
/** Answered 404: it may be a list between two runs of the stream, or a segment of a run that is over. */
const TRIES_MISSING = 2;

/** Whether hls.js asks again by itself, without letting go of what is buffered. */
export function asksAgain(tries: number, status: number | undefined): boolean {
  if (status === 404 || status === 410) return tries < TRIES_MISSING;
  // hls.js gives up at once where nobody answered (status 0), as while a server restarts.
  if (status === undefined || status === 0 || status === 429 || status >= 500) return tries < TRIES;
  return false;
}

const RETRY: RetryConfig = {
  maxNumRetry: TRIES,
  retryDelayMs: FIRST_PAUSE_MS,
  maxRetryDelayMs: LONGEST_PAUSE_MS,
  backoff: 'exponential',
  shouldRetry: (_config, tries, isTimeout, response) => (isTimeout ? tries < TRIES : asksAgain(tries, response?.code)),
};

/** Fewer tries than for lists: a list that has moved on makes an old segment pointless. */
const RETRY_SEGMENT: RetryConfig = {
  ...RETRY,
  maxNumRetry: 3,
  shouldRetry: (_config, tries, isTimeout, response) =>
    tries < 3 && (isTimeout || asksAgain(tries, response?.code)),
};

/** How hls.js asks for playlists and media. The multivariant playlist is the page's own to retry, with its words. */
export const POLICIES: Pick<HlsConfig, 'playlistLoadPolicy' | 'fragLoadPolicy'> = {
  playlistLoadPolicy: {
    default: { maxTimeToFirstByteMs: 10_000, maxLoadTimeMs: 20_000, timeoutRetry: RETRY, errorRetry: RETRY },
  },
  fragLoadPolicy: {
    default: {
      maxTimeToFirstByteMs: 8000,
      maxLoadTimeMs: 20_000,
      timeoutRetry: RETRY_SEGMENT,
      errorRetry: RETRY_SEGMENT,
    },
  },
};
