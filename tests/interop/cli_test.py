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
    (("route", "add", "x", "nowhere"), 1, "there is no way nowhere"),
    (("route", "add", "x", "direct", "--to", "not a domain"), 1, "--to takes an address"),
    (("route", "add", "x", "direct", "--class", "urgent"), 1, "interactive, transactional or bulk"),
    (("route", "add", "x", "direct", "--min-size", "2M", "--max-size", "1M"), 1, "no message would fit"),
    (("route", "presets", "nobody"), 1, "there is no preset"),
    (("route", "test", "direct"), 1, "--to ADDRESS"),
    (("way", "add", "x", "direct"), 1, "needs --pool"),
    (("way", "add", "x", "preset:ses:AKIA"), 1, "needs a region"),
    (("way", "add", "x", "preset:brevo:me?port=25"), 1, "the ports of Brevo"),
    (("way", "add", "x", "smtp+plain://10.0.0.1:25", "--rate", "0"), 1, "--rate takes a number"),
    (("way", "add", "x", "smtp+plain://10.0.0.1:25", "--header", "no colon"), 1, "Name: value"),
    (("way", "add", "x", "smtp://u@relay.example", "--oauth-url", "https://t.example/"), 1, "--oauth-client is missing"),
    (("way", "add", "x", "smtp://u@relay.example", "--oauth-client", "a", "--oauth-url", "http://t.example/"), 1, "https://"),
    (("way", "add", "direct", "smtp+plain://10.0.0.1:25"), 1, "always there"),
    (("way", "remove", "nowhere"), 1, "there is no way"),
    (("address", "add", "192.0.2.300", "--pool", "p"), 1, "is not an IP address"),
    (("client", "add", "x"), 1, "--sender-domain"),
    (("client", "add", "x@y", "--sender-domain", "a.example"), 1, "needs a name"),
    (("client", "add", "x", "--sender-domain", "a.example", "--from-address", "10.0.0.0/8"), 1, "too wide"),
    (("client", "show", "nobody"), 1, "there is no relay client"),
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
