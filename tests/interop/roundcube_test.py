#!/usr/bin/env python3
"""Roundcube, the web mail that most hosts offer, as people use it: a browser without a screen logs in, reads, searches,
sorts, threads, flags, moves, deletes, and sends. What it did is judged by what an IMAP session finds afterwards.

Roundcube is the distribution's, run by PHP's own server with a configuration and a database of the test's own.
"""
import contextlib
import imaplib
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from house import house, need, skip  # noqa: E402
from peers import free_port  # noqa: E402
from webdriver import ENTER, browser, why_no_browser  # noqa: E402

ACCOUNT, PASSWORD = "bob@home.example", "correct horse battery"
ROUNDCUBE = pathlib.Path("/var/lib/roundcube/public_html")
SETTINGS = pathlib.Path("/etc/roundcube")

CONFIG = """\
<?php
$config = [];
$config['db_dsnw'] = 'sqlite:///{folder}/roundcube.db?mode=0600';
$config['imap_host'] = 'ssl://127.0.0.1:{imaps}';
$config['smtp_host'] = 'ssl://127.0.0.1:{submissions}';
$config['imap_conn_options'] = ['ssl' => ['cafile' => '{certificate}']];
$config['smtp_conn_options'] = ['ssl' => ['cafile' => '{certificate}']];
$config['des_key'] = 'twenty-four-octets-of-it';
$config['plugins'] = [];
$config['skin'] = 'elastic';
$config['language'] = 'en_US';
$config['imap_cache'] = 'db';
$config['messages_cache'] = 'db';  // synchronises with CONDSTORE and QRESYNC
$config['log_dir'] = '{folder}/';
$config['temp_dir'] = '{folder}/';
$config['log_driver'] = 'file';
$config['enable_spellcheck'] = false;
$config['enable_installer'] = false;
$config['draft_autosave'] = 0;
$config['identities_level'] = 0;
"""


@contextlib.contextmanager
def roundcube(home):
    """Yields the address of a Roundcube in front of the house."""
    folder = home.folder / "roundcube"
    shutil.copytree(SETTINGS, folder, ignore=shutil.ignore_patterns("plugins"))
    (folder / "config.inc.php").write_text(CONFIG.format(folder=folder, imaps=home.port("imaps"),
                                                         submissions=home.port("submissions"),
                                                         certificate=home.certificate()))
    with contextlib.closing(sqlite3.connect(folder / "roundcube.db")) as database:
        database.executescript((ROUNDCUBE.parent / "SQL" / "sqlite.initial.sql").read_text())
    port = free_port()
    environment = {**os.environ, "ROUNDCUBE_CONFIG_DIR": str(folder), "RCUBE_CONFIG_PATH": str(folder),
                   "PHP_CLI_SERVER_WORKERS": "3"}
    with open(folder / "php.log", "wb") as log:
        server = subprocess.Popen(["php", "-S", f"127.0.0.1:{port}", "-t", str(ROUNDCUBE)], stdout=log, stderr=log,
                                  env=environment, start_new_session=True)
    address = f"http://127.0.0.1:{port}/"
    try:
        while True:  # it tells nobody when it is ready
            try:
                urllib.request.urlopen(address, timeout=60).close()
                break
            except urllib.error.HTTPError as error:
                raise AssertionError(f"Roundcube does not start: {error}") from None
            except OSError:
                assert server.poll() is None, (folder / "php.log").read_text()
        yield address
    except BaseException:
        for name in ("php.log", "errors.log"):
            if (folder / name).exists():
                print(f"---- {name}\n" + "\n".join((folder / name).read_text().splitlines()[-30:]))
        raise
    finally:
        os.killpg(server.pid, 15)  # its workers too
        server.wait(timeout=30)


@contextlib.contextmanager
def session(home, account=ACCOUNT, password=PASSWORD):
    client = imaplib.IMAP4_SSL("127.0.0.1", home.port("imaps"), ssl_context=home.tls())
    client.login(account, password)
    yield client
    client.logout()


def fill(home):
    """A thread of three, and others whose order by date, sender and subject differ."""
    rows = [("question", "Anna", 5, None), ("Re: question", "Zoe", 6, "question"),
            ("Re: question", "Anna", 7, "question"), ("banana bread", "Carol", 1, None),
            ("Äpfel für alle", "Mia", 2, None), ("cherry pie", "Bert", 3, None), ("old news", "Emil", 4, None)]
    with session(home) as client:
        for number, (subject, sender, day, parent) in enumerate(rows):
            references = f"References: <{parent}@world.example>\r\nIn-Reply-To: <{parent}@world.example>\r\n" if parent else ""
            own = subject if not parent else f"answer-{number}"
            text = (f"Subject: {subject}\r\nFrom: {sender} <{sender.lower()}@world.example>\r\nTo: Bob <{ACCOUNT}>\r\n"
                    f"Date: {day:02} Nov 2026 12:00:00 +0000\r\nMessage-ID: <{own.replace(' ', '-')}@world.example>\r\n"
                    f"{references}MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
                    f"Content-Transfer-Encoding: 8bit\r\n\r\nthe text of {subject} by {sender}\r\n")
            assert client.append("INBOX", None, None, text.encode())[0] == "OK"


def found(home, box, *keys, account=ACCOUNT, password=PASSWORD):
    with session(home, account, password) as client:
        assert client.select(box, readonly=True)[0] == "OK", box
        out = []
        for uid in client.uid("SEARCH", *(keys or ("ALL",)))[1][0].split():
            head = client.uid("FETCH", uid, "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1][0][1]
            out.append(head.decode().partition(":")[2].strip())
        return out


def expect(home, subjects, *where, **login):
    """The page answers at once and asks the server in the background."""
    end = time.monotonic() + 30
    while (there := found(home, *where, **login)) != subjects:
        assert time.monotonic() < end, f"{where}: {there} and not {subjects}"
        time.sleep(0.05)


SUBJECTS = ("return [...document.querySelectorAll('#messagelist tbody tr')].filter(e => e.offsetParent !== null)"
            ".map(e => e.querySelector('.subject a').innerText.trim())")


def see(page, *subjects):
    """Waits for a list of just these subjects in this order."""
    page.wait(f"const is = (() => {{ {SUBJECTS} }})(); return JSON.stringify(is) === JSON.stringify(arguments[0])",
              list(subjects))


def command(page, script):
    """What a button or a menu of the page runs. While it is busy it would not listen."""
    page.wait("return window.rcmail && !rcmail.busy")
    page.run(script)


def see_rows(page, count):
    page.wait(f"return (() => {{ {SUBJECTS} }})().length === arguments[0]", count)


def choose(page, subject):
    """A click on a message in the list: chosen, and shown beside it."""
    row = page.wait("const row = [...document.querySelectorAll('#messagelist tbody tr')].find(e => "
                    "e.querySelector('.subject a').innerText.trim() === arguments[0]); return row && row.id", subject)
    page.click(f"#{row} .subject a")
    page.wait("const frame = document.querySelector('#messagecontframe'); const inside = frame && frame.contentDocument;"
              "return inside && inside.body && inside.body.innerText.includes(arguments[0])", f"the text of {subject}")


def check_reading(page, address):
    page.open(address)
    page.type("#rcmloginuser", ACCOUNT)
    page.type("#rcmloginpwd", "not the password")
    page.click("#rcmloginsubmit")
    page.wait("return document.body.innerText.includes('Login failed')")
    page.type("#rcmloginuser", ACCOUNT)
    page.type("#rcmloginpwd", PASSWORD)
    page.click("#rcmloginsubmit")
    page.find("#messagelist")
    # What came last is above.
    see(page, "old news", "cherry pie", "Äpfel für alle", "banana bread", "Re: question", "Re: question", "question")
    folders = page.run("return [...document.querySelectorAll('#mailboxlist li a')].map(e => e.innerText.trim())")
    assert {"Drafts", "Sent", "Junk", "Trash", "Archive"} <= {name.split("\n")[0] for name in folders}, folders
    choose(page, "banana bread")


def check_listing(page):
    """Search, sort, and threads: the server's work."""
    page.wait("return !rcmail.busy")
    page.type("#mailsearchform", "ÄPFEL" + ENTER)
    see(page, "Äpfel für alle")
    command(page, "rcmail.command('reset-search')")
    see_rows(page, 7)
    command(page, "rcmail.set_list_options(null, 'subject', 'ASC', 0, null)")
    see(page, "Äpfel für alle", "banana bread", "cherry pie", "old news", "question", "Re: question", "Re: question")
    command(page, "rcmail.set_list_options(null, 'from', 'DESC', 0, null)")
    page.wait(f"const is = (() => {{ {SUBJECTS} }})(); return is[0] === 'Re: question' && is[1] === 'Äpfel für alle'")
    command(page, "rcmail.set_list_options(null, 'date', 'DESC', 1, null)")
    page.wait("return rcmail.env.threading && document.querySelector('#messagelist tr.thread')")
    command(page, "rcmail.command('expand-all')")
    depths = page.wait("const rows = Object.values(rcmail.message_list.rows).map(row => row.depth || 0);"
                       "return rows.length === 7 && rows.filter(depth => depth === 1).length === 2 && rows")
    assert depths.count(0) == 5, depths
    command(page, "rcmail.set_list_options(null, 'date', 'DESC', 0, null)")
    see(page, "Re: question", "Re: question", "question", "old news", "cherry pie", "Äpfel für alle", "banana bread")


def check_changing(page, home):
    choose(page, "cherry pie")
    command(page, "rcmail.command('mark', 'flagged')")
    page.wait("return document.querySelector('#messagelist tr.flagged')")
    choose(page, "banana bread")
    command(page, "rcmail.command('move', 'Archive')")
    see_rows(page, 6)
    choose(page, "old news")
    page.wait("return !rcmail.busy")
    page.click("#toolbar-menu a.delete")
    see_rows(page, 5)
    expect(home, ["banana bread"], "Archive")
    expect(home, ["old news"], "Trash")
    expect(home, ["cherry pie"], "INBOX", "FLAGGED")
    expect(home, ["question", "Re: question", "Re: question", "Äpfel für alle", "cherry pie"], "INBOX")


def check_sending(page, home, address):
    page.open(f"{address}?_task=mail&_action=compose")
    page.find("#composebody")
    page.type("#compose_to .recipient-input input", home.account + ",")
    page.type("#compose-subject", "Grüße from the web")
    page.type("#composebody", "typed into a browser")
    page.click("button.send")
    page.wait("return rcmail.env.action !== 'compose' && document.querySelector('#messagelist')")
    assert len(found(home, "Sent", "SUBJECT", "Gr", "SEEN")) == 1
    assert len(found(home, "INBOX", account=home.account, password=home.password)) == 1


def check_news(page, home):
    """Another session's message comes into the list that is open, with the flags it has."""
    command(page, "rcmail.command('list', 'INBOX')")
    see_rows(page, 5)
    with session(home) as client:
        text = f"Subject: just in\r\nFrom: Ida <ida@world.example>\r\nTo: {ACCOUNT}\r\n\r\nthe text of just in\r\n"
        assert client.append("INBOX", "(\\Flagged)", None, text.encode())[0] == "OK"
    command(page, "rcmail.command('checkmail')")
    choose(page, "just in")
    page.wait("return document.querySelectorAll('#messagelist tr.flagged').length === 2")


def main():
    need("php", "openssl")
    if not ROUNDCUBE.is_dir():
        skip("roundcube is not installed (roundcube-core, roundcube-sqlite3)")
    if not os.access(SETTINGS / "config.inc.php", os.R_OK):
        skip(f"{SETTINGS}/config.inc.php may not be read by this user")
    if why := why_no_browser():
        skip(why)
    with house(certified=("IP:127.0.0.1",)) as home:
        home.add_account(ACCOUNT, PASSWORD)
        fill(home)
        with roundcube(home) as address, browser() as page:
            check_reading(page, address)
            check_listing(page)
            check_changing(page, home)
            check_sending(page, home, address)
            check_news(page, home)
        print("roundcube: good", flush=True)


main()
