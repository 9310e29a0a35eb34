// A place in words: for cells, the tip, the line beneath the map, the way to it, the legend and the list.
// Text goes in as text, whatever it says.

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== null) element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

const strong = (text) => make("b", {}, text);
const spaced = (...pieces) => pieces.filter(Boolean).join(" ");
const tensorsOf = (number) => `${whole(number)} ${number === 1 ? "tensor" : "tensors"}`;
const timesOf = (shape) => shape.map(whole).join(" × ") || "scalar";

// What a place is, in a few words: its class or kind, or the shape and dtype of a tensor. ~ marks what is inferred.
function describedAs(place) {
  const { about, only } = place;
  if (place.bundled) return `${whole(place.bundled.length)} of ${whole(place.model.parts[place.id].length)}`;
  if (about.shape) return `${timesOf(about.shape)} ${about.dtype}`;
  if (only && !about.kind) return describedAs(only);
  return spaced(about.kind && `${about.inferred ? "~" : ""}${about.kind}`, about.detail);
}

// Everything about a place: lines of pieces of text.
function factsOf(place, by, top) {
  const { model, only, parent } = place;
  const lines = [];
  const tensor = place.about.shape ? place : only?.about.shape ? only : null;
  if (!tensor || tensor !== place) lines.push([strong(describedAs(place))]);
  if (tensor) {
    const { shape, dtype, role } = tensor.about;
    const holder = tensor.parent?.about;
    const of = tensor === place && holder?.kind ? ` of ${holder.inferred ? "~" : ""}${holder.kind}` : "";
    lines.push([strong(timesOf(shape)), ` ${spaced(dtype, "·", role)}${of}`]);
  }
  const exact = model.unit === "bytes" ? "" : ` (${whole(place.bytes)} bytes)`;
  lines.push([strong(whole(place.parameters)), " parameters · ", strong(size(place.bytes, model.unit)), exact]);
  const shares = [];
  if (parent) shares.push(`${percent(place[by], top[by])} of all ${by}`);
  if (parent?.parent) shares.push(`${percent(place[by], parent[by])} of ${parent.label}`);
  if (place.isModule && place.tensors > 1) shares.push(tensorsOf(place.tensors));
  if (shares.length) lines.push([shares.join(" · ")]);
  const tied = model.ties.get(place.path) ?? model.ties.get(only?.path);
  if (tied !== undefined) lines.push(["tied to ", strong(tied)]);
  return lines.filter(([first]) => first.textContent !== "");
}

function titleOf({ title, facts }, top) {
  const { model } = top;
  const figures = [[whole(top.parameters), " parameters"], [size(top.bytes, model.unit), ""], [whole(top.tensors), top.tensors === 1 ? " tensor" : " tensors"]];
  const pieces = [...figures.map(([figure, unit]) => make("span", {}, strong(figure), unit)), ...facts.map((fact) => make("span", {}, fact))];
  return make("div", { class: "title" }, make("h1", {}, title), make("p", {}, ...pieces.flatMap((piece, at) => (at ? [" · ", piece] : [piece]))));
}

// The places from the root down to the one that fills the map.
function crumbsOf(root, by, top, go) {
  const { way } = root;
  return way.map((place, at) => {
    const last = at === way.length - 1;
    const button = make("button", { type: "button", "aria-current": last ? "location" : null, title: place.path || place.label }, place.label);
    if (!last) button.addEventListener("click", () => go({ root: place, selected: way[at + 1] }));
    const item = make("li", {}, button);
    if (last) item.append(make("span", { class: "figures" }, [place.model.figure(place, by), place === top ? "" : percent(place[by], top[by])].filter(Boolean).join(" · ")));
    return item;
  });
}

function swatch(kind, { colour, hatched }, width = null) {
  const piece = make("span", { class: `${kind}${hatched ? " hatched" : ""}`, "aria-hidden": "true" });
  piece.style.backgroundColor = colour;
  if (width !== null) piece.style.width = width;
  return piece;
}

function legendOf(root, by) {
  const sums = root.model.byCategory(root, by).map((sum, at) => [sum, root.model.categories[at]]);
  const shown = sums.filter(([sum]) => sum > 0).sort(([one], [other]) => other - one);
  return shown.map(([sum, category]) => make("li", {}, swatch("swatch", category), `${category.title} ${percent(sum, root[by])}`));
}

// What is inside, the largest first: for small screens, screen readers and paper.
function partsOf(root, by, most, zoom, more) {
  const parts = root.inside().slice().sort((one, other) => other[by] - one[by]);
  const rows = parts.slice(0, most).map((place) =>
    make("li", {}, make("button", { type: "button", title: place.path, onclick: () => zoom(place) },
      make("span", { class: "name" }, place.label),
      make("span", { class: "kind" }, describedAs(place)),
      make("span", { class: "track", "aria-hidden": "true" }, swatch("fill", place.main, `${root[by] ? (place[by] / root[by]) * 100 : 0}%`)),
      make("span", { class: "figure" }, place.model.figure(place, by)),
      make("span", { class: "figure" }, percent(place[by], root[by])))));
  const left = parts.length - rows.length;
  if (left > 0) rows.push(make("li", {}, make("button", { type: "button", class: "more", onclick: more }, `… ${whole(left)} more`)));
  return rows;
}

function foundOf(matches, top) {
  if (!matches.number) return ["No tensor has a name like that."];
  const { tensors, parameters, bytes } = matches;
  return [strong(tensorsOf(tensors)), " · ", strong(count(parameters)), ` parameters (${percent(parameters, top.parameters)}) · `,
    strong(size(bytes, top.model.unit)), ` (${percent(bytes, top.bytes)}) · Enter: next`];
}
