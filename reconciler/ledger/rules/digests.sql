-- Compares the rows of each pass with its digest, and each digest with the previous one.
SELECT rule, NULL, NULL, ARRAY[CASE WHEN rule = 'digest-chain' THEN 'reconciler_digests' ELSE 'reconciler_passes' END], ARRAY[pass_id],
       CASE rule WHEN 'digest-rows' THEN 'its row, or rows that name it, were altered after it was written'
                 WHEN 'digest-chain' THEN 'digests of this pass or of passes before it were altered or removed'
                 ELSE 'the first pass with a digest is ' || first_id END
FROM (
    SELECT pass_id, first_id, CASE
        WHEN d.digest IS NULL AND r.pass_id > first_id THEN 'digest-missing'
        WHEN d.rows_digest IS DISTINCT FROM r.rows_digest AND d.digest IS NOT NULL THEN 'digest-rows'
        WHEN d.digest <> sha256(coalesce(d.before, '') || d.rows_digest) THEN 'digest-chain' END AS rule
    FROM (
        SELECT earlier.* FROM (SELECT max(pass_id) AS id FROM reconciler_digests WHERE encoding = 1 HAVING count(*) > 0) last
        CROSS JOIN LATERAL reconciler_pass_digests(0, last.id, -1, -1, 1) earlier
        UNION ALL
        SELECT later.* FROM (SELECT max(pass_id) FILTER (WHERE encoding = 1) AS id FROM reconciler_digests) last
        CROSS JOIN LATERAL reconciler_pass_digests(coalesce(last.id, -1) + 1, 9223372036854775807) later
    ) r
    FULL JOIN (SELECT *, lag(digest) OVER (ORDER BY pass_id) AS before FROM reconciler_digests) d USING (pass_id)
    CROSS JOIN (SELECT min(pass_id) AS first_id FROM reconciler_digests) first
) checked WHERE rule IS NOT NULL
UNION ALL
-- And the rows that no pass wrote with the seal of the adoption.
SELECT 'adoption', NULL, NULL, ARRAY['reconciler_adoptions'], ARRAY[coalesce(a.id, 0)],
       concat('sealed: ', coalesce(a.lifecycles, 0), ' lifecycles, ', coalesce(a.skill_events, 0), ' and ', coalesce(a.suspension_events, 0),
              ' events; there are: ', r.lifecycles, ' lifecycles, ', r.skill_events, ' and ', r.suspension_events, ' events')
FROM reconciler_adopted_rows() r
LEFT JOIN (SELECT * FROM reconciler_adoptions ORDER BY id DESC LIMIT 1) a ON true
WHERE a.rows_digest IS DISTINCT FROM r.rows_digest AND (a.id IS NOT NULL OR r.lifecycles + r.skill_events + r.suspension_events > 0)
