#!/usr/bin/env python3
"""Makes seed inputs for the fuzzers out of the conformance corpora, in a folder given as argument (never in the tree).

usage: seed.py TARGET FOLDER     TARGET: structure, header, address, ...; unknown targets get the tree's own corpus only
"""
import os
import pathlib
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFORMANCE = pathlib.Path(os.environ.get("POSTHOUSE_CONFORMANCE", ROOT.parent / "shared" / "conformance"))


def messages():
    for pattern in ("mime-*/**/*.msg", "mime-*/**/*.eml"):
        yield from CONFORMANCE.glob(pattern)


def main():
    target, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    own = ROOT / "tests" / "fuzz" / "corpus" / target
    if own.is_dir():
        for path in own.iterdir():
            shutil.copy(path, folder / path.name)
    if target in ("structure", "header"):
        for number, path in enumerate(messages()):
            shutil.copy(path, folder / f"message{number}")
    if target == "arc":
        suite = CONFORMANCE / "arc-valimail" / "arc-validation-handed.yml"
        message, number = [], 0
        for line in suite.read_text().splitlines() if suite.exists() else []:
            if line.startswith("      ") or not line.strip():
                message.append(line[6:])
            elif message:
                (folder / f"arc{number}").write_bytes("\r\n".join(message).encode())
                message, number = [], number + 1
    if target == "imap_session":
        for path in (ROOT / "tests" / "transcripts" / "imap").glob("*.txt"):
            lines = [line[3:] for line in path.read_bytes().splitlines() if line.startswith(b"C: ")]
            said = b"".join(line + b"\r\n" for line in lines if b" LOGIN " not in line and b" LOGOUT" not in line)
            for first in range(25):  # where the session stands and what it has enabled (fuzz_imap_session.cpp)
                if first % 5 in (2, 4) or first < 5:
                    (folder / f"{path.stem}-{first}").write_bytes(bytes([first]) + said)
    if target == "address":
        for number, path in enumerate(messages()):
            for line in path.read_bytes().splitlines():
                if line.lower().startswith((b"from:", b"to:", b"cc:", b"reply-to:")):
                    (folder / f"address{number}").write_bytes(line.split(b":", 1)[1])


main()
