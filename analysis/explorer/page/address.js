// The state of the page, and its place in the address.

const DATA = JSON.parse(document.getElementById("data").textContent);
const ZOO = new Map(DATA.schemes.map((scheme) => [scheme.name, scheme]));
const OWN = "own";
const HOME = { x: -2, y: 0, half: 4 };
const MOST_CHOSEN = 6;
const get = (id) => document.getElementById(id);

function initial() {
  return {
    // The first one, and the first with a coefficient to move.
    chosen: [DATA.schemes[0], DATA.schemes.find(({ symbols }) => symbols.length)].filter(Boolean).map(({ name }) => name),
    values: {},
    view: { ...HOME },
    z: [-1, 1],
    star: false,
    steps: 20,
    orbit: orbitAt(Object.keys(PROBLEMS)[0]),
    own: null,
    layers: null,
    layer: 0,
    factor: 1,
  };
}

// Six digits are more than a slider or a pointer sets.
const short = (x) => String(Number(x.toPrecision(6)));

// The state as the address holds it: s=NAME,NAME&NAME.SYMBOL=x&v=x,y,half&z=x,y&star=1&n=20,
// o=PROBLEM,h,steps,u,v of the orbits, layer=n&h=x of a network, and own.A=...&own.b=... of the user's scheme.
function toAddress(state) {
  const found = new URLSearchParams({
    s: state.chosen.join(","),
    v: [state.view.x, state.view.y, state.view.half].map(short),
    z: state.z.map(short),
    n: state.steps,
    o: orbitText(state.orbit),
  });
  if (state.layers) {
    found.set("layer", state.layer);
    found.set("h", short(state.factor));
  }
  if (state.star) found.set("star", "1");
  for (const [name, symbols] of Object.entries(state.values)) {
    for (const [symbol, x] of Object.entries(symbols))
      if (state.chosen.includes(name)) found.set(`${name}.${symbol}`, short(x));
  }
  for (const [part, text] of Object.entries(state.own || {})) found.set(`own.${part}`, text);
  return `#${found.toString().replaceAll("%2C", ",").replaceAll("%2F", "/")}`;
}

// What cannot be read is left as it was, and told of.
function fromAddress(text) {
  const state = initial(),
    wrong = [],
    given = new URLSearchParams(text.replace(/^#/, ""));
  const numbersOf = (key, count, good = () => true, range = "") => {
    if (!given.has(key)) return null;
    const found = given.get(key).split(",").map(Number);
    if (found.length === count && found.every(Number.isFinite) && given.get(key).trim() && good(found)) return found;
    wrong.push(`${key}: got ${given.get(key)}, expected ${count} finite number${count > 1 ? "s" : ""}${range}`);
    return null;
  };
  state.own = ownFrom(given);
  if (given.has("s")) {
    const names = given.get("s").split(",").filter(Boolean);
    wrong.push(
      ...names
        .filter((name) => !ZOO.has(name) && name !== OWN)
        .map((name) => `s: got ${name}, expected a scheme of this page`),
    );
    const known = [...new Set(names.filter((name) => ZOO.has(name) || (name === OWN && state.own)))];
    if (known.length > MOST_CHOSEN) wrong.push(`s: got ${known.length} schemes, expected at most ${MOST_CHOSEN}`);
    state.chosen = known.slice(0, MOST_CHOSEN);
  }
  const view = numbersOf("v", 3, ([, , half]) => half >= 1e-9 && half <= 1e4, ", the last from 1e-9 to 1e4");
  if (view) [state.view.x, state.view.y, state.view.half] = view;
  state.z = numbersOf("z", 2, (z) => z.every((x) => Math.abs(x) <= 1e4), " from -1e4 to 1e4") || state.z;
  const steps = numbersOf("n", 1, ([n]) => Number.isInteger(n) && n >= 2 && n <= 100, ", whole, from 2 to 100");
  if (steps) [state.steps] = steps;
  if (given.has("o")) {
    const orbit = orbitFrom(given.get("o"));
    if (orbit) state.orbit = orbit;
    else wrong.push(`o: got ${given.get("o")}, expected a problem of the page, h, steps and a point to start from`);
  }
  const layer = numbersOf("layer", 1, ([n]) => Number.isInteger(n) && n >= 0, ", whole, from 0 on");
  if (layer) [state.layer] = layer;
  const factor = numbersOf("h", 1, ([x]) => x >= 1 / 8 && x <= 8, " from 1/8 to 8");
  if (factor) [state.factor] = factor;
  state.star = given.get("star") === "1";
  for (const name of state.chosen) {
    for (const symbol of (ZOO.get(name) || { symbols: [] }).symbols) {
      const { low, high } = symbol,
        inside = ([x]) => x >= low && x <= high;
      const x = numbersOf(`${name}.${symbol.name}`, 1, inside, ` from ${low} to ${high}`);
      if (x) state.values[name] = { ...state.values[name], [symbol.name]: x[0] };
    }
  }
  return { state, wrong };
}

function ownFrom(given) {
  const parts = ["A", "b", "a", "c", "n"].filter((part) => given.has(`own.${part}`));
  return parts.length ? Object.fromEntries(parts.map((part) => [part, given.get(`own.${part}`)])) : null;
}

// A, b of a tableau; a, c, n of a multistep scheme: factors of u, of f, and of f(u_{n+1}).
const ownScheme = (own) =>
  "a" in own ? multistep(own.a, own.c || "", own.n || "0") : tableau(own.A || "", own.b || "");
