"""The safety verdict on a scanned file: every name and call of its pickles held against the policy, and every odd sign.

    safe         only what torch's weights-only loader and honest files need
    unknown      names nobody has judged, or parts that could not be looked at: named, not accused
    suspicious   what no honest file needs: a scanner is being misled, or a function that can be misused
    dangerous    loading the file can run what its author wanted

A verdict is the gravest of its findings. It says what loading can do, not what somebody meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from modelscope_cli.analysis.found import Found as Found
from modelscope_cli.analysis.in_context import calls_by_name, judge, name_of, odd_in, reached_level
from modelscope_cli.analysis.policy import COMPUTED, Judgement, Policy, grave, gravest, is_known_module, standard_policy
from modelscope_cli.analysis.shown_call import FULL, lettered, shown_call
from modelscope_cli.analysis.weights_only import NAMES, said_of
from modelscope_cli.containers.odd_shapes import SHAPES
from modelscope_cli.containers.odd_states import Dtypes
from modelscope_cli.containers.pickle_callers import is_import
from modelscope_cli.containers.pickle_nodes import BUILD, Call, is_shortened
from modelscope_cli.containers.python2_names import imported_as
from modelscope_cli.core.checkpoint import CallUse
from modelscope_cli.core.place import folders_above
from modelscope_cli.core.scan_codes import DANGEROUS, SAFE, SCAN_CODES, SUSPICIOUS, UNKNOWN
from modelscope_cli.core.scanned import NOBODY, TORCH, Scanned, Sign, Stream, Unseen, limit_in
from modelscope_cli.errors import InternalError, LimitError, ModelscopeError, UnknownFormatError, UnsupportedFeatureError
from modelscope_cli.report.document import Code, Phrase

PACKAGED = Judgement(UNKNOWN, "stands in the file as Python source, which torch.package runs")
PACKAGED_AS_KNOWN = Judgement(
    SUSPICIOUS, "goes by the name of a known module, while its source, which torch.package runs, stands in the file"
)
LISTS = "torch.jit._pickle"
NOT_SCRIPTED = {  # packages of TorchScript's own, where there is no TorchScript
    "__torch__": "is a class of TorchScript where there is none: Python would import __torch__.py from the current folder",
    LISTS: "is for the files of TorchScript, which this is not, and gives back what it is given",
}
MOST_CALLS_SHOWN = 3
DEEPEST_MODULE = 50  # packages in packages
MOST_ALLOWED_SHOWN = 3
MOST_JUDGED = 10_000  # names of a pickle that are judged; no honest file comes near
SURELY_JUDGED = 500  # names and calls of a file, though its time was up before
PICKLE_LIMIT = "pickle-limit"
MOST_UNSEEN_TOLD = 20  # parts of a file
MOST_CALLS_LISTED = 4_000  # of a file, for machines, with their arguments
MOST_TEXT_LISTED = 4 << 20  # characters of them


class Imported(NamedTuple):
    """A name that a pickle would import."""

    where: str
    module: str
    name: str
    offset: int
    calls: int
    judgement: Judgement
    shown: tuple[str, ...]  # its first calls
    sites: Sequence[int] = ()  # where each of its calls stands

    @property
    def path(self) -> str:
        """The name that Python 3 imports; the pickle may call it as Python 2 did."""
        return ".".join(imported_as(self.module, self.name))

    @property
    def written(self) -> str:
        return f"{self.module}.{self.name}"


class Called(NamedTuple):
    """A call that a pickle would make."""

    where: str
    offset: int
    opcode: str
    text: str


class Safety:
    """The verdict on one file, and all that it rests on. `verdict` is None where there was nothing to judge.

    Where `ends` gives a limit, nothing more is judged: that is the file's problem then, and what was found until then counts.
    The first names and calls are judged all the same.
    """

    def __init__(self, scanned: Scanned, policy: Policy | None = None, ends: Callable[[], LimitError | None] = lambda: None):
        self.scanned = scanned
        self._ends = ends
        self._over = False
        self._sure = SURELY_JUDGED
        self.path = scanned.path
        self.policy = policy or standard_policy()
        self.imports: list[Imported] = []
        self.calls: list[Called] = []
        self._listed = 0  # characters of them
        self._room = 2 * MOST_TEXT_LISTED  # characters of calls that may still be shown in short
        self._told = 0  # characters of calls that are the evidence of findings
        self.found: list[Found] = []
        for stream in scanned.streams:
            if stream.loader != NOBODY and not self._is_over():
                self._stream(stream)
        self.found += [_from_sign(sign) for sign in scanned.signs if sign.code != PICKLE_LIMIT]
        if scanned.operators:
            from modelscope_cli.analysis.operators import found_in

            self.found += found_in(scanned.operators, self.policy)
        if scanned.targets:
            from modelscope_cli.analysis import targets

            self.found += targets.found_in(scanned.targets, self.policy)
        self.found += self._unread()
        self.found.sort(key=lambda found: -grave(found.level))

    def _is_over(self) -> bool:
        """Whether a limit ends the judging."""
        self._sure -= 1
        if self._sure >= 0:
            return False
        problem = None if self._over else self._ends()
        if problem is not None:
            self._over = True
            self.scanned.problem = problem
        return self._over

    def _unread(self) -> Iterator[Found]:
        """What kept the file, or a part that could hold something, from being looked at."""
        problem = self.scanned.problem
        if problem is not None and not self.is_foreign and not isinstance(problem, LimitError):
            ours = isinstance(problem, InternalError)
            said = f"could not be {'looked at to its end' if ours else 'read'}: {problem.message}"
            code = "own-mistake" if ours else "not-read"
            yield Found(UNKNOWN, code, "", problem.offset, Phrase((f"it {said}",)), brief=Phrase((said,)))
        several: dict[str, list[Found]] = {}  # a limit that binds in many places is told once
        for sign in self.scanned.signs:
            if sign.code == PICKLE_LIMIT:
                several.setdefault(limit_in(sign.message) or f"{sign.where}: {sign.message}", []).append(_from_sign(sign))
        if isinstance(problem, LimitError) and problem.resource not in several:
            said = f"could not be read to its end: {problem.told}"
            whole = Found(UNKNOWN, "beyond-limit", "", problem.offset, Phrase((f"it {said}",)), brief=Phrase((said,)))
            several[problem.resource] = [whole]
        for left in [one for one in self.unseen if not one.minor]:
            one = Found(UNKNOWN, "not-looked-at", left.where, None, Phrase((f"not looked at: {left.why}",)))
            several.setdefault(left.limit or f"{left.where}: {left.why}", []).append(one)
        for first, *others in list(several.values())[:MOST_UNSEEN_TOLD]:
            if others and first.where:
                more = f", and in {len(others):,} more {'place' if len(others) == 1 else 'places'}"
                first = first._replace(message=Phrase((*first.message, more)))
            yield first

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
            what = f"not all of it could be looked at: {left.where + ': ' if left.where else ''}{left.why}"
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
        known = self.scanned.kind is not None or self.scanned.looked or self.scanned.has_something
        if not known and not self.found and not any(not one.minor for one in self.unseen):
            return None if self.is_foreign else UNKNOWN
        if self.problem is not None or any(not one.minor for one in self.unseen):
            return max(level, UNKNOWN, key=grave)
        return level

    @property
    def why(self) -> Phrase:
        """The verdict's reason in a line."""
        if self.found and grave(self.found[0].level) > grave(SAFE):
            same = [found for found in self.found if found.level == self.found[0].level]
            more = (f" (and {len(same) - 1:,} more)",) if len(same) > 1 else ()
            return Phrase((*(self.found[0].brief or self.found[0].message), *more))
        return self._allowed() or Phrase((self._why_not_worse(),))

    def _allowed(self) -> Phrase | None:
        """What only a policy of the user's makes harmless; None where it has no part in the verdict."""
        if self.verdict != SAFE:
            return None
        allowed: dict[str, tuple[str, str]] = {  # by whom, and the level without
            item.path: (item.judgement.by, standard_policy().judge(item.module, item.name).level)
            for item in self.imports
            if item.judgement.by
        }
        called: set[str] = set()
        if self.scanned.targets and self.policy.source:
            from modelscope_cli.analysis.targets import judged, shown

            called = {shown(target) for target in self.scanned.targets}
            for target in self.scanned.targets:
                by = judged(target, self.policy).by
                if by:
                    allowed[shown(target)] = by, judged(target, standard_policy()).level
        if not allowed:
            return None
        imported = {item.path for item in self.imports}
        names = len(imported | called)
        verb = "imported or called" if imported and called else "called" if called else "imported"
        said: list[str] = [f"{names:,} {'name' if names == 1 else 'names'} {verb}: "]
        for path, (by, without) in list(allowed.items())[:MOST_ALLOWED_SHOWN]:
            said += [Code(lettered(path)), f" allowed by {by}{f' ({without} without it)' if without != SAFE else ''}, "]
        if len(allowed) > MOST_ALLOWED_SHOWN:
            said.append(f"{len(allowed) - MOST_ALLOWED_SHOWN:,} more allowed by it, ")
        said[-1] = said[-1].removesuffix(", ")
        return Phrase((*said, ", the others known to be harmless" if len(allowed) < names else ""))

    def _why_not_worse(self) -> str:
        if self.scanned.problem is not None and self.verdict is None:
            return self.scanned.problem.message
        names = {item.path for item in self.imports}
        if self.scanned.streams and not names:
            return "pickles that import nothing"
        if self.scanned.streams:
            return f"{len(names):,} {'name' if len(names) == 1 else 'names'} imported, all of them known to be harmless"
        if self.verdict != SAFE:
            return "it holds nothing of a kind that is judged here"
        if self.scanned.operators:
            from modelscope_cli.analysis.operators import why_harmless

            return why_harmless(self.scanned.operators, self.policy)
        if self.scanned.targets:
            return "what its configuration has called is all known to be harmless"
        if self.scanned.kind is None or self.unseen:
            return "it holds nothing that loading is known to execute"
        return "nothing in it is executed by loading it"

    @property
    def weights_only(self) -> str | None:
        """What torch.load(weights_only=True) would say; None where it reads nothing of this file, or we could not read it."""
        return said_of(self.scanned)

    def _stream(self, stream: Stream) -> None:
        """Judge the names and calls of one pickle."""
        trace = stream.trace
        by_name = calls_by_name(trace)
        unknown: list[Imported] = []
        if len(trace.globals) > MOST_JUDGED:
            text = f"it imports {len(trace.globals):,} names: {MOST_JUDGED:,} of them are judged"
            self.found.append(
                Found(SUSPICIOUS, "too-many-names", stream.where, trace.globals[MOST_JUDGED].offset, Phrase((text,)))
            )
        for use in trace.globals[:MOST_JUDGED]:
            if self._is_over():
                break
            calls = by_name.get((use.module, use.name), [])
            judgement = judge(self.policy, use.module, use.name, calls, use.calls, use.loose)
            if not judgement.by and grave(judgement.level) < grave(SUSPICIOUS) and self._is_packaged(use.module):
                judgement = PACKAGED_AS_KNOWN if is_known_module(use.module) else PACKAGED
            why = NOT_SCRIPTED.get(use.module) or NOT_SCRIPTED.get(use.module.partition(".")[0])
            if why and not judgement.by and not self._is_scripted(stream, classes=use.module != LISTS):
                judgement = Judgement(SUSPICIOUS, why)
            if (is_shortened(use.module) or is_shortened(use.name)) and grave(judgement.level) < grave(SUSPICIOUS):
                judgement = Judgement(SUSPICIOUS, "is longer than any name that code has")
            texts = tuple(shown_call(call.function, call.args) for call in calls[: MOST_CALLS_SHOWN if self._room else 0])
            self._room -= min(self._room, sum(map(len, texts)))
            item = Imported(stream.where, use.module, use.name, use.offset, use.calls, judgement, texts, use.sites)
            self.imports.append(item)
            if judgement.level == UNKNOWN:
                unknown.append(item)
            elif judgement.level != SAFE:
                self.found.append(_from_import(item, calls, self._evidence(calls[0]) if calls else ""))
        self.found += _from_unknown(stream.where, unknown)
        strange: list[CallUse] = []
        patched: list[CallUse] = []
        odd: dict[str, tuple[CallUse, str]] = {}
        dtypes = Dtypes()
        for call in trace.calls:
            if self._is_over():
                break
            state = odd_in(call, dtypes)
            if state is not None:
                odd.setdefault(state[0], (call, state[1]))
            elif call.through in SHAPES:
                continue
            elif call.opcode == BUILD and not call.through:
                patched += [call] if is_import(call.function) else []
            elif name_of(call.function) is None:
                strange.append(call)
            if len(self.calls) < MOST_CALLS_LISTED and self._listed < MOST_TEXT_LISTED:
                opcode = NAMES.get(call.opcode, f"0x{call.opcode:02x}")
                text = shown_call(call.function, () if state else call.args, FULL)
                self.calls.append(Called(stream.where, call.offset, opcode, text))
                self._listed += len(text)
        for call in patched:
            said = Phrase(("it sets attributes of ", Code(_path(call.function)), " itself, a class, function or module"))
            self.found.append(Found(DANGEROUS, "patch", stream.where, call.offset, said, _path(call.function), "BUILD"))
        for code, (call, text) in odd.items():
            self.found.append(
                Found(SCAN_CODES[code].level, code, stream.where, call.offset, Phrase((text,)), "", NAMES.get(call.opcode, ""))
            )
        levels = {id(call): reached_level(self.policy, call) for call in strange}
        strange.sort(key=lambda call: -grave(levels[id(call)]))
        for call in [call for call in strange if levels[id(call)] != SAFE][:MOST_CALLS_SHOWN]:
            level = levels[id(call)]
            through = (" through ", Code(lettered(call.through))) if call.through else ()
            said = Phrase(("it calls what another call returned", *through, ": ", Code(shown_call(call.function, call.args))))
            evidence = self._evidence(call)
            opcode = NAMES.get(call.opcode, "")
            self.found.append(Found(level, "indirect-call", stream.where, call.offset, said, "", opcode, Phrase(), evidence))

    def _evidence(self, call: CallUse) -> str:
        """A call in full, as long as there is room for that."""
        if self._told >= MOST_TEXT_LISTED:
            return ""
        text = shown_call(call.function, call.args, FULL)
        self._told += len(text)
        return text

    def _is_scripted(self, stream: Stream, *, classes: bool) -> bool:
        """Whether torch's own compiler reads a pickle, and makes its `classes` from the code beside it: Python never sees them."""
        if not classes:
            return any(place in self.scanned.scripted for place in folders_above(stream.where))
        folder, _, leaf = stream.where.rpartition("/")
        above = folder.rpartition("/")[0]  # of .data/ts_code/0/data.pkl the code is in .data/ts_code/code/
        places = {f"{place}/" if place else "" for place in (folder, above)}
        return stream.loader == TORCH and leaf.lower().endswith(".pkl") and not places.isdisjoint(self.scanned.scripted)

    def _is_packaged(self, module: str) -> bool:
        """Whether torch.package takes a module, or a package that it is in, from the file itself."""
        if not self.scanned.packaged:
            return False
        parts = module.split(".")
        return any(".".join(parts[:end]) in self.scanned.packaged for end in range(1, min(len(parts), DEEPEST_MODULE) + 1))


def _path(node: Any) -> str:
    name = name_of(node)
    if name is None:
        return shown_call(node.function, node.args) if type(node) is Call else "an object"
    return ".".join(imported_as(*name))


def _from_import(item: Imported, calls: list[CallUse], evidence: str) -> Found:
    """A finding about a name that is not harmless, with its first call."""
    older = (" (written ", Code(lettered(item.written)), ")") if item.written != item.path else ()
    path = Phrase(("an import",)) if item.module == COMPUTED else Phrase((Code(lettered(item.path)), *older))
    if item.module == COMPUTED:
        text = Phrase((f"it {item.judgement.reason.replace('is an import', 'imports something')}",))
    elif item.shown:
        more = f", and {item.calls - 1:,} more" if item.calls > 1 else ""
        text = Phrase(("it calls ", Code(item.shown[0]), more, ": ", *path, f" {item.judgement.reason}"))
    else:
        text = Phrase(("it calls " if item.calls else "it imports ", *path, f", which {item.judgement.reason}"))
    brief = Phrase(("calls ", Code(item.shown[0]))) if item.shown else Phrase(("calls " if item.calls else "imports ", *path))
    return Found(
        item.judgement.level,
        f"{item.judgement.level}-import",
        item.where,
        calls[0].offset if calls else item.offset,
        text,
        item.path,
        NAMES.get(calls[0].opcode, "") if calls else "",
        brief,
        evidence,
    )


def _from_unknown(where: str, items: list[Imported]) -> list[Found]:
    """One finding for all the names of a pickle that nobody has judged."""
    if not items:
        return []
    shown: list[str] = []
    for item in items[:4]:
        shown += [Code(lettered(item.path)), ", "]
    shown = [*shown, "…"] if len(items) > 4 else shown[:-1]
    verb = "imports and calls" if any(item.calls for item in items) else "imports"
    which = "a name that has not been judged" if len(items) == 1 else f"{len(items):,} names that have not been judged"
    return [
        Found(
            UNKNOWN,
            "unjudged-import",
            where,
            items[0].offset,
            Phrase((f"it {verb} {which}: ", *shown)),
            items[0].path,
            "",
            Phrase((f"{verb} ", *shown)),
        )
    ]


def _from_sign(sign: Sign) -> Found:
    return Found(SCAN_CODES[sign.code].level, sign.code, sign.where, sign.offset, Phrase((sign.message,)))


def worst(safeties: Iterable[Safety]) -> str:
    """The gravest verdict of several files."""
    return gravest(safety.verdict for safety in safeties if safety.verdict is not None)
