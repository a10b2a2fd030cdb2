#!/usr/bin/env python3
"""Backups of a server under load: what was acknowledged before a backup began is in it; kill -9 leaves the last one
good; a restored store serves; mail comes back into the running server; the server makes backups by itself."""
import contextlib
import imaplib
import json
import pathlib
import random
import re
import shutil
import smtplib
import subprocess
import sys
import threading
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import BINARY, house  # noqa: E402

BOB = "bob@home.example"
BODY = "Subject: {0}\r\nFrom: carol@world.example\r\nTo: bob@home.example\r\nMessage-ID: <{0}@world.example>\r\n\r\n{1}\r\n"
KILLS = 12
WAIT_SECONDS_MAX = 120


def text(subject):
    return BODY.format(subject, "a line of text\r\n" * 100).encode()


def login(home):
    context = home.tls()
    context.check_hostname = False
    client = imaplib.IMAP4_SSL("127.0.0.1", home.port("imaps"), ssl_context=context, timeout=60)
    client.login(BOB, home.passwords[BOB])
    return client


def subjects(home, mailbox="INBOX"):
    """Subject -> how often it is there."""
    client = login(home)
    client.select(mailbox, readonly=True)
    out = {}
    for item in client.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]:
        if isinstance(item, tuple):
            subject = item[1].decode().partition(":")[2].strip()
            out[subject] = out.get(subject, 0) + 1
    client.logout()
    return out


class Load:
    """SMTP into bob's INBOX and APPEND into his Archive until stopped; knows what was acknowledged."""

    def __init__(self, home):
        self.home, self.sent, self.appended, self.stopping = home, [], [], threading.Event()
        self.failure = None
        self.threads = [threading.Thread(target=self.guard, args=(work,)) for work in (self.smtp, self.append)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def guard(self, work):
        try:
            work()
        except Exception as failure:  # told by the main thread
            self.failure = failure

    def smtp(self):
        with smtplib.SMTP("127.0.0.1", self.home.port("smtp"), timeout=60) as client:
            number = 0
            while not self.stopping.is_set():
                client.sendmail("carol@world.example", [BOB], text(f"smtp{number}"))
                self.sent.append(f"smtp{number}")
                number += 1

    def append(self):
        client = login(self.home)
        number = 0
        while not self.stopping.is_set():
            assert client.append("Archive", "(\\Flagged)", None, text(f"append{number}"))[0] == "OK"
            self.appended.append(f"append{number}")
            number += 1
        client.logout()

    def until(self, count):
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while len(self.sent) < count or len(self.appended) < count:
            assert self.failure is None and time.monotonic() < deadline, self.failure
            time.sleep(0.01)


def create(home, target, *more):
    return json.loads(home.cli("backup", "create", "--json", "--to", str(target), *more))


def verify(home, target, *more):
    found = json.loads(home.cli("backup", "verify", "--json", "--from", str(target), *more))
    assert found["good"] and not found["faults"], found
    return found


@contextlib.contextmanager
def serving(home, data):
    """The same house on another data directory, then on its own again."""
    config, before = home.config_file.read_text(), home.data
    home.stop()
    home.config_file.write_text(config.replace(f'"{before}"', f'"{data}"', 1))
    home.data = data
    try:
        yield home.start()
    finally:
        home.stop()
        home.config_file.write_text(config)
        home.data = before
        home.start()


def check_under_load(home, target, key):
    with Load(home) as load:
        for count in (50, 150, 300):
            load.until(count)
            sent, appended = list(load.sent), list(load.appended)
            made = create(home, target, *key)
            assert not made["damaged"] and made["keys"], made
            verify(home, target, *key)
    assert load.failure is None, load.failure
    data = home.folder / "restored"
    home.cli("backup", "restore", "--from", str(target), *key, "--to", str(data))
    with serving(home, data):
        for wanted, mailbox in ((sent, "INBOX"), (appended, "Archive")):
            found = subjects(home, mailbox)
            missing = [subject for subject in wanted if subject not in found]
            assert not missing, (mailbox, len(missing), missing[:5])
            assert max(found.values()) == 1, mailbox
        with smtplib.SMTP("127.0.0.1", home.port("smtp"), timeout=60) as client:
            client.sendmail("carol@world.example", [BOB], text("after"))
        assert "after" in subjects(home)
    done = home.cli("backup", "restore", "--from", str(target), *key, "--to", str(data), check=False)
    assert done.returncode == 1 and "holds a store already" in done.stderr, done


def check_kills(home, target, key):
    """kill -9 of `backup create` at any moment, the server under load."""
    words = [BINARY, "backup", "create", "--to", str(target), *key, "--keep", "2", "--config", str(home.config_file)]
    began = time.monotonic()
    subprocess.run(words, check=True, capture_output=True, timeout=WAIT_SECONDS_MAX)
    took = time.monotonic() - began
    pick = random.Random(7)
    with Load(home) as load:
        load.until(10)
        for _ in range(KILLS):
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(pick.uniform(0, took))
            process.kill()
            process.wait()
            verify(home, target, *key)
    assert load.failure is None, load.failure
    create(home, target, *key, "--keep", "1")
    assert not list((target / "tmp").iterdir())
    for backup in json.loads(home.cli("backup", "list", "--json", "--from", str(target), *key)):
        verify(home, target, *key, backup["backup"])


def check_parts(home, target, key):
    before = subjects(home, "Archive")
    home.cli("backup", "create", "--to", str(target), *key)
    client = login(home)
    client.select("Archive")
    client.uid("STORE", "1:5", "+FLAGS", "(\\Deleted)")
    client.expunge()
    client.logout()
    assert len(subjects(home, "Archive")) == len(before) - 5
    words = ("backup", "restore", "--json", "--from", str(target), *key, "--account", BOB)
    done = json.loads(home.cli(*words, "--mailbox", "Archive"))
    assert (done["restored"], done["there_already"]) == (5, len(before) - 5), done
    assert subjects(home, "Archive") == before
    assert json.loads(home.cli(*words, "--mailbox", "Archive"))["restored"] == 0
    done = json.loads(home.cli(*words, "--message", "<smtp3@world.example>", "--into", "Restored"))
    assert done["restored"] == 1 and subjects(home, "Restored") == {"smtp3": 1}, done
    client = login(home)
    client.select("Archive", readonly=True)
    flags = b"".join(item for item in client.uid("FETCH", "*", "(FLAGS)")[1])
    assert b"\\Flagged" in flags, flags
    client.logout()


def check_refusals(home, target, key):
    other = home.folder / "other.key"
    home.cli("backup", "key", str(other))
    assert other.stat().st_mode & 0o777 == 0o600
    nowhere = home.folder / "not-mounted"
    nowhere.mkdir()
    for words, sentence in ((("create", "--to", str(target), "--key-file", str(other)), "the key does not fit"),
                            (("verify", "--from", str(target)), "is encrypted: name its key"),
                            (("create", "--to", str(nowhere)), "mounted?"),
                            (("restore", "--from", str(target), *key), "say --to DATADIR"),
                            (("restore", "--from", str(target), *key, "--account", "none@home.example"),
                             "has no account")):
        done = home.cli("backup", *words, check=False)
        assert done.returncode == 1 and sentence in done.stderr and done.stderr.count("\n") == 1, done
    assert not list(nowhere.iterdir())
    done = home.cli("backup", "init", "--to", str(home.data / "tmp" / ".." / "backups"), check=False)
    assert done.returncode == 1 and "lies in the data directory" in done.stderr, done
    assert not (home.data / "backups").exists()


def check_damage(home, target, key):
    copy = home.folder / "copy"
    shutil.copytree(target, copy)
    largest = max((path for path in (copy / "objects").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    octets = bytearray(largest.read_bytes())
    octets[len(octets) // 2] ^= 1
    largest.write_bytes(octets)
    done = home.cli("backup", "verify", "--from", str(copy), *key, check=False)
    assert done.returncode == 1 and largest.name in done.stdout, done


def metric(home, name):
    with urllib.request.urlopen(f"http://127.0.0.1:{home.port('http')}/metrics", timeout=30) as answer:
        found = re.search(rf"^posthouse_{name} (\S+)$", answer.read().decode(), re.M)
    return float(found.group(1)) if found else None


def wait_for(home, judge):
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not judge():
        assert time.monotonic() < deadline, home.log()
        time.sleep(0.05)


def check_schedule(home, key):
    target = home.folder / "scheduled"
    home.cli("backup", "init", "--to", str(target), *key)
    home.cli("backup", "schedule", "--to", str(target), *key, "--every-hours", "1")
    home.stop()
    home.start()
    wait_for(home, lambda: (metric(home, "backup_last_success_seconds") or 0) > 0)
    assert metric(home, "backup_verified_age_seconds") < 3600
    assert "was made and verified" in home.log()
    assert "was made and verified" in home.cli("trace", "server")
    assert json.loads(home.cli("trace", "server", "--json"))[-1]["kind"] == "system"
    verify(home, target, *key)
    # The target goes away: the failure is counted and told.
    shutil.rmtree(target)
    home.stop()
    home.start()
    wait_for(home, lambda: metric(home, "backup_failures_total"))
    assert "is the target mounted?" in home.log()
    home.cli("backup", "schedule", "--off")


def main():
    with house() as home:
        home.add_account(BOB)
        target = home.folder / "backups"
        home.cli("backup", "key", str(home.folder / "backup.key"))
        key = ("--key-file", str(home.folder / "backup.key"))
        home.cli("backup", "init", "--to", str(target), *key)
        check_under_load(home, target, key)
        check_refusals(home, target, key)
        check_parts(home, target, key)
        check_kills(home, target, key)
        check_damage(home, target, key)
        check_schedule(home, key)
    print("backup: done")


if __name__ == "__main__":
    main()
