#!/usr/bin/env python3
"""A program sends over HTTP, on a real server: JSON, raw and in batches; who may not is told so; what is answered with 202
is there after kill -9; a request asked again with its key, after any crash, is one message; the same key as a header field
over SMTP queues nothing twice and leaves with nobody."""
import base64
import concurrent.futures
import email
import email.policy
import json
import pathlib
import random
import smtplib
import sys
import urllib.error
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import House, watched  # noqa: E402
from outside import loose, until  # noqa: E402
from remote import Remote  # noqa: E402

ALICE, BOB = "alice@home.example", "bob@home.example"
CRASHES, REQUESTS = 4, 40


class Sink(Remote):
    """Takes everything, or nothing while it is `closed`."""
    closed = False

    def before(self, verb):
        return "421 4.3.2 Closed" if self.closed else None

    def by_subject(self, subject):
        with self.lock:
            return [(tuple(sorted(m.recipients)), m.octets) for m in self.messages
                    if f"Subject: {subject}\r\n".encode() in m.octets]


class Api:
    def __init__(self, home, token):
        self.home, self.token = home, token

    def ask(self, path, body=None, kind="application/json", key=None, token=None):
        """(status, answer as JSON, header)"""
        header = {"Authorization": f"Bearer {token or self.token}"}
        if body is not None:
            header["Content-Type"] = kind
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
        if key is not None:
            header["Idempotency-Key"] = key
        request = urllib.request.Request(f"http://127.0.0.1:{self.home.port('http')}/api/v1/{path}", body, header)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer), answer.headers
        except urllib.error.HTTPError as refused:
            return refused.code, json.load(refused), refused.headers

    def send(self, key=None, **message):
        return self.ask("send", {"from": ALICE, "to": "x@world.example", **message}, key=key)


def make_token(home, name, *more):
    return json.loads(home.cli("token", "create", name, *more, "--json"))["token"]


def check_json(sink, api):
    content = bytes(range(256)) * 300
    status, made, _ = api.send(
        to=["x@world.example", {"name": "Zo\u00eb", "address": "z@world.example"}], bcc="secret@world.example",
        subject="gr\u00fc\u00dfe one", text="hello \u2603\n", html="<p>hello</p><img src=cid:logo>",
        headers={"X-Order": "17"}, tags=["welcome"], metadata={"order": "17"},
        attachments=[{"name": "r\u00e9sum\u00e9.bin", "content": base64.b64encode(content).decode()},
                     {"name": "logo.png", "type": "image/png", "content_id": "logo", "inline": True,
                      "content": base64.b64encode(b"\x89PNG").decode()}])
    assert status == 202, made
    assert [r["accepted"] for r in made["recipients"]] == [True] * 3, made
    [(_, recipients, octets, _)] = until("the message", lambda: [m for m in sink.messages if b"X-Order: 17" in m.octets])
    assert tuple(sorted(recipients)) == ("secret@world.example", "x@world.example", "z@world.example"), recipients
    assert b"secret" not in octets and b"DKIM-Signature:" in octets, octets
    message = email.message_from_bytes(octets, policy=email.policy.default)
    assert message["subject"] == "gr\u00fc\u00dfe one" and message["message-id"] == made["message_id"], octets
    assert message.get_body(("plain",)).get_content().strip() == "hello \u2603"
    assert "<p>hello</p>" in message.get_body(("html",)).get_content()
    files = {part.get_filename(): part.get_content() for part in message.walk() if part.get_filename()}
    assert files == {"r\u00e9sum\u00e9.bin": content, "logo.png": b"\x89PNG"}, files.keys()

    def life():
        status, said, _ = api.ask("messages/" + made["id"])
        kinds = [event["kind"] for event in said["events"]]
        return said if status == 200 and kinds.count("delivered") == 3 else None
    said = until("its life", life)
    assert said["tags"] == ["welcome"] and said["metadata"] == {"order": "17"} and said["in_queue"] == [], said
    status, same, _ = api.ask("messages/" + urllib.parse.quote(made["message_id"], safe=""))
    assert status == 200 and same == said, same


def check_raw_and_batch(sink, api):
    mail = f"From: {ALICE}\nTo: x@world.example\nSubject: raw one\n\nas it is\n".encode()
    status, made, _ = api.ask("send/raw?to=y@world.example&class=bulk", mail, kind="message/rfc822")
    assert status == 202, made
    [(recipients, octets)] = until("the raw message", lambda: sink.by_subject("raw one"))
    assert recipients == ("y@world.example",) and octets.endswith(b"\r\n\r\nas it is\r\n"), octets
    batch = {"messages": [{"from": ALICE, "to": f"x{n}@world.example", "subject": f"batch {n}", "text": "hi"}
                          for n in range(20)]}
    batch["messages"][7]["from"] = BOB
    status, made, _ = api.ask("send/batch", batch, key="batch-1")
    assert status == 200 and [r["status"] for r in made["results"]].count(202) == 19, made
    assert made["results"][7]["problem"]["field"] == "messages[7].from", made["results"][7]
    batch["messages"][7]["from"] = ALICE
    status, again, _ = api.ask("send/batch", batch, key="batch-1")
    assert [r["status"] for r in again["results"]] == [202] * 20, again
    assert again["results"][3] == made["results"][3] and "accepted" in again["results"][7], again
    until("the batch", lambda: all(sink.by_subject(f"batch {n}") for n in range(20)))
    assert all(len(sink.by_subject(f"batch {n}")) == 1 for n in range(20))


def check_refusals(home, api, tokens):
    bob = Api(home, tokens["bob"])
    status, said, _ = bob.send(subject="forged")
    assert status == 403 and said["field"] == "from", said
    assert bob.send(**{"from": BOB}, subject="own")[0] == 202
    assert Api(home, tokens["all"]).send(subject="server")[0] == 202
    status, said, _ = Api(home, tokens["all"]).send(**{"from": "x@elsewhere.example"})
    assert status == 403 and said["field"] == "from", said
    status, said, _ = api.send(to=["nobody@home.example", "x@world.example"], subject="some")
    assert status == 202 and [r["code"] for r in said["recipients"]] == [550, 250], said
    status, said, _ = api.send(to="nobody@home.example")
    assert status == 422 and said["recipients"][0]["code"] == 550, said
    assert api.send(subject="x\r\nBcc: evil@world.example")[1]["field"] == "subject"
    assert Api(home, "ph_" + "0" * 64).send()[0] == 401
    status, said, _ = api.ask("send/raw", b"From: " + ALICE.encode() + b"\r\nTo: x@world.example\r\n" +
                              b"Received: from x by y; Mon, 23 Nov 2026 20:11:05 +0000\r\n" * 60 + b"\r\nx\r\n",
                              kind="message/rfc822")
    assert status == 422 and "hops" in said["detail"], said
    made = api.send(subject="mine")[1]
    assert bob.ask("messages/" + made["id"])[0] == 404


def submit(home, name, key, to="x@world.example"):
    """The reply to the end of the data."""
    with smtplib.SMTP("127.0.0.1", home.port("submission"), local_hostname="laptop.home.example") as client:
        client.starttls(context=loose(home))
        client.login(home.account, home.password)
        client.mail(ALICE)
        client.rcpt(to)
        return client.data(f"From: {ALICE}\r\nSubject: {name}\r\nIdempotency-Key: {key}\r\n\r\nx\r\n")


def check_smtp_key(home, sink, api):
    code, first = submit(home, "smtp key", '"s-1"')
    assert code == 250 and b"queued as q" in first, first
    queue_id = first.split()[-1]
    code, again = submit(home, "smtp key", "s-1")
    assert code == 250 and again.split()[-1] == queue_id and b"nothing new" in again, again
    assert submit(home, "bad key", "x" * 300)[0] == 550
    [(_, octets)] = until("one message", lambda: sink.by_subject("smtp key"))
    assert b"dempotency-Key" not in octets, octets
    # A client splits what goes to many: the key is the same, the recipients are others.
    code, part = submit(home, "smtp key", "s-1", "y@world.example")
    assert code == 250 and b"nothing new" not in part, part
    until("both parts", lambda: len(sink.by_subject("smtp key")) == 2)
    assert b"nothing new" in submit(home, "smtp key", "s-1", "Y@world.example")[1]
    mail = f"From: {ALICE}\r\nIdempotency-Key: s-1\r\nSubject: other\r\n\r\nx\r\n".encode()
    status, said, _ = api.ask("send/raw?to=x@world.example", mail, "message/rfc822")
    assert status == 422 and said["field"] == "Idempotency-Key", said
    status, said, _ = api.send(key="s-1", subject="other door")
    assert status == 422 and said["field"] == "Idempotency-Key", said


def check_crashes(home, sink, api):
    """Requests with keys while the server is killed again and again; asked anew, each is one message."""
    sink.closed = True
    dice = random.Random(7)
    answered = {}
    for crash in range(CRASHES):
        names = [f"crash-{crash}-{n}" for n in range(REQUESTS)]

        def ask(name):
            try:
                status, made, header = api.send(key=name, subject=name, text="x" * 2000)
            except (OSError, ValueError, urllib.error.URLError):
                return name, None, None
            return name, (made if status == 202 else None), header
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(ask, name) for name in names]
            done = dice.randrange(5, REQUESTS - 10)
            for number, job in enumerate(concurrent.futures.as_completed(jobs)):
                name, made, _ = job.result()
                if made:
                    answered[name] = made
                if number == done:
                    home.kill()
        home.start()
        for name in names:
            _, made, header = ask(name)
            assert made, name
            if name in answered:
                assert made == answered[name] and header["Idempotency-Replayed"] == "true", (name, made)
            answered[name] = made
    assert len({made["id"] for made in answered.values()}) == CRASHES * REQUESTS
    queued = {row["id"] for row in json.loads(home.cli("queue", "list", "--json"))}
    assert {made["id"] for made in answered.values()} <= queued, (len(queued), len(answered))
    life = [api.ask("messages/" + made["id"]) for made in answered.values()]
    assert all(status == 200 for status, _, _ in life)
    # Nothing else with one of these subjects: the queue has what was answered and what came before.
    ours = [row for row in json.loads(home.cli("queue", "list", "--json")) if row["id"] in
            {made["id"] for made in answered.values()}]
    assert len(ours) == CRASHES * REQUESTS and len(queued) == len(ours), (len(ours), len(queued))


def main():
    sink = Sink()
    with watched(House(relay=f"smtp+plain://127.0.0.1:{sink.port}")) as home:
        home.add_account(BOB)
        home.cli("setting", "set", "dmarc.submission", "warn")
        home.cli("setting", "set", "guard.accounts", "off")
        home.start()
        tokens = {"alice": make_token(home, "alice", "--account", ALICE), "bob": make_token(home, "bob", "--account", BOB),
                  "all": make_token(home, "all")}
        api = Api(home, tokens["alice"])
        check_json(sink, api)
        check_raw_and_batch(sink, api)
        check_refusals(home, api, tokens)
        check_smtp_key(home, sink, api)
        until("an empty queue", lambda: not json.loads(home.cli("queue", "list", "--json")))
        check_crashes(home, sink, api)
    print("ok")


if __name__ == "__main__":
    main()
