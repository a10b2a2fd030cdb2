#!/usr/bin/env python3
"""Posthouse and a real OpenSMTPD: as MX, whose TLS breaks off (tests/support/opensmtpd.py says why) so that the mail
goes in clear, and as a relay in clear; refused recipients are told. With a policy that demands TLS nothing goes to it.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import House, need, skip  # noqa: E402
from outside import Reader, peers, submit, trace, until  # noqa: E402
from opensmtpd import OpenSmtpd, why_no_opensmtpd  # noqa: E402


def arrived(other, name):
    """The one copy of that message at the other side."""
    mark = f"<{name}@home.example>".encode()
    until(f"{name} at the other side", lambda: any(mark in octets for octets in other.mail()))
    copies = [octets for octets in other.mail() if mark in octets]
    assert len(copies) == 1, f"{name}: {len(copies)} copies"
    return copies[0]


def check_mx(home, other):
    submit(home, "mx", "bob@far.example")
    event = trace(home, "mx").wait("delivered")
    assert "TLS failed" in event["dialogue"] and "trying again without TLS" in event["dialogue"], event["dialogue"]
    octets = arrived(other, "mx")
    assert b"DKIM-Signature:" in octets and "\r\n.a dot\r\n".encode() in octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def check_refused(home, other):
    submit(home, "refused", "bob@far.example", "refused@far.example")
    events = trace(home, "refused")
    assert events.wait("delivered")["recipient"] == "bob@far.example"
    bounced = events.wait("bounced")
    assert bounced["recipient"] == "refused@far.example" and "550" in bounced["detail"], bounced
    arrived(other, "refused")
    with Reader(home) as inbox:
        assert b"refused@far.example" in inbox.find("HEADER", "In-Reply-To", "<refused@home.example>")


def check_many(home, other):
    """One message to many, and many messages: few connections, one copy each."""
    submit(home, "wide", *[f"r{number}@far.example" for number in range(40)])
    until("all forty", lambda: trace(home, "wide").count("delivered") == 40)
    names = [f"many{number}" for number in range(10)]
    for name in names:
        submit(home, name, "bob@far.example")
    for name in names:
        trace(home, name).wait("delivered")
        arrived(other, name)


def check_required(home, other):
    """REQUIRETLS: rather not at all than in clear."""
    submit(home, "required", "bob@far.example", mail_options=["REQUIRETLS"])
    event = trace(home, "required").wait("bounced")
    assert "requires TLS" in event["detail"], event
    assert not any(b"<required@home.example>" in octets for octets in other.mail())


def check_smarthost(home, other):
    home.cli("way", "add", "plain", f"smtp+plain://127.0.0.1:{other.port}")
    home.cli("route", "add", "relayed", "plain", "--to", "relayed.example", "--priority", "1")
    submit(home, "relayed", "bob@relayed.example")
    event = trace(home, "relayed").wait("delivered")
    assert "C: STARTTLS" not in event["dialogue"], event["dialogue"]
    arrived(other, "relayed")


def main():
    need("knotd", "openssl", "unshare")
    if why_no_opensmtpd():
        skip(why_no_opensmtpd())
    authority, dns_port = peers.Authority(), peers.free_port()
    other = OpenSmtpd(authority.issue("mx.far.example"))
    home = None
    try:
        other.start()
        home = House(config={"dns": {"servers": f'["127.0.0.1@{dns_port}"]'},
                             "relay": {"mx_port": str(other.port), "allow_loopback_mx": "true"}})
        with peers.knot(["far.example. MX 10 mx.far.example.", "mx.far.example. A 127.0.0.1"], dns_port):
            home.start()
            for check in (check_mx, check_refused, check_many, check_required, check_smarthost):
                check(home, other)
                print(f"{check.__name__[6:]}: good", flush=True)
            assert home.stop() == 0, "the server did not stop cleanly"
    except BaseException:
        print("---- log of the server\n" + (home.log() if home else "") + "\n---- OpenSMTPD\n" + other.log()[-4000:])
        raise
    finally:
        if home:
            home.remove()
        other.remove()
        authority.remove()


main()
