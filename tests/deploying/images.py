"""Images without a Docker engine: a base by debootstrap, builds by buildah, run by chroot as they stand."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.lacking import lacking
from tools.bake import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Json = dict[str, Any]

TOOLS = ("buildah", "debootstrap", "unshare", "nsenter", "ip", "mount")
PACKAGES = "buildah debootstrap iproute2"
RELEASE, PYTHON = "bookworm", "python3,python3-venv,ca-certificates"
# nothing that runs, and much of what debootstrap leaves
LEFT_OVER = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale", "var/log")
KEPT = ROOT / "build" / "images"  # the base as it was made, and wheels: both take a minute
BASE, BASE_NAME = KEPT / f"{RELEASE}.tar", "localhost/python"
# how this machine's pip reaches its packages
OF_PIP = ("/etc/pip.conf", "/etc/ssl/certs")
PROXIES = ("http_proxy", "https_proxy", "no_proxy")
UNSHARED = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child")
SECONDS, PAUSE_SECONDS = 60.0, 0.1


def needed() -> None:
    """Skip where a tool is missing; fail where that is CI."""
    reason = ""
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        reason = f"{', '.join(missing)} not installed: apt-get install {PACKAGES}"
    elif os.geteuid() != 0:
        reason = "images are built and run by chroot here, which root alone may: run as root, in a container say"
    elif subprocess.run([*UNSHARED, "true"], check=False, capture_output=True).returncode:
        reason = "an image runs in namespaces of its own here, and none can be made: run where unshare may"
    if reason:
        lacking(reason)


def checked(*command: str | Path) -> str:
    """Return what a command prints, once it has ended well."""
    done = subprocess.run(command, check=False, text=True, stdin=subprocess.DEVNULL, capture_output=True)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout.strip()


class Image(NamedTuple):
    """What an image says of itself, and where a copy of its files is."""

    name: str
    config: Json
    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that a process in it has."""
        return dict(entry.split("=", 1) for entry in self.config["Env"])


class Builder:
    """buildah, with a store of its own.

    Args:
        folder: where the store, and all else of it, is.
        wheels: where the packages are that builds install.

    """

    def __init__(self, folder: Path, wheels: Path) -> None:
        self._wheels = wheels
        store, state = folder / "store", folder / "state"
        self._buildah = ["buildah", "--root", str(store), "--runroot", str(state), "--storage-driver", "vfs"]
        self._configuration = folder / "pip.conf"
        self._configuration.write_text("[global]\nno-index = true\nfind-links = /wheels\n", encoding="utf-8")
        self.base = ""

    def __call__(self, *arguments: str | Path) -> str:
        """Run a command of buildah, and return what it prints."""
        return checked(*self._buildah, *arguments)

    @property
    def command(self) -> str:
        """Return what `make image` builds with."""
        mounts = (f"{self._wheels}:/wheels:ro", f"{self._configuration}:/etc/pip.conf:ro")
        volumes = [part for mount in mounts for part in ("--volume", mount)]
        # of Docker's format, for that of OCI has no HEALTHCHECK; the time is what two builds may differ in
        how = ["--isolation", "chroot", "--pull-never", "--format", "docker", "--timestamp", "0"]
        return " ".join([*self._buildah, "bud", *how, *volumes])

    def make_base(self) -> None:
        """Make the image that others are built from, of Debian's packages alone, and name it by its digest."""
        if not BASE.is_file():
            KEPT.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix="base-", dir=KEPT) as name:
                root = Path(name) / "root"
                checked("debootstrap", "--variant=minbase", f"--include={PYTHON}", RELEASE, root)
                for left in LEFT_OVER:
                    shutil.rmtree(root / left)
                    (root / left).mkdir()
                checked("tar", "--numeric-owner", "-C", root, "-cf", f"{name}/base.tar", ".")
                Path(name, "base.tar").replace(BASE)
        container = self("from", "scratch")
        self("add", "-q", container, BASE, "/")
        self("config", "--env", "PATH=/usr/local/bin:/usr/bin:/bin", container)
        self("commit", "-q", "--rm", "--timestamp", "0", container, f"{BASE_NAME}:{RELEASE}")
        self.base = f"{BASE_NAME}@{self('images', '--format', '{{.Digest}}', f'{BASE_NAME}:{RELEASE}')}"

    def fetch(self, locks: Path) -> None:
        """Fetch the packages of `dev.txt`, as the base's own Python chooses them, once for all builds."""
        lock, done = (locks / "dev.txt").read_bytes(), self._wheels / "dev.txt"
        if done.is_file() and done.read_bytes() == lock:
            return
        shutil.rmtree(self._wheels)
        self._wheels.mkdir()
        container = self("from", "--pull-never", self.base)
        mounts = [f"{path}:{path}:ro" for path in OF_PIP if Path(path).exists()]
        mounts += [f"{locks}:/locks:ro", f"{self._wheels}:/wheels"]
        told = {name: value for name, value in os.environ.items() if name.lower() in PROXIES or name == "PIP_CERT"}
        told |= {name: value for name, value in os.environ.items() if name.endswith("INDEX_URL")}
        options = [part for mount in mounts for part in ("--volume", mount)]
        options += [part for name, value in told.items() for part in ("--env", f"{name}={value}")]
        fetching = "python3 -m venv /fetching && /fetching/bin/pip download -q --require-hashes -d /wheels -r /locks/"
        self("run", "--isolation", "chroot", *options, container, "--", "sh", "-c", f"{fetching}dev.txt")
        self("rm", container)
        done.write_bytes(lock)

    def layers(self, name: str) -> list[str]:
        """Return the layers of an image, by the digests of what is in them."""
        layers: list[str] = json.loads(self("inspect", "--type", "image", name))["Docker"]["rootfs"]["diff_ids"]
        return layers

    def image(self, name: str) -> Image:
        """Return an image of the store, and a copy of its files; each takes as much room as the image."""
        said = json.loads(self("inspect", "--type", "image", name))["Docker"]
        container = self("from", "--pull-never", name)
        return Image(name, said["config"], Path(self("mount", container)))


# in namespaces of its own, where loopback is nobody else's; a file system that can be written to in few folders
START = """
set -e
root=$1 user=$2 folder=$3 writable=$4 mounted=$5; shift 5
ip link set lo up
mount --bind "$root" "$root"
for each in $mounted; do mkdir -p "$root${each#*:}"; mount --bind "${each%%:*}" "$root${each#*:}"; done
for each in $writable; do mkdir -p "$root$each"; mount -t tmpfs -o mode=1777 tmpfs "$root$each"; done
mount -t tmpfs tmpfs "$root/dev"
for each in null zero random urandom; do touch "$root/dev/$each"; mount --bind "/dev/$each" "$root/dev/$each"; done
mount -t proc proc "$root/proc"
mount -o remount,bind,ro "$root"
exec chroot --userspec="$user" "$root" env -i sh -c 'cd "$0" && exec env "$@"' "$folder" "$@"
"""


class Container:
    """A process of an image, as a runtime would start it: by its command, environment, user and folder.

    Args:
        image: the image; folders to mount at are made in it.
        log: where its output goes.
        mounted: folders of this machine by where they are mounted; no link leads there.
        writable: folders that are empty, and can be written to.

    """

    def __init__(self, image: Image, log: Path, mounted: Mapping[str, Path], writable: Sequence[str]) -> None:
        self.image, self.log = image, log
        config = image.config
        mounts = " ".join(f"{source}:{target}" for target, source in mounted.items())
        placed = [str(image.root), config["User"], config["WorkingDir"], " ".join(writable), mounts]
        command = [
            *UNSHARED,
            "bash",
            "-c",
            START,
            "start",
            *placed,
            *self._variables(),
            *config["Entrypoint"],
            *config["Cmd"],
        ]
        with log.open("wb") as output:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)

    def _variables(self) -> list[str]:
        return [f"{name}={value}" for name, value in self.image.environment.items()]

    @cached_property
    def pid(self) -> int:
        """Return the process of the image, as it is known outside.

        Raises:
            AssertionError: there is none.

        """
        outer, until = self._process.pid, time.monotonic() + SECONDS
        while not (found := Path(f"/proc/{outer}/task/{outer}/children").read_text(encoding="utf-8").split()):
            assert self._process.poll() is None, self.log.read_text(encoding="utf-8")
            assert time.monotonic() < until, "nothing was started"
            time.sleep(PAUSE_SECONDS)
        return int(found[0])

    def status(self) -> str:
        """Return what the kernel says of it."""
        return Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as the image's user."""
        inside = ["nsenter", "--target", str(self.pid), "--net", "--mount", "chroot"]
        user = f"--userspec={self.image.config['User']}"
        whole: list[str | Path] = [*inside, user, self.image.root, "env", "-i", *self._variables(), *command]
        return subprocess.run(whole, check=False, text=True, capture_output=True)

    def beside(self, *command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a command of this machine that shares nothing with the process but its network."""
        inside = ["nsenter", "--target", str(self.pid), "--net"]
        return subprocess.run([*inside, *command], check=False, text=True, capture_output=True, cwd=cwd)

    def is_healthy(self) -> bool:
        """Tell what the image's own health check says."""
        kind, *command = self.image.config["Healthcheck"]["Test"]
        assert kind == "CMD", "a shell is asked for"
        return self.run(*command).returncode == 0

    def wait(self) -> None:
        """Return when it is healthy.

        Raises:
            AssertionError: it ends, or takes too long.

        """
        until = time.monotonic() + SECONDS
        while not self.is_healthy():
            text = self.log.read_text(encoding="utf-8", errors="replace")
            assert self._process.poll() is None, text
            assert time.monotonic() < until, text
            time.sleep(PAUSE_SECONDS)

    def end(self) -> int:
        """Ask it to end, as a runtime does, and return how it has."""
        os.kill(self.pid, signal.SIGTERM)
        return self._process.wait(SECONDS)

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        self._process.kill()
        self._process.wait()


@contextmanager
def building() -> Iterator[Builder]:
    """Give a builder with its base; all that it has made is gone afterwards, but what is kept."""
    needed()
    (KEPT / "wheels").mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="images-"))
    try:
        builder = Builder(folder, KEPT / "wheels")
        builder.make_base()
        yield builder
    finally:
        shutil.rmtree(folder)
