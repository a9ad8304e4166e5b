from pathlib import Path

from secure_rpc.cli.ground import Ground
from secure_rpc.platform import Application
from secure_rpc.settings import load

CONFIG = Path("config/dev.yaml")


def test_the_policy_says_what_its_table_expects_and_no_method_or_binding_is_left_out(application: Application) -> None:
    report = Ground.of(application, load(CONFIG)).try_cases()
    assert [f"{failure.trial.place}: {failure.trial}: {failure.answer.rule}" for failure in report.failures] == []
    assert [f"{missing.what}; {missing.add}" for missing in report.missing] == []
