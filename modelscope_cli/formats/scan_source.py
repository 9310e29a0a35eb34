"""Python sources: which of them loading a model would run, and TorchScript, which torch's own compiler reads.

    config.json  "auto_map": {"AutoModel": "modeling_x.Model"}    transformers imports modeling_x.py beside it (scan_asked has all such)
    hubconf.py                                                    torch.hub.load runs it
    torch.package                                                 its importer runs the sources of the archive, or of a folder
    MAR-INF/MANIFEST.json  {"model": {"handler": "handler.py"}}   TorchServe imports the handler of the archive that it serves
    handler.py  class EndpointHandler                             Inference Endpoints of Hugging Face import it

A source is never parsed: words tell what would start programs or open connections, and code that loading runs is at least unknown.
They are searched when all else was looked at, so that long ones take no time from pickles. What was compiled before it came along
counts as the source that it stands for (compiled_python): of its words only the names are there.
Facts: torch/hub.py; torch/package/package_importer.py; ts/model_loader.py; huggingface_inference_toolkit/utils.py.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from modelscope_cli.core.place import folders_above
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.formats.compiled_python import COMPILED, kind_of, source_of, telling_names
from modelscope_cli.formats.scan_asked import BY_ENDPOINTS, BY_SAGEMAKER, BY_TRITON, Asking, asked_by_place
from modelscope_cli.formats.scan_package import (
    MANIFESTS,
    is_named,
    module_of,
    package_around,
    roots_of,
    served_around,
    sign_handler,
)
from modelscope_cli.formats.source_words import (
    bare,
    file_operators,
    foreign_classes,
    foreign_operators,
    odd_getattr,
    risky_words,
)

if TYPE_CHECKING:
    from modelscope_cli.containers.zip_directory import Member
    from modelscope_cli.core.window import Window
    from modelscope_cli.formats.scan_zip_members import Archive
    from modelscope_cli.formats.scanning import Walk

HUB = "hubconf.py"
MOST_NAMED = 4  # files that a line names
CODE = "/code/"
SERVERS = {
    "handler.py": b"EndpointHandler",
    "pipeline.py": b"PreTrainedPipeline",
}  # file: the class that a server makes an object of
BY_TORCHSERVE = "TorchServe runs"
SERVING = (BY_ENDPOINTS, BY_SAGEMAKER, BY_TRITON, BY_TORCHSERVE)
# What code that serves a model is there for, among the words that tell: to take pictures and texts out of requests, and fetch them.
OF_SERVERS = re.compile(r"urllib|(?:from )?(?:base64|requests)\b.*", re.DOTALL)


BESIDE, SCRIPT, PACKAGE = "", "script", "package"


class Source(NamedTuple):
    """A Python file: its folder ("" for that of the scanned file), its name, what is searched of it, and what it belongs to.

    Of one that is `compiled`, in words, the names that tell are kept, a line each; `where` is the file, `path` the source it stands for.
    """

    where: str
    folder: str
    name: str
    data: bytes
    kind: str = BESIDE
    compiled: str = ""

    @property
    def text(self) -> str:
        return self.data.decode("utf-8", "replace")

    @property
    def path(self) -> str:
        return source_of(self.where)

    @property
    def what(self) -> str:
        return self.compiled or "Python code"

    @property
    def risky(self) -> list[str]:
        """What in it starts programs, opens connections, or runs other code."""
        return self.text.splitlines() if self.compiled else risky_words(self.text)


def note_source(walk: Walk, where: str, text: str) -> None:
    """Keep a Python file until it is known what names it, but for those that are judged already."""
    if where not in walk.judged:
        keep(walk, where, text.encode("utf-8", "surrogatepass"))


def note_compiled(walk: Walk, window: Window, where: str, head: bytes) -> bool:
    """Keep what Python would take for a compiled module. Returns whether it is one."""
    compiled = kind_of(where or window.name, head, window)
    if not compiled:
        return False
    if where not in walk.judged:
        names = telling_names(window.head(walk.limits.searched_bytes)) if compiled == COMPILED else []
        folder, _, name = where.rpartition("/")
        data = "\n".join(names).encode()
        walk.sources.append(Source(where, folder, name or os.path.basename(walk.found.path), data, BESIDE, compiled))
    return True


def keep(walk: Walk, where: str, data: bytes, kind: str = BESIDE) -> None:
    """Keep a source to be searched in the end, as far as there is room."""
    if len(data) > walk.source_bytes:
        said = "searched up to a limit, which the sources of this file exceed together (--limit searched_bytes=N)"
        walk.unseen(where, f"Python code: {said}")
        data = data[: walk.source_bytes]
    walk.source_bytes -= len(data)
    folder, _, name = where.rpartition("/")
    walk.sources.append(Source(where, folder, name or os.path.basename(walk.found.path), data, kind))


def judge_sources(walk: Walk) -> None:
    """Which of the Python files loading would run, and what they do, once everything was looked at."""
    left: list[Source] = []
    hubs = {source.folder for source in walk.sources if source.name == HUB}
    paths = {source.path for source in walk.sources}
    asking = Asking((*walk.asked, *asked_by_place(paths)), paths.__contains__)
    for source in walk.sources:
        if source.kind == SCRIPT:
            _script(walk, source.where, source.text)
        elif source.kind == PACKAGE or (not source.compiled and _is_packaged(walk, source)):  # which takes sources alone
            if source.kind != PACKAGE:
                walk.sign(
                    "packaged-code",
                    source.where,
                    "Python code of a torch.package that was unpacked: loading the package runs it",
                )
            if found := risky_words(source.text):
                walk.sign("risky-source", source.where, f"Python code that loading runs; it uses {', '.join(found[:5])}")
        elif not _served(walk, source) and not _named(walk, source, asking, hubs):
            left.append(source)
    paths |= {source_of(sign.where) for sign in walk.found.signs if sign.code == "native-code-inside"}
    there: set[str] = set()  # folders with a manifest whose handler is beside it
    for path in paths if walk.served else ():
        there |= {
            root for root in folders_above(path) if root in walk.served and is_named(walk.served[root], path.removeprefix(root))
        }
    for root, manifest in walk.served.items():
        if manifest.handler and root not in there:
            sign_handler(walk, root + "/".join(MANIFESTS[0]), manifest.handler)
    if left and left[0].where:
        names = ", ".join(source.where for source in left[:MOST_NAMED]) + (", …" if len(left) > MOST_NAMED else "")
        count = "a Python file" if len(left) == 1 else f"{len(left):,} Python files"
        why = f"{count}, which nothing beside asks to be loaded: {names}"
        walk.unseen(left[0].folder, why, quiet=True, source=True)


def _is_packaged(walk: Walk, source: Source) -> bool:
    """Whether it is of a torch.package that was unpacked: in a folder, or into an archive of another kind."""
    if not source.where:
        return package_around(walk.found.path) is not None
    root = next((root for root in folders_above(source.where.lower()) if root in walk.packages), None)
    if root is not None:
        walk.found.packaged.add(module_of(source.where, [root]))
    return root is not None


def _served(walk: Walk, source: Source) -> bool:
    """Whether TorchServe can run it, which is told then."""
    if source.where:
        around = [
            (source.path.removeprefix(root), walk.served[root]) for root in folders_above(source.where) if root in walk.served
        ]
    else:
        mine = os.path.abspath(walk.found.path)
        around = [
            (source_of(os.path.relpath(mine, folder).replace(os.sep, "/")), manifest)
            for folder, manifest in served_around(walk.found.path)
        ]
    if not around:
        return False
    named = any(is_named(manifest, path) for path, manifest in around)
    if not named or not _stands_out(walk, source, BY_TORCHSERVE):
        why = (
            "the manifest names it: TorchServe runs it"
            if named
            else "TorchServe serves what is beside it, whose handler can import it"
        )
        walk.sign("loaded-source", source.where, f"{source.what} that serving can run: {why}")
    return True


def _stands_out(walk: Walk, source: Source, by: str) -> bool:
    """Whether something stands out in what somebody runs by its name, which is told then."""
    if source.compiled not in ("", COMPILED):
        walk.sign("native-code-inside", source.where, f"{source.what} that {by}")
    elif (risky := source.risky) and not (by in SERVING and all([OF_SERVERS.fullmatch(word) for word in risky])):
        walk.sign("risky-source", source.where, f"{source.what} that {by}; it uses {', '.join(risky[:5])}")
    else:
        return False
    return True


def _named(walk: Walk, source: Source, asking: Asking, hubs: set[str]) -> bool:
    """Whether a configuration or torch.hub can have it run, which is told then."""
    if source.where:
        found, hub = asking.of(source.path), source.path.rpartition("/")[0] in hubs
    else:
        from modelscope_cli.formats.scan_around import asked_around

        path = source_of(os.path.abspath(walk.found.path))
        found, hub = asked_around(path, walk.limits), os.path.exists(os.path.join(os.path.dirname(path), HUB))
    made = SERVERS.get(source.name, b"")
    served = BY_ENDPOINTS if made and made in source.data else ""
    if found is None and not hub and not served:
        return False
    by = "torch.hub runs" if source.name == HUB else found[0].by if found is not None and found[1] else served
    if by and _stands_out(walk, source, by):
        return True
    asked = found is not None and found[1]
    why = f"a configuration names it, which {by}" if asked else f"{by} it" if by else "hubconf.py stands beside it"
    if not by and found is not None:
        why = f"it stands beside code that {found[0].by}"
    walk.sign("loaded-source", source.where, f"{source.what} that loading can run: {why}")
    return True


def scan_sources(archive: Archive, members: list[Member]) -> None:
    """The .py members of an archive that is TorchScript or a torch.package. torch finds members without regard to case."""
    walk, prefix = archive.walk, archive.prefix
    names = [member.name for member in archive.directory.members]
    scripted = [member for member in members if CODE in f"/{member.name}".lower() and archive.roots]
    packages = roots_of(names)
    by_torch = set(scripted)
    others = [member for member in members if member not in by_torch] if packages else []
    for member in scripted + others:
        walk.judged.add(f"{prefix}{member.name}")
        try:
            data = archive.beginning(member, walk.limits.searched_bytes)
        except ModelscopeError as problem:
            walk.unseen(f"{prefix}{member.name}", problem)
            continue
        keep(walk, f"{prefix}{member.name}", data, SCRIPT if member in by_torch else PACKAGE)
    if scripted:
        walk.found.scripted |= {
            f"{prefix}{_base(member.name)}" for member in scripted if f"{_base(member.name)}constants.pkl" in names
        }
        count = f"{len(scripted):,} {'file' if len(scripted) == 1 else 'files'}"
        walk.sign(
            "torchscript",
            archive.where,
            f"TorchScript code in {count}: torch's own compiler reads it, and running the model runs it",
        )
    if others:
        count = f"{len(others):,} Python {'file' if len(others) == 1 else 'files'}"
        walk.sign("packaged-code", archive.where, f"{count} inside: loading the package runs them")
        walk.found.packaged |= {module_of(member.name, packages) for member in others}


def _base(name: str) -> str:
    """What a member of TorchScript's code stands below: `net/` of net/code/__torch__.py."""
    return name[: f"/{name}".lower().index(CODE)]


def _script(walk: Walk, where: str, text: str) -> None:
    found = file_operators(text)
    if found:
        walk.sign(
            "script-files",
            where,
            f"TorchScript code that calls {', '.join(found[:4])}: it reads or writes files when it is loaded or runs",
        )
    elif odd_getattr(text):
        walk.sign(
            "script-getattr",
            where,
            "TorchScript code that takes an attribute by a text, as torch's own compiler never writes it",
        )
    foreign = foreign_operators(text)
    if foreign:
        walk.sign(
            "script-operators",
            where,
            f"TorchScript code that calls operators of {', '.join(foreign[:4])}, a library that has not been judged",
        )
    classes = foreign_classes(bare(text))
    if classes:
        why = f"TorchScript code that makes objects of {', '.join(classes[:4])}, a library that has not been judged"
        walk.sign("script-operators", where, why)
