"""Peers for the benchmarks: a Postfix of its own on a loopback port, started and stopped with the program.

Postfix runs from a private configuration and queue directory with its defaults, but for the port and the rate limits
that would count one benchmark client as an attacker. It needs root (Postfix changes user); callers print "skipped: why".
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


@contextlib.contextmanager
def postfix(settings=None, port=None, master_extra=""):
    """Yields (port, directory). `settings` are further main.cf lines, a dict."""
    root = pathlib.Path(tempfile.mkdtemp(prefix="posthouse-postfix-"))
    port = port or free_port()
    os.chmod(root, 0o755)
    config, queue, data = root / "etc", root / "queue", root / "data"
    for folder in (config, queue, data):
        folder.mkdir()
    shutil.chown(data, "postfix", "postfix")
    main = {
        "compatibility_level": "3.6",
        "queue_directory": queue,
        "data_directory": data,
        "myhostname": "postfix.example",
        "mydestination": "postfix.example, localhost",
        "inet_interfaces": "127.0.0.1",
        "inet_protocols": "ipv4",
        "alias_maps": "",
        "alias_database": "",
        "maillog_file_prefixes": root,
        "maillog_file": root / "postfix.log",
        "smtpd_client_connection_rate_limit": "0",
        "smtpd_client_connection_count_limit": "0",
        "mynetworks": "127.0.0.0/8",
    }
    main.update(settings or {})
    (config / "main.cf").write_text("".join(f"{key} = {value}\n" for key, value in main.items()))
    (config / "master.cf").write_text(MASTER.format(port=port) + master_extra)
    run = lambda *words: subprocess.run(["postfix", "-c", str(config), *words], check=True,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    run("start")
    try:
        yield port, root
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            run("stop")
        shutil.rmtree(root, ignore_errors=True)


DOVECOT = """\
base_dir = {root}/run
state_dir = {root}/state
log_path = {root}/dovecot.log
protocols = imap lmtp
ssl = no
disable_plaintext_auth = no
mail_location = {location}
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
