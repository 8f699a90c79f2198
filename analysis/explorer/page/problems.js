// Two systems with a first integral, each as u' = f(u) and as x' = f(y), y' = g(x), which is what partitioned schemes
// step. Hairer, Lubich and Wanner (2006), I.1.

const LIMIT = 1e6; // beyond it a solution has blown up

// Why a scheme is not stepped, or not further.
class Refusal extends Error {}

const PROBLEMS = {
  pendulum: {
    name: "The pendulum",
    labels: ["q", "p"],
    start: [2, 0],
    h: 0.3,
    allowed: ([q, p]) => Math.abs(q) <= 10 && Math.abs(p) <= 10,
    expected: "|q|, |p| up to 10",
    field: ([q, p]) => [p, -Math.sin(q)],
    jacobian: ([q]) => [
      [0, 1],
      [-Math.cos(q), 0],
    ],
    halves: [
      { field: (p) => p, slope: () => 1 },
      { field: (q) => -Math.sin(q), slope: (q) => -Math.cos(q) },
    ],
    split: (u) => u,
    joined: (x) => x,
    integral: ([q, p]) => (p * p) / 2 - Math.cos(q),
  },
  // In x = ln u, y = ln v the two halves are of one variable each.
  "lotka-volterra": {
    name: "Lotka\u2013Volterra",
    labels: ["u", "v"],
    start: [4, 2],
    h: 0.12,
    allowed: (u) => u.every((x) => x >= 0.01 && x <= 20),
    expected: "u and v from 0.01 to 20",
    field: ([u, v]) => [u * (v - 2), v * (1 - u)],
    jacobian: ([u, v]) => [
      [v - 2, u],
      [-v, 1 - u],
    ],
    halves: [
      { field: (y) => Math.exp(y) - 2, slope: (y) => Math.exp(y) },
      { field: (x) => 1 - Math.exp(x), slope: (x) => -Math.exp(x) },
    ],
    split: (u) => u.map(Math.log),
    joined: (x) => x.map(Math.exp),
    integral: ([u, v]) => Math.log(u) - u + 2 * Math.log(v) - v,
  },
};

// The parts of the state and the functions of a step, f_g(u) = f(u)/m for each of m that share f.
function systemOf(scheme, problem) {
  if (scheme.components === 1) {
    const share = Number(shares(scheme)[0]);
    const whole = {
      field: (u) => problem.field(u).map((x) => x / share),
      jacobian: (u) => problem.jacobian(u).map((row) => row.map((x) => x / share)),
    };
    return { parts: (u) => [u], whole: ([u]) => u, functions: scheme.functions.map(() => whole) };
  }
  const functions = scheme.functions.map(([taken, given]) => {
    if (scheme.components !== 2 || taken === given) throw new Refusal("is for systems of other parts than these two");
    const { field, slope } = problem.halves[given];
    return { field: ([x]) => [field(x)], jacobian: ([x]) => [[slope(x)]] };
  });
  return { parts: (u) => problem.split(u).map((x) => [x]), whole: (y) => problem.joined(y.map(([x]) => x)), functions };
}

// The exact solution after 0, 1, ... steps, `fine` points a step, by many small steps of Kutta's scheme.
function flow({ field }, start, h, steps, fine) {
  const small = Math.ceil(h / fine / 0.01),
    d = h / fine / small;
  const along = (u, k, c) => u.map((x, i) => x + c * d * k[i]);
  const points = [start];
  for (let u = start, n = 1; n <= steps * fine * small; n++) {
    const p = field(u),
      q = field(along(u, p, 0.5)),
      r = field(along(u, q, 0.5)),
      s = field(along(u, r, 1));
    u = u.map((x, i) => x + (d / 6) * (p[i] + 2 * q[i] + 2 * r[i] + s[i]));
    if (n % small === 0) points.push(u);
  }
  return points;
}
