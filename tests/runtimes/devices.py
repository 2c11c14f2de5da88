"""What a container tries in tests of `harmless-devices`, and what comes of it."""

MAKES = 'mknod /tmp/n c 1 3 && echo text > /tmp/n && [ -c /tmp/n ] && stat -c "%t:%T %u:%g" /tmp/n'
REFUSED = "! mknod /tmp/d b 8 0 && ! [ -e /tmp/d ]"
MADE = "1:3 0:0\n"
TRIES = f"{MAKES} && {REFUSED}"
