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

report=$(dirname "$FOLDER")/november.html
step 'Prices: CHF a month for each tenant, and CHF a day for each skill' \
    pricing set --tenant-monthly-fee-chf 49 --vat-rate-chli 8.1 --from 2026-01-01
step 'One of them' pricing skill set mail 0.50 --from 2026-01-01
step 'The bill so far, by organisation' usage --month 2026-11 --prices --by org --sort amount
step 'The same to look at' report --month 2026-11 --output "$report"

printf '\nOpen %s in a browser.\n' "$report"
printf 'Then try it on your own cluster, which is only read: %s/reconciler run --dry-run --embedded\n' "$BIN"
