// A diagnosis that is opened, and the layer of it that is shown.

const readFile = (file) => file.text().then(useRecord);

function useRecord(text) {
  try {
    state.layers = readRecord(text);
  } catch (error) {
    tell("layer-said", error.message, true);
    return;
  }
  get("network").open = true;
  get("layers").hidden = false;
  get("layer").max = state.layers.length - 1;
  get("layer-said").classList.remove("bad");
  const own = state.layers.map(({ scheme }) => scheme).find((name) => ZOO.has(name));
  // The network's scheme takes the place of the one that nobody chose.
  const others = location.hash ? state.chosen : [];
  if (own && !state.chosen.includes(own)) state.chosen = [...others.slice(0, MOST_CHOSEN - 1), own];
  if (!location.hash) state.view = wholeView();
  toLayer(Math.min(state.layer, state.layers.length - 1));
}

function toLayer(n) {
  state.layer = n;
  takeCoefficients(state);
  changed({ rebuild: true });
}

function showLayer() {
  get("layer").value = state.layer;
  get("factor").value = Math.log2(state.factor);
  get("layer-title").textContent = `${state.layers[state.layer].title}, of ${state.layers.length}`;
  get("factor-title").textContent = `h times ${short(state.factor)}`;
  get("layer-said").textContent = describeLayer(state, members);
}
