"""Connections of the load's clients: lines, literals and replies, and an end that loses no reply.

A server that was stopped or killed answers no more. `Fall.frozen` tells the clients that it is down: each reads what
still lies in its socket and then ends with Gone. What it has not read an answer to is in flight, and only that.
"""
import re
import socket
import ssl
import threading

POLL_SECONDS = 0.01
ANSWER_SECONDS_MAX = 60


class Gone(Exception):
    """The server is down."""


class Fall:
    """The end of one trial, as the clients see it."""

    def __init__(self):
        self.expected = False            # from now on connections may end
        self.ending = threading.Event()  # begin nothing new
        self.frozen = threading.Event()  # the server answers no more; drain and end


class Wire:
    def __init__(self, fall, port, tls=None):
        self.fall, self.buffer = fall, bytearray()
        try:
            self.socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS_MAX)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket.settimeout(POLL_SECONDS)
            if tls:
                self.socket = tls.wrap_socket(self.socket, server_hostname="127.0.0.1", do_handshake_on_connect=False)
                self.shake_hands()
        except OSError as lost:
            raise Gone(str(lost)) from None

    def shake_hands(self):
        while True:
            frozen = self.fall.frozen.is_set()
            try:
                return self.socket.do_handshake()
            except (TimeoutError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                if frozen:
                    raise Gone("frozen") from None

    def close(self):
        self.socket.close()

    def _fill(self):
        waited = 0
        while True:
            frozen = self.fall.frozen.is_set()
            try:
                octets = self.socket.recv(1 << 18)
            except (TimeoutError, ssl.SSLWantReadError):
                waited += POLL_SECONDS
                if frozen:
                    raise Gone("frozen") from None
                if waited > ANSWER_SECONDS_MAX:
                    raise AssertionError(f"no answer within {ANSWER_SECONDS_MAX} s") from None
                continue
            except OSError as lost:
                raise Gone(str(lost)) from None
            if not octets:
                raise Gone("closed")
            self.buffer += octets
            return

    def send(self, octets):
        view = memoryview(octets)
        while view:
            frozen = self.fall.frozen.is_set()
            try:
                view = view[self.socket.send(view[:1 << 16]):]
            except (TimeoutError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                if frozen:
                    raise Gone("frozen") from None
            except OSError as lost:
                raise Gone(str(lost)) from None

    def line(self):
        start = 0
        while True:
            end = self.buffer.find(b"\n", start)
            if end >= 0:
                out = bytes(self.buffer[:end + 1])
                del self.buffer[:end + 1]
                return out
            start = len(self.buffer)
            self._fill()

    def octets(self, count):
        while len(self.buffer) < count:
            self._fill()
        out = bytes(self.buffer[:count])
        del self.buffer[:count]
        return out


class Refused(Exception):
    """The server said no; the answer is the text."""


class Smtp(Wire):
    def __init__(self, fall, port, tls=None):
        super().__init__(fall, port, tls)
        self.reply(220)
        self.send(b"EHLO load.example\r\n")
        self.chunking = b"CHUNKING" in self.reply(250)

    def reply(self, wanted):
        text = b""
        while True:
            line = self.line()
            text += line
            if line[3:4] != b"-":
                break
        if int(line[:3]) != wanted:
            raise Refused(text.decode(errors="replace"))
        return text

    def login(self, address, password):
        import base64
        words = base64.b64encode(f"\0{address}\0{password}".encode())
        self.send(b"AUTH PLAIN " + words + b"\r\n")
        self.reply(235)

    def message(self, sender, recipients, octets, chunked):
        """Returns after the 250 to the whole message."""
        head = f"MAIL FROM:<{sender}>\r\n" + "".join(f"RCPT TO:<{to}>\r\n" for to in recipients)
        chunked = chunked and self.chunking
        if chunked:
            self.send(head.encode() + b"BDAT %d LAST\r\n" % len(octets) + octets)
        else:
            self.send(head.encode() + b"DATA\r\n")
        for _ in range(1 + len(recipients)):
            self.reply(250)
        if not chunked:
            self.reply(354)
            self.send(octets.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        self.reply(250)


class Imap(Wire):
    """Raw IMAP4rev1 (RFC 3501) with LITERAL+ (RFC 7888) and UIDPLUS (RFC 4315); MOVE (RFC 6851) where it is offered."""

    def __init__(self, fall, port, tls):
        super().__init__(fall, port, tls)
        self.number, self.selected, self.untagged = 0, None, []
        self.response()

    def login(self, address, password):
        self.ask(f'LOGIN "{address}" "{password}"')
        self.ask("CAPABILITY")
        self.can_move = b" MOVE" in self.untagged[0][0]

    def response(self):
        """One response: its line with each literal taken out, and the literals."""
        line, literals = self.line(), []
        while True:
            found = re.search(rb"\{(\d+)\}\r\n$", line)
            if not found:
                return line, literals
            literals.append(self.octets(int(found[1])))
            line = line[:found.start()] + b'""' + self.line()

    def begin(self, command):
        """The octets of a command with its tag; the answer is read by finish(tag)."""
        self.number += 1
        tag = b"t%d" % self.number
        return tag, tag + b" " + (command.encode() if isinstance(command, str) else command) + b"\r\n"

    def finish(self, tag):
        """Reads up to the tagged answer; the untagged ones are kept in .untagged until the next."""
        self.untagged = []
        while True:
            line, literals = self.response()
            if line.startswith(b"* "):
                self.untagged.append((line, literals))
                continue
            got, _, rest = line.partition(b" ")
            if got != tag:
                raise AssertionError(f"an answer to {tag} was expected: {line}")
            if not rest.startswith(b"OK"):
                raise Refused(rest.decode(errors="replace").strip())
            return rest

    def ask(self, command):
        tag, octets = self.begin(command)
        self.send(octets)
        try:
            return self.finish(tag)
        except Refused as no:
            raise Refused(f"{no}, in answer to {command}") from None
