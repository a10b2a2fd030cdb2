#!/usr/bin/env python3
"""A queue of a million messages whose hosts nobody can look up, and what that costs everything else.

  tests/bench/queue_bench.py [--messages 1000000] [--data DIR]

Prints one JSON line: the start of the server until it takes mail, its memory once it has seen the whole queue (and the most
it ever had), how soon a letter to an idle destination is at its host after the 250 (right behind the start, and then), and
how long `queue list` takes for its first page and one in the middle. The DNS never answers; the idle destination has a route
of its own. With --data the store is kept there, and filled only where it is empty.
POSTHOUSE_BINARY and POSTHOUSE_RELAY_BENCH name the programs (release and bench builds).
"""
import argparse
import contextlib
import json
import os
import pathlib
import shutil
import smtplib
import socket
import sqlite3
import ssl
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "support"), str(HERE.parent / "interop")]
from arrivals import Arrivals  # noqa: E402
from house import House  # noqa: E402

BENCH = os.environ.get("POSTHOUSE_RELAY_BENCH", str(HERE.parents[1] / "build" / "bench" / "tests" / "bench" / "relay_bench"))


class SilentDns:
    """Takes questions and answers none."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]


def memory_mb(pid, key):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return round(int(line.split()[1]) / 1024)
    return 0


def letters(home, remote, first, count, pause):
    """Milliseconds from the 250 to the final dot at the host."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    accepted = {}
    with smtplib.SMTP_SSL("127.0.0.1", home.port("submissions"), context=context) as client:
        client.login(home.account, home.password)
        for i in range(first, first + count):
            client.sendmail(home.account, ["b@idle.example"], f"From: {home.account}\r\nSubject: n{i}\r\n\r\nhello\r\n")
            accepted[i] = time.monotonic()
            time.sleep(pause)
    until = time.monotonic() + 20
    while any(i not in remote.arrived for i in accepted) and time.monotonic() < until:
        time.sleep(0.01)
    took = sorted(max(remote.arrived[i] - at, 0) * 1000 for i, at in accepted.items() if i in remote.arrived)
    assert len(took) == count, f"{count - len(took)} letters never left"
    return took


def seconds_of(work):
    began = time.monotonic()
    work()
    return round(time.monotonic() - began, 3)


def waiting(home):
    with contextlib.closing(sqlite3.connect(f"file:{home.data}/mail.db?mode=ro", uri=True)) as db:
        return db.execute("SELECT count(*) FROM queue_recipients WHERE state IN (0, 1)").fetchone()[0]


def settled_memory(pid, seconds=40):
    """Once it does not grow any more."""
    last, since = 0, time.monotonic()
    until = since + seconds
    while time.monotonic() < until and time.monotonic() - since < 6:
        now = memory_mb(pid, "VmRSS")
        if abs(now - last) > 2:
            last, since = now, time.monotonic()
        time.sleep(0.5)
    return memory_mb(pid, "VmRSS")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--data", help="where the store is kept")
    parser.add_argument("--fill-only", action="store_true")
    wanted = parser.parse_args()
    remote, dns = Arrivals(), SilentDns()
    home = House(config={"dns": {"servers": f'["127.0.0.1@{dns.port}"]'}}, parent=wanted.data)
    kept = pathlib.Path(wanted.data) / "filled" if wanted.data else None
    try:
        if kept and kept.exists():
            shutil.rmtree(home.data)
            shutil.copytree(kept, home.data)
            home.cli("account", "password", home.account, environment={"POSTHOUSE_PASSWORD": home.password})
        else:
            subprocess.run([BENCH, "--data", str(home.data), "--fill", str(wanted.messages)], check=True)
            if kept:
                shutil.copytree(home.data, kept)
        if wanted.fill_only:
            return
        home.cli("way", "add", "idle", f"smtp+plain://127.0.0.1:{remote.port}")
        home.cli("route", "add", "idle", "idle", "--to", "idle.example", "--priority", "1")
        start = seconds_of(home.start)
        early = letters(home, remote, 0, 50, 0.02)
        resident = settled_memory(home.process.pid)
        late = letters(home, remote, 1000, 200, 0.05)
        first = seconds_of(lambda: home.cli("queue", "list", "--json"))
        middle = seconds_of(lambda: home.cli("queue", "list", "--after", f"q{wanted.messages // 2}", "--json"))
        print(json.dumps({"bench": "queue", "waiting": waiting(home), "start_s": start, "resident_mb": resident,
                          "resident_mb_max": memory_mb(home.process.pid, "VmHWM"),
                          "letter_early_ms_median": round(statistics.median(early), 1), "letter_early_ms_max": round(early[-1], 1),
                          "letter_ms_median": round(statistics.median(late), 1), "letter_ms_p99": round(late[-2], 1),
                          "letter_ms_max": round(late[-1], 1), "list_first_s": first, "list_middle_s": middle}), flush=True)
    finally:
        home.remove()


main()
