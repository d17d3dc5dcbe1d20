/**
 * How long to wait before the attempt after `failures` failed ones, in milliseconds: doubling from `base` up to
 * `limit`, each spread over half its length, so that viewers who lost a server together do not come back together.
 */
export function backoff(failures: number, base = 1000, limit = 15000, random: () => number = Math.random): number {
  const full = Math.min(limit, base * 2 ** Math.min(Math.max(failures, 0), 16));
  return full * (0.5 + random() * 0.5);
}

/** Around `ms`, 20 % to either side. */
export function jitter(ms: number, random: () => number = Math.random): number {
  return ms * (0.8 + random() * 0.4);
}
