// The equation whose exact solution the numbers u_n of a scheme follow, with the coefficients of the sliders in it.

// Series in z are known to z^TERMS; so many terms after the first are shown.
const TERMS = 12,
  SHOWN_TERMS = 3;
// Rounding of fixed point, far below any coefficient.
const vanishes = (x) => (x < 0n ? -x : x) < 1n << 90n;

// u_n of u' = lambda u solves u' = lambda (c_0 + c_1 z + c_2 z^2 + ...) u exactly, if its step is the principal root
// zeta(z): these are the coefficients c of log(zeta)/z. null where zeta(0) is not 1, or is no series in z.
function principalSeries({ exactPhi, scheme }) {
  const parts = aroundOne(exactPhi);
  const start = parts && largestRoot(parts.map((part) => part[0]));
  if (start === null) return null;
  const S = series(TERMS + 1);
  const { root, slope } = start,
    eta = [...S.zero];
  eta[0] = root;
  // Order by order: what is missing of F(eta, z) = 0, over the slope of F.
  for (let n = 1; n <= TERMS; n++) {
    const missing = parts.reduceRight((total, part) => S.add(S.mul(total, eta), part), S.zero)[n];
    eta[n] = -Fixed.div(missing, slope);
  }
  return logarithm(eta).map((c, i) => (i > 0 && Math.abs(c) < 100 / 10 ** (scheme.digits || 400) ? 0 : c));
}

// F(eta, z) = Phi(1 + z eta, z) / z^m, with the lowest m at which something is left at z = 0: for each power of eta,
// lowest first, a series in z.
function aroundOne(phi) {
  // By the highest power of zeta - 1 first, Horner's scheme again and again.
  const rows = phi.map((row) => [...row]);
  for (let end = rows.length - 1; end > 0; end--) {
    for (let j = 1; j <= end; j++) rows[j] = rows[j].map((x, i) => x + rows[j - 1][i]);
  }
  rows.reverse();
  const first = (row) => row.findIndex((x) => !vanishes(x));
  const lowest = Math.min(...rows.map((row, j) => (first(row) < 0 ? Infinity : first(row) + j)));
  const at = (row, i) => (i < 0 || i >= row.length || vanishes(row[i]) ? 0n : row[i]);
  return rows.map((row, j) => Array.from({ length: TERMS + 1 }, (_, i) => at(row, i + lowest - j)));
}

// Of q_0 + q_1 x + q_2 x^2 the largest real root and the slope there; null where there is none, or a double one.
function largestRoot(q) {
  let degree = q.length - 1;
  while (degree > 0 && vanishes(q[degree])) degree--;
  if (degree === 1) return { root: -Fixed.div(q[0], q[1]), slope: q[1] };
  const square = degree === 2 ? Fixed.mul(q[1], q[1]) - 4n * Fixed.mul(q[0], q[2]) : 0n;
  if (degree !== 2 || square < 0n || vanishes(square)) return null;
  const side = q[2] < 0n ? -1n : 1n,
    slope = side * Fixed.pow(square, ratio(1n, 2n));
  return { root: Fixed.div(slope - q[1], 2n * q[2]), slope };
}

// log(1 + z eta)/z, from (1 + z eta)' = (1 + z eta) (log(1 + z eta))'.
function logarithm(eta) {
  const derivative = [];
  eta.forEach((x, i) => {
    const known = derivative.reduce((total, l, j) => total + Fixed.mul(eta[i - 1 - j], l), 0n);
    derivative.push(BigInt(i + 1) * x - known);
  });
  return derivative.map((l, i) => Fixed.toDouble(l / BigInt(i + 1)));
}

// ------------------------------------------------------------------------------------------------- as text

const raised = (n) =>
  String(n).replace(/\d/g, (d) => "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"[d]);
const powerOf = (name, n) => (n === 0 ? "" : n === 1 ? name : `${name}${raised(n)}`);
const primed = (text) => text.replace(/\^\((\d+)\)/g, (_, n) => `\u207d${raised(n)}\u207e`).replaceAll("'", "\u2032");
const typeset = (text) =>
  primed(text)
    .replace(/h\^(\d)/g, (_, n) => powerOf("h", n))
    .replaceAll("*", " ")
    .replaceAll("-", "\u2212")
    .replace("...", "\u2026");
const derivativeOf = (n) => (n < 4 ? `u${"\u2032".repeat(n)}` : `u\u207d${raised(n)}\u207e`);

// A factor that depends on no slider as it is, -1/24, if it is short; else five digits of it.
function factorOf(text, symbols) {
  const plain = /^(-?)(\d+)(?:\/(\d+))?$/.exec(text);
  if (plain && text.length < 9) return { negative: plain[1] === "-", above: plain[2], below: plain[3] };
  const x = Fixed.toDouble(value(text, symbols));
  return { negative: x < 0, above: String(Number(Math.abs(x).toPrecision(5))) };
}

// above h^n / below F, without what is 1.
function term({ negative, above, below }, h, what) {
  const top = [above === "1" && (h || what) ? "" : above, h].filter(Boolean).join(" ") || (below ? "1" : "");
  return { negative, text: [below ? `(${top}/${below})` : top, what].filter(Boolean).join(" "), zero: above === "0" };
}

const joined = (terms) =>
  terms
    .filter(({ zero }) => !zero)
    .map(({ negative, text }, i) => (i ? (negative ? " \u2212 " : " + ") : negative ? "\u2212" : "") + text)
    .join("");

// The lines on a scheme. Derivatives: (1 + k) u' + (1 - k) h/2 u'' + ... = f with the k of the slider.
function equationLines(member) {
  const { scheme, symbols } = member,
    { terms, order, linear, derivatives, form } = scheme.equation || {},
    lines = [];
  if (derivatives) {
    const parts = derivatives.map((text, i) => term(factorOf(text, symbols), powerOf("h", i), derivativeOf(i + 1)));
    if (scheme.symbols.length) lines.push(typeset(form));
    lines.push(`${joined(parts)} + \u2026 = f`);
  }
  if (terms) lines.push(...byTrees(terms, order, symbols, scheme, linear));
  const c = principalSeries(member);
  lines.push(
    c
      ? `f = \u03bbu: u\u2032 = ${linearText(c)} \u03bbu`
      : "f = \u03bbu: no series in z, for the root \u03b6 that belongs to u is not 1 at z = 0, or not alone there.",
  );
  return lines;
}

function byTrees(terms, order, symbols, { components }, linear) {
  const end = `O(${powerOf("h", order)})${linear ? " for linear f" : ""}`;
  try {
    return Array.from({ length: components }, (_, c) => {
      const own = terms.filter(([component]) => component === c);
      const parts = own.map(([, n, what, factor]) => term(factorOf(factor, symbols), powerOf("h", n), primed(what)));
      return `u${components > 1 ? "\u2081\u2082\u2083"[c] : ""}\u2032 = ${joined(parts)} + ${end}`;
    });
  } catch {
    return ["u\u2032 is no series in h here: the scheme solves an equation of another order."];
  }
}

// lambda (c_0 + c_1 z + ...), the first terms that are not 0.
function linearText(c) {
  const found = c.map((x, i) => [x, i]).filter(([x]) => x !== 0);
  const parts = found
    .slice(0, 1 + SHOWN_TERMS)
    .map(([x, i]) => term({ negative: x < 0, above: String(Number(Math.abs(x).toPrecision(5))) }, powerOf("z", i), ""));
  return `(${joined(parts)} + \u2026)`;
}
