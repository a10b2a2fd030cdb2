#!/usr/bin/env python3
"""A client that has logged in and means harm: whatever it sends, the server's memory stays within bounds, the answer is
an error, and another client is answered at once.

Also odd names of mailboxes: what is made can be listed, selected, renamed and removed by the name that was given.
"""
import contextlib
import pathlib
import socket
import sys
import threading
import time
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import house  # noqa: E402

ACCOUNT, PASSWORD = "eve@home.example", "correct horse battery"
GROWTH_OCTETS_MAX = 160 << 20  # of the server, over what it has when all is quiet
ANSWER_SECONDS_MAX = 5         # to an honest NOOP meanwhile, on a busy machine with sanitizers


def resident(home):
    """Octets of the server's memory; the program itself is not counted as growth."""
    for line in pathlib.Path(f"/proc/{home.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no VmRSS")


class Gone(Exception):
    """The server has ended the connection."""


class Client:
    def __init__(self, home, account=ACCOUNT, password=PASSWORD, select="INBOX"):
        context = home.tls()
        context.check_hostname = False
        self.socket = context.wrap_socket(socket.create_connection(("127.0.0.1", home.port("imaps")), timeout=60))
        self.left, self.count, self.packer, self.unpacker = b"", 0, None, None
        self.line()
        assert self.ask(f"LOGIN {account} \"{password}\"").startswith("OK")
        if select:
            assert self.ask(f"SELECT {select}").startswith("OK")

    def send(self, octets):
        if self.packer:
            octets = self.packer.compress(octets) + self.packer.flush(zlib.Z_SYNC_FLUSH)
        try:
            self.socket.sendall(octets)
        except OSError as error:
            raise Gone from error

    def line(self):
        while b"\n" not in self.left:
            try:
                more = self.socket.recv(65536)
            except OSError as error:
                raise Gone from error
            if not more:
                raise Gone(self.left.decode(errors="replace"))
            self.left += self.unpacker.decompress(more) if self.unpacker else more
        line, _, self.left = self.left.partition(b"\n")
        return line.decode(errors="replace").rstrip("\r")

    def answer(self, tag):
        """The tagged answer without its tag; "BYE ..." where the server says goodbye."""
        bye = ""
        try:
            while True:
                line = self.line()
                if line.startswith(f"{tag} "):
                    return line[len(tag) + 1:]
                if line.startswith("* BYE"):
                    bye = line[2:]
        except Gone:
            return bye or "gone"

    def ask(self, text, lines=None):
        self.count += 1
        tag = f"t{self.count}"
        with contextlib.suppress(Gone):  # an answer may lie there all the same
            self.send(f"{tag} ".encode() + (text if isinstance(text, bytes) else text.encode()) + b"\r\n")
        return self.answer(tag)

    def compress(self):
        assert self.ask("COMPRESS DEFLATE").startswith("OK")
        self.packer, self.unpacker = zlib.compressobj(wbits=-15), zlib.decompressobj(wbits=-15)

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.close()


# What one command line or two say, and how the server may answer: BAD and NO, or BYE where it has had enough.
REFUSED = ("BAD", "NO", "BYE", "gone")
COMMANDS = [
    ("a sequence set of a million numbers", b"FETCH " + b",".join(b"%d" % i for i in range(1, 1_000_000, 2)) + b" UID"),
    ("a sequence set that reaches as far as numbers go", b"UID FETCH 1:4294967295 UID"),
    ("the same range a thousand times", b"UID FETCH " + b",".join([b"1:4294967295"] * 1000) + b" UID"),
    ("a hundred thousand FETCH items", b"FETCH 1 (" + b" ".join([b"UID"] * 100_000) + b")"),
    ("a thousand whole bodies at once", b"FETCH 1:* (" + b" ".join(b"BODY.PEEK[]<%d.9999999>" % i for i in range(1000)) + b")"),
    ("a hundred thousand keywords", b"STORE 1 +FLAGS (" + b" ".join(b"k%d" % i for i in range(100_000)) + b")"),
    ("brackets a hundred thousand deep", b"SEARCH " + b"(" * 100_000 + b"ALL" + b")" * 100_000),
    ("NOT a hundred thousand deep", b"SEARCH " + b"NOT " * 100_000 + b"ALL"),
    ("ten thousand texts to search", b"SEARCH " + b" ".join([b"TEXT {1+}\r\nx"] * 10_000)),
    ("ten thousand patterns", b"LIST \"\" (" + b" ".join([b"*%*%*%*%"] * 10_000) + b")"),
    ("a pattern of wildcards", b"LIST \"\" \"" + b"*%" * 500 + b"\""),
    ("names a hundred thousand to enable", b"ENABLE " + b" ".join([b"X"] * 100_000)),
    ("forty fields of ID", b"ID (" + b" ".join([b'"a" "b"'] * 40) + b")"),
    ("ten thousand mailboxes to watch", b"NOTIFY SET (mailboxes (" + b" ".join(b"b%d" % i for i in range(10_000)) + b") (MessageNew MessageExpunge))"),
    ("ten thousand annotations", b"GETMETADATA INBOX (" + b" ".join([b"/private/a"] * 10_000) + b")"),
    ("an annotation of a megabyte", b"SETMETADATA INBOX (/private/a {1048576+}\r\n" + b"x" * 1_048_576 + b")"),
    ("a message of ten thousand parts", b"APPEND INBOX CATENATE (" + b" ".join([b'URL "/INBOX/;UID=1"'] * 10_000) + b")"),
    ("ten thousand messages at once", b"APPEND INBOX " + b" ".join([b"{1+}\r\nx"] * 10_000)),
    ("a message of a terabyte", b"APPEND INBOX {1099511627776+}"),
    ("a message of a terabyte, asked first", b"APPEND INBOX {1099511627776}"),
    ("a literal of more than numbers hold", b"APPEND INBOX {99999999999999999999999}"),
    ("a name of four gigabytes", b"SELECT {4294967295+}"),
    ("a tag of ten thousand octets", b"x" * 10_000 + b" NOOP"),
    ("a million sort keys", b"SORT (" + b" ".join([b"REVERSE SUBJECT"] * 100_000) + b") UTF-8 ALL"),
    ("status of a hundred thousand items", b"STATUS INBOX (" + b" ".join([b"MESSAGES"] * 100_000) + b")"),
    ("QRESYNC with a million UIDs", b"SELECT INBOX (QRESYNC (1 1 1:9 (" + b",".join(b"%d" % i for i in range(1, 200_000, 2)) + b" 1:9)))"),
    ("a header of a hundred thousand names", b"FETCH 1 BODY.PEEK[HEADER.FIELDS (" + b" ".join([b"a"] * 100_000) + b")]"),
    ("a section a hundred thousand deep", b"FETCH 1 BODY.PEEK[" + b".".join([b"1"] * 100_000) + b"]"),
    ("rights of a megabyte", b"SETACL INBOX " + b"x" * 1_000_000 + b" lr"),
    ("a line without an end", b"NOOP " + b"x" * 16_000_000),
    ("octets that are no text", bytes(range(1, 256)) * 10_000),
]
HARMLESS = ("a sequence set that reaches as far as numbers go", "the same range a thousand times", "a pattern of wildcards",
            "a thousand whole bodies at once")


class Honest(threading.Thread):
    """Another's session that is asked all the while; the longest it had to wait."""

    def __init__(self, home):
        super().__init__(daemon=True)
        self.client = Client(home, home.account, home.password)
        self.longest, self.over, self.failed = 0.0, threading.Event(), None
        self.start()

    def run(self):
        try:
            while not self.over.wait(0.05):
                begun = time.monotonic()
                assert self.client.ask("NOOP").startswith("OK")
                self.longest = max(self.longest, time.monotonic() - begun)
        except Exception as error:  # noqa: BLE001: told by the test
            self.failed = error


def check_commands(home, quiet):
    for name, line in COMMANDS:
        client = Client(home)
        said = client.ask(line)
        client.close()
        assert said.startswith(REFUSED) or name in HARMLESS, f"{name}: {said[:200]}"
        grown = resident(home) - quiet
        assert grown < GROWTH_OCTETS_MAX, f"{name}: the server has grown by {grown >> 20} MiB"
        print(f"  {name}: {said[:60]}", flush=True)


def check_never_reading(home, quiet):
    """Commands without end whose answers nobody reads: the server stops reading rather than hoard."""
    client = Client(home)
    client.socket.settimeout(3)
    sent = 0
    with contextlib.suppress(Gone):
        for _ in range(2000):
            client.send(b"a FETCH 1:* (BODY.PEEK[] ENVELOPE BODYSTRUCTURE)\r\n" * 50)
            sent += 50
    grown = resident(home) - quiet
    assert grown < GROWTH_OCTETS_MAX, f"never reading: the server has grown by {grown >> 20} MiB after {sent} commands"
    print(f"  never reading: {sent} commands taken, {grown >> 20} MiB", flush=True)
    client.close()


def check_compressed(home, quiet):
    """A megabyte that becomes a gigabyte, in the place of a command and within IDLE."""
    for idle in (False, True):
        client = Client(home)
        client.compress()
        if idle:
            client.send(b"a IDLE\r\n")
            assert client.line().startswith("+")
        packer = zlib.compressobj(9, wbits=-15)
        bomb = packer.compress(b"x" * (256 << 20)) + packer.flush(zlib.Z_SYNC_FLUSH)
        client.packer = None
        with contextlib.suppress(Gone):
            client.send(bomb)
        assert client.answer("a").startswith(REFUSED)
        client.close()
        grown = resident(home) - quiet
        assert grown < GROWTH_OCTETS_MAX, f"compressed: the server has grown by {grown >> 20} MiB"
    # What comes after compression began in the same write was sent in clear, and is no deflate stream.
    client = Client(home)
    client.send(b"b COMPRESS DEFLATE\r\nc NOOP\r\n")
    assert client.answer("c").startswith(REFUSED)
    client.close()


NAMES = [
    "plain", "with blank", " leading", "trailing ", "dot.dot", "a/b/c/d", "INBOX/below", "inbox/Below2", "NIL", "nil",
    '"quoted"', "back\\slash", "(parens)", "{5}", "{5+}", "~tilde", "#news.x", "&-ampersand", "a&-b", "[brackets]", "]",
    "+plus", "-minus", "$", "1:2", "&2D3eAA-", "&ZeVnLIqe-", "&BB8EQAQ4BDIENQRC-", "&IKw-",
    "x" * 255, "/".join(["d"] * 20), "CON", "aux.txt", "...", "a..b", "'", "`id`", "_00",
    "<script>alert(1)<script>", "'; DROP TABLE mailboxes; --", "Other Users", "Shared", "OK", "UID FETCH",
    "e&AwE-", "&AOk-",
]
NO_NAMES = ["", "%", "*", "a*b", "a%b", "/", "//", "a//b", ".", "..", "a/../b", "&AAo-", "&AAA-", "&", "&AOk", "&Jjo-&Jjo-",
            "x" * 256, "/".join(["d"] * 2000), "y" * 5000, "Other Users/who@home.example/x", "INBOX"]


def quoted(name):
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def listed(client, pattern):
    client.count += 1
    tag, out = f"t{client.count}", []
    client.send(f"{tag} LIST \"\" {quoted(pattern)}\r\n".encode())
    while not (line := client.line()).startswith(f"{tag} "):
        if line.startswith("* LIST ") and "\\Noselect" not in line:
            name = line.partition(' "/" ')[2]
            out.append(name[1:-1].replace('\\"', '"').replace("\\\\", "\\") if name.startswith('"') else name)
    return out


def check_names(home):
    client = Client(home, select=None)
    for name in NO_NAMES:
        said = client.ask(f"CREATE {quoted(name)}")
        assert said.startswith(("NO", "BAD")), f"CREATE {name[:40]!r}: {said}"
    made = []
    for name in NAMES:
        said = client.ask(f"CREATE {quoted(name)}")
        assert said.startswith("OK"), f"CREATE {name[:40]!r}: {said}"
        made.append(name)
    there = listed(client, "*")
    for name in made:
        on_wire = "INBOX" + name[5:] if name.lower().startswith("inbox/") else name
        assert on_wire in there, f"{name!r} is not listed"
        for words in ("SELECT", "STATUS", "SUBSCRIBE", "GETACL"):
            said = client.ask(f"{words} {quoted(name)}" + (" (MESSAGES)" if words == "STATUS" else ""))
            assert said.startswith("OK"), f"{words} {name!r}: {said}"
    for name in made:
        parent = any(other.startswith(name + "/") for other in made)
        if not parent:
            assert client.ask(f"RENAME {quoted(name)} {quoted('moved away')}").startswith("OK"), name
            assert client.ask(f"RENAME {quoted('moved away')} {quoted(name)}").startswith("OK"), name
    for name in reversed(made):
        said = client.ask(f"DELETE {quoted(name)}")
        assert said.startswith("OK"), f"DELETE {name!r}: {said}"
    client.close()


def check_leftovers(home):
    """UNAUTHENTICATE: nothing of the first account is left, whatever it had begun."""
    client = Client(home)
    for begun in ("ENABLE QRESYNC UTF8=ACCEPT IMAP4rev2", "NOTIFY SET (selected (MessageNew MessageExpunge))",
                  "SEARCH RETURN (SAVE ALL UPDATE) ALL", "COMPRESS DEFLATE"):
        assert client.ask(begun).startswith("OK"), begun
    client.packer, client.unpacker = zlib.compressobj(wbits=-15), zlib.decompressobj(wbits=-15)
    # Our compression ends with the command, the server's with the line end of its OK (RFC 8437 4.1).
    assert client.ask("UNAUTHENTICATE").startswith("OK")
    assert client.unpacker.eof and not client.unpacker.unused_data, "the server's compressed stream goes on"
    client.packer, client.unpacker = None, None
    assert client.ask("FETCH 1 UID").startswith("BAD")
    assert client.ask(f"LOGIN {home.account} \"{home.password}\"").startswith("OK")
    assert client.ask("FETCH $ UID").startswith("BAD"), "nothing is selected"
    assert client.ask("SELECT INBOX (QRESYNC (1 1))").startswith("BAD"), "QRESYNC is still on"
    assert client.ask("SELECT INBOX").startswith("OK")
    client.send(b"v SEARCH $\r\n")
    assert client.line() == "* SEARCH", "what the other saved is there, or IMAP4rev2 is still on"
    assert client.answer("v").startswith("OK")
    client.close()


def main():
    with house() as home:
        home.add_account(ACCOUNT, PASSWORD)
        message = b"Subject: x\r\nFrom: a@b.example\r\n\r\n" + b"x" * 70 * 1000 + b"\r\n"
        client = Client(home)
        for _ in range(50):
            assert client.ask(b"APPEND INBOX {%d+}\r\n" % len(message) + message).startswith("OK")
        client.close()
        check_names(home)
        check_leftovers(home)
        honest = Honest(home)
        quiet = resident(home)
        check_commands(home, quiet)
        check_compressed(home, quiet)
        check_never_reading(home, quiet)
        honest.over.set()
        honest.join()
        assert honest.failed is None, honest.failed
        assert honest.longest < ANSWER_SECONDS_MAX, f"another client waited {honest.longest:.1f} s"
        print(f"hostile: good; the longest wait of another client was {honest.longest * 1000:.0f} ms", flush=True)


main()
