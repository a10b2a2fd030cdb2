#!/usr/bin/env python3
"""Webhooks on a real server, with a receiver that is not ours: it verifies the signature with Python's own hmac, and now
and then answers 500, hangs up, redirects or is slow. The server is killed in between. Every event arrives at least once,
those of a message in their order; what comes twice comes with the same id and body; a replay gives the same in the same
order; nothing is sent where the address is not allowed; a report counts what was told.
"""
import base64
import hashlib
import hmac
import http.server
import json
import pathlib
import random
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import House, watched  # noqa: E402
from outside import submit, trace, until  # noqa: E402
from remote import Remote  # noqa: E402

MESSAGES = 12


def signature(secret, name, stamp, body):
    mac = hmac.new(secret, f"{name}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(mac).decode()


class Receiver(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, seed):
        self.seen, self.faults, self.lock = [], [], threading.Lock()
        self.secret, self.old_secret, self.random, self.fails = b"", b"", random.Random(seed), True
        super().__init__(("127.0.0.1", 0), Hook)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def take(self, headers, body):
        """What to answer; keeps what it answers 2xx to, and checks each signature."""
        name, stamp = headers["webhook-id"], headers["webhook-timestamp"]
        wanted = [signature(one, name, stamp, body) for one in (self.secret, self.old_secret) if one]
        with self.lock:
            if headers["webhook-signature"].split(" ") != wanted:
                self.faults.append(f"{name}: the signature is wrong")
            if headers["content-type"] != "application/json":
                self.faults.append(f"{name}: {headers['content-type']}")
            fate = self.random.choice(["ok", "ok", "500", "hang up", "302"]) if self.fails else "ok"
            # Hung up or killed after it was taken: it comes again.
            if fate in ("ok", "hang up"):
                self.seen.append((name, body))
            return fate


class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        fate = self.server.take(self.headers, body)
        if fate == "hang up":
            return
        self.send_response({"ok": 200, "500": 500, "302": 302}[fate])
        if fate == "302":
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_address[1]}/elsewhere")
        self.end_headers()

    def do_GET(self):
        with self.server.lock:
            self.server.faults.append("a redirect was followed")
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def events_of(seen):
    """The events in the order of their first arrival; a repetition must be the same octets."""
    bodies, out = {}, []
    for name, body in seen:
        if name in bodies:
            assert bodies[name] == body, f"{name} came with another body"
            continue
        bodies[name] = body
        value = json.loads(body)
        out += value if isinstance(value, list) else [value]
    return out


def add(home, name, url, *words):
    made = json.loads(home.cli("webhook", "add", name, url, *words, "--json"))
    assert made["secret"].startswith("whsec_")
    return base64.b64decode(made["secret"][len("whsec_"):])


def hook(home, name):
    return json.loads(home.cli("webhook", "show", name, "--json"))


def check_refused(home, url):
    """D48, before any network is allowed."""
    for bad in (url, "https://127.1/", "https://0/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://2130706433/",
                "https://0x7f.0.0.1/", "https://0177.1/", "https://169.254.169.254/"):
        done = home.cli("webhook", "add", "bad", bad, check=False)
        assert done.returncode == 1 and done.stderr.startswith("posthouse: "), (bad, done)
    assert home.cli("webhook", "list") == "There is no webhook: posthouse webhook add makes one.\n"


def check_told(home, receiver, names):
    """Each message: accepted before delivered, nothing left out."""
    def complete():
        with receiver.lock:
            events = events_of(receiver.seen)
        found = {(event["data"]["message_id"], event["type"]) for event in events if event["type"] != "ping"}
        wanted = {(f"{name}@home.example", kind) for name in names for kind in ("accepted", "delivered")}
        return events if wanted <= found else None
    events = until("every event", complete)
    ids = [int(event["id"][len("evt_"):]) for event in events]
    assert ids == sorted(set(ids)), ids
    for name in names:
        life = [event["type"] for event in events if event["data"].get("message_id") == f"{name}@home.example"]
        assert life == ["accepted", "delivered"], (name, life)
    assert not receiver.faults, receiver.faults


def check_killed(home, receiver):
    names = [f"m{i}" for i in range(MESSAGES)]
    for i, name in enumerate(names):
        submit(home, name, "bob@far.example")
        if i % 4 == 1:
            home.kill()
            home.start()
            home.cli("webhook", "resume", "panel")  # what was put off after a failure goes at once
    for name in names:
        trace(home, name).wait("delivered")
    receiver.fails = False
    home.cli("webhook", "resume", "panel")
    check_told(home, receiver, names)
    return names


def check_replay(home, receiver):
    with receiver.lock:
        first = events_of(receiver.seen)
        receiver.seen.clear()
    home.cli("webhook", "replay", "panel", "--from", first[0]["id"])
    until("all of it again", lambda: len(events_of(receiver.seen)) >= len(first))
    with receiver.lock:
        again = events_of(receiver.seen)
    assert again == first, (first, again)
    assert home.cli("webhook", "replay", "panel", "--from", "evt_9999999", check=False).returncode == 1
    until("up to date", lambda: hook(home, "panel")["behind"] == 0 or hook(home, "panel")["state"] == "on its way")


def check_test_and_batch(home, receiver, url):
    assert "took evt_" in home.cli("webhook", "test", "panel")
    home.cli("webhook", "remove", "panel")
    receiver.seen.clear()
    receiver.secret = add(home, "batches", url, "--batch", "50", "--kinds", "delivered")
    home.cli("webhook", "pause", "batches")
    for name in ("b1", "b2", "b3"):
        submit(home, name, "bob@far.example")
        trace(home, name).wait("delivered")
    home.cli("webhook", "resume", "batches")
    until("one batch", lambda: receiver.seen)
    value = json.loads(receiver.seen[0][1])
    assert [event["data"]["message_id"] for event in value] == [f"{n}@home.example" for n in ("b1", "b2", "b3")], value
    assert {event["type"] for event in value} == {"delivered"} and not receiver.faults, receiver.faults


def check_changed(home, receiver):
    """Another secret, beside the one before, and other events; the place in the log stays."""
    new = json.loads(home.cli("webhook", "secret", "batches", "--old-hours", "2", "--json"))["secret"]
    receiver.old_secret, receiver.secret = receiver.secret, base64.b64decode(new[len("whsec_"):])
    home.cli("webhook", "set", "batches", "--kinds", "accepted", "--batch", "1")
    receiver.seen.clear()
    submit(home, "c1", "bob@far.example")
    trace(home, "c1").wait("delivered")
    until("the event", lambda: receiver.seen)
    assert [event["type"] for event in events_of(receiver.seen)] == ["accepted"], receiver.seen
    assert not receiver.faults, receiver.faults
    assert hook(home, "batches")["kinds"] == "accepted"
    assert home.cli("webhook", "set", "batches", check=False).returncode == 1


def check_report(home, sent):
    told = json.loads(home.cli("report", "--by", "destination", "--json"))
    line = next(one for one in told["lines"] if one["destination"] == "far.example")
    assert line["sent"] == sent and line["delivered"] == sent and line["seconds_p99"] is not None, line
    assert json.loads(home.cli("report", "--by", "account", "--json"))["lines"][0]["account"] == home.account
    assert "far.example" in home.cli("report", "--by", "destination", "--account", home.account)
    rebuilt = json.loads(home.cli("report", "--rebuild", "--json"))
    assert rebuilt["differed"] == 0 and rebuilt["queue_differs"] == 0, rebuilt
    assert home.cli("report", "--by", "colour", check=False).returncode == 1
    assert home.cli("report", "tls", "list").startswith("No TLS report")


def main():
    remote, receiver = Remote(), Receiver(seed=5)
    with watched(House(relay=f"smtp+plain://127.0.0.1:{remote.port}")) as home:
        url = f"http://127.0.0.1:{receiver.server_address[1]}/hook"
        check_refused(home, url)
        home.cli("setting", "set", "webhook.allow_private", "127.0.0.1")
        receiver.secret = add(home, "panel", url)
        home.start()
        names = check_killed(home, receiver)
        check_replay(home, receiver)
        check_test_and_batch(home, receiver, url)
        check_changed(home, receiver)
        check_report(home, len(names) + 4)
        home.stop()
        home.cli("fsck")
    receiver.shutdown()
    print("webhooks: good")


main()
