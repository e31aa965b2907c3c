"""Turns what a Kubernetes cluster did into a billing ledger: gather, plan, guard, apply."""

__version__ = "0.1.0"
