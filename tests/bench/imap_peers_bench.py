#!/usr/bin/env python3
"""What clients do all day, in a mailbox of realistic messages, beside Dovecot (maildir and mdbox) in the same run.

  tests/bench/imap_peers_bench.py [--messages 10000] [--rounds 3]

The same client code and the same messages for each: lognormal sizes with a median of 10 KB and a tail to 2 MB, a third of
them with an attachment. Prints one JSON line a server and a table. POSTHOUSE_BINARY names the program (a release build).
Posthouse is read over TLS, Dovecot in clear; Posthouse's changes are on disk when they are answered, Dovecot runs with its
own default for that. Best of the rounds; APPEND and logins once.
"""
import argparse
import base64
import concurrent.futures
import imaplib
import json
import math
import pathlib
import random
import sys
import time

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "interop"), str(TESTS / "support")]
import house  # noqa: E402
import peers  # noqa: E402

WORDS = [f"{a}{b}" for a in ("re", "con", "in", "sub", "over", "pre", "un", "de", "trans", "out") for b in
         ("port", "form", "act", "late", "tract", "vert", "sist", "cept", "mand", "sume", "press", "ject", "pose", "duct")]
APPENDS, LOGINS, SOME = 400, 300, 1000


def message(number):
    source = random.Random(number)
    size = min(2_000_000, max(800, int(math.exp(source.gauss(math.log(10_000), 1.2)))))
    head = (f"From: Sender {number % 97} <s{number % 97}@sender.example>\r\nTo: alice@home.example\r\n"
            f"Subject: {' '.join(source.choices(WORDS, k=5))} {number}\r\nDate: Tue, {1 + number % 28:02d} Sep 2026 10:{number % 60:02d}:00 +0000\r\n"
            f"Message-ID: <m{number}@sender.example>\r\nReply-To: <r{number % 13}@sender.example>\r\nMIME-Version: 1.0\r\n")
    words = " ".join(source.choices(WORDS, k=min(size, 20_000) // 8))
    text = "\r\n".join(words[at:at + 72] for at in range(0, len(words), 72)) + "\r\n"
    if number % 3:
        return (head + "Content-Type: text/plain; charset=utf-8\r\n\r\n" + text).encode()
    data = base64.encodebytes(source.randbytes(size * 3 // 4)).decode().replace("\n", "\r\n")
    return (head + 'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n' + text +
            '--b\r\nContent-Type: application/pdf; name="a.pdf"\r\nContent-Transfer-Encoding: base64\r\n\r\n' + data +
            "--b--\r\n").encode()


def run(client, command, literal=b""):
    """One command, its answer read as it comes: seconds and octets."""
    run.count += 1
    tag = f"x{run.count}"
    data = f"{tag} {command}\r\n".encode() if not literal else f"{tag} {command} {{{len(literal)}+}}\r\n".encode() + literal + b"\r\n"
    began = time.perf_counter()
    client.sock.sendall(data)
    mark, octets, tail = f"{tag} ".encode(), 0, b"\r\n"
    while True:
        block = client.sock.recv(1 << 18)
        if not block:
            raise RuntimeError(f"{command}: the server hung up")
        octets += len(block)
        tail = (tail + block)[-600:]
        if tail.endswith(b"\r\n") and b"\r\n" + mark in tail:
            if b"\r\n" + mark + b"OK" not in tail:
                raise RuntimeError(f"{command}: {tail[-200:]!r}")
            return time.perf_counter() - began, octets


run.count = 0


def best(client, command, rounds):
    return round(min(run(client, command)[0] for _ in range(rounds)) * 1000, 2)


def appends(connect, clients):
    body = message(1)[:600] + b"x" * 9_400 + b"\r\n"
    open_clients = [connect() for _ in range(clients)]

    def send(client):
        for _ in range(APPENDS // clients):
            run(client, "APPEND Target", body)

    began = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        list(pool.map(send, open_clients))
    return round(APPENDS // clients * clients / (time.perf_counter() - began))


def logins(connect):
    def visit(_):
        for _ in range(LOGINS // 10):
            client = connect()
            run(client, "SELECT INBOX")
            client.logout()

    connect().logout()
    began = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        list(pool.map(visit, range(10)))
    return round(LOGINS / (time.perf_counter() - began))


def told(connect, rounds=30):
    """Milliseconds from another's OK until the EXISTS in an idling session."""
    idler, other = connect(), connect()
    run(idler, "SELECT Target")
    idler.sock.sendall(b"i IDLE\r\n")
    idler.sock.recv(4096)
    times = []
    for _ in range(rounds):
        run(other, "APPEND Target", b"Subject: x\r\n\r\nx\r\n")
        began = time.perf_counter()
        while b"EXISTS" not in idler.sock.recv(4096):
            pass
        times.append((time.perf_counter() - began) * 1000)
    return round(sorted(times)[len(times) // 2], 2)


def measure(name, connect, messages, rounds):
    client = connect()
    for folder in ("Target", "Copies"):
        run(client, f"CREATE {folder}")
    for number in range(messages):
        run(client, "APPEND INBOX", message(number))
    run(client, "SELECT INBOX")
    out = {"server": name, "messages": messages}
    out["first ENVELOPE BODYSTRUCTURE ms"] = best(client, "FETCH 1:* (ENVELOPE BODYSTRUCTURE)", 1)
    out["SELECT ms"] = best(client, "SELECT INBOX", rounds + 2)
    out["UID FETCH FLAGS ms"] = best(client, "UID FETCH 1:* (FLAGS)", rounds)
    out["ENVELOPE BODYSTRUCTURE ms"] = best(client, "FETCH 1:* (ENVELOPE BODYSTRUCTURE)", rounds)
    out["five fields, size, date ms"] = best(
        client, "FETCH 1:* (RFC822.SIZE INTERNALDATE BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE REPLY-TO)])", rounds)
    out["all bodies ms"] = best(client, "FETCH 1:* BODY.PEEK[]", rounds)
    out["SEARCH BODY ms"] = best(client, 'SEARCH BODY "transverted"', rounds)
    out["SEARCH BODY common ms"] = best(client, 'SEARCH BODY "import"', rounds)
    out["SEARCH SUBJECT ms"] = best(client, 'SEARCH SUBJECT "conform"', rounds)
    out["STORE on all ms"] = min(best(client, f"STORE 1:* {sign}FLAGS.SILENT (\\Flagged)", 1) for sign in "+-+-")
    out[f"COPY {SOME} ms"] = best(client, f"COPY 1:{SOME} Copies", 1)
    run(client, "SELECT Copies")
    run(client, "STORE 1:* +FLAGS.SILENT (\\Deleted)")
    out[f"EXPUNGE {SOME} ms"] = best(client, "EXPUNGE", 1)
    out["EXISTS in IDLE ms"] = told(connect)
    out["APPEND by 1 per s"] = appends(connect, 1)
    out["APPEND by 20 per s"] = appends(connect, 20)
    out["logins per s"] = logins(connect)
    print(json.dumps(out), flush=True)
    return out


def posthouse(wanted):
    with house.house() as home:
        context = home.tls()
        context.check_hostname = False

        def connect():
            client = imaplib.IMAP4_SSL("127.0.0.1", home.port("imaps"), ssl_context=context)
            client.login(home.account, home.password)
            return client

        return measure("posthouse", connect, wanted.messages, wanted.rounds)


def dovecot(wanted, kind):
    with peers.dovecot(location=f"{kind}:~/{kind}") as (port, _, _root):
        def connect():
            client = imaplib.IMAP4("127.0.0.1", port)
            client.login("bench", "secret")
            return client

        return measure(f"dovecot {kind}", connect, wanted.messages, wanted.rounds)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    rows = [posthouse(wanted)]
    why = peers.why_no_dovecot()
    if why:
        print(f"skipped: {why}")
    else:
        rows += [dovecot(wanted, kind) for kind in ("maildir", "mdbox")]
    for case in list(rows[0])[2:]:
        print(f"{case:32}" + "".join(f"{row[case]:>18}" for row in rows))


main()
