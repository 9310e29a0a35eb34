// The rows of a table as a tree: their order, what is folded, what a search leaves. A table without levels is a tree of leaves.

const LAST = { more: 1, section: 2, total: 3 }; // rows that stay below their siblings however these are sorted
const FOLD = /\d+(?:–\d+)?(?:,(?:…|\d+(?:–\d+)?))*/g; // the numbers of equal siblings in one row: 0–31, or 0,2,4,…,30
const byNature = new Intl.Collator("en", { numeric: true, sensitivity: "base" }).compare;

class Rows {
  constructor(body) {
    this.body = body;
    this.all = [];
    this.top = { level: -1, children: [], open: true, shown: true, way: "" };
    const way = [this.top];
    for (const [place, tr] of [...body.rows].entries()) {
      const level = Math.min(Number(tr.dataset.level ?? 0), way.length - 1);
      way.length = level + 1;
      const parent = way[level];
      const last = Object.entries(LAST).find(([name]) => tr.classList.contains(name))?.[1] ?? 0;
      const row = { tr, place, parent, level, last, children: [], open: true, kept: true, shown: true };
      parent.children.push(row);
      this.all.push(row);
      way.push(row);
    }
    this.nested = this.all.some((row) => row.children.length);
    this.searching = false;
  }

  // Siblings by a column, 1 upwards and -1 downwards, null as the file has them. Children stay under their parent.
  sort(column, direction) {
    const values = new Map(this.all.map((row) => [row, column === null ? row.place : valueOf(row.tr.cells[column])]));
    const order = (one, other) => {
      if (one.last !== other.last) return one.last - other.last;
      const [a, b] = [values.get(one), values.get(other)];
      if (a === "" || b === "") return (a === "") - (b === "") || one.place - other.place;
      const difference = typeof a === "number" && typeof b === "number" ? (a > b) - (a < b) : byNature(`${a}`, `${b}`);
      return difference * (direction ?? 1) || one.place - other.place;
    };
    const ordered = [];
    const walk = (row) => {
      for (const child of row.children.sort(order)) {
        ordered.push(child.tr);
        walk(child);
      }
    };
    walk(this.top);
    this.body.append(...ordered);
  }

  // Show what stands under open rows only; of a search, what it found and the rows around that.
  show() {
    const walk = (row) => {
      for (const child of row.children) {
        child.shown = row.shown && row.open && child.kept;
        child.tr.hidden = !child.shown;
        walk(child);
      }
    };
    walk(this.top);
  }

  // As deep as `most` rows allow.
  foldTo(most) {
    const deepest = Math.max(0, ...this.all.map((row) => row.level));
    let level = deepest;
    while (level > 0 && this.all.filter((row) => row.level <= level).length > most) level--;
    for (const row of this.all) row.open = row.level < level;
    return level < deepest;
  }

  openAll(open) {
    for (const row of this.all) row.open = open;
  }

  // Keep rows with all these words in their path or text, and what is around them. Returns how many were found.
  search(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length && !this.searching) this.before = new Map(this.all.map((row) => [row, row.open]));
    if (words.length) this.openAll(true);
    else if (this.searching) for (const [row, open] of this.before) row.open = open;
    this.searching = words.length > 0;
    let found = 0;
    const walk = (row) => {
      let any = false;
      for (const child of row.children) {
        const hit = !words.length || words.every((word) => says(child, word));
        const inside = walk(child);
        child.kept = hit || inside;
        child.tr.classList.toggle("context", this.searching && !hit && inside);
        if (hit) found++;
        any ||= child.kept;
      }
      return any;
    };
    walk(this.top);
    return found;
  }
}

// What a cell is sorted by: its number, its text, "" where there is nothing.
function valueOf(cell) {
  if (!cell) return "";
  return cell.dataset.v === undefined ? cell.textContent.trim() : Number(cell.dataset.v);
}

const labelOf = (row) => row.tr.cells[0].textContent.trim().toLowerCase().replace(/ ×\d+$/, "");

// Whether a row's path or the words beside it have this in them.
function says(row, word) {
  row.path ??= row.parent.path ? `${row.parent.path}.${labelOf(row)}` : labelOf(row);
  row.text ??= [...row.tr.cells].slice(1).filter((cell) => cell.dataset.v === undefined).map((cell) => cell.textContent.toLowerCase()).join("\n");
  return row.text.includes(word) || row.path.includes(word) || unfolded(row.path, word).some((path) => path.includes(word));
}

// The paths that a folded one stands for, as far as numbers in the word say: layers.0–31 for layers.17 is layers.17.
function unfolded(path, word) {
  const numbers = [...new Set(word.match(/\d+/g) ?? [])].slice(0, 4);
  if (!numbers.length || !path.includes("–") && !path.includes(",")) return [];
  let paths = [""];
  let at = 0;
  for (const match of path.matchAll(FOLD)) {
    const between = path.slice(at, match.index);
    const meant = /[–,]/.test(match[0]) ? [match[0], ...numbers.filter((number) => holds(match[0], Number(number)))] : [match[0]];
    paths = paths.flatMap((start) => meant.map((number) => start + between + number)).slice(0, 256);
    at = match.index + match[0].length;
  }
  return paths.map((start) => start + path.slice(at));
}

function holds(fold, number) {
  const pieces = fold.split(",");
  return pieces.some((piece, at) => {
    const [first, last] = piece === "…" ? [pieces[at - 1]?.split("–").pop(), pieces[at + 1]?.split("–")[0]] : [piece.split("–")[0], piece.split("–").pop()];
    return Number(first) <= number && number <= Number(last);
  });
}
