"""Documents to render: an ordinary one, hostile texts in every place that holds text, and strategies for all sorts of both."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from modelscope_cli.report.document import (
    MACHINES,
    PEOPLE,
    Bytes,
    Column,
    Count,
    CountChange,
    Document,
    Drawing,
    Fact,
    Facts,
    Finding,
    Findings,
    Inferred,
    Phrase,
    Problem,
    Ratio,
    Report,
    Row,
    Table,
    Tree,
    TreeNode,
    Verdict,
    Verdicts,
)

HOSTILE = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</details></code></summary>", "<!-- <b>", "-->", "<a href='javascript:x'>y</a>",
    "[x](javascript:alert(1))", "](javascript:alert(1))", "![x](http://x.y/z.png)", "[x]: http://x.y", "<http://x.y>", "[^1]", "[ ]", "[x]",
    "@everyone", "mail@example.org", "owner/repo#12", "#123", "GH-12", "JIRA-7", "deadbeefcafe", "1234567", "!5", "$x$", "$`x`$", "~bug", "~~a~~", "%{x}",
    "http://x.y", "https://x.y/?a=b&c=d", "www.example.org", "example.org", ":tada:", ":+1:", "*a* **b** _c_ __d__", "a*b*c", "self_attn", "a|b", "|", "||||",
    "\\", "\\|", "a\\|b\\\\|c\\", "`", "``", "a`b", "``` ```", "` |`|", "`\\|`", "&lt;script&gt;", "&#64;x", "&amp;", "&", "# h", "- l", "1. l", "+ l", "> q",
    "===", "---", "***", "    code", "\t", "a\nb", "\n\n", "\r", "a\r\n# h", "\x00", "\x1b[31mred\x1b[0m", "\x9b2J", "\u202egnp.exe", "\u200b", "\ufeff",
    "\u2028", "\ud800", "\udfff\ud800", "\ufffe\uffff", "\U000e0041", "=cmd|' /C calc'!A0", "+1+1", "-2", "@SUM(A1)", "\t=1", "\r=1", " =1", "\u200b=1",
    "\uff1d1", "\uff0b1", "\uff0d1", "\uff201", "\u3000=1", "a;=1", "'=1", '"=1"', '"', '""', ",", "a,b", "]]>", "<![CDATA[", "&quot;", "::error::x",
    "\n::set-env name=A::b", "%0A::error", "##[error]x", "/close", "[[_TOC_]]", "::include{file=x}", "{+ a +}", " ", "", "  a  b  ",
    "x" * 10_000, "|" * 500, "`" * 300, "é中文😀" * 100, "🏳️‍🌈", "עברית",
)  # fmt: skip

STATUSES, SEVERITIES = ("passed", "failed", "warning"), ("info", "warning", "error")


def sizes(rows: int = 3, name: str = "layer") -> Table:
    """A tree table of the sizes of so many modules."""
    columns = (
        Column("label", "Module"),
        Column("what", "Kind", show_until=111, audience=PEOPLE),
        Column("kind", "Kind"),
        Column("parameters", "Params"),
        Column("share", "%"),
        Column("bytes", "Bytes"),
        Column("bar", "", audience=PEOPLE),
        Column("tensors", audience=MACHINES),
    )
    inside = [
        Row((f"{name}.{n} ×2", "narrow", Inferred("Linear"), Count(10), Ratio(1 / max(rows, 1)), Bytes(40), Ratio(1.0), Count(2)), n % 3, "mlp")
        for n in range(rows)
    ]  # fmt: skip
    more = Row(("(7 more)", None, None, None, None, None, None, None), 0, "more")
    outside = Row(("[header]", None, None, None, None, Bytes(8), None, Count(0)), 0, "section")
    total = Row(("TOTAL", None, None, Count(10 * rows), Ratio(1.0), Bytes(40 * rows + 8), None, Count(2 * rows)), 0, "total")
    return Table("modules", "", columns, [*inside, more, outside, total], tree=True, caption="~ kind inferred")


def report(path: str = "models/decoder.pth", *, rows: int = 3, verdicts: bool = True) -> Report:
    """A report with a section of every sort."""
    said = [
        Verdict("passed", "max-bytes", "", Bytes(1000), Bytes(128), Phrase((Bytes(128), " of at most ", Bytes(1000)))),
        Verdict("failed", "max-share", "layer.*", Ratio(0.3), Ratio(0.4), "40.0 % of the parameters", "make it smaller"),
        Verdict("warning", "dtype", "lora_*", "float16", None, "no module matches"),
    ]
    facts = [
        Fact("path", "File", path),
        Fact("bytes", "Size", Bytes(128)),
        Fact("parameters", "Parameters", Count(30)),
        Fact("dtypes", "Dtypes", {"float32": Bytes(120)}, "float32"),
    ]
    found = [
        Finding("error", "shard-unreadable", "b.bin", "it ends at byte 8"),
        Finding("warning", "imports", "data.pkl", "loading it with pickle would import and call os.system"),
        Finding("info", "tied", "", "2 tied tensors, counted once: a.weight = b.weight"),
    ]
    sections: list[Any] = [
        Facts("", "", facts),
        *([Verdicts("checks", "Checks", said, caption="rules of mscope.toml")] if verdicts else []),
        sizes(rows),
        Table("kinds", "By kind", (Column("kind", "Kind"), Column("change", "Change")), [Row(("Linear", CountChange(-30)))]),
        Facts("more", "Architecture", [Fact("layers", "Layers", Count(3))]),
        Table("tensors", "", (Column("name"),), [Row(("secret.of.machines",))], audience=MACHINES),
        Findings("findings", "Findings", found),
        Tree("tree", "decoder", [TreeNode("a", "b", "c", 1, 1, 1, [])]),
        Drawing("diagram", "Diagram", "<svg/>", "<svg/>"),
    ]
    return Report("mscope.inspect/1", path, sections, True)


def document(*paths: str, rows: int = 3, verdicts: bool = True, problems: int = 0) -> Document:
    """A report a path, and so many inputs that could not be read."""
    unread = [Problem("FormatError", f"broken{n}.pt", "it is an HTML page", 0, "fetch it again") for n in range(problems)]
    reports = [report(path, rows=rows, verdicts=verdicts) for path in paths or ("models/decoder.pth",)]
    return Document("mscope.inspect/1", reports, unread)


def filled(text: str, *, verdicts: bool = True) -> Document:
    """A document with the same text in every place that can hold text from a file."""
    cells = (text, Inferred(text), Phrase((text, Count(3), text)), [text, 1], {text: Bytes(3)}, Count(-3))
    columns = [Column(f"c{n}", text) for n in range(len(cells))]
    rows = [Row(cells, level, mark) for level, mark in ((0, ""), (2, "section"), (0, "total"))]
    sections: list[Any] = [
        Facts("", "", [Fact("path", "File", text, text), Fact("bytes", "Size", Bytes(3)), Fact("dtypes", text, {text: Bytes(3)}, text)]),
        *([Verdicts("checks", text, [Verdict(status, text, text, text, cells[2], text, text) for status in STATUSES], caption=text)] if verdicts else []),
        Table("main", text, columns, rows, tree=True, caption=text),
        Table("flat", "", columns, rows, caption=text),
        Facts("facts", text, [Fact("a", text, cells[4]), Fact("b", text, cells[3], text)]),
        Findings("findings", text, [Finding(severity, text, text, text) for severity in SEVERITIES]),
    ]  # fmt: skip
    one = Report("mscope.inspect/1", text, sections, True, Phrase((text,)))
    return Document("mscope.inspect/1", [one], [Problem("FormatError", text, text, 3, text)])


def twice(one: Document) -> Document:
    """The same with two reports."""
    return one._replace(reports=[*one.reports, *one.reports])


SURROGATES = st.text(st.characters(codec=None), max_size=40)
TEXTS = st.one_of(st.sampled_from(HOSTILE), SURROGATES, st.lists(st.sampled_from(HOSTILE[:-8]), min_size=2, max_size=4).map(" ".join),
    st.text(st.sampled_from("`|\\ \n@#<>&*_[]()!~$:=-+a1.;,\"'"), max_size=40))  # fmt: skip
DOCUMENTS = st.one_of(
    st.builds(filled, TEXTS, verdicts=st.booleans()),
    st.builds(filled, TEXTS).map(twice),
    st.builds(
        lambda paths, rows, verdicts, problems: document(*paths, rows=rows, verdicts=verdicts, problems=problems),
        st.lists(TEXTS, min_size=1, max_size=5), st.integers(0, 400), st.booleans(), st.integers(0, 30),
    ),
    st.just(Document("mscope.inspect/1", [])),
)  # fmt: skip
