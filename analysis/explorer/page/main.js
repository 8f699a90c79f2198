// What happens when something is chosen, moved or typed.

let state = initial();
let members = [];
const region = new Region(get("region"));
let keeping = 0,
  playing = 0,
  shownSteps = state.steps,
  followed = "";

function schemesChosen() {
  return state.chosen.map((name) => (name === OWN ? ownScheme(state.own) : ZOO.get(name)));
}

// Draws what has changed. rebuild: other schemes; region: false where only z or the steps are others.
function changed({ rebuild = false, region: redraw = true, keep = true }) {
  if (redraw) members = schemesChosen().map((scheme) => analyse(scheme, valuesOf(scheme, state)));
  if (rebuild) {
    showChosen(get("chosen"), members, state, changed);
    showProperties(get("properties"), members);
  }
  if (redraw) {
    region.draw(members, state);
    members.forEach(({ scheme }) => showVerdict(scheme, state));
  } else {
    region.show();
  }
  if (!playing) shownSteps = state.steps;
  drawRoots(get("roots"), members, state.z);
  drawPlay(get("play"), members, state.z, state.steps, shownSteps);
  follow(rebuild || !keep);
  showInputs();
  if (keep) keepAddress();
}

// Equations and orbits, where what they follow from has changed: not the point, and not the plane.
function follow(redraw) {
  const from = JSON.stringify([state.chosen, state.values, state.own, state.orbit]);
  if (from !== followed) {
    showEquations(get("equations"), members);
    orbits.compute(members, state.orbit);
  }
  if (from !== followed || redraw) orbits.draw(state.orbit);
  followed = from;
}

// Not at once: browsers refuse some hundred addresses in half a minute, which a pointer would ask for.
function keepAddress() {
  clearTimeout(keeping);
  keeping = setTimeout(() => history.replaceState(null, "", toAddress(state)), 200);
}

function showInputs() {
  get("re").value = short(state.z[0]);
  get("im").value = short(state.z[1]);
  get("star").checked = state.star;
  get("steps").value = state.steps;
  get("steps-shown").textContent = state.steps;
  get("point").textContent = describe(members, state.z);
  orbits.show(state.orbit);
  if (state.layers) showLayer();
}

function open(address) {
  const found = fromAddress(address);
  // A network that was opened stays open.
  const { layers } = state;
  state = {
    ...found.state,
    layers,
    layer: layers ? Math.min(found.state.layer, layers.length - 1) : found.state.layer,
  };
  if (state.own) showOwn(found.wrong);
  get("address-error").textContent = found.wrong.length ? `The address: ${found.wrong.join("; ")}.` : "";
  changed({ rebuild: true, keep: false });
}

function tell(place, text, bad) {
  get(place).textContent = text;
  get(place).classList.toggle("bad", bad);
}

// ------------------------------------------------------------------------------------------- steps, the own scheme

function play() {
  clearInterval(playing);
  shownSteps = 0;
  playing = setInterval(() => {
    shownSteps++;
    if (shownSteps >= state.steps) {
      clearInterval(playing);
      playing = 0;
      shownSteps = state.steps;
    }
    drawPlay(get("play"), members, state.z, state.steps, shownSteps);
  }, 150);
}

function showOwn(wrong) {
  for (const [part, id] of Object.entries({ A: "own-A", b: "own-b", a: "own-a", c: "own-c", n: "own-next" })) {
    if (part in state.own) get(id).value = state.own[part];
  }
  get("own").open = true;
  try {
    tell("own-said", ownScheme(state.own).said, false);
  } catch (error) {
    wrong.push(error.message);
    state.chosen = state.chosen.filter((name) => name !== OWN);
    state.own = null;
  }
}

function useOwn(own) {
  try {
    const scheme = ownScheme(own);
    analyse(scheme, {});
    if (!state.chosen.includes(OWN) && state.chosen.length >= MOST_CHOSEN)
      throw new Error(`got ${MOST_CHOSEN} schemes already, expected fewer: remove one`);
    state.own = own;
    if (!state.chosen.includes(OWN)) state.chosen = [...state.chosen, OWN];
    tell("own-said", scheme.said, false);
    changed({ rebuild: true });
  } catch (error) {
    tell("own-said", error.message, true);
  }
}

function add(name) {
  if (!name || state.chosen.includes(name)) return;
  if (state.chosen.length >= MOST_CHOSEN) {
    tell(
      "address-error",
      `Got ${MOST_CHOSEN} schemes, which is as many as colours tell apart: remove one first.`,
      true,
    );
    return;
  }
  state.chosen = [...state.chosen, name];
  changed({ rebuild: true });
}

function number(input, set) {
  input.onchange = () => {
    const x = Number(input.value);
    if (input.value.trim() && Number.isFinite(x) && Math.abs(x) <= 1e4) set(x);
    else showInputs();
  };
}

function start() {
  fillPicker(get("add"));
  startOrbits();
  get("add").onchange = (event) => {
    add(event.target.value);
    event.target.value = "";
  };
  number(get("re"), (x) => move([x, state.z[1]]));
  number(get("im"), (y) => move([state.z[0], y]));
  get("star").onchange = (event) => {
    state.star = event.target.checked;
    changed({});
  };
  get("steps").oninput = (event) => {
    state.steps = Number(event.target.value);
    changed({ region: false });
  };
  get("zoom-in").onclick = () => zoom(0.8);
  get("zoom-out").onclick = () => zoom(1.25);
  get("home").onclick = home;
  get("run").onclick = play;
  get("use-tableau").onclick = () => useOwn({ A: get("own-A").value, b: get("own-b").value });
  get("use-multistep").onclick = () =>
    useOwn({ a: get("own-a").value, c: get("own-c").value, n: get("own-next").value });
  get("region").onkeydown = key;
  pointers(get("region"));
  window.onhashchange = () => open(location.hash);
  window.onresize = () => changed({ keep: false });
  dark.onchange = () => changed({ rebuild: true, keep: false });
  get("record").onchange = ({ target }) => target.files.length && readFile(target.files[0]);
  get("layer").oninput = ({ target }) => toLayer(Number(target.value));
  get("factor").oninput = ({ target }) => {
    state.factor = 2 ** Number(target.value);
    changed({ region: false });
  };
  document.ondragover = (event) => event.preventDefault();
  document.ondrop = (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) readFile(event.dataTransfer.files[0]);
  };
  open(location.hash);
  if (get("diagnosis")) useRecord(get("diagnosis").textContent);
}

start();
