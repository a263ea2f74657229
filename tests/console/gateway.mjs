// A gateway process with a folder of its own, and calls to it.

import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, openSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";

const BIN = process.env.CROSSMODEL_BIN;

export const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Looks again and again until something holds; gives whether it came to hold in time. */
export async function eventually(holds, ms = 20_000) {
  for (const end = Date.now() + ms; Date.now() < end; await pause(100)) if (await holds()) return true;
  return false;
}

export const freePort = () => new Promise((done) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address();
    server.close(() => done(port));
  });
});

export class Gateway {
  static async make(name, config, token) {
    const gateway = new Gateway();
    gateway.folder = `${process.env.RUNDIR}/${name}`;
    mkdirSync(gateway.folder);
    [gateway.port, gateway.admin] = [await freePort(), await freePort()];
    const admin = token ? `{address: "127.0.0.1:${gateway.admin}", token: "env:ADMIN_TOKEN"}` : `"127.0.0.1:${gateway.admin}"`;
    writeFileSync(`${gateway.folder}/gateway.yaml`, [
      `listen: [{address: "127.0.0.1:${gateway.port}"}]`,
      `admin: ${admin}`,
      `data: ${gateway.folder}/data`,
      "access_log: off",
      config,
    ].join("\n"));
    gateway.token = token;
    gateway.command("store", "create");
    return gateway;
  }

  /** Runs a command on the gateway's folder and gives what it printed. */
  command(...words) {
    return execFileSync(BIN, ["--data", `${this.folder}/data`, ...words], { encoding: "utf8" });
  }

  /** Makes a key and gives its secret. */
  key(name, ...words) {
    return JSON.parse(this.command("key", "create", "--json", "--name", name, ...words)).secret;
  }

  async start() {
    const log = openSync(`${this.folder}/log`, "a");
    const env = { ...process.env, ADMIN_TOKEN: this.token ?? "" };
    this.child = spawn(BIN, ["-c", `${this.folder}/gateway.yaml`], { env, stdio: ["ignore", log, log] });
    const up = await eventually(() => fetch(`${this.url}/readyz`).then((answer) => answer.ok, () => false));
    if (!up) throw new Error(`the gateway in ${this.folder} does not answer`);
  }

  async stop() {
    if (!this.child) return;
    const ended = new Promise((done) => this.child.once("exit", done));
    this.child.kill("SIGKILL");
    await ended;
    this.child = null;
  }

  get url() {
    return `http://127.0.0.1:${this.admin}`;
  }

  /** Asks a model something; gives the status. */
  async ask(key, model, text, more = {}) {
    const answer = await fetch(`http://127.0.0.1:${this.port}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify({ model, messages: [{ role: "user", content: text }], ...more }),
    });
    await answer.text();
    return answer.status;
  }
}
