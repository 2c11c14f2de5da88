"""Starting a command behind a filter, and living with it at a terminal.

Knows neither rules nor verdicts: it starts the command and hands over the listener.
"""
