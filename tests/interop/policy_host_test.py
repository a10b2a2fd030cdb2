#!/usr/bin/env python3
"""A stranger fetches the MTA-STS policy of a domain at home over HTTPS, with the certificate checked; it changes with the
command line at once, and a renewed certificate is shown after SIGHUP. Nothing else is served there.
"""
import http.client
import json
import pathlib
import signal
import socket
import ssl
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import house, need  # noqa: E402
from outside import until  # noqa: E402

HOST, PATH = "mta-sts.home.example", "/.well-known/mta-sts.txt"


class Connection(http.client.HTTPSConnection):
    """To the house, whatever the name says."""

    def __init__(self, home, name=HOST):
        super().__init__(name, home.port("https"), context=home.tls(), timeout=20)

    def connect(self):
        self.sock = self._context.wrap_socket(socket.create_connection(("127.0.0.1", self.port), 20),
                                              server_hostname=self.host)


def fetch(home, path=PATH, method="GET", host=HOST):
    connection = Connection(home)
    connection.request(method, path, headers={"Host": host})
    answer = connection.getresponse()
    shown = connection.sock.getpeercert()["serialNumber"] if connection.sock else None
    body = answer.read().decode()
    connection.close()
    return answer.status, answer.headers, body, shown


def serial(home):
    with socket.create_connection(("127.0.0.1", home.port("https")), 20) as plain, \
            home.tls().wrap_socket(plain, server_hostname=HOST) as secure:
        return secure.getpeercert()["serialNumber"]


def main():
    need("openssl")
    names = (f"DNS:{HOST}", "DNS:mail.home.example", "IP:127.0.0.1")
    with house(config={"listen": {"https": '["127.0.0.1:0"]'}}, certified=names) as home:
        assert fetch(home)[0] == 404, "no policy is published yet"
        told = home.cli("domain", "mta-sts", "home.example", "testing")
        assert "\n\n\n" not in told and "_mta-sts.home.example. TXT" in told, told
        status, headers, body, _ = fetch(home)
        assert status == 200 and headers["Content-Type"].startswith("text/plain"), (status, headers)
        assert body == "version: STSv1\r\nmode: testing\r\nmx: mail.home.example\r\nmax_age: 86400\r\n", body
        home.cli("domain", "mta-sts", "home.example", "enforce")
        assert "mode: enforce\r\n" in fetch(home)[2]
        for path in ("/", "/metrics", "/healthz", "/v1/queue", PATH + "/"):
            assert fetch(home, path)[0] == 404, path
        assert fetch(home, host="mta-sts.other.example")[0] == 404
        assert fetch(home, method="POST")[0] == 405
        home.cli("domain", "add", "other.example")
        home.cli("domain", "mta-sts", "other.example", "enforce")
        told = json.loads(home.cli("doctor", "--json", "--no-dns", check=False).stdout)
        found = {check["check"]: check for check in told if check["check"].startswith("mta-sts.")}
        assert "does not name it" in str(found["mta-sts.other.example"]), told
        assert "the certificate names it" in str(found[HOST]), told
        before = serial(home)
        home.certify(*names)
        home.process.send_signal(signal.SIGHUP)

        def is_renewed():
            try:
                return serial(home) != before
            except ssl.SSLCertVerificationError:  # the old one is shown still
                return False

        until("the renewed certificate", is_renewed)
        assert fetch(home)[0] == 200
        with socket.create_connection(("127.0.0.1", home.port("https")), 20) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")  # in clear: nothing is said
            assert b"HTTP" not in plain.recv(100)
        assert json.loads(home.cli("domain", "list", "--json")), "it goes on"
        assert home.stop() == 0, "the server did not stop cleanly"
    print("policy host: good")


main()
