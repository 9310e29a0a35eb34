"""Everything in a folder, in groups of what it is for: by what was chosen, by names, and by the first bytes where those do not tell."""

from __future__ import annotations

from modelscope_cli.core.folder import (
    ALIAS,
    HIDDEN,
    IMAGES,
    MODEL,
    ORDER,
    OTHER,
    RUN,
    SAME,
    STEP,
    UNREADABLE,
    Folder,
    FolderEntry,
)
from modelscope_cli.errors import ModelscopeError
from modelscope_cli.formats.archive_paths import open_path
from modelscope_cli.formats.composites import DCP_INDEX
from modelscope_cli.formats.folder_names import Said, by_name, may_hold_a_model
from modelscope_cli.formats.folder_walk import File, Listing

MOST_OPENED = 100  # files whose name does not tell
MOST_LINKS = 8  # told one by one
BLOBS = "blobs"  # of a cache of Hugging Face
HEAD = 1 << 12


class Group:
    """Files of which the same is said."""

    __slots__ = ("files", "names", "nbytes")

    def __init__(self) -> None:
        self.files = 0
        self.names: dict[str, int] = {}  # bytes
        self.nbytes = 0


def describe(
    listing: Listing, said: dict[str, Said], files: list[File], aliases: dict[str, str], *, one_model: bool = True
) -> Folder:
    """The contents of a listed folder. `said` tells of files and of folders (ending in /); the deepest folder counts.

    Where there is but `one_model`, an export is that one again.
    """
    groups: dict[tuple[Said, str], Group] = {}
    of_folders: dict[str, tuple[Said, str] | None] = {"": None}
    opened = 0

    def add(what: Said, name: str, nbytes: int, own: str = "", count: int = 1) -> None:
        group = groups.setdefault((what, own), Group())
        group.files += count
        group.names[name] = group.names.get(name, 0) + nbytes
        group.nbytes += nbytes

    for file in files:
        path = file.path
        known = said.get(path)
        hidden = listing.hidden.get(path)
        if hidden is not None and (known is None or not known.used):
            add(Said(HIDDEN), hidden if hidden == path else hidden + "/", file.nbytes)
            continue
        folder, _, name = path.rpartition("/")
        if known is None:
            within = _of_folder(folder, said, of_folders)
            if within is not None and not (within[0].used and by_name(name) is not None):
                add(within[0], within[1], file.nbytes, within[1] if within[0].what in (STEP, RUN) else "")
                continue
            known = by_name(name)
            if known is not None and known.what == SAME and not one_model:
                known = Said(MODEL, known.why)
        if known is None and (may_hold_a_model(name) or DCP_INDEX.fullmatch(name)):
            known = Said(MODEL, "not looked into: name it to see it")
        if known is None:
            opened += 1
            known = by_head(listing.at(path)) if opened <= MOST_OPENED else Said(OTHER)
        add(known, path, file.nbytes, folder if known.used else path if known.what == STEP else "")
    links = [(path, of) for path, of in aliases.items() if path not in listing.hidden]
    for path, of in links:
        folder = path.rpartition("/")[0]
        if folder == BLOBS or folder.endswith("/" + BLOBS):
            add(Said(ALIAS, "the same files by their checksums"), folder + "/", 0, count=0)
        elif (within := _of_folder(folder, said, of_folders)) is not None:
            add(Said(ALIAS, "what it shares with the files above"), within[1], 0, count=0)
        else:
            add(Said(ALIAS, f"of {of}" if len(links) <= MOST_LINKS else "of files that are counted"), path, 0, count=0)
    for path, kind in listing.special.items():
        add(Said(OTHER, kind), path, 0)
    for path, why in listing.unreadable.items():
        add(Said(UNREADABLE, why), path + "/", 0, count=0)
    entries = [
        FolderEntry(
            what.what,
            tuple(group.names),
            group.files,
            group.nbytes,
            what.why,
            what.used,
            tuple(group.names.values()) if what.used else (),
        )
        for (what, _), group in groups.items()
    ]
    order = {name: position for position, name in enumerate(said)}  # models in the order in which they are shown

    def place(entry: FolderEntry) -> tuple[int, bool, int]:
        return ORDER.index(entry.what), not entry.used, order.get(entry.names[0], 0) if entry.used else -entry.nbytes

    entries.sort(key=place)
    return Folder(listing.root, tuple(entries), listing.cut)


def _of_folder(folder: str, said: dict[str, Said], known: dict[str, tuple[Said, str] | None]) -> tuple[Said, str] | None:
    """What is said of a folder or of the nearest above it, and that folder's name."""
    if folder not in known:
        own = said.get(folder + "/")
        known[folder] = (own, folder + "/") if own is not None else _of_folder(folder.rpartition("/")[0], said, known)
    return known[folder]


def by_head(path: str) -> Said:
    """What a file is whose name does not tell, by its content."""
    from modelscope_cli.formats.catalogue import title_by_head
    from modelscope_cli.formats.known import recognise
    from modelscope_cli.formats.registry import sniff

    try:
        with open_path(path) as window:
            head = window.head(HEAD)
            if not head:
                return Said(OTHER, "empty")
            row = sniff(head, path)
            if row is not None:
                return Said(MODEL, f"{title_by_head(row.name, head)}, by its content: name it to see it")
            found = recognise(window, neighbours=False)
    except ModelscopeError as problem:
        return Said(OTHER, problem.message)
    if found is None:
        return Said(OTHER)
    return Said(IMAGES if found.kind.title.endswith(("image", "picture")) else OTHER, found.kind.title)
