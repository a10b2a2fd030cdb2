#!/usr/bin/env python3
"""Clients people read mail with, without a screen: offlineimap and interimap synchronise both ways, imapfilter sorts
and waits in IDLE, neomutt and aerc are typed at within tmux. What they did is judged by what another session finds.

interimap speaks CONDSTORE and QRESYNC between two servers of ours, and between ours and Dovecot.
"""
import contextlib
import imaplib
import mailbox
import os
import pathlib
import subprocess
import sys
import time
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import peers  # noqa: E402
from house import house, need  # noqa: E402

ACCOUNT, PASSWORD = "bob@home.example", "correct horse battery"
SCREEN_SECONDS_MAX = 60


def message(subject):
    return (f"Subject: {subject}\r\nFrom: Carol <carol@world.example>\r\nTo: Bob <{ACCOUNT}>\r\n"
            f"Date: Mon, 23 Nov 2026 20:11:05 +0000\r\nMessage-ID: <{subject}@world.example>\r\n\r\n"
            f"the text of {subject}\r\n").encode()


def run(*words, environment=None):
    done = subprocess.run(words, capture_output=True, timeout=120, env={**os.environ, **(environment or {})})
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, words))}\nended with {done.returncode}\n"
                             f"{done.stdout.decode(errors='replace')}\n{done.stderr.decode(errors='replace')}")
    return done.stdout.decode(errors="replace")


class Foreign:
    """Another's server, in clear on loopback."""
    password = "secret"

    def __init__(self, imap_port):
        self.imap_port = imap_port

    def section(self):
        return (f"type = imap\nSTARTTLS = NO\nhost = 127.0.0.1\nport = {self.imap_port}\nusername = {ACCOUNT}\n"
                f"password = {self.password}\n")


def section_of(home):
    """What interimap must know of a server."""
    if isinstance(home, Foreign):
        return home.section()
    return (f"type = imaps\nhost = 127.0.0.1\nport = {home.port('imaps')}\nusername = {ACCOUNT}\n"
            f"password = {PASSWORD}\nSSL_verify = NO\n")


@contextlib.contextmanager
def session(home, box="INBOX"):
    if isinstance(home, Foreign):
        client = imaplib.IMAP4("127.0.0.1", home.imap_port)
        client.login(ACCOUNT, home.password)
    else:
        context = home.tls()
        context.check_hostname = False  # clients dial 127.0.0.1
        client = imaplib.IMAP4_SSL("127.0.0.1", home.port("imaps"), ssl_context=context)
        client.login(ACCOUNT, PASSWORD)
    assert client.select(box)[0] == "OK", box
    yield client
    client.logout()


def fill(home, *subjects):
    with session(home) as client:
        for subject in subjects:
            assert client.append("INBOX", None, None, message(subject))[0] == "OK"


def wait_for(holds):
    """Where no event can be waited for."""
    end = time.monotonic() + SCREEN_SECONDS_MAX
    while not holds():
        if time.monotonic() > end:
            raise AssertionError("what was waited for did not come")
        time.sleep(0.05)


def idles(home):
    with urllib.request.urlopen(f"http://127.0.0.1:{home.port('http')}/metrics") as page:
        return "posthouse_imap_idling 1" in page.read().decode()


def found(home, box="INBOX", *keys):
    """The subjects of what SEARCH finds, in order of the UIDs."""
    with session(home, box) as client:
        out = []
        for uid in client.uid("SEARCH", *(keys or ("ALL",)))[1][0].split():
            head = client.uid("FETCH", uid, "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1][0][1]
            out.append(head.decode().partition(":")[2].strip())
        return out


def check_offlineimap(home):
    fill(home, "offline-1", "offline-2", "offline-3")
    folder = home.folder / "offlineimap"
    folder.mkdir()
    config = folder / "rc"
    config.write_text(
        f"[general]\naccounts = bob\nmetadata = {folder}/state\nui = basic\n\n"
        "[Account bob]\nlocalrepository = near\nremoterepository = far\n\n"
        f"[Repository near]\ntype = Maildir\nlocalfolders = {folder}/mail\n\n"
        f"[Repository far]\ntype = IMAP\nremotehost = 127.0.0.1\nremoteport = {home.port('imaps')}\n"
        f"remoteuser = {ACCOUNT}\nremotepass = {PASSWORD}\nssl = yes\n"
        f"cert_fingerprint = {fingerprint(home, 'sha512')}\n")
    words = ("offlineimap", "-o", "-c", str(config))
    run(*words)
    local = mailbox.Maildir(str(folder / "mail" / "INBOX"), create=False)
    subjects = {local[key]["Subject"]: key for key in local.keys()}
    assert {"offline-1", "offline-2", "offline-3"} <= set(subjects), subjects
    # A flag and a removal here, a new message on both sides.
    flagged = local.get_message(subjects["offline-1"])
    flagged.set_subdir("cur")
    flagged.add_flag("F")
    local[subjects["offline-1"]] = flagged
    local.remove(subjects["offline-2"])
    local.add(mailbox.MaildirMessage(message("offline-near").replace(b"\r\n", b"\n")))
    fill(home, "offline-far")
    run(*words)
    run(*words)
    assert found(home, "INBOX", "FLAGGED") == ["offline-1"]
    there = found(home)
    assert "offline-2" not in there and there.count("offline-near") == 1, there
    local = mailbox.Maildir(str(folder / "mail" / "INBOX"), create=False)
    assert sorted(each["Subject"] for each in local) == sorted(there)


def fingerprint(home, kind):
    line = run("openssl", "x509", "-noout", "-fingerprint", f"-{kind}", "-in", str(home.certificate()))
    return line.strip().partition("=")[2].replace(":", "").lower()


def check_interimap(home):
    """Every change of either side is on the other after one run."""
    with house() as other:
        other.add_account(ACCOUNT, PASSWORD)
        check_pair(home, other, "inter")
    if why := peers.why_no_dovecot():
        print(f"  not with Dovecot: {why}", flush=True)
        return
    with peers.dovecot() as (imap_port, _, _):
        check_pair(home, Foreign(imap_port), "dove")


def check_pair(home, other, word):
    fill(home, f"{word}-1", f"{word}-2", f"{word}-3")
    folder = home.folder / f"interimap-{word}"
    for name in ("config/interimap", "data/interimap"):
        (folder / name).mkdir(parents=True)
        (folder / name).chmod(0o700)
    config = folder / "config" / "interimap" / "config"
    config.write_text(f"database = both.db\nlist-mailbox = INBOX\n\n[local]\n{section_of(home)}\n"
                      f"[remote]\n{section_of(other)}")
    config.chmod(0o600)
    environment = {"XDG_CONFIG_HOME": str(folder / "config"), "XDG_DATA_HOME": str(folder / "data"), "HOME": str(folder)}

    def synchronise():
        run("interimap", environment=environment)
        assert sorted(found(home)) == sorted(found(other)), (found(home), found(other))

    synchronise()
    with session(other) as client:
        client.store(client.search(None, "SUBJECT", f"{word}-1")[1][0].decode(), "+FLAGS", "(\\Answered)")
        client.store(client.search(None, "SUBJECT", f"{word}-2")[1][0].decode(), "+FLAGS", "(\\Deleted)")
        client.expunge()
    fill(other, f"{word}-far")
    fill(home, f"{word}-near")
    synchronise()
    assert found(home, "INBOX", "ANSWERED", "SUBJECT", word) == [f"{word}-1"]
    assert f"{word}-2" not in found(home)
    assert {f"{word}-far", f"{word}-near"} <= set(found(home))
    with session(home) as client:
        client.store(client.search(None, "SUBJECT", f"{word}-3")[1][0].decode(), "+FLAGS", "(\\Deleted)")
        client.expunge()
    synchronise()
    assert f"{word}-3" not in found(other)
    # Both sides change the same message before they meet.
    for side, flag in ((home, "\\Flagged"), (other, "\\Seen")):
        with session(side) as client:
            client.store(client.search(None, "SUBJECT", f"{word}-near")[1][0].decode(), "+FLAGS", f"({flag})")
    synchronise()
    synchronise()
    for side in (home, other):
        assert found(side, "INBOX", "FLAGGED", "SEEN", "SUBJECT", word) == [f"{word}-near"], side


class Screen:
    """A program in a tmux of its own: keys go in, and what is on the screen is waited for."""

    def __init__(self, folder, command):
        self.socket = str(folder / "tmux")
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "40", command)

    def tmux(self, *words):
        return run("tmux", "-S", self.socket, *words, environment={"TERM": "xterm", "LC_ALL": "C.UTF-8"})

    def see(self, text):
        end = time.monotonic() + SCREEN_SECONDS_MAX
        while text not in (shown := self.tmux("capture-pane", "-p")):
            if time.monotonic() > end:
                raise AssertionError(f"'{text}' did not come to the screen:\n{shown}")
            time.sleep(0.05)  # tmux tells nobody when the screen changes

    def keys(self, *keys):
        self.tmux("send-keys", *keys)

    def close(self):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], capture_output=True, timeout=60)


def check_neomutt(home):
    """Open, read, flag, save into another mailbox, delete, and write the changes."""
    with session(home) as client:  # only its own messages, so that places on the screen are known
        client.store("1:*", "+FLAGS", "(\\Deleted)")
        client.expunge()
    fill(home, "mutt-1", "mutt-2", "mutt-3", "mutt-4")
    folder = home.folder / "neomutt"
    folder.mkdir()
    account = ACCOUNT.replace("@", "%40")
    config = folder / "rc"
    config.write_text(
        f'set imap_user = "{ACCOUNT}"\nset imap_pass = "{PASSWORD}"\nset folder = "imaps://{account}@127.0.0.1:'
        f'{home.port("imaps")}/"\nset spoolfile = "+INBOX"\nset certificate_file = "{home.certificate()}"\n'
        f'set ssl_verify_host = no\nset ssl_verify_dates = no\nset confirmappend = no\nset confirmcreate = no\n'
        f'set delete = yes\nset quit = yes\nset sort = mailbox-order\nset mark_old = no\nset imap_qresync = yes\n'
        f'set imap_condstore = yes\nset header_cache = "{folder}/cache"\nset resolve = no\nset wait_key = no\n'
        f'set auto_tag = no\nset record = ""\nset pager_stop = yes\n')
    screen = Screen(folder, f"env HOME={folder} neomutt -n -F {config}")
    try:
        screen.see("mutt-4")
        screen.keys("1", "Enter", "Enter")
        screen.see("the text of mutt-1")
        screen.keys("i")
        screen.see("mutt-4")
        screen.keys("2", "Enter", "F")
        screen.keys("3", "Enter", "d")
        screen.keys("4", "Enter", "s")
        screen.see("Save to mailbox")
        screen.keys("C-u")
        screen.keys("-l", "=Archive")
        screen.keys("Enter")
        screen.keys("$")
        screen.see("Msgs:2")
        screen.keys("q")
    finally:
        screen.close()
    assert found(home) == ["mutt-1", "mutt-2"], found(home)
    assert found(home, "INBOX", "SEEN") == ["mutt-1"], found(home, "INBOX", "SEEN")
    assert found(home, "INBOX", "FLAGGED") == ["mutt-2"]
    assert found(home, "Archive") == ["mutt-4"]


FILTER = """\
options.timeout = 30
options.certificates = false
options.expunge = true
account = IMAP {{ server = '127.0.0.1', port = {port}, username = '{account}', password = '{password}', ssl = 'auto' }}
account:create_mailbox('Lists/Größe')
account.INBOX:contain_subject('filter-1'):mark_flagged()
account.INBOX:contain_subject('filter-2'):move_messages(account['Lists/Größe'])
old = account.INBOX:is_older(3000) + account.INBOX:contain_body('the text of filter-3') * account.INBOX:is_unseen()
old:copy_messages(account.Archive)
old:delete_messages()
io.open('{folder}/sorted', 'w'):close()
account.INBOX:enter_idle()
new = account.INBOX:contain_subject('filter-new')
new:mark_seen()
"""


def check_imapfilter(home):
    """Sorts what is there, then waits in IDLE and deals with what comes."""
    fill(home, "filter-1", "filter-2", "filter-3", "filter-4")
    folder = home.folder / "imapfilter"
    folder.mkdir()
    config = folder / "config.lua"
    config.write_text(FILTER.format(port=home.port("imaps"), account=ACCOUNT, password=PASSWORD, folder=folder))
    words = ("imapfilter", "-t", str(home.certificate()), "-c", str(config))
    environment = {**os.environ, "HOME": str(folder)}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as program:
        try:
            wait_for(lambda: (folder / "sorted").exists() or program.poll() is not None)
            assert program.poll() is None, program.stdout.read()
            assert found(home) == ["filter-1", "filter-4"], found(home)
            assert found(home, "INBOX", "FLAGGED") == ["filter-1"]
            assert found(home, "Lists/Gr&APYA3w-e") == ["filter-2"]
            assert found(home, "Archive") == ["filter-3"]
            wait_for(lambda: idles(home))
            fill(home, "filter-new")
            said = program.communicate(timeout=60)[0]
            assert program.returncode == 0, said
        finally:
            program.kill()
    assert found(home, "INBOX", "SEEN") == ["filter-new"]


def check_aerc(home):
    """Read, flag, move, delete, send with a copy in Sent, and see at once what another session puts in."""
    with session(home) as client:
        client.store("1:*", "+FLAGS", "(\\Deleted)")
        client.expunge()
    fill(home, "aerc-1", "aerc-2", "aerc-3", "aerc-4")
    folder = home.folder / "aerc"
    config = folder / "config" / "aerc"
    config.mkdir(parents=True)
    login = f"{urllib.parse.quote(ACCOUNT, safe='')}:{urllib.parse.quote(PASSWORD, safe='')}@127.0.0.1"
    accounts = config / "accounts.conf"
    accounts.write_text(f"[bob]\nsource = imaps://{login}:{home.port('imaps')}\nfrom = Bob <{ACCOUNT}>\n"
                        f"outgoing = smtps://{login}:{home.port('submissions')}\ncopy-to = Sent\n")
    accounts.chmod(0o600)
    (config / "aerc.conf").write_text("[compose]\neditor = true\n[viewer]\npager = less\n[filters]\ntext/plain = cat\n")
    places = " ".join(f"XDG_{name}={folder}" for name in ("DATA_HOME", "RUNTIME_DIR", "CACHE_HOME", "STATE_HOME"))
    screen = Screen(folder, f"env HOME={folder} XDG_CONFIG_HOME={folder}/config {places} "
                            f"SSL_CERT_FILE={home.certificate()} aerc")

    def command(text, answer):
        screen.keys("-l", f":{text}")
        screen.keys("Enter")
        screen.see(answer)

    try:
        screen.see("aerc-1")  # the newest is above, and chosen
        command("view", "the text of aerc-4")
        command("close", "aerc-1")
        command("flag", "'flagged' successful")
        screen.keys("-l", ":next")
        screen.keys("Enter")
        command("move Archive", "moved to Archive")
        command("select 1", "aerc-2")
        command("delete-message", "Messages deleted")
        command(f'compose -H "To: <{home.account}>" -H "Subject: aerc-sent"', "Send this email?")
        screen.keys("y")
        screen.see("Message sent")
        fill(home, "aerc-pushed")
        screen.see("aerc-pushed")
        screen.keys("-l", ":quit")
        screen.keys("Enter")
    finally:
        screen.close()
    assert found(home) == ["aerc-1", "aerc-4", "aerc-pushed"], found(home)
    assert found(home, "INBOX", "SEEN", "FLAGGED") == ["aerc-4"]
    assert found(home, "Archive") == ["aerc-3"]
    assert found(home, "Sent") == ["aerc-sent"]


CHECKS = {"offlineimap": check_offlineimap, "interimap": check_interimap, "neomutt": check_neomutt, "imapfilter": check_imapfilter,
          "aerc": check_aerc}


def main():
    name = sys.argv[1]
    need(name, "openssl", *(("tmux",) if name in ("neomutt", "aerc") else ()))
    with house(certified=("IP:127.0.0.1", "DNS:mail.home.example")) as home:
        home.add_account(ACCOUNT, PASSWORD)
        CHECKS[name](home)
        print(f"{name}: good", flush=True)


main()
