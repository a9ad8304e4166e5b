"""The commands about drills: list them, run one."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
import uvloop
import yaml

from secure_rpc.cli import calling
from secure_rpc.cli.loading import load_application
from secure_rpc.cli.methods import methods_of
from secure_rpc.cli.people import CallersFile, Config, default_callers, default_config, told_to_people
from secure_rpc.cli.telling import rows, say
from secure_rpc.configuration import ConfigurationError, did_you_mean
from secure_rpc.drills import report
from secure_rpc.drills.catalogue import DRILLS
from secure_rpc.drills.plan import Plan

EDGE = "edge"  # begins the name of a value of the edge, in the place of a setting
DATA = '{"tenant": "acme", "id": "1"}'


def commands(application_module: str) -> typer.Typer:
    """Return the commands about drills of the service whose `APPLICATION` stands in the module."""
    drill = typer.Typer(no_args_is_help=True)

    @drill.command("list")
    def list_drills() -> None:
        """Say which there are."""
        rows(("drill", "shows that"), [(name, each.description) for name, each in DRILLS.items()])
        absent = [(name, reason) for name, each in DRILLS.items() if (reason := each.missing())]
        say(*(f"{name} cannot be run here: {reason}" for name, reason in absent), style="yellow")

    @drill.command("run")
    def run_drill(  # noqa: PLR0913, PLR0917  # each is an option
        names: Annotated[list[str], typer.Argument(help="Their names, or `all`; `drill list` has them.")],
        config: Config = default_config,
        callers: CallersFile = default_callers,
        caller: Annotated[str, typer.Option("--as", help="Who calls.")] = "alice",
        method: Annotated[
            list[str] | None, typer.Option(help="What is called; again for more. Those that fit if not given.")
        ] = None,
        data: Annotated[str, typer.Option(help="The request in JSON; a method takes the fields it knows.")] = DATA,
        rate: Annotated[float, typer.Option(min=1.0, max=2000.0, help="Unary calls a second.")] = 200.0,
        step_seconds: Annotated[float, typer.Option(min=0.0, help="How long each step is watched.")] = 3.0,
        channels: Annotated[int, typer.Option(min=1, max=64, help="Connections that the calls are made on.")] = 4,
        setting: Annotated[
            list[str] | None, typer.Option("--set", help="A setting that is weakened, to see a drill fail: key=value.")
        ] = None,
        report_folder: Annotated[
            Path | None, typer.Option("--report", help="A folder to write a page and a picture of each to.")
        ] = None,
        json: Annotated[Path | None, typer.Option(help="A file to write the figures to.")] = None,
    ) -> None:
        """Run drills on a copy of the service of development; exits with 1 where one shows something else."""
        passed = True
        with told_to_people():
            chosen_drills = list(DRILLS) if names == ["all"] else names
            for name in chosen_drills:
                if name not in DRILLS:
                    raise ConfigurationError(f'there is no drill "{name}"; {did_you_mean(name, DRILLS)}')
            methods = methods_of(load_application(application_module))
            chosen = [calling.find(methods, each) for each in method or ()]
            weakened = _settings(setting or ())
            plan = Plan(
                module=served_module(application_module),
                config=config,
                callers=callers,
                caller=caller,
                methods=chosen or list(methods.values()),
                data=data,
                every_method=list(methods.values()),
                rate=rate,
                step_seconds=step_seconds,
                channels=channels,
                say=say,
                environment={},
                edge=weakened.pop(EDGE, {}),
                settings=weakened,
            )
            figures: dict[str, Any] = {}
            for name in chosen_drills:
                say(f"== {name}: {DRILLS[name].description}")
                if reason := _left_out(name, names):
                    say(f"skipped: {reason}", style="yellow")
                    figures[name] = {"passed": None, "skipped": reason}
                    continue
                outcome = uvloop.run(DRILLS[name].run(plan))
                rows(outcome.header, outcome.rows)
                say(*outcome.problems, style="red")
                say("passed" if not outcome.problems else "NOT PASSED")
                passed = passed and not outcome.problems
                figures[name] = {"passed": not outcome.problems, "problems": outcome.problems, **outcome.data}
                if report_folder is not None:
                    page = report.write(report_folder, name, DRILLS[name].description, outcome.problems, outcome.data)
                    say(f"written: {page}")
        if json is not None:
            json.write_bytes(orjson.dumps(figures, option=orjson.OPT_INDENT_2))
        sys.exit(0 if passed else 1)

    return drill


def _left_out(name: str, asked: Sequence[str]) -> str:
    """Return why a drill is left out: it cannot be run here, nobody asked for it by its name, and it is not for CI."""
    return "" if name in asked or os.environ.get("CI") else DRILLS[name].missing()


def _settings(texts: Sequence[str]) -> dict[str, Any]:
    """Return settings, nested, from texts such as "limits.max_connections=5".

    Raises:
        ConfigurationError: a text is none.
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not (sign and key):
            raise ConfigurationError(f'--set "{text}": is not key=value, such as limits.max_connections=5')
        *outer, last = key.split(".")
        inner = found
        for part in outer:
            inner = inner.setdefault(part, {})
        inner[last] = yaml.safe_load(value)
    return found


def served_module(application_module: str) -> str:
    """Return what is run as `python -m` to serve: the package of the application."""
    return application_module.partition(".")[0]
