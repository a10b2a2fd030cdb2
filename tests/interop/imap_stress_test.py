#!/usr/bin/env python3
"""Many clients change the same mailboxes at once, and each holds a model of what it has been told.

  tests/interop/imap_stress_test.py [--seconds 120] [--clients 50] [--kills 2] [--seed N]

What is checked all the time: EXISTS never drops without EXPUNGE or VANISHED; no EXPUNGE comes where message numbers
could be meant (RFC 3501 7.4.1); numbers, UIDs and their order always agree; size, date and subject of a UID never
change; mod-sequences only grow. At each rest all clients have been told what a client that reads everything finds.
Mail is delivered meanwhile, connections break in the middle of commands, and the server is killed and started again.
"""
import argparse
import asyncio
import pathlib
import random
import re
import smtplib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import house  # noqa: E402

BOXES = ("INBOX", "Work", "Old")
FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "\\Deleted", "\\Draft", "$Label1", "$Label2", "Weird")
OPERATIONS_BETWEEN_RESTS = 40
MESSAGES_KEPT = 300  # of a mailbox: more are thinned out


class Broken(Exception):
    """What the server said does not fit what it said before."""


class Gone(Exception):
    """The connection ended."""


def uids_of(text):
    out = []
    for part in text.split(","):
        first, _, last = part.partition(":")
        out.extend(range(int(first), int(last or first) + 1))
    return out


class Facts:
    """What can never change, whoever sees it: by UIDVALIDITY and UID."""

    def __init__(self):
        self.of = {}

    def check(self, validity, uid, name, value):
        known = self.of.setdefault((validity, uid, name), value)
        if known != value:
            raise Broken(f"{name} of UID {uid} was {known} and is {value}")


class Client:
    def __init__(self, number, home, facts, seed):
        self.number, self.home, self.facts = number, home, facts
        self.random = random.Random(seed)
        self.qresync = number % 2 == 1
        self.count, self.operations, self.next = 0, 0, {}
        self.reader = self.writer = None
        self.forget()

    def forget(self):
        self.box, self.validity, self.uids, self.flags, self.modseqs, self.command_name = None, 0, [], {}, {}, ""

    async def open(self):
        self.forget()
        context = self.home.tls()
        context.check_hostname = False
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.home.port("imaps"), ssl=context,
                                                                 limit=1 << 22)
        await self.line()
        await self.command("LOGIN", f'{self.home.account} "{self.home.password}"')
        if self.qresync:
            await self.command("ENABLE", "QRESYNC")

    async def close(self):
        if self.writer is not None:
            self.writer.transport.abort()
        self.writer = None

    async def line(self):
        """One response with its literals, as text."""
        out = b""
        while True:
            piece = await self.reader.readline()
            if not piece.endswith(b"\r\n"):
                raise Gone()
            out += piece
            mark = re.search(rb"\{(\d+)\}\r\n$", piece)
            if not mark:
                return out.decode(errors="replace").rstrip("\r\n")
            out += await self.reader.readexactly(int(mark[1]))

    def position(self, number):
        if not 1 <= number <= len(self.uids):
            raise Broken(f"message number {number} of {len(self.uids)}")
        return number - 1

    def unknown_place(self, uid):
        """Where a message may lie whose UID has not been told: between those with lower and with higher UIDs."""
        for place, other in enumerate(self.uids):
            before = [known for known in self.uids[:place] if known]
            after = [known for known in self.uids[place:] if known]
            if other is None and (not before or before[-1] < uid) and (not after or after[0] > uid):
                return place
        raise Broken(f"VANISHED names UID {uid}, which was never there")

    def drop(self, uid):
        self.flags.pop(uid, None)
        self.modseqs.pop(uid, None)

    def take(self, line):
        """An untagged response."""
        if found := re.match(r"\* (\d+) EXISTS$", line):
            now = int(found[1])
            if now < len(self.uids):
                raise Broken(f"EXISTS fell from {len(self.uids)} to {now}")
            self.uids += [None] * (now - len(self.uids))
        elif found := re.match(r"\* (\d+) EXPUNGE$", line):
            if self.qresync:
                raise Broken("EXPUNGE after ENABLE QRESYNC")
            self.check_removal()
            uid = self.uids.pop(self.position(int(found[1])))
            self.drop(uid)
        elif found := re.match(r"\* VANISHED ([\d:,]+)$", line):
            self.check_removal()
            for uid in uids_of(found[1]):
                if uid in self.flags or uid in self.uids:
                    self.uids.remove(uid)
                else:
                    self.uids.pop(self.unknown_place(uid))
                self.drop(uid)
        elif found := re.match(r"\* (\d+) FETCH \((.*)\)$", line, re.S):
            self.take_fetch(int(found[1]), found[2])
        elif found := re.search(r"\[UIDNEXT (\d+)\]", line):
            if int(found[1]) < self.next.get(self.validity, 0):
                raise Broken(f"UIDNEXT fell from {self.next[self.validity]} to {found[1]}")
            self.next[self.validity] = int(found[1])
        elif found := re.search(r"\[UIDVALIDITY (\d+)\]", line):
            self.validity = int(found[1])
        elif line.startswith("* BYE"):
            raise Gone()

    def check_removal(self):
        if self.command_name in ("FETCH", "STORE", "SEARCH"):
            raise Broken(f"a removal is told within {self.command_name}")

    def take_fetch(self, number, items):
        at = self.position(number)
        if found := re.search(r"\bUID (\d+)", items):
            uid = int(found[1])
            if self.uids[at] not in (None, uid):
                raise Broken(f"number {number} was UID {self.uids[at]} and is {uid}")
            self.uids[at] = uid
            if (at > 0 and (self.uids[at - 1] or 0) >= uid) or (at + 1 < len(self.uids) and (self.uids[at + 1] or uid + 1) <= uid):
                raise Broken(f"UID {uid} is out of order")
        uid = self.uids[at]
        if uid is None:
            return
        if found := re.search(r"FLAGS \(([^)]*)\)", items):
            self.flags[uid] = sorted(flag for flag in found[1].split() if flag != "\\Recent")
        if found := re.search(r"MODSEQ \((\d+)\)", items):
            if int(found[1]) < self.modseqs.get(uid, 0):
                raise Broken(f"MODSEQ of UID {uid} fell")
            self.modseqs[uid] = int(found[1])
        for name in ("RFC822.SIZE", "EMAILID"):
            if found := re.search(rf"{name} \(?(\w+)", items):
                self.facts.check(self.validity, uid, name, found[1])
        if found := re.search(r'INTERNALDATE ("[^"]*")', items):
            self.facts.check(self.validity, uid, "INTERNALDATE", found[1])
        if found := re.search(r"ENVELOPE \((.*)\)", items, re.S):
            self.facts.check(self.validity, uid, "ENVELOPE", found[1])

    async def command(self, name, rest="", literal=None, may_fail=False):
        self.count += 1
        tag = f"c{self.count}"
        self.command_name = name
        text = f"{tag} {name} {rest}".rstrip()
        data = text.encode() + (b" {%d+}\r\n" % len(literal) + literal if literal else b"") + b"\r\n"
        self.writer.write(data)
        return await self.answer(tag, text, may_fail)

    async def answer(self, tag, text, may_fail):
        while True:
            line = await self.line()
            if line.startswith("* "):
                if text.split()[1] in ("SELECT", "EXAMINE") and line.startswith("* OK [CLOSED]"):
                    self.forget_box()
                self.take(line)
            elif line.startswith(tag + " "):
                self.command_name = ""
                if line.startswith(tag + " BAD") or (not may_fail and not line.startswith(tag + " OK")):
                    raise Broken(f"{text}: {line}")
                return line

    def forget_box(self):
        self.uids, self.flags, self.modseqs = [], {}, {}

    async def select(self, box):
        self.forget_box()
        self.box = box
        await self.command("SELECT", box)
        await self.learn()

    async def learn(self):
        if self.uids:
            await self.command("UID FETCH", "1:* (FLAGS RFC822.SIZE INTERNALDATE)")

    def some(self, most=5):
        """A sequence set of message numbers."""
        count = len(self.uids)
        first = self.random.randint(1, count)
        return f"{first}:{min(count, first + self.random.randrange(most))}"

    def some_uids(self):
        known = [uid for uid in self.uids if uid]
        return ",".join(map(str, sorted(self.random.sample(known, min(len(known), self.random.randint(1, 5)))))) or "1"

    async def step(self):
        """One random operation."""
        self.operations += 1
        if self.box is None:
            return await self.select(self.random.choice(BOXES))
        flag = self.random.choice(FLAGS)
        sign = self.random.choice(("+", "-", ""))
        empty = not self.uids
        kind = self.random.choices(
            ("append", "store", "uid store", "fetch", "uid fetch", "copy", "move", "expunge", "uid expunge", "search", "noop", "idle",
             "status", "select", "temporary", "break", "pipeline", "thin"),
            (8, 14, 10, 10, 8, 5, 5, 3, 3, 6, 6, 4, 3, 3, 1, 1, 5, 2))[0]
        if kind == "append" or (empty and kind not in ("noop", "idle", "status", "select", "break")):
            subject = f"{self.number}-{self.operations}"
            await self.command("APPEND", f"{self.random.choice(BOXES)} ({flag})",
                               f"Subject: {subject}\r\n\r\n{'x' * self.random.randrange(3000)}\r\n".encode())
        elif kind == "store":
            silent = self.random.choice(("", ".SILENT"))
            await self.command("STORE", f"{self.some()} {sign}FLAGS{silent} ({flag})", may_fail=True)
            if silent:  # what was changed in silence is for the client to know; here it asks
                await self.command("FETCH", f"1:{len(self.uids)} (FLAGS)", may_fail=True)
        elif kind == "uid store":
            await self.command("UID STORE", f"{self.some_uids()} {sign}FLAGS ({flag})", may_fail=True)
        elif kind == "fetch":
            await self.command("FETCH", f"{self.some(20)} (FLAGS ENVELOPE UID EMAILID)", may_fail=True)
        elif kind == "uid fetch":
            await self.command("UID FETCH", f"{self.some_uids()} (FLAGS BODY.PEEK[HEADER] BODYSTRUCTURE)", may_fail=True)
        elif kind in ("copy", "move"):
            await self.command("UID " + kind.upper(), f"{self.some_uids()} {self.random.choice(BOXES)}", may_fail=True)
        elif kind == "expunge":
            await self.command("EXPUNGE")
        elif kind == "uid expunge":
            await self.command("UID EXPUNGE", self.some_uids())
        elif kind == "search":
            await self.command(self.random.choice(("SEARCH", "UID SEARCH")),
                               self.random.choice(("UNSEEN", "FLAGGED", "SUBJECT 1", "NOT DELETED", "KEYWORD $Label1 LARGER 100")))
        elif kind == "idle":
            await self.idle()
        elif kind == "status":
            await self.command("STATUS", f"{self.random.choice(BOXES)} (MESSAGES UIDNEXT UNSEEN)")
        elif kind == "select":
            await self.select(self.random.choice(BOXES))
        elif kind == "temporary":
            name = f"Temporary/{self.number}"
            await self.command("CREATE", name, may_fail=True)
            await self.command("UID COPY", f"{self.some_uids()} {name}", may_fail=True)
            await self.command("DELETE", name, may_fail=True)
        elif kind == "break":
            self.writer.write(f"x FETCH 1:{max(1, len(self.uids))} (BODY.PEEK[] FLAGS)\r\nx2 STORE 1:* +FLA".encode())
            await self.close()
            await self.open()
        elif kind == "pipeline":
            await self.pipeline(flag)
        elif kind == "thin" and len(self.uids) > MESSAGES_KEPT:
            await self.command("UID STORE", f"{self.uids[0] or 1}:{self.uids[len(self.uids) // 2] or 1} +FLAGS.SILENT (\\Deleted)",
                               may_fail=True)
            await self.command("EXPUNGE")
            await self.learn()
        else:
            await self.command("NOOP")

    async def idle(self):
        self.count += 1
        tag = f"c{self.count}"
        self.command_name = "IDLE"
        self.writer.write(f"{tag} IDLE\r\n".encode())
        while not (line := await self.line()).startswith("+"):
            self.take(line)
        self.writer.write(b"DONE\r\n")
        await self.answer(tag, f"{tag} IDLE", False)

    async def pipeline(self, flag):
        """Several commands in one packet, by UID: numbers may change between them."""
        uids, tags = self.some_uids(), []
        data = b""
        for text in (f"UID STORE {uids} +FLAGS ({flag})", "NOOP", f"UID FETCH {uids} (FLAGS)"):
            self.count += 1
            tags.append((f"c{self.count}", text))
            data += f"c{self.count} {text}\r\n".encode()
        self.writer.write(data)
        for tag, text in tags:
            self.command_name = text.split()[0]
            await self.answer(tag, f"{tag} {text}", True)

    async def rest(self):
        """Nobody changes anything now: what was told must be what is there."""
        if self.box is None:
            await self.select("INBOX")
        await self.command("NOOP")
        if None in self.uids:
            await self.command("UID FETCH", "1:* (FLAGS)")
        told, uids = dict(self.flags), list(self.uids)
        modseqs = dict(self.modseqs)
        if uids:
            await self.command("UID FETCH", "1:* (FLAGS MODSEQ)" if self.qresync else "1:* (FLAGS)")
        if self.uids != uids:
            raise Broken("messages came or went at rest")
        for uid in uids:
            if told.get(uid) != self.flags[uid]:
                raise Broken(f"client {self.number}: flags of UID {uid} were told as {told.get(uid)} and are {self.flags[uid]}")
            if self.qresync and modseqs.get(uid, 0) > self.modseqs[uid]:
                raise Broken(f"MODSEQ of UID {uid} fell")
        return self.box, self.validity, {uid: self.flags[uid] for uid in uids}


async def deliver(home, stop):
    loop = asyncio.get_running_loop()
    number = 0
    while not stop.is_set():
        number += 1

        def send(subject=number):
            try:
                with smtplib.SMTP("127.0.0.1", home.port("smtp"), local_hostname="stress.example", timeout=20) as sender:
                    for _ in range(5):
                        sender.sendmail("a@sender.example", [home.account], f"Subject: delivered {subject}\r\n\r\nx\r\n")
            except OSError:
                pass  # the server is being killed
            except smtplib.SMTPException:
                pass

        await loop.run_in_executor(None, send)


async def work(client):
    """Operations until the next rest; a broken connection is taken up again."""
    for _ in range(OPERATIONS_BETWEEN_RESTS):
        try:
            if client.writer is None:
                await client.open()
            await client.step()
        except (Gone, ConnectionError, asyncio.IncompleteReadError, OSError):
            await client.close()
            if client.home.process is None or client.home.process.poll() is not None:
                return  # killed: goes on after the start


async def rest_of(client):
    if client.writer is None:
        await client.open()
    return await client.rest()


def agree(seen):
    """All clients of a mailbox have the same."""
    pictures = {}
    for box, validity, flags in seen:
        known = pictures.setdefault((box, validity), flags)
        if known != flags:
            differing = [uid for uid in set(known) | set(flags) if known.get(uid) != flags.get(uid)]
            raise Broken(f"two clients see {box} differently: {[(uid, known.get(uid), flags.get(uid)) for uid in differing[:5]]}")
    if len({box for box, _ in pictures}) != len(pictures):
        raise Broken("a mailbox has two UIDVALIDITYs at once")


async def run(home, wanted):
    facts = Facts()
    clients = [Client(number, home, facts, wanted.seed * 1000 + number) for number in range(wanted.clients)]
    maker = Client(0, home, facts, 0)
    await maker.open()
    for box in BOXES[1:]:
        await maker.command("CREATE", box)
    await maker.close()
    generator = random.Random(wanted.seed)
    end = time.monotonic() + wanted.seconds
    kill_at = sorted(generator.uniform(0.2, 0.8) * wanted.seconds for _ in range(wanted.kills))
    rests = kills = 0
    while time.monotonic() < end:
        stop = asyncio.Event()
        mail = asyncio.create_task(deliver(home, stop))
        tasks = [asyncio.create_task(work(client)) for client in clients]
        if kills < len(kill_at) and time.monotonic() > end - wanted.seconds + kill_at[kills]:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            home.kill()
            kills += 1
            await asyncio.gather(*tasks)
            for client in clients:
                await client.close()
            stop.set()
            await mail
            home.start()
            continue
        await asyncio.gather(*tasks)
        stop.set()
        await mail
        agree(await asyncio.gather(*(rest_of(client) for client in clients)))
        rests += 1
    for client in clients:
        await client.close()
    operations = sum(client.operations for client in clients)
    print(f"{wanted.clients} clients, {operations} operations, {rests} rests, {kills} kills: 0 errors")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    try:
        with house() as home:
            asyncio.run(run(home, wanted))
    except Broken:
        print(f"seed {wanted.seed}")
        raise


main()
