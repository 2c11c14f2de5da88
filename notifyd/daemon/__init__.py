"""The daemon: configuration, composition, control, reload, metrics."""
