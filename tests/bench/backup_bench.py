#!/usr/bin/env python3
"""Backups of a large store: the first, an unchanged one, one under load; verify against sha256sum and cat of the same files.

  tests/bench/backup_bench.py [--gigabytes 2] [--folder DIR] [--encrypted]

Prints one JSON line a case. The store is filled with messages of random text by import of an mbox (10 KB on the
average, lognormal, to 2 MB). POSTHOUSE_BINARY names the program (a release build); DIR needs four times the size.
"""
import argparse
import json
import os
import pathlib
import random
import smtplib
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "interop")]
from house import BINARY, House  # noqa: E402

MEBI = 1 << 20


def tell(case, **figures):
    print(json.dumps({"bench": "backup", "case": case, **figures}), flush=True)


def write_mbox(path, octets):
    """Messages of lines out of a pool of random text: no two are alike, none compresses to nothing."""
    pick = random.Random(1)
    pool = pick.randbytes(8 * MEBI).hex().encode()
    number = written = 0
    with open(path, "wb") as out:
        while written < octets:
            size = min(2 * MEBI, int(pick.lognormvariate(8.6, 1.1)) + 200)
            at = pick.randrange(len(pool) - size)
            lines = b"\n".join(pool[i:i + 76] for i in range(at, at + size, 76))
            message = (b"From x@a.example Mon Nov 23 20:11:05 2026\nFrom: x@a.example\nSubject: number %d\n"
                       b"Message-ID: <%d@a.example>\n\n%s\n\n" % (number, number, lines))
            out.write(message)
            written += len(message)
            number += 1
    return number


def run(home, *words):
    """(seconds, JSON, peak resident MB)"""
    began = time.monotonic()
    process = subprocess.Popen([BINARY, *words, "--json", "--config", str(home.config_file)], stdout=subprocess.PIPE)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, (words, out)
    return time.monotonic() - began, json.loads(out), usage.ru_maxrss / 1024


def read_all(words, files):
    began = time.monotonic()
    subprocess.run([*words, *map(str, files)], stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began


class Deliveries:
    """Latency of single deliveries, one after the other, over one session: each waits for its own commit."""

    def __init__(self, home):
        self.home, self.stopping, self.taken = home, threading.Event(), []
        self.thread = threading.Thread(target=self.work)

    def work(self):
        message = b"Subject: load\r\n\r\n" + b"a line of some text\r\n" * 500
        with smtplib.SMTP("127.0.0.1", self.home.port("smtp"), timeout=60) as client:
            while not self.stopping.is_set():
                began = time.monotonic()
                client.sendmail("x@world.example", [self.home.account], message)
                self.taken.append(1000 * (time.monotonic() - began))

    def during(self, work):
        self.thread.start()
        result = work()
        self.stopping.set()
        self.thread.join()
        taken = sorted(self.taken)
        return result, {"deliveries": len(taken), "p50_ms": round(taken[len(taken) // 2], 1),
                        "p99_ms": round(taken[len(taken) * 99 // 100], 1), "max_ms": round(taken[-1], 1)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gigabytes", type=float, default=2)
    parser.add_argument("--folder", default=None)
    parser.add_argument("--encrypted", action="store_true")
    wanted = parser.parse_args()
    home = House(parent=wanted.folder)
    try:
        mbox = home.folder / "mbox"
        messages = write_mbox(mbox, int(wanted.gigabytes * 1024 * MEBI))
        subprocess.run([BINARY, "import", "mbox", home.account, str(mbox), "--json", "--config", str(home.config_file)],
                       check=True, stdout=subprocess.DEVNULL)
        mbox.unlink()
        target, key = home.folder / "backups", []
        if wanted.encrypted:
            key = ["--key-file", str(home.folder / "key")]
            home.cli("backup", "key", key[1])
        home.cli("backup", "init", "--to", str(target), *key)
        home.start()
        tell("store", messages=messages, encrypted=wanted.encrypted, database_mb=(home.data / "mail.db").stat().st_size // MEBI,
             segments_mb=sum(p.stat().st_size for p in (home.data / "segments").iterdir()) // MEBI)
        create = ("backup", "create", "--to", str(target), *key)
        for case in ("first", "unchanged", "unchanged"):
            seconds, made, peak = run(home, *create)
            tell(case, seconds=round(seconds, 2), written_mb=made["octets_written"] // MEBI,
                 snapshot_ms=made["snapshot_ms"], peak_mb=round(peak))
        seconds, found, peak = run(home, "backup", "verify", "--from", str(target), *key)
        assert found["good"], found
        octets = found["octets"]
        tell("verify", seconds=round(seconds, 2), mb_per_s=round(octets / MEBI / seconds), peak_mb=round(peak))
        objects = [path for path in (target / "objects").rglob("*") if path.is_file()]
        kept = sum(path.stat().st_size for path in objects)
        for words in (["cat"], ["sha256sum"]):
            seconds = read_all(words, objects)
            tell(words[0], seconds=round(seconds, 2), mb_per_s=round(kept / MEBI / seconds))
        _, calm = Deliveries(home).during(lambda: time.sleep(5))
        tell("deliveries, calm", **calm)
        (seconds, made, _), busy = Deliveries(home).during(lambda: run(home, *create))
        tell("deliveries, unchanged backup", seconds=round(seconds, 2), snapshot_ms=made["snapshot_ms"], **busy)
        second = home.folder / "second"
        home.cli("backup", "init", "--to", str(second), *key)
        (seconds, made, _), busy = Deliveries(home).during(lambda: run(home, "backup", "create", "--to", str(second), *key))
        tell("deliveries, first backup to the same disk", seconds=round(seconds, 2), snapshot_ms=made["snapshot_ms"], **busy)
        home.stop()
    finally:
        home.remove()


if __name__ == "__main__":
    main()
