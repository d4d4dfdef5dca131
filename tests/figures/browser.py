"""A page in headless Chromium, as a reader opens it: from a file, at a width, light or dark."""

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
REASON = "Chromium is not installed (apt-get install -y --no-install-recommends chromium)"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--no-first-run",
    "--hide-scrollbars",
    "--allow-file-access-from-files",  # the frame below is another file
    "--enable-logging=stderr",
)
# A window has at least 500 pixels; a frame in it has the width that it is told.
FRAME = """<!DOCTYPE html><html><head><meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<style>body{{margin:0}}iframe{{border:0;display:block}}</style></head>
<body><iframe id="page" src="{address}" width="{width}" height="{height}"></iframe>
<script>
const frame = document.getElementById("page");
frame.addEventListener("load", () => {{
  const page = frame.contentDocument, shown = frame.contentWindow;
  const found = {{width: shown.innerWidth, content: page.documentElement.scrollWidth,
    height: page.documentElement.scrollHeight, folds: [],
    background: shown.getComputedStyle(page.body).backgroundColor,
    color: shown.getComputedStyle(page.body).color,
    resources: shown.performance.getEntriesByType("resource").map(one => one.name),
    scripts: page.scripts.length, text: page.body.textContent, small: [], out: []}};
  for (const fold of page.querySelectorAll("details")) {{
    fold.open = false;
    const closed = fold.getBoundingClientRect().height;
    fold.open = true;
    found.folds.push([closed, fold.getBoundingClientRect().height]);
  }}
  for (const text of page.querySelectorAll("body *")) {{
    const own = [...text.childNodes].some(one => one.nodeType === 3 && one.data.trim());
    const box = text.getBoundingClientRect();
    if (!own || !box.width) continue;
    let size = parseFloat(shown.getComputedStyle(text).fontSize);
    const svg = text.closest("svg");
    if (svg) size *= svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
    if (size < {smallest} && !text.closest(".scroll")) found.small.push([size, text.textContent]);
    if (box.right > shown.innerWidth + 1 && !text.closest(".scroll") && !svg)
      found.out.push([box.right, text.textContent]);
  }}
  for (const fold of page.querySelectorAll("details")) fold.open = false;
  document.body.setAttribute("data-found", JSON.stringify(found));
}});
</script></body></html>
"""


class Seen(NamedTuple):
    """What a browser says of a page; see the script above, and the lines of its console."""

    facts: dict
    console: list[str]
    requests: list[str]


def look(page: Path, folder: Path, width: int = 1400, *, dark: bool = False) -> Seen:
    """Opens a page in a frame of a width, and opens and closes all that can be opened.

    Args:
      page: an HTML file.
      folder: for what the browser writes.
      width: pixels of the frame.
      dark: the reader prefers dark pages.
    """
    log = folder / "requests.json"
    done = _run(page, folder, width, dark, f"--log-net-log={log}", "--dump-dom")
    found = re.search(r'data-found="([^"]*)"', done.stdout)
    assert found, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    facts = json.loads(html.unescape(found[1]))
    console = re.findall(r":CONSOLE[:(].*", done.stderr)
    # Chromium asks its maker for the time and updates; what a file asks for names the file.
    requests = re.findall(r'"[^"]*https?://[^"]*file://[^"]*"', log.read_text(errors="replace"))
    return Seen(facts, console, requests)


def screenshot(
    page: Path, out: Path, folder: Path, width: int = 1400, *, dark: bool = False, height: int = 900
) -> None:
    """Saves a picture of the top of a page; what can be folded is."""
    _run(page, folder, width, dark, f"--screenshot={out}", height=height)


def _run(
    page: Path, folder: Path, width: int, dark: bool, *flags: str, height: int = 900
) -> subprocess.CompletedProcess:
    assert CHROMIUM
    frame = folder / "frame.html"
    address = page.resolve().as_uri()
    frame.write_text(FRAME.format(address=address, width=width, height=height, smallest=9))
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    command = [CHROMIUM, *FLAGS, scheme, f"--user-data-dir={folder / 'profile'}", *flags]
    command += [f"--window-size={max(width, 500)},{height}", frame.resolve().as_uri()]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**os.environ, "HOME": str(folder)},
    )
