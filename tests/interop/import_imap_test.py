#!/usr/bin/env python3
"""posthouse import imap from real servers: Dovecot in clear, and another Posthouse over TLS and STARTTLS. What arrives is
octet for octet what lies there, with flags, keywords and dates; repeated runs add nothing twice."""
import contextlib
import hashlib
import imaplib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import peers  # noqa: E402
from house import BINARY, house, skip  # noqa: E402

BOB = "bob@home.example"
KEYWORDS = ("", "$Forwarded", "$Junk Work", "custom")
FLAGS = ("", "\\Seen", "\\Flagged \\Answered", "\\Seen \\Deleted", "\\Draft")


def message(number, size=0):
    body = f"gr\u00fc\u00dfe {number}\r\n.\r\n..two\r\n" + ("x" * 70 + "\r\n") * (size // 72)
    return (f"From: a{number}@b.example\r\nSubject: message {number}\r\nMessage-ID: <{number}@b.example>\r\n"
            f"Date: Mon, 23 Nov 2026 20:11:05 +0000\r\n\r\n" + body).encode()


def login(port, user, password="secret"):
    client = imaplib.IMAP4("127.0.0.1", port)
    client.login(user, password)
    return client


def home_login(home, account=BOB):
    context = home.tls()
    context.check_hostname = False
    client = imaplib.IMAP4_SSL("127.0.0.1", home.port("imaps"), ssl_context=context)
    client.login(account, home.passwords[account])
    return client


def fill(client, folder, numbers, size=0):
    if folder != "INBOX":
        client.create(folder)
        client.subscribe(folder)
    for n in numbers:
        flags = f"({FLAGS[n % len(FLAGS)]} {KEYWORDS[n % len(KEYWORDS)]})".replace("( ", "(").replace(" )", ")")
        date = f'"{n % 28 + 1:02d}-Mar-2019 03:04:{n % 60:02d} +0200"'
        status, answer = client.append(folder, flags, date, message(n, size))
        assert status == "OK", answer


def contents(client, folder):
    """Each message as (digest, flags, date), sorted."""
    status, answer = client.select(folder, readonly=True)
    assert status == "OK", (folder, answer)
    if int(answer[0]) == 0:
        return []
    out = []
    for part in client.uid("FETCH", "1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")[1]:
        if not isinstance(part, tuple):
            if out and b"FLAGS" in part:  # Dovecot may put them behind the body
                head, octets = last
                out[-1] = entry(head + part, octets)
            continue
        last = part
        out.append(entry(*part))
    return sorted(out)


def entry(head, octets):
    flags = re.search(rb"FLAGS \(([^)]*)\)", head)
    date = imaplib.Internaldate2tuple(head)
    names = sorted(flag.lower() for flag in flags.group(1).split() if flag.lower() != b"\\recent") if flags else None
    return hashlib.sha256(octets).hexdigest(), names, date


def same(source, target, folders):
    for there, here in folders.items():
        a, b = contents(source, there), contents(target, here)
        assert a == b, f"{there} -> {here}: {len(a)} and {len(b)} messages; first difference: " + \
            str(next(((x, y) for x, y in zip(a, b) if x != y), "the count"))


def run(home, *words, password="secret", expect=0):
    done = home.cli("import", "imap", *words, "--json", environment={"POSTHOUSE_IMPORT_PASSWORD": password}, check=False)
    assert done.returncode == expect, (done.returncode, done.stdout, done.stderr)
    return json.loads(done.stdout) if done.stdout else done.stderr


FOLDERS = {"INBOX": "INBOX", "Work": "Work", "Work.2024": "Work/2024", "Gesendet": "Sent", "Entw&APw-rfe": "Drafts",
           "&ZeVnLIqe-": "&ZeVnLIqe-", "empty": "empty"}


def test_dovecot(home, port):
    source, target = login(port, "alice"), home_login(home)
    fill(source, "INBOX", range(520))
    for at, folder in enumerate(list(FOLDERS)[1:-1]):
        fill(source, folder, range(1000 + 20 * at, 1000 + 20 * at + 15))
    fill(source, "empty", [])
    fill(source, "INBOX", [5000], size=12 << 20)
    url = f"imap+plain://alice@127.0.0.1:{port}"
    first = run(home, BOB, url)
    assert first["taken"] == 596 and first["failed"] == 0 and first["complete"], first
    same(source, target, FOLDERS)
    subscribed = [line.split()[-1].strip(b'"') for line in target.lsub()[1]]
    assert b"Work/2024" in subscribed and b"empty" in subscribed, subscribed
    print("first run: octets, flags, keywords, dates, names, subscriptions")

    again = run(home, BOB, url)
    assert again["taken"] == 0 and again["flags_changed"] == 0 and again["removed"] == 0, again
    same(source, target, FOLDERS)
    print("second run: nothing new")

    source.select("INBOX")
    source.uid("STORE", "10:20", "+FLAGS.SILENT", "(\\Flagged later)")
    source.uid("STORE", "30:35", "-FLAGS.SILENT", "(\\Seen \\Draft \\Flagged \\Answered)")
    source.uid("STORE", "1:521", "-FLAGS.SILENT", "(\\Deleted)")
    source.uid("STORE", "100:109", "+FLAGS.SILENT", "(\\Deleted)")
    source.expunge()
    fill(source, "INBOX", range(600, 610))
    third = run(home, BOB, url)
    assert third["taken"] == 10 and third["removed"] == 0 and third["flags_changed"] > 10, third
    assert len(contents(target, "INBOX")) == 531
    fourth = run(home, BOB, url, "--delete")
    assert fourth["taken"] == 0 and fourth["removed"] == 10, fourth
    same(source, target, FOLDERS)
    fifth = run(home, BOB, url, "--delete")
    assert fifth["removed"] == 0 and fifth["taken"] == 0, fifth
    print("flags, new and vanished messages follow")

    source.logout()
    target.logout()


def test_new_validity(home, port, root):
    """The source numbers everything anew: nothing is taken twice."""
    source, target = login(port, "alice"), home_login(home)
    before = contents(target, "Work")
    source.select("Work")
    assert source.rename("Work", "Other")[0] == "OK"
    assert source.create("Work")[0] == "OK"
    source.select("Other")
    assert source.copy("1:*", "Work")[0] == "OK"
    moved = run(home, BOB, f"imap+plain://alice@127.0.0.1:{port}", "--folder", "Work")
    assert moved["taken"] == 0 and moved["known"] == 15, moved
    assert contents(target, "Work") == before
    print("a new UIDVALIDITY makes no duplicates")
    source.logout()
    target.logout()


def test_choice(home, port):
    home.add_account("carol@home.example")
    target = home_login(home, "carol@home.example")
    url = f"imap+plain://alice@127.0.0.1:{port}"
    some = run(home, "carol@home.example", url, "--into", "Old mail", "--folder", "Work/*", "--exclude", "Work/2024")
    assert some["folders"] == 1 and some["taken"] == 15, some
    assert len(contents(target, '"Old mail/Work"')) == 15
    wrong = home.cli("import", "imap", "carol@home.example", url, "--folder", "Nowhere", check=False,
                     environment={"POSTHOUSE_IMPORT_PASSWORD": "secret"})
    assert wrong.returncode == 1 and "Nowhere" in wrong.stderr, wrong.stderr
    print("--into, --folder, --exclude")
    target.logout()


def test_kill(home, port):
    account = "dora@home.example"
    home.add_account(account)
    source = login(port, "dora")
    fill(source, "INBOX", range(1500), size=20_000)
    target = home_login(home, account)
    words = [BINARY, "import", "imap", account, f"imap+plain://dora@127.0.0.1:{port}", "--config", str(home.config_file)]
    kills = 0
    while True:
        process = subprocess.Popen(words, env={**os.environ, "POSTHOUSE_IMPORT_PASSWORD": "secret"},
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = count(target)
        while process.poll() is None and count(target) < before + 150:
            pass
        if process.poll() is not None:
            assert process.returncode == 0
            break
        process.send_signal(signal.SIGKILL if kills % 2 == 0 else signal.SIGINT)
        process.wait()
        kills += 1
    assert kills > 0
    same(source, target, {"INBOX": "INBOX"})
    last = run(home, account, f"imap+plain://dora@127.0.0.1:{port}")
    assert last["taken"] == 0, last
    print(f"killed or interrupted {kills} times: complete, nothing twice")
    source.logout()
    target.logout()


def count(client):
    return int(re.search(rb"MESSAGES (\d+)", client.status("INBOX", "(MESSAGES)")[1][0]).group(1))


def test_accounts(home, port):
    with tempfile.TemporaryDirectory() as folder:
        for name in ("erin", "finn", "gita"):
            home.add_account(f"{name}@home.example")
            client = login(port, name)
            fill(client, "INBOX", range(20))
            client.logout()
        (pathlib.Path(folder) / "secret").write_text("secret\n")
        table = pathlib.Path(folder) / "accounts.csv"
        table.write_text("account,source,password\n"
                         f"erin@home.example,imap+plain://erin@127.0.0.1:{port},secret\n"
                         f"finn@home.example,imap+plain://finn@127.0.0.1:{port},wrong\n"
                         f"gita@home.example,imap+plain://gita@127.0.0.1:{port},file:{folder}/secret\n"
                         f"nobody@home.example,imap+plain://gita@127.0.0.1:{port},secret\n"
                         "bad line\n")
        table.chmod(0o600)
        rows = run(home, "--accounts", str(table), "--at-once", "3", expect=1)
        by = {row["account"]: row for row in rows}
        assert by["erin@home.example"]["taken"] == by["gita@home.example"]["taken"] == 20, rows
        assert by["finn@home.example"]["taken"] == 0 and "password" in by["finn@home.example"]["error"], rows
        assert "no account" in by["nobody@home.example"]["error"] and len(rows) == 5, rows
    print("a list of accounts: a bad one stops no other")


def test_posthouse(home, port):
    """Another Posthouse as the source: TLS, STARTTLS, and a certificate that cannot be trusted."""
    with house(hostname="mail.old.example", domain="old.example", account="hans@old.example") as old:
        context = old.tls()
        context.check_hostname = False
        source = imaplib.IMAP4_SSL("127.0.0.1", old.port("imaps"), ssl_context=context)
        source.login(old.account, old.password)
        fill(source, "INBOX", range(50))
        fill(source, "Sent", range(60, 70))
        fill(source, "A/B", range(80, 90))
        home.add_account("hans@home.example")
        target = home_login(home, "hans@home.example")
        name = "?name=mail.old.example"
        imaps = f"imaps://hans@old.example@127.0.0.1:{old.port('imaps')}"
        refused = home.cli("import", "imap", "hans@home.example", imaps + name, check=False,
                           environment={"POSTHOUSE_IMPORT_PASSWORD": old.password})
        assert refused.returncode == 1 and "--ca-file" in refused.stderr, refused.stderr
        wrong_name = home.cli("import", "imap", "hans@home.example", imaps, "--ca-file", str(old.certificate()),
                              check=False, environment={"POSTHOUSE_IMPORT_PASSWORD": old.password})
        assert wrong_name.returncode == 1 and "?name=" in wrong_name.stderr, wrong_name.stderr
        trust = ("--ca-file", str(old.certificate()))
        first = run(home, "hans@home.example", imaps + name, *trust, password=old.password)
        assert first["taken"] == 70 and first["complete"], first
        folders = {"INBOX": "INBOX", "Sent": "Sent", "A/B": "A/B"}
        same(source, target, folders)
        again = run(home, "hans@home.example", f"imaps://hans%40old.example@127.0.0.1:{old.port('imaps')}{name}", *trust,
                    password=old.password)
        assert again["taken"] == 0, again
        clear = run(home, "hans@home.example", f"imap://hans@old.example@127.0.0.1:{old.port('imap')}{name}", *trust,
                    "--into", "Again", password=old.password)
        assert clear["taken"] == 70 and clear["complete"], clear
        # Without PLAIN the password is proved by SCRAM, bound to the connection (there is nothing else to take it).
        old.cli("capability", "off", "AUTH=PLAIN")
        for _ in range(500):
            if b"AUTH=PLAIN" not in imaplib.IMAP4_SSL("127.0.0.1", old.port("imaps"), ssl_context=context).welcome:
                break
        proved = run(home, "hans@home.example", imaps + name, *trust, "--into", "Proved", password=old.password)
        assert proved["taken"] == 70 and proved["complete"], proved
        print("another Posthouse: TLS, STARTTLS, certificates, SCRAM")
        source.logout()
        target.logout()


def main():
    why = peers.why_no_dovecot()
    if why:
        skip(why)
    with contextlib.ExitStack() as stack:
        port, _, root = stack.enter_context(peers.dovecot())
        home = stack.enter_context(house())
        home.add_account(BOB)
        test_dovecot(home, port)
        test_new_validity(home, port, root)
        test_choice(home, port)
        test_kill(home, port)
        test_accounts(home, port)
        test_posthouse(home, port)


if __name__ == "__main__":
    main()
