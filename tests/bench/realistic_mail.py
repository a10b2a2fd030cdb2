"""Messages as a mailbox of today holds them: lognormal sizes with a median of about 10 KB and a tail to some MB, a third
with an attachment, half of the rest with HTML beside the text, headers of two KB. The same number gives the same octets."""
import base64
import math
import random

WORDS = [f"{a}{b}" for a in ("re", "con", "in", "sub", "over", "pre", "un", "de", "trans", "out") for b in
         ("port", "form", "act", "late", "tract", "vert", "sist", "cept", "mand", "sume", "press", "ject", "pose", "duct")]
PEOPLE = ("Anna Meier", "=?utf-8?q?J=C3=BCrgen_Gro=C3=9F?=", '"Ng, Lee"', "support", "Maria do Carmo", "=?utf-8?b?5bGx55Sw5aSq6YOO?=")


def lines_of(text):
    return "\r\n".join(text[at:at + 72] for at in range(0, len(text), 72)) + "\r\n"


def header(number, source):
    day = f"{1 + number % 28:02d} Sep 2026 10:{number % 60:02d}:00 +0000"
    name = PEOPLE[number % len(PEOPLE)]
    subject = f"{' '.join(source.choices(WORDS, k=5))} {number}"
    if number % 5 == 0:
        subject = f"=?utf-8?b?{base64.b64encode(('Grüße: ' + subject[:20]).encode()).decode()}?= {number}"
    hops = "".join(f"Received: from mx{hop}.sender.example (mx{hop}.sender.example [192.0.2.{hop + 1}])\r\n\tby mx.home.example with ESMTPS "
                   f"id {source.randrange(1 << 40):010x}\r\n\tfor <alice@home.example>; Tue, {day}\r\n" for hop in range(3))
    seal = base64.b64encode(source.randbytes(256)).decode()
    thread = "".join(f" <m{number - back}@sender.example>\r\n" for back in range(1, 1 + number % 4))
    return (hops + "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=sender.example; s=k1;\r\n\th=from:to:subject:date:message-id;\r\n\tb="
            + "\r\n\t ".join(seal[at:at + 70] for at in range(0, len(seal), 70)) + "\r\n"
            f"From: {name} <s{number % 97}@sender.example>\r\nTo: Alice <alice@home.example>, team{number % 7}@home.example\r\n"
            + (f"Cc: c{number % 11}@home.example\r\n" if number % 3 == 0 else "")
            + f"Subject: {subject}\r\nDate: Tue, {day}\r\nMessage-ID: <m{number}@sender.example>\r\n"
            + (f"In-Reply-To: <m{number - 1}@sender.example>\r\nReferences:{thread}" if thread else "")
            + f"Reply-To: <r{number % 13}@sender.example>\r\nList-Id: <list{number % 19}.sender.example>\r\nX-Mailer: bench 1.0\r\nMIME-Version: 1.0\r\n")


def message(number):
    source = random.Random(number)
    size = min(3_000_000, max(800, int(math.exp(source.gauss(math.log(8_000), 1.3)))))
    head = header(number, source)
    text = lines_of(" ".join(source.choices(WORDS, k=min(size, 30_000) // 8)))
    if number % 3 == 0:
        data = base64.encodebytes(source.randbytes(size * 29 // 20)).decode().replace("\n", "\r\n")
        return (head + 'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n' + text +
                '--b\r\nContent-Type: application/pdf; name="a.pdf"\r\nContent-Transfer-Encoding: base64\r\n'
                'Content-Disposition: attachment; filename="a.pdf"\r\n\r\n' + data + "--b--\r\n").encode()
    if number % 3 == 1:
        marked = "<html><body><p>" + text.replace("\r\n", "<br>\r\n") + "</p></body></html>\r\n"
        return (head + 'Content-Type: multipart/alternative; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n' + text +
                '--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n' + marked + "--b--\r\n").encode()
    return (head + "Content-Type: text/plain; charset=utf-8\r\n\r\n" + text).encode()


def messages(count):
    return [message(number) for number in range(count)]
