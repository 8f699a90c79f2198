// A scheme of the user's own: a tableau, or coefficients of a linear multistep scheme, in fractions or decimals. Its
// order is found in exact arithmetic.

const HIGHEST = 5;

const ZERO = ratio(0n),
  ONE = ratio(1n);
const show = (q) => (q.d === 1n ? `${q.n}` : `${q.n}/${q.d}`);
const same = (p, q) => p.n === q.n && p.d === q.d;
const sum = (numbers) => numbers.reduce(Fractions.add, ZERO);
const dot = (p, q) => sum(p.map((x, i) => Fractions.mul(x, q[i])));
const power = (q, n) => Fractions.pow(q, ratio(BigInt(n)));
const factorial = (n) => (n < 2 ? 1n : BigInt(n) * factorial(n - 1));

function numbers(text, what) {
  return text
    .trim()
    .split(/[\s,;]+/)
    .filter(Boolean)
    .map((entry, i) => {
      try {
        return evaluate(parse(entry), Fractions);
      } catch (error) {
        throw new Error(`${what}, entry ${i + 1}: ${error.message}`);
      }
    });
}

// All rooted trees with n vertices; a tree is the list of the trees at its root.
function treesOf(n, known = new Map()) {
  if (known.has(n)) return known.get(n);
  const smaller = [];
  for (let size = 1; size < n; size++) for (const tree of treesOf(size, known)) smaller.push({ tree, size });
  const forests = (left, from) => {
    if (left === 0) return [[]];
    const found = [];
    for (let i = from; i < smaller.length; i++) {
      if (smaller[i].size > left) continue;
      for (const rest of forests(left - smaller[i].size, i)) found.push([smaller[i].tree, ...rest]);
    }
    return found;
  };
  const found = forests(n - 1, 0);
  known.set(n, found);
  return found;
}

const size = (tree) => tree.reduce((total, child) => total + size(child), 1);
const density = (tree) => tree.reduce((total, child) => total * density(child), BigInt(size(tree)));

function weights(tree, A) {
  const children = tree.map((child) => A.map((row) => dot(row, weights(child, A))));
  return A.map((_, i) => children.reduce((total, child) => Fractions.mul(total, child[i]), ONE));
}

// Order p up to 5: for every rooted tree with at most p vertices sum b_i Phi_i = 1/gamma (Butcher 1963).
function treeOrder(A, b) {
  const missed = [],
    counts = [];
  for (let p = 1; p <= HIGHEST; p++) {
    const trees = treesOf(p);
    const wrong = trees.filter((tree) => !same(dot(b, weights(tree, A)), ratio(1n, density(tree))));
    counts.push(trees.length - wrong.length);
    missed.push(wrong.length);
  }
  const first = missed.findIndex((count) => count > 0);
  return { order: first < 0 ? HIGHEST : first, met: counts.reduce((p, q) => p + q), of: 17 };
}

// C of exp(z) - R(z) = C z^(p+1) + ..., the first that is not 0.
function rungeKuttaConstant(A, b, order) {
  let stages = A.map(() => ONE);
  for (let p = 1; p <= 2 * A.length + 1; p++) {
    const constant = Fractions.sub(ratio(1n, factorial(p)), dot(b, stages));
    if (p === order + 1) return constant;
    stages = A.map((row) => dot(row, stages));
  }
  return ZERO;
}

function tableau(textA, textB) {
  const b = numbers(textB, "b");
  if (!b.length) throw new Error("b: got no entry, expected a weight for each stage, such as 1/2 1/2");
  if (b.length > 16) throw new Error(`b: got ${b.length} weights, expected at most 16`);
  const A = textA
    .split("\n")
    .filter((line) => line.trim())
    .map((line, i) => numbers(line, `A, row ${i + 1}`));
  if (A.length !== b.length) throw new Error(`A: got ${A.length} rows, expected ${b.length}, one for each weight in b`);
  A.forEach((row, i) => {
    if (row.length !== b.length)
      throw new Error(`A, row ${i + 1}: got ${row.length} entries, expected ${b.length}, one for each weight in b`);
  });
  if (!same(sum(b), ONE))
    throw new Error(`b: got weights with the sum ${show(sum(b))}, expected 1, or the scheme has no order`);
  const { order, met, of } = treeOrder(A, b);
  const explicit = A.every((row, i) => row.slice(i).every((x) => same(x, ZERO)));
  const reached = order < HIGHEST ? `${order}` : `at least ${HIGHEST}`;
  const constant = order < HIGHEST ? show(rungeKuttaConstant(A, b, order)) : "beyond what is checked here";
  const text = (rows) => rows.map((row) => row.map(show));
  return {
    ...single(b.length),
    A: text(A),
    U: b.map(() => ["1"]),
    B: text([b]),
    V: [["1"]],
    nodes: A.map((row) => show(sum(row))),
    seeds: [["1", "0"]],
    starting: 0,
    equation: tableauEquation(A, b, order),
    told: {
      scheme: "own",
      kind: `${explicit ? "explicit" : "implicit"} Runge-Kutta`,
      stages: `${b.length}`,
      steps: "1",
      starting: "0",
      order: reached,
      "error constant": constant,
    },
    said:
      `Order ${reached}: ${met} of the ${of} order conditions up to order ${HIGHEST} hold. ` +
      `Error constant: ${constant}.`,
  };
}

const single = (stages) => ({
  name: "own",
  symbols: [],
  functions: [[0, 0]],
  colours: new Array(stages).fill(0),
  components: 1,
});

// C_q of the local error sum C_q h^q u^(q), u_{n+1} with the factor 1 (Lambert 1973, 2.6).
function multistepConstant(a, b, next, q) {
  const past = (list, n) => sum(list.map((x, j) => (n === 0 ? x : Fractions.mul(x, power(ratio(BigInt(-j)), n)))));
  const values = Fractions.mul(Fractions.sub(ONE, past(a, q)), ratio(1n, factorial(q)));
  if (q === 0) return values;
  return Fractions.sub(values, Fractions.mul(Fractions.add(next, past(b, q - 1)), ratio(1n, factorial(q - 1))));
}

function trimmed(list) {
  const found = [...list];
  while (found.length && same(found[found.length - 1], ZERO)) found.pop();
  return found;
}

// u_{n+1} = sum a_j u_{n-j} + h next f(u_{n+1}) + h sum b_j f(u_{n-j})
function multistep(textA, textB, textNext) {
  const a = trimmed(numbers(textA, "a")),
    b = trimmed(numbers(textB, "b")),
    ahead = numbers(textNext || "0", "b for f(u_{n+1})");
  if (!a.length) throw new Error("a: got no entry but 0, expected factors of u_n, u_{n-1}, ... with the sum 1");
  if (ahead.length !== 1) throw new Error(`b for f(u_{n+1}): got ${ahead.length} entries, expected one`);
  if (a.length > 16 || b.length > 16)
    throw new Error(`got ${Math.max(a.length, b.length)} coefficients, expected at most 16 of a kind`);
  if (!same(sum(a), ONE))
    throw new Error(`a: got factors with the sum ${show(sum(a))}, expected 1, which keeps u' = 0`);
  const [next] = ahead;
  let order = 0;
  while (order < 2 * (a.length + b.length) + 2 && same(multistepConstant(a, b, next, order + 1), ZERO)) order++;
  const constant = show(multistepConstant(a, b, next, order + 1));
  const steps = Math.max(a.length, b.length, 1);
  return {
    ...multistepMatrices(a, b, next),
    equation: multistepEquation(a, b, next, order),
    told: {
      scheme: "own",
      kind: `${same(next, ZERO) ? "explicit" : "implicit"} linear multistep`,
      stages: "1",
      steps: `${steps}`,
      order: `${order}`,
      "error constant": constant,
    },
    said: order
      ? `Order ${order}. Error constant: ${constant}.`
      : `Order 0: what it solves is not u' = f. The sum condition for order 1 is missed by ${constant}.`,
  };
}

// One stage, at u_n, or at u_{n+1} where the scheme is implicit; carried are past values, and past slopes h f.
function multistepMatrices(a, b, next) {
  const implicit = !same(next, ZERO);
  const weights = implicit ? b : b.slice(1),
    slopes = weights.length,
    carried = a.length + slopes;
  const row = (entry) => Array.from({ length: carried }, (_, j) => entry(j));
  const past = [...a, ...weights].map(show);
  const V = row((i) => row((j) => (i === 0 ? past[j] : i !== a.length && j === i - 1 ? "1" : "0")));
  return {
    ...single(1),
    A: [[show(next)]],
    U: [implicit ? past : row((j) => (j ? "0" : "1"))],
    V,
    B: row((i) => [i === 0 ? show(implicit ? next : b[0] || ZERO) : i === a.length ? "1" : "0"]),
    nodes: [implicit ? "1" : "0"],
    seeds: row((i) => [i < a.length ? "1" : "0", "0"]),
    starting: Math.max(a.length - 1, slopes),
  };
}
