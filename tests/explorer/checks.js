// Run by the tests at the end of the page: what the page computes, as JSON in its title.

const asked = JSON.parse(document.getElementById("asked").textContent);

function packed(values) {
  const bytes = new Uint8Array(new Float64Array(values).buffer);
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(text);
}

const found = { address: { ...structuredClone(state), written: toAddress(state) } };
found.radii = asked.cases.map(([name, values]) => {
  const { phi } = analyse(ZOO.get(name), values);
  return packed(asked.re.map((x, i) => radiusAt(phi, x, asked.im[i], false)));
});
// As the picture does it: each point begins where the one before it ended, the first anywhere.
found.warm = asked.cases.map(([name, values]) => {
  rRe.fill(0);
  rIm.fill(0);
  const { phi } = analyse(ZOO.get(name), values);
  return packed(asked.path.map((x) => radiusAt(phi, x, 0.3, true)));
});
found.zero = asked.zero.map(([name, values]) => zeroStable(ZOO.get(name), values));
found.range = zeroStableRange(ZOO.get("lm"), { k: -0.05 }, ZOO.get("lm").symbols[0]);
found.stars = asked.stars.map((name) => {
  const size = principal(analyse(ZOO.get(name), {}).phi, asked.reach);
  return packed(asked.grid.flatMap((y) => asked.grid.map((x) => size(x, y) * Math.exp(-x))));
});
found.orders = asked.tableaus.map((name) => {
  const read = (rows) => rows.map((row) => row.map((text) => evaluate(parse(text), Fractions)));
  return treeOrder(read(ZOO.get(name).A), read(ZOO.get(name).B)[0]).order;
});
found.played = asked.played.map(([name, z]) => packed(played(analyse(ZOO.get(name), {}), z, 12).flat()));
const asMember = (name, values) => analyse(ZOO.get(name), values);
found.series = asked.cases.map(([name, values]) => {
  const c = principalSeries(asMember(name, values));
  return c && packed(c);
});
found.equations = asked.equations.map(([name, values]) => equationLines(asMember(name, values)));
found.ownEquations = asked.multisteps.map((own) => equationLines(analyse(ownScheme(own), {})));
found.tableauEquations = asked.tableaus.map((name) => {
  const { A, B } = ZOO.get(name);
  const lines = (scheme) => equationLines(analyse(scheme, {}));
  return [lines(ZOO.get(name)), lines(tableau(A.map((row) => row.join(" ")).join("\n"), B[0].join(" ")))];
});
const listed = ({ points, said }) => ({ points: packed(points.flat()), said });
found.orbits = asked.orbits.map(([name, values, problem, start, h, steps]) =>
  listed(orbitOf(asMember(name, values), PROBLEMS[problem], start, h, steps)),
);
const saidOf = (name, changes, problem, h) =>
  orbitOf({ ...asMember(name, {}), scheme: { ...ZOO.get(name), ...changes } }, PROBLEMS[problem], [4, 2], h, 50);
found.unplayed = [
  saidOf(
    "verlet",
    {
      functions: [
        [0, 0],
        [0, 1],
      ],
    },
    "pendulum",
    0.1,
  ),
  saidOf("ab2", { cells: null, told: { kind: "explicit", order: "20" } }, "pendulum", 0.1),
  saidOf("euler", {}, "lotka-volterra", 2),
  saidOf("trapezoid", {}, "lotka-volterra", 2),
].map(({ points, said }) => [points.length, said]);
found.small = DATA.schemes.map((scheme) =>
  listed(orbitOf(asMember(scheme.name, valuesOf(scheme, state)), PROBLEMS.pendulum, [1, 0.5], 0.1, 20)),
);
found.flows = asked.flows.map(([problem, start, h, steps]) =>
  packed(flow(PROBLEMS[problem], start, h, steps, 4).flat()),
);

const said = (own) => {
  useOwn(own);
  return [get("own-said").textContent, get("own-said").classList.contains("bad")];
};
found.own = asked.own.map(said);
found.table = [...get("properties").rows].map((row) => row.cells[row.cells.length - 1].textContent);
found.linked = fromAddress(toAddress(state)).state.own;

const press = (key, shiftKey = false) => get("region").dispatchEvent(new KeyboardEvent("keydown", { key, shiftKey }));
const before = { z: state.z, view: { ...state.view } };
press("ArrowRight");
press("ArrowUp", true);
press("+");
found.keys = { before, z: state.z, view: { ...state.view } };
const range = get("range-lm.k");
range.value = 0.25;
range.dispatchEvent(new Event("input"));
found.slider = { k: state.values.lm.k, verdict: get("verdict-lm").textContent };
get("range-lm.k").value = 1.25;
get("range-lm.k").dispatchEvent(new Event("input"));
found.lost = get("verdict-lm").textContent;
found.shown = { equations: get("equations").textContent, orbits: orbits.runs.map(({ points }) => points.length) };

// Orbits: another problem, h by the slider, a start by the pointer, and one that is refused.
const setTo = (id, type, value) => {
  get(id).value = value;
  get(id).dispatchEvent(new Event(type));
};
setTo("problem", "change", "lotka-volterra");
setTo("orbit-h", "input", 0.2);
setTo("orbit-steps", "input", 30);
setTo("orbit-0", "change", -1);
found.orbit = {
  refused: get("orbit-error").textContent,
  kept: orbitText(state.orbit),
  said: get("orbit-said").textContent,
};
const phase = get("phase").getBoundingClientRect(),
  limits = endsOf(orbits.exact, orbits.runs);
// The middle of what is within the axes.
get("phase").dispatchEvent(
  new MouseEvent("click", {
    clientX: (phase.left + MARGIN.left + phase.right - MARGIN.right) / 2,
    clientY: (phase.top + MARGIN.top + phase.bottom - MARGIN.bottom) / 2,
  }),
);
found.orbit.pressed = [state.orbit.start, limits.low.map((low, i) => (low + limits.high[i]) / 2)];

// A file dropped on the page. It is read in true time, which the browser's virtual time would not wait for: so there is
// always something to do until then.
const reading = [];
const { text: read } = Blob.prototype;
Blob.prototype.text = async function () {
  reading.push(this);
  const text = await read.call(this);
  setTimeout(() => reading.pop()); // when the page has taken it
  return text;
};
const turn = () =>
  new Promise((done) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = done;
    port2.postMessage(0);
  });
const drop = async (text) => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([text], "diagnosis.json", { type: "application/json" }));
  const event = new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true });
  get("region").dispatchEvent(event);
  while (reading.length) await turn();
  return event.defaultPrevented; // else the browser would leave the page and show the file
};

async function others() {
  found.dropped = [await drop('{"blocks": []}')];
  found.refused = [get("layer-said").textContent, get("layer-said").classList.contains("bad")];
  found.dropped.push(await drop(asked.diagnosis), get("layers").hidden, get("layer-said").classList.contains("bad"));
  add("rk4");
  found.layers = state.layers.map((_, n) => {
    toLayer(n);
    return { k: state.values.lm.k, said: get("layer-said").textContent, shown: get("range-lm.k").value };
  });
  get("factor").value = -2;
  get("factor").dispatchEvent(new Event("input"));
  found.smaller = get("layer-said").textContent;
  found.wrong = fromAddress("#s=nothing,rk4&z=1,x&v=0,0,-1&o=pendulum,0,9,1,1").wrong;
  found.wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;

  // A pointer: over the plane it moves the point, pressed it moves the plane, and pressed without a move the point again.
  const plane = get("region");
  plane.setPointerCapture = () => {}; // refuses a pointer that is none
  const box = plane.getBoundingClientRect();
  const point = (type, part) => {
    const { x, y, width, height } = region.frame;
    const at = { clientX: box.left + x + part[0] * width, clientY: box.top + y + part[1] * height };
    plane.dispatchEvent(new PointerEvent(type, { ...at, pointerId: 1, pointerType: "mouse" }));
  };
  state.view = { x: 0, y: 0, half: 4 };
  changed({});
  point("pointermove", [0.75, 0.25]);
  found.hovered = state.z;
  point("pointerdown", [0.5, 0.5]);
  point("pointermove", [0.25, 0.5]);
  point("pointerup", [0.25, 0.5]);
  found.dragged = [state.view, state.z];
  point("pointerdown", [0.5, 0.5]);
  point("pointerup", [0.5, 0.5]);
  found.tapped = state.z;

  // Two fingers draw apart: the plane is twice as near.
  const finger = (type, pointerId, part) => {
    const { x, y, width, height } = region.frame;
    const at = { clientX: box.left + x + part[0] * width, clientY: box.top + y + part[1] * height };
    plane.dispatchEvent(new PointerEvent(type, { ...at, pointerId, pointerType: "touch" }));
  };
  const still = structuredClone([state.view, state.z]);
  finger("pointerdown", 2, [0.4, 0.5]);
  finger("pointerdown", 3, [0.6, 0.5]);
  finger("pointermove", 3, [0.8, 0.5]);
  found.pinched = [state.view.half, state.z];
  finger("pointerup", 2, [0.4, 0.5]);
  finger("pointerup", 3, [0.8, 0.5]);
  [state.view, state.z] = still;
  changed({});

  // The address is kept a moment later.
  await new Promise((done) => setTimeout(done, 400));
  found.kept = [location.hash, toAddress(state)];
}

others()
  .catch((error) => (found.failed = String(error.stack)))
  .then(() => (document.title = JSON.stringify(found)));
