"""Real servers for tests and benchmarks, each of its own on loopback ports and gone with the test: Postfix, Dovecot (as a
mailbox, or as the passwords behind Postfix's AUTH), knot with a zone; and certificates of a test CA.

They run from private configuration and data directories. Postfix and Dovecot need root, because they change user; callers
print "skipped: why".
"""
import contextlib
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import tempfile


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def why_no_postfix():
    """A sentence where Postfix cannot be run here, else None."""
    if not shutil.which("postfix"):
        return "postfix is not installed"
    if os.geteuid() != 0:
        return "Postfix needs root to start"
    try:
        pwd.getpwnam("postfix")
    except KeyError:
        return "there is no user postfix"
    return None


MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup    unix n - n 60 1 pickup
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
tlsmgr    unix - - n 1000? 1 tlsmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
verify    unix - - n - 1 verify
flush     unix n - n 1000? 0 flush
proxymap  unix - - n - - proxymap
smtp      unix - - n - - smtp
relay     unix - - n - - smtp
showq     unix n - n - - showq
error     unix - - n - - error
retry     unix - - n - - error
discard   unix - - n - - discard
local     unix - n n - - local
virtual   unix - n n - - virtual
lmtp      unix - - n - - lmtp
anvil     unix - - n - 1 anvil
scache    unix - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """A Postfix of its own. `settings` are further main.cf lines; `master_extra` further services."""

    def __init__(self, settings=None, port=None, master_extra=""):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="posthouse-postfix-"))
        self.port = port or free_port()
        self.config, self.log_file = self.root / "etc", self.root / "postfix.log"
        os.chmod(self.root, 0o755)
        for folder in (self.config, self.root / "queue", self.root / "data", self.root / "mail"):
            folder.mkdir()
        shutil.chown(self.root / "data", "postfix", "postfix")
        shutil.chown(self.root / "mail", "nobody", "nogroup")
        self.settings = {
            "compatibility_level": "3.6",
            "queue_directory": self.root / "queue",
            "data_directory": self.root / "data",
            "myhostname": "postfix.example",
            "mydestination": "postfix.example, localhost",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "alias_maps": "",
            "alias_database": "",
            "maillog_file_prefixes": self.root,
            "maillog_file": self.log_file,
            "smtpd_client_connection_rate_limit": "0",
            "smtpd_client_connection_count_limit": "0",
            "mynetworks": "127.0.0.0/8",
        }
        self.master = MASTER.format(port=self.port) + master_extra
        self.running = False
        self.set(settings or {})

    def set(self, settings):
        """Changes main.cf; a running Postfix is restarted, so that no process with the old settings is left."""
        was_running = self.running
        self.stop()
        self.settings.update(settings)
        (self.config / "main.cf").write_text("".join(f"{key} = {value}\n" for key, value in self.settings.items()))
        (self.config / "master.cf").write_text(self.master)
        if was_running:
            self.start()

    def run(self, *words):
        done = subprocess.run(["postfix", "-c", str(self.config), *words], stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"postfix {' '.join(words)}: {done.stderr}\n{self.log()}")

    def start(self):
        self.run("start")
        self.running = True
        return self

    def stop(self):
        if self.running:
            self.running = False
            self.run("stop")

    def remove(self):
        with contextlib.suppress(RuntimeError):
            self.stop()
        shutil.rmtree(self.root, ignore_errors=True)

    def log(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def mail(self):
        """What has come into the one Maildir of every address (see one_maildir), oldest first, in CRLF."""
        paths = sorted((self.root / "mail").glob("*/new/*"), key=lambda path: path.stat().st_mtime_ns)
        return [path.read_bytes().replace(b"\n", b"\r\n") for path in paths]


# main.cf settings: every recipient has a mailbox here, and all of them are one Maildir.
def one_maildir(server):
    return {"mydestination": "", "virtual_mailbox_domains": "static:all", "virtual_mailbox_maps": "static:inbox/",
            "virtual_mailbox_base": server.root / "mail", "virtual_uid_maps": f"static:{pwd.getpwnam('nobody').pw_uid}",
            "virtual_gid_maps": f"static:{pwd.getpwnam('nobody').pw_gid}"}


@contextlib.contextmanager
def postfix(settings=None, port=None, master_extra=""):
    """Yields (port, directory) of a running Postfix."""
    server = Postfix(settings, port, master_extra)
    try:
        server.start()
        yield server.port, server.root
    finally:
        server.remove()


DOVECOT = """\
base_dir = {root}/run
state_dir = {root}/state
log_path = {root}/dovecot.log
protocols = imap lmtp
ssl = no
disable_plaintext_auth = no
mail_location = {location}
mail_max_userip_connections = 100
mail_uid = {user}
mail_gid = {user}
first_valid_uid = 1
default_internal_user = dovecot
default_login_user = dovenull
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid={user} gid={user} home={root}/home/%n
}}
service imap-login {{
  inet_listener imap {{
    address = 127.0.0.1
    port = {imap_port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp_port}
  }}
}}
"""


def why_no_dovecot():
    """A sentence where Dovecot cannot be run here, else None."""
    if not shutil.which("dovecot"):
        return "dovecot is not installed"
    if os.geteuid() != 0:
        return "Dovecot needs root to start"
    return None


@contextlib.contextmanager
def dovecot(location="maildir:~/Maildir", user="nobody"):
    """Yields (imap_port, lmtp_port, directory); any login with the password "secret" has a mailbox."""
    root = pathlib.Path(tempfile.mkdtemp(prefix="posthouse-dovecot-"))
    os.chmod(root, 0o755)
    (root / "home").mkdir()
    shutil.chown(root / "home", user)
    imap_port, lmtp_port = free_port(), free_port()
    config = root / "dovecot.conf"
    config.write_text(DOVECOT.format(root=root, location=location, user=pwd.getpwnam(user).pw_name,
                                     imap_port=imap_port, lmtp_port=lmtp_port).replace(f"mail_gid = {user}", "mail_gid = nogroup")
                      .replace(f"gid={user} ", "gid=nogroup "))
    subprocess.run(["dovecot", "-c", str(config)], check=True)
    try:
        yield imap_port, lmtp_port, root
    finally:
        subprocess.run(["doveadm", "-c", str(config), "stop"], check=False)
        shutil.rmtree(root, ignore_errors=True)


DOVECOT_SASL = """\
base_dir = {root}/run
state_dir = {root}/state
log_path = {root}/dovecot.log
protocols =
ssl = no
disable_plaintext_auth = no
auth_mechanisms = {mechanisms}
default_internal_user = dovecot
default_login_user = dovenull
first_valid_uid = 1
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {root}/users
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home=/nonexistent
}}
service auth {{
  unix_listener {root}/auth {{
    mode = 0666
  }}
}}
"""


@contextlib.contextmanager
def dovecot_sasl(users, mechanisms="plain login"):
    """Yields main.cf settings that make Postfix ask a Dovecot with those passwords, a dict."""
    root = pathlib.Path(tempfile.mkdtemp(prefix="posthouse-dovecot-"))
    os.chmod(root, 0o755)
    (root / "users").write_text("".join(f"{user}:{{PLAIN}}{password}\n" for user, password in users.items()))
    config = root / "dovecot.conf"
    config.write_text(DOVECOT_SASL.format(root=root, mechanisms=mechanisms))
    try:
        subprocess.run(["dovecot", "-c", str(config)], check=True)
        yield {"smtpd_sasl_auth_enable": "yes", "smtpd_sasl_type": "dovecot", "smtpd_sasl_path": root / "auth",
               "smtpd_sasl_security_options": "noanonymous", "smtpd_tls_auth_only": "yes"}
    finally:
        subprocess.run(["doveadm", "-c", str(config), "stop"], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(root, ignore_errors=True)


class Authority:
    """A test CA; `issue` makes certificates. All in a folder that goes with it."""

    def __init__(self, name="Test CA"):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="posthouse-ca-"))
        os.chmod(self.folder, 0o755)
        self.certificate = self.folder / "ca.pem"
        self.openssl("req", "-x509", *self.new_key("ca"), "-subj", f"/CN={name}", "-out", "ca.pem", "-days", "30")

    def new_key(self, name):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key"]

    def openssl(self, *words):
        done = subprocess.run(["openssl", *words], cwd=self.folder, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"openssl {' '.join(words)}: {done.stderr}")

    def issue(self, host):
        """main.cf settings with a certificate for that name."""
        if not (self.folder / f"{host}.pem").exists():
            self.openssl("req", *self.new_key(host), "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}",
                         "-out", f"{host}.csr")
            self.openssl("x509", "-req", "-in", f"{host}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                         "-copy_extensions", "copyall", "-out", f"{host}.pem", "-days", "30")
        return {"smtpd_tls_cert_file": self.folder / f"{host}.pem", "smtpd_tls_key_file": self.folder / f"{host}.key",
                "smtpd_tls_security_level": "may", "smtpd_tls_loglevel": "1"}

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


KNOT = """\
server:
  rundir: {root}
  listen: 127.0.0.1@{port}
database:
  storage: {root}
control:
  listen: {root}/knot.sock
log:
  - target: stdout
    any: info
policy:
  - id: test
    single-type-signing: on
    algorithm: ECDSAP256SHA256
    zone-max-ttl: 60
zone:
"""
KNOT_ZONE = """\
  - domain: {zone}
    file: {root}/{file}
    zonefile-sync: -1
    dnssec-signing: {signed}
    dnssec-policy: test
"""


@contextlib.contextmanager
def knot(lines, port, zones=None, signed=(), anchor=None):
    """A DNS server for the whole world of a test: what is not in `lines` (zone syntax, names in full) does not exist.
    `zones` are further zones ({"b.example.": lines}) that the root delegates; those of `signed` are signed ("." too), and
    the DS record of the root is written to the file `anchor`. `ds(zone)` gives the DS of another signed zone."""
    root = pathlib.Path(tempfile.mkdtemp(prefix="posthouse-knot-"))
    all_zones = {".": list(lines), **(zones or {})}
    text = KNOT.format(root=root, port=port)
    for number, (zone, records) in enumerate(all_zones.items()):
        glue = "ns.test. A 127.0.0.1\n" if zone == "." else ""
        (root / f"{number}.zone").write_text(
            f"$TTL 60\n{zone} SOA ns.test. admin.test. 1 60 60 60 1\n{zone} NS ns.test.\n{glue}"
            + "".join(line + "\n" for line in records))
        text += KNOT_ZONE.format(root=root, zone=zone, file=f"{number}.zone", signed="on" if zone in signed else "off")
    config = root / "knot.conf"
    config.write_text(text)
    server = subprocess.Popen(["knotd", "-c", str(config)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        said = ""
        wanted = ["server started"] + [f"[{zone if zone == '.' else zone}] loaded" for zone in all_zones]
        while not all(mark in said for mark in wanted):
            line = server.stdout.readline()
            if not line:
                raise RuntimeError(f"knot ended:\n{said}")
            said += line
            if " error" in line and "] " in line:
                raise RuntimeError(f"knot does not take the zone:\n{said}")
        if anchor is not None:
            done = subprocess.run(["keymgr", "-c", str(config), ".", "ds"], capture_output=True, text=True, check=True)
            # The digest of SHA-256 is enough; "." and "DS" need the class between them.
            anchor.write_text("".join(line.replace(" DS ", " IN DS ") + "\n" for line in done.stdout.splitlines()
                                      if line.split()[4] == "2"))
        yield port
    finally:
        server.terminate()
        server.wait(timeout=30)
        shutil.rmtree(root, ignore_errors=True)
