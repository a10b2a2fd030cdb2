#!/usr/bin/env python3
"""Posthouse logs in at a relay with XOAUTH2: tokens by client credentials and by a refresh token that is replaced, fetched
from an HTTPS endpoint; a token that is refused is dropped, and what the endpoint says is told.
"""
import http.server
import json
import pathlib
import ssl
import sys
import threading
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import House, need, watched  # noqa: E402
from outside import peers, submit, trace, until  # noqa: E402
from service import Service  # noqa: E402

USER, SECRET = "house@tenant.example", "the application's secret"


class Endpoint:
    """What login.microsoftonline.com and oauth2.googleapis.com do with a form."""

    def __init__(self, files):
        self.asked, self.number, self.refresh, self.refuse = [], 0, "refresh-0", None
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
                status, answer = endpoint.answer(form)
                octets = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(octets)))
                self.end_headers()
                self.wfile.write(octets)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files["smtpd_tls_cert_file"], files["smtpd_tls_key_file"])
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, form):
        self.asked.append(form)
        if self.refuse:
            return 400, {"error": "invalid_grant", "error_description": self.refuse}
        if form.get("client_id") != "app" or form.get("client_secret", SECRET) != SECRET:
            return 401, {"error": "invalid_client"}
        if form["grant_type"] == "refresh_token":
            if form["refresh_token"] != self.refresh:
                return 400, {"error": "invalid_grant", "error_description": "this refresh token was replaced"}
            self.refresh = f"refresh-{len(self.asked)}"
        self.number += 1
        return 200, {"token_type": "Bearer", "expires_in": 3599, "access_token": self.token(), "refresh_token": self.refresh}

    def token(self):
        return f"token-{self.number}"


def deliver(home, name):
    submit(home, name, "bob@far.example")
    return trace(home, name).wait("delivered")


def check_client_credentials(home, relay, endpoint):
    relay.token = "token-1"
    event = deliver(home, "first")
    assert relay.logins[-1] == "XOAUTH2" and "AUTH XOAUTH2" in event["dialogue"], event["dialogue"]
    assert endpoint.asked[0] == {"client_id": "app", "grant_type": "client_credentials", "client_secret": SECRET,
                                 "scope": "mail.send"}, endpoint.asked
    deliver(home, "second")
    assert len(endpoint.asked) == 1, "a token that is still good is used again"
    for secret in ("token-1", SECRET):
        assert secret not in event["dialogue"] + home.log(), "a secret is written down"


def check_refused_token(home, relay, endpoint):
    """A token that the relay does not take any more is dropped; the next attempt brings another."""
    until("the connection to end", lambda: relay.open_now == 0)
    relay.token = "token-2"
    submit(home, "revoked", "bob@far.example")
    events = trace(home, "revoked")
    assert "did not accept the login" in events.wait("attempted")["detail"]
    events.retry()
    events.wait("delivered")
    assert len(endpoint.asked) == 2


def check_endpoint_refuses(home, relay, endpoint):
    until("the connection to end", lambda: relay.open_now == 0)
    home.stop()
    home.start()
    endpoint.refuse = "AADSTS7000215: Invalid client secret provided"
    submit(home, "no-token", "bob@far.example")
    events = trace(home, "no-token")
    assert "AADSTS7000215" in events.wait("attempted")["detail"]
    endpoint.refuse, relay.token = None, "token-3"
    events.retry()
    events.wait("delivered")


def check_refresh_token(home, relay, endpoint):
    """A refresh token is replaced at each use; the new one is what a restart finds."""
    file = home.folder / "refresh"
    file.write_text("refresh-0\n")
    home.cli("route", "remove", "all")
    home.cli("way", "add", "hosted", *home.way, "--oauth-refresh-file", str(file))
    home.cli("route", "add", "all", "hosted")
    for number in (4, 5):
        relay.token = f"token-{number}"
        deliver(home, f"refresh{number}")
        assert endpoint.asked[-1]["grant_type"] == "refresh_token", endpoint.asked[-1]
        until("the connection to end", lambda: relay.open_now == 0)
        home.stop()
        home.start()


def main():
    need("knotd", "openssl")
    authority, dns_port = peers.Authority(), peers.free_port()
    relay = Service("microsoft", authority.issue("hosted.example"), USER, "no password at all", token="none yet")
    endpoint = Endpoint(authority.issue("login.example"))
    home = House(config={"dns": {"servers": f'["127.0.0.1@{dns_port}"]'},
                         "relay": {"ca_file": f'"{authority.certificate}"', "allow_loopback_mx": "true"}})
    home.way = [f"smtp://{USER}@hosted.example:{relay.port}", "--oauth-client", "app", "--oauth-url",
                f"https://login.example:{endpoint.port}/token", "--oauth-scope", "mail.send"]
    with watched(home), peers.knot(["hosted.example. A 127.0.0.1", "login.example. A 127.0.0.1"], dns_port):
        home.cli("way", "add", "all", *home.way, environment={"POSTHOUSE_RELAY_PASSWORD": SECRET})
        home.cli("route", "add", "all", "all")
        home.start()
        for check in (check_client_credentials, check_refused_token, check_endpoint_refuses, check_refresh_token):
            check(home, relay, endpoint)
            print(f"{check.__name__[6:]}: good", flush=True)
    relay.close()
    endpoint.server.shutdown()
    authority.remove()


main()
