#!/usr/bin/env bash
# The long tests: those marked #[ignore = "soak: …"] in tests/, one after the other, then longer fuzzing.
# Called by `make soak`. Each writes its row into docs/benchmarks.md ($WEIR_ROWS).
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --locked --workspace --all-targets
WEIR_ROWS=$PWD/docs/benchmarks.md cargo test --release --locked -p weir-tests --no-fail-fast -- --ignored --nocapture
if [ -x fuzz/run.sh ]; then
  make --no-print-directory fuzz FUZZ_SECONDS="${FUZZ_SECONDS:-600}"
fi
