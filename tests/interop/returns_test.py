#!/usr/bin/env python3
"""What comes back after mail left, on a real server: an address that does not exist is kept from mail of programs and
to many, told at submission in the receiver's own words, undone by command and API; a bounce that comes late by a token
of ours is an event of its message, goes to the sender, and suppresses; a forged one changes nothing. Complaints and
DMARC reports are read out of a mailbox; receipts are sent where they are asked for.
"""
import json
import pathlib
import re
import smtplib
import sys
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import house  # noqa: E402
from outside import Reader, api, loose, make_message, submit, trace, until  # noqa: E402
from remote import Remote  # noqa: E402

UNKNOWN = "550 5.1.1 No such user here, sorry"
REPORT = """From: MAILER-DAEMON@mx.far.example\r
To: <{to}>\r
Subject: Undelivered mail\r
Date: Mon, 23 Nov 2026 21:11:05 +0000\r
Message-ID: <{name}@mx.far.example>\r
MIME-Version: 1.0\r
Content-Type: multipart/report; report-type=delivery-status; boundary=b\r
\r
--b\r
\r
Sorry.\r
--b\r
Content-Type: message/delivery-status\r
\r
Reporting-MTA: dns; mx.far.example\r
\r
Final-Recipient: rfc822; {recipient}\r
Action: failed\r
Status: 5.1.1\r
Diagnostic-Code: smtp; 550 5.1.1 <{recipient}>: User unknown in virtual mailbox table\r
\r
--b--\r
"""


class Refusing(Remote):
    """Refuses who is in `unknown`, and counts whom it was asked for."""

    def __init__(self):
        super().__init__()
        self.unknown, self.asked = {"dead@far.example"}, []
        self.before_reply = None  # called with the reverse-path when a message is there, before it is taken

    def judge(self, sender, recipient):
        with self.lock:
            self.asked.append(recipient)
            return UNKNOWN if recipient in self.unknown else super().judge(sender, recipient)

    def take(self, message):
        if self.before_reply:
            self.before_reply(message.sender)
        return super().take(message)


def suppressed(home, *words):
    return json.loads(home.cli("suppression", "list", "--json", *words))


def newsletter(home, name, to):
    return make_message(home, name, to).replace(b"Subject:", b"List-Id: <news.home.example>\r\nSubject:", 1)


def metric(home, name, labels=""):
    with urllib.request.urlopen(f"http://127.0.0.1:{home.port('http')}/metrics", timeout=30) as answer:
        wanted = re.escape(f"posthouse_{name}{labels}")
        found = re.search(rf"^{wanted} (\S+)$", answer.read().decode(), re.M)
    return int(float(found.group(1))) if found else 0


def figure(home, name):
    return json.loads(home.cli("report", "--by", "day", "--json"))["total"][name]


def check_learned(home, remote):
    submit(home, "one", "dead@far.example")
    trace(home, "one").wait("bounced")
    found = suppressed(home)
    assert len(found) == 1 and found[0]["address"] == "dead@far.example", found
    assert found[0]["scope"] == "home.example" and found[0]["reason"] == "recipient-unknown", found
    shown = json.loads(home.cli("suppression", "show", "dead@far.example", "--json"))[0]
    assert shown["reply"] == UNKNOWN and "127.0.0.1" in shown["remote"], shown
    # A letter that a person writes goes out all the same.
    asked = len(remote.asked)
    submit(home, "two", "dead@far.example")
    trace(home, "two").wait("bounced")
    assert len(remote.asked) == asked + 1


def check_told(home, remote):
    asked = len(remote.asked)
    try:
        submit(home, "three", "dead@far.example", octets=newsletter(home, "three", "dead@far.example"))
        raise AssertionError("a newsletter to nobody but a suppressed address was taken")
    except smtplib.SMTPDataError as refusal:
        words = refusal.smtp_error.decode()
        assert refusal.smtp_code == 550 and UNKNOWN in words, words
        assert "posthouse suppression remove dead@far.example" in words, words
    submit(home, "four", "dead@far.example", "bob@far.example", octets=newsletter(home, "four", "bob@far.example"))
    trace(home, "four").wait("delivered")
    event = trace(home, "four").wait("suppressed")
    assert event["recipient"] == "dead@far.example" and UNKNOWN in event["detail"], event
    assert remote.asked[asked:] == ["bob@far.example"], remote.asked[asked:]
    assert metric(home, "smtp_suppressed_total") == 1
    with Reader(home) as reader:
        assert UNKNOWN.encode() in reader.find("TEXT", '"suppression remove"')
    home.cli("setting", "set", "suppression.apply", "all")
    try:
        submit(home, "five", "dead@far.example")
        raise AssertionError("a suppressed recipient was taken")
    except smtplib.SMTPRecipientsRefused as refusal:
        code, words = refusal.recipients["dead@far.example"]
        assert code == 550 and words.startswith(b"5.1.1") and UNKNOWN.encode() in words, words
    until("the event of the refusal",
          lambda: "suppressed" in home.cli("trace", "dead@far.example", "--json", check=False).stdout)
    home.cli("setting", "set", "suppression.apply", "programs")


def check_client(home, _):
    made = json.loads(home.cli("client", "add", "shop", "--sender-domain", "home.example", "--json"))
    with smtplib.SMTP("127.0.0.1", home.port("submission"), local_hostname="shop.home.example") as client:
        client.starttls(context=loose(home))
        client.login("shop", made["password"])
        client.mail(home.account)
        code, words = client.rcpt("dead@far.example")
        assert code == 550 and UNKNOWN.encode() in words, (code, words)
        assert client.rcpt("bob@far.example")[0] == 250
    assert metric(home, "smtp_suppressed_total") == 3


def check_undone(home, remote):
    token = json.loads(home.cli("token", "create", "panel", "--json"))["token"]
    rows = api(home, token, "/api/v1/suppressions?scope=home.example")["suppressions"]
    assert len(rows) == 1 and rows[0]["reply"] == UNKNOWN and rows[0]["in_force"], rows
    undone = api(home, token, "/api/v1/suppressions/dead%40far.example/remove", b"{}")["suppressions"]
    assert undone[0]["undone"], undone
    assert suppressed(home) == []
    remote.unknown.clear()
    submit(home, "six", "dead@far.example", octets=newsletter(home, "six", "dead@far.example"))
    trace(home, "six").wait("delivered")
    made = api(home, token, "/api/v1/suppressions", b'{"address": "carol@far.example", "days": 3, "why": "she asked"}')
    assert made["reason"] == "by-hand" and made["reply"] == "she asked", made
    home.cli("suppression", "remove", "carol@far.example")
    assert home.cli("suppression", "remove", "carol@far.example", check=False).returncode == 1


def report_to(home, address, recipient, name, sender=""):
    """What a mail server far away says to a bounce that it hands in; the code and words of the reply to RCPT or data."""
    with smtplib.SMTP("127.0.0.1", home.port("smtp"), local_hostname="mx.far.example") as client:
        client.ehlo()
        client.mail(sender)
        code, words = client.rcpt(address)
        if code != 250:
            return code, words
        return client.data(REPORT.format(to=address, recipient=recipient, name=name))


def check_tokens(home, remote):
    home.cli("setting", "set", "return_path.tokens", "all")
    submit(home, "seven", "bob@far.example")
    trace(home, "seven").wait("delivered")
    path = remote.messages[-1].sender
    assert path.upper().startswith("PHT0=") and path.endswith("@home.example"), path
    local = path.split("@")[0]
    forged = local[:6] + ("a" if local[6] != "a" else "b") + local[7:] + "@home.example"
    code, words = report_to(home, forged, "bob@far.example", "forged")
    assert code == 550 and b"not made here" in words, (code, words)
    assert report_to(home, path, "bob@far.example", "named", "eve@far.example")[0] == 550
    assert trace(home, "seven").count("bounced") == 0 and suppressed(home) == []
    assert metric(home, "smtp_late_bounces_total") == 0 and metric(home, "smtp_bad_tokens_total") == 1
    code, words = report_to(home, "SRS0=AAAA=AA=far.example=bob@home.example", "bob@far.example", "forged-srs")
    assert code == 550 and metric(home, "smtp_bad_tokens_total") == 2, (code, words)
    bounced_before = figure(home, "bounced")
    home.kill()
    home.start()
    code, words = report_to(home, path.upper(), "bob@far.example", "late-1")
    assert code == 250, (code, words)
    event = trace(home, "seven").wait("bounced")
    assert event["detail"].startswith("late: ") and "User unknown in virtual" in event["detail"], event
    found = suppressed(home)
    assert len(found) == 1 and found[0]["address"] == "bob@far.example", found
    with Reader(home) as reader:
        reader.find("HEADER", "MESSAGE-ID", "late-1@mx.far.example")
    # Again and again it is no news, and at last it is not taken.
    replies = [report_to(home, path, "bob@far.example", f"late-{i}")[0] for i in range(2, 7)]
    assert replies[-1] == 550 and replies.count(250) == 3, replies
    assert trace(home, "seven").count("bounced") == 1 and trace(home, "seven").count("noted") == 3
    assert figure(home, "bounced") == bounced_before + 1
    assert metric(home, "smtp_late_bounces_total") == 4 and metric(home, "smtp_bad_tokens_total") == 2
    # One that is faster than our commit is to come again.
    early = []
    remote.before_reply = lambda sender: early.append(report_to(home, sender, "fast@far.example", "early"))
    submit(home, "fast", "fast@far.example")
    trace(home, "fast").wait("delivered")
    remote.before_reply = None
    assert len(early) == 1 and early[0][0] == 451, early
    assert report_to(home, remote.messages[-1].sender, "fast@far.example", "early")[0] == 250
    trace(home, "fast").wait("bounced")


def complaint(name, recipient):
    return (f"From: fbl@far.example\r\nTo: reports@home.example\r\nSubject: complaint\r\nMIME-Version: 1.0\r\n"
            f"Date: Mon, 23 Nov 2026 21:11:05 +0000\r\nMessage-ID: <c-{name}@far.example>\r\n"
            f"Content-Type: multipart/report; report-type=feedback-report; boundary=b\r\n\r\n--b\r\n\r\nHello.\r\n"
            f"--b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nUser-Agent: far/1\r\n"
            f"Version: 1\r\nOriginal-Rcpt-To: <{recipient}>\r\nReporting-MTA: dns; mx.far.example\r\n\r\n--b\r\n"
            f"Content-Type: message/rfc822\r\n\r\nFrom: alice@home.example\r\nMessage-ID: <{name}@home.example>\r\n"
            f"Subject: x\r\n\r\nx\r\n--b--\r\n").encode()


DMARC = b"""From: dmarc@far.example\r
To: reports@home.example\r
Subject: Report Domain: home.example\r
Date: Mon, 23 Nov 2026 21:11:05 +0000\r
Message-ID: <d1@far.example>\r
MIME-Version: 1.0\r
Content-Type: application/xml; name=r.xml\r
\r
<?xml version="1.0"?><feedback><report_metadata><org_name>far.example</org_name><report_id>r1</report_id>\r
<date_range><begin>1763900000</begin><end>4102444800</end></date_range></report_metadata>\r
<policy_published><domain>home.example</domain><p>none</p></policy_published>\r
<record><row><source_ip>203.0.113.9</source_ip><count>2</count><policy_evaluated><disposition>reject</disposition>\r
<dkim>fail</dkim><spf>fail</spf></policy_evaluated></row><identifiers><header_from>home.example</header_from>\r
</identifiers></record></feedback>\r
"""


def without_token(name, recipient):
    """The same bounce to a mailbox that collects reports: it names the message, as anybody can who knows it."""
    text = REPORT.format(to="reports@home.example", recipient=recipient, name=f"dsn-{name}")
    headers = f"--b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: <{name}@home.example>\r\n\r\n--b--\r\n"
    return text.replace("--b--\r\n", headers).encode()


def check_forged(home):
    """What nobody vouches for is shown in the life of the message, and changes nothing."""
    home.cli("setting", "set", "return_path.tokens", "off")
    submit(home, "plain", "dora@far.example")
    trace(home, "plain").wait("delivered")
    before = figure(home, "bounced")
    with smtplib.SMTP("127.0.0.1", home.port("smtp"), local_hostname="mx.far.example") as client:
        for name, recipient in (("eight", "carol@far.example"), ("plain", "dora@far.example")):
            assert not client.sendmail("", ["reports@home.example"], without_token(name, recipient))
    by_token = trace(home, "eight").wait("noted")
    assert by_token["detail"].startswith("unproven: ") and "left under a token" in by_token["detail"], by_token
    plain = trace(home, "plain").wait("noted")
    assert "neither SPF nor DKIM of the report is of far.example" in plain["detail"], plain
    assert figure(home, "bounced") == before
    for address in ("carol@far.example", "dora@far.example"):
        shown = home.cli("suppression", "show", address, "--json", check=False)
        assert "recipient-unknown" not in shown.stdout, shown
    assert metric(home, "role_mail_total", '{kind="bounce-unproven"}') == 2
    assert metric(home, "role_mail_total", '{kind="complaint"}') == 1
    assert metric(home, "role_mail_total", '{kind="dmarc"}') == 1


def check_role_mail(home, _):
    """Complaints and DMARC reports that are delivered to abuse@ are read, and stay there unread."""
    home.add_account("reports@home.example")
    submit(home, "eight", "carol@far.example")
    trace(home, "eight").wait("delivered")
    with smtplib.SMTP("127.0.0.1", home.port("smtp"), local_hostname="mx.far.example") as client:
        for octets in (complaint("never-sent", "carol@far.example"), complaint("eight", "carol@far.example"), DMARC):
            assert not client.sendmail("fbl@far.example", ["reports@home.example"], octets)
    home.cli("setting", "set", "reports.mailboxes", "reports@home.example")  # it is read at once
    event = trace(home, "eight").wait("complained")
    assert event["recipient"] == "carol@far.example" and "abuse reported by mx.far.example" in event["detail"], event
    row = json.loads(home.cli("suppression", "show", "carol@far.example", "--json"))[-1]
    assert row["reason"] == "complaint" and row["until"], row  # it bears no token: not for good
    sources = until("the DMARC report",
                    lambda: json.loads(home.cli("report", "dmarc", "sources", "--json")))
    assert not sources[0]["ours"] and sources[0]["known_by"] == "not known", sources
    assert sources[0]["source"] == "203.0.113.9" and sources[0]["failed"] == 2 and sources[0]["refused"] == 2, sources
    number = json.loads(home.cli("report", "dmarc", "list", "--json"))[0]["id"]
    assert len(json.loads(home.cli("report", "dmarc", "show", str(number), "--json"))) == 1
    check_forged(home)
    with Reader(home, "reports@home.example") as reader:
        assert len(reader.client.uid("SEARCH", "UNSEEN")[1][0].split()) == 5


def check_receipts(home, remote):
    """NOTIFY=SUCCESS of what is delivered here, or spread by an alias; nothing without it."""
    home.add_account("dora@home.example")
    home.cli("alias", "add", "team@home.example", "dora@home.example", "bob@far.example")
    wish = ["NOTIFY=SUCCESS,FAILURE"]
    submit(home, "nine", "dora@home.example", mail_options=["ENVID=QQ314"], rcpt_options=wish)
    submit(home, "ten", "team@home.example", rcpt_options=wish)
    submit(home, "eleven", "dora@home.example")
    with Reader(home) as reader:
        delivered = reader.find("HEADER", "REFERENCES", "nine@home.example")
        for words in (b"Action: delivered", b"Original-Envelope-Id: QQ314", b"Final-Recipient: rfc822; dora@home.example",
                      b"<nine@home.example>"):
            assert words in delivered, delivered
        expanded = reader.find("HEADER", "REFERENCES", "ten@home.example")
        assert b"<ten@home.example>" in expanded and b"Action: expanded" in expanded, expanded
        assert reader.client.uid("SEARCH", "HEADER", "REFERENCES", "eleven@home.example")[1][0] == b""
    trace(home, "ten").wait("delivered")


def main():
    remote = Refusing()
    with house(relay=f"smtp+plain://127.0.0.1:{remote.port}") as home:
        for check in (check_learned, check_told, check_client, check_undone, check_tokens, check_role_mail, check_receipts):
            check(home, remote)
            print(f"{check.__name__[6:]}: good", flush=True)


main()
