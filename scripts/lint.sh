#!/usr/bin/env bash
# rustfmt, clippy with warnings denied, the web pages' checks and cargo-deny. Called by `make lint`.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo fmt --all -- --check
cargo clippy --workspace --all-targets --locked -- -D warnings
npm --prefix control-plane/web run --silent check
if ! command -v cargo-deny >/dev/null; then
  echo 'cargo-deny is not installed: installing it once, by cargo'
  cargo install cargo-deny --locked --quiet
fi
cargo deny --log-level error check bans licenses sources
# The advisories are a database on the network; without one the rest still stands.
if cargo deny --log-level error fetch db 2>/dev/null; then
  cargo deny --log-level error check advisories
else
  echo 'note: the advisory database could not be fetched; advisories were NOT checked'
fi
