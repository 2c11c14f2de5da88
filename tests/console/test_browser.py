"""The console as a person uses it: Chromium, a real daemon, and programs that wait for answers."""

import shutil
import tempfile
import time
from pathlib import Path

import pytest
from faking import HOSTILE, question
from playwright.sync_api import expect, sync_playwright
from real import Ground

from notifyd.daemon.protocol import EventsRequest

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian's package)"),
    pytest.mark.usefixtures("whole"),
]
SIZES = {"desktop": (1280, 800), "phone": (390, 844), "small": (360, 740)}


@pytest.fixture(scope="module")
def chromium():
    """One browser for all."""
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium):
    """Open pages: `tab(size="phone", scheme="dark")`; what a page complains of fails the test."""
    contexts, complaints = [], []

    def opened(size="desktop", scheme="light", *, strict=True):
        width, height = SIZES[size]
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        if not strict:
            return page
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda one: complaints.append(one.text) if _bad(one) else None)
        page.on("dialog", lambda dialog: complaints.append(f"dialog {dialog.message}"))
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def _bad(message) -> bool:
    # The browser's own note about a status of HTTP is no complaint of the page.
    return message.type in ("error", "warning") and "status of" not in message.text


def enter(page, console):
    """Log in to the console of a thread."""
    page.goto(f"{console.origin}/#token={console.sessions.mint(0, 'root')}")
    expect(page.locator("#questions")).to_be_visible()


@pytest.fixture
def ground():
    """A real daemon and a real console."""
    with tempfile.TemporaryDirectory(prefix="nd-") as folder, Ground(Path(folder)) as found:
        found.console()
        yield found


@pytest.mark.root
def test_questions_are_decided(ground, tab):
    """Log in once; questions arrive by themselves; what is decided happens to the programs."""
    url = ground.ctl("console").stdout.strip()
    page = tab()
    page.goto(url)
    expect(page.get_by_text("Nobody asks for anything.")).to_be_visible()
    assert "token" not in page.url
    page.go_back()
    page.go_forward()
    assert "token" not in page.url

    first, second = ground.write("one"), ground.write("two")
    expect(page.locator(".card")).to_have_count(2)
    card = page.locator(".card", has_text="secrets/one")
    card.locator(".open").click()
    for text in ("Writing into the folder of secrets is asked for.", "sh -c 'echo told", "builds"):
        expect(card).to_contain_text(text)
    assert (first.poll(), second.poll()) == (None, None)
    page.wait_for_timeout(700)
    card.get_by_label("Reason").fill("looks fine")
    card.get_by_role("button", name="Approve").click()
    expect(page.locator(".card")).to_have_count(1)
    assert first.wait(20) == 0
    assert (ground.folder / "secrets/one").read_text() == "told\n"

    page.wait_for_timeout(700)
    page.keyboard.press("d")
    expect(page.locator(".card")).to_have_count(0)
    assert second.wait(20) != 0
    assert not (ground.folder / "secrets/two").exists()

    page.keyboard.press("g")
    page.get_by_role("button", name="Decisions").click()
    expect(page.locator("#history-table")).to_contain_text("looks fine")
    rows = page.locator("#history-table tbody tr")
    expect(rows.filter(has_text="secrets/one")).to_contain_text("granted")
    expect(rows.filter(has_text="secrets/two")).to_contain_text("refused")

    replay = tab()
    replay.goto(url)
    expect(replay.locator("#login")).to_be_visible()
    expect(replay.locator("#login-said")).to_contain_text("was used")


@pytest.mark.root
def test_an_answer_that_lasts_and_is_revoked(ground, tab):
    """Always: the next one is not asked. Revoked: it is."""
    page = tab()
    page.goto(ground.ctl("console").stdout.strip())
    ground.write("one")
    expect(page.locator(".card")).to_have_count(1)
    page.wait_for_timeout(700)
    page.keyboard.press("5")
    expect(page.get_by_label("always")).to_be_checked()
    page.keyboard.press("a")
    expect(page.locator(".card")).to_have_count(0)
    assert ground.write("one").wait(20) == 0
    page.get_by_role("button", name="Decisions").click()
    page.get_by_role("button", name="Revoke").click()
    page.get_by_role("button", name="really").click()
    expect(page.get_by_text("No answer was given for some minutes")).to_be_visible()
    again = ground.write("one")
    page.get_by_role("button", name="Questions").click()
    expect(page.locator(".card")).to_have_count(1)
    page.wait_for_timeout(700)
    page.keyboard.press("a")
    assert again.wait(20) == 0


@pytest.mark.root
def test_events_and_workloads(ground, tab):
    """They come by themselves, and can be filtered."""
    page = tab()
    with page.expect_response("**/api/stream?*"):
        page.goto(ground.ctl("console").stdout.strip())
    page.get_by_role("button", name="Events").click()
    writer = ground.write("one")
    expect(page.locator("#event-table")).to_contain_text("workload.started")
    expect(page.locator("#event-table")).to_contain_text(": started")
    page.get_by_role("button", name="Workloads").click()
    expect(page.locator("#workload-table")).to_contain_text("builds")
    page.get_by_role("button", name="Events").click()
    page.get_by_label("Operation").fill("Open")
    with page.expect_response(lambda one: "verdict=ask" in one.url and "Open" in one.url):
        page.get_by_label("Verdict").select_option("ask")
    ground.ctl("approve", ground.ctl("pending", "--json").stdout.split('"id": ')[1].split(",")[0])
    assert writer.wait(20) == 0
    expect(page.locator("#event-table tbody tr").first).to_contain_text("secrets/one")
    verdicts = page.locator("#event-table .mark").all_inner_texts()
    assert set(verdicts) == {"ask"}


def test_hostile_texts_are_texts(console, daemon, tab):
    """Markup, escape sequences and marks of direction: shown, never done."""
    args = {"path": HOSTILE, HOSTILE: "x" * 100_000}
    daemon.ask(question(1, text=HOSTILE, title=HOSTILE, workload=HOSTILE, args=args))
    page = tab()
    enter(page, console)
    while not any(isinstance(one, EventsRequest) for one in daemon.asked):
        page.wait_for_timeout(50)
    daemon.tell(b'{"event":"<script>","workload":"\\u202e<img src=x>","args":{"a":"<b>\\u2066"}}')
    call = b'{"event":"call","operation":"Open","exe":"/a/<i>","args":{"path":"<b>\\u202e"}}'
    daemon.tell(call)
    page.get_by_role("button", name="Events").click()
    expect(page.locator("#event-table")).to_contain_text("<script>")
    expect(page.locator("#event-table")).to_contain_text("<i> <b>\\u202e")
    page.get_by_role("button", name="Questions").click()
    text = page.locator(".card .text")
    expect(text).to_contain_text(
        "<img src=x onerror=alert(1)>\\u202egpj.exe\\x1b[31m\\u2066<script>"
    )
    assert page.locator("main img, main script, main b, main i").count() == 0
    shown = page.locator("main").inner_text()
    assert not set(shown) & {"\u202e", "\u2066", "\x1b"}
    assert len(page.locator(".card").inner_text()) < 20_000


def test_the_policy_holds_in_the_browser(console, tab):
    """What somebody would inject does not run; no script can read the cookie."""
    page = tab(strict=False)
    enter(page, console)
    assert page.evaluate("document.cookie") == ""
    refused = page.evaluate(
        """() => {
          try { document.body.innerHTML = "<b>x</b>"; } catch (error) { return error.name; }
        }"""
    )
    assert refused == "TypeError"
    assert page.evaluate("fetch('http://127.0.0.1:1/').then(() => 1, () => 2)") == 2


def test_what_is_chosen_does_not_move_below_the_finger(console, daemon, tab):
    """When the question goes that a person was about to decide, the next is not decided at once."""
    daemon.ask(question(1), question(2))
    page = tab()
    page.clock.install()
    enter(page, console)
    expect(page.locator(".card")).to_have_count(2)
    page.clock.pause_at(time.time() + 60)  # a slow machine could see the change when it is old
    daemon.ask(question(2))
    expect(page.locator(".chosen")).to_contain_text("192.0.2.2")
    page.keyboard.press("a")
    page.wait_for_timeout(200)
    assert len(daemon.questions) == 1
    page.clock.run_for(700)
    page.keyboard.press("a")
    expect(page.locator(".card")).to_have_count(0)


def test_keys(console, daemon, tab):
    """They move, choose and write; and do nothing while somebody types."""
    daemon.ask(question(1), question(2), question(3))
    page = tab()
    enter(page, console)
    expect(page.locator(".chosen")).to_contain_text("192.0.2.1")
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator(".chosen")).to_contain_text("192.0.2.3")
    page.keyboard.press("k")
    expect(page.locator(".chosen")).to_contain_text("192.0.2.2")
    page.wait_for_timeout(700)
    page.keyboard.press("r")
    page.keyboard.type("a dad had a jar?")
    expect(page.locator(".chosen").get_by_label("Reason")).to_have_value("a dad had a jar?")
    assert len(daemon.questions) == 3
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("a")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert len(daemon.questions) == 3
    page.keyboard.press("a")
    expect(page.locator(".card")).to_have_count(2)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_cut_off(console, daemon, tab, tmp_path, size, scheme):
    """No view is wider than the screen; buttons on a phone are big enough for a thumb."""
    long = "x" * 300
    daemon.ask(question(1), question(2, text=long, args={"path": "/" + long}, container=long))
    page = tab(size, scheme)
    enter(page, console)
    expect(page.locator(".card")).to_have_count(2)
    for view in ("Questions", "Events", "Workloads", "Decisions", "Sessions"):
        page.get_by_role("navigation").get_by_role("button", name=view).click()
        page.wait_for_timeout(200)
        page.screenshot(path=tmp_path / f"{view}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    page.get_by_role("navigation").get_by_role("button", name="Questions").click()
    box = page.locator(".chosen").get_by_role("button", name="Approve").bounding_box()
    assert box["height"] >= (40 if size == "phone" else 30)
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= SIZES[size][0]


def test_a_daemon_that_goes_and_comes(console, daemon, tab):
    """The page says so, and goes on by itself."""
    page = tab()
    daemon.ask(question(1))
    enter(page, console)
    expect(page.locator(".card")).to_have_count(1)
    daemon.__exit__()
    expect(page.locator("#trouble")).to_contain_text("daemon")
    daemon.path.unlink()
    daemon.__enter__()
    daemon.ask(question(1), question(2))
    expect(page.locator(".card")).to_have_count(2)
    expect(page.locator("#trouble")).to_be_hidden()


def test_a_session_that_ends(console, daemon, tab):
    """The page goes back to the login, with nothing left on it."""
    daemon.ask(question(1))
    page = tab()
    enter(page, console)
    text = question(1).text
    expect(page.locator(".card")).to_contain_text(text)
    expect(page.locator("#live")).to_contain_text(text)
    console.sessions.end_all(0)
    expect(page.locator("#login")).to_be_visible()
    assert page.locator(".card").count() == 0
    assert text not in page.text_content("body")
    assert page.locator("tbody tr, #status dd").count() == 0
    assert page.evaluate("localStorage.length") == 0


@pytest.mark.parametrize("size", SIZES)
def test_what_is_chosen_is_seen(console, tab, size):
    """All views can be reached without scrolling sideways; a chosen card is not below the head."""
    long = "/srv" + "/directory" * 150
    console.daemon.ask(*(question(n, text=f"may cat write {long}?") for n in range(1, 61)))
    page = tab(size)
    enter(page, console)
    expect(page.locator(".card")).to_have_count(60)
    nav = page.locator("nav")
    assert nav.evaluate("one => one.scrollWidth - one.clientWidth") <= 0
    for key in "jjjjk":
        page.keyboard.press(key)
    top = page.locator(".chosen").evaluate("one => one.getBoundingClientRect().top")
    assert top >= page.locator("header").evaluate("one => one.getBoundingClientRect().bottom")
