// The equation that a scheme of the user's own solves, u' = f - h/2 f'f + ..., as exactly as its entries are.

const Q = Fractions;
const integer = (n) => ratio(BigInt(n));

// As what the page has of its own schemes (equation.js): the factors of f, h f'f, h^2 f''(f,f), h^2 f'f'f.
function equationTerms(order, factors) {
  const what = [
    [0, "f"],
    [1, "f'f"],
    [2, "f''(f,f)"],
    [2, "f'f'f"],
  ];
  const terms = what.map(([h, text], i) => [0, h, text, factors[i]]).filter((term) => !same(term[3], ZERO));
  return { order: Math.max(3, order), terms: terms.map(([c, h, text, factor]) => [c, h, text, show(factor)]) };
}

// From the elementary weights a(t) of the trees with two and three vertices (Hairer, Lubich and Wanner 2006, IX.9).
function tableauEquation(A, b, order) {
  const [two, bushy, tall] = [[[]], [[], []], [[[]]]].map((tree) => dot(b, weights(tree, A)));
  return equationTerms(order, [
    ONE,
    Q.sub(two, ratio(1n, 2n)),
    Q.div(Q.add(Q.sub(bushy, two), ratio(1n, 6n)), integer(2)),
    Q.add(Q.sub(tall, two), ratio(1n, 3n)),
  ]);
}

// m_0 u' + m_1 h u'' + ... = f: rho(E) u = h sigma(E) f over h sigma(E), with E = exp(h d/dt); and solved for u'. Empty
// where sigma(1) or rho'(1) is 0.
function multistepEquation(a, b, next, order) {
  const past = (list, q) => sum(list.map((x, j) => Q.mul(x, q === 0 ? ONE : power(integer(-j), q))));
  const over = (x, q) => Q.div(x, ratio(factorial(q)));
  const r = (q) => over(Q.sub(ONE, past(a, q)), q),
    s = (q) => over(Q.add(next, past(b, q)), q);
  if (same(s(0), ZERO) || same(r(1), ZERO)) return {};
  const m = [];
  for (let q = 0; q <= Math.max(2, order); q++)
    m.push(
      Q.div(
        m.reduce((left, x, i) => Q.sub(left, Q.mul(x, s(q - i))), r(q + 1)),
        s(0),
      ),
    );
  const scaled = (x, n) => Q.div(x, power(m[0], n)),
    square = scaled(Q.mul(m[1], m[1]), 5),
    third = scaled(m[2], 4);
  const factors = [
    scaled(ONE, 1),
    Q.sub(ZERO, scaled(m[1], 3)),
    Q.sub(square, third),
    Q.sub(Q.add(square, square), third),
  ];
  return { ...equationTerms(order, factors), derivatives: m.map(show) };
}
