"""A control: a promise to whoever must trust the service, with all that stands behind it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Control:
    """One thing that the service does so that it can be trusted.

    Attributes:
        id: the letter of its area and a number; it never changes, and is an anchor of the page.
        title: in a few words.
        text: what holds, in a sentence.
        code: files and folders that do it, from the root of the repository.
        tests: tests of the platform that fail without it, `file::name`.
        template_tests: tests of the template that fail without it; they need what a service does not have at hand, such
            as Envoy, a browser or a provider of logins, and are run before a version of the template is released.
        metrics: by which it is counted, as they are served.
        alerts: that fire when it is tried or fails; each has a runbook of its own name.
        runbooks: procedures that belong to it, by the names of their pages.
        drills: that show it under a fault.
        checks: of `doctor`, that tell whether it is in force here.
        note: what a reader would ask: why there is no number, or where it ends.
    """

    id: str
    title: str
    text: str
    code: tuple[str, ...]
    tests: tuple[str, ...] = ()
    template_tests: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    alerts: tuple[str, ...] = ()
    runbooks: tuple[str, ...] = ()
    drills: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Area:
    """Controls that belong together; their ids begin with one letter."""

    title: str
    text: str  # what they are about, in a sentence
    controls: tuple[Control, ...]
