#!/usr/bin/env python3
"""A client that was away is told exactly what happened meanwhile (RFC 7162 3.2.5), also when the server was killed.

One session changes a mailbox at random; another knows it from before, comes back with SELECT (QRESYNC ...) and must then
have what a client that reads everything has. Mod-sequences never fall and are never given twice.
"""
import argparse
import imaplib
import pathlib
import random
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import house  # noqa: E402

BOX = "Sync"
FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "$Label1", "$Label2")


class Client:
    """A line at a time: imaplib keeps no order of untagged responses."""

    def __init__(self, home):
        context = home.tls()
        context.check_hostname = False
        self.imap = imaplib.IMAP4_SSL("127.0.0.1", home.port("imaps"), ssl_context=context)
        self.imap.login(home.account, home.password)
        self.count = 0

    def command(self, text, literal=b""):
        self.count += 1
        tag = f"x{self.count}"
        self.imap.send(f"{tag} {text}\r\n".encode() if not literal else f"{tag} {text} {{{len(literal)}+}}\r\n".encode() +
                       literal + b"\r\n")
        lines = []
        while True:
            line = self.imap.readline().decode().rstrip("\r\n")
            lines.append(line)
            if line.startswith(tag + " "):
                assert line.startswith(tag + " OK"), f"{text}: {line}"
                return lines

    def close(self):
        self.imap.shutdown()


def uids_of(text):
    out = set()
    for part in text.split(","):
        first, _, last = part.partition(":")
        out.update(range(int(first), int(last or first) + 1))
    return out


class Picture:
    """What a client knows: UIDVALIDITY, the highest mod-sequence, and the flags by UID."""

    def __init__(self):
        self.validity, self.modseq, self.flags, self.modseqs = 0, 0, {}, {}

    def take(self, lines):
        for line in lines:
            if found := re.search(r"\[UIDVALIDITY (\d+)\]", line):
                self.validity = int(found[1])
            if found := re.search(r"\[HIGHESTMODSEQ (\d+)\]", line):
                assert int(found[1]) >= self.modseq, "the mod-sequence of the mailbox fell"
                self.modseq = int(found[1])
            if found := re.match(r"\* VANISHED (?:\(EARLIER\) )?([\d:,]+)$", line):
                for uid in uids_of(found[1]):
                    self.flags.pop(uid, None)
                    self.modseqs.pop(uid, None)
            if found := re.match(r"\* \d+ FETCH \(UID (\d+) FLAGS \(([^)]*)\) MODSEQ \((\d+)\)\)$", line):
                uid, modseq = int(found[1]), int(found[3])
                assert modseq >= self.modseqs.get(uid, 0), "the mod-sequence of a message fell"
                self.flags[uid] = sorted(flag for flag in found[2].split() if flag != "\\Recent")
                self.modseqs[uid] = modseq

    def come_back(self, client):
        client.command("ENABLE QRESYNC")
        known = f" 1:{max(self.flags)}" if self.flags and random.random() < 0.5 else ""
        before, validity = set(self.flags), self.validity
        lines = client.command(f"SELECT {BOX} (QRESYNC ({max(self.validity, 1)} {max(self.modseq, 1)}{known}))")
        self.take(lines)
        if self.validity != validity:  # the first visit
            self.take(client.command("UID FETCH 1:* (FLAGS MODSEQ)"))
        elif known and before:  # what came later than the known UIDs is for the client to ask for
            self.take(client.command(f"UID FETCH {max(before) + 1}:* (FLAGS) (CHANGEDSINCE 1)"))


def change(client, generator, uids):
    """One change of a random kind; gives back the UIDs there are."""
    kind = generator.choice(("append", "append", "store", "store", "store", "expunge", "move"))
    if kind == "append" or not uids:
        lines = client.command(f"APPEND {BOX} ({generator.choice(FLAGS)})", b"Subject: x\r\n\r\nx\r\n")
        return uids | {int(re.search(r"APPENDUID \d+ (\d+)", lines[-1])[1])}
    some = generator.sample(sorted(uids), generator.randint(1, min(4, len(uids))))
    named = ",".join(map(str, some))
    if kind == "store":
        client.command(f"UID STORE {named} {generator.choice(('+', '-', ''))}FLAGS ({generator.choice(FLAGS)})")
        return uids
    if kind == "move":
        client.command(f"UID MOVE {named} Archive")
        return uids - set(some)
    client.command(f"UID STORE {named} +FLAGS.SILENT (\\Deleted)")
    client.command(f"UID EXPUNGE {named}")
    return uids - set(some)


def whole(home):
    client = Client(home)
    picture = Picture()
    client.command("ENABLE QRESYNC")
    picture.take(client.command(f"SELECT {BOX}"))
    picture.take(client.command("UID FETCH 1:* (FLAGS MODSEQ)"))
    client.close()
    return picture


def check_matches(home):
    """RFC 7162 3.2.5.2: up to where the client's numbers and UIDs agree with ours it knows what is gone."""
    box = "Matched"
    client = Client(home)
    client.command(f"CREATE {box}")
    for _ in range(8):
        client.command(f"APPEND {box}", b"Subject: x\r\n\r\nx\r\n")
    client.command(f"SELECT {box}")
    picture = Picture()
    picture.take(client.command(f"SELECT {box}"))
    client.command("UID STORE 2,5,7 +FLAGS.SILENT (\\Deleted)")
    client.command("UID EXPUNGE 2,5,7")  # 1 3 4 6 8 are numbers 1 to 5
    client.command("UID STORE 3 +FLAGS.SILENT (\\Flagged)")
    for sample, gone in (("1:3 1,3,4", {5, 7}),        # it agrees up to UID 4
                         ("1:4 1,3,4,6", {7}),
                         ("5 8", set()),               # the last one alone tells that all is known
                         ("1,3,5 1,4,8", set()),
                         ("1:3 1,2,4", {2, 5, 7}),     # no more after UID 1
                         ("2,3 2,3", {2, 5, 7}),
                         ("7 8", {2, 5, 7})):          # there is no seventh message
        away = Client(home)
        away.command("ENABLE QRESYNC")
        lines = away.command(f"SELECT {box} (QRESYNC ({picture.validity} {picture.modseq} 1:8 ({sample})))")
        told = set()
        for line in lines:
            if found := re.match(r"\* VANISHED \(EARLIER\) ([\d:,]+)$", line):
                told |= uids_of(found[1])
        assert told == gone, f"({sample}): told that {sorted(told)} are gone, not {sorted(gone)}"
        assert sum(" FETCH " in line for line in lines) == 1, lines  # the flag of UID 3, whatever agrees
        away.close()
    client.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seed", type=int, default=7162)
    wanted = parser.parse_args()
    generator = random.Random(wanted.seed)
    random.seed(wanted.seed)
    kills = 0
    with house() as home:
        check_matches(home)
        writer = Client(home)
        writer.command(f"CREATE {BOX}")
        writer.command(f"SELECT {BOX}")
        uids, away = set(), Picture()
        for number in range(wanted.rounds):
            for _ in range(generator.randint(0, 12)):
                uids = change(writer, generator, uids)
            if generator.random() < 0.3:
                kills += 1
                home.kill()
                home.start()
                writer = Client(home)
                writer.command(f"SELECT {BOX}")
            reader = Client(home)
            away.come_back(reader)
            reader.close()
            full = whole(home)
            assert set(full.flags) == uids, f"round {number}: acknowledged {sorted(uids)}, found {sorted(full.flags)}"
            assert away.flags == full.flags, f"round {number}: {away.flags} is not {full.flags}"
            assert away.modseqs == full.modseqs and away.modseq == full.modseq, f"round {number}: mod-sequences differ"
        print(f"{wanted.rounds} times away, {kills} kills: each time what was told made the mailbox whole")


main()
