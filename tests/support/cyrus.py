"""A Cyrus IMAP server of its own for a benchmark, with Debian's defaults: on a loopback port, from a private directory, gone
with the run.

Its package cannot be installed beside Dovecot's, so it is unpacked, not installed: tests/bench/unpack_cyrus DIR, and
POSTHOUSE_CYRUS=DIR names the place. It needs root, because it changes user.
"""
import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

from peers import free_port

USER = "nobody"
START_SECONDS_MAX = 30

# As /etc/imapd.conf of the package, but for the places and where passwords lie.
IMAPD = """\
configdirectory: {root}/lib
proc_path: {volatile}/proc
mboxname_lockpath: {volatile}/lock
defaultpartition: default
partition-default: {root}/spool
altnamespace: no
unixhierarchysep: no
lmtp_downcase_rcpt: yes
allowanonymouslogin: no
autocreate_quota: 0
umask: 077
sieveusehomedir: false
sievedir: {root}/sieve
hashimapspool: true
allowplaintext: yes
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {root}/sasldb2
sasl_mech_list: PLAIN
sasl_auto_transition: no
idlesocket: {volatile}/idle
notifysocket: {volatile}/notify
lmtpsocket: {volatile}/lmtp
syslog_prefix: cyrus
cyrus_user: {user}
servername: cyrus.example
"""

# The package leaves idled out; without it an idling client hears of new mail after a minute.
CYRUS = """\
START {{
  recover cmd="{bin}/ctl_cyrusdb -C {root}/imapd.conf -r"
  idled cmd="{bin}/idled -C {root}/imapd.conf"
}}
SERVICES {{
  imap cmd="{bin}/imapd -C {root}/imapd.conf -U 30" listen="127.0.0.1:{port}" prefork=0 maxchild=100
}}
EVENTS {{
  checkpoint cmd="{bin}/ctl_cyrusdb -C {root}/imapd.conf -c" period=30
}}
"""


def tree():
    return pathlib.Path(os.environ.get("POSTHOUSE_CYRUS", "/opt/cyrus-unpacked"))


def why_no_cyrus():
    """A sentence where Cyrus cannot be run here, else None."""
    if not (tree() / "usr/lib/cyrus/bin/master").exists():
        return f"Cyrus is not at {tree()} (tests/bench/unpack_cyrus puts it there)"
    if os.geteuid() != 0:
        return "Cyrus needs root to start"
    return None


@contextlib.contextmanager
def cyrus(password="secret"):
    """Yields (imap_port, directory); the account is "bench"."""
    root = pathlib.Path(tempfile.mkdtemp(prefix="posthouse-cyrus-"))
    # Debian has these in memory.
    shared = pathlib.Path("/run")
    volatile = pathlib.Path(tempfile.mkdtemp(prefix="posthouse-cyrus-", dir=shared if os.access(shared, os.W_OK) else None))
    programs, port = tree() / "usr/lib/cyrus/bin", free_port()
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tree() / "usr/lib/x86_64-linux-gnu")}
    for folder in (root / "lib", root / "lib/db", root / "lib/socket", root / "spool", root / "sieve", volatile / "proc",
                   volatile / "lock"):
        folder.mkdir(exist_ok=True)
    (root / "imapd.conf").write_text(IMAPD.format(root=root, volatile=volatile, user=USER))
    (root / "cyrus.conf").write_text(CYRUS.format(root=root, bin=programs, port=port))
    subprocess.run([tree() / "usr/sbin/saslpasswd2", "-p", "-c", "-u", "cyrus.example", "-f", root / "sasldb2", "bench"],
                   input=password.encode(), check=True, env=environment)
    for place in (root, volatile, *root.rglob("*"), *volatile.rglob("*")):
        shutil.chown(place, USER, "nogroup")
    master = subprocess.Popen([programs / "master", "-C", root / "imapd.conf", "-M", root / "cyrus.conf", "-p", root / "pid"],
                              env=environment, stdin=subprocess.DEVNULL)
    try:
        wait_for(port, master)
        yield port, root
    finally:
        master.terminate()
        master.wait(timeout=60)
        shutil.rmtree(root, ignore_errors=True)
        shutil.rmtree(volatile, ignore_errors=True)


def wait_for(port, master):
    """Cyrus has no way to say that it is ready: asked until it greets."""
    end = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < end and master.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            if connection.recv(4096).startswith(b"* OK"):
                return
        time.sleep(0.05)
    raise RuntimeError("Cyrus does not answer; the system log says why")
