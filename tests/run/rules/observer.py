"""Observer: looks at every path and address, and lets the kernel go on."""

from notifyd import Connect, Continue, Exec, Open, on


@on(Open)
def opens(call: Open) -> Continue:
    """Path as given, path as resolved, flags."""
    assert isinstance(call.pathname, bytes)
    assert call.path.is_absolute()
    return Continue()


@on(Connect)
def connects(call: Connect) -> Continue:
    """The address."""
    assert call.address is None or call.address.family >= 0
    return Continue()


@on(Exec)
def executes(call: Exec) -> Continue:
    """Path and arguments."""
    assert call.path.is_absolute()
    assert len(call.argv) >= 0
    return Continue()
