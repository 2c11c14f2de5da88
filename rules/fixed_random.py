"""Fixed random: getrandom(2) gives the same bytes in every run, for results that can be repeated.

    notifyd run --rules fixed-random --option seed=7 -- python3 -c 'import os; print(os.urandom(4))'

An emulated result. Never for anything secret. Bytes from /dev/urandom, from the processor or from a
vDSO getrandom (newer C libraries on Linux 6.11) do not pass here.
"""

import hashlib
from itertools import count

from notifyd import GetRandom, Return, on, option

SEED = option("seed", "0", summary="another seed, other bytes")
MOST = 256  # bytes of one answer; more is a short read, as getrandom(2) allows

numbers = count()


@on(GetRandom)
def fixed_random(call: GetRandom) -> Return:
    """The next bytes of a stream that only the seed and the order of the calls decide."""
    size = min(call.size, MOST)
    data = hashlib.shake_256(f"{SEED}:{next(numbers)}".encode()).digest(size)
    return Return(size, memory={call.buffer: data})
