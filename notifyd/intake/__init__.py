"""Where listeners come from: the sockets, the arrival protocols and their codecs.

Knows neither rules nor verdicts. The codecs (`*_wire`) are pure: bytes and descriptors in,
messages out.
"""
