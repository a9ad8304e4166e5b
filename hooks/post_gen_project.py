"""Keep the chosen licence and the files of the chosen CI. Standard library only; runs again at every update."""

import json
import shutil
from pathlib import Path

ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")
CI_FILES = {"github": (".github",), "gitlab": (".gitlab", ".gitlab-ci.yml")}
LICENCES = Path("licences")

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
