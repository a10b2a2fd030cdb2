#!/usr/bin/env python3
"""Import of a Maildir and of an mbox file, and export: messages a second and the largest resident set.

  tests/bench/import_bench.py [--messages 20000] [--peer] [--folder /var/tmp]

Sizes are lognormal around 10 KB. One JSON line a case. POSTHOUSE_BINARY names the program (a release build). --peer runs
doveadm import on the same Maildir.
"""
import argparse
import json
import os
import pathlib
import pwd
import random
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))
from house import BINARY, House  # noqa: E402

MEDIAN_OCTETS, SIGMA, OCTETS_MAX = 10_000, 1.0, 2_000_000
WORDS = "mail server message folder letter answer meeting invoice travel garden weather house system update".split()


def make_message(number, chance):
    size = min(OCTETS_MAX, int(chance.lognormvariate(0, SIGMA) * MEDIAN_OCTETS))
    line = " ".join(chance.choices(WORDS, k=10))
    head = (f"Received: from a.example by b.example; Mon, 23 Nov 2026 20:11:05 +0000\nFrom: Sender {number} "
            f"<sender{number % 997}@a.example>\nTo: <alice@home.example>\nSubject: {line[:40]} {number}\n"
            f"Date: Mon, 23 Nov 2026 20:11:05 +0000\nMessage-ID: <{number}.{chance.getrandbits(64)}@a.example>\n"
            "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n")
    return (head + (line + "\n") * max(1, size // (len(line) + 1))).encode()


def generate(folder, messages):
    chance = random.Random(4)
    maildir, box = folder / "maildir", folder / "archive.mbox"
    for part in ("cur", "new", "tmp"):
        (maildir / part).mkdir(parents=True)
    octets = 0
    with open(box, "wb") as out:
        for number in range(messages):
            message = make_message(number, chance)
            (maildir / "cur" / f"{1500000000 + number}.M{number}P1.bench:2,{'S' if number % 3 else ''}").write_bytes(message)
            out.write(b"From sender@a.example Mon Nov 23 20:11:05 2026\n" + message + b"\n")
            octets += len(message)
    os.sync()
    return maildir, box, octets


def run(case, messages, octets, words, environment=None):
    """Peak memory is that of this very child (wait4)."""
    began = time.perf_counter()
    child = subprocess.Popen([str(word) for word in words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             env={**os.environ, **(environment or {})})
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - began
    print(json.dumps({"case": case, "messages": messages, "mib": round(octets / 2**20), "seconds": round(seconds, 2),
                      "messages_per_s": round(messages / seconds), "mib_per_s": round(octets / 2**20 / seconds, 1),
                      "cpu_s": round(usage.ru_utime + usage.ru_stime, 1), "peak_rss_mib": round(usage.ru_maxrss / 1024),
                      "exit": os.waitstatus_to_exitcode(status)}), flush=True)


def peer(folder, maildir, messages, octets):
    """Dovecot works for no root, so root lends it another user."""
    if not shutil.which("doveadm"):
        print(json.dumps({"case": "doveadm", "skipped": "Dovecot is not installed"}))
        return
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.getuid())
    place = folder / "dovecot"
    place.mkdir()
    config = folder / "dovecot.conf"
    config.write_text(f"mail_location = mdbox:{place}/mdbox\nmail_home = {place}\nssl = no\nlog_path = /dev/stderr\n"
                      f"first_valid_uid = 0\nfirst_valid_gid = 0\nmail_uid = {user.pw_uid}\nmail_gid = {user.pw_gid}\n"
                      "namespace inbox {\n  inbox = yes\n}\n")
    if os.geteuid() == 0:
        folder.chmod(0o711)
        for path in (place, maildir, *maildir.rglob("*")):
            os.chown(path, user.pw_uid, user.pw_gid)
    os.chdir(place)
    run("doveadm import to mdbox", messages, octets,
        ["doveadm", "-c", config, "import", f"maildir:{maildir}", "", "ALL"], {"USER": user.pw_name, "HOME": str(place)})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--folder", help="where to work; the disk of this place is measured")
    wanted = parser.parse_args()
    home = House(parent=wanted.folder)
    try:
        maildir, box, octets = generate(home.folder, wanted.messages)
        config = ["--config", home.config_file, "--json"]
        home.add_account("bob@home.example")
        for case, words in (("import maildir", ["import", "maildir", home.account, maildir]),
                            ("import maildir again", ["import", "maildir", home.account, maildir]),
                            ("import mbox", ["import", "mbox", "bob@home.example", box]),
                            ("import mbox again", ["import", "mbox", "bob@home.example", box]),
                            ("export maildir", ["export", home.account, home.folder / "out"]),
                            ("export mbox", ["export", home.account, home.folder / "boxes", "--format", "mbox"])):
            run(case, wanted.messages, octets, [BINARY, *words, *config])
        if wanted.peer:
            peer(home.folder, maildir, wanted.messages, octets)
    finally:
        home.remove()


main()
