"""Phase 1 schemas as portals may have them: each a table changed, or rows that stand in it."""

# ruff: noqa: E501 - a statement is read more easily whole

from tests.portal.portal import PHASE_1

BASE = PHASE_1["d"]

FITS: dict[str, str] = {
    "as it is": "",
    "a surrogate id and UNIQUE (tenant_name)": """
        ALTER TABLE tenant_billing_lifecycle DROP CONSTRAINT tenant_billing_lifecycle_pkey;
        ALTER TABLE tenant_billing_lifecycle ADD id serial PRIMARY KEY;
        ALTER TABLE tenant_billing_lifecycle ADD CONSTRAINT one_per_name UNIQUE (tenant_name)""",
    "a unique index on the name that each boot makes again": """
        ALTER TABLE tenant_billing_lifecycle DROP CONSTRAINT tenant_billing_lifecycle_pkey;
        CREATE UNIQUE INDEX IF NOT EXISTS uq_name ON tenant_billing_lifecycle (tenant_name)""",
    "a unique index on lower(name)": "CREATE UNIQUE INDEX uq_lower ON tenant_billing_lifecycle (lower(tenant_name))",
    "a primary key under another name": "ALTER TABLE tenant_billing_lifecycle RENAME CONSTRAINT tenant_billing_lifecycle_pkey TO pk_tbl",
    "a partial unique index on live names": "CREATE UNIQUE INDEX uq_live ON tenant_billing_lifecycle (tenant_name) WHERE deleted_at IS NULL",
    "a composite primary key": """
        ALTER TABLE tenant_billing_lifecycle DROP CONSTRAINT tenant_billing_lifecycle_pkey,
        ADD PRIMARY KEY (tenant_name, zitadel_org_id), ADD UNIQUE (tenant_name)""",
    "one tenant an organisation and name": """
        ALTER TABLE tenant_billing_lifecycle ADD UNIQUE (zitadel_org_id, tenant_name, created_at)""",
    "another surrogate key": """
        ALTER TABLE tenant_billing_lifecycle DROP CONSTRAINT tenant_billing_lifecycle_pkey;
        ALTER TABLE tenant_billing_lifecycle ADD lifecycle uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        ADD UNIQUE (tenant_name)""",
    "ids that somebody else gives": """
        ALTER TABLE tenant_skill_events ALTER id DROP DEFAULT, ALTER id SET DEFAULT 7;
        DROP SEQUENCE tenant_skill_events_id_seq CASCADE;
        CREATE SEQUENCE numbers; ALTER TABLE tenant_skill_events ALTER id SET DEFAULT nextval('numbers')""",
    "integer ids": """
        ALTER TABLE tenant_skill_events ALTER id TYPE integer;
        ALTER TABLE tenant_suspension_events ALTER id TYPE integer""",
    "identity ids": """
        ALTER TABLE tenant_skill_events ALTER id DROP DEFAULT;
        DROP SEQUENCE tenant_skill_events_id_seq;
        ALTER TABLE tenant_skill_events ALTER id ADD GENERATED ALWAYS AS IDENTITY""",
    "no ids": "ALTER TABLE tenant_skill_events DROP id; ALTER TABLE tenant_suspension_events DROP id",
    "a unique constraint over the columns of an event": "ALTER TABLE tenant_skill_events ADD UNIQUE (tenant_name, skill_id, event_kind, occurred_at)",
    "a primary key over the columns of an event": """
        ALTER TABLE tenant_skill_events DROP id,
        ADD PRIMARY KEY (tenant_name, skill_id, event_kind, occurred_at)""",
    "a foreign key to the name": """
        ALTER TABLE tenant_skill_events ADD CONSTRAINT of_tenant
        FOREIGN KEY (tenant_name) REFERENCES tenant_billing_lifecycle (tenant_name)""",
    "a foreign key to the prices of skills": """
        INSERT INTO skill_pricing (skill_id) VALUES ('mail'), ('wiki'), ('chat'), ('crm');
        ALTER TABLE tenant_skill_events ADD FOREIGN KEY (skill_id) REFERENCES skill_pricing""",
    "texts of a limited length": """
        ALTER TABLE tenant_billing_lifecycle ALTER tenant_name TYPE varchar(63), ALTER zitadel_org_id TYPE varchar(32);
        ALTER TABLE tenant_skill_events ALTER tenant_name TYPE varchar(63), ALTER skill_id TYPE varchar(20),
        ALTER event_kind TYPE varchar(8);
        ALTER TABLE tenant_suspension_events ALTER tenant_name TYPE varchar(63)""",
    "a domain over text": """
        CREATE DOMAIN tenant AS text CHECK (value <> '');
        ALTER TABLE tenant_skill_events ALTER tenant_name TYPE tenant""",
    "kinds as an ENUM": """
        CREATE TYPE skill_event AS ENUM ('enabled', 'disabled');
        ALTER TABLE tenant_skill_events DROP CONSTRAINT tenant_skill_events_event_kind_check;
        ALTER TABLE tenant_skill_events ALTER event_kind TYPE skill_event USING event_kind::skill_event,
        ALTER event_kind SET DEFAULT 'enabled', ADD CONSTRAINT known CHECK (event_kind IN ('enabled', 'disabled'))""",
    "times of whole seconds": "ALTER TABLE tenant_skill_events ALTER occurred_at TYPE timestamptz(0)",
    "an organisation on each event": """
        ALTER TABLE tenant_skill_events ADD org_id text;
        CREATE FUNCTION of_portal() RETURNS trigger LANGUAGE plpgsql AS
            $f$ BEGIN NEW.org_id := coalesce(NEW.org_id, 'org-8'); RETURN NEW; END $f$;
        CREATE TRIGGER a_portal BEFORE INSERT ON tenant_skill_events FOR EACH ROW EXECUTE FUNCTION of_portal();
        ALTER TABLE tenant_skill_events ALTER org_id SET NOT NULL""",
    "more columns, nullable or with a default": """
        ALTER TABLE tenant_billing_lifecycle ADD note text, ADD plan text NOT NULL DEFAULT 'free';
        ALTER TABLE tenant_suspension_events ADD actor text, ADD created_at timestamptz NOT NULL DEFAULT now()""",
    "columns that may be null": """
        ALTER TABLE tenant_billing_lifecycle ALTER zitadel_org_id DROP NOT NULL, ALTER created_at DROP NOT NULL;
        ALTER TABLE tenant_skill_events ALTER occurred_at DROP NOT NULL, ALTER skill_id DROP NOT NULL""",
    "no deleted_at until now": "ALTER TABLE tenant_billing_lifecycle DROP deleted_at",
    "a CHECK that a life has a length": "ALTER TABLE tenant_billing_lifecycle ADD CONSTRAINT positive CHECK (deleted_at > created_at)",
    "unlogged events": "ALTER TABLE tenant_suspension_events SET UNLOGGED",
    "a view on the tables": """
        CREATE VIEW live_tenants AS SELECT tenant_name FROM tenant_billing_lifecycle WHERE deleted_at IS NULL;
        CREATE VIEW events AS SELECT * FROM tenant_skill_events""",
    "a trigger of the portal": """
        CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN RETURN NEW; END $f$;
        CREATE TRIGGER touched BEFORE INSERT OR UPDATE ON tenant_billing_lifecycle
        FOR EACH ROW EXECUTE FUNCTION touched()""",
    "policies that bind others": "ALTER TABLE tenant_skill_events ENABLE ROW LEVEL SECURITY",
    "without suspensions": "DROP TABLE tenant_suspension_events",
    "without prices": "DROP TABLE platform_pricing, skill_pricing, org_billing_config",
    "prices without keys": """
        ALTER TABLE skill_pricing DROP CONSTRAINT skill_pricing_pkey;
        ALTER TABLE org_billing_config DROP CONSTRAINT org_billing_config_pkey""",
    "prices as they come": """
        ALTER TABLE platform_pricing ALTER tenant_monthly_fee_chf TYPE numeric, ALTER vat_rate_chli TYPE numeric(4,2);
        ALTER TABLE skill_pricing ALTER skill_id TYPE varchar(40)""",
}
"""The ledger can be installed: the statements come after those of the base."""

REFUSED: dict[str, tuple[str, str]] = {
    "a NOT NULL column without a default": (
        "ALTER TABLE tenant_skill_events ADD actor text NOT NULL",
        "tenant_skill_events.actor: is NOT NULL without a default",
    ),
    "a NOT NULL column on the lifecycle": (
        "ALTER TABLE tenant_billing_lifecycle ADD plan text NOT NULL",
        "tenant_billing_lifecycle.plan: is NOT NULL without a default",
    ),
    "a NOT NULL column on prices": (
        "ALTER TABLE skill_pricing ADD label text NOT NULL",
        "skill_pricing.label: is NOT NULL without a default",
    ),
    "times without a zone": (
        "ALTER TABLE tenant_skill_events ALTER occurred_at TYPE timestamp",
        "tenant_skill_events.occurred_at: is timestamp without time zone",
    ),
    "other words": (
        """ALTER TABLE tenant_skill_events DROP CONSTRAINT tenant_skill_events_event_kind_check,
           ADD CONSTRAINT words CHECK (event_kind IN ('on', 'off'))""",
        "tenant_skill_events.event_kind: words refuses 'disabled'",
    ),
    "an ENUM of other words": (
        """CREATE TYPE skill_event AS ENUM ('enabled', 'stopped');
           ALTER TABLE tenant_skill_events DROP CONSTRAINT tenant_skill_events_event_kind_check;
           ALTER TABLE tenant_skill_events ALTER event_kind TYPE skill_event USING event_kind::skill_event""",
        "tenant_skill_events.event_kind: is skill_event, which has no 'disabled'",
    ),
    "no organisation": (
        "ALTER TABLE tenant_billing_lifecycle RENAME zitadel_org_id TO owner",
        "tenant_billing_lifecycle.zitadel_org_id: is missing",
    ),
    "a column of ours with a meaning of its own": (
        "ALTER TABLE tenant_skill_events ADD observed_at timestamptz",
        "tenant_skill_events.observed_at: has the name of a column that the ledger adds",
    ),
    "a uuid as the lifecycle's id": (
        """ALTER TABLE tenant_billing_lifecycle DROP CONSTRAINT tenant_billing_lifecycle_pkey;
           ALTER TABLE tenant_billing_lifecycle ADD id uuid PRIMARY KEY DEFAULT gen_random_uuid()""",
        "tenant_billing_lifecycle.id: is uuid, and bigint is needed",
    ),
    "a foreign key from a table of the portal": (
        "CREATE TABLE notes (tenant_name text REFERENCES tenant_billing_lifecycle)",
        "tenant_billing_lifecycle: notes refers to its key",
    ),
    "a view that groups by the key": (
        "CREATE VIEW v AS SELECT tenant_name, created_at, count(*) FROM tenant_billing_lifecycle GROUP BY tenant_name",
        "tenant_billing_lifecycle: view v groups by its key",
    ),
    "a view over a column that has to change": (
        """ALTER TABLE tenant_skill_events ALTER skill_id TYPE varchar(20);
           CREATE VIEW v AS SELECT skill_id FROM tenant_skill_events""",
        "tenant_skill_events.skill_id: is character varying(20), and text is needed, but view v uses it",
    ),
    "a view in the place of a table": (
        "DROP TABLE tenant_suspension_events; CREATE VIEW tenant_suspension_events AS SELECT 1 AS id",
        "tenant_suspension_events: is a view",
    ),
    "partitioned events": (
        """DROP TABLE tenant_suspension_events; CREATE TABLE tenant_suspension_events (
           id bigserial, tenant_name text NOT NULL, event_kind text NOT NULL, occurred_at timestamptz NOT NULL
           ) PARTITION BY RANGE (occurred_at)""",
        "tenant_suspension_events: is a partitioned table",
    ),
    "a table with children": (
        "CREATE TABLE old_events () INHERITS (tenant_skill_events)",
        "tenant_skill_events: has a parent, children or partitions",
    ),
    "an EXCLUDE": (
        "ALTER TABLE tenant_suspension_events ADD CONSTRAINT apart EXCLUDE (tenant_name WITH =)",
        "tenant_suspension_events: apart, an EXCLUDE",
    ),
    "a function of the portal with a name of ours": (
        "CREATE FUNCTION next_invoice_number(text) RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "next_invoice_number: is a function already",
    ),
    "a single row of prices by a boolean": (
        "ALTER TABLE platform_pricing DROP CONSTRAINT platform_pricing_pkey, DROP id, ADD id boolean DEFAULT true",
        "platform_pricing.id: is boolean, and numeric is needed",
    ),
}
"""It cannot: the statements, and what is said."""

ROWS_REFUSED: dict[str, tuple[str, str]] = {
    "two live rows of one name": (
        """ALTER TABLE tenant_billing_lifecycle DROP CONSTRAINT tenant_billing_lifecycle_pkey;
           INSERT INTO tenant_billing_lifecycle VALUES ('ada', 'org-1', now()), ('ada', 'org-2', now())""",
        "tenant_billing_lifecycle.tenant_name: has 1 names with more than one live row, ada among them",
    ),
    "kinds that nobody knows": (
        """ALTER TABLE tenant_suspension_events DROP CONSTRAINT tenant_suspension_events_event_kind_check;
           INSERT INTO tenant_suspension_events (tenant_name, event_kind) VALUES ('ada', 'paused')""",
        "tenant_suspension_events.event_kind: is neither suspended nor resumed in 1 rows, but 'paused'",
    ),
    "times that never come": (
        "INSERT INTO tenant_billing_lifecycle VALUES ('ada', 'org-1', '-infinity', NULL)",
        "tenant_billing_lifecycle.created_at: is no day of a calendar in 1 rows: -infinity",
    ),
    "nulls": (
        """ALTER TABLE tenant_skill_events ALTER occurred_at DROP NOT NULL;
           INSERT INTO tenant_skill_events (tenant_name, skill_id, event_kind, occurred_at)
           VALUES ('ada', 'mail', 'enabled', NULL)""",
        "tenant_skill_events.occurred_at: is null in 1 rows",
    ),
    "ids that come twice": (
        """ALTER TABLE tenant_skill_events DROP CONSTRAINT tenant_skill_events_pkey;
           INSERT INTO tenant_skill_events (id, tenant_name, skill_id, event_kind)
           VALUES (1, 'ada', 'mail', 'enabled'), (1, 'bea', 'mail', 'enabled')""",
        "tenant_skill_events.id: numbers the rows, and 1 of its values come more than once",
    ),
    "a skill with two prices": (
        """ALTER TABLE skill_pricing DROP CONSTRAINT skill_pricing_pkey;
           INSERT INTO skill_pricing (skill_id) VALUES ('mail'), ('mail')""",
        "skill_pricing.skill_id: is a key, and 1 of its values come more than once, mail among them",
    ),
}
"""It cannot, for what was written."""
