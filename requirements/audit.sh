#!/usr/bin/env bash
# Looks for known faults in what requirements/ installs: trivy, with its database as it is today.
# Exit status 0: none; 1: not checked, since no database answers; 2: faults, which are listed.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.."
trivy=${TRIVY:-.venv/bin/trivy}
if ! said=$(timeout 300 "$trivy" fs --quiet --download-db-only requirements 2>&1); then
  echo "audit: not checked: no database of known faults answers (${said##*$'\n'})" >&2
  exit 1
fi
aside=$(mktemp -d)
trap 'rm -rf "$aside"' EXIT
# trivy knows the name; hashes it has no use for.
cat requirements/*.txt | sed -n 's/ --hash=.*//p' | sort -u >"$aside/requirements.txt"
"$trivy" fs --quiet --skip-db-update --scanners vuln --exit-code 2 "$aside"
