#!/usr/bin/env bash
# Two builds under the same load at the same time: bench-beside.sh OLD NEW [STREAMS] [RUNS]
# OLD and NEW are folders with a media-server. On a machine whose speed changes from minute to minute only this tells
# whether a build costs more CPU than another.
set -euo pipefail
cd "$(dirname "$0")/.."
old=$(realpath "${1:?usage: bench-beside.sh OLD NEW [STREAMS] [RUNS]}")
new=$(realpath "${2:?usage: bench-beside.sh OLD NEW [STREAMS] [RUNS]}")
streams=${3:-8}
bench=${CARGO_TARGET_DIR:-target}/release/weir-bench
for _ in $(seq "${4:-4}"); do
  results=$(mktemp -d)
  WEIR_BIN=$old "$bench" --alone "$streams" >"$results/old" &
  WEIR_BIN=$new "$bench" --alone "$streams" >"$results/new"
  wait
  paste "$results/old" "$results/new" | awk '{ printf "old %s  new %s  new/old %.2f\n", $1, $2, $2 / $1 }'
  rm -r "$results"
done
