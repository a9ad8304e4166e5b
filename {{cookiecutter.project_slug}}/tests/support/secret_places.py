"""Every place in which a service is given a secret, and every place in which it, or its command, says something."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson

from secure_rpc.confidential import KeyringFile, new_key
from secure_rpc.confidential import save as save_keyring
from secure_rpc.identity.api_key import new_key as new_api_key
from secure_rpc.identity.api_key import save as save_api_keys

from support.https import HttpsServer
from support.processes import PROBE, PROBED, Served
from support.target import AUDIENCE, ISSUER

ADMIN_PATHS = ("/metrics", "/readyz", "/healthz", "/debug", "/")
COMMANDS = (
    ("audit", "show"),
    ("audit", "show", "--table"),
    ("audit", "verify"),
    ("apikey", "list"),
    ("keyring", "list"),
    ("pki", "status"),
    ("policy", "check"),
    ("token", "inspect"),
)


@dataclass
class Places:
    """The files of a service that hold secrets.

    Args:
        folder: where they are.
        store_password: of the store that replicas share.
        client_secret: proves to an issuer who we are.
        checkpoint_secret: signs the audit.
    """

    folder: Path
    store_password: str
    client_secret: str
    checkpoint_secret: str
    api_key: str = field(init=False)
    keyring: KeyringFile = field(init=False)

    def __post_init__(self) -> None:
        for name in ("store_password", "client_secret", "checkpoint_secret"):
            (self.folder / name).write_text(getattr(self, name), encoding="utf-8")
        self.api_key, entry = new_api_key("batch", datetime.now(UTC) + timedelta(days=1), ("acme",), ("callers",))
        save_api_keys(self.folder / "api_keys.yaml", {self.api_key.partition(".")[0]: entry})
        self.keyring = KeyringFile(active="k1", keys={"k1": new_key()[1]})
        save_keyring(self.folder / "keyring.yaml", self.keyring)

    @property
    def secrets(self) -> set[str]:
        """Return what is in them, and nobody may see."""
        return {
            *(self.store_password, self.client_secret, self.checkpoint_secret),
            *(self.api_key, *self.keyring.keys.values()),
        }

    def settings(self, issuers_server: HttpsServer) -> dict[str, Any]:
        """Return the settings of a service that reads all of them."""
        own = {"issuer": ISSUER, "jwks_file": str(self.folder / "dev" / "jwks.json"), "audiences": [AUDIENCE]}
        introspection = {
            "url": f"{issuers_server.url}/introspect",
            "client_id": "probe",
            "client_secret_file": str(self.folder / "client_secret"),
        }
        opaque = {
            "issuer": "https://opaque.example.org",
            "audiences": [AUDIENCE],
            "fetch": {"ca_file": str(issuers_server.ca_file)},
            "introspection": introspection,
        }
        return {
            "authentication": {
                "credentials": ["both", "api_key"],
                "api_keys_file": str(self.folder / "api_keys.yaml"),
                "issuers": [own, opaque],
            },
            "integrity": {"keyring_file": str(self.folder / "keyring.yaml")},
            "audit": {"checkpoint_key_file": str(self.folder / "checkpoint_secret")},
            "revocation": {"refuse_when_shared_stale": False},  # what they share is not to be had here
            "state": {"redis_url": "redis://127.0.0.1:1/0", "password_file": str(self.folder / "store_password")},
        }


async def told_by_admin(served: Served) -> str:
    """Return all that the admin port says, of what is there and what is not."""
    async with httpx.AsyncClient(base_url=f"http://{await served.process.admin()}") as admin:
        found = [await admin.get(path) for path in ADMIN_PATHS]
    return "\n".join(f"{answer.headers} {answer.text}" for answer in found)


async def told_by_commands(folder: Path, module: str, token: str, misplaced: dict[str, str]) -> str:
    """Return all that the commands say, by the settings of a service; and starts that fail, of wrong settings.

    Args:
        folder: of the settings.
        module: whose chain is served.
        token: is inspected.
        misplaced: secrets in settings where they do not belong.
    """
    settings = folder / "settings.yaml"
    usual = {"PYTHONPATH": os.pathsep.join(sys.path), PROBED: module, "SECURE_RPC_CONFIG": str(settings)}

    async def say(*arguments: str, **more: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", PROBE, *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **usual, **more},
        )
        said, _ = await process.communicate(token.encode())
        return f"{arguments} {process.returncode}\n{said.decode()}"

    said = [await say(*command) for command in COMMANDS]
    said += [await say("serve", **{name: secret}) for name, secret in misplaced.items()]
    wrong = orjson.loads(settings.read_bytes())
    wrong["tls"] = {**wrong["tls"], "unknown": next(iter(misplaced.values()))}
    settings.write_bytes(orjson.dumps(wrong))
    said.append(await say("serve"))
    return "\n".join(said)
