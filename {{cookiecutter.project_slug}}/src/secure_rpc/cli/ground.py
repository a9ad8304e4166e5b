"""What policies are held against: settings, methods and their contracts, without a server and without its keys."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2_grpc

from secure_rpc import settings as settings_module
from secure_rpc.call import Method
from secure_rpc.chain import Chain
from secure_rpc.cli.loading import load_application
from secure_rpc.configuration import ConfigurationError
from secure_rpc.known import REFLECTION_METHOD, foreign_contracts, known_to_policy
from secure_rpc.platform import Application
from secure_rpc.policy import cases, document
from secure_rpc.policy.cases import CaseDocument
from secure_rpc.policy.conditions import Conditions
from secure_rpc.policy.contract import Contracts, ForeignContract
from secure_rpc.policy.coverage import Report, Subject, run
from secure_rpc.policy.document import Known, PolicyDocument
from secure_rpc.policy.loading import check_conditions
from secure_rpc.policy.questions import method_named
from secure_rpc.settings import Settings
from secure_rpc.v1 import exchange_pb2, exchange_pb2_grpc, session_pb2, session_pb2_grpc

__all__ = ["Ground"]

CASES_NAME = "policy_test.yaml"
SESSION_SERVICE: str = session_pb2.DESCRIPTOR.services_by_name["SessionService"].full_name
EXCHANGE_SERVICE: str = exchange_pb2.DESCRIPTOR.services_by_name["TokenExchangeService"].full_name


class Ground(NamedTuple):
    """What there is around a policy."""

    settings: Settings
    methods: Sequence[Method]  # that the server has
    others: Sequence[Method]  # that it has with other settings
    known: Known
    conditions: Conditions

    @classmethod
    def of(cls, application: Application, settings: Settings) -> Self:
        """Return what there is around the policy of a service.

        Raises:
            ConfigurationError: a method has no contract, or one that is wrong.
        """
        foreign = foreign_contracts(settings)
        reflection = ForeignContract(permissions=(settings.reflection.permission,))
        contracts = Contracts({REFLECTION_METHOD: reflection, **foreign}, settings.quotas)
        chain = Chain((), contracts.of)
        server = cast("grpc.aio.Server", chain)  # it takes servicers as a server does
        application.add_services(server)
        health_pb2_grpc.add_HealthServicer_to_server(health_pb2_grpc.HealthServicer(), server)
        off = set()
        if not settings.reflection.enabled:
            off.add(REFLECTION_METHOD.rpartition("/")[0][1:])
        if settings.authentication.exchange is None:
            off.add(EXCHANGE_SERVICE)
        if not settings.sessions.refresh:
            off.add(SESSION_SERVICE)
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(  # type: ignore[no-untyped-call]
            reflection_pb2_grpc.ServerReflectionServicer(), server
        )
        servicer: Any = exchange_pb2_grpc.TokenExchangeServiceServicer  # abstract to a type checker; nobody calls it
        exchange_pb2_grpc.add_TokenExchangeServiceServicer_to_server(servicer(), server)
        sessions: Any = session_pb2_grpc.SessionServiceServicer
        session_pb2_grpc.add_SessionServiceServicer_to_server(sessions(), server)
        contracts.check_foreign()
        methods = [method for method in chain.methods if method.service not in off]
        others = [method for method in chain.methods if method.service in off]
        known = known_to_policy(settings, contracts.permissions)
        return cls(settings, methods, others, known, Conditions(chain.methods))

    @property
    def policy_file(self) -> Path:
        """Return where the policy stands."""
        return self.settings.authorization.policy_file

    @property
    def cases_file(self) -> Path:
        """Return where the table of cases stands: beside the policy."""
        return self.policy_file.with_name(CASES_NAME)

    def policy(self, path: Path | None = None) -> PolicyDocument:
        """Return a policy, held against what there is; that of the settings where no path is given.

        Raises:
            ConfigurationError: file, line and remedy of each thing that is wrong.
        """
        return self.hold(document.load(path or self.policy_file))

    def hold(self, policy: PolicyDocument) -> PolicyDocument:
        """Hold a policy against what there is.

        Raises:
            ConfigurationError: file, line and remedy of each thing that is wrong.
        """
        policy.check(self.known)
        check_conditions(policy, self.conditions)
        return policy

    def cases(self, path: Path | None = None) -> CaseDocument:
        """Return a table of cases; that beside the policy where no path is given.

        Raises:
            ConfigurationError: file, line and remedy of each thing that is wrong.
        """
        return cases.load(path or self.cases_file)

    def try_cases(self, policy: Path | None = None, cases_: Path | None = None) -> Report:
        """Try a table of cases on a policy; those of the settings where no path is given.

        Raises:
            ConfigurationError: file, line and remedy of each thing that is wrong.
        """
        subject = Subject(self.policy(policy), self.conditions, self.methods, self.others)
        return run(subject, self.cases(cases_), self.known)

    def method(self, name: str) -> Method:
        """Return a method by its name or path.

        Raises:
            ConfigurationError: there is none, or there are several.
        """
        try:
            return method_named(name, [*self.methods, *self.others])
        except ValueError as error:
            raise ConfigurationError(str(error)) from None


def stand(config: Path, application_module: str) -> Ground:
    """Return what there is around the policy of a service.

    Args:
        config: its settings.
        application_module: holds its `APPLICATION`.

    Raises:
        ConfigurationError: settings or contracts are wrong.
    """
    return Ground.of(load_application(application_module), settings_module.load(config))
