"""Fixed random: getrandom(2) gives the same bytes in every run, for results that can be repeated.

    notifyd run --rules fixed-random --option seed=7 -- python3 -c 'import os; print(os.urandom(4))'

The result is emulated: the supervisor writes the bytes into the program's memory. Do not use it
for anything secret: everybody who knows the seed knows the bytes.

What it does not change: bytes from /dev/urandom, from the processor, and from the vDSO's getrandom
(newer C libraries on Linux 6.11), which makes no system call.
"""

import hashlib
from itertools import count

from notifyd import GetRandom, Return, on, option

SEED = option("seed", "0", summary="another seed, other bytes")
MAX_SIZE = 256  # bytes of one answer; a request for more is a short read: getrandom(2)

calls = count()


@on(GetRandom)
def fixed_random(call: GetRandom) -> Return:
    """The next bytes of a stream that only the seed and the order of the calls decide."""
    size = min(call.size, MAX_SIZE)
    data = hashlib.shake_256(f"{SEED}:{next(calls)}".encode()).digest(size)
    return Return(size, memory={call.buffer: data})
