"""Exim as a smarthost or as a mail exchanger, run from where tests/interop/unpack_exim put it: TLS, AUTH, every recipient in one Maildir. It
changes user, so it needs root; callers print "skipped: why".
"""
import os
import pathlib
import pwd
import shutil

from peers import free_port
from unpacked_mta import UnpackedMta

PLACE = pathlib.Path(os.environ.get("POSTHOUSE_EXIM", "/opt/exim-unpacked"))
USER = "nobody"


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


class Exim(UnpackedMta):
    """`files`: settings of peers.Authority.issue(); `mechanisms`: which logins it offers; `takes_all`: from anybody."""

    def __init__(self, files, user, password, mechanisms=("PLAIN", "LOGIN", "CRAM-MD5"), takes_all=False):
        super().__init__("Exim", USER, "127.0.0.1", free_port())
        self.config = self.root / "exim.conf"
        (self.root / "spool").mkdir()
        shutil.chown(self.root / "spool", USER)
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

    def command(self):
        return [str(PLACE / "usr/sbin/exim4"), "-C", str(self.config), "-bdf", "-q1h"]

    def log_files(self):
        return [self.log_file, *self.root.glob("exim-*log")]
