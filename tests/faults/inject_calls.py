#!/usr/bin/env python3
"""Fails the Nth call to the system of a running server, for N = 1, 2, 3 ... until the scenario has passed unharmed: no false
acknowledgement, everything acknowledged is found after kill -9 and a start, and the server goes on or ends with a sentence.

  tests/faults/inject_calls.py [--trials 60] [--seed N]     a sample of all combinations
  tests/faults/inject_calls.py --all                        every one of them

strace injects the errors; it counts the calls of each thread on its own, so that N is the Nth of the commit thread as well
as of every reader. (The same loop inside the store, call by call and a hundred times as fast, is unit_storage_faults.)
"""
import argparse
import collections
import itertools
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import disk_clients as clients  # noqa: E402
import house as houses  # noqa: E402
from bed import Server  # noqa: E402
from disk_clients import Gone, must  # noqa: E402

CALLS = ("fdatasync", "fsync", "pwrite64", "pwritev", "openat", "renameat2", "ftruncate", "write")
ERRORS = ("EIO", "ENOSPC", "EDQUOT")
LARGE_OCTETS = 9 << 20
TRIALS_PER_HOUSE = 20
ATTACH_SECONDS_MAX = 20
ANSWER_SECONDS_MAX = 15.0
EXIT_SECONDS_MAX = 40  # a stop waits for connections and for questions to the DNS, 30 s at most
SAMPLE_N_MAX = 12


class Strace:
    """Attached to all threads of a process from the constructor to detach()."""

    def __init__(self, pid, folder, *words):
        self.said = open(folder / "strace.err", "wb+")
        self.process = subprocess.Popen(["strace", "-f", "-p", str(pid), *words], stdout=subprocess.DEVNULL, stderr=self.said)
        end = time.monotonic() + ATTACH_SECONDS_MAX
        # Attached is what the kernel says it is: each thread has a tracer.
        while not all("TracerPid:\t0" not in status for status in self.statuses(pid)):
            if self.process.poll() is not None or time.monotonic() > end:
                self.said.seek(0)
                houses.skip("strace cannot attach here: " + self.said.read().decode(errors="replace").strip()[:200])
            time.sleep(0.005)

    @staticmethod
    def statuses(pid):
        return [path.read_text() for path in pathlib.Path(f"/proc/{pid}/task").glob("*/status")]

    def detach(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.wait()
        self.said.close()


class Bed:
    """A house for some trials."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="posthouse-inject-")
        path = pathlib.Path(self.folder.name)
        self.house = Server(path, parent=path, config={"store": {"free_min": '"1M"'}, "dns": {"servers": '["127.0.0.1@9"]'}})
        self.tls = self.house.tls()
        self.tls.check_hostname = False
        self.path, self.number = path, 0
        self.ledger = clients.Ledger()

    def start(self):
        self.house.launch({})
        self.house.wait_until_ready()

    def remove(self):
        if self.house.process is not None:
            self.house.kill()
        self.folder.cleanup()


class Scenario:
    """Every kind of write once. `flagged`, `gone`: UIDs of the box for which that was acknowledged."""

    def __init__(self, bed):
        self.bed, self.house, self.tls, self.ledger = bed, bed.house, bed.tls, bed.ledger
        bed.number += 1
        self.box, self.copies = f"B{bed.number}", f"C{bed.number}"
        self.tokens, self.flagged, self.gone, self.done, self.refused = [], False, False, 0, []

    def prepare(self):
        """Without a fault: the boxes, with two messages."""
        self.imap = clients.login(self.house, self.tls)
        for box in (self.box, self.copies):
            self.imap.ask(f"CREATE {box}")
        for _ in range(2):
            token, octets = self.ledger.message(1000)
            must(clients.append(self.imap, self.box, octets).done, "a store without a fault refuses")
            self.ledger.add(self.box, token)
            self.tokens.append(token)
        self.imap.ask(f"SELECT {self.box}")

    def note(self, answer):
        must(answer.seconds < ANSWER_SECONDS_MAX, f"no answer for {answer.seconds:.1f} s")
        # A server that ends for its supervisor says so to whoever it still can.
        if answer.text.startswith("* BYE [UNAVAILABLE]"):
            raise Gone(answer.text)
        if answer.done:
            self.done += 1
        else:
            self.refused.append(answer.text.strip())
            good = re.match(r"(4\d\d \d\.\d\.\d|NO \[(UNAVAILABLE|CORRUPTION)\])", answer.text)
            must(good, f"a failure of the disk is no reason for: {answer}")
        return answer.done

    def run(self):
        for step in (self.small, self.chunks, self.append, self.copy, self.flag, self.large, self.submission, self.expunge):
            try:
                step()
            except Gone:
                # The connection may go with the server only.
                self.house.process.wait(timeout=EXIT_SECONDS_MAX)
                return

    def small(self):
        token, octets = self.ledger.message(2000)
        if self.note(clients.data(self.house, octets)):
            self.ledger.add("INBOX", token)

    def chunks(self):
        token, octets = self.ledger.message(70_000)
        if self.note(clients.data(self.house, octets, chunks=True)):
            self.ledger.add("INBOX", token)

    def append(self):
        token, octets = self.ledger.message(3000)
        if self.note(clients.append(self.imap, self.box, octets)):
            self.ledger.add(self.box, token)

    def copy(self):
        if self.note(clients.ask(self.imap, f"UID COPY 1:2 {self.copies}")):
            for token in self.tokens:
                self.ledger.add(self.copies, token)

    def flag(self):
        self.flagged = self.note(clients.ask(self.imap, "UID STORE 1 +FLAGS (\\Flagged \\Deleted)"))

    def large(self):
        token, octets = self.ledger.message(LARGE_OCTETS)
        if self.note(clients.append(self.imap, self.box, octets)):
            self.ledger.add(self.box, token)

    def submission(self):
        token, octets = self.ledger.message(1500, sender=self.house.account)
        if self.note(clients.submit(self.house, self.tls, octets, "x@far.example")):
            self.ledger.queued.add(token)

    def expunge(self):
        if not self.flagged:
            return
        # What was not answered may have been done.
        self.ledger.there[self.box].pop(self.tokens[0])
        self.gone = self.note(clients.ask(self.imap, "UID EXPUNGE 1"))

    def check(self):
        self.ledger.check(self.house, self.tls)
        imap = clients.login(self.house, self.tls)
        imap.ask(f"EXAMINE {self.box}")
        imap.ask("UID SEARCH FLAGGED")
        found = imap.untagged[0][0].split()[2:]
        if self.gone:
            imap.ask("UID SEARCH UID 1")
            must(imap.untagged[0][0].split()[2:] == [], f"{self.box}: UID 1 was expunged")
        elif self.flagged and not self.refused:
            must(found == [b"1"], f"{self.box}: an acknowledged flag is gone: {found}")
        imap.close()


class Run:
    def __init__(self):
        self.bed, self.counts, self.trials = None, collections.Counter(), 0
        self.slowest = 0.0

    def ready(self):
        if self.bed is None:
            self.bed = Bed()
        self.bed.start()
        scenario = Scenario(self.bed)
        scenario.prepare()
        return scenario

    def calls(self):
        """How often the busiest thread makes each call in the scenario: up to where N is of interest."""
        scenario = self.ready()
        log = self.bed.path / "calls"
        strace = Strace(self.bed.house.process.pid, self.bed.path, "-e", "trace=" + ",".join(CALLS), "-o", str(log))
        scenario.run()
        strace.detach()
        must(not scenario.refused, f"without a fault: {scenario.refused}")
        made = collections.defaultdict(collections.Counter)
        for line in log.read_text(errors="replace").splitlines():
            found = re.match(r"(\d+) +(\w+)\(", line)
            if found:
                made[found[2]][found[1]] += 1
        self.end(scenario)
        return {call: max(made[call].values(), default=0) for call in CALLS}

    def trial(self, call, error, count, lasting):
        scenario = self.ready()
        house, self.trials = self.bed.house, self.trials + 1
        when = f"{count}+" if lasting else str(count)
        strace = Strace(house.process.pid, self.bed.path, "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}",
                        "-o", "/dev/null")
        try:
            scenario.run()
        finally:
            strace.detach()
        self.counts["acknowledged"] += scenario.done
        self.counts["refused"] += len(scenario.refused)
        self.counts["trials with a refusal"] += bool(scenario.refused)
        self.after(scenario)
        self.end(scenario)

    def after(self, scenario):
        """It goes on by itself, or has ended with a sentence."""
        house, began = self.bed.house, time.monotonic()
        while True:
            if house.process.poll() is None:
                try:
                    token, octets = self.bed.ledger.message(500)
                    if clients.data(house, octets).done:
                        self.bed.ledger.add("INBOX", token)
                        self.slowest = max(self.slowest, time.monotonic() - began)
                        return
                except Gone:
                    pass
            else:
                must(house.process.returncode == 1, f"the server ended with {house.process.returncode}")
                must("the store has failed for good" in house.log(), "the server ended without a word")
                self.counts["ended with a sentence"] += 1
                return
            must(time.monotonic() - began < EXIT_SECONDS_MAX, "the fault is over, and the store does not come back")
            time.sleep(0.05)

    def end(self, scenario):
        if self.bed.house.process.poll() is None:
            self.bed.house.kill()
        self.bed.start()
        scenario.check()
        self.bed.house.kill()
        if self.bed.number >= TRIALS_PER_HOUSE:
            self.bed.remove()
            self.bed = None


def plan(wanted, made):
    every = [(call, error, count, lasting) for call, error, lasting in itertools.product(CALLS, ERRORS, (False, True))
             for count in range(1, made[call] + 1)]
    if wanted.all:
        return every
    # The first calls of each kind matter most: what follows is more of the same.
    near = [one for one in every if one[2] <= SAMPLE_N_MAX]
    return random.Random(wanted.seed).sample(near, min(wanted.trials, len(near)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    houses.need("strace")
    if os.geteuid() != 0:
        houses.skip("attaching to the server needs root")
    run = Run()
    one = None
    try:
        made = run.calls()
        print("calls of the busiest thread: " + ", ".join(f"{call} {count}" for call, count in made.items()), flush=True)
        for one in plan(wanted, made):
            run.trial(*one)
            if run.trials % 20 == 0:
                print(f"{run.trials} trials: {dict(run.counts)}", flush=True)
    except BaseException:
        print(f"trial {one}" + ("\n---- the end of the server's log\n" + run.bed.house.log()[-4000:] if run.bed else ""))
        raise
    finally:
        if run.bed:
            run.bed.remove()
    print(f"{run.trials} trials, nothing lost: {dict(run.counts)}; back within {run.slowest:.2f} s")


main()
