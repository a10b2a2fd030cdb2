"""What must be true: every attempt and every acknowledgement, kept where no fault reaches, and the comparison afterwards.

  Tree      the mailboxes that one client alone changes, message by message. Its commands are answered in order, so that
            after a fall the mailboxes must look as after one of: the acknowledged commands, one more, ..., all sent.
            Less is a loss, more is an invention, in between is a half-done command.
  Oracle    messages handed in by SMTP and submission (each in every mailbox and the queue it was accepted for, whole, once),
            what went out, and what the command line changed.
"""
import collections
import hashlib
import json
import re
import sqlite3
import threading

REPORT = b"multipart/report"


class Violation(AssertionError):
    """The store broke its promise."""


class Mail(collections.namedtuple("Mail", "token size digest flags")):
    """A message as it must be; flags without \\Recent, lower case."""


class Box:
    def __init__(self):
        self.validity, self.uid_next, self.mail = None, 1, {}
        self.modseq = 0    # HIGHESTMODSEQ is at least that: each command that changes adds one or more
        self.since = 0     # HIGHESTMODSEQ at the last look
        self.gone = set()  # removed since then: QRESYNC must be able to tell

    def copy(self):
        other = Box()
        other.validity, other.uid_next, other.mail = self.validity, self.uid_next, dict(self.mail)
        other.modseq, other.since, other.gone = self.modseq, self.since, set(self.gone)
        return other

    def add(self, mail):
        uid = self.uid_next
        self.mail[uid] = mail
        self.uid_next += 1
        return uid

    def drop(self, uid):
        del self.mail[uid]
        self.gone.add(uid)


class Tree:
    """`boxes`: after what was acknowledged. `pending`: what was sent since, oldest first. `tip`: after all of it."""

    def __init__(self, name, inbox=None):
        self.name, self.inbox = name, inbox  # `inbox`: the account whose INBOX belongs to this tree
        self.boxes, self.pending = {}, []
        self.highest_validity = {}  # of each name ever, so that one made anew is seen to be new
        self.checked = set()        # (validity, uid) whose octets were compared since they came
        self.tip = {}

    def settle(self, boxes):
        self.boxes, self.pending = boxes, []
        self.tip = {name: box.copy() for name, box in boxes.items()}

    def begin(self, op):
        op.apply(self.tip)
        self.pending.append(op)

    def acknowledged(self, answer):
        op = self.pending.pop(0)
        told = op.apply(self.boxes)
        op.check(answer, told, self.boxes)
        return op

    def candidates(self):
        boxes = {name: box.copy() for name, box in self.boxes.items()}
        out = [boxes]
        for op in self.pending:
            boxes = {name: box.copy() for name, box in boxes.items()}
            op.apply(boxes)
            out.append(boxes)
        return out

    def match(self, found):
        """`found`: name -> Found. The candidate that it equals becomes the truth; gives back how many pending were done."""
        tried = []
        for number, boxes in reversed(list(enumerate(self.candidates()))):
            why = self.differs(boxes, found)
            if not why:
                for name, box in boxes.items():
                    self.adopt(name, box, found[name])
                self.settle(boxes)
                return number
            tried.append(f"with {number} of {len(self.pending)} commands in flight done: {why}")
        raise Violation(f"{self.name}: what is found is neither before nor after the commands in flight "
                        f"{[str(op) for op in self.pending]}:\n  " + "\n  ".join(tried))

    def differs(self, boxes, found):
        if set(boxes) != set(found):
            return f"mailboxes missing {sorted(set(boxes) - set(found))}, unexpected {sorted(set(found) - set(boxes))}"
        for name, box in boxes.items():
            why = box_differs(box, found[name], open_ended=name == "INBOX")
            if why:
                return f"{name}: {why}"
        return None

    def adopt(self, name, box, found):
        if box.validity is None and found.validity <= self.highest_validity.get(name, 0):
            raise Violation(f"{self.name} {name}: made anew with UIDVALIDITY {found.validity}, which it had before")
        box.validity = found.validity
        self.highest_validity[name] = max(found.validity, self.highest_validity.get(name, 0))
        if name != "INBOX":
            box.uid_next = found.uid_next
        box.modseq = box.since = found.modseq
        box.gone = set()


class Found:
    """A mailbox as the server shows it: mail is uid -> (size, flags). MODSEQ and what vanished stand in mail.db."""

    def __init__(self, database, account, name, validity, uid_next, mail):
        self.validity, self.uid_next, self.mail = validity, uid_next, mail
        row = database.execute("SELECT b.id, b.highest_modseq, b.uid_next, a.modseq FROM mailboxes b JOIN accounts a ON "
                               "a.id = b.account WHERE a.address = ? AND b.name = ?", (account, name)).fetchone()
        if row is None:
            raise Violation(f"{account} {name} is shown and does not stand in mail.db")
        self.modseq = row[1]
        self.modseqs = dict(database.execute("SELECT uid, modseq FROM entries WHERE mailbox = ?", row[:1]).fetchall())
        self.gone = dict(database.execute("SELECT uid, modseq FROM expunged WHERE mailbox = ?", row[:1]).fetchall())
        if max([*self.modseqs.values(), *self.gone.values()], default=0) > row[1] or row[1] > row[3]:
            raise Violation(f"{account} {name}: a MODSEQ is above HIGHESTMODSEQ {row[1]}, or that above the account's {row[3]}")

    def vanished(self, since):
        return {uid for uid, modseq in self.gone.items() if modseq > since}


def box_differs(box, found, open_ended):
    """A sentence where `found` is not this box. `open_ended`: new mail may have come behind uid_next (INBOX)."""
    if box.validity is not None and box.validity != found.validity:
        return f"UIDVALIDITY was {box.validity} and is {found.validity}"
    if found.uid_next < box.uid_next:
        return f"UIDNEXT fell from {box.uid_next} to {found.uid_next}"
    if found.modseq < box.modseq:
        return f"HIGHESTMODSEQ fell from {box.modseq} to {found.modseq}"
    shown = {uid: fact for uid, fact in found.mail.items() if not open_ended or uid < box.uid_next}
    lost, strange = sorted(set(box.mail) - set(shown)), sorted(set(shown) - set(box.mail))
    if lost or strange:
        return f"lost UIDs {lost[:20]} ({[box.mail[u].token for u in lost[:5]]}), back or invented UIDs {strange[:20]}"
    for uid, (size, flags) in shown.items():
        mail = box.mail[uid]
        if size != mail.size:
            return f"UID {uid} ({mail.token}) has {size} octets and must have {mail.size}"
        if flags != mail.flags:
            return f"UID {uid} ({mail.token}) has flags {sorted(flags)} and must have {sorted(mail.flags)}"
    if max(found.mail, default=0) >= found.uid_next:
        return f"UID {max(found.mail)} is not below UIDNEXT {found.uid_next}"
    untold = sorted(box.gone - found.vanished(box.since))
    if untold:
        return f"UIDs {untold[:20]} are gone, and nothing is kept of it for those who ask what vanished"
    return None


class Delivery:
    """A message handed in by SMTP: where it must be once it was acknowledged."""

    def __init__(self, token, octets, accounts, outside, rejected):
        self.token, self.size, self.digest = token, len(octets), hashlib.sha256(octets).digest()
        self.accounts, self.outside, self.rejected = accounts, outside, rejected
        self.acknowledged = False
        self.settled = False  # compared after a fall that came later


class Oracle:
    def __init__(self, sink, journal):
        self.sink, self.lock = sink, threading.Lock()
        self.journal = open(journal, "w", buffering=1)
        self.deliveries = {}
        self.arrived = collections.defaultdict(dict)  # account -> token -> uid
        self.reports = collections.Counter()          # token -> delivery reports that came to its sender
        self.admin = {}                               # what the command line did: (table, key) -> (values, acknowledged)
        self.counts = collections.Counter()

    # -- what the clients tell ------------------------------------------------------------------------------------------
    def note(self, *words):
        self.journal.write(json.dumps(words) + "\n")

    def tried(self, delivery):
        with self.lock:
            self.deliveries[delivery.token] = delivery
            self.note("try", delivery.token, delivery.size, delivery.accounts, delivery.outside)
        if delivery.outside:
            self.sink.expect(delivery.token, delivery.size, delivery.digest)

    def accepted(self, delivery):
        with self.lock:
            delivery.acknowledged = True
            self.counts["SMTP" if not delivery.outside else "submission"] += 1
            self.note("250", delivery.token)

    def acknowledged(self, client, op):
        with self.lock:
            self.counts[op.verb] += 1
            self.note("ok", client, str(op))

    def admin_tried(self, table, key, values):
        with self.lock:
            self.admin[table, key] = [values, False, self.admin.get((table, key))]

    def admin_accepted(self, table, key):
        with self.lock:
            self.admin[table, key][1] = True
            self.counts["command line"] += 1
            self.note("exit 0", table, key)

    # -- the comparison -------------------------------------------------------------------------------------------------
    def arrival(self, account, uid, octets):
        """A message that came to an INBOX since the last look; gives back the Mail it is."""
        head = octets.partition(b"\r\n\r\n")[0]
        report = REPORT in head
        found = re.search(rb"(?m)^X-Token: (\S+)", octets if report else head)
        token = found[1].decode() if found else None
        digest = hashlib.sha256(octets).digest()
        with self.lock:
            delivery = self.deliveries.get(token)
            if delivery is None:
                raise Violation(f"{account} has a message that nobody sent, UID {uid}: {octets[:300]}")
            if report:
                self.reports[token] += 1
                if self.reports[token] > 1 or not delivery.rejected:
                    raise Violation(f"{account} has {self.reports[token]} reports about {token}")
                return Mail("report " + token, len(octets), digest, frozenset())
            if account not in delivery.accounts:
                raise Violation(f"{account} has {token}, which was for {delivery.accounts}")
            if token in self.arrived[account]:
                raise Violation(f"{account} has {token} twice: UIDs {self.arrived[account][token]} and {uid}")
            whole = hashlib.sha256(octets[-delivery.size:]).digest() == delivery.digest
            added = octets[:-delivery.size]
            if not whole or not (added.endswith(b"\r\n") and added.startswith(b"Return-Path:")):
                raise Violation(f"{account} has {token} with other octets than were sent ({len(octets)} of them)")
            self.arrived[account][token] = uid
            return Mail(token, len(octets), digest, frozenset())

    def check_deliveries(self, database):
        """After every INBOX was looked at: each delivery is whole in all its places, or, unacknowledged, in none."""
        waiting = queued(database)
        with self.lock, self.sink.lock:
            for token, delivery in self.deliveries.items():
                if delivery.settled:
                    continue
                places = {account: token in self.arrived[account] for account in delivery.accounts}
                if delivery.outside:
                    places["the queue or outside"] = self.is_out_or_waiting(token, waiting)
                missing = [place for place, there in places.items() if not there]
                if delivery.acknowledged and missing:
                    raise Violation(f"{token} was acknowledged and is missing in {missing}")
                if missing and len(missing) != len(places):
                    raise Violation(f"{token} was accepted by halves: missing in {missing} of {list(places)}")
                delivery.settled = True
            for token in waiting:
                if token not in self.deliveries:
                    raise Violation(f"the queue holds a message that nobody submitted: {token}")

    def is_out_or_waiting(self, token, waiting):
        return token in waiting or self.sink.accepted[token] > 0 or self.reports[token] > 0 or (
            self.sink.refused[token] > 0)

    def after_fall(self, database):
        """Directly after a fall: what is out and still waits was in flight and may come out once more."""
        waiting = queued(database)
        with self.lock, self.sink.lock:
            for token in waiting:
                if self.sink.accepted[token] > 0:
                    self.sink.allowed[token] = self.sink.accepted[token] + 1
                    self.counts["outcomes in flight"] += 1
            if self.sink.faults:
                raise Violation("; ".join(self.sink.faults))

    def check_admin(self, database):
        for (table, key), (values, accepted, before) in self.admin.items():
            found = admin_row(database, table, key)
            allowed = [values] if accepted else [values, before[0] if before else None]
            if found not in allowed:
                raise Violation(f"command line: {table} {key} is {found} and must be {' or '.join(map(str, allowed))}")
            self.admin[table, key] = [found, True, None]

    def undelivered(self):
        """Submitted, acknowledged, and neither out nor reported: what the end must wait for."""
        with self.lock, self.sink.lock:
            return [d.token for d in self.deliveries.values() if d.outside and d.acknowledged and
                    not (self.reports[d.token] if d.rejected else self.sink.accepted[d.token])]


def queued(database):
    """Tokens of messages with a recipient that waits or is being sent."""
    rows = database.execute("SELECT i.message_id FROM queue_items i JOIN queue_recipients r ON r.queue = i.id "
                            "WHERE r.state IN (0, 1, 4)").fetchall()
    return {row[0].strip("<>").split("@")[0] for row in rows}


def admin_row(database, table, key):
    """The values of one thing that the command line changes; None where it is not there."""
    if table == "alias":
        rows = database.execute("SELECT t.target FROM aliases a JOIN alias_targets t ON t.alias = a.id WHERE a.address = ?"
                                " ORDER BY t.position", (key,)).fetchall()
        return [row[0] for row in rows] or None
    if table == "quota":
        rows = database.execute("SELECT quota_octets, quota_messages FROM accounts WHERE address = ?", (key,)).fetchall()
        return list(rows[0]) if rows else None
    if table == "account":
        rows = database.execute(
            "SELECT a.display_name, (SELECT count(*) FROM mailboxes b WHERE b.account = a.id) FROM accounts a "
            "WHERE a.address = ? AND a.password_hash LIKE '$argon2id$%'", (key,)).fetchall()
        return list(rows[0]) if rows else None
    raise ValueError(table)


def open_database(path):
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True)


# What must agree within mail.db, as SQL that finds nothing.
RULES = {
    "counters of mailboxes":
        "SELECT b.id, b.name FROM mailboxes b LEFT JOIN (SELECT mailbox, count(*) AS n, sum(size_octets) AS o, "
        "sum(flags & 1 = 0) AS u FROM entries GROUP BY mailbox) e ON e.mailbox = b.id WHERE b.messages <> coalesce(n, 0) "
        "OR b.octets <> coalesce(o, 0) OR b.unseen <> coalesce(u, 0)",
    "use of accounts":
        "SELECT a.id FROM accounts a WHERE used_messages <> (SELECT coalesce(sum(messages), 0) FROM mailboxes b WHERE "
        "b.account = a.id) OR used_octets <> (SELECT coalesce(sum(octets), 0) FROM mailboxes b WHERE b.account = a.id)",
    "references to messages":
        "SELECT m.id FROM messages m LEFT JOIN (SELECT message, count(*) AS n FROM (SELECT message FROM entries UNION ALL "
        "SELECT message FROM deleted_entries UNION ALL SELECT message FROM queue_items) GROUP BY message) r "
        "ON r.message = m.id WHERE m.refs <> coalesce(r.n, 0) OR m.refs = 0",
    "messages of entries":
        "SELECT message FROM (SELECT message FROM entries UNION ALL SELECT message FROM deleted_entries UNION ALL SELECT "
        "message FROM queue_items) WHERE message NOT IN (SELECT id FROM messages)",
    "octets of messages":
        "SELECT m.id FROM messages m LEFT JOIN segments s ON s.id = m.segment WHERE s.id IS NULL OR "
        "m.position + 32 + m.stored_octets > s.octets",
    "recipients of queue items":
        "SELECT id FROM queue_items WHERE id NOT IN (SELECT queue FROM queue_recipients) UNION ALL "
        "SELECT id FROM queue_recipients WHERE queue NOT IN (SELECT id FROM queue_items)",
}


def check_database(database):
    """SQLite's own check, and the rules above."""
    verdict = database.execute("PRAGMA integrity_check").fetchall()
    if verdict != [("ok",)]:
        raise Violation(f"integrity_check: {verdict[:10]}")
    for rule, sql in RULES.items():
        rows = database.execute(sql).fetchmany(10)
        if rows:
            raise Violation(f"{rule} do not agree: {rows}")
