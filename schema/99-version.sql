INSERT INTO reconciler_schema (version) VALUES (2) ON CONFLICT (version) DO NOTHING;
