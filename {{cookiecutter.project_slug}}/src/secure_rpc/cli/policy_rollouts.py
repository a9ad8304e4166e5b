"""`policy stage`, `policy promote` and `policy drop`: a candidate beside the policy, in its place, or away again.

They write files; the running server notices by itself. Each file is replaced in one step, so that nobody reads half.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
import yaml
from pydantic import ValidationError

from secure_rpc.cli.ground import Ground
from secure_rpc.cli.people import Config, default_config, told_to_people
from secure_rpc.cli.telling import count, say
from secure_rpc.configuration import ConfigurationError, read_text
from secure_rpc.policy.comparison import compare
from secure_rpc.policy.document import PolicyDocument
from secure_rpc.policy.document import parse as parse_policy
from secure_rpc.policy.keeper import load_rollout
from secure_rpc.policy.shadow import Rollout

MAX_CHANGES = 20  # that are shown
HEADER = "# Written by `policy stage`; `policy promote` and `policy drop` remove it.\n"


def add(app: typer.Typer, ground_of: Callable[[Path], Ground]) -> None:
    """Add the commands."""

    @app.command()
    def stage(
        file: Annotated[Path, typer.Argument(help="The candidate.")],
        config: Config = default_config,
        percent: Annotated[
            float, typer.Option(help="Of callers that it decides for; with 0 it only watches.", min=0, max=100)
        ] = 0.0,
        max_refusal_rise: Annotated[
            float | None, typer.Option(help="Share of its calls that it may refuse anew, from 0 to 1.")
        ] = None,
        minimum_calls: Annotated[int | None, typer.Option(help="That it decides before the share counts.")] = None,
        window_seconds: Annotated[float | None, typer.Option(help="In which calls count.")] = None,
    ) -> None:
        """Put a candidate beside the policy: differences are counted, and it decides for a share of callers."""
        with told_to_people():
            ground = ground_of(config)
            given = {
                "max_refusal_rise": max_refusal_rise,
                "minimum_calls": minimum_calls,
                "window_seconds": window_seconds,
            }
            limits = {key: value for key, value in given.items() if value is not None}
            stage_candidate(ground, file, percent, limits)

    @app.command()
    def promote(config: Config = default_config) -> None:
        """Put the candidate in place of the policy; the policy before is kept beside it."""
        with told_to_people():
            promote_candidate(ground_of(config))

    @app.command()
    def drop(config: Config = default_config) -> None:
        """Take the candidate away; the policy decides alone again."""
        with told_to_people():
            drop_candidate(ground_of(config))


def stage_candidate(ground: Ground, file: Path, percent: float, limits: dict[str, float]) -> None:
    """Check a candidate, and write the rollout file that names it.

    Args:
        ground: what there is around policies.
        file: the candidate.
        percent: of callers that it decides for.
        limits: other keys of the rollout file.

    Raises:
        ConfigurationError: the candidate is not sound, or the rollout file cannot be written.
    """
    rollout_file = _rollout_file(ground)
    if file.resolve() == ground.policy_file.resolve():
        raise ConfigurationError(f"{file}: is the policy that decides already; give another file")
    active, candidate = ground.policy(), ground.policy(file)
    name = os.path.relpath(file.resolve(), rollout_file.parent.resolve())
    try:
        rollout = Rollout.model_validate({"candidate": name, "percent": percent, **limits})
    except ValidationError as error:
        said = "; ".join(f"{found['loc'][0]}: {found['msg']}" for found in error.errors())
        raise ConfigurationError(f"the rollout is not sound: {said}") from None
    content = yaml.safe_dump(rollout.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    replace_file(rollout_file, HEADER + content)
    share = f"decides for {percent:g} % of callers" if percent else "watches and decides for nobody"
    say(f"{file}: candidate {candidate.version} {share}, beside {active.version} ({rollout_file})")
    _tell_changes(active, candidate, ground)
    say("next: `policy promote`, or `policy stage` with another --percent; to go back: `policy drop`")


def promote_candidate(ground: Ground) -> None:
    """Put the candidate in place of the policy.

    Raises:
        ConfigurationError: there is none, it is not sound, or a file cannot be written.
    """
    rollout_file = _rollout_file(ground)
    if not rollout_file.exists():
        raise ConfigurationError(f"{rollout_file}: is not there, so there is no candidate; see `policy stage`")
    path = rollout_file.parent / load_rollout(rollout_file).candidate
    text, before = read_text(path), read_text(ground.policy_file)
    candidate = ground.hold(parse_policy(path, text))
    policy_file = ground.policy_file
    previous = policy_file.with_name(policy_file.name + ".previous")
    if text != before:
        replace_file(previous, before)
        replace_file(policy_file, text)
    _remove(rollout_file)
    say(f"{policy_file}: is now {candidate.version}, as in {path}, which is left where it is")
    if text != before:
        say(f"{previous}: is the policy before; to go back: mv {previous} {policy_file}")


def drop_candidate(ground: Ground) -> None:
    """Take the candidate away; its file is left.

    Raises:
        ConfigurationError: there is none.
    """
    rollout_file = _rollout_file(ground)
    if not rollout_file.exists():
        raise ConfigurationError(f"{rollout_file}: is not there, so there is no candidate to drop")
    _remove(rollout_file)
    say(f"{rollout_file}: is removed; {ground.policy_file} decides alone. To go back: `policy stage`")


def _tell_changes(active: PolicyDocument, candidate: PolicyDocument, ground: Ground) -> None:
    changes = compare(active, candidate, ground.methods)
    if not changes:
        say("nobody gains and nobody loses anything by it")
    say(*map(str, changes[:MAX_CHANGES]))
    if len(changes) > MAX_CHANGES:
        say(f"and {count(len(changes) - MAX_CHANGES, 'more change')}; see `policy diff`")


def _rollout_file(ground: Ground) -> Path:
    file = ground.settings.authorization.rollout_file
    if file is None:
        raise ConfigurationError(
            "authorization.rollout_file: is not set, so no server would look at a candidate; set it"
        )
    return file


def replace_file(path: Path, text: str) -> None:
    """Write a file in one step: whoever reads it finds the text before or this one, whole.

    Raises:
        ConfigurationError: it cannot be written.
    """
    target = path.resolve()  # a link stays a link
    beside = target.with_name(target.name + ".new")
    try:
        beside.unlink(missing_ok=True)
        with beside.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, beside)
        beside.replace(target)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written ({error.strerror}); check the path") from None


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be removed ({error.strerror})") from None
