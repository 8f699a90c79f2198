// What a scheme does to u' = lambda u, z = h lambda: M(z) = V + z B (I - z A)^-1 U, and
// Phi(zeta, z) = det(I - z A) det(zeta I - M(z)), a polynomial in zeta and z.

const matrix = (rows, columns, entry) =>
  Array.from({ length: rows }, (_, i) => Array.from({ length: columns }, (_, j) => entry(i, j)));

function product(P, Q, add, mul, zero) {
  return matrix(P.length, Q.length ? Q[0].length : 0, (i, j) =>
    Q.reduce((total, row, m) => add(total, mul(P[i][m], row[j])), zero),
  );
}

const fixedProduct = (P, Q) => product(P, Q, Fixed.add, Fixed.mul, 0n);

// The coefficients 1, c_1, c_2 ... of det(x I - P) = x^n + c_1 x^(n-1) + ..., by Faddeev and Le Verrier: it divides by
// whole numbers alone, and so serves matrices of power series as well.
function characteristic(P, multiply, add, scale, one, zero) {
  const found = [one];
  let N = P;
  for (let k = 1; k <= P.length; k++) {
    if (k > 1)
      N = multiply(
        P,
        matrix(P.length, P.length, (i, j) => (i === j ? add(N[i][j], found[k - 1]) : N[i][j])),
      );
    found.push(
      scale(
        P.reduce((trace, _, i) => add(trace, N[i][i]), zero),
        k,
      ),
    );
  }
  return found;
}

const fixedCharacteristic = (P) => characteristic(P, fixedProduct, Fixed.add, (x, k) => -x / BigInt(k), UNIT, 0n);

// f_g(u) = z u for a function that is alone in mapping its component, z/m u for each of m that share one.
function shares(scheme) {
  const same = (g) => scheme.functions.filter((pair) => String(pair) === String(scheme.functions[g])).length;
  return scheme.colours.map((g) => BigInt(same(g)));
}

const fixedSymbols = (values) =>
  Object.fromEntries(Object.entries(values).map(([name, x]) => [name, Fixed.ofDouble(x)]));
const readRows = (rows, symbols) => rows.map((row) => row.map((text) => value(text, symbols)));

function fixedMatrices(scheme, values) {
  const symbols = fixedSymbols(values);
  const read = (rows) => readRows(rows, symbols);
  const share = shares(scheme);
  const slopes = (rows) => read(rows).map((row) => row.map((entry, j) => entry / share[j]));
  return { A: slopes(scheme.A), U: read(scheme.U), B: slopes(scheme.B), V: read(scheme.V), symbols };
}

// Series in z, cut off behind z^s: no coefficient of Phi is of higher degree, so that nothing is lost.
function series(size) {
  const add = (a, b) => a.map((x, i) => x + b[i]);
  const mul = (a, b) => {
    const found = new Array(size).fill(0n);
    a.forEach((x, i) => {
      if (x) for (let j = 0; i + j < size; j++) found[i + j] += Fixed.mul(x, b[j]);
    });
    return found;
  };
  const zero = new Array(size).fill(0n);
  return { add, mul, zero, one: zero.map((_, i) => (i ? 0n : UNIT)) };
}

// Phi as a list, highest power of zeta first, of coefficients in z, lowest power first. Factors zeta^m, which carried
// slopes bring in, are left out by rounded: they decide nothing.
function stabilityPolynomial({ A, U, B, V }) {
  const s = A.length;
  const S = series(s + 1);
  const det = fixedCharacteristic(A);
  const powers = [V];
  for (let X = U, k = 1; k <= s; k++, X = fixedProduct(A, X)) powers.push(fixedProduct(B, X));
  const M = matrix(V.length, V.length, (i, j) => powers.map((P) => P[i][j]));
  const multiply = (P, Q) => product(P, Q, S.add, S.mul, S.zero);
  const scale = (x, k) => x.map((c) => -c / BigInt(k));
  return characteristic(M, multiply, S.add, scale, S.one, S.zero).map((c) => S.mul(c, det));
}

function rounded(polynomial) {
  const rows = polynomial.map((row) => row.map(Fixed.toDouble));
  for (const row of rows) while (row.length > 1 && row[row.length - 1] === 0) row.pop();
  while (rows.length > 1 && rows[rows.length - 1].every((c) => c === 0)) rows.pop();
  return rows;
}

// R(z) of an explicit scheme known in decimals: a coefficient that is 1/j! to its digits is 1/j!, as long as all before
// it were. analysis/linear/stability.py says why.
function settled(phi, digits) {
  if (!digits || phi.length !== 2 || phi[0].length > 1) return phi;
  const unit = 10 ** digits;
  let exponential = true,
    inverse = 1;
  const numerator = phi[1].map((c, j) => {
    inverse /= j || 1;
    exponential &&= Math.abs(c + inverse) < 100 / unit;
    return exponential ? -inverse : c;
  });
  return [phi[0], numerator];
}

// All that is drawn of a scheme with these values of its symbols.
function analyse(scheme, values) {
  const fixed = fixedMatrices(scheme, values);
  const doubles = (rows) => rows.map((row) => row.map(Fixed.toDouble));
  const read = (text) => Fixed.toDouble(value(text, fixed.symbols));
  const exactPhi = stabilityPolynomial(fixed);
  return {
    scheme,
    symbols: fixed.symbols,
    exactPhi,
    phi: settled(rounded(exactPhi), scheme.digits),
    A: doubles(fixed.A),
    U: doubles(fixed.U),
    B: doubles(fixed.B),
    V: doubles(fixed.V),
    nodes: scheme.nodes.map(read),
    seeds: scheme.seeds.map((row) => row.map(read)),
  };
}

// ------------------------------------------------------------------------------------------------- zero-stability

// A double root is known to half of the digits, a triple one to a third: what is computed of them is this near.
const NEAR = 1e-6,
  ALIKE = 1e-5;

function rank(rows) {
  const m = rows.map((row) => row.map((c) => [...c]));
  let found = 0;
  for (let column = 0; column < m.length; column++) {
    let pivot = found;
    for (let i = found; i < m.length; i++) if (Math.hypot(...m[i][column]) > Math.hypot(...m[pivot][column])) pivot = i;
    if (pivot >= m.length || Math.hypot(...m[pivot][column]) < NEAR) continue;
    [m[found], m[pivot]] = [m[pivot], m[found]];
    for (let i = found + 1; i < m.length; i++) {
      const factor = over(m[i][column], m[found][column]);
      for (let j = column; j < m.length; j++) m[i][j] = minus(m[i][j], times(factor, m[found][j]));
    }
    found++;
  }
  return found;
}

// Whether the powers of V stay bounded: no eigenvalue outside of the unit circle, and each on it with as many
// eigenvectors as it counts.
function zeroStable(scheme, values) {
  const exact = readRows(scheme.V, fixedSymbols(values));
  const V = exact.map((row) => row.map(Fixed.toDouble));
  const roots = rootsAt(
    fixedCharacteristic(exact).map((c) => [Fixed.toDouble(c)]),
    0,
    0,
  );
  return roots.every((root) => {
    const size = Math.hypot(...root);
    if (size < 1 - NEAR) return true;
    if (size > 1 + NEAR) return false;
    const alike = roots.filter((other) => Math.hypot(...minus(root, other)) < ALIKE).length;
    const shifted = V.map((row, i) => row.map((x, j) => (i === j ? minus([x, 0], root) : [x, 0])));
    return alike === 1 || V.length - rank(shifted) === alike;
  });
}

// The values of a symbol next to the present one between which the scheme stays zero-stable, or null where it is not.
// Ends of the slider are ends of the answer, with a null beside them.
function zeroStableRange(scheme, values, { name, low, high }) {
  const stable = (x) => zeroStable(scheme, { ...values, [name]: x });
  if (!stable(values[name])) return null;
  const end = (limit) => {
    const step = (limit - values[name]) / 60;
    let inside = values[name];
    for (let i = 1; i <= 60; i++) {
      let outside = values[name] + i * step;
      if (stable(outside)) {
        inside = outside;
        continue;
      }
      for (let halved = 0; halved < 25; halved++) {
        const middle = (inside + outside) / 2;
        if (stable(middle)) inside = middle;
        else outside = middle;
      }
      return (inside + outside) / 2;
    }
    return null;
  };
  return [end(low), end(high)];
}
