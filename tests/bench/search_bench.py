#!/usr/bin/env python3
"""SEARCH over IMAP in a mailbox of many messages with 3 KB of text, beside Dovecot in the same run.

  tests/bench/search_bench.py [--messages 100000] [--peer-messages 20000] [--rounds 7]

Prints one JSON line a case. POSTHOUSE_BINARY names the program (a release build); the filler, tests/bench/search_bench,
is taken from beside it or from POSTHOUSE_SEARCH_BENCH. Dovecot searches by reading, as it does without a plugin.
"""
import argparse
import imaplib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "interop"), str(TESTS / "support")]
import house  # noqa: E402
import peers  # noqa: E402


def filler():
    beside = pathlib.Path(house.BINARY).resolve().parents[1] / "tests" / "bench" / "search_bench"
    return os.environ.get("POSTHOUSE_SEARCH_BENCH") or str(beside)


def ask(client, key, needle):
    client.literal = needle.encode()
    began = time.perf_counter()
    kind, data = client.uid("SEARCH", "CHARSET", "UTF-8", *key.split())
    took = (time.perf_counter() - began) * 1000
    assert kind == "OK", data
    return took, len((data[0] or b"").split())


def measure(name, client, messages, needles, rounds):
    client.select("INBOX")
    every = []
    for key in ("TEXT", "BODY", "SUBJECT"):
        for what, needle in needles:
            if key != "TEXT" and what not in ("rare", "common", "no_match"):
                continue
            times = []
            for _ in range(rounds):
                took, found = ask(client, key, needle)
                times.append(took)
                if took > 20_000:
                    break  # a peer that reads everything: once is enough
            every += times
            print(json.dumps({"bench": "imap_search", "server": name, "messages": messages, "key": key, "needle": what,
                              "found": found, "median_ms": round(statistics.median(times), 2),
                              "worst_ms": round(max(times), 2)}), flush=True)
    every.sort()
    print(json.dumps({"bench": "imap_search_all", "server": name, "messages": messages, "searches": len(every),
                      "median_ms": round(statistics.median(every), 2),
                      "p99_ms": round(every[min(len(every) - 1, len(every) * 99 // 100)], 2)}), flush=True)


def posthouse(messages, rounds):
    with house.house() as home:
        home.stop()
        done = subprocess.run([filler(), "--fill", str(home.data), "--account", home.account, "--messages", str(messages)],
                              check=True, capture_output=True, text=True)
        lines = done.stdout.splitlines()
        print(lines[0], flush=True)
        needles = [tuple(line.split("\t")) for line in lines[1:]]
        home.start()
        context = home.tls()
        context.check_hostname = False
        client = imaplib.IMAP4_SSL("127.0.0.1", home.port("imaps"), ssl_context=context)
        client.login(home.account, home.password)
        measure("posthouse", client, messages, needles, rounds)
        return needles


def dovecot(messages, needles, rounds):
    why = peers.why_no_dovecot()
    if why:
        print(f"skipped: {why}")
        return
    with peers.dovecot() as (port, _, root):
        user = imaplib.IMAP4("127.0.0.1", port)
        user.login("bench", "secret")
        user.select()
        found = [path for path in (root / "home").rglob("cur") if path.parent.name == "Maildir"]
        folder = found[0] if found else root / "home" / "Maildir" / "cur"
        subprocess.run([filler(), "--maildir", str(folder), "--messages", str(messages)], check=True)
        for path in folder.iterdir():
            shutil.chown(path, "nobody")
        measure("dovecot", user, messages, needles, rounds)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--peer-messages", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    wanted = parser.parse_args()
    needles = posthouse(wanted.messages, wanted.rounds)
    if wanted.peer_messages:
        dovecot(wanted.peer_messages, needles, wanted.rounds)


if __name__ == "__main__":
    main()
