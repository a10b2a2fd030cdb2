#!/usr/bin/env python3
"""What the command line refuses, with which exit status, and whether it says so in one sentence."""
import imaplib
import json
import pathlib
import socket
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import BINARY, house  # noqa: E402

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
    (("way", "add", "x", "preset:microsoft:me@example.org", "--oauth-client", "a"), 1, "?tenant=TENANT"),
    (("way", "add", "x", "preset:gmail:me@example.org", "--oauth-client", "a"), 1, "--oauth-refresh-file"),
    (("way", "add", "direct", "smtp+plain://10.0.0.1:25"), 1, "always there"),
    (("way", "remove", "nowhere"), 1, "there is no way"),
    (("address", "add", "192.0.2.300", "--pool", "p"), 1, "is not an IP address"),
    (("client", "add", "x"), 1, "--sender-domain"),
    (("client", "add", "x@y", "--sender-domain", "a.example"), 1, "needs a name"),
    (("client", "add", "x", "--sender-domain", "a.example", "--from-address", "10.0.0.0/8"), 1, "too wide"),
    (("client", "show", "nobody"), 1, "there is no relay client"),
    (("queue", "show", "bad"), 1, "is no queue id"),
    (("queue", "limit", "google"), 1, "say how much"),
    (("queue", "limit", "--connections", "3"), 1, "for which site"),
    (("queue", "limit", ".example.net", "--connections", "3"), 1, "is no site"),
    (("queue", "limit", "google", "--connections", "0"), 1, "--connections takes a number"),
    (("queue", "limit", "google", "--remove"), 1, "has no limit of its own"),
    (("setting", "set", "lane.limits", "google=5"), 1, "lane.limits takes words like"),
    (("domain", "add", "x.example", "--sign-only", "--postmaster", "alice@home.example"), 1, "leave one of them out"),
    (("domain", "set", "home.example"), 1, "say which"),
    (("domain", "set", "home.example", "--sign-only"), 1, "has accounts or aliases here"),
    (("alias", "add", "x@home.example"), 2, "TARGET"),
    (("capability", "off", "QRSYNC"), 1, "QRSYNC is no capability of this server; did you mean QRESYNC?"),
    (("capability", "off", "condstor"), 1, "did you mean CONDSTORE?"),
    (("capability", "off", "STARTTLSANDMORE"), 1, "known here are: ACL, APPENDLIMIT, "),
    (("capability", "on", "IDLE"), 1, "is not switched off so"),
    (("doctor", "--dns-seconds", "0"), 1, "a number from 1 to 600"),
    (("rights", "set", "alice@home.example", "INBOX", "nobody@home.example", "lr"), 1, "is no account of this server"),
)


def check_refusals(home):
    for words, status, sentence in REFUSED:
        done = home.cli(*words, environment={"POSTHOUSE_PASSWORD": "correct horse battery"}, check=False)
        assert done.returncode == status and sentence in done.stderr and not done.stdout, (words, done)
    assert "sends for:  itself" in home.cli("account", "senders", "alice@home.example")


def check_capabilities(home):
    assert "UIDONLY" in home.cli("capability", "list"), "it is off before anybody switches"
    assert "APPENDLIMIT is switched off" in home.cli("capability", "off", "appendlimit=52428800")
    home.cli("capability", "on", "APPENDLIMIT")
    home.cli("capability", "on", "UIDONLY")
    assert home.cli("capability", "list") == "Nothing is switched off.\n"


def check_rights(home):
    home.add_account("dan@home.example")
    words = ("alice@home.example", "INBOX", "dan@home.example")
    assert home.cli("rights", "set", *words, "rl") == '"dan@home.example" has the rights "lr" to INBOX of alice@home.example now.\n'
    assert home.cli("rights", "remove", *words) == '"dan@home.example" has no rights to INBOX of alice@home.example now.\n'


def check_passwords(home):
    """One that cannot be typed everywhere is refused; one that can be spelt in two ways is one."""
    done = home.cli("account", "password", "dan@home.example", environment={"POSTHOUSE_PASSWORD": "correct\thorse"}, check=False)
    assert done.returncode == 1 and "control characters; choose another one" in done.stderr, done
    home.cli("account", "password", "dan@home.example", environment={"POSTHOUSE_PASSWORD": "pa\u0308sswo\u0308rter und mehr"})
    context = home.tls()
    context.check_hostname = False
    with imaplib.IMAP4_SSL("127.0.0.1", home.port("imaps"), ssl_context=context) as client:
        composed = "\0dan@home.example\0p\u00e4ssw\u00f6rter und mehr".encode()
        assert client.authenticate("PLAIN", lambda _: composed)[0] == "OK"


def check_doctor(home):
    """What is known is told at once; a DNS that is silent holds it up for as long as it may, and is said once."""
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.0.1", 0))
    home.configure("dns", {"servers": f'["127.0.0.1@{silent.getsockname()[1]}"]'})
    words = [BINARY, "doctor", "--dns-seconds", "4", "--config", str(home.config_file)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as doctor:
        seen = []
        while not seen or not seen[-1].split()[1:2] == ["store"]:
            seen.append(doctor.stdout.readline())
            assert seen[-1], seen
        assert doctor.poll() is None, "the DNS has not been waited for yet"
        silent.recvfrom(4096)  # it is being asked, or was
        rest = doctor.stdout.read().splitlines()
    assert seen[0].split() == ["STATUS", "CHECK", "FINDING"], seen
    found = [line.split(None, 2) for line in rest]
    assert [line[:2] for line in found if line[0] == "skipped"] in ([["skipped", "dns"]], [["skipped", "dane"], ["skipped", "dns"]]), rest
    assert all("does not answer" in line[2] for line in found if line[0] == "skipped"), rest


def check_explain(home):
    assert "stays here" in home.cli("route", "explain", "bob@world.example", "alice@home.example")
    assert "stays here" in home.cli("route", "explain", "<>", "alice@home.example")
    assert "there is nobody" in home.cli("route", "explain", "<>", "ghost@home.example")
    home.cli("alias", "add", "away@home.example", "carol@far.example", "alice@home.example")
    told = home.cli("route", "explain", "bob@world.example", "away@home.example")
    assert "stays here and goes on" in told and "to carol@far.example;" in told, told
    home.cli("alias", "remove", "away@home.example")
    for name, host in (("left", "10.9.0.1"), ("right", "10.9.0.2")):
        home.cli("way", "add", name, f"smtp+plain://{host}")
    home.cli("route", "add", "both", "left*3+right*1")
    told = home.cli("route", "explain", "alice@home.example", "bob@world.example", "--no-dns")
    assert "75 in a hundred messages: it is handed to smtp+plain://10.9.0.1" in told, told
    assert "25 in a hundred messages: it is handed to smtp+plain://10.9.0.2" in told, told
    home.cli("route", "remove", "both")
    home.cli("route", "add", "thirds", "left*300+right*150")
    told = home.cli("route", "explain", "alice@home.example", "bob@world.example", "--no-dns")
    assert "67 in a hundred messages" in told and "33 in a hundred messages" in told, told
    home.cli("route", "remove", "thirds")
    for name in ("left", "right"):
        home.cli("way", "remove", name)
    home.cli("client", "add", "shop", "--sender-domain", "home.example", "--from-address", "10.1.2.3", "--class", "bulk")
    home.cli("route", "add", "many", "hold", "--class", "bulk")
    words = ("alice@home.example", "bob@world.example", "--no-dns", "--client")
    assert "is held in the queue" in home.cli("route", "explain", *words, "shop"), "the client's class counts"
    assert "directly" in home.cli("route", "explain", *words, "shop", "--class", "interactive")
    done = home.cli("route", "explain", *words, "nobody", check=False)
    assert done.returncode == 1 and "there is no relay client nobody" in done.stderr, done
    home.cli("route", "remove", "many")


def check_ways(home):
    """What is typed takes the place of what the preset sets, and a relay may know us by our address alone."""
    key = {"POSTHOUSE_RELAY_PASSWORD": "token"}
    home.cli("way", "add", "alerts", "preset:postmark:TOKEN", "--header", "x-pm-message-stream: alerts", "--header", "X-PM-Tag: a",
             environment=key)
    headers = json.loads(home.cli("way", "show", "alerts", "--json"))["headers"]
    assert headers == "x-pm-message-stream: alerts\nX-PM-Tag: a", headers
    home.cli("way", "add", "listed", "preset:google-relay")
    shown = json.loads(home.cli("way", "show", "listed", "--json"))
    assert shown["sends"] == "smtp://smtp-relay.gmail.com:587" and shown["login"] == "none", shown
    assert [row["last_good"] for row in json.loads(home.cli("way", "list", "--json")) if row["name"] == "alerts"] == [""]
    for name in ("alerts", "listed"):
        home.cli("way", "remove", name)


def check_limits(home):
    """What is not named stays; the stored name is shown."""
    assert "at most 2 connections, for each" in home.cli("queue", "limit", "Google", "--connections", "2")
    made = json.loads(home.cli("queue", "limit", "google", "--rate", "30/min", "--json"))
    assert made == {"site": "google", "connections": 2, "messages": 0, "rate_minute": 30}, made
    assert json.loads(home.cli("queue", "limit", "--json")) == [made]
    home.cli("queue", "limit", "google", "--remove")
    assert "No site has a limit" in home.cli("queue", "limit")


def check_keys(home):
    """New keys of a domain that signs already wait until the DNS shows them."""
    told = home.cli("dkim", "add", "home.example")
    assert "take over some minutes after the DNS shows them" in told, told
    states = [row["state"] for row in json.loads(home.cli("dkim", "list", "--json"))]
    assert states.count("active") == 2 and states.count("pending") == 2, states


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
        check_capabilities(home)
        check_rights(home)
        check_passwords(home)
        check_explain(home)
        check_ways(home)
        check_limits(home)
        check_keys(home)
        check_disabling(home)
        check_doctor(home)
    print("cli: done")


if __name__ == "__main__":
    main()
