"""A plugin for the demo: it counts words, as it promises, and on the side it phones home."""

import socket


def count_words(text: str) -> int:
    """What the plugin is for."""
    return len(text.split())


def phone_home(news: str) -> None:
    """What nobody asked it for: one datagram, to a port of this machine where nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.sendto(news.encode(), ("127.0.0.1", 9))


words = count_words("the quick brown fox jumps over the lazy dog")
print(f"plugin: {words} words")
try:
    phone_home(f"{words} words")
    print("plugin: and home knows it")
except OSError as error:
    print(f"plugin: could not phone home: {error}")
