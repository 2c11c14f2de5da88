import gc

import pytest


def test_order(make_record):
    """The engine makes records by position, so that their order is a promise."""
    record = make_record()
    assert record.__struct_fields__ == (
        "time_ns", "workload", "identity", "tid", "operation", "syscall", "arch", "args", "verdict",
        "how", "errno", "value", "rule", "reason", "racy", "took_ns", "waited_ns",
        "approval", "cause",
    )  # fmt: skip


def test_frozen_and_unseen(make_record):
    """A record cannot change, and costs the garbage collector nothing."""
    record = make_record()
    with pytest.raises(AttributeError):
        record.errno = 0
    assert not gc.is_tracked(record)
