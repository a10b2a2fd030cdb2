#!/usr/bin/env python3
"""Posthouse with each relay service it knows, played by a stand-in that speaks as the service does: TLS with a certificate
of the right name, the service's logins, its words. What a service says about the account makes the way rest and the next
one take the message; what it says about the message is about the message. Fields meant for one service reach no other.
"""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import House, need, watched  # noqa: E402
from outside import peers, submit, trace, until  # noqa: E402
from service import SERVICES, Service  # noqa: E402

USER, PASSWORD = "house", "bridge over the river"
HEADERS = "X-SMTPAPI: {\"category\": \"x\"}\r\nX-PM-Tag: welcome\r\nX-Mailgun-Tag: t\r\nX-SES-MESSAGE-TAGS: a=b\r\n"
OWN = {"sendgrid": "X-SMTPAPI", "postmark": "X-PM-Tag", "postmark-broadcast": "X-PM-Tag", "mailgun": "X-Mailgun-Tag",
       "mailgun-eu": "X-Mailgun-Tag", "ses": "X-SES-MESSAGE-TAGS"}
SET = {"postmark": "X-PM-Message-Stream: outbound", "postmark-broadcast": "X-PM-Message-Stream: broadcast",
       "resend": "Resend-Idempotency-Key: q"}
# Service, when, what it says, and what the way is said to suffer from. The next way takes each of these messages.
ABOUT_THE_ACCOUNT = [
    ("smtp2go", "RCPT", "550 From domain not verified", "not verified at SMTP2GO"),
    ("sendgrid", "MAIL", "451 You have exceeded your: Maximum credits exceeded", "allowance of the plan"),
    ("sendgrid", "RCPT", "452 Too many recipients received this hour", "this hour"),
    ("sendgrid", ".", "550 The from address does not match a verified Sender Identity", "verified sender"),
    ("mailgun", "RCPT", "420 Domain mg.example is over its hourly limit", "hourly limit"),
    ("mailgun-eu", ".", "554 Domain mg.example is disabled: too many bounces", "disabled at Mailgun"),
    ("postmark", ".", "550 The From address has no sender signature", "sender signature"),
    ("ses", "MAIL", "454 Throttling failure: Maximum sending rate exceeded.", "sending rate"),
    ("ses", ".", "454 Throttling failure: Daily message quota exceeded.", "daily quota"),
    ("ses", ".", "554 Message rejected: Email address is not verified.", "not verified in this region"),
    ("ses", "MAIL", "421 Too many concurrent SMTP connections", "Too many connections"),
    ("brevo", "AUTH", "535 5.7.8 Authentication failed", "SMTP key"),
    ("google-relay", ".", "550 5.7.1 Daily SMTP relay limit exceeded for customer", "organisation"),
    ("gmail", ".", "550 5.4.5 Daily user sending limit exceeded", "daily limit of the user"),
    ("gmail", "RCPT", "450 4.2.1 Peak SMTP relay limit exceeded", "peak rate"),
    ("microsoft", "MAIL", "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", "Three connections"),
    ("microsoft", "AUTH", "550 5.7.30 Basic authentication is not supported for Client Submission", "XOAUTH2"),
    ("azure", ".", "550 5.7.60 Sender address is not configured", "not configured"),
    ("resend", "RCPT", "450 Daily sending quota exceeded", "daily allowance"),
]
PLAIN = "From: Alice <alice@home.example>\r\nTo: <{to}>\r\nSubject: {name}\r\n{extra}Message-ID: <{name}@home.example>\r\n" \
        "Date: Mon, 23 Nov 2026 20:11:05 +0000\r\n\r\nhello\r\n"


class World:
    def __init__(self, authority, dns_port):
        self.services, records = {}, []
        for preset in SERVICES:
            host = f"{preset}.services.example"
            self.services[preset] = Service(preset, authority.issue(host), USER, PASSWORD)
            records.append(f"{host}. A 127.0.0.1")
        self.spare = Service("brevo", authority.issue("spare.services.example"), USER, PASSWORD)
        self.records = [*records, "spare.services.example. A 127.0.0.1"]
        self.home = House(config={"dns": {"servers": f'["127.0.0.1@{dns_port}"]'}})
        self.ca = ["--ca-file", str(authority.certificate)]
        self.secret = {"POSTHOUSE_RELAY_PASSWORD": PASSWORD}
        for preset in self.services:
            self.add_way(preset, preset)
        self.home.cli("way", "add", "spare", f"smtp://{USER}@spare.services.example:{self.spare.port}", *self.ca,
                      environment=self.secret)
        for preset in self.services:
            self.home.cli("route", "add", f"to-{preset}", f"{preset},spare", "--to", f"{preset}.example")

    def add_way(self, name, preset):
        service = self.services[preset]
        user = f"{USER}@" if service.mechanisms else ""
        self.home.cli("way", "add", name, f"smtp://{user}{preset}.services.example:{service.port}", "--preset", preset,
                      "--rate", "60000", *self.ca, environment=self.secret)

    def send(self, name, preset, extra=""):
        to = f"bob@{preset}.example"
        submit(self.home, name, to, octets=PLAIN.format(to=to, name=name, extra=extra).encode())
        return trace(self.home, name)


def marked(service, name):
    return [octets for octets in service.messages if f"<{name}@home.example>".encode() in octets]


def check_each_service(world):
    """The login is made, the message arrives once, with the fields of this service and of no other."""
    for preset, service in world.services.items():
        event = world.send(f"first-{preset}", preset, HEADERS).wait("delivered")
        assert "certificate verified" in event["dialogue"], event["dialogue"]
        found = marked(service, f"first-{preset}")
        assert len(found) == 1, (preset, len(found))
        head = found[0].partition(b"\r\n\r\n")[0].decode()
        for field in ("X-SMTPAPI", "X-PM-Tag", "X-Mailgun-Tag", "X-SES-MESSAGE-TAGS"):
            assert (f"\r\n{field}:" in "\r\n" + head) == (OWN.get(preset) == field), (preset, field, head)
        assert SET.get(preset, "") in head, (preset, head)
        assert service.logins[:1] == ([] if not service.mechanisms else
                                      ["CRAM-MD5"] if preset == "postmark-broadcast" else
                                      ["PLAIN"] if "PLAIN" in service.mechanisms.split() else ["LOGIN"]), service.logins
        for secret in (PASSWORD, "YnJpZGdlIG92ZXIgdGhlIHJpdmVy"):
            assert secret not in event["dialogue"] + world.home.log(), "the password is written down"
    assert not world.spare.messages


def check_about_the_account(world):
    """Each case by a way of its own: what was learned of one says nothing about the next."""
    for number, (preset, when, reply, why) in enumerate(ABOUT_THE_ACCOUNT):
        service, name = world.services[preset], f"account{number}"
        world.add_way(name, preset)
        world.home.cli("route", "add", name, f"{name},spare", "--to", f"{name}.example")
        service.next(when, reply)
        events = world.send(name, name)
        events.wait("delivered")
        assert events.count("bounced") == 0, (preset, reply)
        assert len(marked(world.spare, name)) == 1 and not marked(service, name), (preset, reply)
        known = json.loads(world.home.cli("way", "show", name, "--json"))["remembered"]
        assert len(known) == 1 and why in known[0], (preset, reply, known)
        told = world.home.cli("route", "explain", world.home.account, f"bob@{name}.example", "--no-dns")
        assert "Passed over" in told and why in told and "spare" in told, told
        world.home.cli("way", "forget", name)
        assert not json.loads(world.home.cli("way", "show", name, "--json"))["remembered"]


# What is said of the account for good: on a route of one way nothing may bounce for it.
FOR_GOOD = [("gmail", ".", "550 5.4.5 Daily user sending limit exceeded"),
            ("microsoft", "RCPT", "550 5.1.90 Your message can't be sent because you've reached your daily limit for recipients"),
            ("google-relay", ".", "550 5.7.1 Daily SMTP relay limit exceeded for customer"),
            ("smtp2go", "RCPT", "550 monthly allowance exceeded"),
            ("brevo", "MAIL", "550 daily limit reached"),
            ("resend", ".", "550 You have reached your daily quota")]


def check_one_way(world):
    """The way rests, the mail waits, an incident tells it; when the allowance is new, it leaves."""
    for number, (preset, when, reply) in enumerate(FOR_GOOD):
        service, name = world.services[preset], f"only{number}"
        world.add_way(name, preset)
        world.home.cli("route", "add", name, name, "--to", f"{name}.example")
        service.next(when, reply)
        events = world.send(name, name)
        events.wait("attempted")
        waits = json.loads(world.home.cli("trace", f"{name}@home.example", "--json"))[-1]
        assert events.count("bounced") == 0 and not marked(service, name), (preset, reply)
        assert waits["kind"] == "waits", (preset, waits)
        open_now = world.home.cli("incident", "list")
        assert f"the allowance of way {name} is used up" in open_now, open_now
        world.home.cli("way", "forget", name)
        world.home.cli("queue", "retry", waits["queue_id"])
        events.wait("delivered")
        assert events.count("bounced") == 0 and len(marked(service, name)) == 1, (preset, reply)
        assert f"way {name} " not in world.home.cli("incident", "list")


def check_about_the_message(world):
    """A refused recipient is refused: no other way is asked to carry it all the same."""
    before = len(world.spare.messages)
    for preset in ("ses", "sendgrid", "gmail"):
        world.services[preset].next("RCPT", "550 5.1.1 The email account that you tried to reach does not exist")
        name = f"message-{preset}"
        world.send(name, preset).wait("bounced")
        assert not json.loads(world.home.cli("way", "show", preset, "--json"))["remembered"]
    assert len(world.spare.messages) == before


def check_connections(world):
    """Microsoft's three connections hold, however much waits."""
    names = [f"many{number}" for number in range(12)]
    # Other ways to the same service were tried before: what they left open counts there, too.
    until("nothing is open at microsoft", lambda: world.services["microsoft"].open_now == 0)
    world.services["microsoft"].open_most = 0
    for name in names:
        world.send(name, "microsoft")
    for name in names:
        trace(world.home, name).wait("delivered")
    assert world.services["microsoft"].open_most <= 3, world.services["microsoft"].open_most


def check_recipients(world):
    """A message to many is divided as the service wants it, and each of them gets it."""
    for preset, service in world.services.items():
        most = service.words.recipients
        if most is None or most > 100:
            continue
        before, name = len(service.messages), f"crowd-{preset}"
        everybody = [f"r{number}@{preset}.example" for number in range(most + 7)]
        submit(world.home, name, *everybody, octets=PLAIN.format(to=everybody[0], name=name, extra="").encode())
        trace(world.home, name).wait("delivered", number=len(everybody))
        # Whom Resend knows by a key has it to himself: a key that comes twice is a copy that is not delivered.
        wanted = len(everybody) if preset == "resend" else 2
        assert len(service.messages) - before == wanted, (preset, len(service.messages) - before)


def check_limits(world):
    """After all of it: nowhere was more asked than the service allows."""
    for preset, service in world.services.items():
        assert not service.exceeded, (preset, service.exceeded)


def check_test(world):
    """`route test` says what it finds, also where it finds a fault."""
    told = world.home.cli("route", "test", "ses", "--to", "bob@ses.example")
    for word in ("Connected to", "certificate is good", "login of house was accepted", "250 Ok 0102"):
        assert word in told, told
    assert b"posthouse route test" in world.services["ses"].messages[-1]
    assert world.services["ses"].messages[-1].startswith(b"DKIM-Signature:")
    name = told.partition("Look for Message-ID <")[2].partition(">")[0]
    assert name and "route test by way ses: 250" in world.home.cli("trace", name), told
    world.home.cli("route", "test", "resend", "--to", "bob@resend.example")
    assert b"Resend-Idempotency-Key: probe." in world.services["resend"].messages[-1]
    # A route: each of its ways, one after the other.
    world.home.cli("route", "add", "two-services", "resend,ses,hold", "--from", "nobody.example", "--priority", "999")
    found = json.loads(world.home.cli("route", "test", "two-services", "--to", "bob@ses.example", "--json"))
    assert [(one["way"], one["good"]) for one in found] == [("resend", True), ("ses", True)], found
    told = world.home.cli("route", "test", "two-services")
    assert told.startswith("Way resend:\nConnected to") and "\n\nWay ses:\nConnected to" in told, told
    world.home.cli("route", "remove", "two-services")
    world.services["brevo"].next("AUTH", "535 5.7.8 Authentication failed")
    done = world.home.cli("route", "test", "brevo", check=False)
    assert done.returncode == 1 and "SMTP key" in done.stdout and "did not pass" in done.stderr, (done.stdout, done.stderr)


def main():
    need("knotd", "openssl")
    authority, dns_port = peers.Authority(), peers.free_port()
    world = World(authority, dns_port)
    with watched(world.home), peers.knot(world.records, dns_port):
        world.home.start()
        for check in (check_each_service, check_about_the_account, check_one_way, check_about_the_message, check_connections,
                      check_recipients, check_test, check_limits):
            check(world)
            print(f"{check.__name__[6:]}: good", flush=True)
    for service in (*world.services.values(), world.spare):
        service.close()
    authority.remove()


main()
