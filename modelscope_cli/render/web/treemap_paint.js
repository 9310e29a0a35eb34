// Cells as they look: frames with a header, solid pieces with words in them where there is room for words.

const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';
const PLAIN = "#64748b"; // frames of modules that are of no one category
const ON_COLOUR = "#020617"; // readable on every colour of a category, 4.6 : 1 and more
const STYLES = {
  light: { paper: "#ffffff", ink: "#0f172a", soft: "#5b6b82", tint: 0.13, edge: 0.42, faded: 0.13, ring: "#0f172a", halo: "#ffffff" },
  dark: { paper: "#0b1120", ink: "#e2e8f0", soft: "#a3b2c7", tint: 0.2, edge: 0.5, faded: 0.16, ring: "#ffffff", halo: "#0b1120" },
};

const mixes = new Map();

// `share` of a colour on paper, both as #rrggbb.
function mix(colour, paper, share) {
  const key = colour + paper + share;
  let found = mixes.get(key);
  if (!found) {
    const parts = [1, 3, 5].map((at) => {
      const [one, other] = [colour, paper].map((text) => parseInt(text.slice(at, at + 2), 16));
      return Math.round(one * share + other * (1 - share));
    });
    mixes.set(key, (found = `rgb(${parts.join(" ")})`));
  }
  return found;
}

const fontOf = (points, bold) => `${bold ? "600 " : ""}${points}px ${FONT}`;
const widths = new Map(); // measuring text is the slowest thing here

function measure(ctx, font, text) {
  const key = font + text;
  let width = widths.get(key);
  if (width === undefined) {
    if (widths.size > 20000) widths.clear();
    ctx.font = font;
    widths.set(key, (width = ctx.measureText(text).width));
  }
  return width;
}

// The text in the largest of some fonts in which it fits; else as much of it as says something; else null.
function fitted(ctx, fonts, text, room) {
  const font = fonts.find((each) => measure(ctx, each, text) <= room);
  if (font) return { font, text };
  const last = fonts[fonts.length - 1];
  let [low, high] = [0, Math.min(text.length, 400)];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (measure(ctx, last, `${text.slice(0, middle)}…`) <= room) low = middle;
    else high = middle - 1;
  }
  return low >= Math.max(3, Math.min(12, text.length / 2)) ? { font: last, text: `${text.slice(0, low)}…` } : null;
}

// Fonts for a line of this height, the largest first. None when not even a small letter would fit.
function fontsFor(height) {
  const most = height >= 16 ? 12 : height >= 13 ? 11 : height >= 11 ? 10 : height >= 9 ? 9 : 0;
  const fonts = [];
  for (let points = most; points >= Math.min(most, 10) && points; points--) fonts.push(fontOf(points, true));
  return fonts;
}

class Painter {
  constructor(ctx, model, by, style, matches) {
    Object.assign(this, { ctx, model, by, style, matches });
    this.hatch = hatching(ctx);
  }

  cell(cell) {
    const wide = cell.x1 - cell.x0;
    const high = cell.y1 - cell.y0;
    if (wide < 9 && high < 9) return this.grain(cell, wide, high);
    const [beside, above] = [wide > 5 ? 1 : 0.25, high > 16 ? 1 : high > 3 ? 0.5 : 0];
    const at = { x: cell.x0 + beside, y: cell.y0 + above, width: wide - 2 * beside, height: high - 2 * above };
    const share = this.matches ? this.matches.share(cell.place) : 1; // of it that is found; all is when nothing is looked for
    if (cell.open) this.frame(cell, at, share);
    else this.solid(cell, at, share);
  }

  shape({ x, y, width, height }, inset = 0) {
    const { ctx } = this;
    ctx.beginPath();
    if (width > 12 && height > 8) ctx.roundRect(x + inset, y + inset, width - 2 * inset, height - 2 * inset, 3);
    else ctx.rect(x + inset, y + inset, Math.max(0, width - 2 * inset), Math.max(0, height - 2 * inset));
  }

  frame(cell, at, share) {
    const { ctx, style } = this;
    const colour = cell.place.category.plain ? PLAIN : cell.place.category.colour;
    ctx.fillStyle = mix(colour, style.paper, share ? style.tint : style.tint / 3);
    ctx.strokeStyle = mix(colour, style.paper, share ? style.edge : style.edge / 3);
    ctx.lineWidth = 1;
    this.shape(at, at.height > 4 ? 0.5 : 0);
    ctx.fill();
    if (at.width > 6 && at.height > 4) ctx.stroke();
    const ink = share ? style.ink : style.soft;
    if (cell.depth === 0) this.upright(cell, at, ink, style.soft);
    else if (cell.depth) this.line(cell, at.x + 6, at.y + Math.min(at.height / 2, 11), at.width - 12, at.height, ink, style.soft);
    else if (cell.header) this.line(cell, at.x + 6, at.y + cell.header / 2, at.width - 10, cell.header, ink, style.soft);
  }

  solid(cell, at, share) {
    const { ctx, style } = this;
    const { colour, hatched } = cell.place.main;
    ctx.fillStyle = this.colour(colour, share);
    if (at.width < 7 || at.height < 7) ctx.fillRect(at.x, at.y, at.width, at.height);
    else {
      this.shape(at);
      ctx.fill();
    }
    if (hatched && share && at.width > 3 && at.height > 3) {
      ctx.fillStyle = this.hatch;
      ctx.fillRect(at.x, at.y, at.width, at.height);
    }
    if (!cell.quiet && at.height >= 9 && at.width >= 12) this.words(cell, at, share > 0.2 ? ON_COLOUR : style.soft);
  }

  // A cell too small for anything but its colour. There may be tens of thousands.
  grain(cell, wide, high) {
    const { ctx } = this;
    const gap = Math.min(wide, high) > 3 ? 0.5 : 0.2;
    ctx.fillStyle = this.colour(cell.place.main.colour, this.matches ? this.matches.share(cell.place) : 1);
    ctx.fillRect(cell.x0 + gap, cell.y0 + gap, wide - 2 * gap, high - 2 * gap);
  }

  colour(colour, share) {
    return share === 1 ? colour : mix(colour, this.style.paper, share ? 0.35 + 0.65 * share : this.style.faded);
  }

  // One to three lines in the upper left corner, or upright in a pillar.
  words(cell, at, ink) {
    const { ctx } = this;
    const room = at.width - 10;
    const label = cell.label ?? cell.place.label;
    const fonts = fontsFor(Math.min(at.height, 16));
    if (at.height > at.width * 1.3 && !fonts.some((font) => measure(ctx, font, label) <= room)) return this.upright(cell, at, ink, ink);
    if (at.height < 32) return this.line(cell, at.x + 5, at.y + at.height / 2, room, at.height, ink, ink);
    const name = fitted(ctx, fonts, label, room);
    if (!name) return;
    this.write(name.font, name.text, at.x + 5, at.y + 12, ink);
    const font = fontOf(name.font.startsWith("600 12") ? 12 : 10, false);
    let line = at.y + 27;
    for (const text of [this.model.figure(cell.place, this.by), describedAs(cell.place)]) {
      if (!text || line + 7 > at.y + at.height || measure(ctx, font, text) > room) continue;
      this.write(font, text, at.x + 5, line, ink);
      line += 15;
    }
  }

  // The name, then the figure if there is room for all of it.
  line(cell, x, middle, room, height, ink, soft) {
    const { ctx } = this;
    const fonts = fontsFor(height);
    const name = fonts.length ? fitted(ctx, fonts, cell.label ?? cell.place.label, room) : null;
    if (!name) return;
    this.write(name.font, name.text, x, middle, ink);
    const used = measure(ctx, name.font, name.text) + 6;
    const figure = this.model.figure(cell.place, this.by);
    const font = name.font.replace("600 ", "");
    if (used + measure(ctx, font, figure) <= room) this.write(font, figure, x + used, middle, soft);
  }

  write(font, text, x, middle, ink) {
    const { ctx } = this;
    ctx.textBaseline = "middle";
    ctx.font = font;
    ctx.fillStyle = ink;
    ctx.fillText(text, x, middle + 0.5);
  }

  upright(cell, at, ink, soft) {
    const { ctx } = this;
    ctx.save();
    ctx.translate(at.x + at.width / 2, at.y + at.height - 5);
    ctx.rotate(-Math.PI / 2);
    this.line(cell, 0, 0, at.height - 9, at.width, ink, soft);
    ctx.restore();
  }

  // How wide a frame must be for its words.
  wanted(cell) {
    const high = cell.y1 - cell.y0;
    const [font] = fontsFor(Math.min(high, 16));
    if (!font) return 0;
    return measure(this.ctx, font, `${cell.label ?? cell.place.label} ${this.model.figure(cell.place, this.by)}`) + 24;
  }
}

let stripes = null;

// Diagonal stripes: what is no parameter of the model, told apart without its colour.
function hatching(ctx) {
  if (stripes) return stripes;
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const pen = tile.getContext("2d");
  pen.strokeStyle = "rgb(255 255 255 / 0.38)";
  pen.lineWidth = 2.4;
  for (const shift of [-8, 0, 8]) {
    pen.moveTo(shift - 2, 10);
    pen.lineTo(shift + 10, -2);
  }
  pen.stroke();
  return (stripes = ctx.createPattern(tile, "repeat"));
}
