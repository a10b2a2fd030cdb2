#!/usr/bin/env python3
"""Posthouse delivers by MX to a real Exim: over opportunistic STARTTLS, many recipients and many messages over few
connections, a refused and a put off recipient, an Exim that takes few recipients at a time.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import house, need, skip, watched  # noqa: E402
from outside import Reader, peers, submit, trace, until  # noqa: E402
from exim import Exim, why_no_exim  # noqa: E402


def arrived(exim, name):
    """The one copy of that message at the other side."""
    mark = f"<{name}@home.example>".encode()
    until(f"{name} at the other side", lambda: any(mark in octets for octets in exim.mail()))
    copies = [octets for octets in exim.mail() if mark in octets]
    assert len(copies) == 1, f"{name}: {len(copies)} copies"
    return copies[0]


def check_delivered(home, exim):
    submit(home, "delivered", "bob@far.example")
    event = trace(home, "delivered").wait("delivered")
    assert "C: STARTTLS" in event["dialogue"] and "certificate not verified" in event["dialogue"], event["dialogue"]
    assert b"DKIM-Signature:" in arrived(exim, "delivered")


def check_many(home, exim):
    names = [f"many{number}" for number in range(20)]
    before = exim.log().count("SMTP connection from")
    for name in names:
        submit(home, name, "bob@far.example")
    for name in names:
        trace(home, name).wait("delivered")
        arrived(exim, name)
    connections = exim.log().count("SMTP connection from") - before
    assert connections <= 8, f"{connections} connections for {len(names)} messages"


def check_refused(home, exim):
    submit(home, "refused", "bob@far.example", "refused@far.example", "later@far.example")
    events = trace(home, "refused")
    assert events.wait("delivered")["recipient"] == "bob@far.example"
    assert "no such user here" in events.wait("bounced")["detail"]
    put_off = events.wait("attempted")
    assert put_off["recipient"] == "later@far.example" and "come back later" in put_off["detail"], put_off
    arrived(exim, "refused")
    with Reader(home) as inbox:
        report = inbox.find("HEADER", "In-Reply-To", "<refused@home.example>")
    assert b"Final-Recipient: rfc822; refused@far.example" in report, report


def check_few_recipients(home, exim):
    """Exim says 452 to the sixth: the others go at once, in messages of five (RFC 5321 4.5.3.1.10)."""
    exim.set((), ["recipients_max = 5"])
    submit(home, "wide", *[f"r{number}@far.example" for number in range(17)])
    until("all of them", lambda: trace(home, "wide").count("delivered") == 17)
    assert trace(home, "wide").count("attempted") == 0
    messages = exim.log().count("id=wide@home.example")
    assert messages == 4, f"{messages} messages"


def main():
    need("knotd", "openssl")
    if why_no_exim():
        skip(why_no_exim())
    authority, dns_port = peers.Authority(), peers.free_port()
    exim = Exim(authority.issue("mx.far.example"), "nobody", "no password", (), takes_all=True)
    options = {"dns": {"servers": f'["127.0.0.1@{dns_port}"]'}, "relay": {"mx_port": str(exim.port), "allow_loopback_mx": "true"}}
    with watched(exim), peers.knot(["far.example. MX 10 mx.far.example.", "mx.far.example. A 127.0.0.1"], dns_port):
        exim.start()
        with house(config=options) as home:
            for check in (check_delivered, check_many, check_refused, check_few_recipients):
                check(home, exim)
                print(f"{check.__name__[6:]}: good", flush=True)
    authority.remove()


main()
