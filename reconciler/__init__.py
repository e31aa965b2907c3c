"""Turns what a Kubernetes cluster did into a billing ledger: gather, plan, guard, apply."""

__version__ = "0.1.0"
SCHEMA_VERSION = 3
"""Of the tables in `schema/`; `reconciler schema apply` brings a database there."""
