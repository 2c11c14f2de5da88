"""What a rule author touches: operations, verdicts, `on`, `always`, rule sets and their loading."""
