// u' = lambda u, u(0) = 1, step by step. A partitioned system is what its functions make of it: x' = z y, y' = z x.

const complexProduct = (P, Q) => product(P, Q, plus, times, [0, 0]);

// P^-1 Q by elimination.
function solveLinear(P, Q) {
  const n = P.length,
    rows = P.map((row, i) => [...row, ...Q[i]]);
  for (let k = 0; k < n; k++) {
    let pivot = k;
    for (let i = k; i < n; i++) if (Math.hypot(...rows[i][k]) > Math.hypot(...rows[pivot][k])) pivot = i;
    [rows[k], rows[pivot]] = [rows[pivot], rows[k]];
    for (let i = 0; i < n; i++) {
      if (i === k) continue;
      const factor = over(rows[i][k], rows[k][k]);
      rows[i] = rows[i].map((x, j) => minus(x, times(factor, rows[k][j])));
    }
  }
  return rows.map((row, i) => row.slice(n).map((x) => over(x, row[i])));
}

// M(z) = V + z B (I - z A)^-1 U, in doubles.
function stepMatrix({ A, U, B, V }, z) {
  const byZ = (x) => [x * z[0], x * z[1]];
  const inverse = solveLinear(
    A.map((row, i) => row.map((x, j) => minus([i === j ? 1 : 0, 0], byZ(x)))),
    U.map((row) => row.map((x) => [x, 0])),
  );
  const moved = complexProduct(
    B.map((row) => row.map(byZ)),
    inverse,
  );
  return V.map((row, i) => row.map((x, j) => plus([x, 0], moved[i][j])));
}

// e^(t z G) u_0 with u' = z G u, by Taylor's series of a small part of it, squared up.
function exact({ scheme }, z, t) {
  const share = shares(scheme),
    n = scheme.components;
  const G = matrix(n, n, () => 0);
  scheme.functions.forEach(([taken, given], g) => {
    const stage = scheme.colours.indexOf(g);
    if (stage >= 0) G[given][taken] += 1 / Number(share[stage]);
  });
  const halvings = Math.max(0, Math.ceil(Math.log2(Math.hypot(...z) * Math.abs(t) * n + 1e-9))) + 1;
  const part = G.map((row) => row.map((x) => [(x * t * z[0]) / 2 ** halvings, (x * t * z[1]) / 2 ** halvings]));
  const unit = matrix(n, n, (i, j) => [i === j ? 1 : 0, 0]);
  let E = unit;
  for (let k = 18; k > 0; k--) {
    E = complexProduct(part, E).map((row, i) => row.map(([a, b], j) => plus([a / k, b / k], unit[i][j])));
  }
  for (let k = 0; k < halvings; k++) E = complexProduct(E, E);
  return E.map((row) => row[0]);
}

// The first component of the solution after 0, 1, ... steps. Where a scheme needs a history, its first steps are exact.
function played(analysed, z, steps) {
  const { scheme, B, V, nodes, seeds } = analysed;
  const start = exact(analysed, z, 0);
  const M = stepMatrix(analysed, z);
  let y = seeds.map((row) => [
    row.slice(0, -1).reduce((total, x, c) => plus(total, times([x, 0], start[c])), times([row[row.length - 1], 0], z)),
  ]);
  const found = [y[0][0]];
  for (let n = 0; n < steps; n++) {
    if (n < scheme.starting) {
      const slopes = nodes.map((c, i) => [times(z, exact(analysed, z, n + c)[scheme.functions[scheme.colours[i]][0]])]);
      const complex = (rows) => rows.map((row) => row.map((x) => [x, 0]));
      const moved = complexProduct(complex(B), slopes),
        kept = complexProduct(complex(V), y);
      y = kept.map((row, i) => [plus(row[0], moved[i][0])]);
      exact(analysed, z, n + 1).forEach((x, c) => {
        y[c] = [x];
      });
    } else {
      y = complexProduct(M, y);
    }
    found.push(y[0][0]);
  }
  return found;
}
