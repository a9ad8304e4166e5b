"""The command line of the service."""

from secure_rpc.cli import run


def main() -> None:
    """Run it."""
    run("{{ cookiecutter.package_name }}.app")


if __name__ == "__main__":
    main()
