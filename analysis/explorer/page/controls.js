// The state of the page, its place in the address, and the parts of the page that are no plots.

const DATA = JSON.parse(document.getElementById("data").textContent);
const ZOO = new Map(DATA.schemes.map((scheme) => [scheme.name, scheme]));
const OWN = "own";
const HOME = { x: -2, y: 0, half: 4 };
const MOST_CHOSEN = 6;
const get = (id) => document.getElementById(id);

function element(tag, properties = {}, children = []) {
  const found = Object.assign(document.createElement(tag), properties);
  found.append(...children);
  return found;
}

function initial() {
  return { chosen: DATA.schemes.slice(0, 1).map(({ name }) => name), values: {}, view: { ...HOME }, z: [-1, 1], star: false, steps: 20, own: null };
}

// Six digits are more than a slider or a pointer sets.
const short = (x) => String(Number(x.toPrecision(6)));

// The state as the address holds it: s=NAME,NAME&NAME.SYMBOL=x&v=x,y,half&z=x,y&star=1&n=20&A=...&b=... of the own one.
function toAddress(state) {
  const found = new URLSearchParams({ s: state.chosen.join(","), v: [state.view.x, state.view.y, state.view.half].map(short), z: state.z.map(short), n: state.steps });
  if (state.star) found.set("star", "1");
  for (const [name, symbols] of Object.entries(state.values)) {
    for (const [symbol, x] of Object.entries(symbols)) if (state.chosen.includes(name)) found.set(`${name}.${symbol}`, short(x));
  }
  for (const [part, text] of Object.entries(state.own || {})) found.set(`own.${part}`, text);
  return `#${found.toString().replaceAll("%2C", ",").replaceAll("%2F", "/")}`;
}

// What cannot be read is left as it was, and told of.
function fromAddress(text) {
  const state = initial(), wrong = [], given = new URLSearchParams(text.replace(/^#/, ""));
  const numbersOf = (key, count, good = () => true) => {
    if (!given.has(key)) return null;
    const found = given.get(key).split(",").map(Number);
    if (found.length === count && found.every(Number.isFinite) && given.get(key).trim() && good(found)) return found;
    wrong.push(`${key}: got ${given.get(key)}, expected ${count} finite number${count > 1 ? "s" : ""} in range`);
    return null;
  };
  state.own = ownFrom(given);
  if (given.has("s")) {
    const names = given.get("s").split(",").filter(Boolean);
    wrong.push(...names.filter((name) => !ZOO.has(name) && name !== OWN).map((name) => `s: got ${name}, expected a scheme of this page`));
    state.chosen = [...new Set(names.filter((name) => ZOO.has(name) || (name === OWN && state.own)))].slice(0, MOST_CHOSEN);
  }
  const view = numbersOf("v", 3, ([, , half]) => half >= 1e-9 && half <= 1e4);
  if (view) [state.view.x, state.view.y, state.view.half] = view;
  state.z = numbersOf("z", 2, (z) => z.every((x) => Math.abs(x) <= 1e4)) || state.z;
  state.steps = (numbersOf("n", 1, ([n]) => Number.isInteger(n) && n >= 2 && n <= 100) || [state.steps])[0];
  state.star = given.get("star") === "1";
  for (const name of state.chosen) {
    for (const symbol of (ZOO.get(name) || { symbols: [] }).symbols) {
      const x = numbersOf(`${name}.${symbol.name}`, 1, ([n]) => n >= symbol.low && n <= symbol.high);
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
const ownScheme = (own) => ("a" in own ? multistep(own.a, own.c || "", own.n || "0") : tableau(own.A || "", own.b || ""));

const valuesOf = (scheme, state) =>
  Object.fromEntries(scheme.symbols.map(({ name, start }) => [name, (state.values[scheme.name] || {})[name] ?? start]));

// ------------------------------------------------------------------------------------------------- schemes and sliders

function fillPicker(select) {
  const kind = DATA.columns.findIndex(([head]) => head === "kind");
  const groups = new Map();
  for (const scheme of DATA.schemes) {
    if (!groups.has(scheme.cells[kind])) groups.set(scheme.cells[kind], element("optgroup", { label: scheme.cells[kind] }));
    groups.get(scheme.cells[kind]).append(element("option", { value: scheme.name, textContent: scheme.name }));
  }
  select.append(...groups.values());
}

// One row for each chosen scheme: its colour, what removes it, a slider for each of its symbols.
function showChosen(place, members, state, changed) {
  place.replaceChildren(...members.map(({ scheme }, i) => {
    const name = scheme.name;
    const remove = element("button", { type: "button", textContent: "\u00d7", title: `Remove ${name}` });
    remove.setAttribute("aria-label", `Remove ${name}`);
    remove.onclick = () => {
      state.chosen = state.chosen.filter((other) => other !== name);
      changed({ rebuild: true });
      (place.querySelector("button") || get("add")).focus();
    };
    const swatch = element("span", { className: "swatch" });
    swatch.style.background = colour(i);
    const sliders = scheme.symbols.map((symbol) => slider(scheme, symbol, state, changed));
    return element("div", { className: "chosen" }, [element("div", { className: "named" }, [swatch, element("strong", { textContent: name }), remove]), ...sliders,
      element("p", { className: "verdict", id: `verdict-${name}` })]);
  }));
}

function slider(scheme, { name, low, high }, state, changed) {
  const now = valuesOf(scheme, state)[name];
  const id = `${scheme.name}.${name}`;
  const range = element("input", { type: "range", min: low, max: high, step: 0.005, id: `range-${id}` });
  const exactly = element("input", { type: "number", min: low, max: high, step: "any" });
  range.value = exactly.value = now;
  exactly.setAttribute("aria-label", `${name} of ${scheme.name}, as a number`);
  const set = (from, to) => {
    const x = Number(from.value);
    exactly.setCustomValidity(from.value !== "" && x >= low && x <= high ? "" : `got ${from.value || "nothing"}, expected a number from ${low} to ${high}`);
    if (!exactly.checkValidity()) { exactly.reportValidity(); return; }
    to.value = x;
    state.values[scheme.name] = { ...state.values[scheme.name], [name]: x };
    changed({});
  };
  range.oninput = () => set(range, exactly);
  exactly.onchange = () => set(exactly, range);
  return element("label", { className: "slider" }, [element("span", { textContent: name }), range, exactly]);
}

function showVerdict({ scheme }, state, analysed) {
  const values = valuesOf(scheme, state), stable = zeroStable(analysed);
  const parts = [`${stable ? "Zero-stable" : "Not zero-stable"} at these coefficients.`];
  for (const symbol of stable ? scheme.symbols : []) {
    const [low, high] = zeroStableRange(scheme, values, symbol).map((x) => (x === null ? null : written(x, 4).replace(/\.?0+$/, "")));
    if (low === null && high === null) parts.push(`It stays so for all ${symbol.name} of the slider.`);
    else parts.push(`Lost where ${[low !== null && `${symbol.name} falls to ${low}`, high !== null && `${symbol.name} grows beyond ${high}`].filter(Boolean).join(", or ")}.`);
  }
  get(`verdict-${scheme.name}`).textContent = parts.join(" ");
  get(`verdict-${scheme.name}`).classList.toggle("bad", !stable);
}

// ------------------------------------------------------------------------------------------------- properties

function showProperties(table, members) {
  const cell = (scheme, [head], i) => (scheme.cells ? scheme.cells[i] : head === "scheme" ? scheme.name : scheme.told[head] || "not derived here");
  table.replaceChildren(...DATA.columns.map((column, i) => {
    const head = element("th", { scope: "row", textContent: column[0], title: column[1].replaceAll("`", "") });
    return element("tr", {}, [head, ...members.map(({ scheme }) => element(i ? "td" : "th", { textContent: cell(scheme, column, i) }))]);
  }));
}

function describe(members, z) {
  const point = `z = ${written(z[0], 4)} ${z[1] < 0 ? "\u2212" : "+"} ${written(Math.abs(z[1]), 4)} i`;
  const each = members.map(({ scheme, phi }) => {
    const size = radiusAt(phi, ...z, false);
    return `${scheme.name}: |\u03b6|max = ${Number.isFinite(size) ? size.toPrecision(6) : "\u221e"}, ${size <= 1 + TOLERANCE ? "stable" : "not stable"}`;
  });
  return [point, ...each].join("; ");
}
