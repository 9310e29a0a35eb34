// The data of a map: what modules hold, each distinct content once, and places in the tree of them.
//
// The format is told in render/treemap_page.py. A content is a number; a Place is a walk from the root to one, made when
// somebody looks there. All these files are one script, in one function, behind d3-hierarchy.

const MANY = 1024; // parts beside each other above which they are bundled: 0–999, 1000–1999 …
const BUNDLES = 128;

const whole = (number) => Math.round(number).toLocaleString("en-US");

function scaled(value, step, names) {
  let at = 0;
  while (value >= 999.95 && at < names.length - 1) { value /= step; at++; }
  return `${value.toFixed(1)} ${names[at]}`;
}

const count = (number) => (number < 1000 ? `${number}` : scaled(number / 1000, 1000, ["k", "M", "B", "T"]));

function size(bytes, unit) {
  if (unit === "bytes") return whole(bytes);
  if (bytes < 1000) return `${bytes} B`;
  return unit === "si" ? scaled(bytes, 1000, ["B", "kB", "MB", "GB", "TB", "PB"]) : scaled(bytes, 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]);
}

function percent(part, all) {
  const value = all ? (part / all) * 100 : 0;
  return value > 0 && value < 0.05 ? "<0.1 %" : `${value.toFixed(1)} %`;
}


class Model {
  constructor(data) {
    const { nodes, words, names, kinds, types, figures } = data;
    const total = nodes.length;
    this.categories = data.categories.map(([key, title, colour, hatched]) => ({ key, title, colour, hatched, plain: key === "block" || key === "other" }));
    this.ties = new Map(Object.entries(data.ties)); // a tensor may be called constructor
    this.unit = data.unit;
    this.parameters = new Float64Array(total);
    this.bytes = new Float64Array(total);
    this.leaves = new Uint32Array(total); // tensors and pieces outside them
    this.tensors = new Uint32Array(total);
    this.levels = new Uint16Array(total); // below it, wrappers of a single part not counted
    this.category = new Uint8Array(total);
    this.main = new Uint8Array(total); // what stands for it where the inside is too small to see
    this.parts = new Array(total); // of modules: contents of the children
    this.about = new Array(total);
    const lists = names.map((list) => (Array.isArray(list) ? expanded(list).map((word) => words[word]) : list));
    this.lists = new Array(total);
    for (let id = 0; id < total; id++) {
      const row = nodes[id];
      const known = figures[id];
      if (row[0] < 0) {
        const [category, role, dtype, bits, counted] = types[-1 - row[0]];
        const shape = row.slice(1);
        const elements = shape.reduce((product, extent) => product * extent, 1);
        this.parameters[id] = known ? known[0] : counted ? elements : 0;
        this.bytes[id] = known ? known[1] : Math.ceil((elements * bits) / 8);
        this.leaves[id] = this.tensors[id] = 1;
        this.category[id] = this.main[id] = category;
        this.about[id] = { role: words[role], dtype: words[dtype], shape };
        continue;
      }
      const [category, kind, detail, inferred] = kinds[row[0]];
      this.category[id] = this.main[id] = category;
      this.about[id] = { kind: words[kind], detail: words[detail], inferred };
      if (row.length === 1) {
        [this.parameters[id], this.bytes[id]] = known;
        this.leaves[id] = 1;
        continue;
      }
      this.lists[id] = lists[row[1]];
      const parts = (this.parts[id] = expanded(row, 2));
      let heaviest = parts[0];
      for (const part of parts) {
        this.parameters[id] += this.parameters[part];
        this.bytes[id] += this.bytes[part];
        this.leaves[id] += this.leaves[part];
        this.tensors[id] += this.tensors[part];
        this.levels[id] = Math.max(this.levels[id], this.levels[part] + (parts.length > 1 ? 1 : 0));
        if (this.bytes[part] > this.bytes[heaviest]) heaviest = part;
      }
      if (this.categories[category].plain) this.main[id] = this.main[heaviest];
    }
    this.root = new Place(this, total - 1, data.title, null, 0);
  }

  name(id, index) {
    const list = this.lists[id];
    return typeof list === "number" ? `${index}` : list[index];
  }

  figure(place, by) {
    return by === "bytes" ? size(place.bytes, this.unit) : count(place.parameters);
  }

  // Sums by category of everything below a place, each content once with how often it occurs there.
  byCategory(place, by) {
    const times = new Float64Array(this.parts.length);
    for (const id of place.ids()) times[id]++;
    const sums = this.categories.map(() => 0);
    for (let id = times.length - 1; id >= 0; id--) {
      if (!times[id]) continue;
      if (this.parts[id]) for (const part of this.parts[id]) times[part] += times[id];
      else sums[this.category[id]] += times[id] * this[by][id];
    }
    return sums;
  }
}

// Numbers written as runs of (first, step, count), from a position on.
function expanded(runs, at = 0) {
  const numbers = [];
  for (; at < runs.length; at += 3) for (let index = 0; index < runs[at + 2]; index++) numbers.push(runs[at] + runs[at + 1] * index);
  return numbers;
}

// Where a content stands. `first` is the number of its first leaf, counted through the whole tree, which is what finding goes by.
class Place {
  constructor(model, id, name, parent, first) {
    this.model = model;
    this.id = id;
    this.name = name;
    this.parent = parent;
    this.first = first;
    this.bundled = null;
    this.children = null;
    this.orders = {}; // the children as they are shown: see ordered()
    this.parameters = model.parameters[id];
    this.bytes = model.bytes[id];
    this.leaves = model.leaves[id];
    this.tensors = model.tensors[id];
  }

  // Neighbours among too many, as one.
  static bundle(parent, places) {
    const numbered = places.every(({ name }) => isNumber(name));
    const name = numbered ? `${places[0].name}–${places[places.length - 1].name}` : `${places[0].name} …`;
    const bundle = new Place(parent.model, parent.id, name, parent, places[0].first);
    bundle.bundled = places;
    bundle.children = places;
    for (const key of ["parameters", "bytes", "leaves", "tensors"]) bundle[key] = places.reduce((sum, place) => sum + place[key], 0);
    for (const place of places) place.parent = bundle;
    return bundle;
  }

  get isModule() { return this.model.parts[this.id] !== undefined; }
  get about() { return this.model.about[this.id]; }
  get only() { return !this.bundled && this.model.parts[this.id]?.length === 1 ? this.inside()[0] : null; }
  get category() { return this.model.categories[this.model.category[this.id]]; }
  get main() { return this.model.categories[this.model.main[this.id]]; }
  get label() { return this.name || "(unnamed)"; }
  get levels() { return this.model.levels[this.id] + (this.bundled ? 0 : this.children && this.children[0]?.bundled ? 1 : 0); }
  get onlyTensors() { return !this.bundled && this.model.parts[this.id].every((part) => !this.model.parts[part]); }

  // Names from the root, as in the file.
  get path() {
    const names = [];
    for (let place = this; place.parent; place = place.parent) if (!place.bundled || place === this) names.unshift(place.name);
    return names.join(".");
  }

  // The places from the root down to this one.
  get way() {
    const way = [];
    for (let place = this; place; place = place.parent) way.unshift(place);
    return way;
  }

  ids() { return this.bundled ? this.bundled.map(({ id }) => id) : [this.id]; }

  inside() {
    if (this.children) return this.children;
    const { model, id } = this;
    if (!this.isModule) return (this.children = []);
    let first = this.first;
    const places = model.parts[id].map((part, index) => {
      const place = new Place(model, part, model.name(id, index), this, first);
      first += place.leaves;
      return place;
    });
    return (this.children = places.length > MANY ? this.bundles(places) : places);
  }

  bundles(places) {
    const outside = places.findIndex((place) => !place.tensors);
    const held = outside < 0 ? places : places.slice(0, outside);
    let step = 10;
    while (held.length / step > BUNDLES) step *= 10;
    const bundles = [];
    for (let at = 0; at < held.length; at += step) bundles.push(Place.bundle(this, held.slice(at, at + step)));
    return [...bundles, ...places.slice(held.length)];
  }

  // The place inside with this path, or undefined. Names may hold dots themselves.
  at(path) {
    for (const place of this.inside()) {
      if (place.name === path) return place;
      const rest = place.bundled ? path : path.startsWith(`${place.name}.`) ? path.slice(place.name.length + 1) : null;
      const found = rest !== null && (place.bundled || place.isModule) ? place.at(rest) : undefined;
      if (found) return found;
    }
    return undefined;
  }
}

const isNumber = (name) => /^\d+$/.test(name);

