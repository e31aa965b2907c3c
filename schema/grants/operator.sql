-- operator: what the reader and the runner may (granted with this), and prices and how an organisation is billed, too.
GRANT UPDATE ON platform_pricing TO {role};
GRANT INSERT, UPDATE, DELETE ON skill_pricing TO {role};
GRANT INSERT, UPDATE ON org_billing_config TO {role};
GRANT INSERT ON reconciler_decisions TO {role};
GRANT EXECUTE ON FUNCTION billing_set_price, billing_close TO {role};
