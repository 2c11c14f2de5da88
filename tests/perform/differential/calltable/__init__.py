"""The table of calls that are made natively and performed, and what runs and compares it."""
