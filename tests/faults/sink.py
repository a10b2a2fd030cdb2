"""The world outside: an SMTP server in the harness's own process, beyond the reach of every fault.

It counts each message that it answers with 250, and checks that the octets are those that were submitted.
A message with the field `X-Sink: reject` is refused with 550 after its data.
"""
import collections
import hashlib
import pathlib
import re
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from remote import Remote  # noqa: E402


class Sink(Remote):
    def __init__(self):
        super().__init__()
        self.accepted, self.refused = collections.Counter(), collections.Counter()
        self.allowed = collections.defaultdict(lambda: 1)  # how often each may come at most
        self.expected = {}  # token -> (size, digest)
        self.faults = []
        self.changed = threading.Condition(self.lock)

    def expect(self, token, size, digest):
        with self.lock:
            self.expected[token] = (size, digest)

    def take(self, message):
        octets = message.octets
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
