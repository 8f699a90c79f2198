// The part of the page with the pendulum and Lotka-Volterra: what is chosen there, and what follows from it.

const MOST_STEPS = 400,
  LARGEST_H = 2,
  FINE = 8; // points a step of the exact orbit

const orbitAt = (name) => {
  const { start, h } = PROBLEMS[name];
  return { problem: name, h, steps: 100, start: [...start] };
};

// As the address holds it: problem,h,steps,u,v. null for what is none.
function orbitFrom(text) {
  const [problem, ...rest] = text.split(","),
    [h, steps, ...start] = rest.map(Number);
  const good =
    Object.hasOwn(PROBLEMS, problem) &&
    rest.length === 4 &&
    rest.every((x) => x.trim()) &&
    h > 0 &&
    h <= LARGEST_H &&
    Number.isInteger(steps) &&
    steps >= 1 &&
    steps <= MOST_STEPS &&
    PROBLEMS[problem].allowed(start);
  return good ? { problem, h, steps, start } : null;
}

const orbitText = ({ problem, h, steps, start }) => [problem, short(h), steps, ...start.map(short)].join(",");

const orbits = {
  runs: [],
  exact: [],
  playing: 0,
  shown: 0,

  compute(members, { problem, h, steps, start }) {
    this.problem = PROBLEMS[problem];
    this.runs = members.map((member) => orbitOf(member, this.problem, start, h, steps));
    this.exact = flow(this.problem, start, h, steps, FINE);
    const said = this.runs.flatMap((run, i) => (run.said ? `${members[i].scheme.name} ${run.said}` : []));
    get("orbit-said").textContent = said.length ? `${said.join("; ")}.` : "";
  },

  draw({ h, steps }) {
    if (!this.playing) this.shown = steps;
    const canvas = get("phase");
    this.stateAt = drawPhase(canvas, this.problem, this.exact, this.runs, this.shown, FINE);
    drawIntegral(get("integral"), this.problem, this.runs, h, steps, this.shown);
  },

  show({ problem, h, steps, start }) {
    get("problem").value = problem;
    get("orbit-h").value = get("orbit-h-exactly").value = h;
    get("orbit-steps").value = get("orbit-steps-shown").textContent = steps;
    PROBLEMS[problem].labels.forEach((name, i) => {
      get(`orbit-name-${i}`).textContent = `${name}(0)`;
      get(`orbit-${i}`).value = short(start[i]);
    });
  },

  play(state) {
    clearInterval(this.playing);
    this.shown = 0;
    this.playing = setInterval(() => {
      this.shown++;
      if (this.shown >= state.orbit.steps) {
        clearInterval(this.playing);
        this.playing = 0;
      }
      this.draw(state.orbit);
    }, 60);
  },
};

function startOrbits() {
  get("problem").append(
    ...Object.entries(PROBLEMS).map(([value, { name }]) => element("option", { value, textContent: name })),
  );
  const set = (part) => {
    const orbit = { ...state.orbit, ...part };
    const good = orbitFrom(orbitText(orbit));
    if (good) state.orbit = good;
    tell(
      "orbit-error",
      good ? "" : `Got ${orbitText(orbit)}, expected ${PROBLEMS[orbit.problem].expected}, and h up to ${LARGEST_H}.`,
      true,
    );
    changed({ region: false });
  };
  get("problem").onchange = ({ target }) => set(orbitAt(target.value));
  get("orbit-h").oninput = get("orbit-h-exactly").onchange = ({ target }) => set({ h: Number(target.value) });
  get("orbit-steps").oninput = ({ target }) => set({ steps: Number(target.value) });
  const from =
    (i) =>
    ({ target }) =>
      set({ start: state.orbit.start.map((x, j) => (i === j ? Number(target.value) : x)) });
  get("orbit-0").onchange = from(0);
  get("orbit-1").onchange = from(1);
  get("orbit-run").onclick = () => orbits.play(state);
  get("phase").onclick = (event) => {
    const box = get("phase").getBoundingClientRect();
    set({
      start: orbits.stateAt(event.clientX - box.left, event.clientY - box.top).map((x) => Number(x.toPrecision(4))),
    });
  };
}
