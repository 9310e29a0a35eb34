"""MLmodel, by which mlflow loads a model: it says which module is imported, and where Python looks for modules first.

    flavors:
      python_function:
        loader_module: mlflow.sklearn      mlflow.pyfunc.load_model imports it and calls its _load_pyfunc
        code: code                         a folder that is put before all others in which Python looks for modules
        model_code_path: agent.py          a file that is run; of its path the last part counts

mlflow asks for no permission. Its own modules read the files of the model, which are looked at by themselves. Two of them import what
a text file of one line names: data/pickle_module_info.txt (mlflow.pytorch) and data/keras_module.txt (mlflow.keras).
Facts: mlflow/pyfunc/__init__.py (load_model), mlflow/utils/model_utils.py (_add_code_from_conf_to_system_path), mlflow/pyfunc/model.py,
mlflow/pytorch/__init__.py, mlflow/keras. mlflow reads MLmodel by yaml.safe_load; here it is searched, as scan_yaml does.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from modelscope_cli.formats.scan_asked import Asked, folder_of, keep_asked
from modelscope_cli.formats.scan_names import NAME, NOTHING
from modelscope_cli.formats.scan_yaml import Search, readings, scan_yaml

if TYPE_CHECKING:
    from modelscope_cli.formats.scanning import Walk

MLMODEL = "MLmodel"
OWN = "mlflow."
BY_MLFLOW = "mlflow runs, without asking"
LOADER, CODE, SOURCE = "loader_module", "code", "model_code_path"
MOST = 100  # values of a key
LINES = {  # texts that name a module, and the modules that they name
    "pickle_module_info.txt": frozenset(("mlflow.pytorch.pickle_module", "pickle", "cloudpickle", "dill")),
    "keras_module.txt": frozenset(("keras", "tensorflow.keras", "tf_keras", "tf.keras")),
}


def scan_mlmodel(walk: Walk, where: str, text: str) -> None:
    """Look at an MLmodel."""
    scan_yaml(walk, where, text)
    asked, named = asked_by_mlflow(folder_of(walk, where), text)
    keep_asked(walk, where, asked)
    if named:
        walk.sign("custom-code", where, f"{MLMODEL}: mlflow imports {', '.join(named[:4])}, without asking")


def scan_module_line(walk: Walk, where: str, text: str) -> None:
    """Look at a text that is the name of a module."""
    name = text.strip()
    if name and not any(name in known for known in LINES.values()):
        walk.sign("custom-code", where, f"mlflow imports the module that it names, without asking: {name[:120]}")


def asked_by_mlflow(folder: str, text: str) -> tuple[list[Asked], list[str]]:
    """What an MLmodel asks for, and what of it is not mlflow's own, in words."""
    loaders = [name for name in _values(text, LOADER) if name is None or not name.startswith(OWN)]
    folders = _values(text, CODE)
    sources = _values(text, SOURCE)
    named = [name or "a module whose name cannot be told" for name in loaders]
    named += [f"what lies in {name}/" if name else "what lies in a folder that cannot be told" for name in folders]
    named += [name or "a file that cannot be told" for name in sources]
    asked: list[Asked] = []
    files = [
        f"{name.replace('.', '/')}{end}" for name in loaders if name and NAME.fullmatch(name) for end in (".py", "/__init__.py")
    ]
    for code in dict.fromkeys((*folders, *([""] if files else []))):
        place = posixpath.normpath(posixpath.join(folder, code or ""))
        place = "" if place == "." else place
        there = frozenset(posixpath.join(place, file) for file in files)
        asked.append(Asked(place, there, BY_MLFLOW, sure=code != "", tree=code != ""))
    if sources:
        run = frozenset(posixpath.join(folder, posixpath.basename(name)) for name in sources if name)
        asked.append(Asked(folder, run, BY_MLFLOW, sure=None in sources))
    return asked, [name[:120] for name in named]


def _values(text: str, key: str) -> list[str | None]:
    """What stands behind a key, wherever it stands; None for what cannot be told."""
    if key not in text and "\\" not in text:
        return []
    found: dict[str | None, None] = {}
    for each in readings(text):
        for value in Search(each, key, nested="").values() if key in each else ():
            if value not in NOTHING:
                found[value] = None
            if len(found) > MOST:
                return [*found, None]
    return list(found)
