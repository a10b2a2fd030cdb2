#!/usr/bin/env python3
"""COMPRESS=DEFLATE (RFC 4978) with zlib on the client's side: large answers, commands in one piece, news in IDLE, a bomb."""
import imaplib
import os
import pathlib
import re
import smtplib
import sys
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import house  # noqa: E402

LARGE = b"Subject: large\r\n\r\n" + b"\r\n".join(os.urandom(30).hex().encode() for _ in range(40_000)) + b"\r\n"
BOMB_OCTETS = 64 * 1024 * 1024


class Client:
    def __init__(self, home):
        context = home.tls()
        context.check_hostname = False
        imap = imaplib.IMAP4_SSL("127.0.0.1", home.port("imaps"), ssl_context=context)
        imap.login(home.account, home.password)
        imap.send(b"z1 COMPRESS DEFLATE\r\n")
        line = imap.readline()
        assert line.startswith(b"z1 OK"), line
        self.imap, self.socket = imap, imap.sock
        self.packer, self.unpacker, self.held = zlib.compressobj(wbits=-15), zlib.decompressobj(wbits=-15), b""

    def send(self, octets):
        self.socket.sendall(self.packer.compress(octets) + self.packer.flush(zlib.Z_SYNC_FLUSH))

    def until(self, mark):
        """All up to and with the line that begins with `mark`."""
        while not (found := re.search(rb"(?:^|\n)" + re.escape(mark) + rb"[^\n]*\n", self.held)):
            piece = self.socket.recv(65536)
            if not piece:
                raise EOFError(self.held)
            self.held += self.unpacker.decompress(piece)
        out, self.held = self.held[:found.end()], self.held[found.end():]
        return out

    def command(self, tag, text):
        self.send(f"{tag} {text}\r\n".encode())
        return self.until(f"{tag} ".encode())


def resident_kib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1])


def main():
    with house() as home:
        client = Client(home)
        assert b"NO [COMPRESSIONACTIVE]" in client.command("a1", "COMPRESS DEFLATE")
        client.send(b"a2 APPEND INBOX {%d+}\r\n" % len(LARGE) + LARGE + b"\r\na3 SELECT INBOX\r\na4 NOOP\r\n")
        client.until(b"a4 OK")
        answer = client.command("a5", "FETCH 1 BODY.PEEK[]")
        assert LARGE in answer and b"a5 OK" in answer
        client.send(b"a6 IDLE\r\n")
        client.until(b"+ ")
        with smtplib.SMTP("127.0.0.1", home.port("smtp"), local_hostname="client.example") as sender:
            sender.sendmail("a@sender.example", [home.account], "Subject: news\r\n\r\nnews\r\n")
        client.until(b"* 2 EXISTS")
        client.send(b"DONE\r\n")
        client.until(b"a6 OK")
        # A command that never ends, a thousand times larger than its packet: BYE, and no memory for it.
        before = resident_kib(home.process.pid)
        bomber = Client(home)
        packed = bomber.packer.compress(b"a7 " + b"x" * BOMB_OCTETS) + bomber.packer.flush(zlib.Z_SYNC_FLUSH)
        try:
            bomber.socket.sendall(packed)
            bomber.until(b"* BYE")
        except (EOFError, OSError):
            pass  # closed at once is as good
        assert resident_kib(home.process.pid) - before < 8 * 1024, "a bomb took memory"
        # The server goes on, and an interrupted stream ends its session only.
        bomber = Client(home)
        bomber.socket.sendall(b"\xff" * 1000)
        assert b"b1 OK" in client.command("b1", "NOOP")
        print(f"compressed: {len(LARGE)} octets both ways, news in IDLE, a bomb of {BOMB_OCTETS} octets from {len(packed)}")


main()
