// What all plots share: sharp canvases, axes with ticks and labels, colours of the theme.

// Okabe and Ito (2008), told apart with every common colour blindness.
const COLOURS = {
  light: ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B07D00", "#3B8FC4"],
  dark: ["#56B4E9", "#E8803C", "#2FC296", "#DD9BC1", "#E6B84A", "#8FCBF0"],
};

const dark = window.matchMedia("(prefers-color-scheme: dark)");
const colour = (i) => COLOURS[dark.matches ? "dark" : "light"][i % 6];
const themed = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const MARGIN = { left: 52, right: 12, top: 30, bottom: 42 };

// Sizes the canvas to its place on the page; height by ratio. Returns the context and the frame inside the axes.
function prepare(canvas, ratioOfHeight) {
  const scale = window.devicePixelRatio || 1,
    width = canvas.clientWidth || 480;
  const inner = width - MARGIN.left - MARGIN.right;
  const height = Math.round(inner * ratioOfHeight) + MARGIN.top + MARGIN.bottom;
  const wanted = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== wanted[0] || canvas.height !== wanted[1]) {
    [canvas.width, canvas.height] = wanted;
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, x: MARGIN.left, y: MARGIN.top, width: inner, height: height - MARGIN.top - MARGIN.bottom };
}

function ticks(low, high) {
  const rough = (high - low) / 5,
    unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * unit).find((s) => s >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(i * step);
  return found.map((x) => ({ x, text: written(x, Math.max(0, -Math.floor(Math.log10(step) + 1e-9))) }));
}

function written(x, decimals) {
  if (Math.abs(x) >= 1e5) return x.toExponential(0);
  return (Math.abs(x) < 10 ** -decimals / 2 ? 0 : x).toFixed(Math.min(decimals, 12)).replace("-", "\u2212");
}

// Frame, ticks, labels and title; ends are those of the axes. Returns where a point is drawn.
function axes(frame, ends, title, labels) {
  const { context, x, y, width, height } = frame;
  const at = (u, v) => [
    x + ((u - ends.low[0]) / (ends.high[0] - ends.low[0])) * width,
    y + height - ((v - ends.low[1]) / (ends.high[1] - ends.low[1])) * height,
  ];
  context.font = "12px system-ui, sans-serif";
  context.lineWidth = 1;
  context.fillStyle = themed("--text");
  context.strokeStyle = themed("--line");
  context.textBaseline = "top";
  context.textAlign = "center";
  for (const tick of ticks(ends.low[0], ends.high[0])) {
    const [u] = at(tick.x, 0);
    line(context, [
      [u, y + height],
      [u, y + height + 4],
    ]);
    context.fillText(tick.text, u, y + height + 6);
  }
  context.fillText(labels[0], x + width / 2, y + height + 23);
  context.textBaseline = "middle";
  context.textAlign = "right";
  for (const tick of ticks(ends.low[1], ends.high[1])) {
    const v = at(0, tick.x)[1];
    line(context, [
      [x - 4, v],
      [x, v],
    ]);
    context.fillText(tick.text, x - 7, v);
  }
  context.save();
  context.translate(10, y + height / 2);
  context.rotate(-Math.PI / 2);
  context.textAlign = "center";
  context.fillText(labels[1], 0, 0);
  context.restore();
  context.textAlign = "left";
  context.font = "600 13px system-ui, sans-serif";
  context.fillText(title, x, y - 15, width);
  context.font = "12px system-ui, sans-serif";
  context.strokeRect(x + 0.5, y + 0.5, width - 1, height - 1);
  return at;
}

function line(context, points) {
  context.beginPath();
  points.forEach(([u, v], i) => (i ? context.lineTo(u, v) : context.moveTo(u, v)));
  context.stroke();
}

function clipped(frame, draw) {
  const { context, x, y, width, height } = frame;
  context.save();
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
  draw(context);
  context.restore();
}

// The roots zeta at z, the unit circle, and e^z, what the exact solution is multiplied by.
function drawRoots(canvas, members, z) {
  const frame = prepare(canvas, 1);
  const roots = members.map(({ phi }) => rootsAt(phi, ...z).filter((root) => root.every(Number.isFinite)));
  const truth = [Math.exp(z[0]) * Math.cos(z[1]), Math.exp(z[0]) * Math.sin(z[1])];
  const reach = Math.min(6, Math.max(1.25, ...roots.flat().map((root) => 1.1 * Math.hypot(...root))));
  const at = axes(frame, { low: [-reach, -reach], high: [reach, reach] }, "Roots \u03b6 at z", [
    "Re \u03b6",
    "Im \u03b6",
  ]);
  clipped(frame, (context) => {
    context.strokeStyle = themed("--soft");
    const [u, v] = at(0, 0);
    context.beginPath();
    context.arc(u, v, frame.width / 2 / reach, 0, 2 * Math.PI);
    context.stroke();
    const [p, q] = at(...truth);
    context.strokeStyle = themed("--text");
    line(context, [
      [p - 6, q],
      [p + 6, q],
    ]);
    line(context, [
      [p, q - 6],
      [p, q + 6],
    ]);
    roots.forEach((list, i) => {
      context.fillStyle = colour(i);
      for (const root of list) {
        context.beginPath();
        context.arc(...at(...root), 4.5, 0, 2 * Math.PI);
        context.fill();
      }
    });
  });
}

// Re u_n over n beside the exact solution; shown: how many steps.
function drawPlay(canvas, members, z, steps, shown) {
  const frame = prepare(canvas, 0.45);
  const runs = members.map((member) => played(member, z, steps).map(([re]) => re));
  // One exact solution, and another one where x' = z y, y' = z x is played beside u' = z u.
  const kinds = [...new Map(members.map((member) => [member.scheme.components, member])).values()];
  const fine = kinds.map((member) =>
    Array.from({ length: steps * 12 + 1 }, (_, i) => [i / 12, exact(member, z, i / 12)[0][0]]),
  );
  const largest = (list) => list.reduce((most, x) => Math.max(most, Number.isFinite(x) ? Math.abs(x) : 0), 1);
  const usual = largest(fine.flat().map(([, x]) => x));
  const reach = 1.1 * Math.min(largest(runs.flat()), 3 * usual, 1e12);
  const at = axes(frame, { low: [0, -reach], high: [steps, reach] }, "u\u2032 = \u03bbu, u(0) = 1, step by step", [
    "step n (time n h)",
    "Re u",
  ]);
  clipped(frame, (context) => {
    context.strokeStyle = themed("--text");
    context.setLineDash([5, 4]);
    for (const curve of fine)
      line(
        context,
        curve.map(([t, x]) => at(t, x)),
      );
    context.setLineDash([]);
    runs.forEach((run, i) => {
      context.strokeStyle = context.fillStyle = colour(i);
      const points = run
        .slice(0, shown + 1)
        .filter(Number.isFinite)
        .map((x, n) => at(n, Math.max(-1e3 * reach, Math.min(1e3 * reach, x))));
      line(context, points);
      for (const [u, v] of points) {
        context.beginPath();
        context.arc(u, v, 2.5, 0, 2 * Math.PI);
        context.fill();
      }
    });
  });
}
