#!/usr/bin/env python3
"""What idle clients cost: memory a connection in IDLE with INBOX selected, processor time while nothing happens, and how
soon all sessions of an account hear of a delivery. Over TLS, or in clear.

  tests/bench/imap_idle_bench.py [--connections 10000] [--accounts 100] [--seconds 10] [--clear]

Prints one JSON line. POSTHOUSE_BINARY names the program (a release build). Each connection needs two descriptors of the
machine's limit; an account's connections come from one loopback address.
"""
import argparse
import concurrent.futures
import json
import pathlib
import resource
import selectors
import smtplib
import socket
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))
from house import House  # noqa: E402

LOGINS_AT_ONCE = 16


def memory_octets(pid):
    """Private memory of the process: what it would give back."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Private_"))


def processor_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def read_until(connection, mark):
    held = b""
    while mark not in held:
        piece = connection.recv(4096)
        if not piece:
            raise RuntimeError(f"the server closed the connection: {held!r}")
        held += piece
    return held


def idle(home, context, address, source):
    service = "imaps" if context else "imap"
    connection = socket.create_connection(("127.0.0.1", home.port(service)), source_address=(source, 0))
    connection = context.wrap_socket(connection) if context else connection
    read_until(connection, b"\r\n")
    for tag, line in (("a", f"LOGIN {address} {home.passwords[address]!r}".replace("'", '"')), ("b", "SELECT INBOX")):
        connection.sendall(f"{tag} {line}\r\n".encode())
        answer = read_until(connection, f"{tag} ".encode())
        if f"{tag} OK ".encode() not in answer:
            raise RuntimeError(f"{line.split()[0]} was refused: {answer!r}")
    connection.sendall(b"c IDLE\r\n")
    read_until(connection, b"+ idling\r\n")
    return connection


def woken(home, address, connections):
    """Milliseconds from the end of a delivery until the first, and the last, of these sessions has heard of it."""
    waiting = selectors.DefaultSelector()
    for connection in connections:
        connection.setblocking(False)
        waiting.register(connection, selectors.EVENT_READ)
    with smtplib.SMTP("127.0.0.1", home.port("smtp"), local_hostname="bench.example") as sender:
        sender.sendmail("a@sender.example", [address], "Subject: wake\r\n\r\nup\r\n")
    began, first, left = time.perf_counter(), None, len(connections)
    while left:
        for key, _ in waiting.select(10):
            first = first or time.perf_counter()
            waiting.unregister(key.fileobj)
            left -= 1
    return round((first - began) * 1000, 2), round((time.perf_counter() - began) * 1000, 2)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--accounts", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--clear", action="store_true")
    wanted = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    home = House(config={"imap": {"clear_login": '"loopback"'}})
    try:
        addresses = [f"user{number}@home.example" for number in range(wanted.accounts)]
        for address in addresses:
            home.add_account(address)
        home.start()
        pid = home.process.pid
        context = home.tls()
        context.check_hostname = False
        context = None if wanted.clear else context
        # One session first, so that what is made once is not counted; it stays.
        held = [idle(home, context, addresses[0], "127.0.0.2")]
        before = memory_octets(pid)
        began = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(LOGINS_AT_ONCE) as pool:
            jobs = []
            for number in range(1, wanted.connections):
                place = number % wanted.accounts
                jobs.append(pool.submit(idle, home, context, addresses[place], f"127.0.1.{place % 250 + 1}"))
            held += [job.result() for job in jobs]
        entered = time.perf_counter() - began
        cost = (memory_octets(pid) - before) / max(len(held) - 1, 1)
        used = processor_seconds(pid)
        time.sleep(wanted.seconds)
        used = processor_seconds(pid) - used
        first, last = woken(home, addresses[0], [held[number] for number in range(0, len(held), wanted.accounts)])
        print(json.dumps({"bench": "imap_idle", "connections": len(held), "tls": not wanted.clear,
                          "octets_a_connection": round(cost), "entered_s": round(entered, 1),
                          "processor_share_idle": round(used / wanted.seconds, 4),
                          "woken_first_ms": first, "woken_all_ms": last,
                          "woken_sessions": len(range(0, len(held), wanted.accounts))}))
    finally:
        home.remove()


main()
