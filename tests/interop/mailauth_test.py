#!/usr/bin/env python3
"""Who sent what, judged on both sides.

Out: what Posthouse sends and passes on is judged by pyspf (python3-spf), dkimpy (python3-dkim) and authheaders: SPF of
the envelope, DKIM in both algorithms, DMARC alignment, the ARC chain of a forward. In: Posthouse judges what dkimpy,
OpenDKIM and authheaders signed and sealed; what fails DMARC is refused or goes to Junk; forged results are taken off.
Bounces of forwarded mail come back through their SRS address, forged ones do not.
"""
import base64
import email
import json
import pathlib
import re
import shlex
import shutil
import smtplib
import socket
import struct
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import House, need, skip, watched  # noqa: E402
from outside import Reader, loose, peers, submit, trace, until  # noqa: E402
from remote import Remote  # noqa: E402

try:
    import authheaders
    import dkim
    import spf
except ImportError as missing:
    skip(f"python3-{missing.name} is not installed")

HEADERS = [b"from", b"to", b"subject", b"message-id", b"date"]
LETTER = "From: Bob <bob@{domain}>\r\nTo: <{to}>\r\nSubject: {name}\r\nDate: Mon, 23 Nov 2026 20:11:05 +0000\r\n" \
         "Message-ID: <{name}@home.example>\r\n\r\nHello.\r\n"


class Sink(Remote):
    """Takes everything but mail for whom it is told to `refuse`."""

    def __init__(self):
        super().__init__()
        self.refuse = set()

    def judge(self, sender, recipient):
        return "550 5.1.1 no such user" if recipient in self.refuse else super().judge(sender, recipient)

    def find(self, name):
        """The one message with that Message-ID; waits for it."""
        mark = f"<{name}@home.example>".encode()
        return until(f"{name} at the other side", lambda: next((m for m in self.messages if mark in m.octets), None))

    def to(self, recipient):
        return until(f"mail for {recipient}", lambda: next((m for m in self.messages if recipient in m.recipients), None))


class Zone:
    """The DNS of this test, for knot and for the judges."""

    def __init__(self):
        self.lines, self.texts = [], {}

    def add(self, line):
        self.lines.append(line)
        name, kind, rest = line.split(None, 2)
        if kind == "TXT":
            self.texts[name.rstrip(".").lower()] = "".join(shlex.split(rest))

    def txt(self, name, text):
        parts = [text[i:i + 200] for i in range(0, len(text), 200)]
        self.add(f"{name}. TXT " + " ".join(f'"{part}"' for part in parts))

    def for_dkim(self, name, timeout=5):
        name = name.decode() if isinstance(name, bytes) else name
        text = self.texts.get(name.rstrip(".").lower())
        return text.encode() if text else None

    def for_authheaders(self, name, timeout=5):
        return (self.for_dkim(name) or b"").decode()

    def for_spf(self, name, kind, *_, **__):
        text = self.texts.get(name.rstrip(".").lower())
        return [((name, kind), (text.encode(),))] if kind == "TXT" and text else []


class Key:
    """A signing key of somebody else."""

    def __init__(self, folder, zone, domain, selector="s"):
        self.file, self.domain, self.selector = folder / f"{domain}.{selector}.pem", domain, selector
        subprocess.run(["openssl", "genrsa", "-traditional", "-out", str(self.file), "2048"], check=True, capture_output=True)
        der = subprocess.run(["openssl", "rsa", "-in", str(self.file), "-pubout", "-outform", "DER"], check=True,
                             capture_output=True).stdout
        zone.txt(f"{selector}._domainkey.{domain}", "v=DKIM1; k=rsa; p=" + base64.b64encode(der).decode())

    def by_dkimpy(self, message):
        return dkim.sign(message, self.selector.encode(), self.domain.encode(), self.file.read_bytes(),
                         include_headers=HEADERS) + message

    def seal(self, message, authserv_id):
        """As authheaders does it: the set of the next instance, on top."""
        fields = authheaders.sign_message(message, self.selector.encode(), self.domain.encode(), self.file.read_bytes(),
                                          HEADERS, sig="ARC", srv_id=authserv_id.encode())
        return b"".join(fields) + message


class OpenDkim:
    """OpenDKIM as the milter it is; we speak the protocol of its clients."""

    def __init__(self, folder, key):
        self.port = peers.free_port()
        config = folder / "opendkim.conf"
        config.write_text(f"Mode s\nDomain {key.domain}\nSelector {key.selector}\nKeyFile {key.file}\nSignatureAlgorithm "
                          f"rsa-sha256\nCanonicalization relaxed/simple\nSocket inet:{self.port}@127.0.0.1\nUserID root\n"
                          "InternalHosts 0.0.0.0/0\nBackground no\nRequireSafeKeys no\n")
        self.process = subprocess.Popen(["opendkim", "-f", "-x", str(config)], stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=30)

    def dial(self):
        def attempt():
            assert self.process.poll() is None, self.process.stdout.read()
            try:
                return socket.create_connection(("127.0.0.1", self.port))
            except ConnectionRefusedError:
                return None
        return until("OpenDKIM listens", attempt)

    def sign(self, message):
        """The message with the fields on top that the milter adds at its end."""
        header, _, body = message.partition(b"\r\n\r\n")
        added = b""
        with self.dial() as connection, connection.makefile("rb") as answers:
            def say(command, data=b""):
                connection.sendall(struct.pack("!I", len(data) + 1) + command + data)

            def hear():
                octets = answers.read(struct.unpack("!I", answers.read(4))[0])
                return octets[:1], octets[1:]

            say(b"O", struct.pack("!III", 6, 0x1ff, 0))
            assert hear()[0] == b"O"
            steps = [(b"C", b"mx.example\x004" + struct.pack("!H", 25) + b"127.0.0.1\x00"), (b"H", b"mx.example\x00"),
                     (b"M", b"<bob@strict.example>\x00"), (b"R", b"<alice@home.example>\x00")]
            for line in header.split(b"\r\n"):
                name, _, value = line.partition(b": ")
                steps.append((b"L", name + b"\x00" + value + b"\x00"))
            for command, data in [*steps, (b"N", b""), (b"B", body)]:
                say(command, data)
                assert hear()[0] == b"c", command
            say(b"E")
            while True:
                command, data = hear()
                if command in (b"i", b"h"):
                    name, value = data[4 if command == b"i" else 0:].split(b"\x00")[:2]
                    added += name + b": " + re.sub(rb"\r?\n", b"\r\n", value) + b"\r\n"
                elif command in (b"c", b"a"):
                    say(b"Q")
                    return added + message


class World:
    def __init__(self):
        self.sink, self.zone, self.dns_port = Sink(), Zone(), peers.free_port()
        self.home = House(config={"dns": {"servers": f'["127.0.0.1@{self.dns_port}"]'},
                                  "relay": {"mx_port": str(self.sink.port), "allow_loopback_mx": "true"}})
        self.out = Key(self.home.folder, self.zone, "strict.example")
        self.lists = Key(self.home.folder, self.zone, "lists.example")
        for line in self.home.dns:
            if " TXT " in line and "_domainkey" in line:
                self.zone.add(line)
        self.zone.add("mail.home.example. A 127.0.0.1")
        self.zone.txt("mail.home.example", "v=spf1 a -all")
        self.zone.txt("home.example", "v=spf1 ip4:127.0.0.1 -all")
        self.zone.txt("_dmarc.home.example", "v=DMARC1; p=reject")
        for domain, policy in (("strict", "reject"), ("mild", "quarantine"), ("loose", "none")):
            self.zone.txt(f"_dmarc.{domain}.example", f"v=DMARC1; p={policy}")
            self.zone.txt(f"{domain}.example", "v=spf1 ip4:192.0.2.1 -all")
        # Its mail is kept elsewhere, and its SPF does not name us: what signs for it must do.
        self.home.cli("domain", "add", "sold.example", "--sign-only")
        self.zone.txt("_dmarc.sold.example", "v=DMARC1; p=reject")
        self.zone.txt("sold.example", "v=spf1 ip4:192.0.2.1 -all")
        for record in json.loads(self.home.cli("domain", "records", "sold.example", "--json")):
            assert record["type"] not in ("MX", "SRV"), record
            if "_domainkey" in record["name"]:
                self.zone.txt(record["name"], record["value"])
        for domain in ("strict", "far", "lists", "sold"):
            self.zone.add(f"{domain}.example. MX 10 mx.far.example.")
        self.zone.add("mx.far.example. A 127.0.0.1")
        self.home.cli("alias", "add", "passes@home.example", "carol@far.example")
        spf.DNSLookup = self.zone.for_spf

    def come_in(self, octets, to="alice@home.example", sender="bob@strict.example"):
        """From a stranger at port 25. The last reply."""
        with smtplib.SMTP("127.0.0.1", self.home.port("smtp"), local_hostname="mx.elsewhere.example") as client:
            client.ehlo()
            code, text = client.mail(sender)
            assert code == 250, text
            code, text = client.rcpt(to)
            if code != 250:
                return code, text.decode()
            code, text = client.data(octets)
            return code, text.decode()

    def stored(self, name, folder="INBOX"):
        with Reader(self.home) as reader:
            reader.client.select(folder, readonly=True)
            return reader.find("HEADER", "Message-ID", f"<{name}@home.example>")

    def results(self, name, folder="INBOX"):
        """Our Authentication-Results of a stored message, unfolded."""
        fields = email.message_from_bytes(self.stored(name, folder)).get_all("Authentication-Results")
        ours = [field for field in fields if field.startswith("mail.home.example;")]
        assert len(ours) == 1, fields
        return re.sub(r"\s+", " ", ours[0])


def letter(name, domain="strict.example", to="alice@home.example"):
    return LETTER.format(name=name, domain=domain, to=to).encode()


def judge_all(world, octets, sender, hello, wanted):
    """What authheaders says of it, SPF by pyspf among it."""
    results = authheaders.authenticate_message(octets, "judge.example", spf=True, dkim=True, dmarc=True, arc=True,
                                               ip="127.0.0.1", mail_from=sender, helo=hello, dnsfunc=world.zone.for_authheaders)
    for part in wanted:
        assert part in results, (part, results)
    return results


def check_own_mail(world):
    submit(world.home, "own", "carol@far.example")
    sender, _, octets, hello = world.sink.find("own")
    assert sender == "alice@home.example", sender
    verifier = dkim.DKIM(octets)
    count = sum(1 for name, _ in verifier.headers if name.lower() == b"dkim-signature")
    assert count == 2, "one signature for each algorithm"
    algorithms = set()
    for index in range(count):
        each = dkim.DKIM(octets)
        assert each.verify(idx=index, dnsfunc=world.zone.for_dkim), f"signature {index} is not good"
        algorithms.add(each.signature_fields[b"a"])
    assert algorithms == {b"rsa-sha256", b"ed25519-sha256"}, algorithms
    assert spf.check2(i="127.0.0.1", s=sender, h=hello)[0] == "pass"
    judge_all(world, octets, sender, hello, ["spf=pass", "dkim=pass", "dmarc=pass"])


def check_forward(world):
    """DKIM of the author still holds, SPF and ARC are ours."""
    message = world.out.by_dkimpy(letter("forward", to="passes@home.example"))
    code, text = world.come_in(message, to="passes@home.example")
    assert code == 250, text
    sender, recipients, octets, hello = world.sink.find("forward")
    assert recipients == ("carol@far.example",), recipients
    assert re.fullmatch(r"SRS0=[a-z2-7]{7}=[a-z2-7]{2}=strict\.example=bob@home\.example", sender), sender
    status, found, reason = dkim.arc_verify(octets, dnsfunc=world.zone.for_dkim)
    assert status == b"pass", (status, reason, found)
    assert spf.check2(i="127.0.0.1", s=sender, h=hello)[0] == "pass"
    judge_all(world, octets, sender, hello, ["spf=pass", "dkim=pass", "dmarc=pass", "arc=pass"])
    sealed = email.message_from_bytes(octets)["ARC-Authentication-Results"]
    assert "mail.home.example" in sealed and "dmarc=pass" in sealed, sealed
    world.srs = sender


def check_bounce(world):
    """The report reaches the sender himself; what is forged, too much changed, or no report is refused."""
    report = letter("bounce", domain="far.example", to=world.srs)
    code, text = world.come_in(report, to=world.srs, sender="")
    assert code == 250, text
    sender, recipients, _, _ = world.sink.find("bounce")
    assert sender == "" and recipients == ("bob@strict.example",), (sender, recipients)
    # A stranger may write anything into it: it bears no signature of the domain that its From claims.
    code, text = world.come_in(letter("forged-bounce", domain="sold.example", to=world.srs), to=world.srs, sender="")
    assert code == 250, text
    octets = world.sink.find("forged-bounce").octets
    assert b"d=sold.example" not in octets, octets
    code, text = world.come_in(report, to=world.srs, sender="carol@far.example")
    assert code == 550 and "reports" in text, text
    forged = world.srs.replace("strict.example", "victim.example")
    code, text = world.come_in(report, to=forged, sender="")
    assert code == 550 and "not made here" in text, text


def check_failed_forward(world):
    """We could not deliver it ourselves: the sender's own address is told, not the SRS one."""
    world.sink.refuse.add("carol@far.example")
    message = world.out.by_dkimpy(letter("unwanted", to="passes@home.example"))
    assert world.come_in(message, to="passes@home.example")[0] == 250
    sender, _, octets, _ = until("a report", lambda: next(
        (m for m in world.sink.messages
         if m.recipients == ("bob@strict.example",) and b"<unwanted@home.example>" in m.octets), None))
    assert sender == "" and b"550 5.1.1 no such user" in octets, octets
    world.sink.refuse.clear()


def check_refused(world):
    code, text = world.come_in(letter("spoofed"))
    assert code == 550 and "5.7.26" in text, (code, text)
    events = until("the refusal in the trace", lambda: [
        event for event in json.loads(world.home.cli("trace", "bob@strict.example", "--json", check=False).stdout or "[]")
        if event["kind"] == "refused"])
    assert "DMARC fail (p=reject of strict.example)" in events[-1]["detail"], events
    # Two authors are one too many, and a group is none.
    assert world.come_in(b"From: a@home.example\r\n" + letter("twice"))[0] == 550


def check_junk(world):
    code, text = world.come_in(letter("mild", domain="mild.example"), sender="bob@mild.example")
    assert code == 250, text
    assert "dmarc=fail" in world.results("mild", "Junk")
    assert "so it goes to Junk" in trace(world.home, "mild").wait("received")["detail"]
    code, text = world.come_in(letter("loose", domain="loose.example"), sender="bob@loose.example")
    assert code == 250, text
    assert "dmarc=fail" in world.results("loose")


def check_signed_by_others(world):
    signers, server = [("dkimpy", world.out.by_dkimpy)], None
    if shutil.which("opendkim"):
        server = OpenDkim(world.home.folder, world.out)
        signers.append(("opendkim", server.sign))
    else:
        print("OpenDKIM is not installed: its signatures are not judged")
    for name, sign in signers:
        code, text = world.come_in(sign(letter(name)))
        assert code == 250, (name, text)
        found = world.results(name)
        assert "spf=fail" in found and "dkim=pass header.d=strict.example" in found and "dmarc=pass" in found, found
        broken = sign(letter(name + "-broken")).replace(b"Hello.", b"Hello!")
        assert world.come_in(broken)[0] == 550, name
    if server:
        server.stop()


def check_forged_results(world):
    forged = (b"Authentication-Results: mail.home.example; dmarc=pass\r\n"
              b"Authentication-Results: \"MAIL\\.home.example\" 1;\r\n\tdmarc=pass\r\n"
              b"Authentication-Results: (c) mail.home.example.; dmarc=pass\r\n"
              b"Authentication-Results: mx.other.example; dmarc=pass\r\n")
    code, text = world.come_in(forged + letter("forged", domain="loose.example"), sender="bob@loose.example")
    assert code == 250, text
    assert "dmarc=fail" in world.results("forged")
    fields = email.message_from_bytes(world.stored("forged")).get_all("Authentication-Results")
    assert len(fields) == 2 and fields[1].startswith("mx.other.example"), fields


def check_list_with_arc(world):
    """A list that breaks the signature is believed only where its seal is trusted."""
    def through_list(name):
        signed = world.out.by_dkimpy(letter(name))
        seen = b"Authentication-Results: lists.example; dkim=pass header.d=strict.example; dmarc=pass\r\n" + signed
        changed = seen.replace(f"Subject: {name}".encode(), f"Subject: [list] {name}".encode())
        return world.lists.seal(changed, "lists.example")

    code, text = world.come_in(through_list("list1"), sender="list@lists.example")
    assert code == 550, text
    world.home.cli("setting", "set", "arc.trusted", "lists.example")
    # The server hears of the change within a second.
    until("the list is believed", lambda: world.come_in(through_list("list2"), sender="list@lists.example")[0] == 250)
    found = world.results("list2")
    assert "arc=pass" in found and "dmarc=fail" in found, found
    # Passed on, our set is the second of the chain.
    code, text = world.come_in(through_list("list3"), to="passes@home.example", sender="list@lists.example")
    assert code == 250, text
    octets = world.sink.find("list3")[2]
    status, found, reason = dkim.arc_verify(octets, dnsfunc=world.zone.for_dkim)
    assert status == b"pass" and len(found) == 2, (status, reason, found)


def check_return_path(world):
    """A way with a return-path domain of its own; SPF is asked about that one."""
    world.home.cli("way", "add", "out", f"smtp+plain://127.0.0.1:{world.sink.port}", "--return-path", "bounce.home.example")
    world.home.cli("route", "add", "far", "out", "--to", "far.example")
    assert "bounce.home.example" in world.home.cli("route", "explain", "alice@home.example", "dave@far.example")
    submit(world.home, "own-path", "dave@far.example")
    sender = world.sink.find("own-path")[0]
    assert re.fullmatch(r"SRS0=\S+=home\.example=alice@bounce\.home\.example", sender), sender
    code, text = world.come_in(letter("own-bounce", domain="far.example", to=sender), to=sender, sender="")
    assert code == 250, text
    assert b"Hello." in world.stored("own-bounce")


def check_client_by_address(world):
    """A machine of the house without a login: what its receivers would not believe is not taken from it either."""
    world.home.cli("client", "add", "shop", "--from-address", "127.0.0.1", "--sender-domain", "strict.example")

    def hand_in(octets):
        code, text = world.come_in(octets, to="carol@far.example")
        return None if text.startswith("5.7.1 ") else (code, text)  # it is not known yet, and nobody may relay
    code, text = until("the client is known", lambda: hand_in(letter("unsigned-shop", to="carol@far.example")))
    assert code == 550 and text.startswith("5.7.26 ") and "strict.example" in text, (code, text)
    signed = world.out.by_dkimpy(letter("signed-shop", to="carol@far.example"))
    code, text = hand_in(signed)
    assert code == 250, (code, text)
    assert world.sink.find("signed-shop")[1] == ("carol@far.example",)
    world.home.cli("client", "remove", "shop")


def check_domain_kept_elsewhere(world):
    """Mail from it bears its signatures; mail to it goes to its mail servers; strangers bring none here."""
    made = json.loads(world.home.cli("client", "add", "till", "--sender-domain", "sold.example", "--json"))

    def hand_in(name, to):
        with smtplib.SMTP("127.0.0.1", world.home.port("submission"), local_hostname="till.sold.example") as client:
            client.starttls(context=loose(world.home))
            client.login("till", made["password"])
            assert not client.sendmail("till@sold.example", [to], letter(name, domain="sold.example", to=to))

    hand_in("sold", "carol@far.example")
    sender, _, octets, hello = world.sink.find("sold")
    judge_all(world, octets, sender, hello, ["dkim=pass", "header.d=sold.example", "dmarc=pass"])
    assert octets.count(b"d=sold.example;") == 2, octets
    hand_in("to-its-home", "boss@sold.example")
    assert world.sink.find("to-its-home").recipients == ("boss@sold.example",)
    code, text = world.come_in(letter("by-a-stranger", to="boss@sold.example"), to="boss@sold.example")
    assert code == 554 and "Relay access denied" in text, (code, text)
    assert "stays here" not in world.home.cli("route", "explain", "till@sold.example", "boss@sold.example")
    refused = world.home.cli("account", "add", "boss@sold.example", check=False,
                             environment={"POSTHOUSE_PASSWORD": "correct horse battery"})
    assert refused.returncode == 1 and "posthouse domain set sold.example --hosted" in refused.stderr, refused
    # It moves in, and out again.
    world.home.cli("domain", "set", "sold.example", "--hosted")
    world.home.cli("alias", "add", "boss@sold.example", "alice@home.example")
    assert "stay" in world.home.cli("route", "explain", "till@sold.example", "boss@sold.example")
    code, text = world.come_in(letter("moved-in", domain="loose.example", to="boss@sold.example"), to="boss@sold.example",
                               sender="bob@loose.example")
    assert code == 250, (code, text)
    refused = world.home.cli("domain", "set", "sold.example", "--sign-only", check=False)
    assert refused.returncode == 1 and "accounts or aliases" in refused.stderr, refused
    world.home.cli("alias", "remove", "boss@sold.example")
    world.home.cli("domain", "set", "sold.example", "--sign-only")
    world.home.cli("client", "remove", "till")


def check_silent_dns(world):
    """What the relay does while the DNS does not say who keeps somebody's mail, route explain says."""
    world.home.configure("dns", {"servers": f'["127.0.0.1@{peers.free_port()}"]'})  # nobody is there
    world.home.cli("route", "add", "google", "direct", "--provider", "google", "--priority", "10")
    words = ("route", "explain", "alice@home.example", "bob@far.example")
    told = world.home.cli(*words)
    assert "it waits until the DNS answers" in told, told
    assert json.loads(world.home.cli(*words, "--json"))["decision"] == "wait"
    world.home.cli("route", "remove", "google")
    world.home.configure("dns", {"servers": f'["127.0.0.1@{world.dns_port}"]'})


CHECKS = [check_own_mail, check_forward, check_bounce, check_failed_forward, check_refused, check_junk,
          check_signed_by_others, check_forged_results, check_list_with_arc, check_return_path,
          check_client_by_address, check_domain_kept_elsewhere, check_silent_dns]


def main():
    need("knotd", "openssl")
    world = World()
    with watched(world.home), peers.knot(world.zone.lines, world.dns_port):
        world.home.start()
        for check in CHECKS:
            check(world)
            print(f"{check.__name__[6:]}: good", flush=True)


main()
