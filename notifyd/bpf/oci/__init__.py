"""Seccomp profiles as the OCI runtime specification has them: read, merged, checked, written."""
