"""A mail server of the world outside: it takes everything, unless a test's subclass answers otherwise.

It lives in the test's own process, so no kill of the server under test reaches it.
"""
import base64
import collections
import socketserver
import threading

Message = collections.namedtuple("Message", "sender recipients octets hello")  # octets: without the dots of transparency


class Remote:
    """Listens on a loopback port (`port`; 0 takes a free one) until close(). The methods that answer run on the
    connection's thread. With `tls` (an SSLContext) STARTTLS is offered; with `login` (user, password) mail is taken over
    TLS after AUTH PLAIN alone. What the other side showed of itself in the handshake is given to showed()."""
    NAME = "remote.example"

    def __init__(self, address="127.0.0.1", port=0, tls=None, login=None):
        self.lock, self.messages = threading.Lock(), []  # those that take() kept
        self.tls, self.login = tls, login
        remote = self

        class Session(socketserver.StreamRequestHandler):
            disable_nagle_algorithm = True

            def handle(self):
                try:
                    remote.talk(self.request, self.rfile, self.wfile)
                except OSError:
                    pass  # the other side was killed, or wants no TLS like this

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = daemon_threads = True
            request_queue_size = 100

        self.server = Server((address, port), Session)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def before(self, verb):
        """A reply in the place of the usual one to this verb ("" is the greeting), or None. A 421 ends the session."""

    def judge(self, sender, recipient):
        """The reply to RCPT."""
        return "250 2.1.5 Ok"

    def take(self, message):
        """The reply to the final dot; called before it is sent."""
        with self.lock:
            self.messages.append(message)
        return "250 2.0.0 Ok"

    def showed(self, certificate):
        """The other side's certificate as ssl.SSLSocket.getpeercert() gives it; None where it showed none."""

    def capabilities(self, secure):
        more = ["STARTTLS"] if self.tls and not secure else ["AUTH PLAIN"] if self.login and secure else []
        return [self.NAME, "PIPELINING", "8BITMIME", *more, "SIZE"]

    def admits(self, proof):
        """Whether the argument of AUTH PLAIN (RFC 4616) is the login."""
        return base64.b64decode(proof).split(b"\0")[1:] == [word.encode() for word in self.login]

    def talk(self, connection, reader, writer):
        def say(reply):
            writer.write(reply.encode() + b"\r\n")
            return not reply.startswith("421")

        if not say(self.before("") or f"220 {self.NAME} ESMTP"):
            return
        hello, sender, recipients, secure, known = "", "", [], False, not self.login
        while line := reader.readline():
            verb, _, rest = line.decode(errors="replace").strip().partition(" ")
            verb, address = verb.upper(), rest.partition("<")[2].partition(">")[0]
            if reply := self.before(verb):
                if not say(reply):
                    return
            elif verb == "EHLO":
                hello = rest
                *lines, last = self.capabilities(secure)
                say("".join(f"250-{line}\r\n" for line in lines) + f"250 {last}")
            elif verb == "STARTTLS" and self.tls and not secure:
                say("220 2.0.0 Go ahead")
                connection = self.tls.wrap_socket(connection, server_side=True)
                reader, writer, secure = connection.makefile("rb"), connection.makefile("wb", 0), True
                self.showed(connection.getpeercert())
            elif verb == "AUTH" and self.login and secure:
                known = self.admits(rest.partition(" ")[2])
                say("235 2.7.0 Welcome" if known else "535 5.7.8 Who is that")
            elif verb in ("MAIL", "RCPT", "DATA") and not known:
                say("530 5.7.0 Authentication required")
            elif verb == "MAIL":
                sender, recipients = address, []
                say("250 2.1.0 Ok")
            elif verb == "RCPT":
                reply = self.judge(sender, address)
                if reply.startswith("2"):
                    recipients.append(address)
                say(reply)
            elif verb == "DATA" and not recipients:
                say("503 5.5.1 No recipients")
            elif verb == "DATA":
                say("354 Go on")
                if (octets := read_data(reader)) is None:
                    return
                say(self.take(Message(sender, tuple(recipients), octets, hello)))
                recipients = []
            elif verb == "QUIT":
                say("221 Bye")
                return
            else:
                say("250 2.0.0 Ok")


def read_data(reader):
    """The octets before the final dot; None where the connection ends first."""
    lines = []
    while (line := reader.readline()) != b".\r\n":
        if not line:
            return None
        lines.append(line[1:] if line.startswith(b".") else line)
    return b"".join(lines)
