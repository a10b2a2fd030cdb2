#!/usr/bin/env python3
"""The HTTP API over a real server, asked by urllib and curl: removed mail is listed and restored, who may not is told
so, a full disk is 507, and what was answered with 200 is there after kill -9."""
import imaplib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import house  # noqa: E402

ALICE, BOB = "alice@home.example", "bob+lists@home.example"
MESSAGES = 450  # more than two steps of a restore, more than one page of the list


class Api:
    def __init__(self, home, token, account=ALICE):
        self.home, self.token = home, token
        self.path = f"/api/v1/accounts/{urllib.parse.quote(account)}/deleted"

    def ask(self, path, body=None, headers=None, method=None):
        """(status, answer as JSON, header)"""
        url = f"http://127.0.0.1:{self.home.port('http')}{path}"
        wanted = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if body is not None:
            wanted["Content-Type"] = "application/json"
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(url, data=body, headers={**wanted, **(headers or {})}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer), answer.headers
        except urllib.error.HTTPError as refused:
            assert refused.headers["Content-Type"] == "application/problem+json", refused.headers
            said = json.load(refused)
            assert said["status"] == refused.code and said["detail"], said
            return refused.code, said, refused.headers

    def list(self, **query):
        return self.ask(self.path + ("?" + urllib.parse.urlencode(query) if query else ""))

    def restore(self, body, **options):
        return self.ask(self.path + "/restore", body, **options)


def login(home, account=ALICE):
    client = imaplib.IMAP4("127.0.0.1", home.port("imap"))
    context = home.tls()
    context.check_hostname = False
    client.starttls(context)
    client.login(account, home.passwords[account])
    return client


def subjects(client, mailbox="INBOX"):
    client.select(f'"{mailbox}"', readonly=True)
    kind, found = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    return sorted(part[1].split(b":")[1].strip().decode() for part in found if isinstance(part, tuple))


def remove(client, mailbox, first, count):
    """Appends messages and expunges them."""
    mailbox = f'"{mailbox}"'
    client.create(mailbox)
    for number in range(first, first + count):
        text = f"From: b@world.example\r\nSubject: number-{number:04}\r\n\r\nbody {number}\r\n".encode()
        assert client.append(mailbox, r"(\Seen)", None, text)[0] == "OK"
    client.select(mailbox)
    client.store("1:*", "+FLAGS", r"(\Deleted)")
    client.expunge()
    client.close()


def make_token(home, name, *more):
    made = json.loads(home.cli("token", "create", name, *more, "--json"))
    assert made["token"].startswith("ph_"), made
    return made["token"]


def check_tokens(home):
    tokens = {"all": make_token(home, "all"), "hers": make_token(home, "hers", "--account", ALICE, "--expires", "1"),
              "bobs": make_token(home, "bobs", "--account", BOB)}
    assert home.cli("token", "create", "all", check=False).returncode == 1
    done = home.cli("token", "create", "x", "--account", "nobody@home.example", check=False)
    assert done.returncode == 1 and "there is no account" in done.stderr, done
    listed = json.loads(home.cli("token", "list", "--json"))
    assert [row["name"] for row in listed] == ["all", "bobs", "hers"], listed
    assert not any(secret in home.cli("token", "list") for secret in tokens.values())
    for file in home.data.rglob("*"):
        if file.is_file():
            octets = file.read_bytes()
            assert not any(secret.encode() in octets for secret in tokens.values()), file
    return tokens


def check_list_and_restore(home, tokens):
    api = Api(home, tokens["hers"])
    client = login(home)
    remove(client, "Projects", 0, MESSAGES)
    seen, cursor = [], {}
    while True:
        status, page, header = api.list(mailbox="Projects", limit=200, **cursor)
        assert status == 200 and header["Cache-Control"] == "no-store", (status, page)
        seen += page["messages"]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert len({message["id"] for message in seen}) == MESSAGES == len(seen)
    assert {message["subject"] for message in seen} == {f"number-{n:04}" for n in range(MESSAGES)}
    assert page["kept_days"] == 14, page

    ids = [message["id"] for message in seen if message["subject"] in ("number-0003", "number-0400")]
    status, done, header = api.restore({"messages": ids})
    assert (status, done) == (200, {"restored": 2, "mailboxes": {"Projects": 2}}), (status, done)
    assert subjects(client, "Projects") == ["number-0003", "number-0400"]
    client.close()
    assert client.delete("Projects")[0] == "OK"
    assert [box["name"] for box in api.list()[1]["mailboxes"]] == ["Projects"]
    status, done, header = api.restore({"mailbox": "Projects"})
    assert (status, done["restored"]) == (200, 2), done
    status, done, header = api.restore({"since": "1h", "into": "All of it"})
    assert (status, done["restored"]) == (200, MESSAGES - 2), done
    assert len(subjects(client, "All of it")) == MESSAGES - 2
    assert api.list()[1]["messages"] == []
    client.logout()
    # The command line speaks of the same ids.
    status, said, header = api.restore({"messages": ids})
    assert status == 404 and said["field"] == "messages", said
    print(f"  {MESSAGES} messages were listed and restored")


def check_refusals(home, tokens):
    api = Api(home, tokens["hers"])
    status, said, header = Api(home, None).list()
    assert status == 401 and header["WWW-Authenticate"] == 'Bearer realm="posthouse"', header
    status, said, header = Api(home, tokens["bobs"]).list()
    assert status == 403 and "insufficient_scope" in header["WWW-Authenticate"], header
    assert Api(home, tokens["hers"], "nobody@home.example").list()[0] == 403
    assert Api(home, tokens["all"], "nobody@home.example").list()[0] == 404
    assert Api(home, tokens["bobs"], BOB).list()[0] == 200
    assert Api(home, tokens["all"], BOB).list()[0] == 200
    status, said, header = api.restore(b"{not json")
    assert status == 400, said
    status, said, header = api.restore({"since": "soon"})
    assert status == 422 and said["field"] == "since", said
    status, said, header = api.list(limit="many")
    assert status == 400 and said["field"] == "limit", said
    assert api.restore({"all": True}, headers={"Content-Type": "text/plain"})[0] == 415
    status, said, header = api.ask(api.path, {"all": True})
    assert status == 405 and header["Allow"] == "GET, HEAD", header
    assert api.restore({"into": "x" * 300_000, "all": True})[0] == 413
    # RFC 6750 3.1: a wrong token; too many of them are turned away, while a right one goes on.
    wrong = Api(home, "ph_" + "0" * 64)
    states = [wrong.list()[0] for _ in range(12)]
    assert states == [401] * 10 + [429] * 2, states
    assert api.list()[0] == 200
    home.cli("token", "revoke", "bobs")
    assert Api(home, tokens["bobs"], BOB).list()[0] in (401, 429)
    with urllib.request.urlopen(f"http://127.0.0.1:{home.port('http')}/metrics") as answer:
        counted = answer.read().decode()
    assert 'posthouse_http_requests_total{code="403"} 2' in counted, counted
    log = home.log()
    assert not any(secret in log for secret in tokens.values()), "a token stands in the log"
    assert " by hers: 422" in log, log


def check_curl(home, tokens):
    if not shutil.which("curl"):
        print("  curl is not installed: left out")
        return
    client = login(home)
    remove(client, "Curled", 1000, 1)
    client.logout()
    url = f"http://127.0.0.1:{home.port('http')}" + Api(home, "").path
    with tempfile.TemporaryDirectory() as folder:
        # The secret is not for the process list.
        secret = pathlib.Path(folder) / "header"
        secret.write_text(f"Authorization: Bearer {tokens['hers']}\n")

        def curl(*words):
            done = subprocess.run(["curl", "-sS", "--max-time", "60", "-H", f"@{secret}", "-w", "\n%{http_code}", *words],
                                  capture_output=True, text=True, check=True)
            text, code = done.stdout.rsplit("\n", 1)
            return int(code), text

        code, text = curl(url + "?mailbox=Curled")
        assert code == 200 and "number-1000" in text, (code, text)
        code, text = curl("--json", '{"mailbox": "Curled"}', url + "/restore")
        assert (code, json.loads(text)["restored"]) == (200, 1), (code, text)
        code, text = curl("-I", url)
        assert code == 200, (code, text)
        large = pathlib.Path(folder) / "large"
        large.write_bytes(b" " * 3_000_000)  # curl waits for "100 Continue", and hears 413
        code, text = curl("-H", "Content-Type: application/json", "--data-binary", f"@{large}", url + "/restore")
        assert code == 413, (code, text)
    print("  curl did the same")


def check_full_disk(home, tokens):
    client = login(home)
    remove(client, "Full", 2000, 3)
    client.logout()
    assert home.stop() == 0
    home.configure("store", {"free_min": '"1000000G"'})
    home.start()
    api = Api(home, tokens["hers"])
    status, said, header = api.restore({"mailbox": "Full"})
    assert status == 507 and "disk" in said["detail"], (status, said)
    status, page, header = api.list(mailbox="Full")
    assert status == 200 and len(page["messages"]) == 3, page
    client = login(home)
    client.select("Full", readonly=True)
    assert client.search(None, "ALL")[1] == [b""]
    client.logout()
    assert home.stop() == 0
    home.configure("store", {"free_min": '"1M"'})
    home.start()
    status, done, header = api.restore({"mailbox": "Full"})
    assert (status, done["restored"]) == (200, 3), done
    print("  a full disk is 507, and with room it goes on")


def check_kill(home, tokens):
    """kill -9 the moment 200 came: nothing of it is lost."""
    api = Api(home, tokens["hers"])
    for turn in range(3):
        client = login(home)
        name = f"Killed {turn}"
        remove(client, name, 3000, 20)
        status, done, header = api.restore({"mailbox": name})
        home.kill()
        assert (status, done["restored"]) == (200, 20), done
        home.start()
        client = login(home)
        assert subjects(client, name) == [f"number-{n}" for n in range(3000, 3020)]
        client.logout()
    said = json.loads(home.cli("fsck", "--json"))
    assert said["faults"] == [], said
    print("  what was answered with 200 is there after kill -9")


def main():
    with house() as home:
        home.add_account(BOB)
        tokens = check_tokens(home)
        check_list_and_restore(home, tokens)
        check_refusals(home, tokens)
        check_curl(home, tokens)
        check_full_disk(home, tokens)
        check_kill(home, tokens)
    print("the API: ok")


if __name__ == "__main__":
    main()
