#!/usr/bin/env python3
"""The relay beside Postfix in the same run: draining a queue, and how soon a letter is at the remote after its 250.

  tests/bench/relay_bench.py [--messages 20000] [--cases smarthost,domains,signed,tls,signed-tls,latency] [--rounds 1]
                             [--postfix NAME=VALUE ...]

Prints one JSON line a case. Rounds alternate between the two; --postfix sets more in its main.cf than the defaults of its
makers, to see what it can do at its best. The remote is smtp-sink (Debian's postfix); for the latency tests/support/arrivals.py, which sees
the final dot of both alike. Draining: the mail is queued first and nothing else runs; the clock stops when the sink has
it all (Postfix), or when all of it is recorded as delivered too (Posthouse). Signed means both keys at Posthouse, and one
RSA-2048 key at Postfix: opendkim as its milter knows no other. Postfix signs as it takes the mail and Posthouse as it sends
it, so there smtp-source hands it to both of them by 20 connections while they send, and the clock runs from its first
connection until the sink has all. Over TLS both speak to the same stunnel before the sink.
POSTHOUSE_BINARY and POSTHOUSE_RELAY_BENCH name the programs (release and bench builds); deploy/install-build-deps --bench
installs what it speaks to.
"""
import argparse
import contextlib
import json
import os
import pathlib
import pty
import re
import shutil
import smtplib
import socket
import sqlite3
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "support"), str(HERE.parent / "interop")]
import peers  # noqa: E402
from arrivals import Arrivals  # noqa: E402
from house import House, house, need  # noqa: E402

BENCH = os.environ.get("POSTHOUSE_RELAY_BENCH", str(HERE.parents[1] / "build" / "bench" / "tests" / "bench" / "relay_bench"))
OCTETS = 10240
MORE = {}  # settings of main.cf, from the command line


def tell(case, **more):
    print(json.dumps({"bench": "relay", "case": case, **more}), flush=True)


def listening(port, seconds=10):
    until = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        if time.monotonic() > until:
            raise RuntimeError(f"nothing listens on port {port}")
        time.sleep(0.01)


class Sink:
    """smtp-sink, and how many messages it has had."""

    def __init__(self, address="127.0.0.1"):
        self.port = peers.free_port()
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(["smtp-sink", "-c", "-u", "nobody", f"{address}:{self.port}", "2000"],
                                        stdout=slave, stderr=subprocess.DEVNULL)
        os.close(slave)
        self.count, self.text = 0, b""
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        # Not woken for each message: what this costs would be counted to whoever is measured.
        with contextlib.suppress(OSError):
            while data := os.read(self.master, 65536):
                self.text = (self.text + data)[-128:]
                found = re.findall(rb"mesg=(\d+)", self.text)
                if found:
                    self.count = int(found[-1])
                time.sleep(0.005)

    def wait(self, count, seconds=170):
        until = time.monotonic() + seconds
        while self.count < count and time.monotonic() < until:
            time.sleep(0.005)
        return self.count

    def close(self):
        self.process.terminate()
        self.process.wait()
        os.close(self.master)


@contextlib.contextmanager
def sink(address="127.0.0.1"):
    one = Sink(address)
    try:
        yield one
    finally:
        one.close()


@contextlib.contextmanager
def tls_before(remote, wanted):
    """The port to send to, and the certificate to trust: TLS from the first octet before the sink, or the sink itself."""
    if not wanted:
        yield remote.port, None
        return
    authority = peers.Authority("Bench CA")
    authority.issue("localhost")
    port, folder = peers.free_port(), authority.folder
    folder.chmod(0o755)
    (folder / "both.pem").write_text((folder / "localhost.key").read_text() + (folder / "localhost.pem").read_text())
    (folder / "stunnel.conf").write_text(
        f"foreground = yes\npid =\ndebug = err\nsyslog = no\n[sink]\naccept = 127.0.0.1:{port}\n"
        f"connect = 127.0.0.1:{remote.port}\ncert = {folder / 'both.pem'}\n")
    process = subprocess.Popen(["stunnel4", str(folder / "stunnel.conf")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        listening(port)
        yield port, authority.certificate
    finally:
        process.terminate()
        process.wait()
        authority.remove()


def processor_seconds(server):
    """What a Postfix has taken so far: its master, whom that has waited for, and who works for it now."""
    ticks = os.sysconf("SC_CLK_TCK")
    master = int((server.root / "queue" / "pid" / "master.pid").read_text())
    total = 0
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()  # from the third on, proc(5)
            own, waited_for = fields[11:13], fields[13:15]
            if int(stat.parent.name) == master:
                total += sum(map(int, own + waited_for))
            elif int(fields[1]) == master:
                total += sum(map(int, own))
    return total / ticks


def unsign(home):
    with contextlib.closing(sqlite3.connect(home.data / "mail.db")) as db, db:
        db.execute("DELETE FROM dkim_keys")


def posthouse_drain(case, messages, domains=0, tls=False):
    address = "127.0.0.1"
    with sink(address) as remote, tls_before(remote, tls) as (port, trust):
        relay = f"smtps://localhost:{port}" if tls else f"smtp+plain://127.0.0.1:{port}"
        home = House(relay=None if domains else relay, relay_ca=trust)
        try:
            unsign(home)
            words = [BENCH, "--data", str(home.data), "--messages", str(messages), "--octets", str(OCTETS)]
            if domains:
                words += ["--domains", str(domains), "--mx-port", str(remote.port)]
            out = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
            tell(case, server="posthouse", **{k: out[k] for k in ("messages_per_s", "cpu_ms_per_message", "resident_mb",
                                                                 "left")}, arrived=remote.count)
        finally:
            shutil.rmtree(home.folder, ignore_errors=True)


@contextlib.contextmanager
def opendkim():
    """main.cf settings for an opendkim that signs with an RSA-2048 key."""
    with tempfile.TemporaryDirectory() as name:
        folder, port = pathlib.Path(name), peers.free_port()
        subprocess.run(["opendkim-genkey", "-b", "2048", "-s", "s1", "-d", "sender.example", "-D", name], check=True)
        (folder / "opendkim.conf").write_text(
            f"Domain sender.example\nSelector s1\nKeyFile {folder / 's1.private'}\nSocket inet:{port}@127.0.0.1\n"
            "Mode s\nBackground no\nSyslog no\nCanonicalization relaxed/relaxed\nOversignHeaders From\n"
            "InternalHosts 127.0.0.1\nRequireSafeKeys no\n")
        process = subprocess.Popen(["opendkim", "-f", "-x", str(folder / "opendkim.conf")], stderr=subprocess.DEVNULL)
        try:
            listening(port)
            yield {"smtpd_milters": f"inet:127.0.0.1:{port}", "milter_default_action": "tempfail"}
        finally:
            process.terminate()
            process.wait()


def through(case, server, submit, remote, messages, sender):
    """Messages a second from the first that is handed in until the remote has the last."""
    began = time.monotonic()
    fill(submit, messages, 0, sender)
    arrived = remote.wait(messages)
    more = MORE if server == "postfix" else {}
    tell(case, server=server, messages_per_s=round(arrived / (time.monotonic() - began)), arrived=arrived, **more)


def posthouse_through(case, messages, tls):
    with sink() as remote, tls_before(remote, tls) as (port, trust):
        relay = f"smtps://localhost:{port}" if tls else f"smtp+plain://127.0.0.1:{port}"
        with house(relay=relay, relay_ca=trust) as home:
            home.cli("client", "add", "source", "--from-address", "127.0.0.1", "--sender-domain", "home.example")
            until_relayed(home)
            through(case, "posthouse", home.port("smtp"), remote, messages, "bench@home.example")


def until_relayed(home, seconds=10):
    """The server learns of its client within a second."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with smtplib.SMTP("127.0.0.1", home.port("smtp")) as client:
            client.ehlo()
            client.mail("bench@home.example")
            if client.rcpt("b@far.example")[0] == 250:
                return
        time.sleep(0.05)
    raise RuntimeError("the relay client is not known")


def relay_security(tls, trust):
    if not tls:
        return {"smtp_tls_security_level": "none"}
    return {"smtp_tls_security_level": "secure", "smtp_tls_wrappermode": "yes", "smtp_tls_CAfile": trust,
            "smtp_tls_secure_cert_match": "nexthop", "smtp_host_lookup": "native"}


def postfix_through(case, messages, tls):
    with sink() as remote, tls_before(remote, tls) as (port, trust), opendkim() as milter:
        with peers.postfix({"default_transport": f"smtp:[{'localhost' if tls else '127.0.0.1'}]:{port}",
                            **relay_security(tls, trust), **milter, **MORE}) as (submit, _):
            through(case, "postfix", submit, remote, messages, "bench@sender.example")


def postfix_drain(case, messages, domains=0, tls=False):
    with (sink("0.0.0.0" if domains else "127.0.0.1") as remote, tls_before(remote, tls) as (port, trust)):
        security = relay_security(tls, trust)
        server = peers.Postfix({"default_transport": f"smtp:[{'localhost' if tls else '127.0.0.1'}]:{port}",
                                "defer_transports": "smtp", **security, **MORE})
        if domains:  # a next hop of its own for each: loopback has addresses enough
            table = server.config / "transport"
            table.write_text("".join(f"d{i}.example smtp:[127.0.{1 + i // 250}.{1 + i % 250}]:{remote.port}\n"
                                     for i in range(domains)))
            server.set({"transport_maps": f"texthash:{table}"})
        try:
            server.start()
            fill(server.port, messages, domains)
            deferred = server.root / "queue" / "deferred"
            while sum(len(files) for _, _, files in os.walk(deferred)) < messages:
                time.sleep(0.2)
            server.set({"defer_transports": ""})  # starts again
            time.sleep(1)
            before, began = processor_seconds(server), time.monotonic()
            subprocess.run(["postqueue", "-c", str(server.config), "-f"], check=True)
            arrived = remote.wait(messages)
            took, spent = time.monotonic() - began, processor_seconds(server) - before
            tell(case, server="postfix", messages_per_s=round(arrived / took),
                 cpu_ms_per_message=round(spent * 1000 / max(arrived, 1), 3), arrived=arrived, **MORE)
        finally:
            server.remove()


def fill(port, messages, domains, sender="bench@sender.example"):
    if not domains:
        subprocess.run(["smtp-source", "-s", "20", "-m", str(messages), "-l", str(OCTETS), "-d", "-f",
                        sender, "-t", "b@far.example", f"127.0.0.1:{port}"], check=True)
        return
    text = "Subject: bench\r\n\r\n" + ("x" * 70 + "\r\n") * (OCTETS // 72)

    def part(first):
        with smtplib.SMTP("127.0.0.1", port) as client:
            for i in range(first, messages, 10):
                client.sendmail("bench@sender.example", [f"b@d{i % domains}.example"], text)
    threads = [threading.Thread(target=part, args=(first,)) for first in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def latency(server, client, remote, sender, rate, count):
    accepted = {}
    remote.arrived.clear()
    start = time.monotonic()
    for i in range(count):
        delay = start + i / rate - time.monotonic()
        if delay > 0:
            time.sleep(delay)
        text = f"From: {sender}\r\nSubject: n{i}\r\n\r\n" + ("x" * 70 + "\r\n") * 28
        client.sendmail(sender, ["b@far.example"], text)
        accepted[i] = time.monotonic()
    until = time.monotonic() + 20
    while len(remote.arrived) < count and time.monotonic() < until:
        time.sleep(0.01)
    took = sorted(max(remote.arrived[i] - accepted[i], 0) * 1000 for i in accepted if i in remote.arrived)
    tell("latency", server=server, rate=rate, arrived=len(took), median_ms=round(statistics.median(took), 2),
         p99_ms=round(took[int(len(took) * 0.99) - 1], 2))


def latencies():
    remote = Arrivals()
    port = remote.port
    with house(relay=f"smtp+plain://127.0.0.1:{port}") as home:
        home.stop()
        unsign(home)
        home.start()
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with smtplib.SMTP_SSL("127.0.0.1", home.port("submissions"), context=context) as client:
            client.login(home.account, home.password)
            for rate in (10, 100):
                latency("posthouse", client, remote, home.account, rate, rate * 10)
    if peers.why_no_postfix():
        return
    with peers.postfix({"default_transport": f"smtp:[127.0.0.1]:{port}", "smtp_tls_security_level": "none", **MORE}) as (submit, _):
        with smtplib.SMTP("127.0.0.1", submit) as client:
            for rate in (10, 100):
                latency("postfix", client, remote, "bench@sender.example", rate, rate * 10)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=20000)
    parser.add_argument("--cases", default="smarthost,domains,signed,tls,signed-tls,latency")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--postfix", nargs="*", default=[], metavar="NAME=VALUE")
    wanted = parser.parse_args()
    for setting in wanted.postfix:
        name, equals, value = setting.partition("=")
        if not equals:
            parser.error(f"--postfix takes NAME=VALUE, not {setting}")
        MORE[name] = value
    need("smtp-sink", "smtp-source")
    for _ in range(wanted.rounds):
        one_round(wanted.cases.split(","), wanted.messages)
    if why := peers.why_no_postfix():
        print(f"skipped: postfix cases: {why}")


def one_round(cases, messages):
    why = peers.why_no_postfix()
    drains = (("smarthost", "drain to one smarthost", {}), ("domains", "drain to 1000 domains", {"domains": 1000}),
              ("tls", "drain to one smarthost over TLS", {"tls": True}))
    for name, words, options in drains:
        if name not in cases:
            continue
        if name == "tls":
            need("stunnel4")
        posthouse_drain(words, messages, **options)
        if not why:
            postfix_drain(words, messages, **options)
    for name, tls in (("signed", False), ("signed-tls", True)):
        if name not in cases:
            continue
        need("opendkim", "opendkim-genkey", *(["stunnel4"] if tls else []))
        words = "through, signed" + (", over TLS" if tls else "")
        posthouse_through(words, messages, tls)
        if not why:
            postfix_through(words, messages, tls)
    if "latency" in cases:
        latencies()


main()
