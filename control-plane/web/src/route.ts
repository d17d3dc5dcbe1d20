/** Which page an address names. */
export type Route = { page: 'front' } | { page: 'studio' } | { page: 'watch'; slug: string } | { page: 'missing' };

export function route(path: string): Route {
  if (path === '/') return { page: 'front' };
  if (/^\/studio\/?$/.test(path)) return { page: 'studio' };
  const slug = /^\/watch\/([A-Za-z0-9_-]{1,64})\/?$/.exec(path)?.[1];
  return slug ? { page: 'watch', slug: slug.toLowerCase() } : { page: 'missing' };
}
