"""What the checks look at: all of it is read before the first of them, and nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from secure_rpc.call import Method
from secure_rpc.doctor.manifests import Manifests
from secure_rpc.doctor.running import Running
from secure_rpc.doctor.waivers import Waiver
from secure_rpc.policy.coverage import Report
from secure_rpc.policy.document import PolicyDocument
from secure_rpc.settings import Settings
from secure_rpc.template import Releases


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a service."""

    settings: Settings  # with what the manifests set over the file
    methods: Sequence[Method] = ()  # that the server has
    root: Path = Path()  # of the repository
    policy: PolicyDocument | None = None
    policy_problem: str = ""  # why there is none
    cases: Report | None = None  # what came of policy_test.yaml
    cases_problem: str = ""
    manifests: Manifests | None = None
    no_manifests_because: str = "no manifests were named"
    waivers: Sequence[Waiver] = ()
    running: Running | None = None
    releases: Releases | None = None  # of the template; None where nobody asked
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def replicas(self) -> int:
        """Return how many processes take calls at once, at least, on all machines together."""
        pods = self.manifests.replicas if self.manifests is not None else 1
        return pods * self.settings.workers
