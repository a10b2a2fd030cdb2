"""Exim as a smarthost or as a mail exchanger, run from where tests/interop/unpack_exim put it: TLS, AUTH, every recipient in one Maildir. It
changes user, so it needs root; callers print "skipped: why".
"""
import errno
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import tempfile
import time

from peers import free_port

PLACE = pathlib.Path(os.environ.get("POSTHOUSE_EXIM", "/opt/exim-unpacked"))
USER = "nobody"
START_SECONDS_MAX = 30


def why_no_exim():
    """A sentence where it cannot be run here, else None."""
    if not (PLACE / "usr" / "sbin" / "exim4").exists():
        return f"Exim is not unpacked in {PLACE}: run tests/interop/unpack_exim"
    if os.geteuid() != 0:
        return "Exim needs root to start"
    try:
        pwd.getpwnam("Debian-exim")
    except KeyError:
        return "there is no user Debian-exim, whom Exim wants to know: run tests/interop/unpack_exim"
    return None


EXIM = """\
exim_path = {program}
exim_user = {user}
exim_group = nogroup
never_users =
spool_directory = {root}/spool
log_file_path = {root}/exim-%slog
pid_file_path = {root}/pid
primary_hostname = exim.example
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
host_lookup =
rfc1413_query_timeout = 0s
keep_environment =
tls_advertise_hosts = *
tls_certificate = {certificate}
tls_privatekey = {key}
auth_advertise_hosts = ${{if def:tls_in_cipher {{*}}{{}}}}
smtp_accept_max = 50
smtp_accept_queue_per_connection = 0
acl_smtp_rcpt = judge
acl_smtp_data = accept
log_selector = +smtp_connection
{more}
begin acl
judge:
  deny  local_parts = refused
        message = no such user here
  defer local_parts = later
        message = come back later
  accept authenticated = *
{judge}  deny  message = relay not permitted
begin routers
every:
  driver = accept
  transport = box
begin transports
box:
  driver = appendfile
  directory = {mail}
  maildir_format
  create_directory
  delivery_date_add
  user = {user}
begin authenticators
{authenticators}
"""
AUTHENTICATORS = {
    "PLAIN": "plain:\n  driver = plaintext\n  public_name = PLAIN\n  server_set_id = $auth2\n"
             "  server_condition = ${{if and{{{{eq{{$auth2}}{{{0}}}}}{{eq{{$auth3}}{{{1}}}}}}}}}\n",
    "LOGIN": "login:\n  driver = plaintext\n  public_name = LOGIN\n  server_set_id = $auth1\n"
             "  server_prompts = Username:: : Password::\n"
             "  server_condition = ${{if and{{{{eq{{$auth1}}{{{0}}}}}{{eq{{$auth2}}{{{1}}}}}}}}}\n",
    "CRAM-MD5": "cram:\n  driver = cram_md5\n  public_name = CRAM-MD5\n  server_set_id = $auth1\n"
                "  server_secret = ${{if eq{{$auth1}}{{{0}}}{{{1}}}fail}}\n",
}


class Exim:
    """`files`: settings of peers.Authority.issue(); `mechanisms`: which logins it offers; `takes_all`: from anybody."""

    def __init__(self, files, user, password, mechanisms=("PLAIN", "LOGIN", "CRAM-MD5"), takes_all=False):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="posthouse-exim-"))
        os.chmod(self.root, 0o755)
        self.port, self.process = free_port(), None
        self.mailbox, self.log_file, self.config = self.root / "mail", self.root / "log", self.root / "exim.conf"
        for folder in (self.mailbox, self.root / "spool"):
            folder.mkdir()
            shutil.chown(folder, USER)
        shutil.chown(self.root, USER)
        self.user, self.password, self.takes_all = user, password, takes_all
        self.keys = [self.readable(files[name]) for name in ("smtpd_tls_cert_file", "smtpd_tls_key_file")]
        self.set(mechanisms)

    def readable(self, path):
        """A copy that Exim's own user may read."""
        copy = self.root / pathlib.Path(path).name
        shutil.copy(path, copy)
        shutil.chown(copy, USER)
        return copy

    def set(self, mechanisms, more=()):
        """Offers these logins from now on; `more` are lines of the main part of its configuration."""
        was_running = self.process is not None
        self.stop()
        self.config.write_text(EXIM.format(
            program=PLACE / "usr/sbin/exim4", user=USER, root=self.root, port=self.port, mail=self.mailbox,
            certificate=self.keys[0], key=self.keys[1], more="\n".join(more),
            judge="  accept\n" if self.takes_all else "",
            authenticators="".join(AUTHENTICATORS[name].format(self.user, self.password) for name in mechanisms)))
        os.chmod(self.config, 0o644)
        if was_running:
            self.start()

    def start(self):
        self.wait_for_port()
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen([str(PLACE / "usr/sbin/exim4"), "-C", str(self.config), "-bdf", "-q1h"],
                                            stdout=log, stderr=log, start_new_session=True)
        end = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return self
            except ConnectionRefusedError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise RuntimeError("Exim did not start:\n" + self.log()) from None
                time.sleep(0.02)

    def wait_for_port(self):
        """Until nobody listens there: a child of the Exim before may hold its socket a moment longer than its parent."""
        end = time.monotonic() + START_SECONDS_MAX
        while True:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", self.port))
                    return probe.listen()
                except OSError as error:
                    if error.errno != errno.EADDRINUSE or time.monotonic() > end:
                        raise
                    time.sleep(0.02)

    def stop(self):
        if self.process is not None:
            os.killpg(self.process.pid, 15)
            self.process.wait(timeout=30)
            self.process = None

    def remove(self):
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)

    def log(self):
        files = [self.log_file, *self.root.glob("exim-*log")]
        return "".join(path.read_text(errors="replace") for path in files if path.exists())

    def mail(self):
        return [path.read_bytes() for path in sorted(self.mailbox.glob("**/new/*"))]
