"""A disk whose power can be cut: ext4 with a journal in a loop file, and the kernel's shutdown of a file system.

The cut is EXT4_IOC_SHUTDOWN without a flush of the log: what was not synced is gone, as after a power failure; with
commit=300 the journal does not help along. Every process that writes is stopped before (SIGSTOP, and each of its threads
seen to be stopped), because a sync that is under way while the file system shuts down may report success falsely.
"""
import array
import contextlib
import fcntl
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
STOP_SECONDS_MAX = 20


def why_not():
    """A sentence where power cuts cannot be made here, else None."""
    if os.geteuid() != 0:
        return "mounting a loop device needs root"
    for program in ("mkfs.ext4", "mount", "umount", "losetup"):
        if not shutil.which(program):
            return f"{program} is not installed"
    if not os.path.exists("/dev/loop-control"):
        return "there are no loop devices"
    if "ext4" not in pathlib.Path("/proc/filesystems").read_text():
        return "the kernel has no ext4"
    try:
        with Volume(32) as volume:
            (volume.path / "lost").write_text("not synced")
            volume.cut()
            volume.mount()
            if (volume.path / "lost").exists():
                return "the file system keeps what was not synced over its shutdown"
    except (OSError, subprocess.CalledProcessError) as refused:
        return f"the shutdown of a file system does not work: {refused}"
    return None


def run(*words):
    subprocess.run(words, check=True, capture_output=True)


class Volume:
    """An ext4 of `mebi` MiB at .path; the file behind it lies in memory where it can, so that trials are quick."""

    def __init__(self, mebi):
        memory = pathlib.Path("/dev/shm")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="posthouse-disk-", dir=memory if memory.is_dir() else None))
        self.image, self.path = self.folder / "image", self.folder / "mount"
        self.path.mkdir()
        self.mebi, self.mounted = mebi, False
        self.make()

    def make(self):
        """Empty again."""
        with open(self.image, "wb") as image:
            image.truncate(self.mebi << 20)
        run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(self.image))
        self.mount()

    def mount(self):
        run("mount", "-o", "loop,commit=300", str(self.image), str(self.path))
        self.mounted = True

    def shut_down(self):
        """The cut itself; whoever has files open there gets errors from now on."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, array.array("I", [NO_LOG_FLUSH]))
        finally:
            os.close(descriptor)

    def unmount(self):
        # A process that was killed lets go of its files a moment after it was waited for.
        end = time.monotonic() + STOP_SECONDS_MAX
        while (done := subprocess.run(["umount", str(self.path)], capture_output=True, text=True)).returncode != 0:
            if time.monotonic() > end:
                raise RuntimeError(f"{done.stderr.strip()}; files are open there: {holders(self.path)}")
            time.sleep(0.01)
        self.mounted = False

    def cut(self):
        self.shut_down()
        self.unmount()

    def free(self):
        facts = os.statvfs(self.path)
        return facts.f_bavail * facts.f_frsize

    def sync(self):
        run("sync", "-f", str(self.path))

    def remove(self):
        if self.mounted:
            self.unmount()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()


def holders(path):
    """Which processes have files open below a folder, and which files."""
    out = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        names = set()
        with contextlib.suppress(OSError):
            names |= {link for link in process.glob("fd/*")} | {process / "cwd", process / "root"}
        files = set()
        for link in names:
            with contextlib.suppress(OSError):
                files.add(os.readlink(link))
        with contextlib.suppress(OSError):
            files |= {"/" + line.partition("/")[2].strip() for line in open(process / "maps") if "/" in line}
        out += [(process.name, name) for name in sorted(files) if name.startswith(str(path))]
    return out


def states(pid):
    """The state letter of each thread of a process; empty when it is gone."""
    out = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                text = pathlib.Path(f"/proc/{pid}/task/{task}/stat").read_text()
                out.append(text.rpartition(")")[2].split()[0])
    return out


def is_stopped(pid):
    return all(state in "TtZX" for state in states(pid))


def freeze(pids):
    """Stops the processes and waits until each of their threads stands still (or the process has ended)."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    end = time.monotonic() + STOP_SECONDS_MAX
    while not all(is_stopped(pid) for pid in pids):
        if time.monotonic() > end:
            raise RuntimeError(f"processes {pids} do not stop: {[states(pid) for pid in pids]}")
        time.sleep(0.001)
