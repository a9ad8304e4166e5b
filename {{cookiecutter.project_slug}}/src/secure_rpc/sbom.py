"""Write what an image of the service is made of, as CycloneDX (ECMA-424): its base, and each package of the lock.

A program of the build, as `proto_build`: nothing that serves imports it. The same lock, base, revision and time give
the same bytes. What the base itself is made of, those who make it say.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    Property,
    XsUri,
)
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement

# where an image may run: a package that none of these asks for is in no image, one that some ask for may be
_LINUX = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
_CPYTHON = {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
_VERSIONS = ("3.11.0", "3.11.14", "3.12.0", "3.13.0", "3.14.0")
_MACHINES = ("x86_64", "aarch64")
_SHA256 = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_NAMED_BY_DIGEST = re.compile(r"(?P<repository>\S+)@sha256:(?P<digest>[0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Package:
    """A package of the lock.

    Args:
        requirement: its name, version and where it is installed.
        hashes: of its files, SHA-256, in hex.
        wanted_by: the packages that it is there for; "-r runtime.in" for the service itself.
    """

    requirement: Requirement
    hashes: tuple[str, ...]
    wanted_by: tuple[str, ...]

    @property
    def purl(self) -> PackageURL:
        """Return its name everywhere (ECMA-427)."""
        (version,) = self.requirement.specifier
        return PackageURL("pypi", None, self.requirement.name, version.version)

    def installed_in(self) -> set[bool]:
        """Return whether images have it: {True}, {False}, or both where it is up to the base."""
        marker = self.requirement.marker
        return {marker is None or marker.evaluate(environment) for environment in _environments()}

    def component(self) -> Component:
        """Return what is said of it."""
        always = self.installed_in() == {True}
        marker = [] if always else [Property(name="python:marker", value=str(self.requirement.marker))]
        files = [HashType(alg=HashAlgorithm.SHA_256, content=each) for each in self.hashes]
        purl = self.purl
        return Component(
            name=purl.name,
            version=purl.version,
            purl=purl,
            bom_ref=str(purl),
            scope=ComponentScope.REQUIRED if always else ComponentScope.OPTIONAL,
            properties=marker,
            # one of these files is installed; which one, its platform decides
            external_references=[
                ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(str(purl)), hashes=files)
            ],
        )


def locked(text: str) -> Iterator[Package]:
    """Yield the packages of a lock, as uv writes it.

    Raises:
        ValueError: one has no hash, or no exact version.
    """
    for entry in re.split(r"\n(?=[^\s#])", re.sub(r"\A(#.*\n)+", "", text)):
        lines = [line.rstrip(" \\") for line in entry.strip().splitlines()]
        hashes = tuple(sorted(_SHA256.findall(entry)))
        comments = (line.strip().removeprefix("#").strip().removeprefix("via").strip() for line in lines[1:])
        wanted_by = tuple(each for each in comments if each and not each.startswith("--hash"))
        requirement = Requirement(lines[0])
        if not hashes or [each.operator for each in requirement.specifier] != ["=="]:
            raise ValueError(f"{lines[0]}: is not locked with a version and hashes; run `make lock`")
        yield Package(requirement, hashes, wanted_by)


def bill(project: Path, lock: Path, base: str, revision: str, time: datetime) -> Bom:
    """Return the bill of an image.

    Args:
        project: pyproject.toml.
        lock: what is installed.
        base: the image it is built from, "repository@sha256:digest".
        revision: of the source.
        time: of that revision.

    Raises:
        ValueError: the base is not named by its digest, or the lock is none.
    """
    about = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    text = lock.read_text(encoding="utf-8")
    packages = [package for package in locked(text) if package.installed_in() != {False}]
    digest = hashlib.sha256(text.encode()).hexdigest()
    purl = PackageURL("generic", None, about["name"], about["version"])
    service = Component(
        name=about["name"],
        version=about["version"],
        type=ComponentType.APPLICATION,
        purl=purl,
        bom_ref=str(purl),
        properties=[Property(name="git:revision", value=revision), Property(name="lock:sha256", value=digest)],
    )
    image, parts = _base(base), {package.purl.name: package.component() for package in packages}
    same = uuid5(NAMESPACE_URL, "\n".join((str(purl), revision, digest, base)))
    bom = Bom(
        components=[image, *parts.values()],
        serial_number=same,
        metadata=BomMetaData(component=service, timestamp=time),
    )
    bom.register_dependency(service, [image, *_wanted_by(f"-r {lock.stem}.in", packages, parts)])
    for name, part in parts.items():
        bom.register_dependency(part, _wanted_by(name, packages, parts))
    return bom


def _base(name: str) -> Component:
    named = _NAMED_BY_DIGEST.fullmatch(name)
    if named is None:
        raise ValueError(f'"{name}" does not name an image by its digest: repository@sha256:...')
    repository, digest = named["repository"], f"sha256:{named['digest']}"
    purl = PackageURL(
        "oci", None, repository.rpartition("/")[2].partition(":")[0], digest, {"repository_url": repository}
    )
    return Component(
        name=repository,
        version=digest,
        type=ComponentType.CONTAINER,
        purl=purl,
        bom_ref=str(purl),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=named["digest"])],
    )


def _wanted_by(name: str, packages: Iterable[Package], parts: dict[str, Component]) -> list[Component]:
    return [parts[package.purl.name] for package in packages if name in package.wanted_by]


def _environments() -> Iterator[dict[str, str]]:
    for version, machine in product(_VERSIONS, _MACHINES):
        python = {"python_full_version": version, "python_version": version.rpartition(".")[0]}
        yield {**_LINUX, **_CPYTHON, **python, "implementation_version": version, "platform_machine": machine}


def main() -> None:
    """Write the bill of an image to a file."""
    parser = argparse.ArgumentParser(prog="make sbom", description=__doc__)
    for name in ("project", "lock", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("base", "revision"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--time", type=int, required=True, help="seconds since 1970, UTC")
    told = parser.parse_args()
    bom = bill(told.project, told.lock, told.base, told.revision, datetime.fromtimestamp(told.time, UTC))
    told.out.parent.mkdir(parents=True, exist_ok=True)
    told.out.write_text(JsonV1Dot6(bom).output_as_string(indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
