// The pages' own logic, compiled by the bundler's compiler: Node 18 does not read TypeScript.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { transformWithEsbuild } from 'vite';

async function load(path) {
  const url = new URL(`../src/${path}`, import.meta.url);
  const { code } = await transformWithEsbuild(await readFile(url, 'utf8'), url.pathname, { loader: 'ts' });
  return import(`data:text/javascript,${encodeURIComponent(code)}`);
}

const { backoff, jitter } = await load('backoff.ts');
const { route } = await load('route.ts');
const { explain } = await load('player/trouble.ts');
const { asksAgain, POLICIES } = await load('player/policy.ts');
const { Standstill } = await load('player/standstill.ts');
const { Stalls } = await load('player/stalls.ts');
const { links } = await load('studio/links.ts');
const { rungLabel } = await load('player/state.ts');
const { offlineText } = await load('channel.ts');

test('waits grow, are spread, and have a limit', () => {
  assert.equal(backoff(0, 1000, 15000, () => 0), 500);
  assert.equal(backoff(0, 1000, 15000, () => 1), 1000);
  assert.equal(backoff(3, 1000, 15000, () => 1), 8000);
  assert.equal(backoff(1e9, 1000, 15000, () => 1), 15000);
  assert.equal(jitter(1000, () => 0.5), 1000);
});

test('servers that help to find a way are read from a Link header', () => {
  const header =
    '<stun:stun.example.net>; rel="ice-server", ' +
    '<turn:turn.example.net?transport=udp>; rel="ice-server"; username="ada"; credential="a, \\"b\\""; credential-type="password", ' +
    '<https://example.net/next>; rel="next"';
  assert.deepEqual(links(header), [
    { urls: 'stun:stun.example.net' },
    { urls: 'turn:turn.example.net?transport=udp', username: 'ada', credential: 'a, "b"' },
  ]);
  assert.deepEqual(links(''), []);
});

test('an address names a page', () => {
  assert.deepEqual(route('/'), { page: 'front' });
  assert.deepEqual(route('/studio'), { page: 'studio' });
  assert.deepEqual(route('/watch/Ada_1'), { page: 'watch', slug: 'ada_1' });
  for (const wrong of ['/watch/', '/watch/a/b', '/watch/%2e%2e', '/other']) {
    assert.deepEqual(route(wrong), { page: 'missing' });
  }
});

test('every error has a reason in plain words, and says whether it is tried again', () => {
  assert.match(explain({ type: 'networkError', details: 'manifestLoadError', status: 404 }).text, /^Offline/);
  assert.match(explain({ type: 'networkError', details: 'manifestLoadError', status: 503 }).text, /503/);
  assert.match(explain({ type: 'networkError', details: 'levelLoadTimeOut' }).text, /too long/);
  assert.match(explain({ type: 'networkError', details: 'fragLoadError' }).text, /cannot be reached/);
  assert.equal(explain({ type: 'mediaError', details: 'manifestIncompatibleCodecsError' }).retrying, false);
});

test('a start or a pause is no stall, and a stall counts once', () => {
  const stalls = new Stalls();
  stalls.begin(0, false);
  assert.equal(stalls.count, 0);
  stalls.begin(100, true);
  stalls.begin(200, true);
  stalls.end(350);
  stalls.end(400);
  assert.equal(stalls.count, 1);
  assert.equal(stalls.totalMs, 250);
});

test('rungs and offline reasons read well', () => {
  assert.equal(rungLabel({ height: 1080, width: 1920, bitrate: 6e6, frameRate: 60 }), '1080p60 · 6.0 Mbit/s');
  assert.equal(rungLabel({ height: 480, width: 854, bitrate: 1.2e6, frameRate: 30 }), '480p · 1.2 Mbit/s');
  assert.match(offlineText({ reason: 'connection-lost' }), /lost the connection/);
  assert.match(offlineText({ reason: null }), /Nothing is on/);
});

test('a server that does not answer is asked again for long, a list that is missing only briefly', () => {
  for (const status of [undefined, 0, 429, 500, 503]) {
    assert.ok(asksAgain(0, status) && asksAgain(11, status), `${status}`);
    assert.ok(!asksAgain(12, status), `${status}`);
  }
  assert.ok(asksAgain(1, 404) && !asksAgain(2, 404));
  assert.ok(!asksAgain(0, 403));
});

test('hls.js asks again through a restart of the server without letting go of what is buffered', () => {
  const { errorRetry } = POLICIES.playlistLoadPolicy.default;
  let waited = 0;
  for (let tries = 0; errorRetry.shouldRetry(errorRetry, tries, false, { code: 0 }, false); tries += 1) {
    waited += Math.min(errorRetry.retryDelayMs * 2 ** tries, errorRetry.maxRetryDelayMs);
  }
  assert.ok(waited >= 15_000 && waited <= 30_000, `${waited} ms`);
});

test('a picture that stands still is told of, brought to the edge, then begun anew until it moves', () => {
  const standstill = new Standstill();
  const given = [];
  for (let now = 0; now <= 45_000; now += 500) {
    const remedy = standstill.look(now, 7, true);
    if (remedy !== 'none') given.push([now, remedy]);
  }
  assert.deepEqual(given, [[2000, 'tell'], [5000, 'edge'], [15_000, 'restart'], [28_000, 'restart'], [41_000, 'restart']]);
  assert.equal(standstill.look(45_500, 7.5, true), 'none', 'it moves');
  assert.equal(standstill.look(47_000, 7.5, true), 'none');
  assert.equal(standstill.look(47_500, 7.5, true), 'tell', 'it stands again');
});

test('a picture that is not meant to move may stand still', () => {
  const standstill = new Standstill();
  for (let now = 0; now <= 60_000; now += 500) assert.equal(standstill.look(now, 7, false), 'none');
});
