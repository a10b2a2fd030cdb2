"""A Posthouse of its own for a test: made by `posthouse init`, started by `posthouse serve`, gone with the test.

The program is taken from POSTHOUSE_BINARY, else from the debug build. Every listener is on a free loopback port; the
ports come from DATA/run/ports.json, readiness from systemd's notify protocol: nothing waits for time to pass.
"""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("POSTHOUSE_BINARY", str(ROOT / "build" / "dev" / "server" / "posthouse"))
SKIPPED = 77  # ctest's SKIP_RETURN_CODE
START_SECONDS_MAX = 60  # sanitizer builds on a busy machine


def skip(why):
    """Ends the test as skipped, saying why."""
    print(f"skipped: {why}")
    sys.exit(SKIPPED)


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            skip(f"{program} is not installed")


def conformance():
    folder = pathlib.Path(os.environ.get("POSTHOUSE_CONFORMANCE", ROOT.parent / "shared" / "conformance"))
    if not folder.is_dir():
        skip(f"there is no conformance data at {folder}")
    return folder


class House:
    """`config` lines are added to the file: {"relay": {"mx_port": "2525"}}. `prefix` runs the server under a program."""

    def __init__(self, hostname="mail.home.example", domain="home.example", account="alice@home.example", relay=None,
                 relay_password=None, relay_ca=None, config=None, parent=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="posthouse-test-", dir=parent))
        self.data, self.config_file = self.folder / "data", self.folder / "posthouse.toml"
        self.log_file = self.folder / "log"
        self.hostname, self.domain, self.account = hostname, domain, account
        self.process, self.ports = None, {}
        words = ["init", "--json", "--data", str(self.data), "--hostname", hostname, "--domain", domain,
                 "--account", account, "--listen", "127.0.0.1"]
        if relay:
            words += ["--relay", relay]
        if relay_ca:
            words += ["--relay-ca-file", str(relay_ca)]
        environment = {"POSTHOUSE_RELAY_PASSWORD": relay_password} if relay_password else {}
        made = json.loads(self.cli(*words, environment=environment))
        self.password = made["password"]
        self.passwords = {account: self.password}
        self.dns = made["dns"]
        text = re.sub(r'"127\.0\.0\.1:\d+"', '"127.0.0.1:0"', self.config_file.read_text())
        text = re.sub(r"(?m)^trust_anchor = .*$", 'trust_anchor = ""', text)
        self.config_file.write_text(text)
        for table, keys in (config or {}).items():
            self.configure(table, keys)
        # Where nobody answers, what comes in would wait for nothing.
        if '@9"' in (config or {}).get("dns", {}).get("servers", '@9"'):
            self.cli("setting", "set", "dmarc.policy", "off")

    def certify(self, *names):
        """A certificate for these names ("IP:127.0.0.1" among them) in the place of the one that init made."""
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", str(self.data / "tls" / "key.pem"), "-out", str(self.certificate()), "-days", "2",
                        "-subj", f"/CN={self.hostname}", "-addext", "subjectAltName=" + ",".join(names)],
                       check=True, capture_output=True)

    def configure(self, table, keys):
        """Sets keys of a table of the configuration file (values as TOML)."""
        text = self.config_file.read_text()
        if f"[{table}]" not in text:
            text += f"\n[{table}]\n"
        for key, value in keys.items():
            head, _, rest = text.partition(f"[{table}]")
            first, newline, rest = rest.partition("\n")
            body, bracket, tail = rest.partition("\n[")
            body = "\n".join(line for line in body.split("\n") if not re.match(rf"{key}\s*=", line))
            text = f"{head}[{table}]{first}{newline}{key} = {value}\n{body}{bracket}{tail}"
        self.config_file.write_text(text)

    def cli(self, *words, stdin=None, environment=None, check=True):
        """Runs a command of the program and gives back its standard output."""
        with_config = [] if "--config" in words else ["--config", str(self.config_file)]
        done = subprocess.run([BINARY, words[0], *words[1:], *with_config], input=stdin, text=not isinstance(stdin, bytes),
                              capture_output=True, env={**os.environ, **(environment or {})}, timeout=120)
        if check and done.returncode != 0:
            raise RuntimeError(f"posthouse {' '.join(words)} ended with {done.returncode}: {done.stderr}")
        return done.stdout if check else done

    def add_account(self, address, password="correct horse battery"):
        self.cli("account", "add", address, environment={"POSTHOUSE_PASSWORD": password})
        self.passwords[address] = password
        return password

    def start(self, prefix=()):
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            path = os.path.join(folder, "notify")
            notify.bind(path)
            notify.settimeout(START_SECONDS_MAX)
            with open(self.log_file, "ab") as log:
                self.process = subprocess.Popen([*prefix, BINARY, "serve", "--config", str(self.config_file)], stdout=log,
                                                stderr=log, env={**os.environ, "NOTIFY_SOCKET": path})
            while True:
                try:
                    if b"READY=1" in notify.recv(4096).split(b"\n"):
                        break
                except TimeoutError:
                    raise RuntimeError("the server did not become ready:\n" + self.log()) from None
        self.ports = {name: (value[0] if isinstance(value, list) else value)
                      for name, value in json.loads((self.data / "run" / "ports.json").read_text()).items()}
        return self

    def port(self, service):
        return int(str(self.ports[service]).rsplit(":", 1)[-1])

    def log(self):
        return self.log_file.read_text(errors="replace")[-20000:] if self.log_file.exists() else ""

    def stop(self):
        """SIGTERM; gives back the exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=60)
        self.process = None
        return code

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def remove(self):
        if self.process is not None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def certificate(self):
        return self.data / "tls" / "certificate.pem"

    def tls(self):
        """Trusts this house's self-signed certificate, and its name."""
        return ssl.create_default_context(cafile=str(self.certificate()))


@contextlib.contextmanager
def watched(*servers):
    """Gives the first back. When the test fails, each one's log is shown; at its end a house that still runs must stop
    cleanly; all are removed then."""
    try:
        yield servers[0]
        for server in servers:
            assert not isinstance(server, House) or server.stop() == 0, "the server did not stop cleanly"
    except BaseException:
        for server in servers:
            print(f"---- log of {type(server).__name__}\n{server.log()[-20000:]}")
        raise
    finally:
        for server in servers:
            server.remove()


@contextlib.contextmanager
def house(certified=(), **options):
    with watched(House(**options)) as made:
        if certified:
            made.certify(*certified)
        yield made.start()
