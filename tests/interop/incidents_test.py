#!/usr/bin/env python3
"""Mail that is refused for a fault of ours, on a real server: held under an incident that queue, trace, doctor and the
API tell of; kill -9 loses nothing of it; "fixed" (command, API, and the button behind the link in the mail) lets it go at
once, each message once; the postmaster gets one mail of the beginning and one of the end.
"""
import json
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import house  # noqa: E402
from outside import Reader, api, over_https, submit, trace, until  # noqa: E402
from remote import Remote  # noqa: E402

BLOCKED = "550 5.7.1 Service unavailable; client host [192.0.2.77] blocked using zen.spamhaus.org"


class Refusing(Remote):
    """Refuses every recipient while `refusal` says so."""

    def __init__(self):
        super().__init__()
        self.refusal, self.tries = BLOCKED, 0

    def judge(self, sender, recipient):
        with self.lock:
            self.tries += 1
        return self.refusal or super().judge(sender, recipient)


def incidents(home, *words):
    return json.loads(home.cli("incident", "list", "--json", *words))


def arrived(remote, names):
    """Each of these messages once, and no other."""
    until("all of it at the other side", lambda: len(remote.messages) >= len(names))
    for name in names:
        copies = [octets for _, _, octets, _ in remote.messages if f"<{name}@home.example>".encode() in octets]
        assert len(copies) == 1, f"{name}: {len(copies)} copies"


def check_held(home, remote):
    for name in ("one", "two", "three"):
        submit(home, name, "bob@far.example")
    for name in ("one", "two", "three"):
        trace(home, name).wait("held")
        assert trace(home, name).count("bounced") == 0
    found = incidents(home)
    assert len(found) == 1 and found[0]["kind"] == "ip-blocked" and found[0]["held"] == 3, found
    shown = json.loads(home.cli("incident", "show", "1", "--json"))
    assert shown["reply"] == BLOCKED and "posthouse incident fixed 1" in shown["do"] and len(shown["held_mail"]) == 3, shown
    why = json.loads(home.cli("queue", "show", trace(home, "one").queue_id(), "--json"))[0]["waiting_because"]
    for words in ("held because of incident 1", "at most until", "posthouse incident fixed 1"):
        assert words in why, why
    told = home.cli("trace", "<one@home.example>")
    assert "held because of incident 1" in told, told
    doctor = home.cli("doctor", "--no-dns", check=False)
    assert doctor.returncode == 1 and "incident 1" in doctor.stdout, doctor.stdout
    explained = home.cli("route", "explain", home.account, "bob@far.example", "--no-dns")
    assert "held under incident 1" in explained, explained
    # What comes later is held without being tried.
    tries = remote.tries
    submit(home, "four", "carol@far.example")
    trace(home, "four").wait("held")
    assert remote.tries == tries
    with Reader(home) as reader:
        assert BLOCKED.encode() in reader.find("SUBJECT", '"Incident 1:"')


def check_resolver(home):
    """The running server has its own; only doctor reads this file."""
    kept = home.config_file.read_text()
    sentence = "block lists do not answer through the public resolver"
    assert sentence not in home.cli("doctor", "--no-dns", check=False).stdout
    for server in ("8.8.8.8", "1.1.1.1@53", "2620:fe::fe"):
        home.configure("dns", {"servers": f'["{server}"]'})
        told = home.cli("doctor", "--no-dns", check=False).stdout
        assert sentence in told and server.split("@")[0] in told, told
    home.config_file.write_text(kept)


def check_killed(home):
    home.kill()
    home.cli("fsck")  # exit 1 on any fault
    home.start()
    assert incidents(home)[0]["held"] == 4, incidents(home)


def check_fixed(home, remote):
    token = json.loads(home.cli("token", "create", "panel", "--json"))["token"]
    listed = api(home, token, "/api/v1/incidents")["incidents"]
    assert listed[0]["id"] == 1 and listed[0]["held"] == 4 and listed[0]["state"] == "open", listed
    # The API and the list say why it waits, and until when at most.
    queue_id = trace(home, "one").queue_id()
    [held] = api(home, token, f"/api/v1/messages/{queue_id}")["in_queue"]
    assert held["state"] == "held" and held["incident"] == 1 and held["held_until"] in held["because"], held
    assert held["because"].startswith("held because of incident 1: "), held
    [row] = [row for row in json.loads(home.cli("queue", "list", "--json")) if row["id"] == queue_id]
    assert row["waiting_because"] == held["because"] and row["earliest_next"] == "", row
    # Said too early: the first refusal holds the rest again, and nothing is lost.
    home.cli("incident", "fixed", "1")
    until("held again", lambda: incidents(home) and incidents(home)[0]["held"] == 4)
    remote.refusal = ""
    assert api(home, token, "/api/v1/incidents/1/fixed", b"{}")["released"] == 4
    names = ("one", "two", "three", "four")
    for name in names:
        trace(home, name).wait("delivered")
    arrived(remote, names)
    assert incidents(home) == [] and incidents(home, "--all")[0]["state"] == "over"
    again = home.cli("incident", "fixed", "1", check=False)
    assert again.returncode == 1 and "is over since" in again.stderr, again.stderr
    with Reader(home) as reader:
        reader.find("SUBJECT", '"Incident 1 is over"')
        assert len(reader.client.uid("SEARCH", "SUBJECT", '"Incident 1:"')[1][0].split()) == 1
        assert len(reader.client.uid("SEARCH", "SUBJECT", '"Incident 1 is over"')[1][0].split()) == 1


def check_button(home, remote):
    """The mail's link is good for the incident, also when it has come back."""
    with Reader(home) as reader:
        mail = reader.find("SUBJECT", '"Incident 1:"').decode().replace("\r\n", "\n")
    [link] = re.findall(r"https://mail\.home\.example/incident/[0-9a-f]+", mail)
    status, page, _ = over_https(home, "POST", link, b"")
    assert status == 200 and "Nothing needs to be done" in page, page  # it is over
    remote.refusal = BLOCKED
    submit(home, "five", "bob@far.example")
    trace(home, "five").wait("held")
    remote.refusal = ""
    status, page, fields = over_https(home, "GET", link)
    assert status == 200 and BLOCKED in page and "<button" in page and "<script" not in page, page
    assert fields["Referrer-Policy"] == "no-referrer" and fields["Cache-Control"] == "no-store", fields
    assert "default-src 'none'" in fields["Content-Security-Policy"], fields
    assert over_https(home, "POST", link[:-1] + ("0" if link[-1] != "0" else "1"), b"")[0] == 404
    assert incidents(home)[0]["held"] == 1, incidents(home)
    status, page, _ = over_https(home, "POST", link, b"")
    assert status == 200 and "1 recipients are released" in page, page
    trace(home, "five").wait("delivered")
    arrived(remote, ("five",))
    assert incidents(home) == []
    token = link.rsplit("/", 1)[1]
    for path in ("//incident/" + token, "/INCIDENT/" + token, "/mail/incident/" + token):
        assert over_https(home, "GET", "https://mail.home.example" + path)[0] == 404, path
    assert token not in home.log_file.read_text()


def main():
    remote = Refusing()
    with house(relay=f"smtp+plain://127.0.0.1:{remote.port}", config={"listen": {"https": '["127.0.0.1:0"]'}}) as home:
        check_held(home, remote)
        print("held: good", flush=True)
        check_resolver(home)
        print("public resolver: good", flush=True)
        check_killed(home)
        print("killed: good", flush=True)
        check_fixed(home, remote)
        print("fixed: good", flush=True)
        check_button(home, remote)
        print("button: good", flush=True)


main()
