#!/usr/bin/env python3
"""Other servers and devices of the house hand their mail in: by a login at submission, by their address on port 25; as
their own domains only, within their limits, which hold over a restart. Strangers relay nothing, wherever they come from.
"""
import json
import pathlib
import smtplib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import house  # noqa: E402
from outside import loose, trace, until  # noqa: E402

MESSAGE = "From: {author}\r\nTo: bob@world.example\r\nSubject: {name}\r\n{extra}\r\nhello\r\n"


def octets(name, author="nas@shop.example", extra="Message-ID: <{name}@home.example>\r\nBcc: <hidden@world.example>\r\n"):
    return MESSAGE.format(author=author, name=name, extra=extra.format(name=name)).encode()


def session(home, login=None, password=None):
    client = smtplib.SMTP("127.0.0.1", home.port("submission" if login else "smtp"), local_hostname="nas.shop.example")
    if login:
        client.starttls(context=loose(home))
        client.login(login, password)
    return client


def refusal(client, sender, to, content):
    """What is said to a message that is not taken."""
    try:
        refused = client.sendmail(sender, to, content)
    except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
        return error.smtp_code, error.smtp_error.decode()
    except smtplib.SMTPRecipientsRefused as error:
        code, text = next(iter(error.recipients.values()))
        return code, text.decode()
    raise AssertionError(f"taken: {refused}")


def check_login(home):
    made = json.loads(home.cli("client", "add", "nas", "--sender-domain", "shop.example", "--rate", "3/min", "--per-day",
                               "5", "--class", "bulk", "--json"))
    home.nas = made["password"]
    assert len(home.nas) == 32, made
    with session(home, "nas", home.nas) as client:
        assert not client.sendmail("nas@shop.example", ["bob@world.example"], octets("first"))
        code, text = refusal(client, "nas@home.example", ["bob@world.example"], octets("sender"))
        assert code == 553, text
        code, text = refusal(client, "nas@shop.example", ["bob@world.example"], octets("author", "alice@home.example"))
        assert code == 550 and "From" in text, text
        # three a minute are allowed: two more fit, not three
        code, text = refusal(client, "nas@shop.example", [f"{n}@world.example" for n in "abc"], octets("three"))
        assert code == 451 and "3 recipients a minute" in text and "try again in" in text, text
        assert not client.sendmail("nas@shop.example", ["a@world.example", "b@world.example"], octets("two"))
        code, text = refusal(client, "nas@shop.example", ["bob@world.example"], octets("fourth"))
        assert code == 451 and "nas may send to 3 recipients a minute" in text, text
    event = trace(home, "first").wait("received")
    assert "relay client nas" in event["detail"], event
    queued = home.cli("queue", "show", trace(home, "first").queue_id())
    assert "nas" in queued, queued
    for login, password in (("nas", "wrong"), ("nobody", home.nas)):
        try:
            session(home, login, password)
            raise AssertionError("logged in")
        except smtplib.SMTPAuthenticationError as error:
            assert error.smtp_code == 535, error


def check_restart(home):
    """What was used is counted on."""
    home.stop()
    home.start()
    shown = json.loads(home.cli("client", "show", "nas", "--json"))
    assert shown["today"] == "3 of 5" and shown["class"] == "bulk", shown
    with session(home, "nas", home.nas) as client:
        code, text = refusal(client, "nas@shop.example", [f"{n}@world.example" for n in "abc"], octets("over"))
        assert code == 451, text


def is_shut_out(home):
    try:
        session(home, "nas", home.nas).quit()
        return False
    except smtplib.SMTPAuthenticationError:
        return True


def check_changed(home):
    """Other limits and another password, without making the client anew; what was sent today still counts."""
    refused = home.cli("client", "set", "nas", "--rate", "many", check=False)
    assert refused.returncode == 1 and "--rate takes a number" in refused.stderr, refused
    assert home.cli("client", "set", "nobody", "--rate", "5", check=False).returncode == 1
    made = json.loads(home.cli("client", "set", "nas", "--rate", "0", "--per-day", "7", "--class", "interactive", "--new-password", "--json"))
    old, home.nas = home.nas, made["password"]
    shown = json.loads(home.cli("client", "show", "nas", "--json"))
    assert shown["today"] == "3 of 7" and shown["this_minute"] == "no limit" and shown["class"] == "interactive", shown
    assert shown["sender_domains"] == ["shop.example"], shown
    until("the new password to work", lambda: not is_shut_out(home))
    new, home.nas = home.nas, old
    assert is_shut_out(home), "the old password still works"
    home.nas = new
    with session(home, "nas", home.nas) as client:
        assert not client.sendmail("nas@shop.example", [f"{n}@world.example" for n in "abcd"], octets("four"))
        code, text = refusal(client, "nas@shop.example", ["bob@world.example"], octets("eighth"))
        assert code == 451 and "7 recipients a day" in text, text


def check_disabled(home):
    """Another process changes the store; the server notices within a second."""
    home.cli("client", "disable", "nas")
    until("the server to notice", lambda: is_shut_out(home))
    home.cli("client", "remove", "nas")
    assert "no relay client" in home.cli("client", "list")


def relays(home):
    """Whether port 25 takes a recipient elsewhere from here."""
    with session(home) as client:
        client.ehlo()
        client.mail("scan@shop.example")
        return client.rcpt("bob@world.example")[0] == 250


def check_address(home):
    """Port 25: nobody relays until his address is listed, and then as his own domains only."""
    with session(home) as client:
        code, text = refusal(client, "nas@shop.example", ["bob@world.example"], octets("stranger"))
        assert code == 554 and "Relay access denied" in text, text
    home.cli("client", "add", "printer", "--from-address", "127.0.0.1", "--sender-domain", "shop.example")
    until("the server to notice", lambda: relays(home))
    with session(home) as client:
        # devices leave out what every message needs
        assert not client.sendmail("scan@shop.example", ["bob@world.example"], octets("device", "scan@shop.example", ""))
        code, text = refusal(client, "scan@other.example", ["bob@world.example"], octets("other"))
        assert code == 554 and "printer may not write as scan@other.example" in text, text
        # to the mailboxes here it writes as any stranger may
        assert not client.sendmail("scan@other.example", ["alice@home.example"], octets("local", "scan@other.example"))
    rows = json.loads(home.cli("queue", "list", "--json"))
    assert any(row["client"] == "printer" and row["from"] == "scan@shop.example" for row in rows), rows
    assert "known by its address" in home.cli("doctor", "--no-dns", check=False).stdout


def main():
    with house() as home:
        home.cli("route", "add", "nowhere", "hold")
        for check in (check_login, check_restart, check_changed, check_disabled, check_address):
            check(home)
            print(f"{check.__name__[6:]}: good", flush=True)


main()
