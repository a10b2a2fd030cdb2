#!/usr/bin/env python3
"""Tokens of an OpenID provider: a provider of our own over TLS, whose tokens python3-cryptography signs (RS256, ES256,
EdDSA), logs people in by OAUTHBEARER and XOAUTH2 over IMAP and submission; then the same by introspection."""
import base64
import datetime
import http.server
import imaplib
import json
import pathlib
import smtplib
import ssl
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import house, skip  # noqa: E402

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
except ImportError:
    skip("python3-cryptography is not installed")

CLIENT, SECRET = "posthouse", "a secret: with/odd+characters"


def b64(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def number(value, octets=None):
    return b64(value.to_bytes(octets or (value.bit_length() + 7) // 8, "big"))


class Provider:
    """Metadata, keys and introspection at https://localhost:PORT."""

    def __init__(self, folder):
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.ed = ed25519.Ed25519PrivateKey.generate()
        self.asked, self.active = [], {}
        self.certificate = folder / "provider.pem"
        self.make_certificate()
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def answer(self, value, status=200):
                body = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                provider.asked.append(self.path)
                if self.path == "/.well-known/openid-configuration":
                    self.answer({"issuer": provider.url, "jwks_uri": provider.url + "/keys"})
                elif self.path == "/keys":
                    self.answer(provider.jwks())
                else:
                    self.answer({}, 404)

            def do_POST(self):
                form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                provider.asked.append(self.path)
                login = base64.b64decode(self.headers.get("Authorization", "Basic ").split()[-1]).decode()
                if urllib.parse.unquote_plus(login.split(":")[-1]) != SECRET:
                    return self.answer({"error": "invalid_client"}, 401)
                self.answer(provider.active.get(form["token"][0], {"active": False}))

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://localhost:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def make_certificate(self):
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        now = datetime.datetime.utcnow()
        names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self.ec.public_key())
                .serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
                .not_valid_after(now + datetime.timedelta(days=2)).add_extension(names, critical=False)
                .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
                .sign(self.ec, hashes.SHA256()))
        pem = serialization.Encoding.PEM
        self.certificate.write_bytes(made.public_bytes(pem) + self.ec.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))

    def jwks(self):
        r, e = self.rsa.public_key().public_numbers(), self.ec.public_key().public_numbers()
        raw = self.ed.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return {"keys": [{"kty": "RSA", "kid": "r", "use": "sig", "alg": "RS256", "n": number(r.n), "e": number(r.e)},
                         {"kty": "EC", "kid": "e", "crv": "P-256", "x": number(e.x, 32), "y": number(e.y, 32)},
                         {"kty": "OKP", "kid": "d", "crv": "Ed25519", "x": b64(raw)},
                         {"kty": "RSA", "kid": "x", "use": "enc", "n": "AQAB", "e": "AQAB"}]}

    def token(self, algorithm="RS256", **changes):
        claims = {"iss": self.url, "aud": CLIENT, "exp": int(time.time()) + 600, "email": "alice@home.example",
                  "email_verified": True, **changes}
        kid = {"RS256": "r", "ES256": "e", "EdDSA": "d"}.get(algorithm, "r")
        what = b64(json.dumps({"alg": algorithm, "kid": kid, "typ": "JWT"}).encode()) + "." + \
            b64(json.dumps(claims).encode())
        if algorithm == "RS256":
            signature = self.rsa.sign(what.encode(), padding.PKCS1v15(), hashes.SHA256())
        elif algorithm == "ES256":
            r, s = utils.decode_dss_signature(self.ec.sign(what.encode(), ec.ECDSA(hashes.SHA256())))
            signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        elif algorithm == "EdDSA":
            signature = self.ed.sign(what.encode())
        else:
            signature = b""
        return what + "." + b64(signature)


def loose(home):
    context = home.tls()
    context.check_hostname = False
    return context


def bearer(user, token):
    header = f"n,a={user}," if user else "n,,"
    return f"{header}\x01host=mail.home.example\x01port=993\x01auth=Bearer {token}\x01\x01".encode()


def xoauth2(user, token):
    return f"user={user}\x01auth=Bearer {token}\x01\x01".encode()


def log_in(home, mechanism, response, errors=None):
    """Over IMAP; True where it worked."""
    client = imaplib.IMAP4_SSL("127.0.0.1", home.port("imaps"), ssl_context=loose(home))
    challenges = []

    def answer(challenge):
        challenges.append(challenge)
        return response if len(challenges) == 1 else b"\x01"

    try:
        client.authenticate(mechanism, answer)
    except imaplib.IMAP4.error as error:
        assert len(challenges) == 2 and json.loads(challenges[1])["status"] in ("invalid_token", "401"), challenges
        assert b"AUTHENTICATIONFAILED" in str(error).encode(), error
        return False
    client.select("INBOX")
    client.logout()
    return True


def cancel(home, mechanism, response):
    """"*" as the answer to why a token was refused: BAD, and the connection can be used for another way."""
    client = imaplib.IMAP4_SSL("127.0.0.1", home.port("imaps"), ssl_context=loose(home))
    client.send(f"c AUTHENTICATE {mechanism} {base64.b64encode(response).decode()}\r\n".encode())
    line = client.readline()
    assert line.startswith(b"+ "), line
    client.send(b"*\r\n")
    line = client.readline()
    assert line.startswith(b"c BAD"), line
    client.login(home.account, home.password)
    client.logout()


def submit(home, mechanism, response):
    client = smtplib.SMTP_SSL("127.0.0.1", home.port("submissions"), context=loose(home), local_hostname="laptop.example")
    client.ehlo()
    assert mechanism in client.esmtp_features["auth"].split(), client.esmtp_features
    code, text = client.docmd("AUTH", mechanism + " " + base64.b64encode(response).decode())
    if code == 334:
        assert "status" in json.loads(base64.b64decode(text)), text
        code, text = client.docmd(base64.b64encode(b"\x01").decode())
    if code == 235:
        client.sendmail(home.account, [home.account],
                        f"From: {home.account}\r\nTo: {home.account}\r\nSubject: token\r\n\r\nby token\r\n")
    client.close()
    return code


def wait_for_offer(home, mechanism):
    for _ in range(20_000):  # the server looks at what other processes wrote once a second
        client = imaplib.IMAP4_SSL("127.0.0.1", home.port("imaps"), ssl_context=loose(home))
        offered = f"AUTH={mechanism}".encode() in client.welcome
        client.logout()
        if offered:
            return
    raise AssertionError(f"{mechanism} is not offered")


def check_signed(home, provider):
    settings = {"issuer": provider.url, "audience": CLIENT, "ca_file": provider.certificate}
    for key, value in settings.items():
        home.cli("setting", "set", f"oidc.{key}", str(value))
    wait_for_offer(home, "OAUTHBEARER")
    for algorithm in ("RS256", "ES256", "EdDSA"):
        assert log_in(home, "OAUTHBEARER", bearer(home.account, provider.token(algorithm))), algorithm
        assert log_in(home, "XOAUTH2", xoauth2(home.account, provider.token(algorithm))), algorithm
    assert log_in(home, "OAUTHBEARER", bearer("", provider.token())), "the token names the account alone"
    assert submit(home, "OAUTHBEARER", bearer(home.account, provider.token())) == 235
    assert submit(home, "XOAUTH2", xoauth2(home.account, provider.token("ES256"))) == 235
    assert provider.asked == ["/.well-known/openid-configuration", "/keys"], provider.asked
    # Each is a guess; ten a minute are allowed.
    assert not log_in(home, "OAUTHBEARER", bearer("bob@home.example", provider.token()))
    for mechanism, response in (("OAUTHBEARER", bearer("bob@home.example", provider.token())),
                                ("XOAUTH2", xoauth2("bob@home.example", provider.token()))):
        cancel(home, mechanism, response)
    assert not log_in(home, "XOAUTH2", xoauth2(home.account, provider.token(exp=int(time.time()) - 600)))
    assert not log_in(home, "OAUTHBEARER", bearer(home.account, provider.token(aud="another")))
    assert not log_in(home, "OAUTHBEARER", bearer(home.account, provider.token("none")))
    assert not log_in(home, "OAUTHBEARER", bearer("", provider.token(email="nobody@home.example")))
    assert submit(home, "XOAUTH2", xoauth2(home.account, provider.token()[:-4] + "AAAA")) == 535


def check_introspected(home, provider):
    secret = home.folder / "oidc-secret"
    secret.write_text(SECRET + "\n")
    settings = {"introspection_url": provider.url + "/introspect", "client_id": CLIENT, "client_secret_file": secret}
    for key, value in settings.items():
        home.cli("setting", "set", f"oidc.{key}", str(value))
    provider.active["opaque"] = {"active": True, "email": home.account, "aud": [CLIENT]}
    provider.asked.clear()
    assert log_in(home, "XOAUTH2", xoauth2(home.account, "opaque"))
    assert submit(home, "OAUTHBEARER", bearer(home.account, "opaque")) == 235
    assert provider.asked == ["/introspect"], provider.asked
    assert not log_in(home, "XOAUTH2", xoauth2(home.account, "unknown"))
    # Nobody answers: neither yes nor a wrong password.
    home.cli("setting", "set", "oidc.introspection_url", "https://localhost:1/introspect")
    assert submit(home, "XOAUTH2", xoauth2(home.account, "another")) in (451, 454)
    for key in ("issuer", "introspection_url"):
        home.cli("setting", "reset", f"oidc.{key}")


def main():
    with house() as home:
        provider = Provider(home.folder)
        check_signed(home, provider)
        check_introspected(home, provider)
        log = home.log()
        assert "eyJ" not in log and SECRET not in log, "a token or the secret is in the log"
        print("tokens by RS256, ES256, EdDSA and introspection logged in; expired, forged and foreign ones did not")


main()
