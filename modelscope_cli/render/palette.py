"""The colours of drawings, light and dark. Categories keep theirs in both."""

from __future__ import annotations

from typing import NamedTuple

from modelscope_cli.report.treemap import BUFFER, COPY, OPTIMIZER, OUTSIDE

CATEGORY_COLOURS = {
    "embedding": "#8b5cf6",
    "attention": "#f59e0b",
    "mlp": "#3b82f6",
    "norm": "#94a3b8",
    "conv": "#10b981",
    "head": "#ef4444",
    "linear": "#0ea5e9",
    "recurrent": "#ec4899",
    "block": "#6366f1",
    "other": "#a8a29e",
}
# What is no parameter of the model: hatched where that can be painted.
BESIDE_COLOURS = {BUFFER: "#2dd4bf", COPY: "#a3c644", OPTIMIZER: "#bf9b6b", OUTSIDE: "#9ca3af"}
CATEGORY_NAMES = {
    "mlp": "feed-forward / MLP",
    "conv": "convolution",
    "head": "output head",
    BUFFER: "buffers",
    COPY: "EMA and master copies",
    OPTIMIZER: "optimizer state",
    OUTSIDE: "outside the tensors",
}


class Palette(NamedTuple):
    """What is neither data nor category. A row's tint goes from `tint_low` to `tint_high` with its share."""

    paper: str
    ink: str
    soft: str
    card: str
    border: str
    group: str
    fold: str
    fold_border: str
    badge: str
    badge_ink: str
    tint_low: str
    tint_high: str
    track: str
    arrow: str
    tie: str


LIGHT = Palette(
    paper="#ffffff",
    ink="#0f172a",
    soft="#64748b",
    card="#ffffff",
    border="#cbd5e1",
    group="#f8fafc",
    fold="#eff6ff",
    fold_border="#3b82f6",
    badge="#0f172a",
    badge_ink="#ffffff",
    tint_low="#f8fafc",
    tint_high="#93c5fd",
    track="#dbe3ee",
    arrow="#64748b",
    tie="#8b5cf6",
)
DARK = Palette(
    paper="#0b1120",
    ink="#f1f5f9",
    soft="#94a3b8",
    card="#111a2e",
    border="#334155",
    group="#0f172a",
    fold="#10203d",
    fold_border="#3b82f6",
    badge="#e2e8f0",
    badge_ink="#0f172a",
    tint_low="#152038",
    tint_high="#1d4ed8",
    track="#26344d",
    arrow="#94a3b8",
    tie="#a78bfa",
)
THEMES = {"light": LIGHT, "dark": DARK}


def category_colour(category: str) -> str:
    return CATEGORY_COLOURS.get(category) or BESIDE_COLOURS.get(category) or CATEGORY_COLOURS["other"]


def category_name(category: str) -> str:
    return CATEGORY_NAMES.get(category, category)


def mixed(low: str, high: str, part: float) -> str:
    """The colour at `part` (0 to 1) of the way from one to another."""
    pairs = [(int(low[i : i + 2], 16), int(high[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * min(1.0, max(0.0, part))):02x}" for a, b in pairs)
