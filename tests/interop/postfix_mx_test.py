#!/usr/bin/env python3
"""Posthouse delivers by MX to a real Postfix whose zone a real DNS server (knot) serves: delivered over opportunistic
STARTTLS and in clear, put off and then delivered, refused, and every way in which a domain can take no mail.

Three doors of one Postfix stand for three hosts: 127.0.0.1 with a self-made certificate, 127.0.0.2 without SMTPUTF8,
127.0.0.3 without TLS.
"""
import email
import email.policy
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import House  # noqa: E402
from outside import Reader, need_servers, peers, submit, trace, until  # noqa: E402
from postfix_world import World as PostfixWorld  # noqa: E402

ZONE = """\
far.example. MX 10 mx.far.example.
mx.far.example. A 127.0.0.1
only-a.example. A 127.0.0.1
null.example. MX 0 .
order.example. MX 20 mx.far.example.
order.example. MX 10 closed.far.example.
closed.far.example. A 127.0.0.9
loop.example. MX 10 mail.home.example.
loop.example. MX 20 mx.far.example.
mail.home.example. A 127.0.0.1
nothing.example. TXT "neither MX nor address"
lost.example. MX 10 gone.lost.example.
ascii.example. MX 10 ascii.far.example.
ascii.far.example. A 127.0.0.2
clear.example. MX 10 clear.far.example.
clear.far.example. A 127.0.0.3
alias.example. CNAME far.example.
""".splitlines()
DOORS = """\
127.0.0.2:{port} inet n - n - - smtpd
  -o smtputf8_enable=no
127.0.0.3:{port} inet n - n - - smtpd
  -o smtpd_tls_security_level=none
"""


class World(PostfixWorld):
    def report(self, name):
        """The delivery report about that message, as the fields of its message/delivery-status part."""
        with Reader(self.home) as inbox:
            octets = inbox.find("HEADER", "In-Reply-To", f"<{name}@home.example>")
        message = email.message_from_bytes(octets, policy=email.policy.default)
        assert not message.defects, message.defects
        assert message.get_content_type() == "multipart/report", message.get_content_type()
        assert message.get_param("report-type") == "delivery-status"
        assert message["Auto-Submitted"] == "auto-replied" and "MAILER-DAEMON@" in message["From"]
        assert "Return-Path: <>" in octets.decode(errors="replace"), "a report has the null sender"
        parts = list(message.iter_parts())
        kinds = [part.get_content_type() for part in parts]
        assert len(kinds) == 3 and kinds[0] == "text/plain", kinds
        original = parts[2].get_payload()
        original = original if isinstance(original, str) else original[0].as_string()
        assert f"<{name}@home.example>" in original, original
        if kinds[1] == "message/global-delivery-status":  # the library knows only the older form
            text = parts[1].get_payload()
            text = text if isinstance(text, str) else "\n".join(str(each) for each in text)
            blocks = [email.message_from_string(block, policy=email.policy.default)
                      for block in text.replace("\r\n", "\n").strip().split("\n\n")]
        else:
            assert kinds[1:] == ["message/delivery-status", "text/rfc822-headers"], kinds
            blocks = parts[1].get_payload()
        assert len(blocks) == 2, [str(block) for block in blocks]
        assert blocks[0]["Reporting-MTA"] == "dns; mail.home.example" and blocks[0]["Arrival-Date"], str(blocks[0])
        return blocks[1], parts[0].get_content()


def check_delivered(world):
    submit(world.home, "delivered", "bob@far.example")
    event = trace(world.home, "delivered").wait("delivered")
    assert "C: STARTTLS" in event["dialogue"] and "TLSv1.3" in event["dialogue"], event["dialogue"]
    assert "certificate not verified" in event["dialogue"], event["dialogue"]
    text = world.home.cli("trace", "<delivered@home.example>")
    assert "mx.far.example" in text and "bob@far.example" in text, text
    assert b"Return-Path: <alice@home.example>\r\n" in world.arrived("delivered")
    assert "Anonymous TLS connection established from" in world.postfix.log() or "TLS connection" in world.postfix.log()


def check_resumed(world):
    """A second connection takes up the TLS session of the first."""
    until("the first connection to be closed", lambda: "disconnect from" in world.postfix.log())
    submit(world.home, "resumed", "bob@far.example")
    event = trace(world.home, "resumed").wait("delivered")
    assert "session resumed" in event["dialogue"] and "C: STARTTLS" in event["dialogue"], event["dialogue"]
    assert "certificate not verified" in event["dialogue"], "what was found at first still holds: " + event["dialogue"]
    world.arrived("resumed")


def check_without_tls(world):
    submit(world.home, "clear", "bob@clear.example")
    event = trace(world.home, "clear").wait("delivered")
    assert "C: STARTTLS" not in event["dialogue"], event["dialogue"]
    world.arrived("clear")


def check_broken_tls(world):
    """A host whose TLS is broken still gets its mail: opportunistic means that clear is better than not at all."""
    certificate = world.postfix.settings["smtpd_tls_cert_file"]
    world.postfix.set({"smtpd_tls_protocols": "TLSv1", "smtpd_tls_mandatory_protocols": "TLSv1"})
    submit(world.home, "broken-tls", "bob@far.example")
    event = trace(world.home, "broken-tls").wait("delivered")
    assert "TLS failed" in event["dialogue"] and "trying again without TLS" in event["dialogue"], event["dialogue"]
    world.arrived("broken-tls")
    world.postfix.set({"smtpd_tls_protocols": ">=TLSv1.2", "smtpd_tls_mandatory_protocols": ">=TLSv1.2",
                       "smtpd_tls_cert_file": certificate})


def check_deferred(world):
    """450, then the administrator of the other side relents."""
    submit(world.home, "deferred", "later@far.example", "bob@far.example")
    events = trace(world.home, "deferred")
    assert events.wait("delivered")["recipient"] == "bob@far.example"
    event = events.wait("attempted")
    assert event["recipient"] == "later@far.example" and "450" in event["detail"], event
    listed = world.home.cli("queue", "show", events.queue_id())
    assert "later@far.example" in listed and "Come back later" in listed, listed
    world.access.write_text(world.access.read_text().replace("later@far.example", "nobody@far.example"))
    world.postfix.set({})
    events.retry()
    assert events.wait("delivered", 2)["recipient"] == "later@far.example"
    until("both copies", lambda: len(world.copies("deferred")) == 2)
    with Reader(world.home) as inbox:
        assert inbox.count("HEADER", "In-Reply-To", "<deferred@home.example>") == 0, "nobody need be told"


def check_down(world):
    """The host is not there at all; then it is."""
    world.postfix.stop()
    submit(world.home, "down", "bob@far.example")
    events = trace(world.home, "down")
    event = events.wait("attempted")
    assert "No connection to mx.far.example [127.0.0.1]" in event["detail"], event
    world.postfix.start()
    events.retry()
    events.wait("delivered")
    world.arrived("down")


def check_refused(world):
    submit(world.home, "refused", "refused@far.example", mail_options=["ENVID=QQ314159", "RET=HDRS"],
           rcpt_options=["NOTIFY=FAILURE,DELAY", "ORCPT=rfc822;Refused@far.example"])
    event = trace(world.home, "refused").wait("bounced")
    assert "550" in event["detail"], event
    fields, text = world.report("refused")
    assert fields["Action"] == "failed" and fields["Status"] == "5.1.1", str(fields)
    assert fields["Final-Recipient"] == "rfc822; refused@far.example", str(fields)
    assert fields["Original-Recipient"] == "rfc822; Refused@far.example", str(fields)
    assert fields["Diagnostic-Code"].startswith("smtp; 550 5.1.1") and "no such user" in fields["Diagnostic-Code"]
    assert fields["Remote-MTA"] == "dns; mx.far.example", str(fields)
    assert "refused@far.example" in text and "What to do" in text, text


def check_silent(world):
    """NOTIFY=NEVER: given up without a word."""
    submit(world.home, "never", "refused@far.example", rcpt_options=["NOTIFY=NEVER"])
    event = trace(world.home, "never").wait("bounced")
    assert "550 5.1.1" in event["detail"], "on the connection of the refusal before: " + event["detail"]
    with Reader(world.home) as inbox:
        assert inbox.count("HEADER", "In-Reply-To", "<never@home.example>") == 0


def check_domains(world):
    for name, to, status in (("null-mx", "bob@null.example", "5.1.10"), ("nxdomain", "bob@nowhere.example", "5.1.2"),
                             ("no-host", "bob@nothing.example", "5.1.2"), ("loop", "bob@loop.example", "5.4.6"),
                             ("lost", "bob@lost.example", "5.4.4")):
        submit(world.home, name, to)
        trace(world.home, name).wait("bounced")
        fields, _ = world.report(name)
        assert fields["Status"] == status and fields["Action"] == "failed", (name, str(fields))
        assert fields["Final-Recipient"] == f"rfc822; {to}", str(fields)
        assert world.home.cli("trace", to), to
    for name, to in (("only-a", "bob@only-a.example"), ("order", "bob@order.example"), ("alias", "bob@alias.example")):
        submit(world.home, name, to)
        event = trace(world.home, name).wait("delivered")
        world.arrived(name)
        if name == "order":
            assert "closed.far.example" in event["dialogue"], event["dialogue"]


def check_smtputf8(world):
    octets = ("From: <alice@home.example>\r\nTo: <jürgen@{0}>\r\nSubject: Grüße\r\nMessage-ID: <{1}@home.example>\r\n"
              "Date: Mon, 23 Nov 2026 20:11:05 +0000\r\n\r\nhi\r\n")
    submit(world.home, "utf8", "jürgen@far.example", octets=octets.format("far.example", "utf8").encode(),
           mail_options=["SMTPUTF8", "BODY=8BITMIME"])
    event = trace(world.home, "utf8").wait("delivered")
    assert "SMTPUTF8" in event["dialogue"].partition("C: MAIL")[2].partition("\n")[0], event["dialogue"]
    assert "jürgen@far.example".encode() in world.arrived("utf8")
    submit(world.home, "no-utf8", "jürgen@ascii.example", octets=octets.format("ascii.example", "no-utf8").encode(),
           mail_options=["SMTPUTF8", "BODY=8BITMIME"])
    event = trace(world.home, "no-utf8").wait("bounced")
    assert "C: MAIL" not in event["dialogue"], event["dialogue"]
    fields, _ = world.report("no-utf8")
    assert fields["Status"] == "5.6.7", str(fields)
    submit(world.home, "plain-to-ascii", "bob@ascii.example")
    trace(world.home, "plain-to-ascii").wait("delivered")


def main():
    need_servers()
    authority = peers.Authority("Nobody that anybody trusts")
    port = peers.free_port()
    postfix = peers.Postfix(port=port, master_extra=DOORS.format(port=port))
    with World(postfix, authority) as world:
        judge = world.judge_recipients("refused@far.example 550 5.1.1 no such user here",
                                       "later@far.example 450 4.2.1 Come back later")
        postfix.set({**peers.one_maildir(postfix), **authority.issue("mx.far.example"),
                     "smtpd_recipient_restrictions": f"{judge}, permit"})
        postfix.start()
        world.home = House(config={**world.dns_settings(),
                                   "relay": {"mx_port": str(port), "allow_loopback_mx": "true"}})
        world.run(ZONE, check_delivered, check_resumed, check_without_tls, check_broken_tls, check_deferred, check_down, check_refused,
                  check_silent, check_domains, check_smtputf8)


main()
