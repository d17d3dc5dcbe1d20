#!/usr/bin/env bash
# Everything that `make test` runs, with one build for all of it; closes with the counts of the runners themselves.
# An end-to-end test starts the release programs, so those are what is tested.
set -uo pipefail
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=()
step() { # name, command…
  local name=$1
  shift
  echo "=== $name"
  "$@" 2>&1 | tee -a "$log"
  [ "${PIPESTATUS[0]}" -eq 0 ] || failed+=("$name")
}

step 'build' cargo build --release --locked --workspace --all-targets
[ ${#failed[@]} -eq 0 ] || exit 1
# Cargo runs one test program after the other; inside one, worlds take turns (tests/src/world.rs).
step 'unit, integration and end-to-end tests' cargo test --release --locked --workspace --no-fail-fast
if [ -x fuzz/run.sh ]; then
  step 'short fuzz runs' make --no-print-directory fuzz FUZZ_SECONDS="${FUZZ_SECONDS:-15}"
fi
step 'web: types' npm --prefix control-plane/web run --silent check
step 'web: tests' npm --prefix control-plane/web run --silent test

echo '=== counts'
awk '/^test result:/ { programs++; passed += $4; failed += $6; ignored += $8 }
     END { printf "cargo test: %d programs, %d passed, %d failed, %d ignored (the long ones: make soak)\n", programs, passed, failed, ignored }' "$log"
awk '/^# (tests|pass|fail) / { n[$2] += $3 } /^ℹ (tests|pass|fail) / { n[$2] += $3 }
     END { printf "node --test: %d tests, %d passed, %d failed\n", n["tests"], n["pass"], n["fail"] }' "$log"
if [ ${#failed[@]} -gt 0 ]; then
  # The last lines are what is read first.
  grep -E '^test .* FAILED$|^not ok|^thread .* panicked at|^Error: ' "$log" | cut -c1-600 | sort -u | head -40
  printf 'FAILED: %s\n' "${failed[@]}"
  exit 1
fi
echo 'all passed'
