#!/usr/bin/env python3
"""Ways to log in: app passwords and their end, SCRAM by gsasl and msmtp, SCRAM-SHA-256-PLUS bound to tls-exporter by a
client of our own, the switch of SCRAM, and a password that was changed."""
import base64
import hashlib
import hmac
import imaplib
import os
import pathlib
import smtplib
import socket
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import house  # noqa: E402

try:
    from OpenSSL import SSL
except ImportError:
    SSL = None
FAR_AWAY_SECONDS = 20  # for what must happen within a second, on a busy machine with sanitizers


def imap(home):
    context = home.tls()
    context.check_hostname = False
    return imaplib.IMAP4_SSL("127.0.0.1", home.port("imaps"), ssl_context=context)


def submission(home):
    context = home.tls()
    context.check_hostname = False
    client = smtplib.SMTP_SSL("127.0.0.1", home.port("submissions"), context=context, local_hostname="laptop.example")
    client.ehlo()
    return client


def refused(call, *arguments):
    try:
        call(*arguments)
    except (imaplib.IMAP4.error, smtplib.SMTPAuthenticationError):
        return True
    return False


def check_app_passwords(home):
    made = home.cli("account", "app-password", "add", home.account, "phone").split("\n")[0]
    assert len(made) == 26, made
    assert "never" in home.cli("account", "app-password", "list", home.account)
    reader, sender, other = imap(home), submission(home), imap(home)
    reader.login(home.account, made)
    sender.login(home.account, made)
    other.login(home.account, home.password)
    reader.select("INBOX")
    assert "never" not in home.cli("account", "app-password", "list", home.account)
    again = home.cli("account", "app-password", "add", home.account, "phone", check=False)
    assert again.returncode == 1 and "revoke it first" in again.stderr, again.stderr
    home.cli("account", "app-password", "revoke", home.account, "phone")
    # The session ends by itself; it asks for nothing.
    reader.sock.settimeout(FAR_AWAY_SECONDS)
    line = reader.readline()
    assert line.startswith(b"* BYE [AUTHORIZATIONFAILED]"), line
    code, text = sender.mail(home.account)
    assert code == 421, (code, text)
    assert other.noop()[0] == "OK"
    assert refused(imap(home).login, home.account, made) and refused(submission(home).login, home.account, made)
    gone = home.cli("account", "app-password", "revoke", home.account, "phone", check=False)
    assert gone.returncode == 1 and "has no app password phone" in gone.stderr, gone.stderr
    other.logout()


def check_gsasl(home, password):
    """GNU SASL, an implementation that shares nothing with ours, over STARTTLS."""
    for service, flag in (("imap", "--imap"), ("submission", "--smtp")):
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "PLAIN", "LOGIN"):
            for secret, good in ((password, True), ("wrong", False)):
                if not good and mechanism != "SCRAM-SHA-256":
                    continue
                done = subprocess.run(["gsasl", flag, f"--connect=127.0.0.1:{home.port(service)}", "--hostname=localhost",
                                       "--x509-ca-file=", "--starttls",
                                       *([] if mechanism.endswith("-PLUS") else ["--no-cb"]),
                                       "--mechanism", mechanism, "--authentication-id", home.account,
                                       "--authorization-id=", "--password", secret, "--verbose"],
                                      input="", capture_output=True, text=True, timeout=60)
                said = done.stdout + done.stderr
                accepted = "Client authentication finished" in said
                assert accepted == good, (service, mechanism, good, said)


def check_msmtp(home, password):
    secret = home.folder / "msmtprc"
    secret.write_text(f"account default\nhost localhost\nport {home.port('submission')}\nfrom {home.account}\n"
                      f"auth scram-sha-256\nuser {home.account}\npassword {password}\ntls on\ntls_starttls on\n"
                      f"tls_certcheck off\n")
    secret.chmod(0o600)
    message = f"From: {home.account}\nTo: {home.account}\nSubject: scram\n\nby SCRAM\n"
    done = subprocess.run(["msmtp", "-C", str(secret), home.account], input=message, capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 0, done.stderr


class Bound:
    """IMAP over a TLS connection whose exporter is at hand (RFC 9266)."""

    def __init__(self, home):
        self.socket = socket.create_connection(("127.0.0.1", home.port("imaps")), timeout=FAR_AWAY_SECONDS)
        self.socket.settimeout(None)
        self.tls = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), self.socket)
        self.tls.set_connect_state()
        self.tls.do_handshake()
        self.exporter = self.tls.export_keying_material(b"EXPORTER-Channel-Binding", 32)
        self.held = b""
        self.greeting = self.line()

    def line(self):
        while b"\r\n" not in self.held:
            self.held += self.tls.recv(4096)
        line, self.held = self.held.split(b"\r\n", 1)
        return line

    def say(self, text):
        self.tls.sendall(text + b"\r\n")
        return self.line()

    def scram(self, user, password, mechanism=b"SCRAM-SHA-256-PLUS", header=b"p=tls-exporter,,", exporter=None):
        nonce = base64.b64encode(os.urandom(18))
        bare = b"n=" + user.encode() + b",r=" + nonce
        line = self.say(b"a1 AUTHENTICATE " + mechanism + b" " + base64.b64encode(header + bare))
        if not line.startswith(b"+ "):
            return line
        first = base64.b64decode(line[2:])
        parts = dict(part.split(b"=", 1) for part in first.split(b","))
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(parts[b"s"]), int(parts[b"i"]))
        key = hmac.digest(salted, b"Client Key", "sha256")
        data = exporter if exporter is not None else self.exporter
        binding = base64.b64encode(header + (data if header.startswith(b"p=") else b""))
        without = b"c=" + binding + b",r=" + parts[b"r"]
        what = bare + b"," + first + b"," + without
        signature = hmac.digest(hashlib.sha256(key).digest(), what, "sha256")
        proof = bytes(a ^ b for a, b in zip(key, signature))
        line = self.say(base64.b64encode(without + b",p=" + base64.b64encode(proof)))
        if not line.startswith(b"+ "):
            return line
        expected = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), what, "sha256")
        assert base64.b64decode(line[2:]) == b"v=" + base64.b64encode(expected), line
        return self.say(b"")


def check_bound(home, password):
    client = Bound(home)
    assert b"AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 AUTH=PLAIN" in client.greeting, client.greeting
    assert client.scram(home.account, password).startswith(b"a1 OK")
    # The proof of one connection on another one: whoever sits in between has two.
    stranger = Bound(home)
    assert stranger.scram(home.account, password, exporter=client.exporter).startswith(b"a1 NO [AUTHENTICATIONFAILED]")
    # He takes -PLUS away: the client could bind ("y"), and we did offer it.
    assert Bound(home).scram(home.account, password, b"SCRAM-SHA-256", b"y,,").startswith(b"a1 NO"), "downgraded"
    assert Bound(home).scram(home.account, password, b"SCRAM-SHA-256", b"n,,").startswith(b"a1 OK")
    in_clear = socket.create_connection(("127.0.0.1", home.port("imap")))
    greeting = in_clear.recv(4096)
    assert b"SCRAM" not in greeting and b"LOGINDISABLED" in greeting, greeting


def check_cancelled(home):
    """"*" behind an initial response is BAD (RFC 3501 6.2.2), no guess of a password, and another way may follow."""
    client = imap(home)
    first = base64.b64encode(b"n,,n=" + home.account.encode() + b",r=abcdefghijkl")
    for words in (b"LOGIN " + base64.b64encode(home.account.encode()), b"LOGIN", b"PLAIN", b"SCRAM-SHA-256 " + first,
                  b"SCRAM-SHA-256"):
        client.send(b"c AUTHENTICATE " + words + b"\r\n")
        line = client.readline()
        assert line.startswith(b"+ "), (words, line)
        client.send(b"*\r\n")
        line = client.readline()
        assert line.startswith(b"c BAD"), (words, line)
    client.login(home.account, home.password)
    client.logout()


def check_switch(home):
    home.cli("setting", "set", "auth.scram", "off")
    for _ in range(20_000):  # the server looks at what other processes wrote once a second
        client = imap(home)
        if b"SCRAM" not in client.welcome:
            break
        client.noop()
    else:
        raise AssertionError("SCRAM is still offered")
    bad = home.cli("setting", "set", "auth.scram", "maybe", check=False)
    assert bad.returncode == 1 and "one of: auto on off" in bad.stderr, bad.stderr
    home.cli("setting", "reset", "auth.scram")


def check_changed_password(home):
    reader = imap(home)
    reader.login(home.account, home.password)
    home.cli("account", "password", home.account, environment={"POSTHOUSE_PASSWORD": "a new password"})
    reader.sock.settimeout(FAR_AWAY_SECONDS)
    line = reader.readline()
    assert line.startswith(b"* BYE [AUTHORIZATIONFAILED]"), line
    imap(home).login(home.account, "a new password")
    assert refused(imap(home).login, home.account, home.password)


def main():
    with house() as home:
        check_app_passwords(home)
        app = home.cli("account", "app-password", "add", home.account, "gsasl").split("\n")[0]
        peers = []
        for password in (home.password, app):
            if subprocess.run(["which", "gsasl"], capture_output=True).returncode == 0:
                check_gsasl(home, password)
                peers.append("gsasl")
            if subprocess.run(["which", "msmtp"], capture_output=True).returncode == 0:
                check_msmtp(home, password)
                peers.append("msmtp")
            if SSL:
                check_bound(home, password)
                peers.append("pyOpenSSL")
        check_cancelled(home)
        check_switch(home)
        check_changed_password(home)
        print("logged in, and out again, with", ", ".join(sorted(set(peers)) or ["imaplib"]))


main()
