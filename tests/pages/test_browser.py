"""A report in a real browser, from disk: nothing is requested, everything works by keyboard, all is readable.

Needs chromium, chromedriver and selenium; skips elsewhere. RANKPROBE_AXE names a file axe.min.js (npm pack
axe-core) for the accessibility rules.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

import pytest

import rankprobe as rp

pytest.importorskip("selenium", reason="selenium is not installed")
BROWSER, DRIVER = shutil.which("chromium") or shutil.which("chromium-browser"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="chromium and chromedriver are not installed"),
    # Of selenium and the browser's pipes, not of ours.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
]
AXE = os.environ.get("RANKPROBE_AXE")
GALLERY = Path(__file__).parent.parent.parent / "figures" / "gallery.tar.xz"

FOCUSABLE = "a[href], button, input, summary, [tabindex='0']"
VISIBLE = "(e) => !e.closest('[hidden]') && e.getClientRects().length > 0"


@pytest.fixture(scope="module")
def browser():
    from selenium import webdriver
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver.chrome.service import Service
    from urllib3.exceptions import HTTPError

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    try:
        driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    except (WebDriverException, HTTPError) as error:
        pytest.skip(f"chromium does not start: {error}")
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """The report of one run, with hostile names, and that of the gallery."""
    root = tmp_path_factory.mktemp("browser")
    settings = {
        "model": "tiny",
        "data": "bundled",
        "prompt_length": 8,
        "steps": 6,
        "batch_size": 8,
        "eval_every": 3,
    }
    run = rp.probe(runs_dir=root, name="<img src=x onerror=alert(1)>", spectrum_every=2, **settings)
    manifest = run.manifest
    run.update({"backbone": manifest["backbone"] | {"label": "</script><script>alert(2)</script>"}})
    with tarfile.open(GALLERY) as kept:
        kept.extractall(root / "kept", filter="data")
    return {
        "one": run.report(root / "one.html"),
        "gallery": rp.report(root / "kept" / "gallery", root / "gallery.html"),
    }


@pytest.fixture(params=["one", "gallery"])
def page(request, reports, browser):
    """A browser that shows a report."""
    _open(browser, reports[request.param])
    return browser


def _open(browser, path: Path, width: int = 1280) -> None:
    from selenium.webdriver.support.wait import WebDriverWait

    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(path.as_uri())
    # On a busy machine, get returned while half of the page was parsed.
    WebDriverWait(browser, 60).until(
        lambda seen: seen.execute_script("return document.readyState") == "complete"
    )


def test_no_request_leaves_and_the_console_is_silent(page):
    assert page.get_log("browser") == []
    sent = [e["message"] for e in page.get_log("performance") if 'Network.requestWillBeSent"' in e["message"]]
    assert len(sent) == 1
    assert '"url":"file://' in sent[0]
    assert page.execute_script("return performance.getEntriesByType('resource').length") == 0


def test_the_sizes_are_within_their_limits(reports):
    assert reports["one"].stat().st_size < 500_000
    assert reports["gallery"].stat().st_size < 5_000_000


def test_ids_are_unique_and_every_figure_is_named(page):
    script = "return [...document.querySelectorAll('[id]')].map((e) => e.id)"
    ids = page.execute_script(script)
    assert len(ids) == len(set(ids))
    names = page.execute_script(
        "return [...document.querySelectorAll('svg')].map((s) => s.getAttribute('aria-labelledby').split(' ')"
        ".map((id) => document.getElementById(id).textContent).join(': '))"
    )
    assert names
    assert all(len(name) > 40 for name in names)


def test_the_keyboard_reaches_every_control(reports, browser):
    from selenium.webdriver.common.keys import Keys

    _open(browser, reports["one"])
    browser.execute_script("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    script = f'return [...document.querySelectorAll("{FOCUSABLE}")].filter({VISIBLE}).length'
    expected = browser.execute_script(script)
    browser.execute_script("window.seen = new Set(); addEventListener('focusin', (e) => seen.add(e.target))")
    assert expected > 10
    for _ in range(expected + 2):
        browser.switch_to.active_element.send_keys(Keys.TAB)
    assert browser.execute_script("return seen.size") >= expected


def test_sorting_and_filtering(reports, browser):
    _open(browser, reports["gallery"])
    column = "[...document.querySelectorAll('#groups tbody tr')].map((r) => r.cells[5].textContent.trim())"
    button = "document.querySelectorAll('#groups thead button')[5]"
    for reverse in (False, True):
        browser.execute_script(f"{button}.click()")
        values = browser.execute_script(f"return {column}")
        numbers = [float(value.split()[0]) for value in values if value != "-"]
        assert numbers == sorted(numbers, reverse=reverse)
        assert len(set(numbers)) > 10
    heading = "document.querySelectorAll('#groups thead th')[5].getAttribute('aria-sort')"
    assert browser.execute_script(f"return {heading}") == "descending"
    box = browser.find_element("id", "groups-filter")
    box.send_keys("probe RTE")
    shown = browser.execute_script(
        "return [...document.querySelectorAll('#groups tbody tr')].filter((r) => !r.hidden).map((r) => r.textContent)"
    )
    assert shown
    assert all("probe" in text and "RTE" in text for text in shown)
    assert browser.find_element("id", "groups-count").text == f"{len(shown)} of 202 rows"


def test_a_curve_can_be_switched_off(reports, browser):
    _open(browser, reports["one"])
    curves = "[...document.querySelectorAll('#g1-signs-box [data-series=\"0\"]')]"
    states = f"return {curves}.map((c) => getComputedStyle(c).visibility)"
    assert set(browser.execute_script(states)) == {"visible"}
    browser.execute_script("document.querySelector('[data-figure=\"g1-signs-box\"]').click()")
    assert set(browser.execute_script(states)) == {"hidden"}


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_it_scrolls_down_only(reports, browser, width):
    for path in reports.values():
        _open(browser, path, width)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_without_script_all_is_shown(reports, browser):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        _open(browser, reports["gallery"])
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    hidden = "return [...document.querySelectorAll('[hidden]')].filter((e) => !('needsScript' in e.dataset)).length"
    assert browser.execute_script(hidden) == 0
    shown = "return [...document.querySelectorAll('#groups tbody tr')].filter((r) => r.getClientRects().length).length"
    assert browser.execute_script(shown) == 202
    assert browser.execute_script("return document.querySelectorAll('#groups thead button').length") == 0


def test_printing_shows_all(page):
    before = page.execute_script("return document.querySelectorAll('details:not([open])').length")
    assert before
    page.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert page.execute_script("return document.querySelectorAll('details:not([open])').length") == 0
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    clipped = "return [...document.querySelectorAll('.scroll')].filter((e) => getComputedStyle(e).overflowX !== 'visible').length"
    assert page.execute_script(clipped) == 0
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    page.execute_script("dispatchEvent(new Event('afterprint'))")
    assert page.execute_script("return document.querySelectorAll('details:not([open])').length") == before


def test_hostile_names_stay_text(reports, browser):
    _open(browser, reports["one"])
    assert "</script><script>alert(2)</script>" in browser.find_element("tag name", "h1").text
    assert browser.execute_script("return document.querySelectorAll('img, script').length") == 1


@pytest.mark.skipif(not AXE, reason="RANKPROBE_AXE does not name axe.min.js")
def test_axe_finds_nothing_serious(page):
    page.execute_script("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    page.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
    page.execute_script(Path(str(AXE)).read_text())
    page.set_script_timeout(120)
    found = page.execute_async_script("axe.run(document).then(arguments[arguments.length - 1])")
    serious = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
    assert [(v["id"], v["nodes"][0]["html"][:200]) for v in serious] == []
