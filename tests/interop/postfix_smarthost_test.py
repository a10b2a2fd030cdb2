#!/usr/bin/env python3
"""Posthouse hands its mail to a real Postfix as its relay: TLS with a certificate of a test CA, AUTH against Dovecot.

Delivered, put off for a wrong password and then delivered, put off for each kind of bad certificate without a word about
the password, refused. What arrives carries two DKIM signatures that dkimpy verifies with the DNS records that `init`
printed, asked from a real DNS server.
"""
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import House, skip  # noqa: E402
from outside import Reader, make_message, need_servers, peers, submit, trace, until  # noqa: E402
from postfix_world import World as PostfixWorld  # noqa: E402

try:
    import dkim
    import dns.resolver
except ImportError as missing:
    skip(f"{missing.name} is not installed for this Python (packages python3-dkim, python3-dnspython)")

HOST, USER, PASSWORD = "smarthost.example", "house", "bridge over the river"
SMTPS = "127.0.0.1:{port} inet n - n - - smtpd\n  -o smtpd_tls_wrappermode=yes\n"


class World(PostfixWorld):
    """The relay and its surroundings."""

    def __init__(self, postfix, good, stranger, smtps_port, only_login):
        super().__init__(postfix, good, stranger)
        self.good, self.stranger, self.smtps_port, self.only_login = good, stranger, smtps_port, only_login

    def route(self, way, password=PASSWORD):
        """Replaces the only route."""
        self.home.cli("route", "remove", "default")
        self.home.cli("route", "add", "default", way, "--ca-file", str(self.good.certificate),
                      environment={"POSTHOUSE_RELAY_PASSWORD": password})


def check_signatures(world, octets):
    """Two signatures, RSA and Ed25519, both good by the records in the DNS."""
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], world.dns_port

    def txt(name, timeout=5):
        name = name.decode() if isinstance(name, bytes) else name
        return b"".join(resolver.resolve(name, "TXT", lifetime=timeout)[0].strings)

    head = octets.partition(b"\r\n\r\n")[0]
    found = re.findall(rb"(?im)^DKIM-Signature:((?:.*\r?\n?)(?:[ \t].*\r?\n?)*)", head)
    algorithms = sorted(re.search(rb"\ba=([a-z0-9-]+)", field)[1] for field in found)
    assert algorithms == [b"ed25519-sha256", b"rsa-sha256"], algorithms
    for index in range(2):
        assert dkim.DKIM(octets).verify(idx=index, dnsfunc=txt), f"signature {index} is not good"
    changed = octets.replace(b"Dear friend", b"Dear fiend", 1)
    try:
        assert not dkim.DKIM(changed).verify(dnsfunc=txt), "a changed message still verifies"
    except dkim.DKIMException:
        pass


def check_password(world):
    """A wrong password holds the mail and says what to do; the right one delivers it by itself."""
    submit(world.home, "password", "bob@far.example")
    late = trace(world.home, "password")
    event = late.wait("held")
    assert f"did not accept the login of {USER}" in event["detail"] and "password" in event["detail"], event
    assert "AUTH PLAIN" in event["dialogue"] and "535" in event["dialogue"], event["dialogue"]
    for secret in ("wrong password", "AGhvdXNl"):  # in clear, and as base64 of NUL house
        assert secret not in event["dialogue"] + world.home.log(), "the password is written down"
    until("Postfix to note the failed login", lambda: "authentication failed" in world.postfix.log())
    assert not world.postfix.mail()
    world.route(f"smtp://{USER}@{HOST}:{world.postfix.port}")
    delivered = late.wait("delivered")
    assert "250" in delivered["detail"], delivered
    assert "certificate verified" in delivered["dialogue"], delivered["dialogue"]
    octets = world.arrived("password")
    check_signatures(world, octets)
    assert octets.endswith(make_message(world.home, "password", "bob@far.example").partition(b"\r\n\r\n")[2])
    assert f"sasl_username={USER}" in world.postfix.log()
    assert "no such" not in world.home.cli("queue", "list")


def check_bad_certificates(world):
    """A stranger's certificate, a wrong name, no TLS at all: put off, and the relay never hears of a login."""
    home, postfix = world.home, world.postfix
    tries = [("stranger", world.stranger.issue(HOST), "TLS with smarthost.example failed"),
             ("wrong name", world.good.issue("other.example"), "TLS with smarthost.example failed"),
             ("no TLS", {"smtpd_tls_security_level": "none"}, "does not offer STARTTLS")]
    waiting = trace(home, "certificate")
    for number, (what, settings, sentence) in enumerate(tries, start=1):
        postfix.set(settings)
        seen = len(postfix.log())
        if number == 1:
            submit(home, "certificate", "bob@far.example")
        else:
            waiting.retry()
        event = waiting.wait("attempted", number)
        assert sentence in event["detail"], (what, event)
        # an idle connection of before, verified and ended by the restart, may have been tried first
        dialogue = event["dialogue"].rpartition("* connected to")[2]
        assert "C: EHLO" in dialogue and "C: AUTH" not in dialogue and "C: MAIL" not in dialogue, (what, event)
        until("Postfix to see the end", lambda: "disconnect from" in postfix.log()[seen:])
        log = postfix.log()[seen:]
        assert "auth=" not in log and "sasl" not in log and "mail=" not in log, (what, log)
    postfix.set(world.good.issue(HOST))
    waiting.retry()
    waiting.wait("delivered")
    check_signatures(world, world.arrived("certificate"))


def check_implicit_tls(world):
    world.route(f"smtps://{USER}@{HOST}:{world.smtps_port}")
    submit(world.home, "implicit", "bob@far.example")
    event = trace(world.home, "implicit").wait("delivered")
    assert "STARTTLS" not in event["dialogue"].partition("C: EHLO")[0], event["dialogue"]
    check_signatures(world, world.arrived("implicit"))
    world.route(f"smtp://{USER}@{HOST}:{world.postfix.port}")


def check_login_mechanism(world):
    """A relay that knows only AUTH LOGIN."""
    world.postfix.set(world.only_login)
    submit(world.home, "login", "bob@far.example")
    event = trace(world.home, "login").wait("delivered")
    assert "AUTH LOGIN" in event["dialogue"] and "****" in event["dialogue"], event["dialogue"]
    world.arrived("login")


def check_refused(world):
    """One recipient refused among two: the other is delivered, the sender told."""
    submit(world.home, "refused", "bob@far.example", "refused@far.example")
    events = trace(world.home, "refused")
    assert events.wait("delivered")["recipient"] == "bob@far.example"
    bounced = events.wait("bounced")
    assert bounced["recipient"] == "refused@far.example" and "550" in bounced["detail"], bounced
    world.arrived("refused")
    with Reader(world.home) as inbox:
        report = inbox.find("HEADER", "In-Reply-To", "<refused@home.example>")
    assert b"Final-Recipient: rfc822; refused@far.example" in report and b"Status: 5.7.77" in report, report
    assert b"Final-Recipient: rfc822; bob@" not in report


def check_reuse(world):
    """Many messages, few connections."""
    before = world.postfix.log().count("smtpd[")
    seen = len(world.postfix.log())
    names = [f"many{number}" for number in range(20)]
    for name in names:
        submit(world.home, name, "bob@far.example")
    for name in names:
        trace(world.home, name).wait("delivered")
        world.arrived(name)
    connections = len(re.findall(r"smtpd\[\d+\]: connect from", world.postfix.log()[seen:]))
    assert before and connections <= 8, f"{connections} connections for {len(names)} messages"


def main():
    need_servers("dovecot")
    if peers.why_no_dovecot():
        skip(peers.why_no_dovecot())
    smtps_port = peers.free_port()
    good, stranger = peers.Authority(), peers.Authority("Somebody else")
    postfix = peers.Postfix(master_extra=SMTPS.format(port=smtps_port))
    with peers.dovecot_sasl({USER: PASSWORD}) as sasl, peers.dovecot_sasl({USER: PASSWORD}, "login") as only_login, \
            World(postfix, good, stranger, smtps_port, only_login) as world:
        judge = world.judge_recipients("refused@far.example 550 5.7.77 We do not want that")
        postfix.set({**peers.one_maildir(postfix), **good.issue(HOST), **sasl, "mynetworks": "192.0.2.0/24",
                     "smtpd_relay_restrictions": "permit_sasl_authenticated, reject",
                     "smtpd_recipient_restrictions": f"{judge}, permit_sasl_authenticated, reject"})
        postfix.start()
        world.home = House(relay=f"smtp://{USER}@{HOST}:{postfix.port}", relay_password="wrong password",
                           relay_ca=good.certificate, config=world.dns_settings())
        records = [line.replace("<the public address of this machine>", "127.0.0.1") for line in world.home.dns]
        world.run([*records, f"{HOST}. A 127.0.0.1"], check_password, check_bad_certificates, check_implicit_tls,
                  check_refused, check_reuse, check_login_mechanism)


main()
