from notifyd.events.counters import FOLD, NONE, Counters, duration


def test_table():
    """Calls of one fate are one row; the most frequent come first; columns are aligned."""
    counters = Counters()
    for took in range(1000, 1201):
        counters.add("Open", "allow", "continued", 0, took)
    counters.add("Connect", "deny", "answered", 13, 2_500_000)
    counters.add("Connect", "deny", "answered", 13, 1_000)
    assert counters.table().splitlines() == [
        "operation  verdict  result     count  slowest",
        "Open       allow    continued    201   1.2 µs",
        "Connect    deny     EACCES         2   2.5 ms",
        "203 calls, 2.7 ms in all",
    ]


def test_empty():
    """A run whose calls all stayed in the kernel says so."""
    assert Counters().table() == NONE == "no calls left the kernel"


def test_folding_keeps_the_numbers():
    """Adding up now and then loses no call."""
    counters = Counters()
    for took in range(FOLD * 2 + 10):
        counters.add("Open", "allow", "continued", 0, took)
    (row,) = counters.rows()
    assert counters.rows() == [row]
    assert (row.count, row.slowest_ns) == (FOLD * 2 + 10, FOLD * 2 + 9)
    assert row.total_ns == sum(range(FOLD * 2 + 10))
    assert all(len(times) < FOLD for times in counters.times.values())


def test_fits_a_terminal():
    """Long names give way, so that a line never has more than 80 columns."""
    counters = Counters()
    for _ in range(3):
        counters.add("O" * 70, "continue", "W" * 60, 0, 99_999_999_999_999)
    table = counters.table()
    assert all(len(line) <= 80 for line in table.splitlines())
    assert "…" in table


def test_duration():
    """A time has one decimal and the unit that fits."""
    assert [duration(n) for n in (0, 999_949, 1_000_000, 7_800_000_000)] == [
        "0.0 µs", "999.9 µs", "1.0 ms", "7.8 s",
    ]  # fmt: skip


def test_refused():
    """By a rule, a person or us; one that was performed and failed, or was gone, is none."""
    counters = Counters()
    for verdict, how, errno in [
        ("deny", "answered", 1),
        ("kill", "gone", 1),
        ("deny", "gone", 1),
        ("ask", "gone", 1),
        ("allow", "answered", 1),
        ("ask", "answered", 13),
        ("ask", "performed", 2),
        ("ask", "continued", 0),
        ("allow", "performed", 2),
    ]:
        counters.add("Open", verdict, how, errno, 1000)
    assert counters.refused == 4
