#!/usr/bin/env python3
"""Mail comes in from Maildir and mbox and goes out again: octet for octet, readable by others, killed and taken up.

Python's mailbox module, and Dovecot where it is installed, write what is imported and read what is exported.
"""
import hashlib
import imaplib
import json
import mailbox
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import BINARY, conformance, house  # noqa: E402
from outside import loose, until  # noqa: E402

KILLED_MESSAGES = 4000


def corpus():
    """The octets of every mail of the MIME corpora, in CRLF."""
    out = [re.sub(rb"\r?\n", b"\r\n", path.read_bytes()) for path in sorted(conformance().glob("mime-*/**/*"))
           if path.suffix in (".eml", ".msg")]
    out = [octets for octets in out if octets]
    assert len(out) >= 118, len(out)
    return out


def take(home, kind, account, path, *words, code=0):
    done = home.cli("import", kind, account, str(path), "--json", *words, check=False)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return json.loads(done.stdout)


def write_out(home, account, path, *words, code=0):
    done = home.cli("export", account, str(path), "--json", *words, check=False)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return json.loads(done.stdout)


def login(home, account):
    client = imaplib.IMAP4_SSL("127.0.0.1", home.port("imaps"), ssl_context=loose(home))
    client.login(account, home.passwords[account])
    return client


def fetch_all(home, account, folder="INBOX"):
    """[(line with the flags, octets)] by UID."""
    client = login(home, account)
    client.select(f'"{folder}"', readonly=True)
    parts = client.fetch("1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[])")[1]
    client.logout()
    return [part for part in parts if isinstance(part, tuple)]


def digests(messages):
    return sorted(hashlib.sha256(octets).hexdigest() for octets in messages)


def check_corpus(home, mails):
    source = home.folder / "corpus"
    box = mailbox.Maildir(source)
    for number, octets in enumerate(mails):
        (source / "cur" / f"{1500000000 + number}.m{number}.host:2,{'S' if number % 2 else 'F'}").write_bytes(octets)
    done = take(home, "maildir", home.account, source)
    assert (done["taken"], done["failed"]) == (len(mails), 0), done
    assert take(home, "maildir", home.account, source)["known"] == len(mails)
    assert digests(octets for _, octets in fetch_all(home, home.account)) == digests(mails)
    for kind in ("maildir", "mbox"):
        target, account = home.folder / f"out-{kind}", f"back-{kind}@home.example"
        home.add_account(account)
        done = write_out(home, home.account, target, "--format", kind)
        assert (done["written"], done["failed"]) == (len(mails), 0), done
        read = mailbox.Maildir(target, create=False) if kind == "maildir" else mailbox.mbox(target / "INBOX.mbox")
        assert len(read) == len(mails), (kind, len(read))
        assert sum("S" in message.get_flags() or "R" in message.get_flags() for message in read) == len(mails) // 2
        assert take(home, kind, account, target)["taken"] == len(mails)
        back = fetch_all(home, account)
        assert digests(octets for _, octets in back) == digests(mails), kind
        assert sum(b"\\Flagged" in line for line, _ in back) == len(mails) - len(mails) // 2
        print(f"{len(mails)} mails out as {kind} and in again: the same octets, flags", flush=True)
    again = write_out(home, home.account, home.folder / "out-maildir")
    assert (again["written"], again["known"]) == (0, len(mails)), again
    box.close()


def check_idle(home):
    """A session that idles sees imported mail at once."""
    account = "idle@home.example"
    home.add_account(account)
    client = login(home, account)
    client.select("INBOX")
    client.send(b"i1 IDLE\r\n")
    assert client.readline().startswith(b"+")
    box = mailbox.mbox(home.folder / "idle.mbox")
    for number in range(10):
        box.add(mailbox.mboxMessage(f"Subject: {number}\n\nbody\n"))
    box.close()
    assert take(home, "mbox", account, home.folder / "idle.mbox", "--into", "INBOX")["taken"] == 10
    line = client.readline()
    while b"10 EXISTS" not in line:
        line = client.readline()
        assert line, "the session ended"
    client.send(b"DONE\r\n")
    client.shutdown()
    print("an idling session sees imported mail", flush=True)


def check_killed(home):
    """kill -9 in the middle, again and again: what is missing comes, and nothing comes twice."""
    account = "killed@home.example"
    home.add_account(account)
    source = home.folder / "killed"
    mailbox.Maildir(source).close()
    for number in range(KILLED_MESSAGES):
        (source / "new" / f"{1500000000 + number}.k.host").write_text(f"Subject: k{number}\n\n" + "x" * 4000 + "\n")

    def used():
        return json.loads(home.cli("account", "show", account, "--json"))["messages"]

    kills = 0
    for target in (1, KILLED_MESSAGES // 3, KILLED_MESSAGES // 2):
        work = subprocess.Popen([BINARY, "import", "maildir", account, str(source), "--config", str(home.config_file)],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until("the import has begun", lambda: used() >= target or work.poll() is not None)
        work.send_signal(signal.SIGKILL)
        kills += work.wait() == -signal.SIGKILL
    before = used()
    done = take(home, "maildir", account, source)
    assert (done["known"], done["taken"]) == (before, KILLED_MESSAGES - before), (before, done)
    subjects = sorted(re.search(rb"Subject: (k\d+)", octets)[1] for _, octets in fetch_all(home, account))
    assert subjects == sorted(f"k{number}".encode() for number in range(KILLED_MESSAGES))
    print(f"{kills} kills, {before} messages there before the last run: none missing, none twice", flush=True)


def doveadm(place, mails, command, *words):
    """`command` may have two words. Dovecot works for no root, so root lends it another user and `place`."""
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.getuid())
    (place / "dovecot.conf").write_text(
        f"mail_location = {mails}\nmail_home = {place}/home\nssl = no\nlog_path = /dev/stderr\nfirst_valid_gid = 0\n"
        f"first_valid_uid = 0\nmail_uid = {user.pw_uid}\nmail_gid = {user.pw_gid}\nnamespace inbox {{\n  inbox = yes\n}}\n")
    if os.geteuid() == 0:
        for path in (place, *place.rglob("*")):
            os.chown(path, user.pw_uid, user.pw_gid)
    done = subprocess.run(["doveadm", "-c", str(place / "dovecot.conf"), *command.split(), *words], capture_output=True,
                          timeout=120, env={**os.environ, "USER": user.pw_name, "HOME": str(place / "home")}, cwd=place)
    return done.returncode, done.stdout, done.stderr


def check_dovecot(home, mails):
    """Dovecot reads our Maildir, and we read the one it writes."""
    if not shutil.which("doveadm"):
        return print("Dovecot is not installed: left out", flush=True)
    with tempfile.TemporaryDirectory(prefix="posthouse-dovecot-") as folder:
        place = pathlib.Path(folder)
        (place / "home").mkdir()
        shutil.copytree(home.folder / "out-maildir", place / "ours")
        ours = f"maildir:{place}/ours"
        code, out, error = doveadm(place, ours, "mailbox status", "messages", "*")
        if code != 0:
            return print(f"doveadm does not run here: left out ({error.decode(errors='replace').strip()[:200]})", flush=True)
        assert b"INBOX messages=%d" % len(mails) in out, out
        code, out, error = doveadm(place, ours, "search", "mailbox", "INBOX", "FLAGGED")
        assert code == 0 and len(out.splitlines()) == len(mails) - len(mails) // 2, (code, out, error)
        code, _, error = doveadm(place, f"maildir:{place}/wrote", "import", ours, "", "ALL")
        assert code == 0, error
        account = "dovecot@home.example"
        home.add_account(account)
        done = take(home, "maildir", account, place / "wrote")
    assert (done["taken"], done["failed"]) == (len(mails), 0), done
    got = digests(octets for _, octets in fetch_all(home, account))
    # What has other line ends than CRLF alone is Dovecot's to write as it likes.
    plain = [octets for octets in mails if not re.search(rb"(?<!\r)\n|\r(?!\n)", octets)]
    lost = set(digests(plain)) - set(got)
    assert not lost, f"{len(lost)} mails of Dovecot's Maildir came otherwise"
    return print(f"Dovecot counts our {len(mails)} messages; its own Maildir comes in whole", flush=True)


def check_refusals(home):
    inside = home.cli("export", home.account, str(home.data / "out"), check=False)
    assert inside.returncode == 1 and "data directory" in inside.stderr, inside
    missing = home.cli("import", "maildir", "nobody@home.example", str(home.folder), check=False)
    assert missing.returncode == 1 and "there is no account" in missing.stderr, missing
    home.cli("account", "quota", "killed@home.example", "--messages", str(KILLED_MESSAGES + 5))
    box = mailbox.mbox(home.folder / "more.mbox")
    for number in range(20):
        box.add(mailbox.mboxMessage(f"Subject: more {number}\n\nbody\n"))
    box.close()
    done = take(home, "mbox", "killed@home.example", home.folder / "more.mbox", code=1)
    assert done["taken"] == 5 and "posthouse account quota" in done["error"], done
    print("what cannot be is refused with a sentence", flush=True)


def main():
    mails = corpus()
    with house() as home:
        check_corpus(home, mails)
        check_idle(home)
        check_killed(home)
        check_dovecot(home, mails)
        check_refusals(home)


main()
