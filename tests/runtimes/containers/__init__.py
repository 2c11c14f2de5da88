"""Real container runtimes from Debian's packages, each behind one small interface (`Runtime`)."""
