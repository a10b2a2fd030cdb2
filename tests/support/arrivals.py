"""A remote that notes when each message came: for benchmarks of how soon a letter is there."""
import re
import time

from remote import Remote


class Arrivals(Remote):
    """`arrived`: when the final dot came (time.monotonic), by the number in the message's "Subject: nNUMBER"."""

    def __init__(self):
        self.arrived = {}
        super().__init__()

    def take(self, message):
        now = time.monotonic()
        numbered = re.search(rb"^Subject: n(\d+)", message.octets, re.MULTILINE)
        self.arrived[int(numbered[1]) if numbered else None] = now
        return "250 2.0.0 Ok"
