// What moves the point and the plane: keys, pointers, buttons.

function move(z) {
  state.z = z.map((x) => Number(x.toPrecision(6)));
  changed({ region: false });
}

function zoom(factor, around = [state.view.x, state.view.y]) {
  const half = Math.min(1e4, Math.max(1e-9, state.view.half * factor)),
    part = half / state.view.half;
  state.view = {
    x: around[0] + (state.view.x - around[0]) * part,
    y: around[1] + (state.view.y - around[1]) * part,
    half,
  };
  if (Math.abs(state.view.y) < half * 1e-12) state.view.y = 0;
  changed({});
}

function pan(x, y) {
  state.view = { ...state.view, x: state.view.x + x, y: state.view.y + y };
  changed({});
}

// The usual view, and larger where the spectrum of a layer is beyond it.
function wholeView() {
  const sizes = spectrumShown(state).map(([x, y]) => 1.05 * Math.max(Math.abs(x - HOME.x), Math.abs(y)));
  return { ...HOME, half: Math.max(HOME.half, ...sizes) };
}

function home() {
  state.view = wholeView();
  changed({});
}

const KEYS = {
  "+": () => zoom(0.8),
  "=": () => zoom(0.8),
  "-": () => zoom(1.25),
  0: home,
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, 1],
  ArrowDown: [0, -1],
};

function key(event) {
  const found = KEYS[event.key];
  if (!found || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  const { half } = state.view;
  if (typeof found === "function") found();
  else if (event.shiftKey) pan(found[0] * half * 0.2, found[1] * half * 0.2);
  else move(state.z.map((x, i) => x + found[i] * half * 0.02));
}

// A finger that moves less than so many pixels has not moved.
const STILL = 5;

// The point follows the pointer; dragging moves the plane, two fingers zoom.
function pointers(canvas) {
  const down = new Map();
  let before = null;
  canvas.onpointerdown = (event) => {
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, event);
    before = {
      view: { ...state.view },
      at: region.at(event),
      moved: false,
      gap: gapOf(down),
      x: event.clientX,
      y: event.clientY,
    };
  };
  canvas.onpointermove = (event) => {
    if (!down.size) {
      if (event.pointerType === "mouse" && !event.shiftKey) move(region.at(event));
      return;
    }
    down.set(event.pointerId, event);
    if (down.size === 2) {
      const gap = gapOf(down);
      if (before.gap > 0 && gap > 0) zoom(before.gap / gap, before.at);
      before.gap = gap;
      return;
    }
    if (!before.moved && Math.hypot(event.clientX - before.x, event.clientY - before.y) < STILL) return;
    const now = region.at(event);
    pan(before.at[0] - now[0], before.at[1] - now[1]);
    region.show();
    before.moved = true;
  };
  canvas.onpointerup = canvas.onpointercancel = (event) => {
    down.delete(event.pointerId);
    if (before && !before.moved && event.type === "pointerup") move(region.at(event));
  };
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      zoom(2 ** (event.deltaY / 400), region.at(event));
    },
    { passive: false },
  );
}

function gapOf(down) {
  const [p, q] = [...down.values()];
  return q ? Math.hypot(p.clientX - q.clientX, p.clientY - q.clientY) : 0;
}
