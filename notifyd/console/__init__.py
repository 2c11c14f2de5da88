"""The console in a browser. It speaks to the daemon over the control socket alone."""
