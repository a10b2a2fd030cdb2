#!/usr/bin/env python3
"""Verifies DKIM signatures with dkimpy, an implementation that is not ours.

    dkim_judge.py --tool PATH            signs messages of its own with dkim_sign_tool and judges each signature
    dkim_judge.py --keys KEYS MESSAGE    judges one signed message; KEYS has lines "NAME TXT-VALUE"

Exit 0 when every signature is good, 1 when one is not or there is none, 77 when dkimpy is not installed.
"""
import argparse
import subprocess
import sys

try:
    import dkim
except ImportError:
    print("skipped: python3-dkim is not installed")
    sys.exit(77)

HEADER = (
    b"From: Alice <alice@home.example>\r\nTo: bob@home.example,\r\n  carol@world.example\r\n"
    b"Subject: =?utf-8?q?caf=C3=A9?=  and\r\n more \r\nDate: Mon, 23 Nov 2026 20:00:00 +0000\r\n"
    b"Message-ID: <1@home.example>\r\nReceived: from a by b; Mon, 23 Nov 2026 20:00:00 +0000\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: text/plain\r\nList-Unsubscribe: <mailto:off@home.example>\r\n\r\n"
)
BODIES = {
    "plain": b"Hello\r\n",
    "empty": b"",
    "only line ends": b"\r\n\r\n\r\n",
    "blanks": b" a  b \t \r\n\t\r\nc\r\n \r\n\r\n",
    "no last line end": b"abc",
    "8 bit": "smørrebrød\r\n".encode() * 3,
    "leading line ends": b"\r\n\r\nx\r\n",
    "large": b"0123456789 abcdefghij\r\n" * 20000,
}


def judge(keys, message):
    """The number of signatures in `message`; raises AssertionError where one is not good."""
    def lookup(name, timeout=5):
        return keys.get(name.rstrip(b".") if isinstance(name, bytes) else name.encode().rstrip(b"."))

    verifier = dkim.DKIM(message)
    count = sum(1 for name, _ in verifier.headers if name.lower() == b"dkim-signature")
    for index in range(count):
        assert dkim.DKIM(message).verify(idx=index, dnsfunc=lookup), "signature %d is not good" % index
    return count


def read_keys(text):
    keys = {}
    for line in text.splitlines():
        name, _, value = line.partition(b" ")
        if value:
            keys[name] = value
    return keys


def judge_tool(tool):
    for name, body in BODIES.items():
        signed = subprocess.run([tool, "home.example"], input=HEADER + body, stdout=subprocess.PIPE, check=True).stdout
        keys, _, message = signed.partition(b"\n\n")
        count = judge(read_keys(keys), message)
        assert count == 2, "expected two signatures, saw %d" % count
        changed = message.replace(b"<1@home", b"<2@home")
        try:
            judge(read_keys(keys), changed)
        except AssertionError:
            pass
        else:
            raise AssertionError("a changed message still verifies: the judge sees nothing")
        print("ok   %s: both signatures are good" % name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool")
    parser.add_argument("--keys")
    parser.add_argument("message", nargs="?")
    args = parser.parse_args()
    try:
        if args.tool:
            judge_tool(args.tool)
            return 0
        with open(args.keys, "rb") as keys, open(args.message, "rb") as message:
            count = judge(read_keys(keys.read()), message.read())
        print("%d signature(s), all good" % count)
        return 0 if count else 1
    except AssertionError as error:
        print("FAILED: %s" % error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
