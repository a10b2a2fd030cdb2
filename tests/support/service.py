"""A relay service that behaves as a given one does on the wire: STARTTLS before anything else, its login mechanisms, its
words. What it answers next is scripted: a reply for the next MAIL, RCPT, "." or AUTH, once. One thread a connection; all
of it is gone with the test.
"""
import base64
import hashlib
import hmac
import re
import secrets
import socket
import ssl
import threading

# What each service says when it has taken a message, and which logins it offers.
SERVICES = {
    "smtp2go": ("250 OK id=1uXyZ-FnQW4h-Ab", "PLAIN LOGIN CRAM-MD5"),
    "sendgrid": ("250 Ok: queued as Zk3rT9dsQGaVmh7w", "PLAIN LOGIN"),
    "mailgun": ("250 Great success", "PLAIN LOGIN"),
    "mailgun-eu": ("250 Great success", "PLAIN LOGIN"),
    "postmark": ("250 Ok", "CRAM-MD5 PLAIN"),
    "postmark-broadcast": ("250 Ok", "CRAM-MD5"),
    "ses": ("250 Ok 0102018f3a1b2c3d-11111111-2222-3333-4444-555555555555-000000", "PLAIN LOGIN"),
    "brevo": ("250 2.0.0 OK: queued as <202611290000.1@smtp-relay.brevo.com>", "PLAIN LOGIN CRAM-MD5"),
    "google-relay": ("250 2.0.0 OK 1764000000 a1-20020a05 - gsmtp", "LOGIN PLAIN XOAUTH2 PLAIN-CLIENTTOKEN OAUTHBEARER"),
    "gmail": ("250 2.0.0 OK 1764000000 b2-20020a05 - gsmtp", "LOGIN PLAIN XOAUTH2 PLAIN-CLIENTTOKEN OAUTHBEARER"),
    "microsoft": ("250 2.0.0 OK <m1@home.example> [Hostname=AM0PR01MB1.eurprd01.prod.exchangelabs.com]", "LOGIN XOAUTH2"),
    "microsoft-connector": ("250 2.6.0 <m1@home.example> [InternalId=1] Queued mail for delivery", ""),
    "azure": ("250 2.0.0 OK <m1@home.example>", "LOGIN PLAIN"),
    "resend": ("250 Ok: 4ef9a417-02e9-4d39-ad75-9611e0fcc33c", "PLAIN LOGIN"),
}


class Service:
    """`files`: settings of peers.Authority.issue(): the certificate it shows."""

    def __init__(self, preset, files, user, password, token=""):
        self.preset, self.user, self.password, self.token = preset, user, password, token
        self.accepted, self.mechanisms = SERVICES[preset]
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(files["smtpd_tls_cert_file"], files["smtpd_tls_key_file"])
        self.once = []  # (prefix of the command, reply)
        self.messages, self.logins, self.lines = [], [], []
        self.open_now = self.open_most = 0
        self.lock = threading.Lock()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        self.socket.close()

    def next(self, prefix, reply):
        """The reply to the next command that begins so; "." is the end of a message."""
        with self.lock:
            self.once.append((prefix, reply))

    def accept(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def scripted(self, line):
        with self.lock:
            for place, (prefix, reply) in enumerate(self.once):
                if line.upper().startswith(prefix):
                    del self.once[place]
                    return reply
        return None

    def serve(self, client):
        with self.lock:
            self.open_now += 1
            self.open_most = max(self.open_most, self.open_now)
        try:
            self.talk(client)
        except (OSError, EOFError):
            pass
        finally:
            with self.lock:
                self.open_now -= 1

    def talk(self, client):
        def say(text):
            client.sendall(text.encode() + b"\r\n")

        def hear():
            line = stream.readline()
            if not line:
                raise EOFError
            return line.decode(errors="replace").rstrip("\r\n")

        secure, logged_in, stream = False, not self.mechanisms, client.makefile("rb")
        begun = taken = False  # MAIL, and a RCPT, were accepted
        say("220 service.example ESMTP ready")
        while True:
            line = hear()
            verb = line.upper().split(" ")[0]
            with self.lock:
                self.lines.append(line if verb != "AUTH" else "AUTH " + line.split(" ")[1])
            possible = not (verb == "RCPT" and not begun) and not (verb == "MAIL" and not logged_in)
            reply = self.scripted(line) if possible else None
            if verb == "EHLO":
                offered = ["PIPELINING", "SIZE 41943040", "8BITMIME"]
                if not secure:
                    offered.append("STARTTLS")
                elif self.mechanisms:
                    offered.append("AUTH " + self.mechanisms)
                say("\r\n".join(f"250-{each}" for each in ["service.example", *offered]) + "\r\n250 HELP")
            elif verb == "STARTTLS":
                say("220 2.0.0 go ahead")
                client = self.tls.wrap_socket(client, server_side=True)
                stream, secure = client.makefile("rb"), True
            elif verb == "AUTH" and not secure:
                say("530 5.7.0 Must issue a STARTTLS command first")
            elif verb == "AUTH":
                logged_in = self.log_in(line, say, hear)
                say(reply or ("235 2.7.0 Authentication successful" if logged_in else "535 5.7.8 Bad credentials"))
                logged_in = logged_in and not reply
            elif verb == "QUIT":
                say("221 2.0.0 bye")
                client.close()
                return
            elif reply:
                say(reply)
                begun = begun and verb != "MAIL"
                if reply.startswith("421"):
                    client.close()
                    return
            elif verb == "MAIL" and not logged_in:
                say("530 5.7.57 Client not authenticated to send mail")
            elif verb == "RCPT" and not begun:
                say("503 5.5.1 Need MAIL before RCPT")
            elif verb == "DATA" and not taken:
                say("554 5.5.1 No valid recipients")
            elif verb == "DATA":
                say("354 go ahead")
                octets = b""
                while True:
                    piece = stream.readline()
                    if not piece:
                        raise EOFError
                    if piece == b".\r\n":
                        break
                    octets += piece[1:] if piece.startswith(b".") else piece
                begun = taken = False
                refusal = self.scripted(".")
                if not refusal:
                    with self.lock:
                        self.messages.append(octets)
                say(refusal or self.accepted)
            else:
                begun = verb == "MAIL" or (begun and verb not in ("RSET", "HELO"))
                taken = begun and (taken or verb == "RCPT")
                if verb == "MAIL":
                    taken = False
                say("250 2.1.0 Ok")

    def log_in(self, line, say, hear):
        """One AUTH exchange; whether it was right."""
        words = line.split(" ")
        mechanism = words[1].upper()
        with self.lock:
            self.logins.append(mechanism)
        if mechanism not in self.mechanisms.split(" "):
            return False

        def ask(text):
            say("334 " + base64.b64encode(text.encode()).decode())
            return base64.b64decode(hear())

        if mechanism == "PLAIN":
            answer = base64.b64decode(words[2]) if len(words) > 2 else ask("")
            return answer == f"\0{self.user}\0{self.password}".encode()
        if mechanism == "LOGIN":
            user = base64.b64decode(words[2]) if len(words) > 2 else ask("Username:")
            return (user, ask("Password:")) == (self.user.encode(), self.password.encode())
        if mechanism == "CRAM-MD5":
            challenge = f"<{secrets.token_hex(8)}@service.example>"
            proof = hmac.new(self.password.encode(), challenge.encode(), hashlib.md5).hexdigest()
            return ask(challenge) == f"{self.user} {proof}".encode()
        if mechanism == "XOAUTH2":
            answer = base64.b64decode(words[2]).decode()
            found = re.fullmatch("user=(.*?)\x01auth=Bearer (.*?)\x01\x01", answer)
            if found and self.token and found.groups() == (self.user, self.token):
                return True
            ask('{"status":"401","schemes":"bearer"}')
        return False
