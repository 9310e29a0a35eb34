"""Links in a tar: what stays inside the archive and leads to a file of it is another name of that file. No other is followed.

    model.safetensors              hard link to blobs/x          named from the top of the archive
    snap/model.safetensors         symbolic link to ../blobs/x   named from the folder that the link lies in

A link may lead to a link, as a cache of Hugging Face that was packed twice has it. What `tar -x` would make of a link to a folder,
to a place outside or to nothing is not looked at: it is said.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from modelscope_cli.containers.tar_directory import LINKS, SYMBOLIC_LINK, TarMember
from modelscope_cli.core.checkpoint import Note
from modelscope_cli.formats.archive import LONGEST_NAME, Archive, parts_of, some

MOST_STEPS = 40  # from link to link, as Linux has it


def add_links(archive: Archive, members: Iterable[TarMember]) -> None:
    """Adds the names that lead to files of the archive, and a note on those that do not."""
    links = [member for member in members if member.kind in LINKS]
    leads = goals(links)
    lost = []
    for member in links:
        name = "/".join(parts_of(member.name))
        end = end_of(member, leads, archive.files)
        if not name or not end:
            lost.append(member.name)
        elif name in archive.files and name not in archive.links:
            message = f"a file and a link are called {name!r}: the file is read, other programs may take the link"
            archive.notes.append(Note("archive-duplicate", "warning", name, message))
        else:
            archive.links[name] = archive.links.get(end, end)
            archive.files[name] = archive.files[end]
    if lost:
        message = f"links that do not lead to a file of the archive are not followed: {some(lost)}"
        archive.notes.append(Note("archive-links", "info", archive.path, message))


def goals(links: Iterable[TarMember]) -> dict[str, str]:
    """The name that each link leads to next, by its own."""
    return {"/".join(parts_of(link.name)): goal(link) for link in links}


def end_of(link: TarMember, leads: Mapping[str, str], files: Container[str]) -> str:
    """The name of the file that a link leads to in the end; "" where it leads to none."""
    end = goal(link)
    for _ in range(MOST_STEPS):
        if end in files or end not in leads:
            break
        end = leads[end]
    return end if end in files else ""


def goal(link: TarMember) -> str:
    """The name that a link leads to; "" where it leads out of the archive."""
    target = link.target.replace("\\", "/")
    if len(target) > LONGEST_NAME or (link.kind == SYMBOLIC_LINK and target.startswith("/")):
        return ""
    parts = parts_of(link.name)[:-1] if link.kind == SYMBOLIC_LINK else []
    for part in target.split("/"):
        if part == ".." and not parts:
            return ""
        if part == "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
