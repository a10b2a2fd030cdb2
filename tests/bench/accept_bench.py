#!/usr/bin/env python3
"""Durable accept of 10 KB messages over SMTP: Posthouse into a local mailbox, beside Postfix in the same run.

  tests/bench/accept_bench.py [--sessions 1,10,50,100] [--seconds 4]

Prints one JSON line a case: messages a second as seen by smtp-source (Debian's postfix), best of three runs.
  posthouse        until 250, which means: in the mailbox and on disk
  postfix-discard  Postfix with its defaults; queues, then throws away
  postfix-dovecot  Postfix hands over to Dovecot (LMTP, Maildir); until the message is in the mailbox
POSTHOUSE_BINARY names the program (a release build).
"""
import argparse
import imaplib
import json
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "support"), str(HERE.parent / "interop")]
import peers  # noqa: E402
from house import house, need  # noqa: E402

OCTETS = 10240
RUNS = 3


def smtp_source(port, sessions, messages, recipient):
    began = time.monotonic()
    done = subprocess.run(["smtp-source", "-s", str(sessions), "-m", str(messages), "-l", str(OCTETS), "-d",
                           "-f", "bench@sender.example", "-t", recipient, f"127.0.0.1:{port}"],
                          capture_output=True, text=True)
    if done.returncode != 0 or done.stderr:
        raise RuntimeError("smtp-source: " + done.stderr)
    return time.monotonic() - began


def tell(case, sessions, rates, **more):
    print(json.dumps({"bench": "accept", "case": case, "sessions": sessions, "octets": OCTETS,
                      "messages_per_s": round(max(rates)), "runs": [round(rate) for rate in rates], **more}), flush=True)


def measure(case, port, recipient, sessions, seconds, wait_until=None):
    probe = 20 * sessions + 100
    took = smtp_source(port, sessions, probe, recipient)
    messages = max(probe, int(probe / took * seconds))
    sent = probe
    rates = []
    for _ in range(RUNS):
        began = time.monotonic()
        smtp_source(port, sessions, messages, recipient)
        sent += messages
        if wait_until:
            wait_until(sent)
        rates.append(messages / (time.monotonic() - began))
    tell(case, sessions, rates)
    return sent


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", default="1,10,50,100")
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--peers", default="posthouse,postfix-discard,postfix-dovecot")
    wanted = parser.parse_args()
    need("smtp-source")
    counts = [int(word) for word in wanted.sessions.split(",")]
    cases = wanted.peers.split(",")
    if "posthouse" in cases:
        with house() as home:
            for sessions in counts:
                measure("posthouse", home.port("smtp"), home.account, sessions, wanted.seconds)
    why = peers.why_no_postfix()
    if why:
        print(f"skipped: postfix cases: {why}")
        return
    if "postfix-discard" in cases:
        with peers.postfix({"default_transport": "discard:", "local_transport": "discard:",
                            "local_recipient_maps": ""}) as (port, _):
            for sessions in counts:
                measure("postfix-discard", port, "b@postfix.example", sessions, wanted.seconds)
    if "postfix-dovecot" in cases and not peers.why_no_dovecot():
        for sessions in counts:
            with peers.dovecot() as (imap_port, lmtp_port, _), \
                    peers.postfix({"local_transport": f"lmtp:inet:127.0.0.1:{lmtp_port}",
                                   "local_recipient_maps": ""}) as (port, _):
                def until(count):
                    with imaplib.IMAP4("127.0.0.1", imap_port) as client:
                        client.login("b@postfix.example", "secret")
                        while int(client.select()[1][0]) < count:
                            time.sleep(0.01)
                measure("postfix-dovecot", port, "b@postfix.example", sessions, wanted.seconds, until)


main()
