"""Check the built site: links, anchors and images; in headless Chromium also scripts and search.

python docs/check_site.py docs/_build/html [--browser]
"""

import argparse
import functools
import shutil
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from PIL import Image

SEARCHES = ["MLEEstimator", "bias", "Rician"]
CHROMIUM = """chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run
--disable-background-networking --disable-component-update --disable-sync --enable-logging=stderr
--virtual-time-budget=10000 --dump-dom""".split()  # noqa: SIM905
NO_NETWORK = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"


class Page(HTMLParser):
    """Anchors of a page, and what it links to (`a`) or loads (all other elements)."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links = set(), set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors |= {attributes.get("id"), attributes.get("name")}
        self.links |= {(tag, attributes[name]) for name in ("href", "src") if attributes.get(name)}


def page_paths(root):
    return [p for p in sorted(root.rglob("*.html")) if "_static" not in p.parts]


def broken_links(root):
    """Links to what is not there, and what would be loaded from elsewhere, one line each."""
    pages = {path: Page(path) for path in page_paths(root)}
    for path, page in pages.items():
        for tag, url in sorted(page.links):
            parts = urlsplit(url)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchors = pages[target].anchors if target in pages else {}
            if parts.scheme or parts.netloc:
                if tag != "a" and parts.scheme != "data":
                    yield f"{path}: loads {url}, so it needs the network"
            elif not target.is_file():
                yield f"{path}: {url} does not exist"
            elif parts.fragment and unquote(parts.fragment) not in anchors:
                yield f"{path}: {url} has no such anchor"


def broken_images(root):
    """Images that cannot be decoded, one line each."""
    for path in sorted((root / "_images").glob("*.png")):
        try:
            with Image.open(path) as image:
                image.load()
        except OSError as error:
            yield f"{path}: {error}"


class Handler(SimpleHTTPRequestHandler):
    """Serves the site and remembers in `failed` what it could not serve."""

    failed = []

    def log_message(self, *_):
        pass

    def send_error(self, code, *args, **kwargs):
        self.failed.append(f"{self.path}: HTTP {code}")
        super().send_error(code, *args, **kwargs)


def open_page(url):
    """Page as it is after its scripts have run, and its console without the theme's own log."""
    with tempfile.TemporaryDirectory() as profile:
        command = [*CHROMIUM, NO_NETWORK, f"--user-data-dir={profile}", url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    console = [
        line for line in done.stderr.splitlines() if "CONSOLE" in line and "[PST]" not in line
    ]
    return done.stdout, [f"{url}: {line}" for line in console]


def broken_in_browser(root):
    """What a browser without network complains about, one line each."""
    handler = functools.partial(Handler, directory=root)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, ThreadPoolExecutor(2) as pool:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        pages = [f"{base}/{path.relative_to(root)}" for path in page_paths(root)]
        for _, console in pool.map(open_page, pages):
            yield from console
        for words in SEARCHES:
            found, console = open_page(f"{base}/search.html?q={words}")
            yield from console
            if '<li class="kind-' not in found:
                yield f"search for {words}: no result"
        server.shutdown()
    yield from Handler.failed


def main():
    """Print what is broken; exit code 1 if anything is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--browser", action="store_true", help="also open every page in Chromium")
    arguments = parser.parse_args()
    if arguments.browser and not shutil.which("chromium"):
        sys.exit("chromium is not installed (on Debian: apt-get install chromium).")
    root = arguments.root.resolve(strict=True)
    broken = [*broken_links(root), *broken_images(root)]
    if arguments.browser:
        broken += broken_in_browser(root)
    print(*broken, sep="\n", end="\n" if broken else "")
    n_pages = len(page_paths(root))
    print(f"{n_pages} pages, {len(broken)} problems")
    sys.exit(bool(broken) or n_pages == 0)


if __name__ == "__main__":
    main()
