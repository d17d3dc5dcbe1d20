#!/usr/bin/env bash
# Installs what is missing of the named groups of scripts/apt-packages.txt: deps.sh GROUP…
# Asks dpkg first and touches apt only where something is missing. Uses sudo only where it is not root already.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
list=$here/apt-packages.txt

installed() { [ "$(dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null)" = 'ii ' ]; }

command -v cargo >/dev/null || {
  echo "error: cargo is not on the PATH. Install the stable Rust toolchain from https://rustup.rs first." >&2
  exit 1
}
command -v dpkg-query >/dev/null || {
  echo "note: this is no Debian or Ubuntu; install these yourself where they are missing:" >&2
  sed -e '/^#/d' -e '/^$/d' "$list" >&2
  exit 0
}

missing=()
group=
while read -r names command _; do
  case $names in
    '' | '#'*) continue ;;
    '['*) group=${names//[\[\]]/}; continue ;;
  esac
  [[ " $* " == *" $group "* ]] || continue
  [ -n "$command" ] && command -v "$command" >/dev/null && continue
  found=
  for name in ${names//|/ }; do installed "$name" && found=1; done
  [ -n "$found" ] || missing+=("$names")
done <"$list"
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || {
    echo "error: missing packages, and neither root nor sudo here to install them: ${missing[*]}" >&2
    exit 1
  }
  as_root=(sudo)
fi
echo "installing by apt: ${missing[*]}"
"${as_root[@]}" apt-get update -qq
packages=()
for names in "${missing[@]}"; do
  pick=
  for name in ${names//|/ }; do
    if [ -z "$pick" ] && apt-cache policy "$name" | grep -q 'Candidate: [^(]'; then pick=$name; fi
  done
  packages+=("${pick:-${names%%|*}}")
done
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
