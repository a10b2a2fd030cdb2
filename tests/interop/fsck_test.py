#!/usr/bin/env python3
"""posthouse fsck as an operator meets it: quiet while the server is under load, clean after it, plain about what is
broken on purpose, able to mend it, and able to save mail without a database.
"""
import imaplib
import json
import smtplib
import sqlite3
import subprocess
import sys
import threading

from house import BINARY, house

ROUNDS = 8           # checks during the load
ROUND_MESSAGES = 40  # that were taken in before each of them


def message(name, octets):
    line = f"{name} says what it has to say, line by line\r\n"
    return (f"From: <a@sender.example>\r\nSubject: {name}\r\nMessage-ID: <{name}@sender.example>\r\n\r\n"
            + line * max(1, octets // len(line))).encode()


class Load(threading.Thread):
    """Deliveries, appends, flags, copies, moves, expunges and new folders, until told to stop."""

    def __init__(self, home, name, counter):
        super().__init__()
        self.home, self.label, self.counter = home, name, counter
        self.ended, self.failure = threading.Event(), None

    def run(self):
        try:
            self.work()
        except Exception as e:  # told by the test
            self.failure = e
            self.counter.release(1000)

    def work(self):
        context = self.home.tls()
        context.check_hostname = False
        imap = imaplib.IMAP4_SSL("127.0.0.1", self.home.port("imaps"), ssl_context=context)
        imap.login(self.home.account, self.home.password)
        box = f"Load-{self.label}"
        imap.create(box)
        with smtplib.SMTP("127.0.0.1", self.home.port("smtp"), local_hostname="load.example", timeout=60) as smtp:
            number = 0
            while not self.ended.is_set():
                number += 1
                octets = message(f"{self.label}-{number}", (100, 3000, 40_000)[number % 3])
                smtp.sendmail("a@sender.example", [self.home.account], octets)
                imap.append(box, "(\\Flagged)", None, octets)
                self.counter.release()
                imap.select(box)
                imap.store("1", "+FLAGS", "(\\Seen kw)")
                imap.copy("1", "Archive")
                if number % 4 == 0:
                    imap.uid("MOVE", "1:3", "Trash")
                if number % 5 == 0:
                    imap.store("1:*", "+FLAGS", "(\\Deleted)")
                    imap.expunge()
        imap.logout()


def fsck(home, *words):
    """(exit code, the JSON object)"""
    done = subprocess.run([BINARY, "fsck", "--json", *words, "--config", str(home.config_file)], capture_output=True,
                          text=True, timeout=120)
    assert done.returncode in (0, 1), (done.returncode, done.stderr)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def check_under_load(home):
    counter = threading.Semaphore(0)
    loads = [Load(home, str(n), counter) for n in range(4)]
    for load in loads:
        load.start()
    try:
        for number in range(ROUNDS):
            for _ in range(ROUND_MESSAGES):
                counter.acquire()
            code, said = fsck(home, *(["--deep"] if number % 2 else []))
            assert code == 0 and said["clean"], said
        code, said = fsck(home, "--repair")
        assert code == 0 and said["faults_found"] == 0, said
    finally:
        for load in loads:
            load.ended.set()
        for load in loads:
            load.join()
    for load in loads:
        assert load.failure is None, load.failure
    code, said = fsck(home, "--deep")
    assert code == 0 and said["messages"] > 0 and said["messages_read"] == said["messages"], said
    print(f"ok: {ROUNDS} checks under load found nothing; {said['messages']} messages, {said['octets_read']} octets")


def break_and_mend(home):
    """While the server runs: it sees the repair as any other program's write."""
    with sqlite3.connect(home.data / "mail.db", timeout=30) as db:
        db.execute("UPDATE mailboxes SET messages = messages + 5 WHERE name = 'INBOX'")
        db.execute("UPDATE accounts SET used_octets = 1")
        lost, = db.execute("SELECT message FROM entries JOIN mailboxes ON mailboxes.id = mailbox WHERE name = 'INBOX' "
                           "ORDER BY uid LIMIT 1").fetchone()
        db.execute("DELETE FROM messages WHERE id = ?", (lost,))
    code, said = fsck(home)
    found = {fault["code"]: fault for fault in said["faults"]}
    assert code == 1 and {"mailbox-counters", "account-used", "entry-without-message"} <= set(found), said
    assert found["entry-without-message"]["account"] == home.account
    assert found["entry-without-message"]["mailbox"] == "INBOX" and found["entry-without-message"]["uid"] > 0
    code, said = fsck(home, "--repair")
    assert code == 0 and said["clean"] and said["faults_left"] == 0, said
    assert all(fault["repaired"] for fault in said["faults"]), said
    code, said = fsck(home, "--deep")
    assert code == 0 and not said["faults"], said
    print("ok: broken rows were named and mended under a running server")


def check_words(home):
    with sqlite3.connect(home.data / "mail.db", timeout=30) as db:
        place, = db.execute("SELECT position FROM messages WHERE segment = 1 ORDER BY position LIMIT 1").fetchone()
    with open(home.data / "segments" / "000001.seg", "r+b") as segment:
        segment.seek(place + 40)
        was = segment.read(4)
        segment.seek(place + 40)
        segment.write(b"\0\1\2\3")
    done = home.cli("fsck", check=False)
    assert done.returncode == 1, done
    assert "its octets do not match their checksum" in done.stdout and home.account in done.stdout, done.stdout
    assert "1 fault found. posthouse fsck --repair mends what can be mended." in done.stdout, done.stdout
    target = home.folder / "damaged"
    said = home.cli("fsck", "--salvage", str(target), "--damaged")
    assert len(list(target.rglob("*.damaged.eml"))) == 1, said
    with open(home.data / "segments" / "000001.seg", "r+b") as segment:
        segment.seek(place + 40)
        segment.write(was)
    assert home.cli("fsck").rstrip().endswith("The store is in order.")
    done = home.cli("fsck", "--repair", "--salvage", str(target), check=False)
    assert done.returncode == 1 and "at a time" in done.stderr, done
    assert home.cli("fsck", "--no-such-option", check=False).returncode == 2
    print("ok: damage is told in words, salvage writes it to a file")


def rebuild(home):
    done = home.cli("fsck", "--rebuild-database", check=False)
    assert done.returncode == 1 and "stop the server first" in done.stderr, done
    assert home.stop() == 0
    before = sqlite3.connect(home.data / "mail.db").execute("SELECT count(*), sum(size_octets) FROM entries").fetchone()
    said = json.loads(home.cli("fsck", "--rebuild-database", "--json"))
    assert said["tables_damaged"] == [] and (home.data / said["old_database"]).exists(), said
    after = sqlite3.connect(home.data / "mail.db").execute("SELECT count(*), sum(size_octets) FROM entries").fetchone()
    assert before == after, (before, after)
    code, said = fsck(home, "--deep")
    assert code == 0, said
    # Without any database at all.
    messages = said["messages"]
    (home.data / "mail.db").rename(home.data / "gone")
    done = home.cli("fsck", check=False)
    assert done.returncode == 1 and "--salvage DIR" in done.stderr, done
    saved = json.loads(home.cli("fsck", "--salvage", str(home.folder / "saved"), "--json"))
    assert saved["messages"] >= messages and saved["damaged"] == 0, saved
    print("ok: a database made anew says the same; without one every message was saved")


def main():
    with house() as home:
        check_under_load(home)
        break_and_mend(home)
        check_words(home)
        rebuild(home)


if __name__ == "__main__":
    sys.exit(main())
