"""`audit`: whether the log is whole, what is in it, proofs of records, sealed files opened, records sent elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from secure_rpc import settings as settings_module
from secure_rpc.audit import filters, proof, sealing, trail
from secure_rpc.audit.anchors import read_anchors
from secure_rpc.audit.checking import Signatures
from secure_rpc.audit.checkpoints import verifier
from secure_rpc.audit.filters import Filter, moment
from secure_rpc.audit.following import Follower
from secure_rpc.audit.segments import SEALED, Unreadable
from secure_rpc.audit.verify import Finding, chains_missing, verify
from secure_rpc.cli import audit_export
from secure_rpc.cli.people import Config, default_config, errors, told_to_people
from secure_rpc.cli.telling import plain, say
from secure_rpc.configuration import ConfigurationError
from secure_rpc.workers.control import audit_files

LOOK_SECONDS = 0.3  # for new records, where they are followed
LINES_AT_ONCE = 1000

Files = Annotated[list[Path] | None, typer.Argument(help="Logs; those of the settings if not given.")]
Keys = Annotated[
    list[Path] | None, typer.Option("--key", help="By which checkpoints are signed; several after a change of keys.")
]
Identity = Annotated[Path | None, typer.Option(help="The X25519 private key that opens sealed files.")]
Pattern = Annotated[str, typer.Option(help="* stands for any text.")]


def commands(_application_module: str = "") -> typer.Typer:
    """Return the commands."""
    app = typer.Typer(no_args_is_help=True)
    app.command("verify")(verify_command)
    app.command("show")(show)
    app.command("prove")(prove)
    app.command("decrypt")(decrypt)
    app.command("export")(audit_export.export)
    return app


def verify_command(  # options
    files: Files = None,
    config: Config = default_config,
    key: Keys = None,
    identity: Identity = None,
    anchors: Annotated[
        list[Path] | None, typer.Option(help="Log lines of the service that were collected elsewhere.")
    ] = None,
    expect: Annotated[
        list[str] | None, typer.Option(help="The id of a chain that there must be, kept elsewhere.")
    ] = None,
) -> None:
    """Check that no record was changed, taken out or cut off, and no log taken away. Exits with 1 where one was."""
    with told_to_people():
        logs = _logs(files, config)
        elsewhere = read_anchors(anchors or ())
        signatures, opens = _signatures(files, config, key), _identity(identity)
        findings = [verify(log, signatures=signatures, identity=opens, anchors=elsewhere) for log in logs]
        for finding in findings:
            show_finding(finding, is_signed=signatures is not None)
        missing = chains_missing(findings, [*elsewhere, *(expect or ())])
        for chain in missing:
            errors.print(
                f"chain {chain}: MISSING: none of the logs has it; it was taken away", style="red", markup=False
            )
        if missing or not all(finding.whole for finding in findings):
            raise typer.Exit(1)


def show(  # noqa: PLR0913, PLR0917  # options
    files: Files = None,
    config: Config = default_config,
    since: Annotated[str, typer.Option(help='Such as "2026-01-31T12:00", or "2h" ago.')] = "",
    until: Annotated[str, typer.Option(help="Likewise.")] = "",
    principal: Annotated[str, typer.Option(help='A subject, a workload, or "issuer subject"; * is any text.')] = "",
    method: Annotated[str, typer.Option(help="Its name or its path; * is any text.")] = "",
    code: Pattern = "",
    reason: Pattern = "",
    tenant: Pattern = "",
    call_id: Annotated[str, typer.Option(help="The correlation id that the caller was told.")] = "",
    event: Annotated[str, typer.Option(help='"call", or what was done to the service; * is any text.')] = "",
    table: Annotated[  # noqa: FBT002  # an option
        bool, typer.Option("--table", help="For people, a line each; else the records as they are.")
    ] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Wait for more.")] = False,  # noqa: FBT002  # an option
    identity: Identity = None,
) -> None:
    """Print records, of all workers, by their time. Whether they are as they were written, `audit verify` tells."""
    with told_to_people():
        wanted = Filter(
            moment(since, "--since"), moment(until, "--until"), principal, method, code, reason, tenant, call_id, event
        )
        opens = _identity(identity)
        logs = [log for log in _logs(files, config) if files or log.exists()]
        found = _followed(logs, opens) if follow else trail.merged(trail.lines_of(log, opens) for log in logs)
        for line in found:
            if wanted.wants(line.content):
                _print(line, table=table)


def prove(
    call_id: Annotated[str, typer.Argument(help="Of the call; not needed with --check.")] = "",
    files: Files = None,
    config: Config = default_config,
    check: Annotated[
        Path | None, typer.Option(help="A proof that was made before, held against the key alone.")
    ] = None,
    key: Keys = None,
    identity: Identity = None,
) -> None:
    """Print what shows that the record of a call is in the signed chain, or check it. Exits with 1 where it is not."""
    with told_to_people():
        if check is not None:
            _check(check, files, config, key)
            return
        if not call_id:
            raise ConfigurationError("name a call, or a proof by --check")
        for log in _logs(files, config):
            if log.exists() and (made := proof.prove(log, call_id, _identity(identity))) is not None:
                sys.stdout.write(made.encoded().decode())
                return
        errors.print(f"no log has a record of the call {call_id}", style="red", markup=False)
        raise typer.Exit(1)


def decrypt(
    file: Annotated[Path, typer.Argument(help="A closed file that ends with .sealed.")],
    identity: Annotated[Path, typer.Option(help="The X25519 private key.")],
    output: Annotated[Path | None, typer.Option(help="Where to; beside it, without .sealed, if not given.")] = None,
) -> None:
    """Open a sealed file. What was changed is not written."""
    with told_to_people():
        if output is None and file.suffix != SEALED:
            raise ConfigurationError(f"{file}: does not end with {SEALED}; say by --output where to write")
        opens, target = sealing.identity(identity), output or file.with_suffix("")
        beside = target.with_name(target.name + ".part")
        try:
            with file.open("rb") as sealed, beside.open("xb") as opened:
                for piece in sealing.opened(sealed, opens):
                    opened.write(piece)
            beside.rename(target)
        except Unreadable as error:
            beside.unlink(missing_ok=True)
            raise ConfigurationError(f"{file}: {error}") from None
        say(f"written to {target}")


def show_finding(finding: Finding, *, is_signed: bool = False) -> None:
    """Say what a verification has found."""
    if not finding.whole:
        errors.print(f"{finding.place}: NOT WHOLE: {plain(finding.problem)}", style="red", markup=False)
        return
    codes = ", ".join(f"{plain(code)} {count}" for code, count in finding.codes.most_common())
    typer.echo(f"{finding.path}: whole, {finding.records} calls ({codes or 'none'}) in {finding.lines} lines")
    notes = [f"chain {plain(finding.chain)}"]
    if finding.begins_at > 1:
        notes.append(f"begins at line {finding.begins_at}: older files were retired")
    if is_signed:
        notes.append(f"signed up to line {finding.signed}")
    if finding.anchored:
        notes.append(f"{finding.anchored} anchors from elsewhere fit")
    if finding.unread:
        notes.append(f"{finding.unread} lines are sealed and were not read: give --identity")
    typer.echo(f"  {'; '.join(notes)}")


def _logs(files: list[Path] | None, config: Path) -> list[Path]:
    return files or audit_files(settings_module.load(config))


def _identity(file: Path | None) -> X25519PrivateKey | None:
    return None if file is None else sealing.identity(file)


def _signatures(files: list[Path] | None, config: Path, keys: list[Path] | None) -> Signatures | None:
    """Return what checks signatures: by the keys that are named, and that of the settings where those name the logs."""
    verifiers = [verifier(key) for key in keys or ()]
    own = None if files else settings_module.load(config).audit.checkpoint_key_file
    if own is not None:
        verifiers.append(verifier(own, "audit.checkpoint_key_file"))
    return Signatures(verifiers) if verifiers else None


def _check(file: Path, files: list[Path] | None, config: Path, keys: list[Path] | None) -> None:
    signatures = _signatures([file] if keys else files, config, keys)
    if signatures is None:
        raise ConfigurationError("the key is needed by which the checkpoint is signed; name it by --key")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read ({error.strerror}); check the path") from None
    record, problem = proof.check(content, signatures)
    if problem:
        errors.print(f"{file}: PROVES NOTHING: {plain(problem)}", style="red", markup=False)
        raise typer.Exit(1)
    say(f"{file}: proves line {record['seq']} of chain {record['chain']}:", "  " + "  ".join(filters.row(record)))


def _followed(logs: list[Path], identity: X25519PrivateKey | None) -> Iterator[trail.Line]:
    followers = [Follower(log, identity=identity) for log in logs]
    while True:
        lines = [line for follower in followers for line in follower.read(LINES_AT_ONCE)]
        yield from sorted(lines, key=lambda line: line.time)
        if not lines:
            time.sleep(LOOK_SECONDS)


def _print(line: trail.Line, *, table: bool) -> None:
    """Print a record as it is, or its columns; flushed, for those who read along."""
    text = "  ".join(map(plain, filters.row(line.content))) if table else line.raw.decode("utf-8", "replace")
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
