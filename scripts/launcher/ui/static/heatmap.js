// Draws an `explanation` of docs/http.md over a picture: what speaks for a class, and where. Called by page.js.

// matplotlib's `inferno`, at nine even steps: perceptually uniform, and told apart by colour-blind people.
const COLOURS = [
  [0, 0, 4], [31, 12, 72], [85, 15, 109], [136, 34, 106], [186, 54, 85],
  [227, 89, 51], [249, 140, 10], [249, 201, 50], [252, 255, 164],
];
const CELL = 32; // pixels that a cell of the map becomes
const LARGEST = 512; // pixels a side of what is drawn, whatever the map's size

export class HeatMap {
  // `map` is h × w numbers, `box` the part of the upright picture under it: left, top, right, bottom, in pixels.
  constructor({ map, box }) {
    this.box = box;
    this.heat = positive(map);
    this.image = coloured(this.heat);
  }

  // Whether anything speaks for the class at all.
  get isEmpty() {
    return !this.heat.flat().some((value) => value > 0);
  }

  // Draw on a canvas that shows the picture at `scale`: the heat, and a frame around what the network saw, unless
  // that was the whole; returns whether there is a frame.
  draw(canvas, scale, strength) {
    const [left, top, right, bottom] = this.box.map((edge) => edge * scale);
    const place = [left, top, right - left, bottom - top];
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.globalAlpha = strength;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.image, ...place);
    context.globalAlpha = 1;
    const framed = left > 1 || top > 1 || right < canvas.width - 1 || bottom < canvas.height - 1;
    if (framed) shadeAround(context, place, canvas);
    return framed;
  }

  // Where the map is highest, in words.
  get where() {
    const rows = this.heat.length, columns = this.heat[0].length;
    const best = this.heat.flat().reduce((best, value, index, all) => (value > all[best] ? index : best), 0);
    const third = (position, count) => Math.min(2, Math.floor(((position + 0.5) / count) * 3));
    const row = ["upper", "", "lower"][third(Math.floor(best / columns), rows)];
    const column = ["left", "", "right"][third(best % columns, columns)];
    return [row, column].join(" ").trim() || "middle";
  }
}

// What speaks for the class, from 0 to 1; what speaks against it is 0.
function positive(map) {
  const highest = Math.max(1e-9, ...map.flat());
  return map.map((row) => row.map((value) => Math.max(0, value) / highest));
}

// Returns a canvas with the map in colour; the less a place speaks, the more the picture is seen through it.
function coloured(heat) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.min(LARGEST, CELL * heat[0].length);
  canvas.height = Math.min(LARGEST, CELL * heat.length);
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  for (let y = 0, at = 0; y < canvas.height; y++) {
    for (let x = 0; x < canvas.width; x++, at += 4) {
      const value = between(heat, (x + 0.5) / canvas.width, (y + 0.5) / canvas.height);
      image.data.set([...colour(value), 255 * Math.sqrt(value)], at);
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

// The map at a place from 0 to 1, bilinear between the cells' centres.
function between(heat, across, down) {
  const [top, bottom, v] = neighbours(down, heat.length);
  const [left, right, u] = neighbours(across, heat[0].length);
  const upper = heat[top][left] * (1 - u) + heat[top][right] * u;
  const lower = heat[bottom][left] * (1 - u) + heat[bottom][right] * u;
  return upper * (1 - v) + lower * v;
}

function neighbours(position, count) {
  const place = Math.min(count - 1, Math.max(0, position * count - 0.5));
  const first = Math.floor(place);
  return [first, Math.min(first + 1, count - 1), place - first];
}

function colour(value) {
  const [first, second, part] = neighbours((value * (COLOURS.length - 1) + 0.5) / COLOURS.length, COLOURS.length);
  return COLOURS[first].map((channel, index) => channel * (1 - part) + COLOURS[second][index] * part);
}

function shadeAround(context, [left, top, width, height], canvas) {
  const around = new Path2D();
  around.rect(0, 0, canvas.width, canvas.height);
  around.rect(left, top, width, height);
  context.fillStyle = "rgb(0 0 0 / 0.5)";
  context.fill(around, "evenodd");
  context.lineWidth = 2;
  context.strokeStyle = "rgb(255 255 255 / 0.8)";
  context.strokeRect(left, top, width, height);
}
