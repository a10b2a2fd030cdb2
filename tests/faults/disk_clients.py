"""What the tests of full disks, failing calls and damage share: clients whose every answer is timed, and a ledger, kept off
the disk, of what was acknowledged."""
import hashlib
import pathlib
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))
from load import make_message  # noqa: E402
from oracle import Violation, check_database, open_database  # noqa: E402
from wire import Fall, Gone, Imap, Refused, Smtp  # noqa: E402

SENDER = "a@sender.example"


def digest(octets):
    """Of the body: what is handed in by SMTP gets fields in front."""
    return hashlib.sha256(octets.partition(b"\r\n\r\n")[2]).hexdigest()


def must(condition, what):
    if not condition:
        raise Violation(what)


class Ledger:
    """mailbox -> token -> digest, for what was acknowledged; everything ever tried; what may be there or not."""

    def __init__(self):
        self.there, self.tried, self.count = {}, {}, 0
        self.admin = []   # SQL that must find a row, with its values
        self.queued = set()

    def message(self, size, sender=SENDER):
        self.count += 1
        token = f"t{self.count}"
        octets = make_message(token, size, sender)
        self.tried[token] = digest(octets)
        return token, octets

    def add(self, box, token):
        self.there.setdefault(box, {})[token] = self.tried[token]

    def check(self, house, tls):
        """After a start: everything acknowledged is there, whole and once, and nothing else that was not tried."""
        imap = login(house, tls)
        for box, wanted in self.there.items():
            found = read_box(imap, box)
            for token, octets in wanted.items():
                must(found.get(token) == [octets], f"{box}: {token} was acknowledged; found {found.get(token)}")
            for token, digests in found.items():
                must(digests == [self.tried.get(token)], f"{box}: {token} is there {len(digests)} times or changed")
        imap.close()
        database = open_database(house.data / "mail.db")
        check_database(database)
        for sql, values in self.admin:
            must(database.execute(sql, values).fetchone(), f"acknowledged on the command line and not there: {values}")
        queued = {row[0].strip("<>").partition("@")[0] for row in database.execute("SELECT message_id FROM queue_items")}
        must(self.queued <= queued, f"acknowledged and not in the queue: {self.queued - queued}")
        database.close()


def login(house, tls, account=None):
    account = account or house.account
    imap = Imap(Fall(), house.port("imaps"), tls)
    imap.login(account, house.passwords[account])
    return imap


def read_box(imap, box):
    """token -> digests of all messages; octets that do not come are an error."""
    imap.ask(f"EXAMINE {box}")
    count = int(re.search(rb"\* (\d+) EXISTS", b"".join(line for line, _ in imap.untagged))[1])
    out = {}
    if not count:
        return out
    imap.ask("FETCH 1:* (BODY.PEEK[])")
    for line, literals in imap.untagged:
        if b" FETCH (" in line:
            token = re.search(rb"(?m)^X-Token: (\S+)\r$", literals[0])[1].decode()
            out.setdefault(token, []).append(digest(literals[0]))
    must(sum(map(len, out.values())) == count, f"{box}: {count} messages, {out.keys()} were read")
    return out


class Answer:
    """`done`: acknowledged. `text`: what was said. `seconds`: from the last octet sent to the answer."""

    def __init__(self, done, text, seconds):
        self.done, self.text, self.seconds = done, text, seconds

    def __str__(self):
        return f"{'done' if self.done else 'refused'} in {self.seconds:.3f} s: {self.text.strip()}"


def timed(wait):
    began = time.monotonic()
    try:
        text = wait()
        done = True
    except Refused as no:
        text, done = str(no), False
    text = text.decode(errors="replace") if isinstance(text, bytes) else str(text or "")
    return Answer(done, text, time.monotonic() - began)


def data(house, octets, midway=lambda: None, recipient=None, chunks=False):
    """A message to a mailbox by DATA, or in two chunks; `midway` is called when half of it is sent."""
    try:
        smtp = Smtp(Fall(), house.port("smtp"))
    except Refused as stopping:
        return Answer(False, str(stopping), 0.0)
    try:
        smtp.send(f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{recipient or house.account}>\r\n".encode())
        for _ in range(2):
            answer = timed(lambda: smtp.reply(250))
            if not answer.done:
                return answer
        half = len(octets) // 2
        if chunks:
            smtp.send(b"BDAT %d\r\n" % half + octets[:half])
            answer = timed(lambda: smtp.reply(250))
            midway()
            if not answer.done:
                return answer
            smtp.send(b"BDAT %d LAST\r\n" % (len(octets) - half) + octets[half:])
            return timed(lambda: smtp.reply(250))
        smtp.send(b"DATA\r\n")
        answer = timed(lambda: smtp.reply(354))
        if not answer.done:
            return answer
        octets = octets.replace(b"\r\n.", b"\r\n..") + b".\r\n"
        smtp.send(octets[:half])
        midway()
        smtp.send(octets[half:])
        return timed(lambda: smtp.reply(250))
    finally:
        smtp.close()


def submit(house, tls, octets, recipient):
    try:
        smtp = Smtp(Fall(), house.port("submissions"), tls)
    except Refused as stopping:
        return Answer(False, str(stopping), 0.0)
    try:
        smtp.login(house.account, house.passwords[house.account])
        return timed(lambda: smtp.message(house.account, [recipient], octets, chunked=False))
    finally:
        smtp.close()


def append(imap, box, octets, midway=lambda: None):
    """By a synchronizing literal, so that a refusal may come before the octets."""
    tag, head = imap.begin(f"APPEND {box} {{{len(octets)}}}")
    imap.send(head)
    line = imap.line()
    if not line.startswith(b"+"):
        return Answer(False, line.decode(), 0.0)
    half = len(octets) // 2
    imap.send(octets[:half])
    midway()
    imap.send(octets[half:] + b"\r\n")
    return timed(lambda: imap.finish(tag))


def ask(imap, command):
    return timed(lambda: imap.ask(command))


def command(house, *words):
    """A command of the program; (exit code, what it said on standard error, seconds)."""
    began = time.monotonic()
    done = house.cli(*words, environment={"POSTHOUSE_PASSWORD": "correct horse battery"}, check=False)
    return done.returncode, done.stderr, time.monotonic() - began


__all__ = ["Answer", "Fall", "Gone", "Imap", "Ledger", "Refused", "Smtp", "Violation", "append", "ask", "command", "data",
           "digest", "login", "must", "read_box", "submit", "timed"]
