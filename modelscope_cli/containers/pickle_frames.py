"""What of an instruction an unpickler has read when it comes to the end of a frame, and which bytes look like an import.

Since protocol 4 a FRAME says how many bytes are to be read at once. Writers end a frame between two instructions. Where an
instruction goes on behind its end, the unpickler written in C forgets what is left of the frame and reads the operand from the
end of the frame on (Modules/_pickle.c: _Unpickler_ReadImpl, _Unpickler_Readline), unless it reads the file in pieces of its own
(`peek`) and the frame lies in one; pickle.loads reads straight on; the unpickler written in Python gives up.
"""

from __future__ import annotations

import re

FRAME = 0x95
FIXED = {
    0x71: 1, 0x72: 4, 0x68: 1, 0x6A: 4, 0x4B: 1, 0x4D: 2, 0x4A: 4, 0x47: 8, 0x80: 1, 0x82: 1, 0x83: 2, 0x84: 4, FRAME: 8,
}  # fmt: skip
COUNTED = {0x58: 4, 0x8C: 1, 0x8D: 8, 0x54: 4, 0x55: 1, 0x8A: 1, 0x8B: 4}
BYTES = {0x42: 4, 0x43: 1, 0x8E: 8, 0x96: 8}  # whose content is read straight on (_Unpickler_ReadInto)
LINES = {0x63: 2, 0x69: 2, 0x49: 1, 0x4C: 1, 0x46: 1, 0x53: 1, 0x56: 1, 0x67: 1, 0x70: 1, 0x50: 1}
IMPORT = re.compile(
    rb"[ci][A-Za-z_][\w.]{0,400}\n[A-Za-z_][\w.]{0,4000}\n|\x8c.[A-Za-z_][\w.]{0,254}\x94?\x8c.[A-Za-z_][\w.]{0,254}\x94?\x93",
    re.DOTALL,
)


def read_before(data: bytes | bytearray, at: int, end: int) -> int | None:
    """How many bytes of the instruction at `at` are read before a read that goes beyond `end`; None where none does."""
    op = data[at]
    width = FIXED.get(op) or COUNTED.get(op) or BYTES.get(op) or 0
    if at + 1 + width > end:
        return 1
    if op in COUNTED:
        length = int.from_bytes(data[at + 1 : at + 1 + width], "little")
        return 1 + width if at + 1 + width + length > end else None
    begin = at + 1
    for _ in range(LINES.get(op, 0)):
        newline = data.find(b"\n", begin, end)
        if newline < 0:
            return begin - at
        begin = newline + 1
    return None
