// The order star: where |zeta(z) e^-z| > 1, zeta the principal root, continued from 1 at z = 0 straight outwards.

const SPOKES = 240,
  RINGS = 100;

function nearest(roots, guess) {
  let best = roots[0],
    least = Infinity;
  for (const root of roots) {
    const size = Math.hypot(...root);
    // A distance on the Riemann sphere, so that a pole is passed.
    const distance = Number.isFinite(size) ? Math.hypot(...minus(root, guess)) / Math.hypot(1, size) : 1;
    if (distance < least) [best, least] = [root, distance];
  }
  return best;
}

// The tangent of zeta, or of 1/zeta where that is smaller: zeta' = -Phi_z / Phi_zeta.
function predict(phi, known, at, to) {
  const step = minus(to, at);
  if (at[0] === 0 && at[1] === 0) return [Math.exp(step[0]) * Math.cos(step[1]), Math.exp(step[0]) * Math.sin(step[1])];
  let slopeZ = [0, 0],
    slopeZeta = [0, 0],
    total = [0, 0];
  for (const row of phi) {
    let c = [0, 0],
      d = [0, 0];
    for (let j = row.length - 1; j >= 0; j--) {
      d = plus(times(d, at), c);
      c = plus(times(c, at), [row[j], 0]);
    }
    slopeZ = plus(times(slopeZ, known), d);
    slopeZeta = plus(times(slopeZeta, known), total);
    total = plus(times(total, known), c);
  }
  const move = times(over([-slopeZ[0], -slopeZ[1]], slopeZeta), step);
  const guess = Math.hypot(...known) <= 1 ? plus(known, move) : over(known, minus([1, 0], over(move, known)));
  return guess.every(Number.isFinite) ? guess : known;
}

// The principal root along spokes from 0 out to a radius; a function of x, y then tells |zeta(z)|.
function principal(phi, outer) {
  if (phi.length === 2) return (x, y) => radiusAt(phi, x, y, false);
  // Coefficients are real: |zeta| is the same at conjugate points, and the upper half is enough.
  const spokes = [];
  for (let s = 0; s <= SPOKES / 2; s++) {
    const angle = (2 * Math.PI * s) / SPOKES;
    const spoke = [{ at: [0, 0], root: [1, 0] }];
    for (let r = 1; r <= RINGS; r++) {
      const at = [(outer * r * Math.cos(angle)) / RINGS, (outer * r * Math.sin(angle)) / RINGS];
      const guess = predict(phi, spoke[r - 1].root, spoke[r - 1].at, at);
      spoke.push({ at, root: nearest(rootsAt(phi, ...at), guess) });
    }
    spokes.push(spoke);
  }
  return (x, below) => {
    const y = Math.abs(below);
    const s = Math.round((Math.atan2(y, x) * SPOKES) / (2 * Math.PI));
    const { at, root } = spokes[s][Math.min(RINGS, Math.round((Math.hypot(x, y) * RINGS) / outer))];
    return Math.hypot(...nearest(rootsAt(phi, x, y), predict(phi, root, at, [x, y])));
  };
}
