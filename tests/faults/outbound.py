#!/usr/bin/env python3
"""kill -9 and power cuts while mail goes out, hundreds of times: a recipient whose message was in flight gets it twice at
most for each fall that it was in flight at, none gets none, and none that was recorded as delivered gets it again.

  tests/faults/outbound.py [--form plain,tls,direct,fallback] [--kills 300] [--cuts 0] [--recipients 4000] [--seed N]

  plain     one smarthost in clear                   tls       one over TLS, with a login
  direct    by MX to two domains (a real DNS), one of them over TLS as far as it goes
  fallback  the same, and a smarthost behind it for who refuses our address; at times both do, and the mail is held

The world outside are servers in this process that no kill reaches. They take their time behind the final dot, so that most
kills find messages whose fate the server does not know yet; some recipients are refused, some put off at first. What was
recorded is read from mail.db after each kill. In flight is what the last few messages of a connection held: what it took
before before those is recorded. A power cut (powercut.py) takes what was not synced besides; with --cuts, which need root and loop
devices, the store lies on a disk that can be cut. POSTHOUSE_BINARY names the program, else the debug build.
"""
import argparse
import collections
import contextlib
import pathlib
import random
import sqlite3
import ssl
import sys
import threading
import tempfile
import time

sys.dont_write_bytecode = True
sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(pathlib.Path(__file__).resolve().parents[1] / "interop")]
import powercut  # noqa: E402
from house import House, need, skip  # noqa: E402
from oracle import check_database, open_database  # noqa: E402
from outside import peers, submit  # noqa: E402
from remote import Remote  # noqa: E402

GOING_ON = (0, 1, 4)  # waiting, sending, held for a fault of ours
HELD = 4
PATTERN = "r@far.example"  # stays held by its route: the others are copied from it
USER, PASSWORD = "me@far.example", "a password of theirs"
REFUSED, LATER, EACH = "refused", "later", 7  # of so many messages one is for several
DRAIN_SECONDS_MAX = 240
UNRECORDED_MAX = 3  # messages of a connection: one that is being recorded, one answered behind it, one just taken
DELIVERED, BOUNCED, SUPPRESSED = 5, 6, 18  # events.kind


class Violation(Exception):
    pass


class Outside(Remote):
    """Counts what each recipient got."""

    def __init__(self, seed, **options):
        super().__init__(**options)
        self.random = random.Random(seed)
        self.taken, self.put_off = collections.Counter(), collections.Counter()
        self.blocks = self.patient = False
        self.here, self.quiet = threading.local(), threading.Condition(self.lock)
        self.sessions, self.talking = [], 0  # since the last fall: what each connection took, in its order

    def talk(self, *ends):
        self.here.took = []
        with self.quiet:
            self.sessions.append(self.here.took)
            self.talking += 1
        try:
            super().talk(*ends)
        finally:
            with self.quiet:
                self.talking -= 1
                self.quiet.notify_all()

    def fallen(self):
        """The sessions, once all have read to their end; the other side is gone."""
        with self.quiet:
            if not self.quiet.wait_for(lambda: self.talking == 0, 30):
                raise Violation("a connection outlives the server")
            sessions, self.sessions = self.sessions, []
            return sessions

    def take(self, message):
        with self.lock:
            self.taken.update(message.recipients)
            self.here.took.append(message.recipients)
            wait = self.random.choice((0, 0, 0.002, 0.01, 0.05))
        time.sleep(wait)  # it has it, and has not said so
        return "250 2.0.0 taken"

    def judge(self, sender, recipient):
        if self.blocks:
            return "550 5.7.1 Service unavailable; client host [192.0.2.77] blocked using zen.spamhaus.org"
        if recipient.startswith(REFUSED):
            return "550 5.1.1 nobody of that name"
        with self.lock:
            if recipient.startswith(LATER) and not self.put_off[recipient] and not self.patient:
                self.put_off[recipient] += 1
                return "450 4.2.1 come back in 1 second"
        return "250 2.1.5 ok"

    def counts(self):
        with self.lock:
            return collections.Counter(self.taken)


class Plain:
    """One smarthost in clear."""
    DOMAINS = ("far.example",)

    def __init__(self, seed, generator):
        self.random, self.close_also = generator, contextlib.ExitStack()
        self.remotes = self.listen(seed)

    def listen(self, seed):
        return [Outside(seed)]

    def config(self):
        return {}

    def add_route(self, home):
        home.cli("route", "add", "all", f"smtp+plain://127.0.0.1:{self.remotes[0].port}")

    def change(self, home):
        """What else happens while the server is down."""

    def heal(self, home):
        """Everything works from now on."""
        for remote in self.remotes:
            remote.patient = True

    def counts(self):
        return sum((remote.counts() for remote in self.remotes), collections.Counter())

    def fallen(self):
        return [session for remote in self.remotes for session in remote.fallen()]

    def close(self):
        for remote in self.remotes:
            remote.close()
        self.close_also.close()


class Tls(Plain):
    """One smarthost over TLS, with a login."""

    def listen(self, seed):
        self.authority = peers.Authority()
        self.close_also.callback(self.authority.remove)
        return [Outside(seed, tls=server_tls(self.authority, "localhost"), login=(USER, PASSWORD))]

    def add_route(self, home):
        home.cli("route", "add", "all", f"smtp://{USER}@localhost:{self.remotes[0].port}", "--ca-file",
                 str(self.authority.certificate), "--password-file", "-", stdin=PASSWORD + "\n")


class Direct(Plain):
    """By MX to two domains, one of them over TLS without a certificate that proves anything."""
    DOMAINS = ("far.example", "wide.example")
    ZONE = ("far.example. MX 10 mx.far.example.", "mx.far.example. A 127.0.0.1",
            "wide.example. MX 10 mx.wide.example.", "mx.wide.example. A 127.0.0.2")

    def listen(self, seed):
        need("knotd", "openssl")
        authority = peers.Authority()
        self.close_also.callback(authority.remove)
        far = Outside(seed)
        wide = Outside(seed + 1, address="127.0.0.2", port=far.port, tls=server_tls(authority, "mx.wide.example"))
        self.dns_port = self.close_also.enter_context(peers.knot(self.ZONE, peers.free_port()))
        return [far, wide]

    def config(self):
        return {"dns": {"servers": f'["127.0.0.1@{self.dns_port}"]'},
                "relay": {"mx_port": str(self.remotes[0].port), "allow_loopback_mx": "true"}}

    def add_route(self, home):
        home.cli("route", "add", "all", "direct")


class Fallback(Direct):
    """By MX, and by a smarthost where our address is refused."""

    def listen(self, seed):
        return [*super().listen(seed), Outside(seed + 2)]

    def add_route(self, home):
        home.cli("way", "add", "relay", f"smtp+plain://127.0.0.1:{self.remotes[2].port}")
        home.cli("route", "add", "all", "direct,relay")

    def change(self, home):
        for remote, share in zip(self.remotes, (0.4, 0.4, 0.15)):
            remote.blocks = self.random.random() < share
        if self.random.random() < 0.5:
            self.forget(home)

    def heal(self, home):
        super().heal(home)
        for remote in self.remotes:
            remote.blocks = False
        self.forget(home)

    @staticmethod
    def forget(home):
        """What is remembered against the ways; and what is held for it is let go."""
        for way in ("direct", "relay"):
            home.cli("way", "forget", way)


FORMS = {"plain": Plain, "tls": Tls, "direct": Direct, "fallback": Fallback}


def server_tls(authority, name):
    files = authority.issue(name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["smtpd_tls_cert_file"], files["smtpd_tls_key_file"])
    return context


def names(count, generator, domains):
    """Addresses by message: one, or several of one message."""
    out, number = [], 0
    while number < count:
        size = generator.randrange(2, 12) if generator.randrange(EACH) == 0 else 1
        kinds = [generator.choices(("r", REFUSED, LATER), (90, 5, 5))[0] for _ in range(size)]
        out.append([f"{kind}{number + place}@{generator.choice(domains)}" for place, kind in enumerate(kinds)])
        number += size
    return out


def fill(data, messages):
    """Queues them behind what waits already: its row is copied, since a thousand logins are slow. The server is down."""
    with open_for_writing(data) as database:
        database.row_factory = sqlite3.Row
        item = dict(database.execute("SELECT * FROM queue_items ORDER BY id LIMIT 1").fetchone())
        row = dict(database.execute("SELECT * FROM queue_recipients ORDER BY id LIMIT 1").fetchone())

        def insert(table, values):
            columns = ", ".join(values)
            return database.execute(f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(values))})",
                                    tuple(values.values())).lastrowid

        for addresses in messages:  # all of one text
            queue = insert("queue_items", {k: v for k, v in item.items() if k != "id"})
            for address in addresses:
                insert("queue_recipients", {**{k: v for k, v in row.items() if k != "id"}, "queue": queue, "state": 0,
                                            "address": address, "domain": address.partition("@")[2], "next_attempt_ms": 0})
        database.execute("UPDATE messages SET refs = refs + ? WHERE id = ?", (len(messages), item["message"]))


def going_on(rows):
    return sum(1 for address, state in rows.items() if state in GOING_ON and address != PATTERN)


@contextlib.contextmanager
def open_for_writing(data):
    """Closed at the end: one that is only forgotten keeps its files open until Python looks for cycles."""
    with contextlib.closing(sqlite3.connect(data / "mail.db")) as database, database:
        yield database


class Trial:
    def __init__(self, wanted, form):
        self.wanted, self.random = wanted, random.Random(wanted.seed)
        self.outside = FORMS[form](wanted.seed, self.random)
        self.volume = powercut.Volume(512) if wanted.cuts else None
        self.home = House(config={**self.outside.config(), "store": {"free_min": '"16M"'}},
                          parent=self.volume.path if self.volume else None)
        self.logs = tempfile.TemporaryDirectory()  # off the disk that fails
        self.home.log_file = pathlib.Path(self.logs.name) / "log"
        self.form = form
        self.messages = names(wanted.recipients, self.random, self.outside.DOMAINS)
        self.everybody = {address for message in self.messages for address in message}
        self.allowed = collections.Counter({address: 1 for address in self.everybody})
        self.recorded = {}  # address -> what it had got when the server knew of it
        self.in_flight = self.followed = self.batches = 0
        self.falls = collections.Counter()
        self.left_to_do = ["kill"] * wanted.kills + ["cut"] * wanted.cuts
        self.random.shuffle(self.left_to_do)
        self.held = []

    def prepare(self):
        """One message through the front door, held so that it is there to be copied; then all the others."""
        self.home.cli("route", "add", "all", "hold")
        self.home.start()
        submit(self.home, "one", PATTERN)
        self.wait(lambda rows: rows.get(PATTERN) == HELD, 30)
        assert self.home.stop() == 0
        fill(self.home.data, self.messages)
        self.home.cli("route", "remove", "all")
        self.outside.add_route(self.home)

    def rows(self):
        """State by address of all that the queue still knows."""
        database = open_database(self.home.data / "mail.db")
        try:
            return dict(database.execute("SELECT address, state FROM queue_recipients").fetchall())
        finally:
            database.close()

    def wait(self, done, seconds):
        end = time.monotonic() + seconds
        while not done(self.rows()):
            if time.monotonic() > end:
                raise Violation(f"not within {seconds} s")
            time.sleep(0.05)

    def look(self):
        """After a fall: what is recorded stays as it is; what was in flight may come once more."""
        sessions = self.outside.fallen()
        rows, counts = self.rows(), self.outside.counts()
        for session in sessions:
            for address in (address for took in session[:-UNRECORDED_MAX] for address in took):
                self.followed += 1
                if rows.get(address) in GOING_ON:
                    raise Violation(f"{address} was taken, {UNRECORDED_MAX} messages followed, and it is not recorded")
        for address in self.everybody:
            had = counts[address]
            if had > self.allowed[address]:
                raise Violation(f"{address} got it {had} times and may have it {self.allowed[address]} times")
            if address in self.recorded and had != self.recorded[address]:
                raise Violation(f"{address} was recorded as delivered and got it again")
            if rows.get(address) in GOING_ON:
                if address in self.recorded:
                    raise Violation(f"{address} was recorded as delivered and waits again")
                if had:  # taken, and the server does not know it
                    self.in_flight += had == self.allowed[address]
                    self.allowed[address] = had + 1
            elif address not in self.recorded:
                if not had and not address.startswith(REFUSED):
                    raise Violation(f"{address} left the queue and got nothing")
                self.recorded[address] = had
        self.held.append(sum(1 for state in rows.values() if state == HELD) - 1)
        return going_on(rows)

    def start(self):
        """Whoever was put off is due now: nothing waits for time to pass."""
        with open_for_writing(self.home.data) as database:
            database.execute("UPDATE queue_recipients SET next_attempt_ms = 0 WHERE state = 0")
        if self.volume:
            self.volume.sync()  # what the harness wrote is no part of the trial
        self.home.start()

    def cut(self):
        """The power goes: what was not synced is gone."""
        powercut.freeze([self.home.process.pid])
        self.volume.shut_down()
        self.home.kill()
        self.volume.unmount()
        self.volume.mount()

    def fall_once(self):
        # At the very beginning, or when every connection has carried many.
        enough = sum(self.outside.counts().values()) + self.random.choice((1, 1, self.wanted.recipients // 5))
        self.start()
        end = time.monotonic() + 4
        while sum(self.outside.counts().values()) < enough and time.monotonic() < end:
            time.sleep(0.002)
        time.sleep(self.random.uniform(0, 0.08))
        how = self.left_to_do.pop()
        self.cut() if how == "cut" else self.home.kill()
        self.falls[how] += 1
        left = self.look()
        self.outside.change(self.home)
        return left

    def add(self):
        """As many again."""
        more = names(self.wanted.recipients, self.random, self.outside.DOMAINS)
        self.batches += 1
        more = [[a.replace("@", f"-{self.batches}@") for a in message] for message in more]
        fill(self.home.data, more)
        self.everybody.update(a for message in more for a in message)
        self.allowed.update({a: 1 for message in more for a in message})

    def look_at_events(self, database):
        """Each has one end, and one alone."""
        ends = collections.defaultdict(list)
        for address, kind in database.execute("SELECT recipient, kind FROM events WHERE kind IN (?, ?, ?)",
                                              (DELIVERED, BOUNCED, SUPPRESSED)):
            ends[address].append(kind)
        for address in self.everybody:
            wanted = (BOUNCED, SUPPRESSED) if address.startswith(REFUSED) else (DELIVERED,)
            if len(ends[address]) != 1 or ends[address][0] not in wanted:
                raise Violation(f"{address} ends with the events {ends[address]}, not one of {wanted}")

    def finish(self):
        followed = self.followed
        self.add()
        self.outside.heal(self.home)
        self.start()
        self.wait(lambda rows: not going_on(rows), DRAIN_SECONDS_MAX)
        assert self.home.stop() == 0, "the server did not stop cleanly"
        self.look()
        database = open_database(self.home.data / "mail.db")
        check_database(database)
        self.look_at_events(database)
        database.close()
        counts = self.outside.counts()
        none = [a for a in self.everybody if not a.startswith(REFUSED) and not counts[a]]
        if none:
            raise Violation(f"{len(none)} got nothing, {none[0]} among them")
        twice = sum(1 for a in self.everybody if counts[a] > 1)
        held = max(self.held) if self.held else 0
        print(f"{self.form}: {self.falls['kill']} kills and {self.falls['cut']} power cuts while mail went out (up to {held} held "
              f"at one), {len(self.everybody)} recipients: none lost, {twice} got it twice of "
              f"{self.in_flight} that were in flight at a fall, 0 again of those recorded as delivered; {followed} "
              f"of broken connections, taken before their last {UNRECORDED_MAX} messages, were all recorded", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--form", default="plain,tls,direct,fallback", help="which of them, with commas between")
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--cuts", type=int, default=0)
    parser.add_argument("--recipients", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    wanted = parser.parse_args()
    if wanted.cuts and (why := powercut.why_not()):
        skip(why)
    print(f"seed {wanted.seed}", flush=True)
    for form in wanted.form.split(","):
        run(wanted, form)


def run(wanted, form):
    trial = Trial(wanted, form)
    try:
        trial.prepare()
        while trial.left_to_do:
            if trial.fall_once() == 0:
                trial.add()
        trial.finish()
    except BaseException:
        print("the end of the server's log:\n" + trial.home.log()[-3000:])
        raise
    finally:
        trial.home.remove()
        if trial.volume:
            trial.volume.remove()
        trial.logs.cleanup()
        trial.outside.close()


main()
