#!/usr/bin/env python3
"""What clients do all day, in a mailbox of 10,000 realistic messages (308 MB): Posthouse, Dovecot (maildir and mdbox) and
Cyrus side by side in the same run.

  tests/bench/imap_peers_bench.py [--messages 10000] [--rounds 3] [--servers posthouse,maildir,mdbox,cyrus] [--rows TEXT]
                                  [--save FILE] [--hold]

The same client code and the same messages for each, all in clear on loopback, each with its own defaults; Posthouse's
changes are on disk when they are answered. The best of the rounds; "first" once. Prints one JSON line a server and, at the
end, a table with the best of the peers in the last column. --rows measures only rows whose name holds the text; --hold
keeps the first server after its mailbox is filled, for a profiler, until Enter. POSTHOUSE_BINARY names the program (a
release build), POSTHOUSE_CYRUS where Cyrus was unpacked, POSTHOUSE_APPEND_LOAD the clients of the APPEND rows
(imap_append_load of a bench build).
"""
import argparse
import contextlib
import json
import multiprocessing
import os
import pathlib
import socket
import subprocess
import sys
import time

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "interop"), str(TESTS / "support"), str(TESTS / "bench")]
import cyrus  # noqa: E402
import house  # noqa: E402
import peers  # noqa: E402
import realistic_mail  # noqa: E402

LOAD = os.environ.get("POSTHOUSE_APPEND_LOAD", str(TESTS.parent / "build" / "bench" / "tests" / "bench" / "imap_append_load"))
APPENDS, LOGINS, SOME, TOLD, AT_ONCE = 6000, 400, 1000, 40, 50
BLOCK = bytearray(1 << 18)
FIVE = "FETCH 1:* (RFC822.SIZE INTERNALDATE BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE REPLY-TO)])"


class Client:
    """As little of a client as there can be, so that it is the servers that are measured."""

    def __init__(self, port, login):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.count = 0
        self.socket.recv(4096)
        self.run(login)

    def send(self, command, *literals):
        self.count += 1
        parts = [f"x{self.count} {command}".encode()]
        for literal in literals:
            parts += [f" {{{len(literal)}+}}\r\n".encode(), literal]
        self.socket.sendall(b"".join(parts) + b"\r\n")
        # A server that writes in small pieces waits for our kernel to acknowledge each; that is not what is measured.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def take(self):
        """The answer to the last command: its octets, and how it ends."""
        mark, octets, tail = f"\r\nx{self.count} ".encode(), 0, b"\r\n"
        while True:
            got = self.socket.recv_into(BLOCK)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            if not got:
                raise RuntimeError(f"the server hung up: {tail!r}")
            octets += got
            tail = (tail + bytes(memoryview(BLOCK)[max(0, got - 8000):got]))[-8000:]
            if tail.endswith(b"\r\n") and mark in tail:
                if mark + b"OK" not in tail:
                    raise RuntimeError(f"the server says {tail[-300:]!r}")
                return octets, tail

    def run(self, command, *literals):
        """Milliseconds from the first octet of the command to the last of its answer."""
        began = time.perf_counter()
        self.send(command, *literals)
        self.take()
        return (time.perf_counter() - began) * 1000

    def close(self):
        with contextlib.suppress(RuntimeError, OSError):
            self.run("LOGOUT")
        self.socket.close()


def together(clients, work):
    """Seconds that so many processes need for `work(index)`, from when all of them are ready."""
    fork = multiprocessing.get_context("fork")
    ready, done = fork.Barrier(clients + 1), fork.Queue()

    def one(index):
        try:
            work(index, ready.wait)
            done.put(None)
        except BaseException as error:  # told to the parent, which would wait for ever else
            done.put(repr(error))
            ready.abort()

    children = [fork.Process(target=one, args=(index,)) for index in range(clients)]
    for child in children:
        child.start()
    with contextlib.suppress(Exception):
        ready.wait(120)
    began = time.perf_counter()
    answers = [done.get(timeout=120) for _ in children]
    took = time.perf_counter() - began
    for child in children:
        child.join()
    if any(answers):
        raise RuntimeError(next(answer for answer in answers if answer))
    return took


class Measurement:
    """One server: `connect` makes a client that is logged in, `inside` names its folders."""

    def __init__(self, name, port, login, messages, wanted, inside="{}", settle=lambda: None):
        self.name, self.port, self.login = name, port, login
        self.messages, self.wanted, self.inside, self.settle = messages, wanted, inside, settle
        self.out = {"server": name, "messages": len(messages)}

    def connect(self):
        return Client(self.port, self.login)

    def row(self, name, work, rounds=None, best=min):
        if self.wanted.rows and self.wanted.rows not in name:
            return
        try:
            self.out[name] = round(best(work() for _ in range(rounds or self.wanted.rounds)), 2)
        except RuntimeError as error:
            self.out[name] = None
            print(f"{self.name}: {name}: {error}", file=sys.stderr)

    def fill(self, client):
        for folder in ("Target", "Copies"):
            client.run(f"CREATE {self.inside.format(folder)}")
        began = time.perf_counter()
        for at in range(0, len(self.messages), AT_ONCE):
            client.run("APPEND INBOX", *self.messages[at:at + AT_ONCE])
        self.out["filled s"] = round(time.perf_counter() - began, 1)
        client.run("SELECT INBOX")

    def run(self):
        client = self.connect()
        self.fill(client)
        if self.wanted.hold:
            input(f"{self.name} holds the mailbox on port {self.port}; Enter goes on ")
        if self.settle:
            self.settle()
        self.reading(client)
        self.changing(client)
        client.close()
        self.row("EXISTS in IDLE ms", self.told)
        for clients in (1, 20):
            self.row(f"APPEND by {clients} per s", lambda clients=clients: self.appends(clients), best=max)
        self.row("LOGIN SELECT LOGOUT by 10 per s", self.logins, best=max)
        print(json.dumps(self.out), flush=True)
        return self.out

    def reading(self, client):
        self.row("ENVELOPE BODYSTRUCTURE first ms", lambda: client.run("FETCH 1:* (ENVELOPE BODYSTRUCTURE)"), 1)
        self.row("SELECT ms", lambda: client.run("SELECT INBOX"), self.wanted.rounds + 3)
        for name, command in (("UID FETCH FLAGS ms", "UID FETCH 1:* (FLAGS)"),
                              ("ENVELOPE BODYSTRUCTURE ms", "FETCH 1:* (ENVELOPE BODYSTRUCTURE)"),
                              ("five fields, size, date ms", FIVE),
                              ("all bodies ms", "FETCH 1:* BODY.PEEK[]"),
                              ("SEARCH BODY ms", 'SEARCH BODY "transverted"'),
                              ("SEARCH BODY common ms", 'SEARCH BODY "import"'),
                              ("SEARCH SUBJECT ms", 'SEARCH SUBJECT "conform"')):
            self.row(name, lambda command=command: client.run(command))

    def changing(self, client):
        signs = iter("+-+-+-+-")
        self.row("STORE on all ms", lambda: client.run(f"STORE 1:* {next(signs)}FLAGS.SILENT (\\Flagged)"), 4)
        copies = self.inside.format("Copies")
        copied, expunged = [], []
        for _ in range(self.wanted.rounds):
            client.run("SELECT INBOX")
            copied.append(client.run(f"COPY 1:{min(SOME, len(self.messages))} {copies}"))
            client.run(f"SELECT {copies}")
            client.run("STORE 1:* +FLAGS.SILENT (\\Deleted)")
            expunged.append(client.run("EXPUNGE"))
        self.row(f"COPY {SOME} ms", lambda: min(copied), 1)
        self.row(f"EXPUNGE {SOME} ms", lambda: min(expunged), 1)

    def told(self):
        """From another's OK until the EXISTS in an idling session; the median."""
        target = self.inside.format("Target")
        idler, other = self.connect(), self.connect()
        idler.run(f"SELECT {target}")
        idler.send("IDLE")
        idler.socket.recv(4096)
        times = []
        for _ in range(TOLD):
            other.run(f"APPEND {target}", b"Subject: x\r\n\r\nx\r\n")
            began = time.perf_counter()
            while b"EXISTS" not in idler.socket.recv(4096):
                pass
            times.append((time.perf_counter() - began) * 1000)
        idler.socket.close()
        other.close()
        return sorted(times)[len(times) // 2]

    def appends(self, clients):
        head = realistic_mail.message(2).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        body = head + (b"x" * 78 + b"\r\n") * ((10_000 - len(head)) // 80)
        each = APPENDS // clients if clients > 1 else APPENDS // 10
        target = self.inside.format("Target")

        ran = subprocess.run([LOAD, str(self.port), str(clients), str(each), self.login, target], input=body,
                             capture_output=True, check=False)
        if ran.returncode != 0:
            raise RuntimeError(ran.stderr.decode(errors="replace").strip())
        told = json.loads(ran.stdout)
        return told["appends"] / told["seconds"]

    def logins(self):
        self.connect().close()

        def work(_, ready):
            ready()
            for _ in range(LOGINS // 10):
                client = self.connect()
                client.run("SELECT INBOX")
                client.close()

        return LOGINS / together(10, work)


@contextlib.contextmanager
def posthouse(messages, wanted):
    config = {"imap": {"clear_login": '"loopback"'}}
    with house.house(config=config) as home:
        def indexed():
            while json.loads(home.cli("search", "status", "--json"))["waiting"] != 0:
                time.sleep(0.2)

        yield Measurement("posthouse", home.port("imap"), f"LOGIN {home.account} {home.password}", messages, wanted, settle=indexed)


@contextlib.contextmanager
def dovecot(messages, wanted, kind):
    with peers.dovecot(location=f"{kind}:~/{kind}") as (port, _, _root):
        yield Measurement(f"dovecot {kind}", port, "LOGIN bench secret", messages, wanted)


@contextlib.contextmanager
def cyrus_imap(messages, wanted):
    with cyrus.cyrus() as (port, _root):
        yield Measurement("cyrus", port, "LOGIN bench secret", messages, wanted, inside="INBOX.{}")


SERVERS = {
    "posthouse": (lambda: None, posthouse),
    "maildir": (peers.why_no_dovecot, lambda messages, wanted: dovecot(messages, wanted, "maildir")),
    "mdbox": (peers.why_no_dovecot, lambda messages, wanted: dovecot(messages, wanted, "mdbox")),
    "cyrus": (cyrus.why_no_cyrus, cyrus_imap),
}


def table(rows):
    cases = [case for case in rows[0] if case not in ("server", "messages", "filled s")]
    print(f"{'':34}" + "".join(f"{row['server']:>17}" for row in rows) + f"{'ahead of peers':>17}")
    for case in cases:
        more_is_better = case.endswith("per s")
        values = [row.get(case) for row in rows]
        others = [value for row, value in zip(rows, values) if row["server"] != "posthouse" and value is not None]
        ours = next((value for row, value in zip(rows, values) if row["server"] == "posthouse"), None)
        ahead = ""
        if others and ours:
            ahead = f"{ours / max(others):.2f} x" if more_is_better else f"{min(others) / ours:.2f} x"
        print(f"{case:34}" + "".join(f"{'-' if value is None else value:>17}" for value in values) + f"{ahead:>17}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--servers", default=",".join(SERVERS))
    parser.add_argument("--rows", default="")
    parser.add_argument("--save", help="a file of such JSON lines: those of servers not measured now are shown too")
    parser.add_argument("--hold", action="store_true")
    wanted = parser.parse_args()
    if not os.access(LOAD, os.X_OK):
        parser.error(f"there is no {LOAD}: build imap_append_load of the preset bench, or name it in POSTHOUSE_APPEND_LOAD")
    chosen = wanted.servers.split(",")
    known = {}
    if wanted.save and pathlib.Path(wanted.save).exists():
        known = {row["server"]: row for row in map(json.loads, pathlib.Path(wanted.save).read_text().splitlines())}
    messages = realistic_mail.messages(wanted.messages)
    print(json.dumps({"messages": len(messages), "octets": sum(map(len, messages))}), flush=True)
    for name in chosen:
        why, make = SERVERS[name]
        if why():
            print(f"skipped: {why()}")
            continue
        with make(messages, wanted) as measurement:
            row = measurement.run()
            known[row["server"]] = {**known.get(row["server"], {}), **row}
    if wanted.save:
        pathlib.Path(wanted.save).write_text("".join(json.dumps(row) + "\n" for row in known.values()))
    table(list(known.values()))


if __name__ == "__main__":
    main()
