"""Keep the chosen licence, the files of the chosen CI, and the example where it was chosen.

Standard library only; runs again at every update.
"""

import json
import shutil
from pathlib import Path

ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")
CI_FILES = {"github": (".github",), "gitlab": (".gitlab", ".gitlab-ci.yml")}
LICENCES = Path("licences")
# what stands in place of the example's files where there is none, and what there is then no use for
BARE = Path("without_example")
OF_THE_EXAMPLE = (
    f"src/{ANSWERS['package_name']}/store.py",
    f"tests/unit/{ANSWERS['package_name']}/test_store.py",
    f"tests/integration/{ANSWERS['package_name']}/test_docs.py",
    f"tests/integration/{ANSWERS['package_name']}/test_federation.py",
    "docs/examples/watching_client.py",
)

for provider, names in CI_FILES.items():
    if provider == ANSWERS["ci_provider"]:
        continue
    for path in map(Path, names):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

chosen = LICENCES / f"{ANSWERS['licence']}.txt"
if chosen.is_file():
    chosen.replace("LICENSE")
if LICENCES.is_dir():
    shutil.rmtree(LICENCES)

if ANSWERS["example"] == "none" and BARE.is_dir():
    for name in OF_THE_EXAMPLE:
        Path(name).unlink(missing_ok=True)
    for path in sorted(BARE.rglob("*")):
        if path.is_file():
            path.replace(path.relative_to(BARE))
if BARE.is_dir():
    shutil.rmtree(BARE)
