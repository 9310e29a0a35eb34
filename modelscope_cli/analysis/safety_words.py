"""A verdict in a sentence that fits what it rests on: what would run the file's program, or why nobody can say.

Loading a pickle runs it. A chat template is run by whoever renders it, a graph by whoever runs the model, and a file that is cut
short runs nothing: it only cannot be judged.
"""

from __future__ import annotations

from modelscope_cli.analysis.allowed import allowed_in
from modelscope_cli.analysis.safety import Safety
from modelscope_cli.core.scan_codes import DANGEROUS, SAFE, SUSPICIOUS, UNKNOWN

MEANINGS = {
    SAFE: "loading it executes nothing but what weights need",
    UNKNOWN: "loading it may execute what nobody has judged",
    SUSPICIOUS: "it has what no honest file needs",
    DANGEROUS: "loading it can run what its author wanted",
}
ALLOWED = "loading it executes what weights need, and what your policy allows"
# What the findings mean that are about something else than loading, by their codes. The first row counts that has one of the
# findings of the verdict's level, after all those of which no row knows.
OTHERWISE: dict[str, tuple[tuple[frozenset[str], str], ...]] = {
    DANGEROUS: (
        (frozenset({"external-address"}), "loading it can read memory that its author chose"),
        (frozenset({"dangerous-operator"}), "running or loading it can do what its author wanted"),
        (frozenset({"template-gadget"}), "rendering its chat template can run what its author wanted"),
    ),
    SUSPICIOUS: (
        (frozenset({"suspicious-operator"}), "running it reaches out of the model, as few honest ones do"),
        (frozenset({"template-reach"}), "rendering its chat template reaches for what no model needs"),
    ),
    UNKNOWN: (
        (frozenset({"foreign-operators", "script-operators"}), "running it may do what nobody has judged"),
        (frozenset({"template-computed"}), "rendering its chat template may do what nobody has judged"),
        (frozenset({"not-read", "zip-broken", "polyglot-broken"}), "it could not be read, or not to its end"),
        (frozenset({"not-looked-at", "pickle-limit", "beyond-limit", "own-mistake"}), "not all of it could be looked at"),
        (frozenset({"zip-gap", "zip-name", "tar-name", "tar-link", "tar-sparse"}), "the archive has what weights do not need"),
    ),
}


def in_words(safety: Safety) -> str | None:
    """What the verdict on a file means; None without one."""
    verdict = safety.verdict
    if verdict is None:
        return None
    if verdict == SAFE and allowed_in(safety):
        return ALLOWED
    codes = {found.code for found in safety.found if found.level == verdict}
    rows = OTHERWISE.get(verdict, ())
    if verdict == UNKNOWN and not codes:
        return "it holds nothing of a kind that is judged here"
    said = [next((said for known, said in rows if code in known), MEANINGS[verdict]) for code in codes]
    if said and MEANINGS[verdict] not in said:
        return next(meaning for _, meaning in rows if meaning in said)
    return MEANINGS[verdict]
