// Puts what the media server embeds into dist/: the page and the player library, as published by its authors.
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';

const here = (path) => new URL(path, import.meta.url);
mkdirSync(here('dist/'), { recursive: true });
const text = (path) => readFileSync(here(path), 'utf8');
const script = '// between_segments.js\n';
if (!text('index.html').includes(script)) throw new Error(`index.html has no line for ${script}`);
writeFileSync(here('dist/index.html'), text('index.html').replace(script, () => text('between_segments.js')));
copyFileSync(here('node_modules/hls.js/dist/hls.min.js'), here('dist/hls.min.js'));
