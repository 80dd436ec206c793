// A person with a telephone, who follows a link: headless Chromium, driven over a pipe.
//
//   node browser.mjs URL [--shots DIR] [--deny] [--stop-at PREFIX] [--map ORIGIN=LOOPBACK_ORIGIN]
//
// Opens the link, presses the button of our own start page if there is one, logs in and agrees at the pages of
// `provider.mjs` (with `--deny` it aborts there), and ends at the first page of ours that comes after that, or at a
// page that has no button. Each page of ours is photographed into DIR as a telephone shows it.
//
// `--stop-at` ends before an address that begins so is opened: what a person copies who has no page of ours to land on.
// `--map` lets the browser find a public https origin at a server on loopback. No other host than loopback is ever
// looked up. `CHROMIUM` names the program, when it is not `chromium`.
//
// Prints {"final_url", "title", "text", "shots", "too_wide"}: the last address with what stands on its page, the
// pictures, and the pages of ours that do not fit the screen's width. What goes wrong is told on standard error, and
// ends with 1.

import { access, constants, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import puppeteer from "puppeteer-core";

// More pages than any login has; a circle of them ends here.
const PAGES = 12;
const PATIENCE = 30_000;
const PHONE = { width: 390, height: 844, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
const ONLY_LOOPBACK = "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost, EXCLUDE [::1]";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    shots: { type: "string" },
    deny: { type: "boolean", default: false },
    "stop-at": { type: "string" },
    map: { type: "string" },
  },
});
const [start] = positionals;
const shots = [];
const too_wide = [];
let stopped;

const browser = await puppeteer
  .launch({
    browser: "chrome",
    executablePath: await program(),
    pipe: true,
    args: ["--no-sandbox", "--no-proxy-server", `--host-resolver-rules=${ONLY_LOOPBACK}`],
  })
  .catch((error) => fail(`chromium does not start: ${error.message}`));
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE);
  await page.setViewport(PHONE);
  await page.setRequestInterception(true);
  // A page that is left takes its unanswered requests with it.
  page.on("request", (request) => void answer(request).catch((error) => console.error(`browser.mjs: ${error.message}`)));

  await move(page, () => page.goto(start, { waitUntil: "load" }));
  await walk(page);
  const text = stopped ? "" : await page.evaluate(() => document.body?.innerText.trim() ?? "");
  const title = stopped ? "" : await page.title();
  console.log(JSON.stringify({ final_url: stopped ?? page.url(), title, text, shots, too_wide }));
} catch (error) {
  console.error(`browser.mjs: ${error.message}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}

// From page to page, until there is nothing more to press.
async function walk(page) {
  let theirs = false;
  for (let pages = 0; pages < PAGES && !stopped; pages += 1) {
    const prompt = await page.$eval("input[name=prompt]", (input) => input.value).catch(() => null);
    if (prompt === "login") {
      await page.type("input[name=login]", "alice");
      await page.type("input[name=password]", "any password");
    }
    if (prompt) {
      theirs = true;
      const deny = prompt === "consent" && options.deny;
      await press(page, deny ? 'a[href$="/abort"]' : "form [type=submit]");
      continue;
    }
    await photograph(page);
    const button = await page.$("form button, form input[type=submit]");
    if (theirs || !button) return;
    await press(page, "form button, form input[type=submit]");
  }
  if (!stopped) throw new Error(`the pages go round in circles; the last is ${page.url()}`);
}

// The element is pressed as a script would, so that nothing that lies over it takes the tap.
async function press(page, selector) {
  await move(page, async () => {
    const arrived = page.waitForNavigation({ waitUntil: "load" });
    await Promise.all([arrived, page.$eval(selector, (element) => element.click())]);
  });
}

// A movement that is stopped on purpose looks like one that failed.
async function move(page, step) {
  try {
    await step();
  } catch (error) {
    if (!stopped) throw new Error(`${error.message}, after ${page.url()}`);
  }
}

async function photograph(page) {
  const { pathname } = new URL(page.url());
  const wide = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
  if (wide) too_wide.push(pathname);
  if (!options.shots) return;
  await mkdir(options.shots, { recursive: true });
  const words = (await page.title()).toLowerCase().match(/[a-z0-9]+/g) ?? ["page"];
  const path = join(options.shots, `${shots.length + 1}-${words.join("-").slice(0, 60)}.png`);
  await page.screenshot({ path });
  shots.push(path);
}

async function answer(request) {
  const url = request.url();
  if (options["stop-at"] && request.isNavigationRequest() && url.startsWith(options["stop-at"])) {
    stopped = url;
    return request.abort();
  }
  const [from, to] = options.map?.split("=") ?? [];
  if (!from || new URL(url).origin !== from) return request.continue();
  // A redirect is the browser's to follow, and a cookie its to keep: both go through as they are.
  const { pathname, search } = new URL(url);
  const method = request.method();
  const headers = { ...request.headers(), cookie: await cookies(from) };
  const response = await fetch(`${to}${pathname}${search}`, {
    ...{ method, headers, redirect: "manual" },
    body: method === "GET" ? undefined : request.postData(),
  });
  // The body was unpacked on the way.
  const { "content-encoding": _, "content-length": __, ...answered } = Object.fromEntries(response.headers);
  const set = response.headers.getSetCookie();
  if (set.length) answered["set-cookie"] = set;
  await request.respond({
    ...{ status: response.status, headers: answered },
    body: Buffer.from(await response.arrayBuffer()),
  });
}

// Chromium adds a request's cookies after it was intercepted.
async function cookies(origin) {
  const { hostname } = new URL(origin);
  const kept = await browser.cookies();
  return kept
    .filter(({ domain }) => domain === hostname)
    .map(({ name, value }) => `${name}=${value}`)
    .join("; ");
}

async function program() {
  const { CHROMIUM = "chromium", PATH = "" } = process.env;
  if (CHROMIUM.includes("/")) return CHROMIUM;
  for (const folder of PATH.split(":")) {
    const path = join(folder, CHROMIUM);
    if (await access(path, constants.X_OK).then(() => true, () => false)) return path;
  }
  return fail(`${CHROMIUM} is not installed`);
}

function fail(message) {
  console.error(`browser.mjs: ${message}`);
  process.exit(1);
}
