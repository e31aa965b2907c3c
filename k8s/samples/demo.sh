#!/bin/sh
# The whole idea in a minute, on an embedded Postgres in $FOLDER; $BIN is where `reconciler` is.
set -eu
samples=$(dirname "$0")
first=$samples/tenants-20261101T060000Z.json
second=$samples/tenants-20261104T060000Z.json
export RECONCILER_EMBEDDED=true RECONCILER_EMBEDDED_DIR="$FOLDER"
unset RECONCILER_DATABASE_URL || true

step() {
    printf '\n== %s\n$ reconciler' "$1"
    shift
    printf ' %s' "$@"
    printf '\n'
    "$BIN/reconciler" "$@"
}

step 'Backfill: the ledger is empty, so everything in the first snapshot is new' run --snapshot "$first"
step 'Look ahead: what would the snapshot of three days later change?' run --snapshot "$second" --dry-run
step 'Apply it: exactly those rows are written' run --snapshot "$second"
step 'Again: the ledger already says what the snapshot says' run --snapshot "$second"
