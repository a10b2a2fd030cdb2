"""A Chromium without a screen, driven over the WebDriver protocol (W3C) with nothing but the standard library.

It has an empty profile of its own, opens nothing but what it is told to open, and is gone with the test.
"""
import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

SECONDS_MAX = 60
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # W3C WebDriver 12.2
ENTER = "\ue007"
QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
         "--disable-default-apps", "--window-size=1400,900", "--proxy-server=direct://"]


def why_no_browser():
    """A sentence where no browser can be driven here, else None."""
    missing = [program for program in ("chromium", "chromedriver") if not shutil.which(program)]
    return f"{' and '.join(missing)} not installed" if missing else None


class Broken(Exception):
    """The browser said no, or what was waited for did not come."""


class Browser:
    def __init__(self, base):
        self.base = base
        self.session = ""

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + self.session + path, data=data, method=method,
                                         headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=SECONDS_MAX * 2) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise Broken(f"{method} {path}: {error.read().decode(errors='replace')[:500]}") from None

    def begin(self, profile):
        options = {"binary": shutil.which("chromium"), "args": [*QUIET, f"--user-data-dir={profile}"]}
        wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options, "pageLoadStrategy": "normal"}}}
        made = self.ask("POST", "/session", wanted)
        self.session = f"/session/{made['sessionId']}"

    def open(self, url):
        self.ask("POST", "/url", {"url": url})

    def run(self, script, *values):
        """What the body of a function returns in the page."""
        return self.ask("POST", "/execute/sync", {"script": script, "args": list(values)})

    def wait(self, script, *values):
        """Until the script returns something true, which is given back."""
        end = time.monotonic() + SECONDS_MAX
        while True:
            with contextlib.suppress(Broken):  # while a page is being left
                found = self.run(script, *values)
                if found:
                    return found
            if time.monotonic() > end:
                raise Broken(f"this did not become true: {script} {values}\non the page: {self.text()}")
            time.sleep(0.05)  # a page tells nobody when it changes

    def find(self, selector):
        """An element that can be seen."""
        self.wait("const e = document.querySelector(arguments[0]); return e && e.offsetParent !== null", selector)
        return self.ask("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector):
        self.ask("POST", f"/element/{self.find(selector)}/click", {})

    def type(self, selector, text):
        element = self.find(selector)
        self.ask("POST", f"/element/{element}/clear", {})
        self.ask("POST", f"/element/{element}/value", {"text": text})

    def text(self):
        with contextlib.suppress(Broken):
            return self.run("return document.title + ': ' + document.body.innerText")[:2000]
        return "(no page)"


@contextlib.contextmanager
def browser():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="posthouse-browser-"))
    environment = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": str(folder)}
    # The driver chooses a free port and says which.
    driver = subprocess.Popen(["chromedriver", "--port=0", f"--log-path={folder}/log"], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, env=environment)
    try:
        port = None
        for line in driver.stdout:
            port = re.search(r"started successfully on port (\d+)", line)
            if port:
                break
        if not port:
            raise Broken("chromedriver ended before it was ready")
        page = Browser(f"http://127.0.0.1:{port[1]}")
        page.begin(folder / "profile")
        try:
            yield page
        finally:
            with contextlib.suppress(Broken, OSError):
                page.ask("DELETE", "")
    finally:
        driver.terminate()
        driver.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)
