"""Where listeners come from, and living with what is behind them at a terminal.

Knows neither rules nor verdicts: it starts a command behind a filter and hands over the listener.
"""
