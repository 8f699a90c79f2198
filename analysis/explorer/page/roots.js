// Roots zeta of Phi(zeta, z) at a point z. Complex numbers are pairs [re, im].

const plus = ([a, b], [c, d]) => [a + c, b + d];
const minus = ([a, b], [c, d]) => [a - c, b - d];
const times = ([a, b], [c, d]) => [a * c - b * d, a * d + b * c];

function over([a, b], [c, d]) {
  if (Math.abs(c) >= Math.abs(d)) {
    const r = d / c,
      below = c + d * r;
    return [(a + b * r) / below, (b - a * r) / below];
  }
  const r = c / d,
    below = c * r + d;
  return [(a * r + b) / below, (b * r - a) / below];
}

function squareRoot([a, b]) {
  const size = Math.sqrt((Math.hypot(a, b) + Math.abs(a)) / 2);
  if (size === 0) return [0, 0];
  const small = Math.abs(b) / (2 * size),
    sign = b < 0 ? -1 : 1;
  return a >= 0 ? [size, sign * small] : [small, sign * size];
}

// Room to work in, so that a picture of 160,000 points leaves no garbage: coefficients and roots of one point.
const MOST = 64;
const cRe = new Float64Array(MOST),
  cIm = new Float64Array(MOST),
  rRe = new Float64Array(MOST),
  rIm = new Float64Array(MOST);

function coefficientsAt(phi, x, y) {
  for (let k = 0; k < phi.length; k++) {
    const row = phi[k];
    let re = row[row.length - 1],
      im = 0;
    for (let j = row.length - 2; j >= 0; j--) {
      const t = re * x - im * y + row[j];
      im = re * y + im * x;
      re = t;
    }
    cRe[k] = re;
    cIm[k] = im;
  }
}

// The roots into rRe, rIm; how many. Infinite where the leading coefficient is 0, a pole of M(z).
// Warm: the roots that stand there, of a point nearby, are where the search begins.
function solve(phi, x, y, warm) {
  coefficientsAt(phi, x, y);
  const n = phi.length - 1;
  if (cRe[0] === 0 && cIm[0] === 0) {
    for (let k = 0; k < n; k++) {
      rRe[k] = Infinity;
      rIm[k] = 0;
    }
    return n;
  }
  const below = cRe[0] * cRe[0] + cIm[0] * cIm[0],
    a = cRe[0],
    b = cIm[0];
  for (let k = 0; k <= n; k++) {
    const re = (cRe[k] * a + cIm[k] * b) / below;
    cIm[k] = (cIm[k] * a - cRe[k] * b) / below;
    cRe[k] = re;
  }
  if (n === 1) {
    rRe[0] = -cRe[1];
    rIm[0] = -cIm[1];
  } else if (n === 2) solveTwo();
  else if (n > 2 && !(warm && aberth(n, 12) && distinct(n))) {
    spread(n);
    aberth(n, 200);
  }
  return n;
}

// By the formula, the sign chosen so that nothing cancels.
function solveTwo() {
  const half = [-cRe[1] / 2, -cIm[1] / 2],
    product = [cRe[2], cIm[2]];
  let root = squareRoot(minus(times(half, half), product));
  if (half[0] * root[0] + half[1] * root[1] < 0) root = [-root[0], -root[1]];
  const larger = plus(half, root);
  const other = larger[0] === 0 && larger[1] === 0 ? [0, 0] : over(product, larger);
  [rRe[0], rIm[0]] = larger;
  [rRe[1], rIm[1]] = other;
}

// Starting points on a circle that the roots lie about; an odd angle, so that no symmetry holds them up.
function spread(n) {
  let radius = 0;
  for (let k = 1; k <= n; k++) radius = Math.max(radius, Math.hypot(cRe[k], cIm[k]) ** (1 / k));
  for (let k = 0; k < n; k++) {
    const angle = (2 * Math.PI * k) / n + 0.4;
    rRe[k] = radius * Math.cos(angle);
    rIm[k] = radius * Math.sin(angle);
  }
}

// Two that begin at one place stay together, and another root is missed.
function distinct(n) {
  for (let j = 1; j < n; j++) for (let k = 0; k < j; k++) if (rRe[j] === rRe[k] && rIm[j] === rIm[k]) return false;
  return true;
}

// All roots at once by Aberth's (1973) iteration; whether it has come to rest.
function aberth(n, most) {
  for (let round = 0; round < most; round++) {
    let moved = 0;
    for (let k = 0; k < n; k++) {
      const u = rRe[k],
        v = rIm[k];
      let pRe = 1,
        pIm = 0,
        dRe = 0,
        dIm = 0;
      for (let j = 1; j <= n; j++) {
        let t = dRe * u - dIm * v + pRe;
        dIm = dRe * v + dIm * u + pIm;
        dRe = t;
        t = pRe * u - pIm * v + cRe[j];
        pIm = pRe * v + pIm * u + cIm[j];
        pRe = t;
      }
      let sRe = 0,
        sIm = 0;
      for (let j = 0; j < n; j++) {
        if (j === k) continue;
        const e = u - rRe[j],
          f = v - rIm[j],
          size = e * e + f * f;
        if (size > 0) {
          sRe += e / size;
          sIm -= f / size;
        }
      }
      // p / (p' - p sum)
      const bRe = dRe - (pRe * sRe - pIm * sIm),
        bIm = dIm - (pRe * sIm + pIm * sRe),
        size = bRe * bRe + bIm * bIm;
      if (!(size > 0)) continue;
      const stepRe = (pRe * bRe + pIm * bIm) / size,
        stepIm = (pIm * bRe - pRe * bIm) / size;
      rRe[k] = u - stepRe;
      rIm[k] = v - stepIm;
      moved = Math.max(moved, (stepRe * stepRe + stepIm * stepIm) / (1e-290 + rRe[k] * rRe[k] + rIm[k] * rIm[k]));
    }
    if (moved < 1e-30) return true;
    if (round > 6 && moved < 1e-24) return true;
  }
  return false;
}

function rootsAt(phi, x, y) {
  const n = solve(phi, x, y, false);
  return Array.from({ length: n }, (_, k) => [rRe[k], rIm[k]]);
}

// |zeta|max; warm as in solve.
function radiusAt(phi, x, y, warm) {
  const n = solve(phi, x, y, warm);
  let largest = 0;
  for (let k = 0; k < n; k++) largest = Math.max(largest, rRe[k] * rRe[k] + rIm[k] * rIm[k]);
  return Number.isNaN(largest) ? Infinity : Math.sqrt(largest);
}
