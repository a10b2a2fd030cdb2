#!/usr/bin/env python3
"""Damaged files under a whole server: what is damaged is named and refused with NO [CORRUPTION] (RFC 5530), never given out
with other octets; everything else is served, new mail is taken, and the server neither ends nor loops.

  tests/faults/damage_files.py [--trials 24] [--seed N]

The damage comes from the seed: flipped octets in mail.db, its log or a segment, a log cut short by 1 to 64 KiB, a segment
without its end, a segment that is gone.
"""
import argparse
import os
import pathlib
import random
import re
import shutil
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import disk_clients as clients  # noqa: E402
from bed import Server  # noqa: E402
from disk_clients import Refused, must  # noqa: E402

SIZES = (500, 3000, 70_000, 200_000, 500, 3000, 9 << 20, 500, 100_000, 2000)
ANSWER_SECONDS_MAX = 5.0
BUSY_SHARE_MAX = 0.5  # of one processor, while nobody asks for anything
CALM_WINDOWS_MAX = 60


def flip(generator, file):
    size = file.stat().st_size
    with open(file, "r+b") as opened:
        for _ in range(generator.randrange(1, 9)):
            at = generator.randrange(size)
            opened.seek(at)
            octet = opened.read(1)[0]
            opened.seek(at)
            opened.write(bytes([octet ^ (1 << generator.randrange(8))]))


def damage(kind, generator, data):
    segments = sorted((data / "segments").glob("*.seg"))
    segment = generator.choice(segments)
    if kind == "a flipped segment":
        flip(generator, segment)
    elif kind == "a flipped large body":
        flip(generator, max(segments, key=lambda one: one.stat().st_size))
    elif kind == "a segment without its end":
        os.truncate(segment, generator.randrange(segment.stat().st_size))
    elif kind == "a segment that is gone":
        segment.unlink()
    elif kind == "a flipped mail.db":
        flip(generator, data / "mail.db")
    elif kind == "a flipped log":
        flip(generator, data / "mail.db-wal")
    elif kind == "a log cut short":
        wal = data / "mail.db-wal"
        os.truncate(wal, max(0, wal.stat().st_size - generator.randrange(1024, 65536)))


# What may be missing afterwards: rows can go with mail.db and its log, octets cannot change.
KINDS = {"a flipped segment": False, "a flipped large body": False, "a segment without its end": False,
         "a segment that is gone": False, "a flipped mail.db": True, "a flipped log": True, "a log cut short": True}


class Made:
    """A store after kill -9, with its log not yet folded into mail.db; each trial gets a copy."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="posthouse-damage-")
        self.path = pathlib.Path(self.folder.name)
        self.house = Server(self.path, parent=self.path, config={"store": {"free_min": '"1M"'}, "dns": {"servers": '["127.0.0.1@9"]'}})
        self.tls = self.house.tls()
        self.tls.check_hostname = False
        self.ledger = clients.Ledger()
        self.start()
        imap = clients.login(self.house, self.tls)
        for size in SIZES:
            token, octets = self.ledger.message(size)
            must(clients.append(imap, "Archive", octets).done, "a whole store refuses")
            self.ledger.add("Archive", token)
        imap.close()
        self.house.kill()
        self.original = self.path / "original"
        shutil.copytree(self.house.data, self.original, ignore=shutil.ignore_patterns("commits"))  # a socket

    def start(self):
        self.house.launch({})
        self.house.wait_until_ready()

    def restore(self):
        shutil.rmtree(self.house.data)
        shutil.copytree(self.original, self.house.data)
        self.house.log_file.write_text("")


class Trial:
    def __init__(self, made, kind):
        self.made, self.house, self.kind = made, made.house, kind
        self.whole, self.refused = 0, 0

    def run(self, generator):
        self.made.restore()
        damage(self.kind, generator, self.house.data)
        self.house.launch({})
        try:
            self.house.wait_until_ready()
        except clients.Violation:
            # mail.db beyond use: said in one sentence, and the process has ended well.
            code = self.house.process.wait()
            last = self.house.log().strip().splitlines()[-1]
            must(code == 1 and last.startswith("posthouse: ") and "mail.db" in last, f"ended with {code}: {self.house.log()}")
            return "did not start"
        try:
            self.read()
            self.write()
            self.idle()
        except Refused as no:
            must("[CORRUPTION]" in str(no) or "[UNAVAILABLE]" in str(no), f"{self.kind}: {no}")
        must(self.house.process.poll() is None, "the server ended")
        if self.kind in ("a flipped log", "a log cut short") and self.whole < len(SIZES) - 1:
            must("mail.db-wal" in self.house.log() or "mail.db does not know" in self.house.log(),
                 "acknowledged mail is missing, and the log says nothing of it")
        if self.refused:
            must("is damaged" in self.house.log(), "damage is not named in the log")
            must("fsck" in self.house.log(), "the log does not say what to do")
        return f"{self.whole} whole, {self.refused} refused"

    def read(self):
        imap = clients.login(self.house, self.made.tls)
        imap.ask("EXAMINE Archive")
        text = b"".join(line for line, _ in imap.untagged)
        count = int(re.search(rb"\* (\d+) EXISTS", text)[1])
        for number in range(1, count + 1):
            # A part near the start first: the damage may be anywhere else.
            for item in ("BODY.PEEK[]<100.64>", "BODY.PEEK[]"):
                answer = clients.ask(imap, f"FETCH {number} ({item})")
                must(answer.seconds < ANSWER_SECONDS_MAX, f"FETCH took {answer.seconds:.1f} s")
                if answer.done and item == "BODY.PEEK[]":
                    self.compare(imap)
                elif not answer.done:
                    must(answer.text.startswith(("NO [CORRUPTION]", "NO [UNAVAILABLE]")), f"FETCH {number}: {answer}")
                    self.refused += 1
                    must(not any(literals for _, literals in imap.untagged), "octets of a damaged message were given out")
                    break
        must(self.whole or KINDS[self.kind] or self.refused == count, f"{self.kind}: nothing else is served")
        if not KINDS[self.kind]:
            must(count == len(SIZES), f"{count} messages are listed")
            must(self.whole, "what is not damaged is not served")
        imap.close()

    def compare(self, imap):
        for line, literals in imap.untagged:
            if literals:
                digest = clients.digest(literals[0])
                must(digest in self.made.ledger.tried.values(), "other octets than were stored were given out")
                self.whole += 1

    def write(self):
        """New mail is taken; where mail.db itself is damaged it may be refused, but not for good."""
        for _ in range(4):
            token, octets = self.made.ledger.message(2000)
            answer = clients.data(self.house, octets)
            must(answer.seconds < ANSWER_SECONDS_MAX, f"no answer: {answer}")
            must(answer.done or (KINDS[self.kind] and answer.text.startswith("4")), f"new mail: {answer}")

    def idle(self):
        """Nobody asks for anything: the server must come to rest, not go on with its damage for ever.

        What it still has to do (indexing what came in) may take its time; one calm window is enough."""
        pid = self.house.process.pid

        def used():
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        for _ in range(CALM_WINDOWS_MAX):
            before = used()
            time.sleep(0.5)
            if used() - before < 0.5 * BUSY_SHARE_MAX:
                return
        must(False, f"{self.kind}: never at rest")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=28)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    made = Made()
    try:
        for number in range(wanted.trials):
            seed = wanted.seed + number
            kind = list(KINDS)[number % len(KINDS)]
            try:
                outcome = Trial(made, kind).run(random.Random(seed))
            except BaseException:
                print(f"seed {seed}, {kind}\n---- the end of the server's log\n" + made.house.log()[-4000:])
                raise
            print(f"seed {seed}, {kind}: {outcome}", flush=True)
            if made.house.process.poll() is None:
                made.house.kill()
    finally:
        if made.house.process is not None and made.house.process.poll() is None:
            made.house.kill()
        made.folder.cleanup()


main()
