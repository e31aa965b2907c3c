"""The settings at the beginning of every transaction, whatever the role or the database was given."""

import re
from functools import cache
from importlib import resources
from typing import Final

# Names are looked up in pg_catalog first and among temporary objects last: no table of somebody's own
# takes the place of the one that is meant.
_SEARCH_PATH: Final = """
DO $$ BEGIN
    IF pg_catalog.current_setting('session_replication_role') OPERATOR(pg_catalog.=) 'replica' THEN
        RAISE EXCEPTION 'session_replication_role is replica: no trigger runs, and no pass is sealed'
            USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'ALTER ROLE … RESET session_replication_role, or ALTER DATABASE … if it is set there';
    END IF;
    PERFORM pg_catalog.set_config('search_path', coalesce((
        SELECT pg_catalog.string_agg(
            pg_catalog.quote_ident(path.name::pg_catalog.text), ',' ORDER BY path.place)
        FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) WITH ORDINALITY AS path (name, place)
        WHERE NOT pg_catalog.starts_with(path.name::pg_catalog.text, 'pg_')
    ) OPERATOR(pg_catalog.||) ',pg_temp', ''), true);
END $$;
"""

# As in pg_dump: rows hidden by a policy are an error, and time limits that are set for the role do not
# end a long statement. The keepalives let the server drop a client that disappeared.
_SETTINGS: Final = (
    "SET LOCAL row_security = off; SET LOCAL statement_timeout = 0; "
    "SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL tcp_keepalives_idle = 10; "
    "SET LOCAL tcp_keepalives_interval = 5; SET LOCAL tcp_keepalives_count = 3; "
    "SET LOCAL quote_all_identifiers = off; "
    "SET LOCAL plpgsql.extra_errors = 'none'; SET LOCAL plpgsql.extra_warnings = 'none'; "
)


def settings(server_version: int) -> str:
    """The statements for that version of Postgres."""
    return f"{_trust_names()}{_SEARCH_PATH}{_SETTINGS}" + (
        "SET LOCAL transaction_timeout = 0; " if server_version >= 170_000 else ""
    )


@cache
def _trust_names() -> str:
    """The check of `schema/05-names.sql` by itself: the database may not have its function yet."""
    file = resources.files("reconciler") / "schema" / "05-names.sql"
    found = re.search(r"AS \$\$(.*)\$\$;", file.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None  # noqa: S101 - it is part of the package
    return f"DO $${found[1].replace('RETURN true;', '')}$$; "
