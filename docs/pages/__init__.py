"""The pages that docs/generate.py writes, by what they are about."""
