"""A mail server that was unpacked beside the system, as its own process group, which takes mail into one Maildir: what
exim.py and opensmtpd.py have in common.
"""
import errno
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

START_SECONDS_MAX = 30


class UnpackedMta:
    """`name`: for errors and its folder; `owner`: the user it writes mail as."""

    def __init__(self, name, owner, address, port):
        self.name, self.address, self.port, self.process = name, address, port, None
        self.root = pathlib.Path(tempfile.mkdtemp(prefix=f"posthouse-{name.lower()}-"))
        os.chmod(self.root, 0o755)
        self.mailbox, self.log_file = self.root / "mail", self.root / "log"
        self.mailbox.mkdir()
        shutil.chown(self.mailbox, owner)

    def command(self):
        """What starts it in the foreground."""
        raise NotImplementedError

    def start(self):
        self.wait_for_port()
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, start_new_session=True)
        end = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                socket.create_connection((self.address, self.port)).close()
                return self
            except ConnectionRefusedError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise RuntimeError(f"{self.name} did not start:\n" + self.log()) from None
                time.sleep(0.02)

    def wait_for_port(self):
        """Until nobody listens there: a child of the one before may hold its socket a moment longer than its parent."""
        end = time.monotonic() + START_SECONDS_MAX
        while True:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((self.address, self.port))
                    return probe.listen()
                except OSError as error:
                    if error.errno != errno.EADDRINUSE or time.monotonic() > end:
                        raise
                    time.sleep(0.02)

    def stop(self):
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(timeout=30)
            self.process = None

    def remove(self):
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)

    def log_files(self):
        return [self.log_file]

    def log(self):
        return "".join(path.read_text(errors="replace").replace("\0", "") for path in self.log_files() if path.exists())

    def mail(self):
        return [path.read_bytes() for path in sorted(self.mailbox.glob("**/new/*"))]
