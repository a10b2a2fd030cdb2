#!/usr/bin/env python3
"""A relay that knows its clients by their certificates, as a connector of Microsoft 365 does: what is shown, what is said
where there is none or its files cannot be read, and that a renewed one is shown without a restart."""
import json
import pathlib
import socket
import ssl
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import need, watched, House  # noqa: E402
from outside import peers, submit, trace, until  # noqa: E402
from remote import Remote  # noqa: E402

HOST, OURS = "localhost", "mail.home.example"


class Connector(Remote):
    """Takes mail from those alone who show a certificate of `authority`."""

    def __init__(self, authority):
        files = authority.issue(HOST)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files["smtpd_tls_cert_file"], files["smtpd_tls_key_file"])
        context.load_verify_locations(authority.certificate)
        context.verify_mode = ssl.CERT_REQUIRED
        self.clients, self.open, self.is_harsh = [], 0, False
        super().__init__(tls=context)

    def talk(self, connection, *more):
        if self.is_harsh:  # closing tears the connection down, and takes along the alert that the other has not read
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with self.lock:
            self.open += 1
        try:
            super().talk(connection, *more)
        finally:
            with self.lock:
                self.open -= 1

    def wait_alone(self):
        """Until no connection is left that the next message could go over."""
        until("the idle connection to end", lambda: self.open == 0)

    def showed(self, certificate):
        self.clients.append(dict(pair for group in certificate["subject"] for pair in group)["commonName"])


def try_way(home):
    """What `route test` finds: whether it is good, and its sentences."""
    done = home.cli("route", "test", "relay", "--json", check=False)
    found, = json.loads(done.stdout)
    return done.returncode == 0, " ".join(found["findings"])


def retry(home, message):
    """Now, unless it has just gone by itself."""
    home.cli("queue", "retry", message.queue_id(), check=False)


def check_none(home, remote, files):
    good, said = try_way(home)
    assert not good and "asks for a certificate of ours, and the way has none (--client-cert)" in said, said
    remote.is_harsh = True
    submit(home, "none", "bob@far.example")
    event = trace(home, "none").wait("attempted")
    assert "asks for a certificate of ours" in event["detail"], event
    remote.is_harsh = False
    assert not remote.clients and not remote.messages


def check_files(home, remote, files):
    for words, what in ((("--client-cert", "/nowhere.pem"), "cannot read the certificate in /nowhere.pem: No such file"),
                        (("--client-cert", str(files["cert"])), f"cannot use the key in {files['cert']}"),
                        (("--client-key", str(files["key"])), "--client-key belongs to a --client-cert")):
        done = home.cli("way", "set", "relay", *words, check=False)
        assert done.returncode == 1 and what in done.stderr, (words, done)


def check_shown(home, remote, files):
    home.cli("way", "set", "relay", "--client-cert", str(files["cert"]), "--client-key", str(files["key"]))
    assert json.loads(home.cli("way", "show", "relay", "--json"))["client_cert"] == str(files["cert"])
    good, said = try_way(home)
    assert good and f"was shown CN={OURS} ({files['cert']})" in said, said
    message = trace(home, "none")
    retry(home, message)
    event = message.wait("delivered")
    assert f"ours was shown: CN={OURS}" in event["dialogue"], event["dialogue"]
    assert set(remote.clients) == {OURS}, remote.clients


def check_renewed(home, remote, files):
    """The files change under a running server; half of a pair leaves the old one."""
    good_key = files["key"].read_text()
    files["key"].write_text("no key at all")
    remote.wait_alone()
    submit(home, "half", "bob@far.example")
    trace(home, "half").wait("delivered")
    until("the log to name the key", lambda: f"cannot use the key in {files['key']}" in home.log())
    files["key"].write_text(good_key)
    renewed = files["authority"].issue("renewed.home.example")
    files["cert"].write_text(renewed["smtpd_tls_cert_file"].read_text())
    files["key"].write_text(renewed["smtpd_tls_key_file"].read_text())
    remote.wait_alone()
    submit(home, "renewed", "bob@far.example")
    trace(home, "renewed").wait("delivered")
    assert remote.clients[-1] == "renewed.home.example", remote.clients


def check_gone(home, remote, files):
    """A key that cannot be read at a start: the mail waits and says which file."""
    kept = files["key"].read_text()
    files["key"].unlink()
    assert home.stop() == 0
    home.start()
    submit(home, "gone", "bob@far.example")
    message = trace(home, "gone")
    event = message.wait("attempted")
    assert f"The relay cannot be used: cannot read the key in {files['key']}: No such file" in event["detail"], event
    files["key"].write_text(kept)
    retry(home, message)
    message.wait("delivered")


def main():
    need("openssl")
    authority = peers.Authority()
    remote = Connector(authority)
    ours = authority.issue(OURS)
    home = House(relay=f"smtp://{HOST}:{remote.port}", relay_ca=authority.certificate)
    files = {"authority": authority, "cert": home.folder / "ours.pem", "key": home.folder / "ours.key"}
    files["cert"].write_text(ours["smtpd_tls_cert_file"].read_text())
    files["key"].write_text(ours["smtpd_tls_key_file"].read_text())
    home.cli("route", "remove", "default")
    home.cli("way", "add", "relay", f"smtp://{HOST}:{remote.port}", "--ca-file", str(authority.certificate))
    home.cli("route", "add", "all", "relay")
    with watched(home):
        home.start()
        for check in (check_none, check_files, check_shown, check_renewed, check_gone):
            check(home, remote, files)
            print(f"{check.__name__[6:]}: good", flush=True)
    remote.close()
    authority.remove()


main()
