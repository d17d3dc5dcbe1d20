/** What the API says of a channel. */
export interface Channel {
  slug: string;
  name: string;
  live: boolean;
  since: string | null;
  reason: 'never-live' | 'ended' | 'connection-lost' | 'stopped' | null;
  playback: { hls: string };
}

/** An answer about a channel, or why there is none. */
export type Answer = { kind: 'channel'; channel: Channel } | { kind: 'unknown' } | { kind: 'unreachable' };

const PATIENCE_MS = 8000;

export async function ask(slug: string): Promise<Answer> {
  try {
    const reply = await fetch(`/api/v1/channels/${encodeURIComponent(slug)}`, {
      headers: { accept: 'application/json' },
      cache: 'no-store',
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    if (reply.status === 404) return { kind: 'unknown' };
    if (!reply.ok) return { kind: 'unreachable' };
    return { kind: 'channel', channel: (await reply.json()) as Channel };
  } catch {
    return { kind: 'unreachable' };
  }
}

/** Why nothing is on, in plain words. */
export function offlineText(channel: Channel): string {
  switch (channel.reason) {
    case 'connection-lost':
      return 'The broadcaster lost the connection. The stream goes on here when they are back.';
    case 'stopped':
      return 'The stream was stopped by the server.';
    case 'ended':
      return 'The stream has ended.';
    default:
      return 'Nothing is on at the moment.';
  }
}
