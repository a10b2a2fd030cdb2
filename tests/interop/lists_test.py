#!/usr/bin/env python3
"""A newsletter to 200 people through a stand-in for a smarthost: each copy goes alone and bears an unsubscribe address of
its own, covered by the DKIM signature (RFC 8058); some leave by POST over https, some through the proxy's door, some by
mail, some only look; the next issue skips those who left and the sender is told, over HTTP and over SMTP; undone, they are
back. A forged address changes nothing.
"""
import json
import pathlib
import re
import smtplib
import sys
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from house import House, watched  # noqa: E402
from outside import loose, over_https, until  # noqa: E402
from send_test import Api, Sink, make_token  # noqa: E402
try:
    import dkim  # noqa: F401
    import dkim_judge
except ImportError:  # then only the names under the signature are looked at
    dkim_judge = None

ALICE = "alice@home.example"
PEOPLE = [f"reader{n:03}@world.example" for n in range(200)]
ONE_CLICK = b"List-Unsubscribe=One-Click"


def issue(api, sink, number, people=PEOPLE, **more):
    """Sends an issue; gives back the answer and the copies by recipient."""
    subject = f"Issue {number}"
    status, made, _ = api.send(to=[], bcc=people, subject=subject, text="News.\n", html="<p>News.</p>", stream="news", **more)
    assert status == 202, made
    wanted = [one["address"] for one in made["recipients"] if one["accepted"]]
    until(subject, lambda: len(sink.by_subject(subject)) >= len(wanted))
    copies = {}
    for recipients, octets in sink.by_subject(subject):
        assert len(recipients) == 1 and recipients[0] not in copies, recipients
        copies[recipients[0]] = octets
    assert sorted(copies) == sorted(wanted)
    return made, copies


def header(octets, name):
    head = octets.split(b"\r\n\r\n")[0].decode()
    found = re.findall(rf"(?im)^{name}:((?:.*\r?\n?)(?:[ \t].*\r?\n?)*)", head.replace("\r\n", "\n"))
    return [re.sub(r"\n[ \t]+", " ", value).strip() for value in found]


def addresses(octets):
    """(https address, mail address) of a copy, and that its fields are as RFC 8058 wants them."""
    [value] = header(octets, "List-Unsubscribe")
    [post] = header(octets, "List-Unsubscribe-Post")
    assert post == "List-Unsubscribe=One-Click", post
    https, mail = re.fullmatch(r"<(https://\S+)>, <mailto:(\S+)>", value).groups()
    signed = [names.replace(" ", "").lower() for names in re.findall(r"\bh=([^;]*);", " ".join(header(octets, "DKIM-Signature")))]
    assert signed and all("list-unsubscribe:" in names and "list-unsubscribe-post" in names for names in signed), signed
    return https, mail


def keys_of(home):
    """The zone lines that init showed: NAME [TTL] TXT "piece" "piece"."""
    out = {}
    for line in home.dns:
        if " TXT " in line and "_domainkey" in line:
            out[line.split()[0].rstrip(".").encode()] = "".join(re.findall(r'"([^"]*)"', line)).encode()
    return out


def over_proxy(home, url):
    path = url[url.index("/unsubscribe"):]
    request = urllib.request.Request(f"http://127.0.0.1:{home.port('http')}{path}", ONE_CLICK)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.status


def by_mail(home, to, code=250):
    with smtplib.SMTP("127.0.0.1", home.port("smtp"), local_hostname="mx.world.example") as client:
        client.ehlo()
        client.mail("reader@world.example")
        said = client.rcpt(to)[0]
        if said == 250:
            said = client.data("From: reader@world.example\r\nSubject: unsubscribe\r\n\r\n")[0]
        assert said == code, said


def over_smtp(home, stream, people):
    with smtplib.SMTP("127.0.0.1", home.port("submission"), local_hostname="laptop.home.example") as client:
        client.starttls(context=loose(home))
        client.login(home.account, home.password)
        client.mail(ALICE)
        for one in people:
            client.rcpt(one)
        return client.data(f"From: {ALICE}\r\nSubject: Over SMTP\r\nX-Posthouse-Stream: {stream}\r\n\r\nNews\r\n")


def check_first_issue(home, sink, api):
    _, copies = issue(api, sink, 1)
    found = {who: addresses(octets) for who, octets in copies.items()}
    assert len({pair[0] for pair in found.values()}) == len({pair[1] for pair in found.values()}) == len(PEOPLE)
    assert all(https.startswith("https://mail.home.example/unsubscribe/") for https, _ in found.values())
    assert all(mail.endswith("@home.example") for _, mail in found.values())
    if dkim_judge:
        for who in PEOPLE[:3]:
            assert dkim_judge.judge(keys_of(home), copies[who]) >= 1
    return found


def check_leaving(home, found):
    """0-9 by POST, 10-14 through the proxy, 15-19 by mail; 20-29 only look, 30 has a broken address."""
    for who in PEOPLE[:10]:
        status, page, headers = over_https(home, "POST", found[who][0], ONE_CLICK)
        assert status == 200 and "no more mail" in page and "Location" not in headers and "Set-Cookie" not in headers
    for who in PEOPLE[10:15]:
        assert over_proxy(home, found[who][0]) == 200
    for who in PEOPLE[15:20]:
        by_mail(home, found[who][1])
    for who in PEOPLE[20:30]:
        status, page, _ = over_https(home, "GET", found[who][0])
        assert status == 200 and "<button" in page
    forged = found[PEOPLE[30]][0][:-1] + ("0" if found[PEOPLE[30]][0][-1] != "0" else "1")
    assert over_https(home, "POST", forged, ONE_CLICK)[0] == 404
    by_mail(home, found[PEOPLE[30]][1].replace("unsubscribe-", "unsubscribe-1", 1), 550)


def check_second_issue(home, sink, api):
    gone = set(PEOPLE[:20])
    made, copies = issue(api, sink, 2)
    assert set(copies) == set(PEOPLE) - gone
    refused = {one["address"]: one for one in made["recipients"] if not one["accepted"]}
    assert set(refused) == gone, refused
    assert all("unsubscribed" in one["detail"] or "no more" in one["detail"] for one in refused.values()), refused
    code, said = over_smtp(home, "news", PEOPLE[:1])
    assert code == 550, said
    code, said = over_smtp(home, "news", PEOPLE[18:22])
    assert code == 250, said
    until("over SMTP", lambda: len(sink.by_subject("Over SMTP")) == 2)
    assert {recipients for recipients, _ in sink.by_subject("Over SMTP")} == {(PEOPLE[20],), (PEOPLE[21],)}
    assert b"X-Posthouse-Stream" not in sink.by_subject("Over SMTP")[0][1]
    queue_id = said.split()[-1].decode()
    events = json.loads(home.cli("trace", queue_id, "--json"))
    assert {event["recipient"] for event in events if event["kind"] == "suppressed"} == set(PEOPLE[18:20]), events
    # What is no list mail still reaches them.
    status, made, _ = api.send(to=PEOPLE[0], subject="Your order")
    assert status == 202 and made["recipients"][0]["accepted"], made
    until("the order", lambda: sink.by_subject("Your order"))
    assert not header(sink.by_subject("Your order")[0][1], "List-Unsubscribe")


def check_streams(home, api):
    assert home.cli("stream", "add", "news", "--owner", "home.example", check=False).returncode == 1
    assert home.cli("stream", "add", "x.y", "--owner", "home.example", check=False).returncode == 1
    assert home.cli("stream", "add", "alien", "--owner", "other.example", check=False).returncode == 1
    [row] = json.loads(home.cli("stream", "list", "--json"))
    assert row["name"] == "news" and row["list"] and row["class"] == "bulk", row
    shown = json.loads(home.cli("stream", "show", "news", "--json"))
    assert shown["recipients"] == len(PEOPLE) and shown["unsubscribe_url"] == "https://mail.home.example", shown
    status, said, _ = api.send(subject="x", stream="nothing")
    assert status == 403 and said["field"] == "stream", said
    home.cli("stream", "add", "bobs", "--owner", "bob@home.example")
    status, said, _ = api.send(subject="x", stream="bobs")
    assert status == 403 and said["field"] == "stream" and "bob@home.example" not in said["detail"], said
    # Capitals are the same name, and no other scope.
    assert home.cli("stream", "add", "NEWS", "--owner", "home.example", check=False).returncode == 1
    status, said, _ = api.send(subject="x", stream="News", to=PEOPLE[0])
    assert status == 422 and "unsubscribed" in said["recipients"][0]["detail"], said
    code, said = over_smtp(home, "News", PEOPLE[:1])
    assert code == 550 and b"unsubscribed" in said, said
    # An alias that looks like an unsubscribe address.
    home.cli("alias", "add", "unsubscribe-me@home.example", ALICE)
    by_mail(home, "unsubscribe-me@home.example")


def main():
    sink = Sink()
    with watched(House(relay=f"smtp+plain://127.0.0.1:{sink.port}",
                       config={"listen": {"https": '["127.0.0.1:0"]'}})) as home:
        home.add_account("bob@home.example")
        home.cli("setting", "set", "dmarc.submission", "warn")
        home.cli("setting", "set", "guard.accounts", "off")
        home.cli("stream", "add", "news", "--owner", "home.example", "--list")
        home.start()
        api = Api(home, make_token(home, "alice", "--account", ALICE))
        found = check_first_issue(home, sink, api)
        check_leaving(home, found)
        home.kill()  # what was answered with 200 or 250 is there
        home.start()
        check_second_issue(home, sink, api)
        check_streams(home, api)
        # The same addresses as before: one that is kept from the first issue still works.
        assert addresses(issue(api, sink, 3, PEOPLE[40:42])[1][PEOPLE[40]]) == found[PEOPLE[40]]
        assert over_https(home, "POST", found[PEOPLE[40]][0], ONE_CLICK)[0] == 200
        made, _ = issue(api, sink, 4, PEOPLE[40:42])
        assert [one["accepted"] for one in made["recipients"]] == [False, True], made
    print("ok")


if __name__ == "__main__":
    main()
