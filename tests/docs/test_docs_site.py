"""The site, where ``make docs`` has built it: what a browser asks for when its pages are opened, without a network."""

import json
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SITE = ROOT / "build" / "site"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PAGES = ("index", "schemes/rk4", "schemes/index", "tutorials/blow-up", "reference/networks", "gallery", "play")
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND")


def asked(addresses, folder):
    """The addresses that pages which are opened side by side ask for, by what the browser has logged of the network."""
    frames = "".join(f'<iframe src="{address}" width="600" height="600"></iframe>' for address in addresses)
    (folder / "all.html").write_text(frames)
    log = folder / "log.json"
    command = [CHROMIUM, *OPTIONS, f"--user-data-dir={folder / 'user'}", f"--log-net-log={log}", "--timeout=8000"]
    subprocess.run(
        [*command, "--dump-dom", (folder / "all.html").as_uri()], capture_output=True, check=True, timeout=120
    )
    found = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    # What the browser asks for by itself has no page as its initiator.
    return {one["url"] for one in found if "url" in one and one.get("initiator") not in (None, "not an origin")}


@pytest.mark.skipif(CHROMIUM is None or not SITE.exists(), reason="no chromium, or no site: make docs")
def test_nothing_is_asked_of_another_host(tmp_path):
    stranger = tmp_path / "stranger.html"
    stranger.write_text('<img src="http://example.org/picture.png">')
    pages = [SITE / "docs" / f"{page}.html" for page in PAGES]
    assert all(page.exists() for page in pages)
    found = asked([page.as_uri() for page in [*pages, stranger]], tmp_path)
    assert {url for url in found if not url.startswith(("file:", "data:"))} == {"http://example.org/picture.png"}
