// Numbers as people read them. What is not there is a dash.

const NONE = "–";
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const three = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const cents = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

const known = (value) => value !== null && value !== undefined && Number.isFinite(value);

/** A count, in full up to five digits. */
export const count = (n) => (!known(n) ? NONE : n < 100_000 ? whole.format(n) : short.format(n));

/** A count with all of its digits. */
export const full = (n) => (known(n) ? whole.format(n) : NONE);

/** So many per second, or per anything. */
export const rate = (n) => (!known(n) ? NONE : n >= 1000 ? short.format(n) : three.format(n));

/** A part of a whole. */
export function percent(part, all) {
  if (!all) return NONE;
  const value = (100 * part) / all;
  return value === 0 ? "0 %" : value < 0.1 ? "< 0.1 %" : `${three.format(value)} %`;
}

/** A time in seconds, to three digits. */
export function seconds(s) {
  if (!known(s)) return NONE;
  if (s < 1) return `${three.format(s * 1000)} ms`;
  return s < 120 ? `${three.format(s)} s` : `${three.format(s / 60)} min`;
}

/** How long something has been so. */
export function span(s) {
  if (!known(s)) return NONE;
  const parts = [[86_400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const at = parts.findIndex(([size]) => s >= size);
  if (at < 0) return "0 s";
  const [[size, unit], next] = [parts[at], parts[at + 1]];
  const rest = next ? Math.floor((s % size) / next[0]) : 0;
  return `${Math.floor(s / size)} ${unit}${rest > 0 ? ` ${rest} ${next[1]}` : ""}`;
}

/** Dollars, from nano-USD: cents, and below them as many digits as say something. */
export function nano(n) {
  if (!known(n)) return NONE;
  const dollars = n / 1e9;
  if (dollars === 0) return "$0";
  if (dollars >= 100_000) return `$${short.format(dollars)}`;
  if (dollars >= 1) return `$${cents.format(dollars)}`;
  const digits = three.format(dollars);
  return `$${digits.length < 4 ? `${digits}0` : digits}`; // 0.5 is fifty cents
}

/** Dollars, from micro-USD. */
export const micro = (n) => nano(known(n) ? n * 1000 : n);

/** Bytes. */
export function bytes(n) {
  if (!known(n)) return NONE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (n >= 1024 && at < units.length - 1) [n, at] = [n / 1024, at + 1];
  return `${three.format(n)} ${units[at]}`;
}

/** So many of something, with its plural. */
export const many = (n, one, more = `${one}s`) => `${full(n)} ${n === 1 ? one : more}`;
