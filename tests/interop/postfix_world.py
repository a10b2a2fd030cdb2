"""What the tests of mail that goes out to a real Postfix share: the server, the other side, and what is to be taken away
at the end. Where a test fails, both logs are printed."""
from outside import peers, until

DNS_HOST = "127.0.0.1"
LOG_OCTETS_SHOWN = 6000


class World:
    """Set `home` once the other side is up; checks are functions of the world."""

    def __init__(self, postfix, *authorities):
        self.postfix, self.authorities, self.home = postfix, authorities, None
        self.access = postfix.root / "access"
        self.dns_port = peers.free_port()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            print("---- log of the server\n" + (self.home.log() if self.home else "") + "\n---- Postfix\n"
                  + self.postfix.log()[-LOG_OCTETS_SHOWN:])
        if self.home:
            self.home.remove()
        self.postfix.remove()
        for authority in self.authorities:
            authority.remove()

    def dns_settings(self):
        """For the config of the server: asks nobody but the test's own DNS server."""
        return {"dns": {"servers": f'["{DNS_HOST}@{self.dns_port}"]'}}

    def judge_recipients(self, *lines):
        """Postfix's restriction that answers these recipients so ("a@b.example 550 5.1.1 no such user")."""
        self.access.write_text("".join(line + "\n" for line in lines))
        return f"check_recipient_access texthash:{self.access}"

    def copies(self, name):
        mark = f"<{name}@home.example>".encode()
        return [octets for octets in self.postfix.mail() if mark in octets]

    def arrived(self, name):
        """Waits for the message at the other side; exactly one copy."""
        until(f"{name} at the other side", lambda: self.copies(name))
        copies = self.copies(name)
        assert len(copies) == 1, f"{name}: {len(copies)} copies"
        return copies[0]

    def run(self, records, *checks):
        """The checks beside a running server, with these records in the DNS."""
        with peers.knot(records, self.dns_port):
            self.home.start()
            for check in checks:
                check(self)
                print(f"{check.__name__[6:]}: good", flush=True)
            assert self.home.stop() == 0, "the server did not stop cleanly"
