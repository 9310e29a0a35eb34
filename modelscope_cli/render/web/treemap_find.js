// Leaves whose full name fits a pattern. `before[i]` is how many of the first i leaves do, so that any place knows its share.
class Matches {
  constructor(root, pattern) {
    const { model } = root;
    this.before = new Uint32Array(root.leaves + 1);
    this.tensors = this.parameters = this.bytes = 0;
    let leaf = 0;
    const look = (id, path) => {
      const parts = model.parts[id];
      if (parts) {
        for (let index = 0; index < parts.length; index++) {
          const name = model.name(id, index);
          look(parts[index], path === null ? name : `${path}.${name}`);
        }
        return;
      }
      const fits = pattern.test(path ?? root.name);
      this.before[leaf + 1] = this.before[leaf] + (fits ? 1 : 0);
      leaf++;
      if (!fits) return;
      this.tensors += model.tensors[id];
      this.parameters += model.parameters[id];
      this.bytes += model.bytes[id];
    };
    look(root.id, null);
  }

  get number() { return this.before[this.before.length - 1]; }

  share({ first, leaves }) {
    return leaves ? (this.before[first + leaves] - this.before[first]) / leaves : 0;
  }

  // The largest place, all of it found, that begins after a leaf; from the start again when there is none.
  next(root, after) {
    const all = this.before[root.first + root.leaves];
    let from = after;
    if (this.before[Math.min(from, root.first + root.leaves)] >= all) from = root.first;
    let place = root;
    while (this.share(place) < 1 && place.isModule) {
      const inside = place.inside().find((part) => this.before[part.first + part.leaves] > this.before[Math.max(from, part.first)] && part.first + part.leaves > from);
      if (!inside) break;
      place = inside;
    }
    return place;
  }
}

