"""What the tests with real servers share: a message submitted, its way watched, the sender's mailbox read.

Waiting is always for a state, told by `posthouse trace` or IMAP, with WAIT_SECONDS_MAX as the end of patience.
"""
import http.client
import imaplib
import json
import pathlib
import smtplib
import sys
import time
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import peers  # noqa: E402
from house import need, skip  # noqa: E402

WAIT_SECONDS_MAX = 60
MESSAGE = "From: Alice <{sender}>\r\nTo: <{to}>\r\nSubject: {name}\r\nDate: Mon, 23 Nov 2026 20:11:05 +0000\r\n" \
          "Message-ID: <{name}@home.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n" \
          "Content-Transfer-Encoding: 8bit\r\n\r\nDear friend,\r\n.a dot\r\n  \tblanks  \r\ngr\u00fc\u00dfe\r\n\r\n"


def need_servers(*more):
    """Ends the test as skipped where Postfix or another program is missing."""
    need("knotd", "openssl", *more)
    why = peers.why_no_postfix()
    if why:
        skip(why)


def until(what, check):
    """The first true value of check()."""
    end = time.monotonic() + WAIT_SECONDS_MAX
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {WAIT_SECONDS_MAX} s")
        time.sleep(0.05)


def loose(home):
    """Chain checked; the name is not, since the tests dial 127.0.0.1."""
    context = home.tls()
    context.check_hostname = False
    return context


def over_https(home, method, url, body=None):
    """Asks the https service for the page of a link, whatever host it names: status, page, fields."""
    client = http.client.HTTPSConnection("localhost", home.port("https"), context=loose(home), timeout=20)
    kind = {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
    client.request(method, urllib.parse.urlsplit(url).path, body, kind)
    answer = client.getresponse()
    return answer.status, answer.read().decode(), answer.headers


def make_message(home, name, to):
    return MESSAGE.format(sender=home.account, name=name, to=to).encode()


def submit(home, name, *to, octets=None, mail_options=(), rcpt_options=()):
    """Hands a message in as a mail program does (STARTTLS, AUTH); its Message-ID is <name@home.example>."""
    octets = octets or make_message(home, name, to[0])
    with smtplib.SMTP("127.0.0.1", home.port("submission"), local_hostname="laptop.home.example") as client:
        client.starttls(context=loose(home))
        client.login(home.account, home.password)
        refused = client.sendmail(home.account, list(to), octets, mail_options, rcpt_options)
        assert not refused, refused
    return octets


def api(home, token, path, body=None):
    """The JSON that the HTTP API answers with."""
    request = urllib.request.Request(f"http://127.0.0.1:{home.port('http')}{path}", data=body,
                                     headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


class Trace:
    """The events of one message."""

    def __init__(self, home, name):
        self.home, self.name = home, name

    def events(self):
        # an event that is still being written makes the message unknown for a moment
        done = self.home.cli("trace", f"<{self.name}@home.example>", "--json", "--dialogue", check=False)
        return json.loads(done.stdout) if done.returncode == 0 else []

    def count(self, kind):
        return sum(1 for event in self.events() if event["kind"] == kind)

    def wait(self, kind, number=1):
        """Waits until there are `number` events of that kind and gives back the last."""
        def look():
            found = [event for event in self.events() if event["kind"] == kind]
            return found[number - 1] if len(found) >= number else None
        try:
            return until(f"{self.name}: {kind} x {number}", look)
        except AssertionError:
            print(self.home.cli("trace", f"<{self.name}@home.example>", "--dialogue", check=False).stdout)
            raise

    def queue_id(self):
        return next(event["queue_id"] for event in self.events() if event["queue_id"])

    def retry(self):
        self.home.cli("queue", "retry", self.queue_id())


def trace(home, name):
    return Trace(home, name)


class Reader:
    """The sender's mailbox over IMAP."""

    def __init__(self, home, account=None):
        account = account or home.account
        self.client = imaplib.IMAP4_SSL("127.0.0.1", home.port("imaps"), ssl_context=loose(home))
        self.client.login(account, home.passwords[account])
        self.client.select("INBOX", readonly=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.logout()

    def find(self, *keys):
        """Waits for a message that a SEARCH finds and gives back the octets of the newest."""
        def look():
            self.client.noop()
            return self.client.uid("SEARCH", *keys)[1][0].split()
        uids = until(f"a message with {keys}", look)
        return self.client.uid("FETCH", uids[-1], "(BODY.PEEK[])")[1][0][1]

    def count(self, *keys):
        self.client.noop()
        return len(self.client.uid("SEARCH", *keys)[1][0].split())
