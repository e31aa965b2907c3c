INSERT INTO reconciler_schema (version) VALUES (3) ON CONFLICT (version) DO NOTHING;
