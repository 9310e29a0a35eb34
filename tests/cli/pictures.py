"""Run `mscope visualize` here and look at what it wrote."""

from __future__ import annotations

from tests.command import Done, mscope, words

STARTS = {"pdf": b"%PDF-", "svg": b"<?xml", "png": b"\x89PNG\r\n\x1a\n", "html": b"<!doctype html>", "dot": b"//"}
FORMATS = tuple(STARTS)
PICTURES = ("pdf", "svg", "png", "dot")
TWO = "model-00002-of-00002.safetensors"


def visualize(*arguments: object, code: int = 0, **options) -> Done:
    """The command, which never shows a traceback and says one sentence a line."""
    done = mscope("visualize", *arguments, **options)
    assert done.code == code, done
    assert "Traceback" not in done.out + done.err
    if code != 2:
        assert all(line.startswith("mscope: ") for line in done.err.splitlines()), done.err
    return done


def refused(*arguments: object, said: tuple[str, ...]) -> None:
    """Wrong usage: exit code 2, nothing on stdout, and the words that help."""
    done = visualize(*arguments, code=2)
    assert done.out == ""
    for part in said:
        assert part in words(done.err), words(done.err)


def is_a(format: str, data: bytes) -> bool:
    return data.lower().startswith(STARTS[format].lower())
