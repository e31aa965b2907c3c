"""The long proofs: each runs on its own, and in a short form with the tests."""
