// Orbits of the pendulum and of Lotka and Volterra: the plane of the state, and the error of the first integral.

// Orbits are drawn as far as so many half widths of the exact one from its middle.
const REACH = 1.8;
const LOWEST_ERROR = -16;

function endsOf(exact, runs) {
  const ends = [0, 1].map((i) => {
    const own = exact.map((u) => u[i]);
    const [low, high] = [Math.min(...own), Math.max(...own)];
    const middle = (low + high) / 2,
      half = Math.max((high - low) / 2, 0.1) * REACH;
    const near = runs.flatMap(({ points }) =>
      points.map((u) => Math.max(middle - half, Math.min(middle + half, u[i]))),
    );
    const all = [Math.min(low, ...near), Math.max(high, ...near)];
    const room = 0.06 * Math.max(all[1] - all[0], 0.2);
    return [all[0] - room, all[1] + room];
  });
  return { low: ends.map(([low]) => low), high: ends.map(([, high]) => high) };
}

// Returns what turns a place in the frame into a state.
function drawPhase(canvas, problem, exact, runs, shown, fine) {
  const frame = prepare(canvas, 0.8),
    ends = endsOf(exact, runs);
  const at = axes(frame, ends, `${problem.name}, step by step`, problem.labels);
  clipped(frame, (context) => {
    // Without dashes: those of several rounds would fill each other's gaps.
    context.strokeStyle = themed("--text");
    line(
      context,
      exact.map((u) => at(...u)),
    );
    runs.forEach(({ points }, i) => {
      context.strokeStyle = context.fillStyle = colour(i);
      context.globalAlpha = 0.45;
      const drawn = points.slice(0, shown + 1).map((u) => at(...u));
      line(context, drawn);
      context.globalAlpha = 1;
      for (const [n, [x, y]] of drawn.entries()) {
        context.beginPath();
        context.arc(x, y, n === drawn.length - 1 ? 5 : 2, 0, 2 * Math.PI);
        context.fill();
      }
    });
    cross(context, at(...exact[Math.min(shown * fine, exact.length - 1)]));
  });
  return (x, y) => [
    ends.low[0] + ((x - frame.x) / frame.width) * (ends.high[0] - ends.low[0]),
    ends.low[1] + (1 - (y - frame.y) / frame.height) * (ends.high[1] - ends.low[1]),
  ];
}

function cross(context, [x, y]) {
  context.strokeStyle = themed("--text");
  context.lineWidth = 2;
  for (const [dx, dy] of [
    [6, 6],
    [6, -6],
  ])
    line(context, [
      [x - dx, y - dy],
      [x + dx, y + dy],
    ]);
}

// log10 |I(u_n) - I(u_0)| over time.
function drawIntegral(canvas, problem, runs, h, steps, shown) {
  const frame = prepare(canvas, 0.8);
  const errors = runs.map(({ points }) =>
    points.map((u) => Math.log10(Math.abs(problem.integral(u) - problem.integral(points[0])))),
  );
  const known = errors.flat().filter(Number.isFinite);
  const low = Math.max(LOWEST_ERROR, Math.floor(Math.min(-1, ...known))),
    high = Math.min(2, Math.ceil(Math.max(low + 1, ...known)));
  const at = axes(frame, { low: [0, low], high: [steps * h, high] }, "Error of the first integral I", [
    "time n h",
    "log\u2081\u2080 |I(u\u2099) \u2212 I(u\u2080)|",
  ]);
  clipped(frame, (context) => {
    context.lineWidth = 1.5;
    errors.forEach((list, i) => {
      context.strokeStyle = colour(i);
      const points = list.slice(0, shown + 1).map((e, n) => [n * h, e]);
      line(
        context,
        points.filter(([, e]) => Number.isFinite(e)).map((p) => at(...p)),
      );
    });
  });
}
