"""Reports: their figures, and how they look in a real browser."""
