#!/usr/bin/env python3
"""How fast, and in how much memory, a mailbox moves from Dovecot into a running Posthouse: one JSON line a run.

usage: import_imap_bench.py [--messages 20000] [--octets 4000]
The mail lies in Dovecot's Maildir before the clock starts; all runs on one machine, on loopback, in clear.
"""
import argparse
import json
import os
import pathlib
import re
import select
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "interop"))
sys.path.insert(0, str(ROOT / "support"))
import peers  # noqa: E402
from house import BINARY, house, skip  # noqa: E402


def fill(folder, count, octets):
    """A Maildir with that many messages, a third of them seen."""
    for name in ("cur", "new", "tmp"):
        (folder / name).mkdir(parents=True)
    line = b"The quick brown fox jumps over the lazy dog, again and again.\r\n"
    for n in range(count):
        size = octets // 4 + (n * 7919) % (octets * 3 // 2 + 1)
        head = (f"From: a{n % 97}@b.example\r\nTo: alice@home.example\r\nSubject: message {n}\r\n"
                f"Message-ID: <{n}.bench@b.example>\r\nDate: Mon, 23 Nov 2026 20:11:05 +0000\r\n\r\n").encode()
        text = (head + line * (size // len(line) + 1)).replace(b"\r\n", b"\n")
        (folder / "cur" / f"{1600000000 + n}.M{n}P1.bench,S={len(text)}:2,{'S' if n % 3 == 0 else ''}").write_bytes(text)


def run(home, port, what, count):
    words = [BINARY, "import", "imap", home.account, f"imap+plain://alice@127.0.0.1:{port}", "--json", "--config",
             str(home.config_file)]
    began = time.monotonic()
    process = subprocess.Popen(words, env={**os.environ, "POSTHOUSE_IMPORT_PASSWORD": "secret"}, stdout=subprocess.PIPE)
    # ru_maxrss would count what this program was at the fork, too: the peak is read while the import runs.
    peak = 0
    while not select.select([process.stdout], [], [], 0.1)[0]:
        told = re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{process.pid}/status").read_text())
        peak = int(told.group(1)) if told else peak
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    told = json.loads(output)
    assert status == 0 and told["taken"] + told["known"] == count, told
    print(json.dumps({"bench": "import_imap", "case": what, "messages": count, "octets": told["octets"],
                      "seconds": round(seconds, 2), "messages_per_second": round(count / seconds),
                      "rss_kib": peak, "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2)}), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--octets", type=int, default=4_000)
    options = parser.parse_args()
    why = peers.why_no_dovecot()
    if why:
        skip(why)
    with peers.dovecot() as (port, _, root), house() as home:
        maildir = root / "home" / "alice" / "Maildir"
        fill(maildir, options.messages, options.octets)
        subprocess.run(["chown", "-R", "nobody:nogroup", root / "home" / "alice"], check=True)
        run(home, port, "first", options.messages)
        run(home, port, "repeated", options.messages)


if __name__ == "__main__":
    main()
