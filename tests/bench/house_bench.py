#!/usr/bin/env python3
"""Start-up time, idle memory with ten accounts, and the time from the 250 to the EXISTS in an idling IMAP session.

  tests/bench/house_bench.py [--messages 300]

Prints one JSON line a case. POSTHOUSE_BINARY names the program (a release build).
"""
import argparse
import imaplib
import json
import pathlib
import smtplib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))
from house import House  # noqa: E402

STARTS = 5


def memory_kib(pid):
    facts = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    return {name: int(facts[name].split()[0]) for name in ("VmRSS", "RssAnon", "RssFile")}


def visible(home, messages):
    context = home.tls()
    context.check_hostname = False
    client = imaplib.IMAP4_SSL("127.0.0.1", home.port("imaps"), ssl_context=context)
    client.login(home.account, home.password)
    client.select()
    client.send(b"i1 IDLE\r\n")
    client.readline()
    after_sent, after_reply = [], []
    body = "Subject: x\r\nFrom: <a@sender.example>\r\n\r\n" + "0123456789abcde\r\n" * 600
    with smtplib.SMTP("127.0.0.1", home.port("smtp"), local_hostname="bench.example") as sender:
        for _ in range(messages):
            began = time.perf_counter()
            sender.sendmail("a@sender.example", [home.account], body)
            replied = time.perf_counter()
            while b"EXISTS" not in client.readline():
                pass
            seen = time.perf_counter()
            after_reply.append((seen - replied) * 1000)
            after_sent.append((seen - began) * 1000)
    return after_sent, after_reply


def quantiles(values):
    ordered = sorted(values)
    return {"median_ms": round(statistics.median(ordered), 3), "p99_ms": round(ordered[int(len(ordered) * 0.99) - 1], 3)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=300)
    wanted = parser.parse_args()
    home = House()
    try:
        for number in range(9):
            home.add_account(f"user{number}@home.example")
        starts = []
        for _ in range(STARTS):
            began = time.perf_counter()
            home.start()
            starts.append((time.perf_counter() - began) * 1000)
            home.stop()
        print(json.dumps({"bench": "house", "case": "start until READY=1", "median_ms": round(statistics.median(starts), 1)}))
        home.start()
        print(json.dumps({"bench": "house", "case": "idle memory, 10 accounts", "kib": memory_kib(home.process.pid)}))
        sent, replied = visible(home, wanted.messages)
        print(json.dumps({"bench": "house", "case": "MAIL to EXISTS in IDLE", **quantiles(sent)}))
        print(json.dumps({"bench": "house", "case": "250 to EXISTS in IDLE", **quantiles(replied)}))
        print(json.dumps({"bench": "house", "case": "memory afterwards", "kib": memory_kib(home.process.pid)}))
    finally:
        home.remove()


main()
