#!/usr/bin/env bash
# Starts Weir on embedded defaults, publishes the demo picture and runs an LL-HLS checker against it.
# outside-check.sh CHECKER [SECONDS]
set -euo pipefail
checker=$(realpath "$1")
seconds=${2:-30}
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
export WEIR_DATA=$scratch/data
weir=
demo=
finish() {
  [ -z "$demo" ] || kill -TERM "$demo" 2>/dev/null || true
  [ -z "$weir" ] || { kill -TERM "$weir" 2>/dev/null && wait "$weir"; } || true
  rm -rf "$scratch"
}
trap finish EXIT
die() { echo "error: $1" >&2; cat "$scratch"/*.log >&2; exit 1; }

# `make test` has built both programs; only a first call by hand finds nothing.
[ -x target/release/media-server ] && [ -x target/release/control-plane ] || make --no-print-directory build
scripts/run.sh >"$scratch/run.log" 2>&1 &
weir=$!
until [ -s "$WEIR_DATA/demo.json" ]; do
  kill -0 "$weir" 2>/dev/null || die "Weir did not start"
  sleep 0.2
done
# A small picture: two cores carry encoder, ladder and checker.
SIZE=640x360 scripts/demo.sh >"$scratch/demo.log" 2>&1 &
demo=$!
hls=$(jq -r .hls "$WEIR_DATA/demo.json")
deadline=$((SECONDS + 60))
until curl -fsS -o /dev/null --max-time 2 "$hls" 2>/dev/null; do
  [ $SECONDS -lt $deadline ] || die "no playlist at $hls within 60 s"
  kill -0 "$demo" 2>/dev/null || die "the publisher ended"
  sleep 0.2
done
# The checker looks for EXT-X-PROGRAM-DATE-TIME on complete segments: in a stream's first two seconds there is none.
until curl -fsS --max-time 2 "${hls%/*}/source/index.m3u8" 2>/dev/null | grep -q '^#EXTINF'; do
  [ $SECONDS -lt $deadline ] || die "no complete segment within 60 s"
  sleep 0.2
done
python3 "$checker" "$hls" -t "$seconds"
