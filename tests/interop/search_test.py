#!/usr/bin/env python3
"""The search index beside a running server: it follows the mail, is built anew by command with the server and without,
and whatever becomes of its file a search finds the same."""
import imaplib
import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import house  # noqa: E402

MESSAGES = 120
WAIT_SECONDS_MAX = 60
NEEDLES = ("needle 7", "dle 11", "ÄPFEL", "apfel", "中文", "r", "\"q\"", "absent", "Number 1")


def wait_indexed(home, count):
    """Until the index says so itself."""
    end = time.monotonic() + WAIT_SECONDS_MAX
    while time.monotonic() < end:
        status = json.loads(home.cli("search", "status", "--json"))
        if status["waiting"] == 0 and status["indexed"] == count:
            return status
        time.sleep(0.1)
    raise AssertionError(status)


def log_in(home):
    context = home.tls()
    context.check_hostname = False
    client = imaplib.IMAP4_SSL("127.0.0.1", home.port("imaps"), ssl_context=context)
    client.login(home.account, home.password)
    return client


def answers(home):
    client = log_in(home)
    client.select("INBOX")
    found = {}
    for needle in NEEDLES:
        for key in ("TEXT", "BODY", "SUBJECT", "NOT TEXT"):
            client.literal = needle.encode()
            kind, data = client.uid("SEARCH", "CHARSET", "UTF-8", *key.split())
            assert kind == "OK", (needle, key, data)
            found[needle, key] = data[0]
    client.logout()
    return found


def append(home, first, count):
    client = log_in(home)
    for number in range(first, first + count):
        text = (f"From: a@b.example\r\nSubject: Number {number}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
                f"A needle {number}, Äpfel and 中文 and \"q\".\r\n")
        kind, data = client.append("INBOX", None, None, text.encode())
        assert kind == "OK", data
    client.logout()


def metric(home, name):
    import urllib.request
    with urllib.request.urlopen(f"http://127.0.0.1:{home.port('http')}/metrics") as page:
        for line in page.read().decode().splitlines():
            if line.split(" ")[0].endswith(name):
                return int(line.split(" ")[1])
    raise AssertionError(name)


def main():
    with house() as home:
        append(home, 0, MESSAGES)
        status = wait_indexed(home, MESSAGES)
        assert status["server_running"] and status["usable"] and status["size_octets"] > 0, status
        assert metric(home, "search_indexed_messages") == MESSAGES and metric(home, "search_waiting_messages") == 0
        before = answers(home)
        assert len(before["needle 7", "TEXT"].split()) == 11, before["needle 7", "TEXT"]
        assert len(before["apfel", "TEXT"].split()) == 0 and len(before["ÄPFEL", "TEXT"].split()) == MESSAGES
        assert before["absent", "TEXT"] == b""

        # Built anew by the server, while it runs.
        assert "server builds" in home.cli("search", "rebuild")
        assert answers(home) == before
        wait_indexed(home, MESSAGES)
        assert answers(home) == before

        # By the command itself, without a server.
        home.stop()
        done = home.cli("search", "rebuild")
        assert f"{MESSAGES} messages are indexed" in done, done
        assert not json.loads(home.cli("search", "status", "--json"))["server_running"]
        home.start()
        assert answers(home) == before

        # Killed, damaged, gone.
        for harm in ("zero", "cut", "remove", "empty", "foreign"):
            # Stopped, all of it is in the file; killed, much of it in its log.
            if harm == "cut":
                home.stop()
            else:
                home.kill()
            file = home.data / "search.db"
            octets = bytearray(file.read_bytes())
            if harm == "zero":
                octets[0:200] = bytes(200)
            elif harm == "cut":
                octets = octets[:len(octets) // 2]
            elif harm == "empty":
                octets = bytearray()
            elif harm == "foreign":
                octets = bytearray(b"no database at all")
            for path in home.data.glob("search.db*"):
                path.unlink()
            if harm != "remove":
                file.write_bytes(octets)
                file.chmod(0o600)
            # fsck names it before the server has met it; what is not there is not damaged.
            said = json.loads(home.cli("fsck", "--json", check=False).stdout)
            found = {fault["code"] for fault in said["faults"]}
            assert found == (set() if harm == "remove" else {"search-damaged"}), (harm, said)
            told = home.log().count("built anew")
            home.start()
            assert answers(home) == before, harm
            wait_indexed(home, MESSAGES)
            if harm != "remove":
                assert home.log().count("built anew") == told + 1, (harm, home.log())
            assert answers(home) == before, harm
        append(home, MESSAGES, 5)
        assert len(answers(home)["ÄPFEL", "TEXT"].split()) == MESSAGES + 5
        assert home.stop() == 0
    print(f"{MESSAGES} messages, {len(before)} searches in every state of the index")


if __name__ == "__main__":
    main()
