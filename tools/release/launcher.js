#!/usr/bin/env node
// Runs the binary of this platform, with the arguments, streams, signals and exit code of this process.
"use strict";

const { spawn } = require("node:child_process");
const { constants } = require("node:os");

const platform = `${process.platform}-${process.arch}`;

function binary() {
  try {
    return require.resolve(`@crossmodel/${platform}/bin/crossmodel`);
  } catch {
    console.error(
      `crossmodel: there is no binary for ${platform} here. There are binaries for linux-x64 and linux-arm64 with glibc; ` +
        "they are optional dependencies, which `npm install --omit=optional` leaves out.",
    );
    process.exit(1);
  }
}

const child = spawn(binary(), process.argv.slice(2), { stdio: "inherit" });
child.on("error", (error) => {
  console.error(`crossmodel: the binary does not start: ${error.message}`);
  process.exit(1);
});

// A terminal sends its signals to both processes, and a second one would end the gateway at once.
const ofTerminal = process.stdin.isTTY ? ["SIGINT", "SIGQUIT"] : [];
for (const signal of ["SIGINT", "SIGQUIT", "SIGTERM", "SIGHUP", "SIGUSR2"]) {
  process.on(signal, () => ofTerminal.includes(signal) || child.kill(signal));
}

child.on("exit", (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
