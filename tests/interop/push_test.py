#!/usr/bin/env python3
"""News reach waiting clients by themselves: in IDLE and under NOTIFY, from another session, from SMTP and from a command
of another process; what was told is in the mailbox, and nothing is told twice. The waits are measured and bounded.
"""
import contextlib
import imaplib
import pathlib
import smtplib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import house  # noqa: E402

ROUNDS, OTHER_ROUNDS = 20, 7
# Milliseconds, in the process and from another one; a single try may have bad luck on a busy machine, most have not.
SECONDS_MAX, MEDIAN_SECONDS_MAX = 1.0, 0.05


def judge(what, late):
    assert max(late) < SECONDS_MAX and statistics.median(late) < MEDIAN_SECONDS_MAX, (what, late)
    print(f"  {what}: told after {statistics.median(late) * 1000:.2f} ms (median), {max(late) * 1000:.2f} ms at most",
          flush=True)


class Waiting:
    """A session that only listens."""

    def __init__(self, home, *commands):
        self.imap = session(home)
        for number, command in enumerate(commands):
            self.imap.send(f"w{number} {command}\r\n".encode())
            if command != "IDLE":
                self.until(f"w{number} OK")
            else:
                self.until("+ ")
        self.imap.sock.settimeout(30)

    def until(self, *starts):
        """Lines up to the first that begins with one of these."""
        out = []
        while True:
            line = self.imap.readline().decode().rstrip("\r\n")
            assert line, f"the connection ended after {out}"
            out.append(line)
            if line.startswith(starts):
                return out

    def close(self):
        with contextlib.suppress(OSError):
            self.imap.shutdown()


def session(home, select="INBOX"):
    context = home.tls()
    context.check_hostname = False
    client = imaplib.IMAP4_SSL("127.0.0.1", home.port("imaps"), ssl_context=context)
    client.login(home.account, home.password)
    if select:
        client.select(select)
    return client


def message(subject):
    return f"Subject: {subject}\r\nFrom: carol@world.example\r\nTo: alice@home.example\r\n\r\nx\r\n".encode()


def check_sessions(home):
    """Another session's APPEND, flag and EXPUNGE; what counts is the time from its OK to the line."""
    waiting, other = Waiting(home, "SELECT INBOX", "IDLE"), session(home)
    late = []
    for number in range(ROUNDS):
        assert other.append("INBOX", None, None, message(number))[0] == "OK"
        begun = time.monotonic()
        count = int(waiting.until("* ")[-1].split()[1])
        late.append(time.monotonic() - begun)
        waiting.until(f"* {count} RECENT", "* 0 RECENT", "* ")
        assert other.store(str(count), "+FLAGS", "(\\Flagged \\Deleted)")[0] == "OK"
        assert any("\\Flagged" in line for line in waiting.until(f"* {count} FETCH"))
        assert other.expunge()[0] == "OK"
        assert waiting.until(f"* {count} EXPUNGE")
    waiting.close()
    other.logout()
    judge("APPEND by another session", late)


def check_deliveries(home):
    """SMTP, to the mailbox in IDLE and to one that NOTIFY watches."""
    idle = Waiting(home, "SELECT INBOX", "IDLE")
    notified = Waiting(home, "SELECT Archive", "NOTIFY SET (selected (MessageNew MessageExpunge)) "
                                               "(personal (MessageNew MessageExpunge MailboxName))")
    late = []
    with smtplib.SMTP("127.0.0.1", home.port("smtp"), timeout=60) as smtp:
        for number in range(ROUNDS // 4):
            smtp.sendmail("carol@world.example", [home.account], message(f"smtp-{number}"))
            begun = time.monotonic()
            idle.until("* ")
            late.append(time.monotonic() - begun)
            idle.until("* ")  # RECENT
            assert f"MESSAGES {number + 1}" in notified.until("* STATUS INBOX")[-1]
    other = session(home, None)
    other.create("Fresh")
    notified.until('* LIST (\\HasNoChildren) "/" Fresh')
    other.delete("Fresh")
    notified.until('* LIST (\\NonExistent) "/" Fresh')
    for client in (idle, notified):
        client.close()
    other.logout()
    judge("a delivery", late)


def check_other_process(home):
    """The command line writes into the store by itself: expunged mail comes back. It is told before the command ends, or
    as good as: the server is woken by the commit, and does not find out by asking once a second."""
    keeper = session(home)
    late = []
    for _ in range(OTHER_ROUNDS):
        before = int(keeper.select("INBOX")[1][0])
        keeper.store("1", "+FLAGS", "(\\Deleted)")
        keeper.expunge()
        idle = Waiting(home, "SELECT INBOX", "IDLE")
        home.cli("undelete", "restore", home.account, "--mailbox", "INBOX", "--since", "1h")
        done = time.monotonic()
        told = idle.until("* ")[-1].split()  # with what was expunged by the checks before
        assert told[2] == "EXISTS" and int(told[1]) >= before, told
        late.append(time.monotonic() - done)
        idle.close()
    keeper.logout()
    judge("undelete by another process, after its end", late)


def main():
    with house() as home:
        check_sessions(home)
        check_deliveries(home)
        check_other_process(home)
        print("push: good", flush=True)


main()
