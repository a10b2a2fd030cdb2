"""A relay service that behaves as a given one does on the wire: STARTTLS before anything else, its login mechanisms, its
words. What it answers next is scripted: a reply for the next MAIL, RCPT, "." or AUTH, once. One thread a connection; all
of it is gone with the test.
"""
import base64
import collections
import hashlib
import hmac
import re
import secrets
import socket
import ssl
import threading

Words = collections.namedtuple("Words", "banner keywords mechanisms accepted login_first bad_login recipients connections too_many",
                               defaults=(None, None, "421 4.7.0 Too many connections"))

# What each service says at each turn, which logins it offers, and what it holds to: recipients a transaction, connections at a
# time; None: nothing that is known. `keywords` of EHLO, without STARTTLS and AUTH, which come in their time.
GOOGLE = ["SIZE 35882577", "8BITMIME", "ENHANCEDSTATUSCODES", "PIPELINING", "CHUNKING", "SMTPUTF8"]
EXCHANGE = ["SIZE 157286400", "PIPELINING", "DSN", "ENHANCEDSTATUSCODES", "8BITMIME", "BINARYMIME", "CHUNKING", "SMTPUTF8"]
MAILGUN = Words("220 Mailgun Influx ready", ["SIZE 52428800", "8BITMIME", "ENHANCEDSTATUSCODES", "SMTPUTF8"], "PLAIN LOGIN",
                "250 Great success", "530 5.7.0 Authentication required", "535 5.7.8 Authentication failed", 1000)
SERVICES = {
    "smtp2go": Words("220 mail.smtp2go.com ESMTP Exim ready", ["SIZE 52428800", "8BITMIME", "DSN", "PIPELINING", "CHUNKING", "PRDR"],
                     "PLAIN LOGIN CRAM-MD5", "250 OK id=1uXyZ-FnQW4h-Ab", "550 Relaying denied. Please authenticate first",
                     "535 Incorrect authentication data", 100),
    "sendgrid": Words("220 SG ESMTP service ready at ismtpd-1", ["8BITMIME", "PIPELINING", "SIZE 31457280"], "PLAIN LOGIN",
                      "250 Ok: queued as Zk3rT9dsQGaVmh7w", "550 Unauthenticated senders not allowed",
                      "451 Authentication failed: the provided authorization grant is invalid", 1000),
    "mailgun": MAILGUN,
    "mailgun-eu": MAILGUN,
    "postmark": Words("220 smtp.postmarkapp.com Postmark ESMTP", ["PIPELINING", "SIZE 10485760", "8BITMIME"], "CRAM-MD5 PLAIN",
                      "250 Ok", "530 5.7.0 Authentication required", "535 5.7.8 Error: authentication failed", 50, 10),
    "postmark-broadcast": Words("220 smtp-broadcasts.postmarkapp.com Postmark ESMTP", ["PIPELINING", "SIZE 10485760", "8BITMIME"],
                                "CRAM-MD5", "250 Ok", "530 5.7.0 Authentication required",
                                "535 5.7.8 Error: authentication failed", 50, 10),
    "ses": Words("220 email-smtp.amazonaws.com ESMTP SimpleEmailService-d-ABCDEF123", ["8BITMIME"], "PLAIN LOGIN",
                 "250 Ok 0102018f3a1b2c3d-11111111-2222-3333-4444-555555555555-000000", "530 Authentication required",
                 "535 Authentication Credentials Invalid", 50),
    "brevo": Words("220 smtp-relay.brevo.com ESMTP Service Ready", ["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "SIZE 20971520"],
                   "PLAIN LOGIN CRAM-MD5", "250 2.0.0 OK: queued as <202611290000.1@smtp-relay.brevo.com>",
                   "530 5.7.0 Authentication required", "535 5.7.8 Authentication failed"),
    "google-relay": Words("220 smtp-relay.gmail.com ESMTP a1-20020a05 - gsmtp", GOOGLE, "LOGIN PLAIN XOAUTH2 PLAIN-CLIENTTOKEN OAUTHBEARER",
                          "250 2.0.0 OK 1764000000 a1-20020a05 - gsmtp", "530-5.7.0 Authentication Required. For more information, "
                          "go to\r\n530 5.7.0  https://support.google.com/mail/?p=WantAuthError a1-20020a05 - gsmtp",
                          "535-5.7.8 Username and Password not accepted. For more information, go to\r\n"
                          "535 5.7.8  https://support.google.com/mail/?p=BadCredentials a1-20020a05 - gsmtp", 100),
    "gmail": Words("220 smtp.gmail.com ESMTP b2-20020a05 - gsmtp", GOOGLE, "LOGIN PLAIN XOAUTH2 PLAIN-CLIENTTOKEN OAUTHBEARER",
                   "250 2.0.0 OK 1764000000 b2-20020a05 - gsmtp", "530-5.7.0 Authentication Required. For more information, go to\r\n"
                   "530 5.7.0  https://support.google.com/mail/?p=WantAuthError b2-20020a05 - gsmtp",
                   "535-5.7.8 Username and Password not accepted. For more information, go to\r\n"
                   "535 5.7.8  https://support.google.com/mail/?p=BadCredentials b2-20020a05 - gsmtp", 100),
    "microsoft": Words("220 AM0PR01CA0001.outlook.office365.com Microsoft ESMTP MAIL Service ready at Tue, 1 Dec 2026 09:00:00 +0000",
                       EXCHANGE, "LOGIN XOAUTH2", "250 2.0.0 OK <m1@home.example> [Hostname=AM0PR01MB1.eurprd01.prod.exchangelabs.com]",
                       "530 5.7.57 Client not authenticated to send mail. [AM0PR01CA0001.eurprd01.prod.exchangelabs.com]",
                       "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.", 500, 3,
                       "432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending for more information."),
    "microsoft-connector": Words("220 DB5EUR01FT001.mail.protection.outlook.com Microsoft ESMTP MAIL Service ready", EXCHANGE, "",
                                 "250 2.6.0 <m1@home.example> [InternalId=1] Queued mail for delivery", "", "", 500),
    "azure": Words("220 smtp.azurecomm.net Microsoft ESMTP MAIL Service ready", ["SIZE 31457280", "8BITMIME", "PIPELINING"], "LOGIN PLAIN",
                   "250 2.0.0 OK <m1@home.example>", "530 5.7.57 Client not authenticated to send mail",
                   "535 5.7.3 Authentication unsuccessful", 50),
    "resend": Words("220 Resend SMTP Relay ESMTP", ["PIPELINING", "8BITMIME", "SIZE 41943040"], "PLAIN LOGIN",
                    "250 Ok: 4ef9a417-02e9-4d39-ad75-9611e0fcc33c", "530 Error: authentication Required",
                    "535 API key not found", 50),
}


class Service:
    """`files`: settings of peers.Authority.issue(): the certificate it shows."""

    def __init__(self, preset, files, user, password, token=""):
        self.preset, self.user, self.password, self.token = preset, user, password, token
        self.words = SERVICES[preset]
        self.accepted, self.mechanisms = self.words.accepted, self.words.mechanisms
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(files["smtpd_tls_cert_file"], files["smtpd_tls_key_file"])
        self.once = []  # (prefix of the command, reply)
        self.messages, self.logins, self.lines = [], [], []
        self.exceeded = []  # of its limits, each time one was
        self.keys = set()  # Resend's: it says yes to a message whose key it knows, and delivers nothing
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
        counted = [True]  # until its end is said, so that who dials anew then is not one too many
        try:
            self.talk(client, counted)
        except (OSError, EOFError):
            pass
        finally:
            self.leave(counted)

    def leave(self, counted):
        with self.lock:
            self.open_now -= counted[0]
            counted[0] = False

    def talk(self, client, counted):
        def say(text):
            client.sendall(text.encode() + b"\r\n")

        def hear():
            line = stream.readline()
            if not line:
                raise EOFError
            return line.decode(errors="replace").rstrip("\r\n")

        secure, logged_in, stream = False, not self.mechanisms, client.makefile("rb")
        begun = taken = False  # MAIL, and a RCPT, were accepted
        recipients = 0
        say(self.words.banner)
        while True:
            line = hear()
            verb = line.upper().split(" ")[0]
            with self.lock:
                self.lines.append(line if verb != "AUTH" else "AUTH " + line.split(" ")[1])
            possible = not (verb == "RCPT" and not begun) and not (verb == "MAIL" and not logged_in)
            reply = self.scripted(line) if possible else None
            if verb == "EHLO":
                offered = list(self.words.keywords)
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
                say(reply or ("235 2.7.0 Authentication successful" if logged_in else self.words.bad_login))
                logged_in = logged_in and not reply
            elif verb == "QUIT":
                self.leave(counted)
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
                say(self.words.login_first)
            elif verb == "MAIL" and self.words.connections and self.open_now > self.words.connections:
                self.exceeded.append("connections")
                say(self.words.too_many)
            elif verb == "RCPT" and begun and self.words.recipients and recipients == self.words.recipients:
                self.exceeded.append("recipients")
                say("452 4.5.3 Too many recipients")
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
                key = re.search(rb"^Resend-Idempotency-Key: (.*)\r\n", octets.partition(b"\r\n\r\n")[0] + b"\r\n", re.MULTILINE)
                with self.lock:
                    known = key is not None and key[1] in self.keys
                    if not refusal and not known:
                        self.messages.append(octets)
                    if not refusal and key:
                        self.keys.add(key[1])
                say(refusal or self.accepted)
            else:
                begun = verb == "MAIL" or (begun and verb not in ("RSET", "HELO"))
                taken = begun and (taken or verb == "RCPT")
                recipients = recipients + 1 if verb == "RCPT" else 0
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
