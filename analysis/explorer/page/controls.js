// The parts of the page that are no plots: the chosen schemes with their sliders, and the table.

function element(tag, properties = {}, children = []) {
  const found = Object.assign(document.createElement(tag), properties);
  found.append(...children);
  return found;
}

const valuesOf = (scheme, state) =>
  Object.fromEntries(scheme.symbols.map(({ name, start }) => [name, (state.values[scheme.name] || {})[name] ?? start]));

// ------------------------------------------------------------------------------------------------- schemes and sliders

function fillPicker(select) {
  const kind = DATA.columns.findIndex(([head]) => head === "kind");
  const groups = new Map();
  for (const scheme of DATA.schemes) {
    if (!groups.has(scheme.cells[kind]))
      groups.set(scheme.cells[kind], element("optgroup", { label: scheme.cells[kind] }));
    groups.get(scheme.cells[kind]).append(element("option", { value: scheme.name, textContent: scheme.name }));
  }
  select.append(...groups.values());
}

// One row for each chosen scheme: its colour, what removes it, a slider for each of its symbols.
function showChosen(place, members, state, changed) {
  place.replaceChildren(
    ...members.map(({ scheme }, i) => {
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
      return element("div", { className: "chosen" }, [
        element("div", { className: "named" }, [swatch, element("strong", { textContent: name }), remove]),
        ...sliders,
        element("p", { className: "verdict", id: `verdict-${name}` }),
      ]);
    }),
  );
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
    exactly.setCustomValidity(
      from.value !== "" && x >= low && x <= high
        ? ""
        : `got ${from.value || "nothing"}, expected a number from ${low} to ${high}`,
    );
    if (!exactly.checkValidity()) {
      exactly.reportValidity();
      return;
    }
    to.value = x;
    state.values[scheme.name] = { ...state.values[scheme.name], [name]: x };
    changed({});
  };
  range.oninput = () => set(range, exactly);
  exactly.onchange = () => set(exactly, range);
  return element("label", { className: "slider" }, [element("span", { textContent: name }), range, exactly]);
}

function showVerdict(scheme, state) {
  const values = valuesOf(scheme, state),
    stable = zeroStable(scheme, values);
  const parts = [`${stable ? "Zero-stable" : "Not zero-stable"} at these coefficients.`];
  for (const symbol of stable ? scheme.symbols : []) {
    const [low, high] = zeroStableRange(scheme, values, symbol).map((x) =>
      x === null ? null : written(x, 4).replace(/\.?0+$/, ""),
    );
    const ends = [
      low !== null && `${symbol.name} falls to ${low}`,
      high !== null && `${symbol.name} grows beyond ${high}`,
    ];
    const lost = ends.filter(Boolean).join(", or ");
    parts.push(lost ? `Lost where ${lost}.` : `It stays so for all ${symbol.name} of the slider.`);
  }
  get(`verdict-${scheme.name}`).textContent = parts.join(" ");
  get(`verdict-${scheme.name}`).classList.toggle("bad", !stable);
}

// ------------------------------------------------------------------------------------------------- properties

// What is known of a scheme under a head of the table.
const told = (scheme, head) =>
  scheme.cells ? scheme.cells[DATA.columns.findIndex(([name]) => name === head)] : scheme.told[head];

function showProperties(table, members) {
  const cell = (scheme, [head]) => told(scheme, head) || "not derived here";
  table.replaceChildren(
    ...DATA.columns.map((column, i) => {
      const head = element("th", { scope: "row", textContent: column[0], title: column[1].replaceAll("`", "") });
      return element("tr", {}, [
        head,
        ...members.map(({ scheme }) => element(i ? "td" : "th", { textContent: cell(scheme, column) })),
      ]);
    }),
  );
}

// ------------------------------------------------------------------------------------------------- equations

function showEquations(place, members) {
  place.replaceChildren(
    ...members.map((member, i) => {
      const swatch = element("span", { className: "swatch" });
      swatch.style.background = colour(i);
      const values = Object.entries(valuesOf(member.scheme, state)).map(
        ([name, x]) => `${name} = ${short(x).replace("-", "\u2212")}`,
      );
      const named = element("strong", { textContent: [member.scheme.name, ...values].join(", ") });
      const lines = equationLines(member).map((textContent) => element("p", { textContent }));
      return element("div", { className: "equation" }, [swatch, named, ...lines]);
    }),
  );
}

function describe(members, z) {
  const point = `z = ${written(z[0], 4)} ${z[1] < 0 ? "\u2212" : "+"} ${written(Math.abs(z[1]), 4)} i`;
  const each = members.map(({ scheme, phi }) => {
    const size = radiusAt(phi, ...z, false);
    const shown = Number.isFinite(size) ? size.toPrecision(6) : "\u221e";
    return `${scheme.name}: |\u03b6|max = ${shown}, ${inside(size) ? "stable" : "not stable"}`;
  });
  return [point, ...each].join("; ");
}
