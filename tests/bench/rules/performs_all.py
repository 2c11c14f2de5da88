"""Everything that can be performed is: each rule looks at what lies in memory, and allows."""

from notifyd import PATH_OPERATIONS, Allow, Bind, Connect, SendTo, on


@on(*PATH_OPERATIONS)
def performs_paths(call) -> Allow:
    _ = call.paths
    return Allow()


@on(Connect, Bind, SendTo)
def performs_addresses(call) -> Allow:
    _ = call.address if not isinstance(call, SendTo) else call.addresses
    return Allow()
