#!/usr/bin/env python3
"""Every mail of the MIME corpora goes in over SMTP and by APPEND and comes out over IMAP octet for octet.

Line ends of LF alone are made CRLF first. Over SMTP goes what SMTP may carry: lines of at most 998 octets (RFC 5321
4.5.3.1.6), the message ended with a line end, no bare CR; delivery puts whole trace fields on top and changes nothing else.
"""
import imaplib
import pathlib
import re
import smtplib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import conformance, house  # noqa: E402
from outside import Reader, loose  # noqa: E402

TRACE = re.compile(rb"(?:(?:Return-Path|Received|Authentication-Results):[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)*", re.I)
LINE_OCTETS_MAX = 998
MESSAGES_PER_CONNECTION = 50  # the server ends a connection after 100 (LIMITS MAILMAX, RFC 9422)


def corpus():
    """[(name, octets)] in CRLF."""
    folder = conformance()
    out = []
    for path in sorted(folder.glob("mime-*/**/*")):
        if path.suffix in (".eml", ".msg"):
            out.append((str(path.relative_to(folder)), re.sub(rb"\r?\n", b"\r\n", path.read_bytes())))
    assert len(out) > 100, f"only {len(out)} mails in {folder}"
    return out


def fit_for_smtp(octets):
    return (octets.endswith(b"\r\n") and b"\0" not in octets and not re.search(rb"\r(?!\n)", octets)
            and max(map(len, octets.split(b"\r\n"))) <= LINE_OCTETS_MAX)


def send(client, home, octets):
    """The octets as they are: smtplib.sendmail would tidy them."""
    client.ehlo_or_helo_if_needed()
    for reply in (client.mail("carol@world.example", ["BODY=8BITMIME"]), client.rcpt(home.account)):
        assert reply[0] == 250, reply
    code, text = client.docmd("DATA")
    assert code == 354, (code, text)
    client.send(re.sub(rb"(?m)^\.", b"..", octets) + b".\r\n")
    code, text = client.getreply()
    assert code == 250, (code, text)


def append(client, mailbox, octets):
    """The octets as they are: imaplib.append would make line ends of a bare CR."""
    client.literal = octets
    kind, data = client._simple_command("APPEND", mailbox)  # noqa: SLF001
    assert kind == "OK", (kind, data)


def fetch_all(home, mailbox):
    """[(RFC822.SIZE, octets)] in the order of arrival."""
    with Reader(home) as reader:
        reader.client.select(mailbox, readonly=True)
        parts = [part for part in reader.client.fetch("1:*", "(RFC822.SIZE BODY.PEEK[])")[1] if isinstance(part, tuple)]
    return [(int(re.search(rb"RFC822\.SIZE (\d+)", part[0])[1]), part[1]) for part in parts]


def without_return_path(octets):
    """The reception takes Return-Path fields of the sender out, for delivery writes the only one (RFC 5321 4.4)."""
    head, blank, body = octets.partition(b"\r\n\r\n")
    fields = [field for field in re.split(rb"(?<=\r\n)(?![ \t])", head + b"\r\n")
              if not field.lower().startswith(b"return-path:")]
    return b"".join(fields) + blank[2:] + body if blank else octets


def first_difference(got, wanted):
    at = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b), min(len(got), len(wanted)))
    return f"octet {at} of {len(wanted)} (got {len(got)}): {got[at:at + 40]!r} instead of {wanted[at:at + 40]!r}"


def check_smtp(home, mails):
    fit = [(name, octets) for name, octets in mails if fit_for_smtp(octets)]
    for start in range(0, len(fit), MESSAGES_PER_CONNECTION):
        with smtplib.SMTP("127.0.0.1", home.port("smtp"), local_hostname="world.example") as client:
            for name, octets in fit[start:start + MESSAGES_PER_CONNECTION]:
                try:
                    send(client, home, octets)
                except AssertionError as refusal:
                    raise AssertionError(f"{name} is not taken: {refusal}") from None
    fetched = fetch_all(home, "INBOX")
    assert len(fetched) == len(fit), (len(fetched), len(fit))
    for (name, octets), (size, got) in zip(fit, fetched):
        wanted = without_return_path(octets)
        assert size == len(got), f"{name}: RFC822.SIZE {size}, {len(got)} octets"
        assert got.endswith(wanted), f"{name}: {first_difference(got[len(got) - len(wanted):], wanted)}"
        on_top = got[:len(got) - len(wanted)]
        assert on_top and TRACE.fullmatch(on_top), f"{name}: not only trace fields on top: {on_top!r}"
    return len(fit)


def check_append(home, mails):
    with imaplib.IMAP4_SSL("127.0.0.1", home.port("imaps"), ssl_context=loose(home)) as client:
        client.login(home.account, home.password)
        for name, octets in mails:
            assert b"\0" not in octets, f"{name}: a literal cannot hold NUL"
            append(client, "Archive", octets)
    fetched = fetch_all(home, "Archive")
    assert len(fetched) == len(mails), (len(fetched), len(mails))
    for (name, wanted), (size, got) in zip(mails, fetched):
        assert got == wanted, f"{name}: {first_difference(got, wanted)}"
        assert size == len(wanted), f"{name}: RFC822.SIZE {size}, {len(wanted)} octets"
    return len(mails)


def main():
    mails = corpus()
    with house() as home:
        print(f"{check_smtp(home, mails)} of {len(mails)} mails over SMTP: the same", flush=True)
        print(f"{check_append(home, mails)} mails by APPEND: the same", flush=True)


main()
