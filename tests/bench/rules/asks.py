"""uname asks a person, each process for itself: questions that wait."""

from notifyd import Ask, Uname, on


@on(Uname)
def asks(call: Uname) -> Ask:
    return Ask(f"may {call.process.pid} know?")
