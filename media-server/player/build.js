// Puts what the media server embeds into dist/: the page and the player library, as published by its authors.
import { copyFileSync, mkdirSync } from 'node:fs';

const here = (path) => new URL(path, import.meta.url);
mkdirSync(here('dist/'), { recursive: true });
copyFileSync(here('index.html'), here('dist/index.html'));
copyFileSync(here('node_modules/hls.js/dist/hls.min.js'), here('dist/hls.min.js'));
