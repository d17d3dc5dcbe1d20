/** STUN and TURN servers of a `Link` header (RFC 9725 4.6). */
export function links(header: string): RTCIceServer[] {
  const servers: RTCIceServer[] = [];
  // Commas stand between links, and within neither addresses nor quoted values of ours.
  for (const link of header.split(/,\s*(?=<)/)) {
    const [, address, rest] = /^\s*<([^>]*)>(.*)$/s.exec(link) ?? [];
    if (!address || !rest || !/;\s*rel="?ice-server"?/i.test(rest)) continue;
    const value = (name: string) => new RegExp(`;\\s*${name}="((?:[^"\\\\]|\\\\.)*)"`, 'i').exec(rest)?.[1];
    const [username, credential] = [value('username'), value('credential')].map((it) => it?.replace(/\\(.)/g, '$1'));
    servers.push({ urls: address, ...(username && { username }), ...(credential && { credential }) });
  }
  return servers;
}
