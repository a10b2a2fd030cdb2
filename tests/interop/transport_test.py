#!/usr/bin/env python3
"""The security of transport to real servers: a zone that knot signs, a Postfix as MX, MTA-STS policies over HTTPS.

DANE: right record, wrong record, no STARTTLS, an unsigned zone whose records must not count, a zone with broken signatures.
MTA-STS: enforced, a certificate for another name, an expired one, testing, a policy host with a wrong certificate; then
everything that could be taken away to get rid of a policy is gone, the server starts anew, and the policy still holds.
"""
import hashlib
import http.server
import json
import pathlib
import ssl
import subprocess
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import House, need  # noqa: E402
from outside import Reader, make_message, need_servers, peers, submit, trace  # noqa: E402
from postfix_world import World as PostfixWorld  # noqa: E402

MX = "mx.far.example"
DOORS = """\
127.0.0.3:{port} inet n - n - - smtpd
  -o smtpd_tls_security_level=none
127.0.0.4:{port} inet n - n - - smtpd
  -o smtpd_tls_cert_file={old}.pem
  -o smtpd_tls_key_file={old}.key
"""
ZONE = """\
mx.far.example. A 127.0.0.1
mail.home.example. A 127.0.0.1
dane.example. MX 10 mx.dane.example.
mx.dane.example. A 127.0.0.1
_{port}._tcp.mx.dane.example. TLSA 3 1 1 {right}
wrong.example. MX 10 mx.wrong.example.
mx.wrong.example. A 127.0.0.1
_{port}._tcp.mx.wrong.example. TLSA 3 1 1 {wrong}
bare.example. MX 10 mx.bare.example.
mx.bare.example. A 127.0.0.3
_{port}._tcp.mx.bare.example. TLSA 3 1 1 {right}
unsigned.example. NS ns.test.
bogus.example. NS ns.test.
bogus.example. DS 12345 13 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
good.example. MX 10 mx.far.example.
name.example. MX 10 other.far.example.
other.far.example. A 127.0.0.1
old.example. MX 10 old.far.example.
old.far.example. A 127.0.0.4
trial.example. MX 10 other.far.example.
badweb.example. MX 10 other.far.example.
mta-sts.good.example. A 127.0.0.1
mta-sts.name.example. A 127.0.0.1
mta-sts.old.example. A 127.0.0.1
mta-sts.trial.example. A 127.0.0.1
mta-sts.badweb.example. A 127.0.0.1
"""
STS_RECORDS = "".join(f'_mta-sts.{domain}.example. TXT "v=STSv1; id=1;"\n'
                      for domain in ("good", "name", "old", "trial", "badweb"))
UNSIGNED = """\
unsigned.example. MX 10 mx.unsigned.example.
mx.unsigned.example. A 127.0.0.1
_{port}._tcp.mx.unsigned.example. TLSA 3 1 1 {wrong}
"""
BOGUS = "bogus.example. MX 10 mx.bogus.example.\nmx.bogus.example. A 127.0.0.1\n"
POLICIES = {"good": ("enforce", MX), "name": ("enforce", "*.far.example"), "old": ("enforce", "old.far.example"),
            "trial": ("testing", "nothing.far.example"), "badweb": ("enforce", MX)}


class Policies:
    """An HTTPS server for the policies; it shows the certificate that belongs to the name it is asked for by."""

    def __init__(self, authority):
        contexts = {}
        for domain in POLICIES:
            host = f"mta-sts.{domain}.example"
            shown = "elsewhere.example" if domain == "badweb" else host
            authority.issue(shown)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(authority.folder / f"{shown}.pem", authority.folder / f"{shown}.key")
            contexts[host] = context

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                domain = self.headers["Host"].split(":")[0].removeprefix("mta-sts.").removesuffix(".example")
                mode, mx = POLICIES[domain]
                body = f"version: STSv1\r\nmode: {mode}\r\nmx: {mx}\r\nmax_age: 86400\r\n".encode()
                self.send_response(200 if self.path == "/.well-known/mta-sts.txt" else 404)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                """A client that does not like the certificate hangs up: that is what it should do."""

        self.server = Server(("127.0.0.1", 0), Handler)
        first = next(iter(contexts.values()))
        first.sni_callback = lambda connection, name, _: setattr(connection, "context", contexts[name])
        self.server.socket = first.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class World(PostfixWorld):
    def delivered(self, name, to):
        submit(self.home, name, to)
        event = trace(self.home, name).wait("delivered")
        self.arrived(name)
        return event["dialogue"]

    def kept_back(self, name, to):
        """Put off, and nothing of it said in clear; gives back the sentence."""
        submit(self.home, name, to)
        event = trace(self.home, name).wait("attempted")
        said = event["dialogue"] or ""
        assert "C: MAIL" not in said, said
        assert not self.copies(name), "it arrived"
        self.home.cli("queue", "hold", trace(self.home, name).queue_id())
        return event["detail"]


def check_dane(world):
    said = world.delivered("dane", "bob@dane.example")
    assert "certificate verified by DANE" in said, said
    told = json.loads(world.home.cli("tls", "policy", "dane.example", "--json"))
    assert told[0]["policy"] == "dane" and told[0]["mx_validated"] and told[0]["tlsa"], told
    why = world.kept_back("wrong", "bob@wrong.example")
    assert "no TLSA record matches" in why and "nothing was sent" in why, why
    why = world.kept_back("bare", "bob@bare.example")
    assert "does not offer STARTTLS, but DANE demands TLS" in why, why


def check_wishes(world):
    """What the sender asks for (RFC 8689)."""
    octets = b"TLS-Required: No\r\n" + make_message(world.home, "no-need", "bob@wrong.example")
    submit(world.home, "no-need", "bob@wrong.example", octets=octets)
    said = trace(world.home, "no-need").wait("delivered")["dialogue"]
    assert "certificate not verified" in said, said
    world.arrived("no-need")
    submit(world.home, "all-the-way", "bob@dane.example", mail_options=["REQUIRETLS"])
    event = trace(world.home, "all-the-way").wait("bounced")
    assert "REQUIRETLS" in event["detail"] and "C: MAIL" not in event["dialogue"], event
    with Reader(world.home) as inbox:
        report = inbox.find("HEADER", "In-Reply-To", "<all-the-way@home.example>")
    assert b"Status: 5.7.30" in report and b"Dear friend" not in report, report


def check_dnssec(world):
    said = world.delivered("unsigned", "bob@unsigned.example")
    assert "certificate not verified" in said, said
    why = world.kept_back("bogus", "bob@bogus.example")
    assert "DNSSEC validation of bogus.example failed" in why, why


def check_sts(world):
    said = world.delivered("good", "bob@good.example")
    assert "certificate verified for MTA-STS" in said, said
    told = world.home.cli("tls", "policy", "good.example")
    assert "mode enforce" in told and "mta-sts" in told, told
    check_enforced(world, "first")
    said = world.delivered("trial", "bob@trial.example")
    assert "certificate not verified" in said, said
    world.delivered("badweb", "bob@badweb.example")
    told = world.home.cli("tls", "policy", "badweb.example")
    assert "sts-webpki-invalid" in told and "opportunistic" in told, told


def check_enforced(world, name):
    why = world.kept_back(f"{name}-name", "bob@name.example")
    assert "ostname mismatch" in why and "MTA-STS demands it" in why, why
    why = world.kept_back(f"{name}-old", "bob@old.example")
    assert "expired" in why and "nothing was sent" in why, why


def old_certificate(authority):
    """A certificate that ended yesterday, for old.far.example."""
    folder = authority.folder
    authority.openssl("req", *authority.new_key("old"), "-subj", "/CN=old.far.example", "-addext",
                      "subjectAltName=DNS:old.far.example", "-out", "old.csr")
    (folder / "index.txt").write_text("")
    (folder / "serial").write_text("77\n")
    (folder / "ca.conf").write_text(
        "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n"
        "copy_extensions=copy\n[p]\ncommonName=supplied\n")
    authority.openssl("ca", "-batch", "-config", "ca.conf", "-cert", "ca.pem", "-keyfile", "ca.key", "-in", "old.csr",
                      "-out", "old.pem", "-notext", "-startdate", "20200101000000Z", "-enddate", "20210101000000Z")
    return folder / "old"


def key_digest(authority, host):
    der = subprocess.run(f"openssl x509 -in {authority.folder / host}.pem -pubkey -noout | openssl pkey -pubin -outform DER",
                         shell=True, capture_output=True, check=True).stdout
    return hashlib.sha256(der).hexdigest()


def main():
    need_servers()
    need("keymgr")
    authority = peers.Authority("The test's authority")
    settings = authority.issue(MX)
    port = peers.free_port()
    postfix = peers.Postfix(port=port, master_extra=DOORS.format(port=port, old=old_certificate(authority)))
    with World(postfix, authority) as world:
        postfix.set({**peers.one_maildir(postfix), **settings})
        postfix.start()
        policies = Policies(authority)
        anchor = authority.folder / "root.anchor"
        world.home = House(config={**world.dns_settings(),
                                   "relay": {"mx_port": str(port), "sts_port": str(policies.port),
                                             "allow_loopback_mx": "true", "ca_file": f'"{authority.certificate}"'}})
        world.home.configure("dns", {"trust_anchor": f'"{anchor}"'})
        facts = {"port": port, "right": key_digest(authority, MX), "wrong": "ab" * 32}
        zones = {"unsigned.example.": UNSIGNED.format(**facts).splitlines(), "bogus.example.": BOGUS.splitlines()}
        zone = ZONE.format(**facts)
        with peers.knot((zone + STS_RECORDS).splitlines(), world.dns_port, zones, signed=(".",), anchor=anchor):
            world.home.start()
            for check in (check_dane, check_wishes, check_dnssec, check_sts):
                check(world)
                print(f"{check.__name__[6:]}: good", flush=True)
            assert "DANE is in use" in world.home.log(), world.home.log()
            assert world.home.stop() == 0
        # The record is gone, the policies cannot be fetched, and nothing is left but what the store keeps.
        policies.stop()
        with peers.knot(zone.splitlines(), world.dns_port, zones, signed=(".",), anchor=anchor):
            world.home.start()
            check_enforced(world, "second")
            print("downgrade: good", flush=True)
            assert world.home.stop() == 0
        # A resolver that signs nothing: said loudly, and nothing waits for it.
        with peers.knot(zone.splitlines(), world.dns_port, zones):
            world.home.start()
            said = world.delivered("lost", "bob@dane.example")
            assert "certificate" in said, said
            assert "DANE unavailable" in world.home.log(), world.home.log()
            found = world.home.cli("doctor", "--json", check=False).stdout
            assert "lose DNSSEC signatures" in found, found
            print("broken resolver: good", flush=True)
            assert world.home.stop() == 0


main()
