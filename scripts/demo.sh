#!/usr/bin/env bash
# Publishes a moving test picture with sound to the demo channel of a running `make run`. Called by `make demo`.
# SIZE, RATE and SECONDS_LONG change the picture's size, frames a second and how long it runs (default: until Ctrl-C).
set -euo pipefail
cd "$(dirname "$0")/.."
data=${WEIR_DATA:-$PWD/data}
demo=$data/demo.json
not_running() {
  echo "error: $1. Start Weir with 'make run' in another terminal first." >&2
  exit 1
}
[ -r "$demo" ] || not_running "there is no demo channel yet ($demo)"
admin=$(jq -r '.admin // empty' "$data/media-server.ports.json" 2>/dev/null || true)
if [ -z "$admin" ] || ! curl -fsS -o /dev/null --max-time 2 "http://$admin/readyz" 2>/dev/null; then
  not_running "the media server does not answer"
fi
key=$(jq -r .key "$demo")
url=$(jq -r .rtmp "$demo")
echo "publishing to channel \"$(jq -r .channel "$demo")\"; watch it at $(jq -r .watch "$demo")"
rate=${RATE:-30}
length=()
[ -z "${SECONDS_LONG:-}" ] || length=(-t "$SECONDS_LONG")
exec ffmpeg -hide_banner -loglevel warning -stats -nostdin \
  -re -f lavfi -i "testsrc2=size=${SIZE:-1280x720}:rate=$rate" \
  -re -f lavfi -i sine=frequency=440:beep_factor=4:sample_rate=48000 "${length[@]}" \
  -c:v libx264 -preset veryfast -tune zerolatency -pix_fmt yuv420p -g "$((rate * 2))" -b:v 2500k -maxrate 2500k -bufsize 2500k \
  -c:a aac -b:a 128k -ac 2 -f flv "${url%"/$key"}/$key"
