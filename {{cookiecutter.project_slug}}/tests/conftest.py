import pytest

from secure_rpc.platform import Application

from {{ cookiecutter.package_name }}.app import APPLICATION


@pytest.fixture(scope="session")
def application() -> Application:
    return APPLICATION
