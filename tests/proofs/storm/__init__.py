"""A storm of changes on the tests' API server, while everything is restarted; see `__main__`."""
