#!/usr/bin/env python3
"""A full disk under every kind of write: 452 4.3.1 or NO within a second, reading goes on, deleting makes room, and writing
comes back by itself within five seconds; nothing that was acknowledged is lost.

  tests/faults/disk_full.py [floor|wall]

`floor`: the free space falls below [store] free_min. `wall`: free_min is 0, and the disk itself refuses (ENOSPC).
The disk is an ext4 in a loop file; where loop devices are missing, a tmpfs of that size.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import disk_clients as clients  # noqa: E402
import house as houses  # noqa: E402
import powercut  # noqa: E402
from bed import Server  # noqa: E402
from disk_clients import must  # noqa: E402
from sink import Sink  # noqa: E402

MEBI = 96
FLOOR = {"floor": '"8M"', "wall": '"0"'}
REFUSE_SECONDS_MAX = 1.0
RESUME_SECONDS_MAX = 5.0
BODY_OCTETS = 200_000   # more than what may lie free within a file's last block
LARGE_OCTETS = 9 << 20  # spooled to a file of its own


class Tmpfs:
    def __init__(self, mebi):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="posthouse-disk-"))
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebi}m", "tmpfs", str(self.path)], check=True,
                       capture_output=True)

    def remove(self):
        subprocess.run(["umount", "-l", str(self.path)], check=True, capture_output=True)
        shutil.rmtree(self.path, ignore_errors=True)


def make_disk():
    """A small disk of its own; what it is."""
    if os.geteuid() != 0:
        houses.skip("mounting a small disk needs root")
    try:
        return powercut.Volume(MEBI), "ext4 on a loop device"
    except (OSError, subprocess.CalledProcessError) as no_loop:
        try:
            return Tmpfs(MEBI), "tmpfs"
        except (OSError, subprocess.CalledProcessError) as refused:
            houses.skip(f"a small disk cannot be made here: {no_loop}; {refused}")


class Ballast:
    """Takes up the room that is left, at once, and gives it back."""

    def __init__(self, folder):
        self.folder, self.file = folder, folder / "ballast"

    def free(self):
        facts = os.statvfs(self.folder)
        return facts.f_bavail * facts.f_frsize

    def fill(self, leave=0):
        with open(self.file, "ab") as out:
            step = 64 << 20
            while step >= 4096 and self.free() > leave:
                try:
                    size = os.fstat(out.fileno()).st_size
                    os.posix_fallocate(out.fileno(), size, min(step, max(4096, self.free() - leave)))
                except OSError:
                    step //= 2

    def drop(self):
        self.file.unlink(missing_ok=True)


class GatedSink(Sink):
    """Takes a message only when the gate is open: the outcome then falls into the full disk."""

    def __init__(self):
        self.gate, self.waiting = threading.Event(), threading.Event()
        super().__init__()

    def take(self, message):
        self.waiting.set()
        self.gate.wait(60)
        return super().take(message)


class Trial:
    def __init__(self, way):
        self.way, self.times = way, []
        self.disk, kind = make_disk()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="posthouse-full-"))
        self.sink = GatedSink()
        self.ledger = clients.Ledger()
        self.house = Server(self.folder, parent=self.disk.path, relay=f"smtp+plain://127.0.0.1:{self.sink.port}",
                            config={"store": {"free_min": FLOOR[way]}, "dns": {"servers": '["127.0.0.1@9"]'}})
        self.tls = self.house.tls()
        self.tls.check_hostname = False
        self.ballast = Ballast(self.house.folder)
        print(f"{way}: {MEBI} MiB, {kind}", flush=True)

    def start(self):
        self.house.launch({})
        self.house.wait_until_ready()
        self.imap = clients.login(self.house, self.tls)

    # -- steps ----------------------------------------------------------------------------------------------------------
    def run(self):
        self.start()
        self.prepare()
        for step in (self.during_data, self.during_chunks, self.during_large, self.during_append, self.during_large_append):
            step()
            self.resume(step.__name__)
        self.during_outcome()
        self.small_changes()
        self.resume("small_changes")
        must(self.house.process.poll() is None, "the server ended")
        self.imap.close()
        must(self.house.stop() == 0, "the server did not end well")
        self.start()
        self.ledger.check(self.house, self.tls)
        self.imap.close()
        refused = max(seconds for what, seconds in self.times if what == "refused")
        resumed = max(seconds for what, seconds in self.times if what == "resumed")
        print(f"{self.way}: refused within {refused:.3f} s, resumed within {resumed:.3f} s, nothing lost", flush=True)

    def prepare(self):
        for number in range(4):
            token, octets = self.ledger.message(BODY_OCTETS)
            must(clients.data(self.house, octets).done, "the store is well and refuses")
            self.ledger.add("INBOX", token)
        token, octets = self.ledger.message(BODY_OCTETS)
        must(clients.append(self.imap, "Archive", octets).done, "the store is well and refuses")
        self.ledger.add("Archive", token)

    def fill(self):
        self.ballast.fill(leave=(4 << 20) if self.way == "floor" else 0)
        # The server asks for the free space four times a second; a write in between is taken, and rightly so.
        time.sleep(0.3)

    def refused(self, what, answer, code):
        must(not answer.done, f"{what}: the disk is full, yet: {answer}")
        must(code in answer.text, f"{what}: {code} was due: {answer}")
        must(answer.seconds < REFUSE_SECONDS_MAX, f"{what}: refused only after a while: {answer}")
        self.times.append(("refused", answer.seconds))
        self.read()

    def read(self):
        """Reading goes on, for those who are there and for those who come."""
        for imap in (self.imap, clients.login(self.house, self.tls)):
            for box, wanted in self.ledger.there.items():
                found = clients.read_box(imap, box)
                for token, octets in wanted.items():
                    must(found.get(token) == [octets], f"{box}: {token} cannot be read while the disk is full")
            if imap is not self.imap:
                imap.close()

    def resume(self, what):
        self.ballast.drop()
        began = time.monotonic()
        token, octets = self.ledger.message(BODY_OCTETS)
        while True:
            answer = clients.data(self.house, octets)
            if answer.done:
                break
            must(time.monotonic() - began < RESUME_SECONDS_MAX, f"after {what}: there is room again, yet: {answer}")
            time.sleep(0.02)
        self.times.append(("resumed", time.monotonic() - began))
        self.ledger.add("INBOX", token)

    def during_data(self):
        token, octets = self.ledger.message(BODY_OCTETS)
        self.refused("DATA", clients.data(self.house, octets, midway=self.fill), "452 4.3.1")
        self.refused("MAIL or DATA", clients.data(self.house, octets), "452 4.3.1")

    def during_chunks(self):
        token, octets = self.ledger.message(BODY_OCTETS)
        self.refused("BDAT", clients.data(self.house, octets, midway=self.fill, chunks=True), "452 4.3.1")

    def during_large(self):
        for chunks in (False, True):
            token, octets = self.ledger.message(2 * LARGE_OCTETS)
            answer = clients.data(self.house, octets, midway=self.fill, chunks=chunks)
            self.refused("a large message", answer, "452 4.3.1")
            self.ballast.drop()
            self.resume("a large message")
            must(not os.listdir(self.house.data / "tmp"), "a refused message keeps room in DATA/tmp")

    def during_append(self):
        token, octets = self.ledger.message(BODY_OCTETS)
        self.refused("APPEND", clients.append(self.imap, "Archive", octets, midway=self.fill), "[UNAVAILABLE]")

    def during_large_append(self):
        token, octets = self.ledger.message(2 * LARGE_OCTETS)
        self.refused("a large APPEND", clients.append(self.imap, "Archive", octets, midway=self.fill), "[UNAVAILABLE]")

    def during_outcome(self):
        """The remote has taken the message, and that cannot be written down: it is not sent again and again."""
        token, octets = self.ledger.message(2000, sender=self.house.account)
        import hashlib
        self.sink.expect(token, len(octets), hashlib.sha256(octets).digest())
        must(clients.submit(self.house, self.tls, octets, "x@far.example").done, "the store is well and refuses")
        must(self.sink.waiting.wait(30), "nothing goes out")
        self.fill()
        self.sink.gate.set()
        time.sleep(3)
        self.resume("an outcome")
        end = time.monotonic() + RESUME_SECONDS_MAX
        while self.waiting() and time.monotonic() < end:
            time.sleep(0.05)
        must(not self.waiting(), "the outcome was not recorded when there was room again")
        must(self.sink.accepted[token] == 1, f"sent {self.sink.accepted[token]} times")

    def waiting(self):
        database = clients.open_database(self.house.data / "mail.db")
        try:
            return database.execute("SELECT count(*) FROM queue_recipients WHERE state IN (0, 1)").fetchone()[0]
        finally:
            database.close()

    # -- what needs little room: above the wall it may do its work, and must when the floor alone is reached ------------
    def small_changes(self):
        self.imap.ask("SELECT INBOX")
        self.fill()
        self.copies()
        self.flags()
        self.administration()
        self.deletion()

    def either(self, what, answer):
        """Done, or refused in good form."""
        if not answer.done:
            must(self.way == "wall", f"{what}: the floor is for what adds mail: {answer}")
            self.refused(what, answer, "[UNAVAILABLE]")
            self.imap.ask("SELECT INBOX")
        return answer.done

    def copies(self):
        before = clients.read_box(self.imap, "INBOX")
        self.imap.ask("SELECT INBOX")
        for number in range(200):
            answer = clients.ask(self.imap, "UID COPY 1:* Copies" if number else "CREATE Copies")
            if not self.either("COPY", answer):
                return
            if number == 1:
                for token in before:
                    self.ledger.add("Copies", token)
                # More than once in one mailbox from here on: only the wall is of interest.
                if self.way == "floor":
                    return
                self.ledger.there.pop("Copies")

    def flags(self):
        answer = clients.ask(self.imap, "UID STORE 1:* +FLAGS (\\Flagged)")
        if self.either("STORE", answer):
            self.imap.ask("UID SEARCH UNFLAGGED")
            must(self.imap.untagged[0][0].strip() in (b"* SEARCH",), f"acknowledged flags: {self.imap.untagged}")

    def administration(self):
        for line, sql, values in (
                (("account", "add", "new@home.example"), "SELECT 1 FROM accounts WHERE address = ?", ("new@home.example",)),
                (("alias", "add", "other@home.example", self.house.account), "SELECT 1 FROM aliases WHERE address = ?",
                 ("other@home.example",))):
            code, said, seconds = clients.command(self.house, *line)
            if code == 0:
                self.ledger.admin.append((sql, values))
                continue
            must(self.way == "wall", f"{line}: the floor is for what adds mail: {said}")
            must(code == 1 and said.count("\n") == 1, f"{line}: one sentence and exit 1 were due: {code} {said}")
            must("full" in said and "make room" in said and "(13)" not in said, f"{line}: that is no help: {said}")
            print(f"  {' '.join(line[:2])}: {said.strip()}")

    def deletion(self):
        """What makes room: always above the floor; at the wall as far as the log of the database has room."""
        self.imap.ask("SELECT Archive")
        done = self.either("STORE", clients.ask(self.imap, "STORE 1 +FLAGS (\\Deleted)"))
        self.imap.ask("SELECT Archive")
        if done and self.either("EXPUNGE", clients.ask(self.imap, "EXPUNGE")):
            self.ledger.there["Archive"] = {}
        print(f"{self.way}: {'deleted' if done else 'could not delete'} while the disk was full")

    def remove(self):
        if self.house.process is not None:
            self.house.kill()
        self.sink.close()
        self.disk.remove()
        shutil.rmtree(self.folder, ignore_errors=True)


def main():
    for way in sys.argv[1:] or ("floor", "wall"):
        trial = Trial(way)
        try:
            trial.run()
        except BaseException:
            print("---- the end of the server's log\n" + trial.house.log()[-4000:])
            raise
        finally:
            trial.remove()


main()
