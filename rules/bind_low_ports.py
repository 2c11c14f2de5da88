"""Bind low ports: an unprivileged server may bind the ports named here, below 1024.

    notifyd run --user nobody --rules bind-low-ports --option ports=80 -- python3 -m http.server 80

The supervisor binds the program's own socket to the very address that the rule saw, with the
capability to bind low ports (CAP_NET_BIND_SERVICE) and no other. Every other bind is done with the
program's own capabilities. The supervisor needs the capability itself: run it as root.
"""

from notifyd import Allow, Bind, on, option

MAX_PORT = 65535


def number(text: str) -> int:
    """One port, as TCP and UDP have them."""
    if not text.isdecimal() or not 1 <= int(text) <= MAX_PORT:
        raise ValueError(f"a port is a number from 1 to {MAX_PORT}")
    return int(text)


PORTS = option("ports", (80, 443), convert=number, summary="ports that may be bound")


@on(Bind)
def bind_low_ports(call: Bind) -> Allow:
    """The grant is for the ports named, of IPv4 and IPv6."""
    address = call.address
    is_ip = address is not None and address.host is not None
    if is_ip and address.port in PORTS:
        return Allow(grant="low-ports")
    return Allow()
