#!/usr/bin/env python3
"""Real clients against a real server: swaks and curl send, curl, imaplib, mbsync and getmail read; what was fetched is
octet for octet what was sent, trace fields apart."""
import imaplib
import mailbox
import pathlib
import re
import smtplib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import house, need  # noqa: E402

BODY = "Subject: {subject}\r\nFrom: Alice <alice@home.example>\r\nTo: Bob <bob@home.example>\r\n" \
       "Date: Mon, 23 Nov 2026 20:11:05 +0000\r\nMessage-ID: <{subject}@home.example>\r\n\r\n" \
       "Dear Bob,\r\n.a line that starts with a dot\r\n..two of them\r\n.\r\ngr\u00fc\u00dfe\r\n"
PASSWORD = "correct horse battery"


def message(subject):
    return BODY.format(subject=subject).encode()


def run(*words, stdin=None):
    done = subprocess.run(words, input=stdin, capture_output=True, timeout=120)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, words))}\nended with {done.returncode}\n"
                             f"{done.stdout.decode(errors='replace')}\n{done.stderr.decode(errors='replace')}")
    return done.stdout


def without_trace(octets):
    """The message without the fields that delivery puts on top (RFC 5321 4.4)."""
    head, blank, body = octets.partition(b"\r\n\r\n")
    fields = re.split(rb"\r\n(?![ \t])", head)
    kept = [field for field in fields if not re.match(rb"(?i)(Return-Path|Received|Authentication-Results):", field)]
    return b"\r\n".join(kept) + blank + body


def login(home, account="bob@home.example"):
    client = imaplib.IMAP4_SSL("127.0.0.1", home.port("imaps"), ssl_context=loose(home))
    client.login(account, home.passwords[account])
    return client


def loose(home):
    """Chain checked; the name is not, since clients dial 127.0.0.1."""
    context = home.tls()
    context.check_hostname = False
    return context


def fetch(home, subject):
    client = login(home)
    client.select("INBOX", readonly=True)
    found = client.uid("SEARCH", "HEADER", "Message-ID", f"<{subject}@home.example>")[1][0].split()
    assert len(found) == 1, (subject, found)
    octets = client.uid("FETCH", found[0], "(BODY.PEEK[])")[1][0][1]
    client.logout()
    return octets


def check_swaks(home):
    run("swaks", "--server", "127.0.0.1", "--port", str(home.port("smtp")), "--from", "carol@world.example",
        "--to", "bob@home.example", "--helo", "client.world.example", "--data", "-", stdin=message("swaks-plain"))
    run("swaks", "--server", "127.0.0.1", "--port", str(home.port("submission")), "--tls", "--auth", "PLAIN",
        "--auth-user", home.account, "--auth-password", home.password, "--from", home.account,
        "--to", "bob@home.example", "--data", "-", stdin=message("swaks-submission"))
    run("swaks", "--server", "127.0.0.1", "--port", str(home.port("submissions")), "--tls-on-connect", "--auth", "LOGIN",
        "--auth-user", home.account, "--auth-password", home.password, "--from", home.account,
        "--to", "bob@home.example", "--data", "-", stdin=message("swaks-implicit"))
    for subject in ("swaks-plain", "swaks-submission", "swaks-implicit"):
        got = without_trace(fetch(home, subject))
        # swaks ends a message that does not end with a line end of its own; ours does
        assert got.rstrip(b"\r\n") == message(subject).rstrip(b"\r\n"), (subject, got)


def check_curl(home):
    run("curl", "-sS", "--ssl-reqd", "--cacert", str(home.certificate()), "--resolve",
        f"{home.hostname}:{home.port('submission')}:127.0.0.1", f"smtp://{home.hostname}:{home.port('submission')}",
        "--mail-from", home.account, "--mail-rcpt", "bob@home.example", "--user", f"{home.account}:{home.password}",
        "-T", "-", stdin=message("curl"))
    assert without_trace(fetch(home, "curl")) == message("curl")
    where = f"imaps://{home.hostname}:{home.port('imaps')}"
    resolve = ["--resolve", f"{home.hostname}:{home.port('imaps')}:127.0.0.1", "--cacert", str(home.certificate()),
               "--user", f"bob@home.example:{PASSWORD}"]
    listed = run("curl", "-sS", *resolve, where).decode()
    for name in ("INBOX", "Drafts", "Sent", "Junk", "Trash", "Archive"):
        assert re.search(rf'\* LIST \([^)]*\) "/" "?{name}"?\r\n', listed), (name, listed)
    count = len(run("curl", "-sS", *resolve, f"{where}/INBOX?ALL").split()) - 2
    octets = run("curl", "-sS", *resolve, f"{where}/INBOX;MAILINDEX={count}")
    assert without_trace(octets) == message("curl"), octets


def check_smtplib(home):
    """Several recipients, one of them unknown; SMTPUTF8; the address of nobody is refused."""
    with smtplib.SMTP("127.0.0.1", home.port("smtp"), local_hostname="client.world.example") as client:
        refused = client.sendmail("carol@world.example", ["bob@home.example", "nobody@home.example"], message("two"))
        assert list(refused) == ["nobody@home.example"] and refused["nobody@home.example"][0] == 550, refused
        try:
            client.sendmail("carol@world.example", ["dave@elsewhere.example"], message("relay"))
            raise AssertionError("an open relay")
        except smtplib.SMTPRecipientsRefused as refusal:
            assert refusal.recipients["dave@elsewhere.example"][0] in (550, 554), refusal.recipients
    assert without_trace(fetch(home, "two")) == message("two")


def check_mbsync(home):
    maildir = home.folder / "mbsync"
    maildir.mkdir()
    config = home.folder / "mbsyncrc"
    config.write_text(
        f"IMAPStore far\nHost 127.0.0.1\nPort {home.port('imaps')}\nUser bob@home.example\nPass \"{PASSWORD}\"\n"
        f"SSLType IMAPS\nCertificateFile {home.certificate()}\n\n"
        f"MaildirStore near\nPath {maildir}/\nInbox {maildir}/INBOX\nSubFolders Verbatim\n\n"
        "Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\nSync All\n"
        "SyncState *\n")
    # The certificate is for the host name; mbsync dials 127.0.0.1, so it must be one of its known certificates.
    run("mbsync", "-c", str(config), "-a")
    local = mailbox.Maildir(str(maildir / "INBOX"), create=False)
    assert len(local) == len_inbox(home), (len(local), len_inbox(home))
    assert {folder.name for folder in maildir.iterdir() if folder.is_dir()} >= {"INBOX", "Sent", "Drafts", "Trash"}
    # Two-way: a flag and a removal here, a new message there.
    keys = list(local.keys())
    flagged, removed = local.get_message(keys[0]), keys[1]
    subject = flagged["Subject"]
    flagged.set_subdir("cur")
    flagged.add_flag("F")
    local[keys[0]] = flagged
    local.remove(removed)
    before = len_inbox(home)
    run("mbsync", "-c", str(config), "-a")
    assert len_inbox(home) == before - 1
    client = login(home)
    client.select("INBOX")
    assert len(client.search(None, "FLAGGED", "SUBJECT", subject)[1][0].split()) == 1
    client.append("INBOX", "(\\Seen)", None, message("appended"))
    client.logout()
    run("mbsync", "-c", str(config), "-a")
    local = mailbox.Maildir(str(maildir / "INBOX"), create=False)
    assert "appended" in [each["Subject"] for each in local]


def len_inbox(home):
    client = login(home)
    count = int(client.select("INBOX", readonly=True)[1][0])
    client.logout()
    return count


def check_getmail(home):
    folder = home.folder / "getmail"
    folder.mkdir()
    state = home.folder / "getmail-state"
    state.mkdir()
    (state / "getmailrc").write_text(
        f"[retriever]\ntype = SimpleIMAPSSLRetriever\nserver = 127.0.0.1\nport = {home.port('imaps')}\n"
        f"username = bob@home.example\npassword = {PASSWORD}\nmailboxes = (\"INBOX\",)\n\n"
        "[destination]\ntype = MDA_external\npath = /bin/sh\nunixfrom = false\nallow_root_commands = true\n"
        f"arguments = (\"-c\", \"cat > {folder}/message.$$\")\n\n"
        "[options]\nread_all = true\ndelete = false\ndelivered_to = false\nreceived = false\n")
    run("getmail", "--getmaildir", str(state), "--rcfile", "getmailrc")
    got = [path.read_bytes() for path in folder.iterdir()]
    assert len(got) == len_inbox(home), (len(got), len_inbox(home))
    assert any(b"\n..two of them\n" in octets for octets in got)


def main():
    need("swaks", "curl", "mbsync", "getmail")
    with house() as home:
        home.add_account("bob@home.example", PASSWORD)
        for check in (check_swaks, check_curl, check_smtplib, check_mbsync, check_getmail):
            check(home)
            print(f"{check.__name__[6:]}: good", flush=True)


main()
