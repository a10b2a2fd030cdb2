"""The commands of the IMAP load: each knows its words, what it does to the model, and what its answer must say."""
import hashlib
import re

from oracle import Box, Mail, Violation

FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "\\Draft", "red", "blue")


def words(flags):
    return " ".join(sorted(flags, key=str.lower))


def folded(flags):
    return frozenset(flag.lower() for flag in flags)


def uid_set(uids):
    return ",".join(map(str, uids))


def expand(text):
    """"1:3,7" -> [1, 2, 3, 7]"""
    out = []
    for part in text.split(","):
        first, _, last = part.partition(":")
        out += range(int(first), int(last or first) + 1)
    return out


def must(condition, what):
    if not condition:
        raise Violation(what)


class Op:
    verb = "?"
    box = None  # must be selected

    def command(self):
        raise NotImplementedError

    def apply(self, boxes):
        """Does it to the model; gives back what check() wants to know."""

    def check(self, answer, told, boxes):
        """`answer`: all lines up to the tagged one, as text."""

    def __str__(self):
        return f"{self.verb} {self.box or ''}"


class Append(Op):
    verb = "APPEND"

    def __init__(self, target, token, octets, flags):
        self.target, self.octets, self.flags = target, octets, flags
        self.mail = Mail(token, len(octets), hashlib.sha256(octets).digest(), folded(flags))

    def command(self):
        head = f"APPEND {self.target} ({words(self.flags)}) {{{len(self.octets)}+}}\r\n"
        return head.encode() + self.octets

    def apply(self, boxes):
        boxes[self.target].modseq += 1
        return boxes[self.target].add(self.mail)

    def check(self, answer, told, boxes):
        self.octets = None
        found = re.search(r"\[APPENDUID (\d+) (\d+)\]", answer)
        must(found and int(found[2]) == told, f"{self}: UID {told} was due: {answer}")
        box = boxes[self.target]
        must(box.validity in (None, int(found[1])), f"{self}: UIDVALIDITY was {box.validity}: {answer}")

    def __str__(self):
        return f"APPEND {self.target} {self.mail.token} {self.mail.size}"


class Store(Op):
    verb = "STORE"

    def __init__(self, box, uids, how, flags):
        self.box, self.uids, self.how, self.flags = box, uids, how, flags

    def command(self):
        return f"UID STORE {uid_set(self.uids)} {self.how}FLAGS ({words(self.flags)})".encode()

    def apply(self, boxes):
        mail, change = boxes[self.box].mail, folded(self.flags)
        for uid in self.uids:
            before = mail[uid].flags
            after = {"+": before | change, "-": before - change, "": change}[self.how]
            mail[uid] = mail[uid]._replace(flags=after)

    def __str__(self):
        return f"STORE {self.box} {uid_set(self.uids)} {self.how}{words(self.flags)}"


class Copy(Op):
    verb = "COPY"

    def __init__(self, box, uids, target):
        self.box, self.uids, self.target = box, sorted(uids), target

    def command(self):
        return f"UID {self.verb} {uid_set(self.uids)} {self.target}".encode()

    def apply(self, boxes):
        boxes[self.target].modseq += 1
        return [boxes[self.target].add(boxes[self.box].mail[uid]) for uid in self.uids]

    def check(self, answer, told, boxes):
        found = re.search(r"\[COPYUID (\d+) (\S+) (\S+)\]", answer)
        must(found and expand(found[2]) == self.uids and expand(found[3]) == told, f"{self}: UIDs {told} were due: {answer}")

    def __str__(self):
        return f"{self.verb} {self.box} {uid_set(self.uids)} {self.target}"


class Move(Copy):
    verb = "MOVE"

    def apply(self, boxes):
        out = super().apply(boxes)
        for uid in self.uids:
            boxes[self.box].drop(uid)
        return out


class Expunge(Op):
    """Of messages that a Store before it has marked."""
    verb = "EXPUNGE"

    def __init__(self, box, uids):
        self.box, self.uids = box, uids

    def command(self):
        return f"UID EXPUNGE {uid_set(self.uids)}".encode()

    def apply(self, boxes):
        boxes[self.box].modseq += 1
        for uid in self.uids:
            must("\\deleted" in boxes[self.box].mail[uid].flags, "the load expunges what it did not mark")
            boxes[self.box].drop(uid)

    def __str__(self):
        return f"EXPUNGE {self.box} {uid_set(self.uids)}"


class Status(Op):
    """What a reader was told must still be so after a fall."""
    verb = "STATUS"

    def __init__(self, target):
        self.target = target

    def command(self):
        return f"STATUS {self.target} (UIDNEXT UIDVALIDITY MESSAGES)".encode()

    def __str__(self):
        return f"STATUS {self.target}"

    def check(self, answer, told, boxes):
        box = boxes[self.target]
        facts = {name: int(number) for name, number in re.findall(r"(\w+) (\d+)", answer.partition("(")[2])}
        if self.target != "INBOX":
            must(facts["UIDNEXT"] == box.uid_next and facts["MESSAGES"] == len(box.mail), f"{self}: {answer}")
        must(box.validity in (None, facts["UIDVALIDITY"]), f"{self}: UIDVALIDITY was {box.validity}: {answer}")


class Create(Op):
    verb = "CREATE"

    def __init__(self, target):
        self.target = target

    def command(self):
        return f"CREATE {self.target}".encode()

    def apply(self, boxes):
        boxes[self.target] = Box()

    def __str__(self):
        return f"CREATE {self.target}"


class Delete(Op):
    verb = "DELETE"

    def __init__(self, target):
        self.target = target

    def command(self):
        return f"DELETE {self.target}".encode()

    def apply(self, boxes):
        del boxes[self.target]

    def __str__(self):
        return f"DELETE {self.target}"


class Rename(Op):
    verb = "RENAME"

    def __init__(self, target, name):
        self.target, self.name = target, name

    def command(self):
        return f"RENAME {self.target} {self.name}".encode()

    def apply(self, boxes):
        boxes[self.name] = boxes.pop(self.target)

    def __str__(self):
        return f"RENAME {self.target} {self.name}"
