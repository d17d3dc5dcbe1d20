#!/usr/bin/env bash
# The benchmarks: bench.sh [NAME…] (default: all of them). Called by `make bench`.
# Each row goes to the terminal and between its markers in docs/benchmarks.md.
set -euo pipefail
cd "$(dirname "$0")/.."
exec "${CARGO_TARGET_DIR:-target}/release/weir-bench" --write docs/benchmarks.md "$@"
