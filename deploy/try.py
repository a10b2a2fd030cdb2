"""Carries mail between two Posthouses on loopback; called by deploy/try, which builds the program first.

Readiness comes from systemd's notify protocol and arrival from IMAP IDLE: nothing here sleeps and hopes.
"""
import argparse
import imaplib
import json
import os
import pathlib
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time

import dkim

READY_SECONDS_MAX = 30
ARRIVAL_SECONDS_MAX = 60
PASSWORD = "try-posthouse-7"


def free_offset():
    """A number to add to all ports so that none of them is taken on either address."""
    for offset in range(20000, 40000, 1000):
        try:
            for host in ("127.0.0.1", "127.0.0.2"):
                for port in (25, 587, 465, 143, 993, 8025):
                    with socket.socket() as probe:
                        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                        probe.bind((host, port + offset))
            return offset
        except OSError:
            continue
    sys.exit("deploy/try: no free ports on loopback")


class House:
    def __init__(self, binary, folder, name, host, offset, account, relay=(), environment=None):
        self.binary, self.name, self.host, self.offset = binary, name, host, offset
        self.domain, self.hostname = f"{name}.example", f"mail.{name}.example"
        self.folder = folder / name
        self.folder.mkdir()
        self.config = self.folder / "posthouse.toml"
        self.process = None
        words = ["init", "--json", "--data", str(self.folder / "data"), "--hostname", self.hostname, "--domain", self.domain,
                 "--account", account, "--listen", host, "--port-offset", str(offset), *relay]
        self.made = json.loads(self.cli(*words, environment=environment))
        self.passwords = {account: self.made["password"]}

    def cli(self, *words, stdin=None, environment=None):
        done = subprocess.run([self.binary, *words, *([] if words[0] == "sendmail" else ["--config", str(self.config)])], input=stdin, text=True,
                              capture_output=True, env={**os.environ, "POSTHOUSE_CONFIG": str(self.config), **(environment or {})})
        if done.returncode != 0:
            raise RuntimeError(f"posthouse {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def add_account(self, address):
        self.cli("account", "add", address, environment={"POSTHOUSE_PASSWORD": PASSWORD})
        self.passwords[address] = PASSWORD

    def start(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            path = str(self.folder / "notify")
            notify.bind(path)
            notify.settimeout(READY_SECONDS_MAX)
            began = time.monotonic()
            with open(self.folder / "log", "ab") as log:
                self.process = subprocess.Popen([self.binary, "serve", "--config", str(self.config)], stdout=log, stderr=log,
                                                env={**os.environ, "NOTIFY_SOCKET": path}, start_new_session=True)
            try:
                while b"READY=1" not in notify.recv(4096):
                    pass
            except TimeoutError:
                raise RuntimeError(f"{self.name} did not start:\n" + (self.folder / "log").read_text()) from None
            return time.monotonic() - began

    def stop(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=40)

    def wait_for(self, address, subject):
        """The message with that subject out of the INBOX, whole; waits for it with IDLE."""
        context = ssl.create_default_context(cafile=str(self.folder / "data/tls/certificate.pem"))
        context.check_hostname = False  # we dial an address; the certificate itself is the trust anchor
        deadline = time.monotonic() + ARRIVAL_SECONDS_MAX
        with imaplib.IMAP4_SSL(self.host, self.offset + 993, ssl_context=context) as client:
            client.login(address, self.passwords[address])
            known = client.select("INBOX")[1][-1]
            while True:
                found = client.search(None, "SUBJECT", f'"{subject}"')[1][0].split()
                if found:
                    return client.fetch(found[-1], "(BODY.PEEK[])")[1][0][1]
                # One that came in beside the search was told then and will not be told again.
                latest = client.untagged_responses.get("EXISTS", [known])[-1]
                if latest != known:
                    known = latest
                    continue
                left = deadline - time.monotonic()
                if left <= 0:
                    raise RuntimeError(f"\"{subject}\" did not come to {address} within {ARRIVAL_SECONDS_MAX} s")
                client.send(b"X1 IDLE\r\n")
                client.sock.settimeout(left)
                try:
                    while b"EXISTS" not in client.readline():
                        pass
                except (TimeoutError, OSError):
                    raise RuntimeError(f"\"{subject}\" did not come to {address} within {ARRIVAL_SECONDS_MAX} s") from None
                client.sock.settimeout(READY_SECONDS_MAX)
                client.send(b"DONE\r\n")
                while not client.readline().startswith(b"X1 OK"):
                    pass

    def show_trace(self, address):
        lines = self.cli("trace", address).rstrip().split("\n")
        print("\n".join("      " + line for line in lines[-6:]))


def message(sender, recipient, subject):
    return f"From: {sender}\r\nTo: {recipient}\r\nSubject: {subject}\r\n\r\nWith fresh horses.\r\n"


def judge_dkim(raw, home):
    """Both signatures, checked by another implementation against the records that init printed."""
    records = {}
    for line in home.made["dns"]:
        name, kind, text = line.split(" ", 2)
        if kind == "TXT":
            records[name] = "".join(text.split('"')[1::2]).encode()
    judged = dkim.DKIM(raw)
    count = sum(1 for name, _ in judged.headers if name.lower() == b"dkim-signature")
    if count != 2:
        raise RuntimeError(f"{count} DKIM signatures instead of two")
    for index in range(count):
        if not dkim.DKIM(raw).verify(idx=index, dnsfunc=lambda name, timeout=5: records.get(name.decode())):
            raise RuntimeError(f"DKIM signature {index + 1} does not verify")
    return count


def carol_to_alice(home, world):
    with smtplib.SMTP(home.host, home.offset + 25, "mail.world.example") as client:
        client.sendmail("carol@world.example", ["alice@home.example"], message("carol@world.example", "alice@home.example", "try 1"))
    home.wait_for("alice@home.example", "try 1")
    home.show_trace("carol@world.example")
    return "carol to alice over SMTP: in alice's INBOX"


def alice_to_bob(home, world):
    home.cli("sendmail", "-f", "alice@home.example", "bob@home.example", stdin=message("alice@home.example", "bob@home.example", "try 2"))
    home.wait_for("bob@home.example", "try 2")
    home.show_trace("bob@home.example")
    return "alice to bob, handed in with sendmail: in bob's INBOX"


def alice_to_carol(home, world):
    context = ssl.create_default_context(cafile=str(home.folder / "data/tls/certificate.pem"))
    context.check_hostname = False
    with smtplib.SMTP(home.host, home.offset + 587, "laptop.home.example") as client:
        client.starttls(context=context)
        client.login("alice@home.example", home.passwords["alice@home.example"])
        client.sendmail("alice@home.example", ["carol@world.example"], message("alice@home.example", "carol@world.example", "try 3"))
    count = judge_dkim(world.wait_for("carol@world.example", "try 3"), home)
    home.show_trace("carol@world.example")
    return f"alice to carol through the relay (AUTH, TLS): in carol's INBOX, {count} DKIM signatures verified on arrival"


def alice_to_nobody(home, world):
    home.cli("sendmail", "-f", "alice@home.example", "nobody@world.example",
             stdin=message("alice@home.example", "nobody@world.example", "try 4"))
    report = home.wait_for("alice@home.example", "Undelivered")
    if b"report-type=delivery-status" not in report or b"nobody@world.example" not in report:
        raise RuntimeError("what came back is no delivery report about nobody@world.example")
    home.show_trace("nobody@world.example")
    status = next((line for line in report.decode(errors="replace").split("\r\n") if line.startswith("Status:")), "no status")
    return f"alice to nobody@world.example: came back as a delivery report ({status})"


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--binary", required=True)
    arguments.add_argument("--keep", action="store_true")
    options = arguments.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="posthouse-try-"))
    offset = free_offset()
    houses, good = [], True
    try:
        world = House(options.binary, folder, "world", "127.0.0.2", offset, "carol@world.example")
        houses.append(world)
        world.add_account("relay@world.example")
        world.cli("account", "senders", "relay@world.example", "home.example")
        relay = ["--relay", f"smtp://relay@world.example@127.0.0.2:{offset + 587}?name=mail.world.example",
                 "--relay-ca-file", str(world.folder / "data/tls/certificate.pem")]
        home = House(options.binary, folder, "home", "127.0.0.1", offset, "alice@home.example", relay,
                     {"POSTHOUSE_RELAY_PASSWORD": PASSWORD})
        houses.append(home)
        home.add_account("bob@home.example")
        for house in houses:
            print(f"ok    {house.name} is open on {house.host} after {house.start():.2f} s")
        for carry in (carol_to_alice, alice_to_bob, alice_to_carol, alice_to_nobody):
            try:
                print("ok    " + carry(home, world))
            except Exception as error:  # each message is judged by itself
                good = False
                print(f"BAD   {carry.__name__.replace('_', ' ')}: {error}")
    except Exception as error:
        good = False
        print(f"BAD   {error}")
    if options.keep and len(houses) == 2:
        print("\nBoth go on running. With a mail client (accept the self-signed certificate):")
        for house in houses:
            for address, password in house.passwords.items():
                print(f"  {address}  password {password}\n"
                      f"    IMAP {house.host} port {house.offset + 993} SSL/TLS, SMTP {house.host} port {house.offset + 465} SSL/TLS")
        print("Commands: posthouse ... --config " + " or ".join(str(house.config) for house in houses))
        print("To end it: kill " + " ".join(str(house.process.pid) for house in houses) + f"; rm -r {folder}")
    else:
        for house in houses:
            house.stop()
        if good:
            shutil.rmtree(folder)
        else:
            print(f"What they wrote lies in {folder}/*/log")
    return 0 if good else 1


sys.exit(main())
