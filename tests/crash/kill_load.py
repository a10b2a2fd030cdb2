#!/usr/bin/env python3
"""kill -9 under load at random moments: every acknowledged message is there exactly once or still queued, none is half,
and the database is whole.

  tests/crash/kill_load.py [--rounds 50] [--seed N]

The oracle is this program: it notes each 250 it has read. After each kill the database is checked with SQLite's own
integrity_check, the server starts again, and every message ever acknowledged must be found with the octets sent.
"""
import argparse
import collections
import hashlib
import imaplib
import pathlib
import random
import sqlite3
import smtplib
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))
from house import House  # noqa: E402

THREADS = 8


def make_message(name, generator):
    size = generator.choice((50, 2_000, 10_000, 60_000))
    body = "".join(f"{generator.getrandbits(240):060x}\r\n" for _ in range(max(1, size // 62)))
    return f"From: <a@sender.example>\r\nSubject: {name}\r\nMessage-ID: <{name}@sender.example>\r\n\r\n{body}".encode()


class Load(threading.Thread):
    """One client: a third over port 25 to a mailbox, a third submitted to an address outside, a third by APPEND."""

    def __init__(self, home, name, seed, counter):
        super().__init__()
        self.home, self.prefix, self.random, self.counter = home, name, random.Random(seed), counter
        self.acknowledged, self.tried = {}, {}

    def run(self):
        kind = self.random.choice(("smtp", "submission", "append"))
        try:
            {"smtp": self.smtp, "submission": self.submission, "append": self.append}[kind]()
        except (OSError, smtplib.SMTPException, imaplib.IMAP4.error):
            pass  # the server was killed: what was not acknowledged does not count

    def next(self):
        number = len(self.tried)
        name = f"{self.prefix}-{number}"
        octets = make_message(name, self.random)
        self.tried[name] = octets
        return name, octets

    def note(self, name, where):
        self.acknowledged[name] = (where, self.tried[name])
        self.counter.release()

    def smtp(self):
        with smtplib.SMTP("127.0.0.1", self.home.port("smtp"), local_hostname="load.example", timeout=30) as client:
            while True:
                name, octets = self.next()
                client.sendmail("a@sender.example", [self.home.account], octets)
                self.note(name, "INBOX")

    def submission(self):
        context = self.home.tls()
        context.check_hostname = False
        with smtplib.SMTP("127.0.0.1", self.home.port("submission"), local_hostname="load.example", timeout=30) as client:
            client.starttls(context=context)
            client.login(self.home.account, self.home.password)
            while True:
                name, octets = self.next()
                octets = octets.replace(b"<a@sender.example>", self.home.account.encode(), 1)
                self.tried[name] = octets
                client.sendmail(self.home.account, ["somebody@far.example"], octets)
                self.note(name, "queue")

    def append(self):
        context = self.home.tls()
        context.check_hostname = False
        with imaplib.IMAP4_SSL("127.0.0.1", self.home.port("imaps"), ssl_context=context, timeout=30) as client:
            client.login(self.home.account, self.home.password)
            while True:
                name, octets = self.next()
                if client.append("Archive", None, None, octets)[0] != "OK":
                    return
                self.note(name, "Archive")


def body_of(octets):
    return hashlib.sha256(octets.partition(b"\r\n\r\n")[2]).hexdigest()


def found_in(home, mailbox):
    """Message-ID name -> list of body hashes."""
    context = home.tls()
    context.check_hostname = False
    out = collections.defaultdict(list)
    with imaplib.IMAP4_SSL("127.0.0.1", home.port("imaps"), ssl_context=context) as client:
        client.login(home.account, home.password)
        count = int(client.select(mailbox, readonly=True)[1][0])
        if not count:
            return out
        for part in client.fetch(f"1:{count}", "(RFC822.SIZE BODY.PEEK[])")[1]:
            if not isinstance(part, tuple):
                continue
            size = int(part[0].split(b"RFC822.SIZE ")[1].split()[0])
            assert size == len(part[1]), "half a message"
            head = part[1].partition(b"\r\n\r\n")[0].decode()
            name = head.split("Message-ID: <")[1].split("@")[0]
            out[name].append(body_of(part[1]))
    return out


def found_queued(database):
    rows = database.execute("SELECT message_id FROM queue_items").fetchall()
    return collections.Counter(row[0].strip("<>").split("@")[0] for row in rows)


def check(home, acknowledged, in_flight):
    database = sqlite3.connect(f"file:{home.data}/mail.db?mode=ro", uri=True)
    verdict = database.execute("PRAGMA integrity_check").fetchall()
    assert verdict == [("ok",)], verdict
    queued = found_queued(database)
    database.close()
    boxes = {name: found_in(home, name) for name in ("INBOX", "Archive")}
    for name, (where, octets) in acknowledged.items():
        if where == "queue":
            assert queued[name] == 1, f"acknowledged and not queued exactly once: {name} x {queued[name]}"
            continue
        hashes = boxes[where][name]
        assert hashes == [body_of(octets)], f"acknowledged and not there exactly once and whole: {name} {hashes}"
    known = set(acknowledged) | set(in_flight)
    for box in boxes.values():
        strangers = set(box) - known
        assert not strangers, f"messages nobody sent: {strangers}"
        for name, hashes in box.items():
            assert len(hashes) == 1 or name in in_flight, f"more than once: {name}"
            if name in in_flight and name not in acknowledged:
                assert set(hashes) == {body_of(in_flight[name])}, f"half a message: {name}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    wanted = parser.parse_args()
    print(f"seed {wanted.seed}", flush=True)
    generator = random.Random(wanted.seed)
    # The queue must hold still for the count: the resolver asks where nobody answers, so every attempt is put off.
    home = House(config={"dns": {"servers": '["127.0.0.1@9"]'}})
    acknowledged, in_flight = {}, {}
    try:
        for number in range(wanted.rounds):
            home.start()
            counter = threading.Semaphore(0)
            loads = [Load(home, f"r{number}t{thread}", generator.getrandbits(64), counter) for thread in range(THREADS)]
            for load in loads:
                load.start()
            for _ in range(generator.randrange(1, 150)):  # the kill comes after that many acknowledgements
                counter.acquire(timeout=30)
            home.kill()
            for load in loads:
                load.join()
            for load in loads:
                acknowledged.update(load.acknowledged)
                in_flight.update(load.tried)
            if number % 10 == 9 or number == wanted.rounds - 1:
                home.start()
                check(home, acknowledged, in_flight)
                home.kill()
                print(f"{number + 1} kills, {len(acknowledged)} acknowledged, all there", flush=True)
        assert len(acknowledged) > wanted.rounds, "hardly anything was acknowledged: the load did not run"
    except BaseException:
        print("---- log of the server\n" + home.log())
        raise
    finally:
        home.remove()


main()
