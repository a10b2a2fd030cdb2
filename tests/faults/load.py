"""The mixed load: threads that write by SMTP, submission, IMAP and the command line, and that check what they own.

Each IMAP client has a Tree of mailboxes of its own and looks at all of it before it goes on writing. All that is chosen
comes from the seed; when the fall comes does not, so that a run is like another but never the same.
"""
import contextlib
import hashlib
import os
import random
import re
import subprocess
import sys
import threading

import operations as op
from oracle import Delivery, Found, Violation, open_database
from wire import Gone, Imap, Refused, Smtp

SIZES = (50, 400, 2_000, 2_000, 10_000, 60_000)
BOX_MESSAGES_MAX = 60
LARGE_OCTETS = 8 << 20  # above it the store spools a body to a file of its own


def make_message(token, size, sender, more=""):
    """A message that can be told from every other by any 4 KiB of it."""
    head = (f"From: <{sender}>\r\nTo: <somebody@far.example>\r\nDate: Mon, 23 Nov 2026 20:11:05 +0000\r\n"
            f"Message-ID: <{token}@load.example>\r\nX-Token: {token}\r\n{more}Subject: {token}\r\n\r\n").encode()
    seed = hashlib.sha256(token.encode()).hexdigest()
    lines, at = [], len(head)
    while at < size:
        lines.append(f".{at:010d} {seed}\r\n".encode())
        at += len(lines[-1])
    return head + b"".join(lines)


class Client(threading.Thread):
    """Runs verify() (before the start of the load), then load() until the server is gone."""

    def __init__(self, trial, name):
        super().__init__(daemon=True)
        self.trial, self.label, self.error = trial, name, None
        self.random = random.Random(f"{trial.seed} {name}")
        self.count = 0

    def run(self):
        try:
            self.connect()
            self.verify()
            self.trial.looked.release()
            while not self.trial.fall.ending.is_set():
                if self.trial.go.wait(0.02):
                    self.load()
        except (Gone, Refused) as gone:  # 421 to what came while it stopped
            if not self.trial.fall.expected:
                self.fail(Violation(f"{self.label}: the server ended this in mid-load: {gone}"))
        except BaseException as error:
            self.fail(error)
        finally:
            self.close()

    def fail(self, error):
        self.error = error
        self.trial.failed.set()

    def connect(self):
        pass

    def verify(self):
        pass

    def load(self):
        raise NotImplementedError

    def close(self):
        pass

    def token(self):
        self.count += 1
        return f"{self.trial.name}-{self.label}-{self.count}"

    def size(self):
        if self.random.random() < self.trial.large:
            return LARGE_OCTETS + self.random.randrange(1 << 20)
        return self.random.choice(SIZES)


class SmtpClient(Client):
    """Mail from outside for one or two mailboxes."""

    def connect(self):
        self.wire = Smtp(self.trial.fall, self.trial.home.port("smtp"))

    def close(self):
        if hasattr(self, "wire"):
            self.wire.close()

    def load(self):
        accounts = self.random.sample(self.trial.accounts, self.random.choice((1, 1, 2)))
        token = self.token()
        octets = make_message(token, self.size(), "a@sender.example")
        self.hand_in(Delivery(token, octets, accounts, False, False), "a@sender.example", accounts, octets)

    def hand_in(self, delivery, sender, recipients, octets):
        self.trial.oracle.tried(delivery)
        self.wire.message(sender, recipients, octets, chunked=self.random.random() < 0.5)
        self.trial.oracle.accepted(delivery)


class Submitter(SmtpClient):
    """Mail of a user for outside, sometimes for a mailbox here as well; the sink refuses some of it."""

    def __init__(self, trial, name, account):
        super().__init__(trial, name)
        self.account = account

    def connect(self):
        home = self.trial.home
        self.wire = Smtp(self.trial.fall, home.port("submissions"), self.trial.tls)
        with self.trial.logins[self.account]:
            self.wire.login(self.account, home.passwords[self.account])

    def load(self):
        token, rejected = self.token(), self.random.random() < 0.1
        octets = make_message(token, self.size(), self.account, "X-Sink: reject\r\n" if rejected else "")
        accounts = self.random.sample(self.trial.accounts, self.random.choice((0, 0, 0, 1)))
        recipients = [f"{token}@far.example", *accounts]
        self.hand_in(Delivery(token, octets, accounts, True, rejected), self.account, recipients, octets)


class ImapClient(Client):
    def __init__(self, trial, name, account, tree):
        super().__init__(trial, name)
        self.account, self.tree = account, tree

    def connect(self):
        home = self.trial.home
        self.imap = Imap(self.trial.fall, home.port("imaps"), self.trial.tls)
        with self.trial.logins[self.account]:
            self.imap.login(self.account, home.passwords[self.account])

    def close(self):
        if hasattr(self, "imap"):
            self.imap.close()

    # -- looking --------------------------------------------------------------------------------------------------------
    def verify(self):
        tree = self.tree
        # Closed also where the server falls meanwhile: the disk could not be unmounted.
        with contextlib.closing(open_database(self.trial.home.data / "mail.db")) as database:
            found = {name: self.look(name, database) for name in self.names()}
        done = tree.match(found)
        if self.trial.oracle:
            self.trial.oracle.counts["commands in flight"] += done
        for name, box in tree.boxes.items():
            if name == "INBOX":
                self.take_arrivals(box, found[name])
            self.read_bodies(name, box)
        tree.settle(tree.boxes)

    def names(self):
        self.imap.ask(f'LIST "" "{self.tree.name}-*"')
        names = [line.split()[-1].decode().strip('"') for line, _ in self.imap.untagged if line.startswith(b"* LIST")]
        return names + (["INBOX"] if self.tree.inbox else [])

    def look(self, name, database):
        self.imap.selected = None
        self.imap.ask(f"EXAMINE {name}")
        text = b"".join(line for line, _ in self.imap.untagged).decode()
        facts = {key: int(re.search(rf"\[{key} (\d+)\]", text)[1]) for key in ("UIDVALIDITY", "UIDNEXT")}
        self.imap.ask("UID FETCH 1:* (UID FLAGS RFC822.SIZE)")
        mail = {}
        for line, _ in self.imap.untagged:
            text = line.decode()
            if " FETCH (" not in text:
                continue
            uid, size = (int(re.search(rf"{key} (\d+)", text)[1]) for key in ("UID", "RFC822.SIZE"))
            flags = op.folded(re.search(r"FLAGS \(([^)]*)\)", text)[1].split()) - {"\\recent"}
            if uid in mail:
                raise Violation(f"{name}: UID {uid} is there twice")
            mail[uid] = (size, flags)
        if name == "INBOX":  # a delivery report may have come between the two answers
            facts["UIDNEXT"] = max([facts["UIDNEXT"], *(uid + 1 for uid in mail)])
        return Found(database, self.account, name, facts["UIDVALIDITY"], facts["UIDNEXT"], mail)

    def take_arrivals(self, box, found):
        """What came to INBOX by SMTP since the last look."""
        new = [uid for uid in sorted(found.mail) if uid >= box.uid_next]
        for uid, octets in self.bodies("INBOX", new):
            size, flags = found.mail[uid]
            mail = self.trial.oracle.arrival(self.tree.inbox, uid, octets)
            if mail.size != size or flags:
                raise Violation(f"INBOX UID {uid}: {size} octets and flags {flags}, but {mail.size} were read")
            box.mail[uid], box.uid_next = mail, uid + 1  # the next answer may never come
            self.tree.checked.add((box.validity, uid))
        box.uid_next = found.uid_next

    def read_bodies(self, name, box):
        """Every octet of what is new; at times of everything."""
        wanted = [uid for uid in box.mail if self.trial.thorough or (box.validity, uid) not in self.tree.checked]
        for uid, octets in self.bodies(name, sorted(wanted)):
            mail = box.mail[uid]
            if len(octets) != mail.size or hashlib.sha256(octets).digest() != mail.digest:
                raise Violation(f"{name} UID {uid} ({mail.token}): the octets are not those that were stored")
            self.tree.checked.add((box.validity, uid))

    def bodies(self, name, uids):
        if self.imap.selected != name and uids:
            self.imap.ask(f"EXAMINE {name}")
            self.imap.selected = None
        for start in range(0, len(uids), 50):
            part = uids[start:start + 50]
            self.imap.ask(f"UID FETCH {op.uid_set(part)} (UID BODY.PEEK[])")
            got = {int(re.search(rb"UID (\d+)", line)[1]): literals[0] for line, literals in self.imap.untagged if literals}
            if sorted(got) != part:
                raise Violation(f"{name}: asked for UIDs {part}, got {sorted(got)}")
            yield from got.items()

    # -- writing --------------------------------------------------------------------------------------------------------
    def load(self):
        if not self.tree.tip.keys() - {"INBOX"}:
            first = op.Create(f"{self.tree.name}-A")
            self.tree.begin(first)
            return self.send([first])
        box = self.random.choice(sorted(self.tree.tip))
        if self.imap.selected != box:
            self.imap.ask(f"SELECT {box}")
            self.imap.selected = box
        self.send(self.choose(box) if self.random.random() < 0.4 else
                  [one for _ in range(self.random.randrange(2, 5)) for one in self.choose(box)])
        return None

    def send(self, ops):
        """All of them in one go; the answers are read in order. (The choice was made against the tip: see choose.)"""
        tags = []
        for one in ops:
            tag, octets = self.imap.begin(one.command())
            self.imap.send(octets)
            tags.append(tag)
        for tag in tags:
            try:
                answer = self.imap.finish(tag)
            except Refused as no:
                if self.trial.fall.expected:
                    raise
                raise Violation(f"{self.tree.pending[0]} was refused: {no}") from None
            text = b"".join(line for line, _ in self.imap.untagged) + answer
            self.trial.oracle.acknowledged(self.label, self.tree.acknowledged(text.decode()))

    def choose(self, box):
        """One thing to do in the selected mailbox, entered in the tip: what is chosen next builds on it."""
        ops = self.pick(box, self.tree.tip)
        for one in ops:
            self.tree.begin(one)
        return ops

    def pick(self, box, boxes):
        uids, others = sorted(boxes[box].mail), sorted(boxes.keys() - {box, "INBOX"})
        some = self.random.sample(uids, min(len(uids), self.random.randrange(1, 6)))
        chance = self.random.random()
        if len(uids) > BOX_MESSAGES_MAX or (some and chance < 0.1):
            some = uids[:20] if len(uids) > BOX_MESSAGES_MAX else some
            return [op.Store(box, some, "+", ["\\Deleted"]), op.Expunge(box, some)]
        if some and chance < 0.35:
            flags = self.random.sample(op.FLAGS, self.random.randrange(1, 4))
            return [op.Store(box, some, self.random.choice("+-+-") if chance < 0.3 else "", flags)]
        if some and others and chance < 0.6:
            return self.pick_copy(box, some, self.random.choice(others), chance < 0.48)
        if chance < 0.65:
            return [op.Status(self.random.choice(sorted(boxes)))]
        if chance < 0.72:
            return self.pick_mailbox(box, boxes, others)
        target = self.random.choice(others or [box]) if box == "INBOX" else self.random.choice([box, *others])
        if target == "INBOX":
            return []
        token = self.token()
        flags = self.random.sample(op.FLAGS, self.random.randrange(0, 3))
        return [op.Append(target, token, make_message(token, self.size(), "me@home.example"), flags)]

    def pick_copy(self, box, uids, target, stays):
        if stays:
            return [op.Copy(box, uids, target)]
        if self.imap.can_move:
            return [op.Move(box, uids, target)]
        return [op.Copy(box, uids, target), op.Store(box, uids, "+", ["\\Deleted"]), op.Expunge(box, uids)]

    def pick_mailbox(self, box, boxes, others):
        name = f"{self.tree.name}-{self.random.choice('ABCDE')}"
        if name not in boxes:
            if len(others) > 2 and self.random.random() < 0.5:
                return [op.Rename(self.random.choice(others), name)]
            return [op.Create(name)]
        return [op.Delete(name)] if name != box and len(others) > 1 else []


class Administrator(Client):
    """Changes by the command line, a process each, beside the running server."""

    def __init__(self, trial, name):
        super().__init__(trial, name)
        self.lock, self.process, self.blocked = threading.Lock(), None, False

    def block(self):
        """Starts no more; gives back the process that may be running."""
        with self.lock:
            self.blocked = True
            return self.process

    def load(self):
        key, oracle = self.token().lower(), self.trial.oracle
        chance = self.random.random()
        if chance < 0.5:
            targets = self.random.sample(self.trial.accounts, self.random.choice((1, 2)))
            what = ("alias", f"{key}@home.example", targets, ["alias", "add", f"{key}@home.example", *targets])
        elif chance < 0.8:
            account, number = self.trial.spare, self.random.randrange(1, 1 << 20)
            what = ("quota", account, [number << 20, number],
                    ["account", "quota", account, "--size", f"{number}M", "--messages", str(number)])
        else:
            what = ("account", f"{key}@home.example", [key, 6], ["account", "add", f"{key}@home.example", "--name", key])
        table, key, values, line = what
        oracle.admin_tried(table, key, values)
        if self.command(line) == 0:
            oracle.admin_accepted(table, key)

    def command(self, line):
        home = self.trial.home
        with self.lock:
            if self.blocked:
                raise Gone("the fall has begun")
            self.process = subprocess.Popen(
                [home.binary, *line, "--config", str(home.config_file)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                env={**os.environ, **self.trial.environment, "POSTHOUSE_PASSWORD": "correct horse battery"})
        said = self.process.stderr.read().decode(errors="replace")
        code = self.process.wait()
        self.process.stderr.close()
        if code > 0 and not self.trial.fall.expected:
            raise AssertionError(f"posthouse {' '.join(line)} ended with {code}: {said}")
        if code > 0:
            print(f"{line[:2]} during the fall: {said.strip()}", file=sys.stderr)
        return code
