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
    FROM reconciler_pass_digests(0, 9223372036854775807) r
    FULL JOIN (SELECT *, lag(digest) OVER (ORDER BY pass_id) AS before FROM reconciler_digests) d USING (pass_id)
    CROSS JOIN (SELECT min(pass_id) AS first_id FROM reconciler_digests) first
) checked WHERE rule IS NOT NULL
