/** Who goes live, and what is needed for it. Held in memory only: a reload asks again. */
export interface Access {
  token: string;
  channel: { slug: string; name: string };
  key: string;
  whip: string;
}

export interface Finding {
  code: string;
  severity: 'info' | 'warning' | 'critical';
  text: string;
  remedy: string;
}

/** How the media server sees the publisher. */
export interface Publisher {
  live: boolean;
  findings: Finding[] | null;
  video: { codec: string; width: number; height: number } | null;
}

const PATIENCE_MS = 8000;

/** Something went wrong, in words for whoever is at the page. */
export class Refused extends Error {}

async function call<T>(path: string, token: string | null, body?: unknown): Promise<T> {
  const headers: Record<string, string> = { accept: 'application/json' };
  if (token) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers['content-type'] = 'application/json';
  let reply: Response;
  try {
    reply = await fetch(`/api/v1${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers,
      body: body === undefined ? null : JSON.stringify(body),
      cache: 'no-store',
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
  } catch {
    throw new Refused('The server cannot be reached. Is the connection up?');
  }
  if (reply.ok) return (await reply.json()) as T;
  const problem = (await reply.json().catch(() => null)) as { detail?: string } | null;
  throw new Refused(problem?.detail ?? `The server answered ${reply.status}.`);
}

/** Signs in, and fetches the key of the account's channel: the password is needed for that too, and is not kept. */
export async function signIn(login: string, password: string): Promise<Access> {
  const { token } = await call<{ token: string }>('/auth/login', null, { login, password });
  const { channel } = await call<{ channel: Access['channel'] | null }>('/me', token);
  if (!channel) throw new Refused('This account has no channel to go live on.');
  const at = `/channels/${encodeURIComponent(channel.slug)}`;
  const [keys, ingest] = await Promise.all([
    call<{ data: { id: string }[] }>(`${at}/stream-keys`, token),
    call<{ whip: string }>(`${at}/ingest`, token),
  ]);
  const id = keys.data[0]?.id;
  if (!id) throw new Refused('The channel has no stream key: make one first.');
  const { key } = await call<{ key: string }>(`${at}/stream-keys/${id}/reveal`, token, { password });
  return { token, channel, key, whip: ingest.whip };
}

export function publisher(access: Access): Promise<Publisher> {
  return call<Publisher>(`/channels/${encodeURIComponent(access.channel.slug)}/publisher`, access.token);
}
