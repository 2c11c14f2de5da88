"""clock_gettime(2): which clock.

From include/uapi/linux/time.h.
"""

from __future__ import annotations

__all__ = ["CLOCKS"]

# A negative number is the clock of a process or of a descriptor.
CLOCKS: dict[str, int] = {
    "CLOCK_REALTIME": 0,
    "CLOCK_MONOTONIC": 1,
    "CLOCK_PROCESS_CPUTIME_ID": 2,
    "CLOCK_THREAD_CPUTIME_ID": 3,
    "CLOCK_MONOTONIC_RAW": 4,
    "CLOCK_REALTIME_COARSE": 5,
    "CLOCK_MONOTONIC_COARSE": 6,
    "CLOCK_BOOTTIME": 7,
    "CLOCK_REALTIME_ALARM": 8,
    "CLOCK_BOOTTIME_ALARM": 9,
    "CLOCK_TAI": 11,
}
