-- The queries of closes.py; see __init__.py. The rules are in schema/43-close.sql.

-- last --
-- The last close of a period: of an org alone or, where that has none, of all orgs.
SELECT id, period_start, period_end, time_zone, zitadel_org_id, revision, as_of_pass, observed_until,
       encode(ledger_digest, 'hex'), closed_at, closed_by, database_user
FROM reconciler_closes
WHERE period_start = %s AND period_end = %s AND time_zone = %s
  AND (zitadel_org_id IS NULL OR zitadel_org_id = %s) AND reconciler_voided(NULL, as_of_pass) IS NULL
ORDER BY zitadel_org_id NULLS LAST, revision DESC LIMIT 1

-- close --
-- A close, and the position of the revision before; null: there was none.
SELECT c.id, c.period_start, c.period_end, c.time_zone, c.zitadel_org_id, c.revision, c.as_of_pass, c.observed_until,
       encode(c.ledger_digest, 'hex'), c.closed_at, c.closed_by, c.database_user, (
           SELECT b.as_of_pass FROM reconciler_closes b
           WHERE (b.period_start, b.period_end, b.time_zone, b.revision)
               = (c.period_start, c.period_end, c.time_zone, c.revision - 1)
             AND b.zitadel_org_id IS NOT DISTINCT FROM c.zitadel_org_id)
FROM reconciler_closes c WHERE c.id = %s

-- write --
-- Writes a close, and returns its number.
SELECT billing_close(%s, %s, %s, %s, %s, %s, %s)

-- totals --
-- What a close came to.
SELECT zitadel_org_id, to_char(month, 'YYYY-MM'), vat_rate_chli, net_chf, vat_chf, gross_chf, net_before_chf
FROM reconciler_close_totals WHERE close_id = %s ORDER BY zitadel_org_id COLLATE "C", month, vat_rate_chli
