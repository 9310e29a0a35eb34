"""How much a file may ask for. Every length in a file is a claim; these are the claims we are willing to believe.

At the defaults a file, honest or hostile, is answered within ten seconds of the processor and 512 MiB of memory. The words behind each
limit are what `--limit help` and docs/limits.md say.
"""

from __future__ import annotations

from typing import NamedTuple

from modelscope_cli.errors import ModelscopeError


class Limits(NamedTuple):
    """Upper bounds; sizes in bytes, the others counts. Raise one with `--limit NAME=VALUE`."""

    header_bytes: int = 32 << 20  # JSON header of a safetensors file (the format itself allows 100 MB)
    index_bytes: int = 32 << 20  # *.index.json of a sharded set
    directory_bytes: int = 64 << 20  # central directory of a zip archive
    members: int = 400_000  # members of an archive
    pickle_bytes: int = 64 << 20  # one pickle stream, uncompressed
    opcodes: int = 4_000_000  # instructions of one pickle stream (torch.save writes 32 a tensor), or entries of its states
    objects: int = 1_200_000  # containers and calls one pickle stream may create; values of a JSON document that a scan goes through: twice as many
    imports: int = 20_000  # different names that one pickle stream imports; of a file that is scanned: five times as many
    memo: int = 1_500_000  # objects one pickle stream may remember
    nesting: int = 2_000  # depth of objects that are searched for tensors
    nested_files: int = 10_000  # torch.save inside torch.save
    tensors: int = 300_000  # tensors of a checkpoint
    name_characters: int = 32 << 20  # of all tensor and module names together
    dimensions: int = 1_024  # of one tensor (torch itself allows 64)
    parts: int = 4_096  # storages behind one tensor
    shards: int = 10_000  # files of a sharded set
    metadata_items: int = 20_000  # plain values kept for display; the rest is counted
    keys: int = 300_000  # of the metadata of a GGUF file
    array_bytes: int = 128 << 20  # arrays of strings in it, which are walked item by item
    folder_entries: int = 100_000  # files and folders below a folder that was named
    folder_depth: int = 32  # folders in folders that are looked at
    unpacked_bytes: int = 1 << 30  # what members of one archive unpack to, all together
    unpacked_slowly: int = 64 << 20  # the same of bzip2 and xz, which take ten times as long
    archives: int = 100  # archives in an archive that are searched for models (a scan goes by scanned_parts)
    archive_depth: int = 3  # archives in archives that are searched for models (a scan goes by scanned_depth)
    scanned_bytes: int = 192 << 20  # unpacked and run while a file is scanned, all together
    scanned_depth: int = 8  # archives, compressed streams and pickles in one another that a scan goes into
    scanned_parts: int = 40_000  # members and other parts of one file that a scan looks at
    scanned_pickles: int = 2_000  # pickles in a row, templates of a text, hidden members: how many of each a scan follows
    scanned_names: int = 20_000  # different names that the configurations in one file have a program call, all together
    searched_bytes: int = 8 << 20  # of a source, a text or a gap that a scan searches (of JSON and HDF5 up to 128 times)
    template_characters: int = 1 << 18  # of one chat template that a scan judges
    memory_bytes: int = 512 << 20  # that the command may take for one file, with what it takes itself; 0: as much as there is
    seconds: int = 10  # of the processor, to read a file (each of a set anew) and to show what was read; 0: as long as it takes

    def replace(self, assignments: list[str]) -> Limits:
        """These limits with `name=value` assignments applied. Raises ModelscopeError for a name or value that is wrong."""
        changes: dict[str, int] = {}
        for assignment in assignments:
            name, _, value = assignment.partition("=")
            if name not in self._fields:
                raise ModelscopeError(f"no limit is called {name!r}", hint="limits: " + ", ".join(self._fields))
            if not value.replace("_", "").isdecimal():
                raise ModelscopeError(
                    f"the limit {name} needs a whole number, not {value!r}", hint=f"for example --limit {name}=1000000"
                )
            changes[name] = int(value)
        return self._replace(**changes)


DEFAULT_LIMITS = Limits()


def explained() -> list[tuple[str, int, str]]:
    """Name, default and meaning of each limit, as they stand above."""
    import inspect
    import re

    found = re.findall(r"^    (\w+): int = .+?  # (.+)$", inspect.getsource(Limits), re.MULTILINE)
    return [(name, getattr(DEFAULT_LIMITS, name), meaning) for name, meaning in found]
