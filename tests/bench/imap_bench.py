#!/usr/bin/env python3
"""SELECT and UID FETCH 1:* (FLAGS) of a large mailbox, beside Dovecot in the same run.

  tests/bench/imap_bench.py [--messages 1000000] [--peer-messages 100000] [--rounds 5] [--sessions 10]

Prints one JSON line a case; the first SELECT finds the server just started (cold), the memory is told with one session
on the mailbox and with --sessions, whose own first SELECTs are in select_others_ms. In between messages come in over
SMTP, each followed by a SELECT. POSTHOUSE_BINARY names the program (a release build), POSTHOUSE_STORE_BENCH the filler of
its store (built beside it). Posthouse is read over TLS, Dovecot in clear; both on loopback, one client.
"""
import argparse
import imaplib
import json
import os
import pathlib
import shutil
import smtplib
import statistics
import subprocess
import sys
import time

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "interop"), str(TESTS / "support")]
import house  # noqa: E402
import peers  # noqa: E402


def run(client, tag, command):
    """Sends one command and takes the answer as it comes; seconds and octets."""
    socket = client.sock
    began = time.perf_counter()
    socket.sendall(f"{tag} {command}\r\n".encode())
    end, octets, tail = f"\r\n{tag} OK".encode(), 0, b""
    while True:
        block = socket.recv(1 << 18)
        if not block:
            raise RuntimeError("the server hung up: " + tail.decode(errors="replace"))
        octets += len(block)
        tail = (tail + block)[-400:]
        if end in tail and tail.endswith(b"\r\n"):
            return time.perf_counter() - began, octets


def measure(name, client, messages, rounds):
    selects, fetches = [], []
    for number in range(rounds + 1):  # the first is to warm up
        selected, _ = run(client, f"s{number}", "SELECT INBOX")
        fetched, octets = run(client, f"f{number}", "UID FETCH 1:* (FLAGS)")
        selects.append(selected * 1000)
        fetches.append(messages / fetched)
    print(json.dumps({"bench": "imap_large", "server": name, "messages": messages,
                      "select_first_ms": round(selects[0], 1), "select_median_ms": round(statistics.median(selects[1:]), 2),
                      "fetch_flags_per_s": round(statistics.median(fetches[1:])),
                      "fetch_flags_best_per_s": round(max(fetches[1:])), "fetch_octets": octets}), flush=True)


def measure_after_deliveries(home, client, rounds):
    """SELECT by one session just after another message came in over SMTP."""
    times = []
    with smtplib.SMTP("127.0.0.1", home.port("smtp")) as sender:
        for number in range(rounds):
            sender.sendmail("a@sender.example", [home.account], f"Subject: late {number}\r\n\r\nhello\r\n".encode())
            times.append(run(client, f"d{number}", "SELECT INBOX")[0] * 1000)
    print(json.dumps({"bench": "imap_large_after_delivery", "select_median_ms": round(statistics.median(times), 2),
                      "select_worst_ms": round(max(times), 2)}), flush=True)


def resident_mib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) / 1024, 1)
    return None


def posthouse(messages, rounds, sessions):
    filler = os.environ.get("POSTHOUSE_STORE_BENCH") or str(pathlib.Path(house.BINARY).parents[1] / "tests/bench/store_bench")
    with house.house() as home:
        home.stop()
        subprocess.run([filler, "--fill", str(home.data), "--account", home.account, "--messages", str(messages)], check=True)
        home.start()
        context = home.tls()
        context.check_hostname = False

        def connect():
            client = imaplib.IMAP4_SSL("127.0.0.1", home.port("imaps"), ssl_context=context)
            client.login(home.account, home.password)
            return client

        before = resident_mib(home.process.pid)
        client = connect()
        measure("posthouse", client, messages, rounds)
        measure_after_deliveries(home, client, rounds)
        alone = resident_mib(home.process.pid)
        others = [connect() for _ in range(sessions - 1)]
        took = [run(other, "o1", "SELECT INBOX")[0] * 1000 for other in others]
        print(json.dumps({"bench": "imap_large_memory", "resident_mib_before": before, "resident_mib": alone,
                          "sessions": sessions, "resident_mib_all": resident_mib(home.process.pid),
                          "select_others_ms": round(statistics.median(took), 2) if took else None}), flush=True)


def dovecot(messages, rounds):
    why = peers.why_no_dovecot()
    if why:
        print(f"skipped: {why}")
        return
    with peers.dovecot() as (port, _, root):
        folder = root / "home" / "Maildir"
        user = imaplib.IMAP4("127.0.0.1", port)
        user.login("bench", "secret")
        user.select()
        found = [path for path in (root / "home").rglob("cur") if path.parent.name == "Maildir"] or [folder / "cur"]
        for number in range(messages):
            (found[0] / f"1700000000.M{number}P1.host:2,{'S' if number % 2 else ''}").write_bytes(
                b"From: <a@sender.example>\nSubject: message %d\n\nhello\n" % number)
        for path in found[0].iterdir():
            shutil.chown(path, "nobody")
        measure("dovecot", user, messages, rounds)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--peer-messages", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sessions", type=int, default=10)
    wanted = parser.parse_args()
    posthouse(wanted.messages, wanted.rounds, wanted.sessions)
    dovecot(wanted.peer_messages, wanted.rounds)


if __name__ == "__main__":
    main()
