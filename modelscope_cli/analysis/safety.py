"""The safety verdict on a scanned file: every name and call of its pickles held against the policy, and every odd sign.

    safe         only what torch's weights-only loader and honest files need
    unknown      names nobody has judged, or parts that could not be looked at: named, not accused
    suspicious   what no honest file needs: a scanner is being misled, or a function that can be misused
    dangerous    loading the file can run what its author wanted

A verdict is the gravest of its findings. It says what loading can do, not what somebody meant.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from modelscope_cli.analysis.in_context import BUILD, calls_by_name, judge, name_of, reach
from modelscope_cli.analysis.policy import COMPUTED, Judgement, Policy, grave, gravest, standard_policy
from modelscope_cli.analysis.shown_call import lettered, shown_call
from modelscope_cli.analysis.weights_only import NAMES, Refusal, refusal
from modelscope_cli.containers.pickle_nodes import Call
from modelscope_cli.core.checkpoint import CallUse, PickleTrace
from modelscope_cli.core.scan_codes import DANGEROUS, SAFE, SCAN_CODES, SUSPICIOUS, UNKNOWN
from modelscope_cli.core.scanned import NOBODY, TORCH, Scanned, Sign, Stream, Unseen
from modelscope_cli.errors import ModelscopeError, UnknownFormatError, UnsupportedFeatureError

MOST_CALLS_SHOWN = 3
MOST_JUDGED = 10_000  # names of a pickle that are judged; no honest file comes near
MOST_CALLS_LISTED = 400  # of a file, for machines


class Imported(NamedTuple):
    """A name that a pickle would import."""

    where: str
    module: str
    name: str
    offset: int
    calls: int
    judgement: Judgement
    shown: tuple[str, ...]  # its first calls

    @property
    def path(self) -> str:
        return f"{self.module}.{self.name}"


class Called(NamedTuple):
    """A call that a pickle would make."""

    where: str
    offset: int
    opcode: str
    text: str


class Found(NamedTuple):
    """Something to tell about a file. `where` is the member, "" for the file itself."""

    level: str
    code: str
    where: str
    offset: int | None
    message: str
    subject: str = ""  # the name that is imported
    opcode: str = ""
    brief: str = ""  # the message in fewer words, for a table


class Safety:
    """The verdict on one file, and all that it rests on. `verdict` is None where there was nothing to judge."""

    def __init__(self, scanned: Scanned, policy: Policy | None = None):
        self.scanned = scanned
        self.path = scanned.path
        self.policy = policy or standard_policy()
        self.imports: list[Imported] = []
        self.calls: list[Called] = []
        self.found: list[Found] = []
        self.refused: Refusal | None = None
        self.torch_pickles = 0
        for stream in scanned.streams:
            if stream.loader != NOBODY:
                self._stream(stream)
        self.found += [_from_sign(sign) for sign in scanned.signs]
        self.found.sort(key=lambda found: -grave(found.level))

    @property
    def unseen(self) -> list[Unseen]:
        return self.scanned.unseen

    @property
    def problem(self) -> ModelscopeError | None:
        """Why the file could not be read as a model; None also for files that are no models."""
        if self.scanned.problem is not None and not self.is_foreign:
            return self.scanned.problem
        left = next((one for one in self.unseen if not one.minor), None)
        if left is not None:
            what = f"not all of it could be looked at: {left.where or 'the file'}: {left.why}"
            return ModelscopeError(what, path=self.path)
        return None

    @property
    def is_foreign(self) -> bool:
        """Whether it is of a kind that is not read here."""
        return isinstance(self.scanned.problem, UnknownFormatError | UnsupportedFeatureError)

    @property
    def verdict(self) -> str | None:
        """The gravest level; None where nothing was looked at."""
        level = gravest(found.level for found in self.found)
        known = self.scanned.kind is not None or self.scanned.looked or self.scanned.streams or self.scanned.texts
        if not known and not self.found and not any(not one.minor for one in self.unseen):
            return None if self.is_foreign else UNKNOWN
        if self.problem is not None or any(not one.minor for one in self.unseen):
            return max(level, UNKNOWN, key=grave)
        return level

    @property
    def why(self) -> str:
        """The verdict's reason in a line."""
        if self.found and grave(self.found[0].level) > grave(SAFE):
            same = [found for found in self.found if found.level == self.found[0].level]
            return (self.found[0].brief or self.found[0].message) + (f" (and {len(same) - 1:,} more)" if len(same) > 1 else "")
        if self.scanned.problem is not None and not self.is_foreign:
            return f"could not be read: {self.scanned.problem.message}"
        left = next((one for one in self.unseen if not one.minor), None)
        if left is not None:
            return f"not looked at: {left.where or 'the file'}: {left.why}"
        if self.scanned.problem is not None and self.verdict is None:
            return self.scanned.problem.message
        names = {item.path for item in self.imports}
        if self.scanned.streams:
            return f"{len(names):,} {'name' if len(names) == 1 else 'names'} imported, all of them known to be harmless"
        return "nothing in it is executed by loading it"

    @property
    def weights_only(self) -> str | None:
        """What torch.load(weights_only=True) would say; None where it reads nothing of this file."""
        if not self.torch_pickles:
            return None
        if self.refused is None:
            return "loads"
        return f"refuses {self.refused.what} at byte {self.refused.offset:,}"

    def _stream(self, stream: Stream) -> None:
        """Judge the names and calls of one pickle."""
        trace = stream.trace
        by_name = calls_by_name(trace)
        strange: list[CallUse] = []
        patched: list[CallUse] = []
        for call in trace.calls:
            named = name_of(call.function) is not None
            if named == (call.opcode == BUILD):
                (patched if named else strange).append(call)
            if len(self.calls) < MOST_CALLS_LISTED:
                opcode = NAMES.get(call.opcode, f"0x{call.opcode:02x}")
                self.calls.append(Called(stream.where, call.offset, opcode, shown_call(call.function, call.args)))
        unknown: list[Imported] = []
        if len(trace.globals) > MOST_JUDGED:
            text = f"it imports {len(trace.globals):,} names: {MOST_JUDGED:,} of them are judged"
            self.found.append(Found(SUSPICIOUS, "too-many-names", stream.where, trace.globals[MOST_JUDGED].offset, text))
        for use in trace.globals[:MOST_JUDGED]:
            calls = by_name.get((use.module, use.name), [])
            judgement = judge(self.policy, use.module, use.name, calls, use.calls)
            texts = tuple(shown_call(call.function, call.args) for call in calls[:MOST_CALLS_SHOWN])
            item = Imported(stream.where, use.module, use.name, use.offset, use.calls, judgement, texts)
            self.imports.append(item)
            if judgement.level == UNKNOWN:
                unknown.append(item)
            elif judgement.level != SAFE:
                self.found.append(_from_import(item, calls))
        self.found += _from_unknown(stream.where, unknown)
        for call in patched:
            text = f"it sets attributes of {_path(call.function)} itself, a class, function or module"
            self.found.append(Found(DANGEROUS, "patch", stream.where, call.offset, text, _path(call.function), "BUILD"))
        for call in strange[:MOST_CALLS_SHOWN]:
            level = self._reached_level(call.function)
            text = f"it calls what another call returned: {shown_call(call.function, call.args)}"
            self.found.append(Found(level, "indirect-call", stream.where, call.offset, text, "", NAMES.get(call.opcode, "")))
        if stream.loader == TORCH or (not stream.where and not self.torch_pickles):
            self._ask_torch(trace)

    def _ask_torch(self, trace: PickleTrace) -> None:
        self.torch_pickles += 1
        refused = refusal(trace)
        if refused is not None and self.refused is None:
            self.refused = refused

    def _reached_level(self, function: Any) -> str:
        """How grave it is to call the result of a call."""
        reached = reach(function.function, function.args) if type(function) is Call else None
        if reached is None:
            return SUSPICIOUS
        return max(self.policy.judge(*reached).level, UNKNOWN, key=grave)


def _path(node: Any) -> str:
    name = name_of(node)
    return ".".join(name) if name else "an object"


def _from_import(item: Imported, calls: list[CallUse]) -> Found:
    """A finding about a name that is not harmless, with its first call."""
    path = "an import" if item.module == COMPUTED else lettered(item.path)
    if item.module == COMPUTED:
        text = f"it {item.judgement.reason.replace('is an import', 'imports something')}"
    elif item.shown:
        more = f", and {item.calls - 1:,} more" if item.calls > 1 else ""
        text = f"it calls {item.shown[0]}{more}: {lettered(item.path)} {item.judgement.reason}"
    else:
        text = f"it imports {path}, which {item.judgement.reason}"
    opcode = NAMES.get(calls[0].opcode, "") if calls else ""
    brief = f"calls {item.shown[0]}" if item.shown else f"imports {path}"
    return Found(
        item.judgement.level,
        f"{item.judgement.level}-import",
        item.where,
        calls[0].offset if calls else item.offset,
        text,
        item.path,
        opcode,
        brief,
    )


def _from_unknown(where: str, items: list[Imported]) -> list[Found]:
    """One finding for all the names of a pickle that nobody has judged."""
    if not items:
        return []
    shown = ", ".join(lettered(item.path) for item in items[:4]) + (", …" if len(items) > 4 else "")
    called = any(item.calls for item in items)
    verb = "imports and calls" if called else "imports"
    which = "a name that has not been judged" if len(items) == 1 else f"{len(items):,} names that have not been judged"
    return [
        Found(
            UNKNOWN,
            "unjudged-import",
            where,
            items[0].offset,
            f"it {verb} {which}: {shown}",
            items[0].path,
            "",
            f"{verb} {shown}",
        )
    ]


def _from_sign(sign: Sign) -> Found:
    return Found(SCAN_CODES[sign.code].level, sign.code, sign.where, sign.offset, sign.message)


def worst(safeties: Iterable[Safety]) -> str:
    """The gravest verdict of several files."""
    return gravest(safety.verdict for safety in safeties if safety.verdict is not None)
