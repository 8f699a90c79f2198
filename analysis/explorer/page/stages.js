// Stages that are had by solving equations: Newton's method, and the linear equations of Rosenbrock schemes.

const MOST_ITERATIONS = 50,
  MOST_HALVINGS = 12,
  CONVERGED = 1e-14;

const solveReal = (P, q) =>
  solveLinear(
    P.map((row) => row.map((x) => [x, 0])),
    q.map((x) => [[x, 0]]),
  ).map(([[x]]) => x);

// Adds the slopes K of a block of stages, Y = base + h A F(Y), each of as many numbers as its base.
function newton({ A, colours }, block, functions, h, base, K) {
  const size = base[0].length,
    f = block.map((i) => functions[colours[i]]),
    own = block.map((i) => block.map((j) => h * A[i][j]));
  const missing = (Y) => {
    const slopes = Y.map((y, a) => f[a].field(y));
    return Y.flatMap((y, a) => combined(own[a], slopes, size).map((x, i) => base[a][i] + x - y[i]));
  };
  const jacobian = (Y) => {
    const each = Y.map((y, a) => f[a].jacobian(y)),
      n = Y.length * size;
    return matrix(n, n, (r, c) => {
      const [a, b] = [Math.floor(r / size), Math.floor(c / size)];
      return (r === c ? 1 : 0) - own[a][b] * each[b][r % size][c % size];
    });
  };
  solved(missing, jacobian, base).forEach((y, a) => (K[block[a]] = f[a].field(y)));
}

// Y with missing(Y) = 0. A step that leads farther away is halved, which most h that people try need no more than once.
function solved(missing, jacobian, Y) {
  const size = Y[0].length,
    norm = (q) => Math.hypot(...q);
  for (let round = 0, q = missing(Y); round < MOST_ITERATIONS; round++) {
    const step = solveReal(jacobian(Y), q);
    const moved = (part) => Y.map((y, a) => y.map((x, i) => x + part * step[a * size + i]));
    if (step.every((x, r) => Math.abs(x) <= CONVERGED * (1 + Math.abs(Y[Math.floor(r / size)][r % size]))))
      return moved(1);
    let part = 1,
      left = missing(moved(part));
    // At the level of rounding nothing is nearer than anything else.
    for (let n = 0; n < MOST_HALVINGS && !(norm(left) < norm(q)) && norm(q) > 1e-12; n++)
      left = missing(moved((part /= 2)));
    [Y, q] = [moved(part), left];
  }
  throw new Refusal("has a step whose stages Newton's method does not find at this h");
}

// K_i = f(Y_i) + h f'(u) sum_j Gamma_ij K_j, with which a Rosenbrock scheme has no equation to solve but linear ones.
function rosenbrock({ Gamma }, i, { field, jacobian }, h, u, Y, K) {
  const J = jacobian(u),
    before = Gamma[i].map((g, j) => (j < i ? h * g : 0)),
    known = combined(before, K, u.length);
  const right = field(Y).map((x, r) => x + J[r].reduce((total, a, c) => total + a * known[c], 0));
  K[i] = solveReal(
    J.map((row, r) => row.map((a, c) => (r === c ? 1 : 0) - h * Gamma[i][i] * a)),
    right,
  );
}
