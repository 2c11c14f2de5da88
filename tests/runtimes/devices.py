"""What a container tries in tests of `harmless-devices`, and what comes of it."""

MAKES = 'mknod /tmp/n c 1 3 && echo text > /tmp/n && stat -c "%F %t:%T %u:%g" /tmp/n'
REFUSED = "! mknod /tmp/d b 8 0 && ! [ -e /tmp/d ]"
MADE = "character special file 1:3 0:0\n"
TRIES = f"{MAKES} && {REFUSED}"
