// A step of a scheme for u' = f(u): Y = h A F(Y) + U y, y+ = h B F(Y) + V y. Each value is a list, a part of the state.

// sum of row_j values_j; what is multiplied by 0 need not be there.
function combined(row, values, size) {
  const found = new Array(size).fill(0);
  row.forEach((c, j) => c !== 0 && values[j].forEach((x, i) => (found[i] += c * x)));
  return found;
}

// The stages in the order in which they can be had: those that depend on each other together. Without those that
// nothing needs. A stage needs those that its row of A names, and of Gamma.
function stageBlocks({ A, B, Gamma }) {
  const needed = new Set();
  const need = (i) => {
    if (needed.has(i)) return;
    needed.add(i);
    A[i].forEach((a, j) => (a !== 0 || (Gamma && Gamma[i][j] !== 0)) && need(j));
  };
  A.forEach((_, i) => B.some((row) => row[i] !== 0) && need(i));
  const blocks = [];
  for (let from = 0; from < A.length; from++) {
    let to = from;
    for (let i = from; i <= to; i++) A[i].forEach((a, j) => a !== 0 && needed.has(i) && (to = Math.max(to, j)));
    const block = Array.from({ length: to - from + 1 }, (_, i) => from + i).filter((i) => needed.has(i));
    if (block.length) blocks.push(block);
    from = to;
  }
  return blocks;
}

const implicit = ({ A }, block) => block.length > 1 || A[block[0]][block[0]] !== 0;

function takeStep(method, functions, h, y) {
  const { A, U, B, V, colours, Gamma } = method,
    size = y[0].length,
    K = [];
  for (const block of method.blocks) {
    const base = block.map((i) => {
      const carried = combined(U[i], y, size),
        outside = A[i].map((a, j) => (block.includes(j) ? 0 : h * a));
      return combined(outside, K, size).map((x, c) => carried[c] + x);
    });
    if (Gamma) rosenbrock(method, block[0], functions[0], h, y[0], base[0], K);
    else if (implicit(method, block)) newton(method, block, functions, h, base, K);
    else K[block[0]] = functions[colours[block[0]]].field(base[0]);
  }
  return V.map((row, i) => {
    const moved = combined(
      B[i].map((b) => h * b),
      K,
      size,
    );
    return combined(row, y, size).map((x, c) => x + moved[c]);
  });
}

// ------------------------------------------------------------------------------------------------- schemes as methods

// The matrices of a step, with A as it stands: what is analysed has A + Gamma of a Rosenbrock scheme.
function methodOf({ scheme, A, U, B, V, symbols }) {
  const share = shares(scheme).map(Number);
  const slopes = (rows) => rows.map((row) => row.map((x, j) => x * share[j]));
  const Gamma = scheme.Gamma && readRows(scheme.Gamma, symbols).map((row) => row.map(Fixed.toDouble));
  const own = Gamma ? A.map((row, i) => row.map((x, j) => (j < i ? x - Gamma[i][j] : 0))) : slopes(A);
  const method = { A: own, U, B: slopes(B), V, Gamma, colours: scheme.colours };
  return { ...method, blocks: stageBlocks(method) };
}

// The starting step: the solution by a one-step scheme, the history by the scheme itself. A stage at the end of the
// step, whose slope is carried, is taken where the starter ends.
function startingMethod(method, starter) {
  const s = method.A.length,
    m = starter.A.length,
    zeros = (n) => new Array(n).fill(0);
  const unit = method.V[0].map((_, j) => (j ? 0 : 1));
  const ends = method.A.map((row, i) => String([row, method.U[i]]) === String([method.B[0], method.V[0]]));
  const found = {
    A: [
      ...method.A.map((row, i) => (ends[i] ? [...zeros(s), ...starter.B[0]] : [...row, ...zeros(m)])),
      ...starter.A.map((row) => [...zeros(s), ...row]),
    ],
    U: [...method.U.map((row, i) => (ends[i] ? unit : row)), ...starter.A.map(() => unit)],
    B: method.B.map((row, i) => (i ? [...row, ...zeros(m)] : [...zeros(s), ...starter.B[0]])),
    V: method.V.map((row, i) => (i ? row : unit)),
    colours: [...method.colours, ...starter.colours],
  };
  return { ...found, blocks: stageBlocks(found) };
}

// What starts a scheme with a history, as odenets does it for u' = f(t, u): the first one-step scheme of the page of at
// least its order, explicit for an explicit one, without coefficients, and with stages that start from u.
function starterOf(scheme) {
  const explicit = (s) => told(s, "kind").startsWith("explicit"),
    order = (s) => parseInt(told(s, "order"), 10);
  const plain = (s) =>
    s.V.length === 1 && !s.symbols.length && s.functions.length === 1 && !s.Gamma && s.U.every(([u]) => u === "1");
  const found = DATA.schemes.find((s) => plain(s) && explicit(s) === explicit(scheme) && order(s) >= order(scheme));
  if (!found)
    throw new Refusal(`needs a history, and no scheme of the page has its order, ${order(scheme)}, to start it`);
  return found;
}

// u_0, u_1, ... as far as they are found; said: why not further.
function orbitOf(member, problem, start, h, steps) {
  const { scheme, seeds } = member,
    points = [start];
  try {
    const { parts, whole, functions } = systemOf(scheme, problem);
    const method = methodOf(member);
    const first = scheme.starting ? startingMethod(method, methodOf(analyse(starterOf(scheme), {}))) : method;
    const given = parts(start);
    let y = seeds.map((row) => {
      const slope = row[given.length] === 0 ? given[0].map(() => 0) : functions[0].field(given[0]);
      const held = combined(row.slice(0, -1), given, given[0].length);
      return held.map((x, i) => x + h * row[given.length] * slope[i]);
    });
    for (let n = 0; n < steps; n++) {
      y = takeStep(n < scheme.starting ? first : method, functions, h, y);
      const u = whole(y.slice(0, given.length));
      if (!u.every((x) => Math.abs(x) <= LIMIT)) throw new Refusal(`has left what is drawn after ${n + 1} steps`);
      points.push(u);
    }
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { points, said: error.message };
  }
  return { points, said: "" };
}
