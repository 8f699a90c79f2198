"use strict";
// Exact numbers. Entries come as text, "1/4 + sqrt(3)/6" or "1 - k", and are read once into a tree, which is worked out
// in one of two arithmetics: fractions, and fixed point with 320 bits, in which a polynomial's coefficients come out
// right to more digits than a double has, however much cancels.

function gcd(a, b) {
  while (b) [a, b] = [b, a % b];
  return a < 0n ? -a : a;
}

function ratio(n, d = 1n) {
  if (d === 0n) throw new Error("got a division by 0, expected a number");
  const g = gcd(n, d) * (d < 0n ? -1n : 1n);
  return { n: n / g, d: d / g };
}

function decimalRatio(text) {
  const [digits, exponent = "0"] = text.toLowerCase().split("e");
  const [whole, part = ""] = digits.split(".");
  const power = Number(exponent) - part.length;
  if (Math.abs(power) > 400) throw new Error(`got ${text}, expected a number between 1e-400 and 1e400`);
  const n = BigInt(whole + part || "0");
  return power < 0 ? ratio(n, 10n ** BigInt(-power)) : ratio(n * 10n ** BigInt(power));
}

const Fractions = {
  read: decimalRatio,
  add: (a, b) => ratio(a.n * b.d + b.n * a.d, a.d * b.d),
  sub: (a, b) => ratio(a.n * b.d - b.n * a.d, a.d * b.d),
  mul: (a, b) => ratio(a.n * b.n, a.d * b.d),
  div: (a, b) => ratio(a.n * b.d, a.d * b.n),
  pow(a, p) {
    if (p.d !== 1n) throw new Error("got a root, expected a fraction or a decimal");
    if (p.n > 999n || p.n < -999n) throw new Error(`got the power ${p.n}, expected one of at most 999`);
    return p.n < 0n ? ratio(a.d ** -p.n, a.n ** -p.n) : ratio(a.n ** p.n, a.d ** p.n);
  },
};

const BITS = 320n;
const UNIT = 1n << BITS;
// What is left of a number that cancels to 0 lies below this.
const DUST = 1n << 60n;

function integerRoot(x, degree) {
  if (x === 0n) return 0n;
  let root = 1n << (BigInt(x.toString(2).length) / degree + 1n);
  for (;;) {
    const next = ((degree - 1n) * root + x / root ** (degree - 1n)) / degree;
    if (next >= root) return root;
    root = next;
  }
}

const Fixed = {
  read: (text) => Fixed.ofRatio(decimalRatio(text)),
  ofRatio: (q) => (q.n * UNIT) / q.d,
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => (a * b) >> BITS,
  div(a, b) {
    if (b === 0n) throw new Error("got a division by 0, expected a number");
    return (a * UNIT) / b;
  },
  pow(a, p) {
    if (a < 0n && p.d % 2n === 0n) throw new Error("got an even root of a negative number, expected a real one");
    const base =
      p.d === 1n ? a : a < 0n ? -integerRoot(-a * UNIT ** (p.d - 1n), p.d) : integerRoot(a * UNIT ** (p.d - 1n), p.d);
    let power = UNIT;
    for (let i = p.n < 0n ? -p.n : p.n; i > 0n; i--) power = Fixed.mul(power, base);
    return p.n < 0n ? Fixed.div(UNIT, power) : power;
  },
  ofDouble(x) {
    let halvings = 0n;
    while (!Number.isInteger(x)) [x, halvings] = [2 * x, halvings + 1n];
    return (BigInt(x) * UNIT) >> halvings;
  },
  toDouble(x) {
    const size = x < 0n ? -x : x;
    return size < DUST ? 0 : Number(x) / 2 ** Number(BITS);
  },
};

// The tree of an expression: [operator, left, right], ["number", text] or ["symbol", name].
function parse(text) {
  const tokens = text.match(/\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|[A-Za-z_]\w*|\*\*|[-+*/()]|\S/g) || [];
  let at = 0;
  const wrong = () => new Error(`got ${JSON.stringify(text)}, expected a number such as 1/3, -0.25 or 2`);
  const take = (token) => tokens[at] === token && ++at;
  const chain = (operators, part) => () => {
    let left = part();
    while (operators.includes(tokens[at])) left = [tokens[at++], left, part()];
    return left;
  };
  function atom() {
    const token = tokens[at++];
    if (token === "(") {
      const inner = sum();
      if (!take(")")) throw wrong();
      return inner;
    }
    if (token === "sqrt") return ["**", atom(), ["/", ["number", "1"], ["number", "2"]]];
    if (token !== undefined && /^[\d.]*\d/.test(token)) return ["number", token];
    if (token !== undefined && /^[A-Za-z_]/.test(token)) return ["symbol", token];
    throw wrong();
  }
  // -2**2 is -(2**2), and 2**-1 is allowed.
  function signed() {
    if (take("-")) return ["-", ["number", "0"], signed()];
    if (take("+")) return signed();
    const base = atom();
    return take("**") ? ["**", base, signed()] : base;
  }
  const sum = chain(["+", "-"], chain(["*", "/"], signed));
  const tree = sum();
  if (at < tokens.length) throw wrong();
  return tree;
}

const OPERATIONS = { "+": "add", "-": "sub", "*": "mul", "/": "div" };

function evaluate([kind, left, right], arithmetic, symbols = {}) {
  if (kind === "number") return arithmetic.read(left);
  if (kind === "symbol") {
    if (!(left in symbols)) throw new Error(`got ${JSON.stringify(left)}, expected a number such as 1/3, -0.25 or 2`);
    return symbols[left];
  }
  const base = evaluate(left, arithmetic, symbols);
  if (kind === "**") return arithmetic.pow(base, evaluate(right, Fractions));
  return arithmetic[OPERATIONS[kind]](base, evaluate(right, arithmetic, symbols));
}

const trees = new Map();

function value(text, symbols) {
  if (!trees.has(text)) trees.set(text, parse(text));
  return evaluate(trees.get(text), Fixed, symbols);
}
