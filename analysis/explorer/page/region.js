// The picture of the z plane: stability regions, or order stars, of the chosen schemes. A coarse picture at once, then
// finer ones, in pieces between which the page answers.

const BLOCKS = [8, 4, 2, 1];
const PIECE_MS = 10;
// Rounding allowed for in |zeta| <= 1.
const TOLERANCE = 1e-8;

const inside = (x) => x <= 1 + TOLERANCE;
const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

class Region {
  constructor(canvas) {
    this.canvas = canvas;
    this.picture = document.createElement("canvas");
    this.drawing = 0;
    this.stars = new Map();
  }

  // The function of x, y whose values up to 1 are drawn: |zeta|max; for the star e^x / |zeta|.
  measure(member, view, star) {
    if (!star) return (x, y) => radiusAt(member.phi, x, y, true);
    // To the next power of the square root of 2, so that a small move of the plane asks for no other spokes.
    const reach = Math.hypot(Math.abs(view.x) + view.half, Math.abs(view.y) + view.half);
    const outer = 2 ** (Math.ceil(2 * Math.log2(reach)) / 2);
    const key = JSON.stringify([member.phi, outer]);
    if (!this.stars.has(key)) {
      if (this.stars.size > 8) this.stars.clear();
      this.stars.set(key, principal(member.phi, outer));
    }
    const size = this.stars.get(key);
    return (x, y) => Math.exp(x) / size(x, y);
  }

  // Begins anew; what was being drawn is left.
  draw(members, state) {
    const { view, star } = state;
    const number = ++this.drawing;
    this.now = { members, state };
    const size = Math.max(50, Math.round(prepare(this.canvas, 1).width));
    const work = this.rows(
      members.map((m) => this.measure(m, view, star)),
      view,
      size,
    );
    // The first picture is made whole, so that there is one however fast the next change comes.
    let first = true;
    const go = () => {
      if (number !== this.drawing) return;
      const began = performance.now();
      let step,
        shown = false;
      do {
        step = work.next();
        shown ||= step.done || step.value;
      } while (!step.done && (first ? !shown : performance.now() - began < PIECE_MS));
      first = false;
      if (shown) this.show();
      if (!step.done) requestAnimationFrame(go);
    };
    go();
  }

  // All passes, a row at a time; yields true at the end of a pass.
  *rows(measures, view, size) {
    if (this.picture.width !== size || this.picture.height !== size) this.picture.width = this.picture.height = size;
    const context = this.picture.getContext("2d"),
      image = context.createImageData(size, size);
    const values = measures.map(() => new Float64Array(size * size));
    const coordinate = (i, block) => ((2 * (i + block / 2)) / size - 1) * view.half;
    // Coefficients are real: conjugate points have one value.
    const mirrored = view.y === 0 && size % 8 === 0;
    for (const block of BLOCKS) {
      for (let j = 0; j < (mirrored ? size / 2 : size); j += block) {
        const y = view.y - coordinate(j, block);
        measures.forEach((measure, m) => {
          for (let i = 0; i < size; i += block) values[m][j * size + i] = measure(view.x + coordinate(i, block), y);
          if (mirrored) values[m].copyWithin((size - block - j) * size, j * size, (j + 1) * size);
        });
        yield false;
      }
      this.paint(image.data, values, size, block);
      context.putImageData(image, 0, 0);
      if (block > 1) yield true;
    }
  }

  // Bands of a tenth of |zeta|, darker where more is damped, and the edge of the set.
  paint(data, values, size, block) {
    const shades = values.map((_, m) => rgb(colour(m)));
    data.fill(0);
    for (let j = 0; j < size; j++) {
      for (let i = 0; i < size; i++) {
        const at = (j - (j % block)) * size + i - (i % block);
        values.forEach((list, m) => {
          if (!inside(list[at])) return;
          const within = i > 0 && i < size - 1 && j > 0 && j < size - 1;
          const edge =
            block === 1 && within && ![at - 1, at + 1, at - size, at + size].every((next) => inside(list[next]));
          blend(data, 4 * (j * size + i), shades[m], edge ? 1 : 0.18 + 0.3 * (1 - Math.ceil(list[at] * 10) / 10));
        });
      }
    }
  }

  // The picture so far, with axes and the chosen point.
  show() {
    const { members, state } = this.now,
      { view, z, star } = state,
      frame = prepare(this.canvas, 1);
    frame.context.drawImage(this.picture, frame.x, frame.y, frame.width, frame.height);
    this.ends = { low: [view.x - view.half, view.y - view.half], high: [view.x + view.half, view.y + view.half] };
    this.frame = frame;
    const title = star ? "Order star: |\u03b6(z) e\u207b\u1dbb| > 1" : "Stability region: all |\u03b6(z)| \u2264 1";
    const at = axes(frame, this.ends, members.length ? title : "Choose a scheme", [
      "Re z, z = h\u03bb",
      "Im z, z = h\u03bb",
    ]);
    clipped(frame, (context) => {
      context.strokeStyle = themed("--soft");
      context.setLineDash([2, 3]);
      const [u, v] = at(0, 0);
      line(context, [
        [u, frame.y],
        [u, frame.y + frame.height],
      ]);
      line(context, [
        [frame.x, v],
        [frame.x + frame.width, v],
      ]);
      context.setLineDash([]);
      drawSpectrum(context, at, state);
      const [p, q] = at(...z);
      context.lineWidth = 2;
      context.strokeStyle = themed("--text");
      context.beginPath();
      context.arc(p, q, 5, 0, 2 * Math.PI);
      context.stroke();
    });
  }

  // z under a pointer event.
  at(event) {
    const box = this.canvas.getBoundingClientRect(),
      { x, y, width, height } = this.frame,
      { low, high } = this.ends;
    const part = [(event.clientX - box.left - x) / width, 1 - (event.clientY - box.top - y) / height];
    return part.map((p, i) => low[i] + p * (high[i] - low[i]));
  }
}

function blend(data, to, [r, g, b], alpha) {
  const below = data[to + 3] / 255,
    whole = alpha + below * (1 - alpha);
  [r, g, b].forEach((c, i) => {
    data[to + i] = (c * alpha + data[to + i] * below * (1 - alpha)) / whole;
  });
  data[to + 3] = whole * 255;
}
