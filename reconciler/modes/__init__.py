"""The ways in which passes follow one another."""
