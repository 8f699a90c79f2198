// A trained network's diagnosis, the JSON of `odenets diagnose --json` or of a study: its layers' eigenvalues over the
// regions, with the layer's own coefficients.

// The layers with a spectrum. Error: what was got, and what is expected.
function readRecord(text) {
  let content;
  try {
    content = JSON.parse(text);
  } catch (error) {
    throw new Error(`got a file that is no JSON (${error.message}), expected that of odenets diagnose --json`);
  }
  const good = (b) => b && Array.isArray(b.coefficients) && b.spectrum && Array.isArray(b.spectrum.eigenvalues);
  const layers = (content && Array.isArray(content.blocks) ? content.blocks : []).filter(good);
  if (!layers.length) throw new Error("got JSON without spectra of layers, expected that of odenets diagnose --json");
  return layers.map((block) => ({
    title: `${block.stage ? `stage ${block.stage}, ` : ""}layer ${block.layer}`,
    name: block.name,
    scheme: block.name.split(/[( ]/)[0],
    h: block.h,
    // Where a layer has one coefficient for each channel, their mean.
    values: Object.fromEntries(block.coefficients.map(({ symbol, mean }) => [symbol, mean])),
    eigenvalues: block.spectrum.eigenvalues,
  }));
}

// z = h lambda of the layer shown, h times the factor of the slider.
const spectrumShown = (state) => {
  if (!state.layers) return [];
  const { h, eigenvalues } = state.layers[state.layer];
  return eigenvalues.map(([re, im]) => [re * h * state.factor, im * h * state.factor]);
};

// Puts the layer's coefficients into the sliders of its scheme, which reach as far as they must.
function takeCoefficients(state) {
  const { scheme, values } = state.layers[state.layer],
    known = ZOO.get(scheme);
  for (const symbol of known ? known.symbols : []) {
    if (!Number.isFinite(values[symbol.name])) continue;
    symbol.low = Math.min(symbol.low, Math.floor(values[symbol.name]));
    symbol.high = Math.max(symbol.high, Math.ceil(values[symbol.name]));
    state.values[scheme] = { ...state.values[scheme], [symbol.name]: values[symbol.name] };
  }
}

function describeLayer(state, members) {
  const { title, name, h, values } = state.layers[state.layer],
    points = spectrumShown(state);
  const named = Object.entries(values).map(([symbol, x]) => `, ${symbol} = ${written(x, 4)}`);
  const step = state.factor === 1 ? "" : ` times ${short(state.factor)}`;
  const parts = [`${title}: ${name}${named.join("")}, h = ${short(h)}${step}; ${points.length} eigenvalues`];
  for (const member of members) {
    const outside = points.filter(([x, y]) => !inside(radiusAt(member.phi, x, y, false)));
    const damped = outside.filter(([x]) => x <= 0).length;
    parts.push(`${member.scheme.name}: ${outside.length} outside, ${damped} of them where the flow does not grow`);
  }
  return `${parts.join(". ")}.`;
}

function drawSpectrum(context, at, state) {
  context.lineWidth = 1;
  context.strokeStyle = themed("--back");
  context.fillStyle = themed("--text");
  for (const point of spectrumShown(state)) {
    context.beginPath();
    context.arc(...at(...point), 3.5, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
  }
}
