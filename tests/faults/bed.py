"""A store on a disk whose power can be cut, with all that watches it: the server's life from start to fall."""
import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))
import house  # noqa: E402
import load  # noqa: E402
import powercut  # noqa: E402
from oracle import Box, Oracle, Tree, Violation, check_database, open_database  # noqa: E402
from sink import Sink  # noqa: E402
from wire import Fall  # noqa: E402

START_SECONDS_MAX = 60
DRAIN_SECONDS_MAX = 120
ALICE, BOB, SPARE = "alice@home.example", "bob@home.example", "spare@home.example"


class Server(house.House):
    """A House whose start can be watched and cut short. Its log lies off the disk that fails."""

    def __init__(self, log_folder, **options):
        self.binary = house.BINARY
        super().__init__(**options)
        self.log_file = pathlib.Path(log_folder) / "server.log"

    def launch(self, environment):
        """Begins a start; wait_until_ready() ends it."""
        self.notify_folder = tempfile.TemporaryDirectory()
        path = os.path.join(self.notify_folder.name, "notify")
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(path)
        self.notify.settimeout(0.02)
        self.launched, self.doomed = time.monotonic(), "POSTHOUSE_FAIL_POINT" in environment
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen([self.binary, "serve", "--config", str(self.config_file)], stdout=log,
                                            stderr=log, env={**os.environ, **environment, "NOTIFY_SOCKET": path})

    def wait_until_ready(self):
        """Seconds from the launch to READY=1; None where a fail point ended the start."""
        while True:
            try:
                if b"READY=1" in self.notify.recv(4096).split(b"\n"):
                    break
            except TimeoutError:
                if self.doomed and (self.process.poll() is not None or powercut.is_stopped(self.process.pid)):
                    return self.forget_launch()
                if self.process.poll() is not None or time.monotonic() - self.launched > START_SECONDS_MAX:
                    raise Violation("the server does not start:\n" + self.log()) from None
        took = time.monotonic() - self.launched
        self.ports = {name: (value[0] if isinstance(value, list) else value)
                      for name, value in json.loads((self.data / "run" / "ports.json").read_text()).items()}
        self.forget_launch()
        return took

    def forget_launch(self):
        self.notify.close()
        self.notify_folder.cleanup()


class Trial:
    """What the clients of one start share."""

    def __init__(self, bed, name, seed, thorough):
        self.name, self.seed, self.thorough = name, seed, thorough
        self.home, self.tls, self.oracle, self.large = bed.home, bed.tls, bed.oracle, bed.large
        self.environment = bed.environment
        self.accounts, self.spare = [ALICE, BOB], SPARE
        # One after the other for each account: the server remembers a password once it was checked, which takes long.
        self.logins = {account: threading.Lock() for account in self.accounts}
        self.fall, self.failed = Fall(), threading.Event()
        self.administrator = load.Administrator(self, "cli")
        self.clients = [load.ImapClient(self, tree.name, bed.owners[tree.name], tree) for tree in bed.trees]
        self.clients += [load.SmtpClient(self, "smtp"), load.Submitter(self, "submit", ALICE), self.administrator]
        self.looked = threading.Semaphore(0)  # each client, when it has seen all that is its own
        self.go = threading.Event()           # what they saw agrees: write on

    def errors(self):
        return [client.error for client in self.clients if client.error]


class Bed:
    """`large`: the share of messages above the spool limit."""

    def __init__(self, mebi=512, large=0.01):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="posthouse-faults-"))
        self.volume = powercut.Volume(mebi)
        self.sink = Sink()
        self.oracle = Oracle(self.sink, self.folder / "journal")
        self.large, self.keep = large, False
        self.trial = None
        self.environment = {}  # of every process of Posthouse from now on
        self.home = Server(self.folder, account=ALICE, parent=self.volume.path,
                           relay=f"smtp+plain://127.0.0.1:{self.sink.port}",
                           config={"store": {"free_min": '"16M"'}, "dns": {"servers": '["127.0.0.1@9"]'}})
        for account in (BOB, SPARE):
            self.home.add_account(account)
        self.oracle.admin["quota", SPARE] = [[0, 0], True, None]
        self.tls = self.home.tls()
        self.tls.check_hostname = False
        self.trees = [Tree("c0", ALICE), Tree("c1", BOB), Tree("c2")]
        self.owners = {"c0": ALICE, "c1": BOB, "c2": ALICE}
        for tree in self.trees:
            tree.settle({"INBOX": Box()} if tree.inbox else {})
        self.starts = []

    # -- life -----------------------------------------------------------------------------------------------------------
    def start(self, point=None):
        """`point`: name:count:stop or name:count:kill, where fail points are built in (storage/fail_point.h). False: the
        server came to that place before it was ready."""
        self.launch(point)
        took = self.home.wait_until_ready()
        if took is not None:
            self.starts.append(took)
        return took is not None

    def launch(self, point=None):
        self.home.launch({**self.environment, **({"POSTHOUSE_FAIL_POINT": point} if point else {})})

    def begin(self, name, seed, thorough=False, writing=True):
        """Everybody looks at what there is, then the load starts; not where a fail point ends it before."""
        trial = self.trial = Trial(self, name, seed, thorough)
        trial.fall.expected = self.home.doomed
        for client in trial.clients:
            client.start()
        for _ in trial.clients:
            while not trial.looked.acquire(timeout=0.02):
                if trial.failed.is_set():
                    raise trial.errors()[0]
                if self.is_down():
                    return trial
        with contextlib.closing(open_database(self.home.data / "mail.db")) as database:
            self.oracle.check_deliveries(database)
        if writing:
            trial.go.set()
        return trial

    def is_down(self):
        return self.home.process.poll() is not None or powercut.is_stopped(self.home.process.pid)

    def wait(self, trial, seconds):
        """For the fall to come: the time, or a fail point that stopped or killed the server."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not trial.failed.is_set():
            if self.is_down():
                return True
            time.sleep(0.002)
        return False

    def cut(self, trial):
        """The power goes, by the recipe: stop every process, drain, shut the file system down, kill, mount anew."""
        trial.fall.expected = True
        command = trial.administrator.block()
        pids = [self.home.process.pid] + ([command.pid] if command and command.poll() is None else [])
        powercut.freeze(pids)
        self.end_clients(trial, but=trial.administrator)
        self.volume.shut_down()
        if command:
            command.kill()  # nothing where it has ended
        self.home.kill()
        trial.administrator.join()
        self.volume.unmount()
        self.volume.mount()
        self.check(trial)

    def kill(self, trial, command_too):
        """kill -9 of the server; the file system goes on."""
        trial.fall.expected = True
        command = trial.administrator.block()
        self.home.kill()
        if command and command_too and command.poll() is None:
            command.kill()
        self.end_clients(trial)
        self.check(trial)

    def stop(self, trial):
        """SIGTERM: what is in flight is finished or refused."""
        trial.fall.expected = True
        trial.administrator.block()
        code = self.home.stop()
        self.end_clients(trial)
        if code != 0:
            raise Violation(f"SIGTERM: the server ended with {code}:\n{self.home.log()}")
        self.check(trial)

    def end_clients(self, trial, but=None):
        trial.fall.ending.set()
        trial.fall.frozen.set()
        for client in trial.clients:
            if client is not but:
                client.join()
        if trial.errors():
            raise trial.errors()[0]

    def cut_start(self, seconds, point=None):
        """The power goes while the server starts, perhaps recovering from the cut before: at a time or at a place."""
        self.launch(point)
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.home.process.poll() is None:
            if point and powercut.is_stopped(self.home.process.pid):
                break
            time.sleep(0.001)
        self.home.forget_launch()
        self.cut_alone()

    def cut_alone(self):
        """The power goes while no client is there."""
        powercut.freeze([self.home.process.pid])
        self.volume.shut_down()
        self.home.kill()
        self.volume.unmount()
        self.volume.mount()
        self.check()

    # -- comparison -----------------------------------------------------------------------------------------------------
    def check(self, trial=None):
        """What can be seen without the server."""
        if trial and trial.errors():
            raise trial.errors()[0]
        with contextlib.closing(open_database(self.home.data / "mail.db")) as database:
            check_database(database)
            self.oracle.check_admin(database)
            self.oracle.after_fall(database)

    def finish(self, name, seed):
        """The end: everything is read once more, and what was submitted comes out."""
        self.start()
        self.end_load(self.begin(name, seed, thorough=True, writing=False))
        end = time.monotonic() + DRAIN_SECONDS_MAX
        while self.left() and time.monotonic() < end:
            time.sleep(0.05)
        # The reports about what was refused came last.
        self.end_load(self.begin(name + "z", seed, writing=False))
        if self.oracle.undelivered():
            raise Violation(f"never sent, though it was acknowledged: {self.oracle.undelivered()[:20]}")
        self.home.stop()
        self.check()

    def end_load(self, trial):
        trial.fall.expected = True
        trial.administrator.block()
        trial.fall.ending.set()
        for client in trial.clients:
            client.join()
        if trial.errors():
            raise trial.errors()[0]

    def left(self):
        with contextlib.closing(open_database(self.home.data / "mail.db")) as database:
            return database.execute("SELECT count(*) FROM queue_recipients WHERE state IN (0, 1)").fetchone()[0]

    def remove(self):
        if self.trial:
            self.trial.fall.expected = True
            self.trial.fall.ending.set()
            command = self.trial.administrator.block()
            if command and command.poll() is None:
                command.kill()
        if self.home.process is not None:
            self.home.kill()
        self.sink.close()
        self.oracle.journal.close()
        if self.keep:
            self.volume.unmount()
            print(f"kept: the disk {self.volume.image}, the journal and the server's log in {self.folder}")
            return
        self.volume.remove()
        shutil.rmtree(self.folder, ignore_errors=True)
