"""The world outside: an SMTP server in the harness's own process, beyond the reach of every fault.

It counts each message that it answers with 250, and checks that the octets are those that were submitted.
A message with the field `X-Sink: reject` is refused with 550 after its data.
"""
import collections
import hashlib
import re
import socketserver
import threading


class Sink:
    def __init__(self):
        self.lock = threading.Lock()
        self.accepted, self.refused = collections.Counter(), collections.Counter()
        self.allowed = collections.defaultdict(lambda: 1)  # how often each may come at most
        self.expected = {}  # token -> (size, digest)
        self.faults = []
        self.changed = threading.Condition(self.lock)

        class Handler(socketserver.StreamRequestHandler):
            def handle(handler):
                try:
                    self.serve(handler.rfile, handler.wfile)
                except OSError:
                    pass  # the server was killed

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 100

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def expect(self, token, size, digest):
        with self.lock:
            self.expected[token] = (size, digest)

    def serve(self, reader, writer):
        def say(text):
            writer.write(text.encode() + b"\r\n")
            writer.flush()

        say("220 sink.example ESMTP")
        while line := reader.readline():
            verb = line[:4].upper().strip()
            if verb == b"EHLO":
                say("250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE")
            elif verb == b"DATA":
                say("354 go on")
                octets = self.read_data(reader)
                if octets is None:
                    return
                say(self.judge(octets))
            elif verb == b"QUIT":
                return say("221 bye")
            else:
                say("250 2.0.0 ok")

    @staticmethod
    def read_data(reader):
        lines = []
        while line := reader.readline():
            if line == b".\r\n":
                return b"".join(lines)
            lines.append(line[1:] if line.startswith(b".") else line)
        return None

    def judge(self, octets):
        head = octets.partition(b"\r\n\r\n")[0]
        found = re.search(rb"(?m)^X-Token: (\S+)", head)
        token = found[1].decode() if found else "?"
        with self.changed:
            self.changed.notify_all()
            if re.search(rb"(?m)^X-Sink: reject", head):
                self.refused[token] += 1
                return "550 5.1.1 nobody of that name"
            if token not in self.expected:
                self.faults.append(f"a message came out that nobody submitted: {token}")
                return "250 2.0.0 taken"
            size, digest = self.expected[token]
            if len(octets) < size or hashlib.sha256(octets[-size:]).digest() != digest:
                self.faults.append(f"{token} came out with other octets than were submitted")
            self.accepted[token] += 1
            if self.accepted[token] > self.allowed[token]:
                self.faults.append(f"{token} was sent {self.accepted[token]} times, though it was in flight at "
                                   f"{self.allowed[token] - 1} falls only")
        return "250 2.0.0 taken"

    def close(self):
        self.server.shutdown()
        self.server.server_close()
