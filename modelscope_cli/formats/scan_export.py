"""torch.export archives (.pt2) and the compiled code in them; compiled code inside other files.

    archive_format                                        says that it is one
    models/NAME.json, serialized_exported_program.json    programs, which scan_text hands to scan_program: any member of models/ is one
    data/aotinductor/NAME/*.so, *.cpp                     loaded as a library, or compiled and then loaded

Facts: torch/export/pt2_archive/_package.py, torch/csrc/inductor/aoti_package/model_package_loader.cpp.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelscope_cli.core.window import Window
    from modelscope_cli.formats.scan_zip_members import Archive
    from modelscope_cli.formats.scanning import Walk

MOST_SHOWN = 4
PROGRAM = re.compile(
    r"(?:.*/)?(?:archive_format|models/[^/]+\.json|serialized_exported_program\.json|data/aotinductor/.+)",
    re.DOTALL | re.IGNORECASE,
)
COMPILED = re.compile(
    r"(?:.*/)?data/aotinductor/.+\.(?:so|dylib|dll|pyd|a|o|obj|lib|c|cc|cpp|cu|h)(?:\.\d+)*", re.DOTALL | re.IGNORECASE
)
ELF, WASM = b"\x7fELF", b"\0asm\1\0\0\0"
MACH_O = re.compile(rb"\xfe\xed\xfa[\xce\xcf]|[\xce\xcf]\xfa\xed\xfe|\xca\xfe\xba[\xbe\xbf]\0\0\0[\x01-\x1e]")
PE_HEADER = 0x3C  # where the offset of "PE\0\0" stands


def scan_export(archive: Archive) -> None:
    """Note that an archive is a program of torch.export, and its compiled code."""
    members = archive.directory.members
    if not any(PROGRAM.fullmatch(member.name) for member in members):
        return
    walk = archive.walk
    walk.programs.append(archive.prefix)
    compiled = [member.name for member in members if COMPILED.fullmatch(member.name)]
    walk.judged.update(f"{archive.prefix}{name}" for name in compiled)
    if compiled:
        shown = ", ".join(name.rpartition("/")[2] for name in compiled[:MOST_SHOWN]) + (
            ", …" if len(compiled) > MOST_SHOWN else ""
        )
        walk.sign("native-code", archive.where, f"compiled code (AOTInductor), which loading the package runs: {shown}")


def scan_native(walk: Walk, where: str, kind: str) -> None:
    """Compiled code inside another file."""
    if where in walk.judged:
        return
    if any(where.startswith(prefix) for prefix in walk.programs):
        walk.sign("native-code", where, f"{kind} in an archive of torch.export, which can load it")
    else:
        walk.sign("native-code-inside", where, f"{kind} packed beside the model")


def native_kind(head: bytes, window: Window) -> str | None:
    """What kind of compiled code begins so; None for none."""
    if head.startswith(ELF):
        return "compiled code (ELF)"
    if head.startswith(WASM):
        return "compiled code (WebAssembly)"
    if MACH_O.match(head):
        return "compiled code (Mach-O)"
    if head.startswith(b"MZ") and len(head) >= PE_HEADER + 4:
        at = int.from_bytes(head[PE_HEADER : PE_HEADER + 4], "little")
        if at + 4 <= window.size and window.read(at, 4) == b"PE\0\0":
            return "compiled code (PE)"
    return None
