#!/usr/bin/env python3
"""Posthouse hands its mail to a real Exim as its relay: TLS with a verified certificate, each of the logins that Exim
offers (PLAIN, LOGIN, CRAM-MD5), a refused recipient, and a second way where the login of the first is wrong.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import house, need, skip, watched  # noqa: E402
from outside import peers, submit, trace, until  # noqa: E402
from exim import Exim, why_no_exim  # noqa: E402

HOST, USER, PASSWORD = "smarthost.example", "house", "bridge over the river"


def arrived(exim, name):
    """The one copy of that message at the other side."""
    mark = f"<{name}@home.example>".encode()
    until(f"{name} at the other side", lambda: any(mark in octets for octets in exim.mail()))
    copies = [octets for octets in exim.mail() if mark in octets]
    assert len(copies) == 1, f"{name}: {len(copies)} copies"
    return copies[0]


def check_logins(home, exim):
    for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5"):
        exim.set([mechanism])
        name = f"login-{mechanism.lower()}"
        submit(home, name, "bob@far.example")
        event = trace(home, name).wait("delivered")
        assert f"AUTH {mechanism}" in event["dialogue"] and "certificate verified" in event["dialogue"], event["dialogue"]
        assert PASSWORD not in event["dialogue"] + home.log(), "the password is written down"
        assert b"DKIM-Signature:" in arrived(exim, name)
        assert f":{USER} " in exim.log(), exim.log()


def check_refused(home, exim):
    submit(home, "refused", "bob@far.example", "refused@far.example")
    events = trace(home, "refused")
    assert events.wait("delivered")["recipient"] == "bob@far.example"
    assert "no such user here" in events.wait("bounced")["detail"]
    arrived(exim, "refused")


def check_second_way(home, exim):
    """A wrong login of the first way: the second takes the message at once, and nothing is lost or doubled."""
    home.cli("way", "add", "wrong", f"smtp://{USER}@{HOST}:{exim.port}", "--ca-file", str(exim.authority.certificate),
             environment={"POSTHOUSE_RELAY_PASSWORD": "a wrong one"})
    home.cli("route", "add", "two", "wrong,default", "--to", "two.example", "--priority", "1")
    submit(home, "second", "bob@two.example")
    events = trace(home, "second")
    event = events.wait("delivered")
    assert events.count("attempted") == 1 and "did not accept the login" in events.wait("attempted")["detail"], event
    arrived(exim, "second")
    assert "does not work" in home.cli("way", "show", "wrong")
    done = home.cli("route", "test", "wrong", check=False)
    assert done.returncode == 1 and "did not accept the login" in done.stdout, (done.stdout, done.stderr)
    told = home.cli("route", "test", "default", "--to", "bob@far.example", "--from", home.account)
    assert "certificate is good" in told and "login of house was accepted" in told, told


def main():
    need("knotd", "openssl")
    if why_no_exim():
        skip(why_no_exim())
    authority, dns_port = peers.Authority(), peers.free_port()
    exim = Exim(authority.issue(HOST), USER, PASSWORD)
    exim.authority = authority
    options = {"relay": f"smtp://{USER}@{HOST}:{exim.port}", "relay_password": PASSWORD, "relay_ca": authority.certificate,
               "config": {"dns": {"servers": f'["127.0.0.1@{dns_port}"]'}}}
    with watched(exim), peers.knot([f"{HOST}. A 127.0.0.1"], dns_port):
        exim.start()
        with house(**options) as home:
            for check in (check_logins, check_refused, check_second_way):
                check(home, exim)
                print(f"{check.__name__[6:]}: good", flush=True)
    authority.remove()


main()
