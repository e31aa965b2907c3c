INSERT INTO reconciler_schema (version) VALUES (1) ON CONFLICT (version) DO NOTHING;
