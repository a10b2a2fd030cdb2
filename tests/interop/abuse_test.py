#!/usr/bin/env python3
"""Strangers who take what they can: octets before login, literals without end, aborted logins, guesses from one and from
many addresses. What they hold stays small, what they hear is the same, and those who belong here get in meanwhile."""
import base64
import contextlib
import imaplib
import pathlib
import re
import smtplib
import socket
import ssl
import statistics
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import house  # noqa: E402

HELD = 300
HELD_OCTETS_MAX = 48 * 1024       # a connection before login
GROWTH_OCTETS_MAX = 1024 * 1024   # after many aborted exchanges; sanitizers keep freed memory, and are let off
SANITIZED = b"__asan_init"


def resident(home):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{home.process.pid}/status").read_text())[1]) * 1024


def dial(home, service, source="127.0.0.1"):
    made = socket.create_connection(("127.0.0.1", home.port(service)), timeout=60, source_address=(source, 0))
    return made, made.makefile("rb")


def secure(home, service, source="127.0.0.1"):
    context = home.tls()
    context.check_hostname = False
    plain = socket.create_connection(("127.0.0.1", home.port(service)), timeout=60, source_address=(source, 0))
    made = context.wrap_socket(plain)
    return made, made.makefile("rb")


def plain(login, password, authzid=""):
    return base64.b64encode(f"{authzid}\0{login}\0{password}".encode()).decode()


class Imap:
    """One IMAP connection over TLS, from an address of its own."""

    def __init__(self, home, source):
        self.socket, self.lines = secure(home, "imaps", source)
        self.lines.readline()

    def login(self, login, password):
        self.socket.sendall(f"a1 LOGIN {login} \"{password}\"\r\n".encode())
        line = self.lines.readline()
        self.socket.close()
        return line.decode().strip()


def check_held(home, sanitized):
    """8 KiB each before login, in whatever form, and nothing of it is kept beyond."""
    before, held = resident(home), []
    for number in range(HELD):
        connection = dial(home, "imap", f"127.0.2.{number % 250 + 1}")
        connection[1].readline()
        connection[0].sendall(b"a1 ID " + b"(" * 8000)
        held.append(connection)
    other, lines = dial(home, "imap")
    lines.readline()
    other.sendall(b"a1 NOOP\r\n")  # read behind all of the above
    assert lines.readline().startswith(b"a1 OK")
    each = max(0, resident(home) - before) / HELD
    assert sanitized or each <= HELD_OCTETS_MAX, f"{each} octets a held connection"
    for connection, _ in held:
        connection.close()
    for text in (b"a1 LOGIN {2147483648}\r\n", b"a1 LOGIN {4294967296}\r\n", b"a1 LOGIN {18446744073709551616}\r\n",
                 b"a1 LOGIN {1025}\r\n", b"a1 LOGIN {9000+}\r\n", b"x" * 8200 + b"\r\n", b"a1 ID (" + b"(" * 8200 + b"\r\n"):
        connection, lines = dial(home, "imap")
        lines.readline()
        connection.sendall(text)
        line = lines.readline()
        assert b" BAD " in line or line.startswith(b"* BYE"), (text[:40], line)
        connection.close()
    # Answers within AUTHENTICATE count too.
    connection, lines = secure(home, "imaps")
    lines.readline()
    for _ in range(12):
        connection.sendall(b"a1 AUTHENTICATE PLAIN\r\n")
        line = lines.readline()
        if line.startswith(b"* BYE [TOOBIG]"):
            break
        connection.sendall(b"!" * 1000 + b"\r\n")
        line = lines.readline()
        if line.startswith(b"* BYE"):
            break
    assert line.startswith(b"* BYE"), line
    return each


def check_identity(home):
    """RFC 4616: the authorisation identity is empty or the login itself."""
    for service, say, good, bad in (("imaps", "a1 AUTHENTICATE PLAIN {}\r\n", b"a1 OK", b"a1 NO"),
                                    ("submissions", "AUTH PLAIN {}\r\n", b"235", b"535")):
        for authzid, right in (("", True), (home.account, True), ("postmaster@home.example", False)):
            connection, lines = secure(home, service)
            lines.readline()
            if service == "submissions":
                connection.sendall(b"EHLO laptop.example\r\n")
                while lines.readline()[3:4] == b"-":
                    pass
            connection.sendall(say.format(plain(home.account, home.password, authzid)).encode())
            line = lines.readline()
            assert line.startswith(good if right else bad), (service, authzid, line)
            connection.close()


def check_broken(home):
    """Broken exchanges end themselves and nobody else's."""
    def strange(text):
        with contextlib.suppress(OSError):
            connection, lines = secure(home, "submissions", "127.0.3.1")
            lines.readline()
            connection.sendall(b"EHLO laptop.example\r\n")
            while lines.readline()[3:4] == b"-":
                pass
            connection.sendall(b"AUTH PLAIN\r\n")
            assert lines.readline().startswith(b"334")
            connection.sendall(text + b"\r\n")
            assert lines.readline()[:1] == b"5"
            connection.close()

    threads = [threading.Thread(target=strange, args=(text,))
               for _ in range(10) for text in (b"not*base64", b"*", b"A" * 12289, b"AAAA")]
    for thread in threads:
        thread.start()
    for _ in range(20):
        assert Imap(home, "127.0.0.1").login(home.account, home.password).startswith("a1 OK")
    for thread in threads:
        thread.join()


def check_leak(home, sanitized):
    """Exchanges that are begun and left; memory comes back."""
    first = base64.b64encode(b"n,,n=" + home.account.encode() + b",r=abcdef").decode()

    def abort(count):
        for number in range(count):
            connection, lines = secure(home, "imaps")
            lines.readline()
            if number % 2:
                connection.sendall(b"a1 AUTHENTICATE PLAIN\r\n")
            else:
                connection.sendall(f"a1 AUTHENTICATE SCRAM-SHA-256 {first}\r\n".encode())
            assert lines.readline().startswith(b"+ ")
            connection.close()

    abort(100)
    before = resident(home)
    abort(500)
    growth = resident(home) - before
    assert sanitized or growth <= GROWTH_OCTETS_MAX, f"{growth} octets after 500 aborted exchanges"
    return growth


def check_guesses(home):
    """Ten a minute from one address; twenty an hour against one account from anywhere but its owner's network."""
    said = [Imap(home, "127.0.4.1").login(f"user{number}@home.example", "x") for number in range(14)]
    assert len(set(said[:10])) == 1 and "AUTHENTICATIONFAILED" in said[0], said
    assert all("LIMIT" in line for line in said[10:]), said
    stop, waits = threading.Event(), []

    def owner():
        while not stop.is_set():
            began = time.monotonic()
            assert Imap(home, "127.0.0.1").login(home.account, home.password).startswith("a1 OK")
            waits.append(time.monotonic() - began)

    thread = threading.Thread(target=owner)
    thread.start()
    said = [Imap(home, f"127.0.5.{number + 1}").login(home.account, "x") for number in range(40)]
    stop.set()
    thread.join()
    assert all("AUTHENTICATIONFAILED" in line for line in said[:20]), said
    assert all("LIMIT" in line for line in said[20:]), said
    # From where its owner never was even the right password has to wait; at home it works.
    assert "LIMIT" in Imap(home, "127.0.6.1").login(home.account, home.password)
    worst = statistics.quantiles(waits, n=100)[98] if len(waits) > 1 else waits[0]
    assert worst < 5, f"the owner waited {worst:.2f} s"
    # Three a connection.
    connection, lines = secure(home, "imaps", "127.0.7.1")
    lines.readline()
    for number in range(3):
        connection.sendall(b"a1 LOGIN bob@home.example x\r\n")
        line = lines.readline()
        assert line.startswith(b"a1 NO [AUTHENTICATIONFAILED]"), line
    assert lines.readline().startswith(b"* BYE")
    with smtplib.SMTP_SSL("127.0.0.1", home.port("submissions"), context=ssl._create_unverified_context(),
                          source_address=("127.0.7.2", 0)) as client:
        client.ehlo()
        codes = [client.docmd("AUTH", "PLAIN " + plain("bob@home.example", "x"))[0] for _ in range(3)]
        assert codes == [535, 535, 421], codes
    return worst


def main():
    with house() as home:
        program = pathlib.Path(f"/proc/{home.process.pid}/exe").read_bytes()
        sanitized = SANITIZED in program
        assert Imap(home, "127.0.0.1").login(home.account, home.password).startswith("a1 OK")
        each = check_held(home, sanitized)
        check_identity(home)
        check_broken(home)
        growth = check_leak(home, sanitized)
        worst = check_guesses(home)
        assert imaplib.IMAP4("127.0.0.1", home.port("imap")).noop()[0] == "OK"
        print(f"{each / 1024:.1f} KiB a held connection, {growth // 1024} KiB after 500 aborted logins, "
              f"the owner's login within {worst * 1000:.0f} ms under attack")


main()
