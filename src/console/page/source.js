// Where the figures come from: one document every two seconds, and the samples of the last ten minutes, of which
// each document brings only those that are missing.

const PERIOD = 2000;
const PATIENCE = 8000;
const SAMPLES = 600;
const TOKEN = "crossmodel-admin-token";

export class Source {
  constructor(on) {
    this.on = on; // figures(view, series), state(name, words), token(wrong)
    this.query = { keys: "", sort: "requests" };
    this.paused = false;
    this.instance = "";
    this.next = 0;
    this.series = {};
    this.timer = 0;
    this.turn = 0;
    document.addEventListener("visibilitychange", () => { if (!document.hidden && !this.paused) this.ask(); });
  }

  /** Asks now, and every two seconds from then on. An answer that has been overtaken is thrown away. */
  async ask() {
    clearTimeout(this.timer);
    const turn = ++this.turn;
    const again = await this.look(turn);
    if (turn !== this.turn) return;
    if (again && !this.paused && !document.hidden) this.timer = setTimeout(() => this.ask(), PERIOD);
  }

  pause(paused) {
    this.paused = paused;
    if (paused) {
      clearTimeout(this.timer);
      this.turn += 1;
      this.on.state("paused", "Paused");
    } else {
      this.ask();
    }
  }

  wish(wish) {
    Object.assign(this.query, wish);
    this.ask();
  }

  login(token) {
    sessionStorage.setItem(TOKEN, token);
    this.ask();
  }

  async look(turn) {
    const token = sessionStorage.getItem(TOKEN);
    const query = new URLSearchParams({ instance: this.instance, since: this.next, ...this.query });
    let response, view;
    try {
      response = await fetch(`/console.json?${String(query).replaceAll("+", "%20")}`, {
        headers: token ? { authorization: `Bearer ${token}` } : {},
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
        signal: AbortSignal.timeout(PATIENCE),
      });
      view = response.ok ? await response.json() : await response.text();
    } catch {
      if (turn === this.turn) this.on.state("lost", "No answer: the gateway may be restarting. Trying again");
      return true;
    }
    if (turn !== this.turn) return false;
    if (response.status === 401) {
      sessionStorage.removeItem(TOKEN);
      this.on.state("locked", "Locked");
      this.on.token(Boolean(token));
      return false;
    }
    if (!response.ok) {
      this.on.state("lost", `Refused: ${view.trim()}`);
      return true;
    }
    const restarted = this.instance !== "" && this.instance !== view.instance;
    this.keep(view);
    this.on.figures(view, this.series, restarted);
    this.on.state(this.paused ? "paused" : "live", this.paused ? "Paused" : "Live");
    return true;
  }

  /** Adds the samples of a document to those that are there. */
  keep(view) {
    const { first, ...columns } = view.series;
    const fresh = this.instance !== view.instance || first !== this.next;
    this.series = merge(fresh ? {} : this.series, columns);
    this.instance = view.instance;
    this.next = first + columns.requests.length;
  }
}

function merge(old, more) {
  const merged = {};
  for (const [name, values] of Object.entries(more)) {
    merged[name] = Array.isArray(values)
      ? (old[name] ?? []).concat(values).slice(-SAMPLES)
      : merge(old[name] ?? {}, values);
  }
  return merged;
}
