"""The pure middle: values and functions without I/O, clock, logger or settings."""
