// The documents as their readers meet them: in a browser, against a running service at BASE_URL (see `run`).
//
// Every visit is watched. Whatever else a test asserts, it fails where a page asks another origin, breaks its content
// security policy, throws, or complains on the console.

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';

const { BASE_URL, CHROMIUM = '/usr/bin/chromium', SCREENSHOTS } = process.env;
assert.ok(BASE_URL, 'BASE_URL names the service to test: start this through tests/browser/run');

const LOCAL = new URL(BASE_URL).origin;
// Pages may behave otherwise where they are not on localhost: Swagger UI's validator does.
const PUBLIC = LOCAL.replace('//localhost', '//rollcall.test');
const METHODS = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace'];

let browser;
let api;
let operations;

before(async () => {
  const answer = await fetch(`${LOCAL}/openapi.json`);
  assert.equal(answer.status, 200);
  api = await answer.json();
  operations = Object.entries(api.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({ method, path, ...item[method] })),
  );
  assert.notEqual(operations.length, 0, 'the document has operations');
  // The flags keep Chromium's own services quiet, which would ask hosts on the internet.
  browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--host-resolver-rules=MAP rollcall.test 127.0.0.1',
    ],
  });
});

after(() => browser?.close());

/** Collects what pages of `context` must not do. Requests that would leave `origin` are stopped here. */
async function watch(context, origin) {
  const complaints = [];
  const foreign = (url) => url.protocol !== 'data:' && url.origin !== origin;
  await context.route(foreign, (route) => route.abort());
  // Not in the route: a request that the policy stops is announced, but never routed.
  context.on('request', (request) => {
    if (foreign(new URL(request.url()))) complaints.push(`request: ${request.url()}`);
  });
  context.on('page', (page) => page.on('websocket', (socket) => complaints.push(`socket: ${socket.url()}`)));
  context.on('weberror', (event) => complaints.push(`thrown: ${event.error().message}`));
  context.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) {
      complaints.push(`${message.type()}: ${message.text()} ${message.location().url}`);
    }
  });
  await context.exposeBinding('tellViolation', (_, words) => complaints.push(`violation: ${words}`));
  await context.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => {
      globalThis.tellViolation(`${event.effectiveDirective} ${event.blockedURI}`);
    });
  });
  return complaints;
}

/** Opens `path` of `origin` for `read`, waits until the page rests, and returns what it did that it must not. */
async function visit(path, read, origin = LOCAL, options = { viewport: { width: 1280, height: 900 } }) {
  const context = await browser.newContext(options);
  try {
    const complaints = await watch(context, origin);
    const page = await context.newPage();
    await page.goto(origin + path);
    await read(page);
    await page.waitForLoadState('networkidle');
    return complaints;
  } finally {
    await context.close();
  }
}

/** A test that reads a page which behaves. */
function reading(path, sentence, read, origin, options) {
  test(sentence, { timeout: 120_000 }, async () => {
    assert.deepEqual(await visit(path, read, origin, options), []);
  });
}

async function picture(page, name) {
  if (!SCREENSHOTS) return;
  await mkdir(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`) });
}

/** Waits until `locator` matches `count` elements. */
async function counted(locator, count) {
  await locator.nth(count - 1).waitFor();
  assert.equal(await locator.count(), count);
}

const swaggerOperations = (page) => page.locator('.opblock');
const redocOperations = (page) => page.locator('[data-section-id^="tag/"][data-section-id*="/operation/"]');
const byName = (names) => [...names].sort();
const named = ({ method, path, summary }) => `${method.toUpperCase()} ${path} ${summary}`;

// Swagger UI

reading('/docs', 'Swagger UI shows every operation with every answer', async (page) => {
  const blocks = swaggerOperations(page);
  await counted(blocks, operations.length);
  const shown = await blocks.evaluateAll((elements) =>
    elements.map((element) => {
      const text = (part) => element.querySelector(part).textContent;
      const path = element.querySelector('.opblock-summary-path').dataset.path;
      return `${text('.opblock-summary-method')} ${path} ${text('.opblock-summary-description')}`;
    }),
  );
  assert.deepEqual(byName(shown), byName(operations.map(named)));
  assert.equal(await page.locator('.topbar').count(), 0, 'no bar of another name');
  await picture(page, 'docs');

  for (const operation of operations) {
    const block = await opened(page, operation.operationId);
    const statuses = block.locator('.responses-table:not(.live-responses-table) tr.response[data-code]');
    await counted(statuses, Object.keys(operation.responses).length);
    const codes = await statuses.evaluateAll((rows) => rows.map((row) => row.dataset.code));
    assert.deepEqual(byName(codes), byName(Object.keys(operation.responses)), operation.operationId);
  }
  assert.equal(await page.title(), 'Rollcall');
  assert.equal(await page.locator('.errors-wrapper').count(), 0, 'Swagger UI finds no fault in the document');
  const links = await page.locator('a[href]:visible').evaluateAll((anchors) => anchors.map((anchor) => new URL(anchor.href)));
  assert.deepEqual(links.filter(({ origin }) => origin !== LOCAL), [], 'no link leads elsewhere');
  await imagesAreWhole(page);
});

reading('/docs', 'Swagger UI registers a user, logs in, and gets the profile with the token', async (page) => {
  const user = { name: 'Ada Reader', email: `reader.${Date.now()}@example.com`, password: 'SecurePass123' };

  const registered = await execute(page, 'register', user);
  assert.equal(registered.status, '201');
  assert.equal(registered.body.data.email, user.email);

  const { email, password } = user;
  const login = await execute(page, 'login', { email, password });
  assert.equal(login.status, '200');

  await authorize(page, login.body.data.token);
  const profile = await execute(page, 'me');
  assert.equal(profile.status, '200');
  assert.deepEqual(profile.body.data, registered.body.data);
  await picture(page, 'docs-profile');
});

/** The block of an operation, unfolded. */
async function opened(page, operationId) {
  const block = page.locator(`.opblock[id$="-${operationId}"]`);
  await block.locator('.opblock-summary-control').click();
  await block.locator('.opblock-body').waitFor();
  return block;
}

/** Sends an operation's request from its block, as filled in by hand, and reads the live answer. */
async function execute(page, operationId, body) {
  const block = await opened(page, operationId);
  if (body) await block.locator('textarea.body-param__text').fill(JSON.stringify(body, null, 2));
  await block.locator('button.execute').click();
  const answer = block.locator('.live-responses-table tr.response');
  const text = await answer.locator('.response-col_description .highlight-code code').first().textContent();
  const status = await answer.locator('.response-col_status').textContent();
  return { status: status.trim(), body: JSON.parse(text) };
}

/** Hands a token to the dialog behind "Authorize". */
async function authorize(page, token) {
  await page.locator('.scheme-container button.authorize').click();
  const dialog = page.locator('.dialog-ux .modal-ux');
  await dialog.locator('input').fill(token);
  await picture(page, 'docs-authorize');
  await dialog.locator('button.authorize').click();
  await dialog.getByText('Authorized').waitFor();
  await dialog.locator('button.btn-done').click();
  await dialog.waitFor({ state: 'detached' });
  await page.locator('.scheme-container button.authorize.locked').waitFor();
}

// ReDoc

reading('/redoc', 'ReDoc shows every operation with every answer', async (page) => {
  const sections = redocOperations(page);
  await counted(sections, operations.length);
  const shown = await sections.evaluateAll((elements) =>
    elements.map((element) => {
      const verb = element.querySelector('.http-verb');
      const summary = element.querySelector('h2').textContent.trim();
      return `${verb.textContent.toUpperCase()} ${verb.nextElementSibling.textContent} ${summary}`;
    }),
  );
  assert.deepEqual(byName(shown), byName(operations.map(named)));
  await picture(page, 'redoc');

  for (const { operationId, responses } of operations) {
    const section = page.locator(`[data-section-id$="/operation/${operationId}"]`);
    const codes = await section
      .locator('button:has(strong), div[kind]:has(> strong)')
      .evaluateAll((heads) => heads.map((head) => head.querySelector('strong').textContent.trim()));
    assert.deepEqual(byName(codes), byName(Object.keys(responses)), operationId);
  }
  assert.equal(await page.title(), 'Rollcall');
  assert.equal(await page.getByText('Something went wrong').count(), 0);
  await imagesAreWhole(page);
});

reading('/redoc', "ReDoc's menu lists every operation, and its search leads to each", async (page) => {
  await counted(redocOperations(page), operations.length);
  const entries = page.locator('.menu-content [role=menu] li[data-item-id*="/operation/"]');
  const listed = await entries.locator('span:last-child').allTextContents();
  assert.deepEqual(byName(listed), byName(operations.map(({ summary }) => summary)));

  for (const { operationId, summary } of operations) {
    await page.getByPlaceholder('Search...').fill(summary);
    const found = page.locator(`[data-role="search:results"] li[data-item-id$="/operation/${operationId}"]`);
    await found.waitFor();
    await picture(page, `redoc-search-${operationId}`);
    await found.click();
    await page.waitForURL((url) => url.hash.endsWith(`/operation/${operationId}`));
    await page.waitForFunction((id) => {
      const { top } = document.querySelector(`[data-section-id$="/operation/${id}"] h2`).getBoundingClientRect();
      return top >= 0 && top < innerHeight;
    }, operationId);
  }
});

// Both

for (const [path, shown] of [
  ['/docs', swaggerOperations],
  ['/redoc', redocOperations],
]) {
  const read = (page) => counted(shown(page), operations.length);
  reading(path, `${path} keeps to its own origin under a public name`, read, PUBLIC);

  const fits = async (page) => {
    await counted(shown(page), operations.length);
    if (path === '/docs') await opened(page, 'register');
    const [width, content] = await page.evaluate(() => [innerWidth, document.documentElement.scrollWidth]);
    await picture(page, `${path.slice(1)}-phone`);
    assert.equal(width, 390, 'the page is laid out for the width that there is');
    assert.ok(content <= width, `nothing lies beyond the edge: ${content} pixels`);
  };
  const phone = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };
  reading(path, `${path} fits a phone`, fits, LOCAL, phone);

  test(`${path} works below a path of a proxy`, { timeout: 120_000 }, async () => {
    const strangers = [];
    const proxy = await proxied('/auth', strangers);
    try {
      const origin = `http://localhost:${proxy.address().port}`;
      const tries = async (page) => {
        await counted(shown(page), operations.length);
        if (path === '/docs') assert.equal((await execute(page, 'root')).status, '200');
      };
      assert.deepEqual(await visit(`/auth${path}`, tries, origin), []);
      if (path === '/docs') assert.deepEqual(await visit(`/auth${path}/`, tries, origin), []);
      assert.deepEqual(strangers, [], 'nothing is asked for outside of it');
    } finally {
      proxy.closeAllConnections();
      proxy.close();
    }
  });
}

/** A proxy of the service below `prefix`, which lists in `strangers` what lies elsewhere. */
async function proxied(prefix, strangers) {
  const { hostname, port } = new URL(LOCAL);
  const server = createServer((asked, answer) => {
    if (!asked.url.startsWith(`${prefix}/`)) {
      strangers.push(asked.url);
      answer.writeHead(404).end();
      return;
    }
    const { method, headers } = asked;
    const passed = request({ hostname, port, path: asked.url.slice(prefix.length), method, headers }, (given) => {
      answer.writeHead(given.statusCode, given.headers);
      given.pipe(answer);
    });
    passed.on('error', () => answer.destroy());
    asked.pipe(passed);
  });
  await new Promise((ready) => server.listen(0, 'localhost', ready));
  return server;
}

test('a page that misbehaves is noticed', { timeout: 120_000 }, async () => {
  const complaints = await visit('/redoc', async (page) => {
    await counted(redocOperations(page), operations.length);
    const thrown = page.waitForEvent('pageerror');
    await page.evaluate(async () => {
      const image = new Image();
      const refused = new Promise((done) => image.addEventListener('error', done));
      image.src = 'https://elsewhere.test/logo.svg';
      await refused;
      setTimeout(() => {
        throw new Error('on purpose');
      });
    });
    await thrown;
  });
  const kinds = new Set(complaints.map((complaint) => complaint.split(':')[0]));
  assert.deepEqual(byName(kinds), ['error', 'request', 'thrown', 'violation']);
});

async function imagesAreWhole(page) {
  const broken = await page.evaluate(() =>
    [...document.images].filter((image) => image.complete && image.naturalWidth === 0).map((image) => image.src),
  );
  assert.deepEqual(broken, []);
}
