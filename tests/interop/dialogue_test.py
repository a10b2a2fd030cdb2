#!/usr/bin/env python3
"""What other people's tools make of our doors: smtp-source and posttls-finger of Postfix, openssl s_client."""
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import house, need  # noqa: E402
from outside import Reader, peers  # noqa: E402


def run(*words, stdin=b"", code=0):
    """Standard output and error together; `code` None: any."""
    done = subprocess.run([str(word) for word in words], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=60)
    text = done.stdout.decode(errors="replace")
    assert code is None or done.returncode == code, f"{words}\nended with {done.returncode}\n{text}"
    return text


def s_client(home, service, *more, stdin=b""):
    return run("openssl", "s_client", "-connect", f"127.0.0.1:{home.port(service)}", "-CAfile", home.certificate(),
               "-verify_hostname", home.hostname, "-verify_return_error", "-ign_eof", "-crlf", *more, stdin=stdin, code=None)


def check_smtp_source(home):
    """Twenty sessions at once, 300 messages, each of them in the mailbox."""
    run("smtp-source", "-s", "20", "-m", "300", "-l", "5000", "-f", "load@world.example", "-t", home.account,
        f"inet:127.0.0.1:{home.port('smtp')}")
    with Reader(home) as inbox:
        assert inbox.count("FROM", "load@world.example") == 300, inbox.count("ALL")


def check_posttls_finger(home):
    """Postfix as a client takes our certificate for what it is, on port 25 and with TLS from the start."""
    if not peers.why_no_postfix():
        for service, more in (("smtp", ()), ("submissions", ("-w",))):
            said = run("posttls-finger", "-c", "-l", "secure", "-F", home.certificate(), "-L", "summary", *more,
                       f"[127.0.0.1]:{home.port(service)}", home.hostname)
            assert "Verified TLS connection established" in said and "TLSv1.3" in said, said


def check_starttls(home):
    for service, protocol, goodbye in (("smtp", "smtp", b"QUIT\n"), ("submission", "smtp", b"QUIT\n"),
                                       ("imap", "imap", b"a LOGOUT\n")):
        said = s_client(home, service, "-starttls", protocol, stdin=goodbye)
        assert "Verify return code: 0 (ok)" in said, said
        assert ("221 2.0.0" in said) if protocol == "smtp" else ("a OK" in said and "* BYE" in said), said
    said = s_client(home, "submission", "-starttls", "smtp", stdin=b"EHLO laptop.home.example\nQUIT\n")
    mechanisms = re.search(r"250[- ]AUTH ([^\r\n]*)", said)[1].split()
    assert {"PLAIN", "LOGIN"} <= set(mechanisms) and "250-STARTTLS" not in said, said
    said = s_client(home, "smtp", "-starttls", "smtp", stdin=b"EHLO laptop.home.example\nQUIT\n")
    assert "250-STARTTLS" not in said and "AUTH" not in said.partition("250-")[2], said


def check_alpn(home):
    """RFC 7301 3.2: a client that came for another protocol is sent away: what was said to one
    service cannot be replayed to another."""
    for service, right, wrong in (("imaps", "imap", "http/1.1"), ("imaps", "imap", "smtp"),
                                  ("submissions", "smtp", "imap"), ("submissions", "smtp", "h2")):
        said = s_client(home, service, "-alpn", wrong)
        assert "no application protocol" in said and "Verify return code: 0" not in said.partition("CONNECTED")[0], said
        stdin = b"a LOGOUT\n" if right == "imap" else b"QUIT\n"
        said = s_client(home, service, "-alpn", right, stdin=stdin)
        assert f"ALPN protocol: {right}" in said, said
        said = s_client(home, service, stdin=stdin)  # most mail programs name no protocol
        assert "No ALPN negotiated" in said and "Verify return code: 0 (ok)" in said, said


def check_old_tls(home):
    for service in ("imaps", "submissions"):
        for version in ("-tls1", "-tls1_1"):
            said = s_client(home, service, version, "-cipher", "ALL:@SECLEVEL=0")
            assert "Cipher is (NONE)" in said, said
        said = s_client(home, service, "-tls1_2", "-cipher", "AES128-SHA:ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA")
        assert "Cipher is (NONE)" in said, "TLS 1.2 without AEAD\n" + said


def main():
    need("openssl", "smtp-source")
    with house() as home:
        for check in (check_smtp_source, check_posttls_finger, check_starttls, check_alpn, check_old_tls):
            check(home)
            print(f"{check.__name__[6:]}: good", flush=True)


main()
