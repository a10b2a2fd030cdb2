#!/usr/bin/env python3
"""Removed mail comes back while a client looks on; past undelete it goes, and so does the space it took."""
import imaplib
import json
import pathlib
import random
import smtplib
import sqlite3
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import house  # noqa: E402

ALICE = "alice@home.example"
MESSAGES = 60


def text_of(number):
    words = random.Random(number)
    lines = "\r\n".join(" ".join(f"word{words.randrange(3000)}" for _ in range(10)) for _ in range(400))
    return f"From: bob@world.example\r\nTo: {ALICE}\r\nSubject: number {number}\r\n\r\n{lines}\r\n".encode()


def login(home):
    client = imaplib.IMAP4("127.0.0.1", home.port("imap"))
    context = home.tls()
    context.check_hostname = False
    client.starttls(context)
    client.login(ALICE, home.passwords[ALICE])
    return client


def ask(home, question):
    with sqlite3.connect(f"file:{home.data}/mail.db?mode=ro", uri=True) as database:
        return database.execute(question).fetchone()[0]


def until(what, seconds=60):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.05)


def check_rows(home):
    assert ask(home, "SELECT count(*) FROM messages m WHERE refs <> (SELECT count(*) FROM entries e WHERE e.message = m.id) + "
                     "(SELECT count(*) FROM deleted_entries d WHERE d.message = m.id)") == 0
    assert ask(home, "SELECT count(*) FROM segments s WHERE dead_octets <> octets - 16 - (SELECT "
                     "coalesce(sum(stored_octets + 32), 0) FROM messages m WHERE m.segment = s.id)") == 0
    assert ask(home, "SELECT count(*) FROM mailboxes b WHERE messages <> (SELECT count(*) FROM entries e WHERE "
                     "e.mailbox = b.id)") == 0
    assert ask(home, "SELECT count(*) FROM accounts a WHERE used_octets <> (SELECT sum(octets) FROM mailboxes b WHERE "
                     "b.account = a.id)") == 0


def check_undelete(home):
    client = login(home)
    client.create("Projects")
    for number in range(MESSAGES):
        client.append("Projects", r"(\Seen)" if number % 2 else None, None, text_of(number))
    client.select("Projects")
    client.store("1:5", "+FLAGS", r"(\Deleted keep)")
    client.expunge()
    assert "number 3" in home.cli("undelete", "list", ALICE, "--mailbox", "Projects")
    listed = json.loads(home.cli("undelete", "list", ALICE, "--json"))
    assert len(listed) == 5, listed

    # One by its id, while the client idles; then the rest.
    one = threading.Thread(target=lambda: home.cli("undelete", "restore", ALICE, listed[0]["id"]))
    client.send(b"x0 NOOP\r\n")
    while not client.readline().startswith(b"x0 "):
        pass
    client.send(b"x1 IDLE\r\n")
    assert client.readline().startswith(b"+")
    one.start()
    while b"EXISTS" not in (line := client.readline()):
        assert line, "the connection ended"
    client.send(b"DONE\r\n")
    while not client.readline().startswith(b"x1 "):
        pass
    one.join()
    assert f"* {MESSAGES - 4} EXISTS".encode() in line, line
    print("  one message is back:", home.cli("undelete", "restore", ALICE, "--all").strip())
    client.select("Projects")
    kind, found = client.search(None, "KEYWORD", "keep")
    assert len(found[0].split()) == 5, found
    kind, found = client.search(None, "DELETED")
    assert not found[0].split(), found

    # A mailbox with what lay in it, under a new UIDVALIDITY.
    before = client.response("UIDVALIDITY")[1]
    client.close()
    assert client.delete("Projects")[0] == "OK"
    print("  the mailbox is back:", home.cli("undelete", "restore", ALICE, "--mailbox", "Projects").strip())
    client.select("Projects")
    assert client.response("UIDVALIDITY")[1] != before
    kind, found = client.search(None, "ALL")
    assert len(found[0].split()) == MESSAGES, found
    done = home.cli("undelete", "restore", ALICE, "999.1", check=False)
    assert done.returncode == 1 and "no removed message" in done.stderr, done
    check_rows(home)
    client.logout()


def check_quota(home):
    home.cli("account", "quota", ALICE, "--messages", str(MESSAGES), "--size", "100M")
    client = login(home)
    answer, text = client.append("INBOX", None, None, text_of(1))
    assert answer == "NO" and b"OVERQUOTA" in text[0], text
    client.select("Projects")
    answer, text = client.copy("1", "INBOX")
    assert answer == "NO" and b"OVERQUOTA" in text[0], text

    def refused(**options):
        with smtplib.SMTP("127.0.0.1", home.port("smtp")) as sender:
            sender.ehlo("world.example")
            sender.mail("bob@world.example", options.get("mail", []))
            return sender.rcpt(ALICE)

    until(lambda: refused()[0] == 452)  # the server hears of another process's change within a second
    code, text = refused()
    assert code == 452 and text.startswith(b"4.2.2"), (code, text)
    home.cli("account", "quota", ALICE, "--messages", "none", "--size", "20M")
    code, text = refused(mail=["SIZE=19900000"])
    assert code == 452, (code, text)
    code, text = refused(mail=["SIZE=21000000"])
    assert code == 552 and text.startswith(b"5.2.3"), (code, text)
    assert refused(mail=["SIZE=1000"])[0] == 250
    home.cli("account", "quota", ALICE, "--size", "none")
    home.cli("domain", "quota", "home.example", "--messages", str(MESSAGES))
    until(lambda: refused()[0] == 452)
    assert json.loads(home.cli("domain", "show", "home.example", "--json"))["quota_messages"] == MESSAGES
    home.cli("domain", "quota", "home.example", "--messages", "none", "--size", "20M")
    until(lambda: refused(mail=["SIZE=21000000"])[0] == 552)
    assert refused(mail=["SIZE=1000"])[0] == 250
    home.cli("domain", "quota", "home.example", "--size", "none")
    until(lambda: refused(mail=["SIZE=21000000"])[0] == 250)
    client.logout()


def octets(home):
    return sum(file.stat().st_blocks * 512 for file in (home.data / "segments").iterdir())


def check_space(home):
    client = login(home)
    client.select("Projects")
    kind, found = client.uid("SEARCH", None, "ALL")
    numbers = found[0].split()
    kept = {}
    for uid in numbers[::10]:
        kept[uid] = client.uid("FETCH", uid, "(BODY.PEEK[])")[1][0][1]
    for uid in numbers:
        if uid not in kept:
            client.uid("STORE", uid, "+FLAGS", r"(\Deleted)")
    client.expunge()
    before = octets(home)
    home.cli("setting", "set", "undelete.days", "0")
    until(lambda: ask(home, "SELECT count(*) FROM deleted_entries") == 0)
    # The segment that is being written is left alone: a large message of its own shows that space comes back.
    until(lambda: ask(home, "SELECT count(*) FROM segments WHERE sealed = 1 AND dead_octets * 2 > octets") == 0)
    check_rows(home)
    for uid, text in kept.items():
        assert client.uid("FETCH", uid, "(BODY.PEEK[])")[1][0][1] == text, uid
    client.logout()
    return before


def check_retention(home):
    assert "There is no rule" in home.cli("retention", "list")
    home.cli("retention", "set", r"\Trash", "30", "--for", "home.example")
    assert "30 days" in home.cli("retention", "list")
    home.cli("retention", "remove", r"\Trash", "--for", "home.example")
    done = home.cli("retention", "set", r"\Rubbish", "30", check=False)
    assert done.returncode == 1 and "no special use" in done.stderr, done
    done = home.cli("setting", "set", "undelete.days", "many", check=False)
    assert done.returncode == 1 and "takes a number" in done.stderr, done


def check_large(home):
    """A message over 8 MiB is a file of its own, which goes when it is purged."""
    client = login(home)
    before = octets(home)
    large = b"Subject: large\r\n\r\n" + b"x" * 70 * 1000 + b"\r\n" + b"0123456789abcdef\r\n" * 600_000
    client.append("INBOX", None, None, large)
    assert octets(home) > before + 10_000_000
    client.select("INBOX")
    client.store("1", "+FLAGS", r"(\Deleted)")
    client.expunge()
    home.cli("setting", "set", "undelete.days", "0")
    until(lambda: octets(home) < before + 1_000_000, seconds=90)
    check_rows(home)
    client.logout()


def main():
    with house() as home:
        check_retention(home)
        check_undelete(home)
        check_quota(home)
        check_space(home)
        check_large(home)
    print("undelete, quota, retention, purge and compaction: ok")


if __name__ == "__main__":
    main()
