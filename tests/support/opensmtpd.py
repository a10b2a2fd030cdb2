"""OpenSMTPD, run from where tests/interop/unpack_opensmtpd put it: every recipient but refused@ in one Maildir.

The places of its queue and helpers are built into it: it gets a mount namespace of its own, in which they are its own.
Debian's 6.8.0p2 is built against OpenSSL 3, with which its key-holding process cannot sign: it announces STARTTLS and
breaks off every handshake ("EVP lib", "internal error"; RSA and ECDSA keys, TLS 1.2 and 1.3). So that TLS and AUTH can be
tested at all, opensmtpd_key.c is compiled and preloaded, which gives the listeners the key itself; with `broken` it runs
as Debian built it, and shows how a server is met whose TLS is broken.
"""
import os
import pathlib
import pwd
import shutil
import subprocess

from peers import free_port
from unpacked_mta import UnpackedMta

PLACE = pathlib.Path(os.environ.get("POSTHOUSE_OPENSMTPD", "/opt/opensmtpd-unpacked"))
COMPILERS = ("cc", "clang-19", "clang", "gcc")
SHIM = pathlib.Path(__file__).resolve().parent / "opensmtpd_key.c"


def why_no_opensmtpd():
    """A sentence where it cannot be run here, else None."""
    if not (PLACE / "usr" / "sbin" / "smtpd").exists():
        return f"OpenSMTPD is not unpacked in {PLACE}: run tests/interop/unpack_opensmtpd"
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
        return "OpenSMTPD needs root and a mount namespace to start"
    for user in ("opensmtpd", "opensmtpq"):
        try:
            pwd.getpwnam(user)
        except KeyError:
            return f"there is no user {user}, whom OpenSMTPD wants to know: run tests/interop/unpack_opensmtpd"
    if not any(shutil.which(name) for name in COMPILERS):
        return f"OpenSMTPD needs a C compiler ({', '.join(COMPILERS)}) for what is preloaded into it"
    return None


CONFIG = """\
pki house cert "{certificate}"
pki house key "{key}"
table all {{ "@" = "nobody" }}
table users file:{users}
listen on {address} port {port} hostname opensmtpd.example tls pki house
listen on {address} port {auth_port} hostname opensmtpd.example tls-require pki house auth <users>
listen on {address} port {smtps_port} hostname opensmtpd.example smtps pki house auth <users>
action "keep" maildir "{mail}" virtual <all>
match from any for rcpt-to regex "^refused@" reject
match from any for any action "keep"
"""
# Whatever is built in gets an empty place, and the helpers theirs.
START = """\
set -e
for place in /usr/libexec /var/spool /var/lib /run; do mount -t tmpfs none "$place"; done
mkdir -p /usr/libexec/opensmtpd /var/spool/smtpd /var/lib/opensmtpd/empty
chmod 711 /var/spool/smtpd
mount --bind "$1/usr/libexec/opensmtpd" /usr/libexec/opensmtpd
[ -z "$3" ] || export LD_PRELOAD="$3" POSTHOUSE_OPENSMTPD_KEY="$4"
exec "$1/usr/sbin/smtpd" -d -f "$2"
"""


class OpenSmtpd(UnpackedMta):
    """`files`: settings of peers.Authority.issue(). On `port` anybody may hand mail in; on `auth_port` (STARTTLS) and
    `smtps_port` only `user` with `password`."""

    def __init__(self, files, user="house", password="a password", broken=False, address="127.0.0.1", port=None):
        super().__init__("OpenSMTPD", "nobody", address, port or free_port())
        self.config = self.root / "smtpd.conf"
        self.auth_port, self.smtps_port = free_port(), free_port()
        names = ("smtpd_tls_cert_file", "smtpd_tls_key_file")
        keys = [pathlib.Path(shutil.copy(files[name], self.root)) for name in names]
        os.chmod(keys[1], 0o600)
        users = self.root / "users"
        hashed = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=password, capture_output=True, text=True,
                                check=True).stdout.strip()
        users.write_text(f"{user} {hashed}\n")
        users.chmod(0o644)
        self.config.write_text(CONFIG.format(certificate=keys[0], key=keys[1], port=self.port, mail=self.mailbox, users=users,
                                             address=address, auth_port=self.auth_port, smtps_port=self.smtps_port))
        self.shim, self.key = "" if broken else str(self.root / "key.so"), str(keys[1])
        if self.shim:
            compiler = next(name for name in COMPILERS if shutil.which(name))
            subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", self.shim, str(SHIM), "-lssl", "-lcrypto", "-ldl"],
                           check=True)

    def command(self):
        return ["unshare", "-m", "bash", "-c", START, "start", str(PLACE), str(self.config), self.shim, self.key]
