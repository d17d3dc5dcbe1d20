#!/usr/bin/env bash
# Starts both programs, waits until they are ready, makes the demo channel, prints how to publish and watch,
# and stops both on Ctrl-C or SIGTERM. Called by `make run`.
#
# WEIR_DATA       where everything is kept (default ./data)
# MEDIA_CONFIG    a TOML file for the media server   (default: its embedded defaults)
# CONTROL_CONFIG  a TOML file for the control plane  (default: its embedded defaults)
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${CARGO_TARGET_DIR:-target}/release
export WEIR_DATA=${WEIR_DATA:-$PWD/data}
mkdir -p "$WEIR_DATA/logs"
names=(control-plane media-server)
declare -A pid=()

log_of() { echo "$WEIR_DATA/logs/$1.log"; }
config_of() {
  case $1 in
    media-server) echo "${MEDIA_CONFIG:-}" ;;
    control-plane) echo "${CONTROL_CONFIG:-}" ;;
  esac
}
alive() { [ -n "${pid[$1]:-}" ] && kill -0 "${pid[$1]}" 2>/dev/null; }

# Ends both, media server first so that its last events still reach the control plane.
stop() {
  trap '' INT TERM
  local name
  for name in media-server control-plane; do
    alive "$name" || continue
    kill -TERM "${pid[$name]}" 2>/dev/null || true
    for _ in $(seq 150); do alive "$name" || break; sleep 0.1; done
    if alive "$name"; then
      echo "$name did not stop within 15 s: killed" >&2
      kill -KILL "${pid[$name]}" 2>/dev/null || true
    fi
  done
}
give_up() { # program, sentence
  {
    echo "error: $1 $2"
    echo "--- the end of $(log_of "$1"):"
    tail -n 15 "$(log_of "$1")"
  } >&2
  stop
  exit 1
}
trap 'echo; echo "stopping …"; stop; echo "stopped."; exit 0' INT TERM

# `run` in a session of its own, so that Ctrl-C reaches this script alone and it alone decides the order of the end.
for name in "${names[@]}"; do
  [ -x "$bin/$name" ] || { echo "error: $bin/$name is not built; run 'make build'" >&2; exit 1; }
  rm -f "$WEIR_DATA/$name.ports.json"
  arguments=(run)
  config=$(config_of "$name")
  [ -z "$config" ] || arguments+=(--config "$config")
  setsid "$bin/$name" "${arguments[@]}" >"$(log_of "$name")" 2>&1 </dev/null &
  pid[$name]=$!
done

# Each program writes the addresses that it bound to; the admin listener of the one, the only listener of the other.
ready() {
  local ports=$WEIR_DATA/$1.ports.json address
  [ -s "$ports" ] || return 1
  address=$(jq -r '.admin // .http // empty' "$ports") || return 1
  [ -n "$address" ] && curl -fsS -o /dev/null --max-time 2 "http://$address/readyz" 2>/dev/null
}
for name in "${names[@]}"; do
  printf 'waiting for %s ' "$name"
  deadline=$((SECONDS + 60))
  until ready "$name"; do
    alive "$name" || { echo; give_up "$name" 'ended before it was ready (is a port taken?)'; }
    [ $SECONDS -lt $deadline ] || { echo; give_up "$name" 'was not ready within 60 s'; }
    printf '.'
    sleep 0.2
  done
  echo ' ready'
done

demo=$WEIR_DATA/demo.json
init=(admin init-demo --out "$demo")
[ -z "${CONTROL_CONFIG:-}" ] || init+=(--config "$CONTROL_CONFIG")
"$bin/control-plane" "${init[@]}" >>"$(log_of control-plane)" 2>&1 || give_up control-plane 'could not make the demo channel'
fact() { jq -r "$1 // \"\"" "$demo"; }
key=$(fact .key)
url=$(fact .rtmp)
server=${url%"/$key"}

cat <<TEXT

Weir is running.   Logs: $WEIR_DATA/logs/   Ctrl-C stops it.

  Admin login   $(fact .admin.login)  /  $(fact .admin.password)   at $(fact .api)
  Stream key    $key   (channel "$(fact .channel)")

  OBS           Settings > Stream > Service: Custom…
                Server      $server
                Stream key  $key
                Output > Keyframe interval: 2 s

  ffmpeg        ffmpeg -re -f lavfi -i testsrc2=size=1280x720:rate=30 -f lavfi -i sine=frequency=440:sample_rate=48000 \\
                  -c:v libx264 -preset veryfast -tune zerolatency -pix_fmt yuv420p -g 60 -b:v 2500k \\
                  -c:a aac -b:a 128k -f flv "$server/$key"
                (or: make demo)

  Watch         $(fact .watch)
  LL-HLS        $(fact .hls)

TEXT

set +e
wait -n "${pid[@]}"
for name in "${names[@]}"; do
  alive "$name" || give_up "$name" 'ended unexpectedly'
done
