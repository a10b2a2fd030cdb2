#!/usr/bin/env python3
"""Copies in Sent at submission: one whoever files it first, flags joined, none for others, and none over the quota."""
import imaplib
import pathlib
import re
import smtplib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import house  # noqa: E402


def loose(home):
    context = home.tls()
    context.check_hostname = False
    return context


def message(home, name, text=None):
    return (f"From: {home.account}\r\nTo: {home.account}\r\nSubject: {name}\r\nMessage-ID: <{name}@home.example>\r\n"
            f"Date: Mon, 23 Nov 2026 20:11:05 +0000\r\n\r\n{text or name}\r\n").encode()


def submit(home, name, sender=None):
    with smtplib.SMTP_SSL("127.0.0.1", home.port("submissions"), context=loose(home)) as client:
        client.login(home.account, home.password)
        client.sendmail(home.account if sender is None else sender, [home.account], message(home, name))


def check_kept(home, client, append):
    """What is not the same, or stands for nothing any more, is kept beside the copy: an OK means that it is there."""
    submit(home, "same")
    client.select("Sent")
    filed = int(client.uid("SEARCH", "SUBJECT", "same")[1][0])
    client.unselect()
    added = [append("Sent", "same", body="another text"), append("Sent", "never sent"),
             append("Sent", "never sent", body="something else")]
    client.select("Sent")
    assert filed not in added and len(set(added)) == 3, (filed, added)
    client.uid("STORE", str(filed), "+FLAGS", r"(\Deleted)")
    added.append(append("Sent", "same"))
    assert added[-1] != filed, (filed, added)
    client.uid("EXPUNGE", str(filed))
    found = client.uid("SEARCH", "OR", "SUBJECT", "same", "SUBJECT", '"never sent"')[1][0].split()
    assert [int(uid) for uid in found] == added, (found, added)
    client.uid("STORE", ",".join(map(str, added)), "+FLAGS", r"(\Deleted)")
    client.expunge()
    client.unselect()


def main():
    with house() as home:
        client = imaplib.IMAP4_SSL("127.0.0.1", home.port("imaps"), ssl_context=loose(home))
        client.login(home.account, home.password)

        def sent():
            client.select("Sent", readonly=True)
            found = client.uid("FETCH", "1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
            client.unselect()
            return {re.search(rb"Subject: (\S+)", part[1])[1].decode(): part[0].decode()
                    for part in found if isinstance(part, tuple)}

        def append(mailbox, name, flags=r"(\Seen)", body=None):
            kind, text = client.append(mailbox, flags, None, message(home, name, body))
            assert kind == "OK", text
            return int(re.search(rb"\[APPENDUID \d+ (\d+)\]", text[0])[1])

        submit(home, "before")
        assert sent() == {}, sent()
        assert "file_sent: true" in home.cli("account", "file-sent", home.account, "on").replace("  ", " ") or \
            "true" in home.cli("account", "file-sent", home.account, "--json")
        submit(home, "one")
        there = sent()
        assert list(there) == ["one"] and r"\Seen" in there["one"], there
        uid = int(re.search(r"UID (\d+)", there["one"])[1])
        # The client files its own: it gets the one that is there, and its flags are put on.
        assert append("Sent", "one", r"(\Seen \Flagged)") == uid
        there = sent()
        assert list(there) == ["one"] and r"\Flagged" in there["one"], there
        # The other way round: the client was first.
        append("Sent", "two")
        submit(home, "two")
        assert sorted(sent()) == ["one", "two"], sent()
        assert client.status("Sent", "(MESSAGES)")[1][0].split()[-1] == b"2)"
        check_kept(home, client, append)
        # Elsewhere a message may lie twice, and a report files nothing.
        assert append("INBOX", "one") and append("INBOX", "one")
        home.cli("sendmail", "-f", home.account, home.account, stdin=message(home, "local"))
        submit(home, "null", sender="<>")
        assert sorted(sent()) == ["one", "two"], sent()
        assert "filed in the sender's Sent mailbox" in home.cli("trace", "<one@home.example>")
        # A full account sends on, without copies.
        home.add_account("bob@home.example")
        home.cli("account", "quota", home.account, "--messages", "1")
        with smtplib.SMTP_SSL("127.0.0.1", home.port("submissions"), context=loose(home)) as sender:
            sender.login(home.account, home.password)
            sender.sendmail(home.account, ["bob@home.example"], message(home, "full"))
        assert sorted(sent()) == ["one", "two"], sent()
        home.cli("account", "quota", home.account, "--messages", "none")
        home.cli("account", "file-sent", home.account, "off")
        submit(home, "off")
        assert sorted(sent()) == ["one", "two"], sent()
        bad = home.cli("account", "file-sent", home.account, "maybe", check=False)
        assert bad.returncode == 1 and "neither on nor off" in bad.stderr, bad.stderr
        client.logout()
        print("one copy in Sent, whoever files it first")


main()
