// Where the cells of a picture lie: d3's tiles, level by level, only into rectangles that are large enough to see.
//
// A cell is a place with a rectangle, x0 y0 x1 y1. `open` ones are frames around others, those after them in the list;
// `header` is the height kept for the name of a frame; inside a frame without one all is `quiet`, because a name alone would
// be taken for the name of the whole. `also` are places that are shown as one with the cell's own.

const { treemapDice, treemapSlice, treemapSquarify } = d3;

// The parts of a place that are larger than nothing, in the order in which they are shown. Worked out once.
function ordered(place, view, by) {
  const key = `${view} ${by}`;
  return (place.orders[key] ??= inOrder(place.inside().filter((part) => part[by] > 0), view, by));
}

function inOrder(parts, view, by) {
  parts.inRows = view === "treemap" && inRows(parts, by);
  return view === "icicle" || parts.inRows ? parts : parts.sort((one, other) => other[by] - one[by]);
}

// Whether they are a numbered list of things of about the same size, which is read in rows like text.
function inRows(parts, by) {
  if (parts.length < 4 || !parts.every(({ name }) => /^\d/.test(name))) return false;
  const largest = Math.max(...parts.map((part) => part[by]));
  return parts.filter((part) => part[by] > largest / 2).length >= parts.length * 0.6;
}

function cellsOf(parts, by) {
  return parts.map((place) => ({ place, value: place[by], x0: 0, y0: 0, x1: 0, y1: 0 }));
}

const summed = (children) => ({ children, value: children.reduce((sum, child) => sum + child.value, 0), x0: 0, y0: 0, x1: 0, y1: 0 });

function tiles(place, by, x0, y0, x1, y1) {
  const parts = ordered(place, "treemap", by);
  const cells = cellsOf(parts, by);
  if (!parts.inRows) {
    treemapSquarify(summed(cells), x0, y0, x1, y1);
    return cells;
  }
  const across = columns(cells.length, x1 - x0, y1 - y0);
  const rows = [];
  for (let at = 0; at < cells.length; at += across) rows.push(summed(cells.slice(at, at + across)));
  treemapSlice(summed(rows), x0, y0, x1, y1);
  for (const row of rows) treemapDice(row, row.x0, row.y0, row.x1, row.y1);
  return cells;
}

// How many of `number` equal cells stand in a row: a little wider than high, and no ragged last row if that can be had.
function columns(number, width, height) {
  let best = 1;
  let least = Infinity;
  for (let across = 1; across <= number; across++) {
    const rows = Math.ceil(number / across);
    const shape = Math.abs(Math.log((width / across / (height / rows)) / 1.2));
    const missing = rows * across - number;
    const cost = shape + (missing ? 0.25 + missing / across : 0);
    if (cost < least) [least, best] = [cost, across];
  }
  return best;
}

// A module that holds but one thing is shown as one with it: `layers` + `0` = `layers.0`.
function merged(cell) {
  const { model } = cell.place;
  cell.label = cell.place.label;
  let tip = cell.place;
  while (!tip.bundled && model.parts[tip.id]?.length === 1) {
    tip = tip.inside()[0];
    if (!tip.isModule) return { solid: true };
    cell.also = [...(cell.also || []), cell.place];
    cell.place = tip;
    cell.label += `.${tip.label}`;
  }
  return { solid: !tip.isModule };
}

function layOutTreemap(root, by, width, height) {
  const cells = [];
  const inside = (place, x0, y0, x1, y1, quiet) => {
    for (const cell of tiles(place, by, x0, y0, x1, y1)) visit(cell, quiet);
  };
  const visit = (cell, quiet) => {
    cell.quiet = quiet;
    const wide = cell.x1 - cell.x0;
    const high = cell.y1 - cell.y0;
    cells.push(cell);
    if (wide < 14 || high < 14) return;
    if (merged(cell).solid) return;
    const room = cell.place.onlyTensors ? wide >= 110 && high >= 70 : wide >= 18 && high >= 18;
    if (!room) return;
    cell.header = wide >= 44 && high >= 32 && !quiet ? 19 : 0;
    const pad = cell.header ? (wide > 160 && high > 120 ? 4 : 3) : 2;
    const parts = cell.place.inside().length;
    if (((wide - 2 * pad) * (high - cell.header - 2 * pad)) / parts < 8) { cell.header = 0; return; }
    cell.open = true;
    inside(cell.place, cell.x0 + pad, cell.y0 + (cell.header || pad), cell.x1 - pad, cell.y1 - pad, !cell.header);
  };
  if (root.isModule && root.inside().some((part) => part[by] > 0)) inside(root, 0, 0, width, height, false);
  else if (root[by] > 0) visit({ place: root, value: root[by], x0: 0, y0: 0, x1: width, y1: height }, false);
  return cells;
}

// Columns of levels. What has nothing inside reaches to the right edge; columns are as wide as what is written in them.
function layOutIcicle(root, by, width, height, wanted) {
  const cells = [];
  const spine = width > 560 ? 30 : 22; // the root, written from below
  root.inside();
  const shown = Math.max(1, Math.min(root.levels || 1, Math.floor((width - spine) / (width > 560 ? 120 : 92))));
  const widest = new Array(shown + 1).fill(64);
  const visit = (cell, depth) => {
    cells.push(cell);
    cell.depth = depth;
    const high = cell.y1 - cell.y0;
    const solid = depth > 0 && merged(cell).solid;
    if (high < 2.5 || solid || !cell.place.isModule || depth === shown) return;
    const parts = ordered(cell.place, "icicle", by);
    if (high / parts.length < 0.9 && depth > 0) return;
    cell.open = true;
    widest[depth] = Math.min(240, Math.max(widest[depth], wanted(cell)));
    const below = cellsOf(parts, by);
    treemapSlice(summed(below), 0, cell.y0, width, cell.y1);
    for (const part of below) visit(part, depth + 1);
  };
  if (root[by] > 0) visit({ place: root, value: root[by], x0: 0, y0: 0, x1: width, y1: height }, 0);
  const deepest = cells.reduce((most, { depth }) => Math.max(most, depth), 0);
  const columns = widest.slice(1, deepest + 1);
  columns[deepest - 1] = 180; // no frames in the last one
  const unit = Math.min(1.5, (width - spine) / columns.reduce((sum, each) => sum + each, 0));
  const edges = [0, spine];
  for (const each of columns) edges.push(edges[edges.length - 1] + each * unit);
  for (const cell of cells) {
    cell.x0 = edges[cell.depth];
    cell.x1 = cell.open ? edges[cell.depth + 1] : width;
  }
  return cells;
}

const LAYOUTS = { treemap: layOutTreemap, icicle: layOutIcicle };
