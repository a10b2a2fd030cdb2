"""A mail server of the world outside: it takes everything, unless a test's subclass answers otherwise.

It lives in the test's own process, so no kill of the server under test reaches it.
"""
import collections
import socketserver
import threading

Message = collections.namedtuple("Message", "sender recipients octets hello")  # octets: without the dots of transparency


class Remote:
    """Listens on a free loopback port (`port`) until close(). The methods that answer run on the connection's thread."""
    NAME = "remote.example"

    def __init__(self):
        self.lock, self.messages = threading.Lock(), []  # those that take() kept
        remote = self

        class Session(socketserver.StreamRequestHandler):
            disable_nagle_algorithm = True

            def handle(self):
                try:
                    remote.talk(self.rfile, self.wfile)
                except OSError:
                    pass  # the other side was killed

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = daemon_threads = True
            request_queue_size = 100

        self.server = Server(("127.0.0.1", 0), Session)
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

    def talk(self, reader, writer):
        def say(reply):
            writer.write(reply.encode() + b"\r\n")
            return not reply.startswith("421")

        if not say(self.before("") or f"220 {self.NAME} ESMTP"):
            return
        hello, sender, recipients = "", "", []
        while line := reader.readline():
            verb, _, rest = line.decode(errors="replace").strip().partition(" ")
            verb, address = verb.upper(), rest.partition("<")[2].partition(">")[0]
            if reply := self.before(verb):
                if not say(reply):
                    return
            elif verb == "EHLO":
                hello = rest
                say(f"250-{self.NAME}\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE")
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
