#!/usr/bin/env python3
"""What the command line refuses, with which exit status, and whether it says so in one sentence."""
import imaplib
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import house  # noqa: E402

# The words, the exit status, and what standard error must say.
REFUSED = (
    (("account", "senders", "alice@home.example", "bad..example"), 1, "is no domain"),
    (("account", "senders", "alice@home.example", "*"), 1, "is no domain"),
    (("account", "add", "carl@nodomain.example"), 1, "run posthouse domain add"),
    (("domain", "add", "it's.example"), 1, "is not a domain name"),
    (("domain", "add", "a_b.example"), 1, "is not a domain name"),
    (("domain", "add", "home.example"), 1, "already"),
    (("route", "explain", "bad", "bob@world.example"), 1, "is not an address"),
    (("route", "explain", "alice@home.example", "bad"), 1, "is not an address"),
    (("queue", "show", "bad"), 1, "is no queue id"),
    (("alias", "add", "x@home.example"), 2, "TARGET"),
)


def check_refusals(home):
    for words, status, sentence in REFUSED:
        done = home.cli(*words, environment={"POSTHOUSE_PASSWORD": "correct horse battery"}, check=False)
        assert done.returncode == status and sentence in done.stderr and not done.stdout, (words, done)
    assert "sends for:  itself" in home.cli("account", "senders", "alice@home.example")


def check_explain(home):
    assert "stays here" in home.cli("route", "explain", "bob@world.example", "alice@home.example")
    assert "stays here" in home.cli("route", "explain", "<>", "alice@home.example")


def check_disabling(home):
    """A session that is logged in ends when its account is disabled, be it idle or in IDLE."""
    home.add_account("dora@home.example")
    context = home.tls()
    context.check_hostname = False
    sessions = []
    for last in (b"", b"i1 IDLE\r\n"):
        client = imaplib.IMAP4_SSL("127.0.0.1", home.port("imaps"), ssl_context=context, timeout=30)
        client.login("dora@home.example", home.passwords["dora@home.example"])
        client.select()
        if last:
            client.send(last)
            assert client.readline().startswith(b"+")
        sessions.append(client)
    home.cli("account", "disable", "dora@home.example")
    for client in sessions:
        said = b""
        while line := client.readline():
            said += line
        assert b"* BYE [AUTHORIZATIONFAILED]" in said, said


def main():
    with house() as home:
        check_refusals(home)
        check_explain(home)
        check_disabling(home)
    print("cli: done")


if __name__ == "__main__":
    main()
