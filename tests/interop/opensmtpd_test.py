#!/usr/bin/env python3
"""Posthouse and a real OpenSMTPD: as MX over TLS, and as smarthost with a verified certificate and a login, by STARTTLS and
from the first octet; a wrong password, refused recipients. A second one is as Debian builds it, with TLS that breaks off
(tests/support/opensmtpd.py says why): mail goes to it in clear, and not at all where TLS is demanded.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import House, need, skip  # noqa: E402
from outside import Reader, peers, submit, trace, until  # noqa: E402
from opensmtpd import OpenSmtpd, why_no_opensmtpd  # noqa: E402

HOST, USER, PASSWORD = "mx.far.example", "house", "bridge over the river"


def arrived(other, name):
    """The one copy of that message at the other side."""
    mark = f"<{name}@home.example>".encode()
    until(f"{name} at the other side", lambda: any(mark in octets for octets in other.mail()))
    copies = [octets for octets in other.mail() if mark in octets]
    assert len(copies) == 1, f"{name}: {len(copies)} copies"
    return copies[0]


def check_mx(home, other, broken):
    submit(home, "mx", "bob@far.example")
    event = trace(home, "mx").wait("delivered")
    assert "C: STARTTLS" in event["dialogue"] and "* TLSv1.3" in event["dialogue"], event["dialogue"]
    octets = arrived(other, "mx")
    assert b"DKIM-Signature:" in octets and "\r\n.a dot\r\n".encode() in octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert b"(TLSv1.3:" in octets, octets


def check_broken(home, other, broken):
    submit(home, "broken", "bob@broken.example")
    event = trace(home, "broken").wait("delivered")
    assert "TLS failed" in event["dialogue"] and "trying again without TLS" in event["dialogue"], event["dialogue"]
    arrived(broken, "broken")


def check_logins(home, other, broken):
    """Over verified TLS alone is the password said; the relay takes nothing without it."""
    for name, url in (("starttls", f"smtp://{USER}@{HOST}:{other.auth_port}"),
                      ("implicit", f"smtps://{USER}@{HOST}:{other.smtps_port}")):
        home.cli("way", "add", name, url, "--ca-file", str(home.authority.certificate),
                 environment={"POSTHOUSE_RELAY_PASSWORD": PASSWORD})
        home.cli("route", "add", name, name, "--to", f"{name}.example", "--priority", "1")
        submit(home, name, f"bob@{name}.example")
        event = trace(home, name).wait("delivered")
        assert "AUTH PLAIN" in event["dialogue"] and "certificate verified" in event["dialogue"], event["dialogue"]
        assert ("C: STARTTLS" in event["dialogue"]) == (name == "starttls"), event["dialogue"]
        assert PASSWORD not in event["dialogue"] + home.log(), "the password is written down"
        arrived(other, name)
    assert f"user={USER}" in other.log() and "authentication" in other.log(), other.log()
    told = home.cli("route", "test", "starttls", "--to", "bob@far.example", "--from", home.account)
    assert "certificate is good" in told and f"login of {USER} was accepted" in told, told


def check_wrong_login(home, other, broken):
    """A wrong password at the first way: the second takes the message at once."""
    home.cli("way", "add", "wrong", f"smtp://{USER}@{HOST}:{other.auth_port}", "--ca-file", str(home.authority.certificate),
             environment={"POSTHOUSE_RELAY_PASSWORD": "a wrong one"})
    home.cli("route", "add", "two", "wrong,implicit", "--to", "two.example", "--priority", "1")
    submit(home, "second", "bob@two.example")
    events = trace(home, "second")
    event = events.wait("delivered")
    assert events.count("attempted") == 1 and "did not accept the login" in events.wait("attempted")["detail"], event
    arrived(other, "second")


def check_refused(home, other, broken):
    submit(home, "refused", "bob@far.example", "refused@far.example")
    events = trace(home, "refused")
    assert events.wait("delivered")["recipient"] == "bob@far.example"
    bounced = events.wait("bounced")
    assert bounced["recipient"] == "refused@far.example" and "550" in bounced["detail"], bounced
    arrived(other, "refused")
    with Reader(home) as inbox:
        assert b"refused@far.example" in inbox.find("HEADER", "In-Reply-To", "<refused@home.example>")


def check_many(home, other, broken):
    """One message to many, and many messages: few connections, one copy each."""
    submit(home, "wide", *[f"r{number}@far.example" for number in range(40)])
    until("all forty", lambda: trace(home, "wide").count("delivered") == 40)
    names = [f"many{number}" for number in range(10)]
    for name in names:
        submit(home, name, "bob@far.example")
    for name in names:
        trace(home, name).wait("delivered")
        arrived(other, name)


def check_required(home, other, broken):
    """REQUIRETLS: rather not at all than in clear."""
    submit(home, "required", "bob@broken.example", mail_options=["REQUIRETLS"])
    event = trace(home, "required").wait("bounced")
    assert "requires TLS" in event["detail"], event
    assert not any(b"<required@home.example>" in octets for octets in broken.mail())


def check_smarthost(home, other, broken):
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
    other = OpenSmtpd(authority.issue(HOST), USER, PASSWORD)
    broken = OpenSmtpd(authority.issue("mx.broken.example"), broken=True, address="127.0.0.2", port=other.port)
    home = None
    try:
        other.start()
        broken.start()
        home = House(config={"dns": {"servers": f'["127.0.0.1@{dns_port}"]'},
                             "relay": {"mx_port": str(other.port), "allow_loopback_mx": "true"}})
        home.authority = authority
        zones = [f"far.example. MX 10 {HOST}.", f"{HOST}. A 127.0.0.1",
                 "broken.example. MX 10 mx.broken.example.", "mx.broken.example. A 127.0.0.2"]
        with peers.knot(zones, dns_port):
            home.start()
            for check in (check_mx, check_refused, check_many, check_logins, check_wrong_login, check_broken, check_required,
                          check_smarthost):
                check(home, other, broken)
                print(f"{check.__name__[6:]}: good", flush=True)
            assert home.stop() == 0, "the server did not stop cleanly"
    except BaseException:
        print("---- log of the server\n" + (home.log() if home else "") + "\n---- OpenSMTPD\n" + other.log()[-4000:])
        raise
    finally:
        if home:
            home.remove()
        other.remove()
        broken.remove()
        authority.remove()


main()
