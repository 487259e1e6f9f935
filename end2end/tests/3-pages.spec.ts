// Every page, at two widths and in two themes: a picture for people, and checks that no page may fail.
import AxeBuilder from '@axe-core/playwright';
import type { Page } from '@playwright/test';
import { api, buildsEnd, expect, signIn, test, weir } from '../support';

const SIZES = [{ width: 1280, height: 900 }, { width: 390, height: 844 }];
const THEMES = ['light', 'dark'] as const;

async function routes(): Promise<Record<string, string>> {
  const history = await api('GET', '/weir/v1/projects/demo/streams/httpd-base/tags/latest/history');
  const digest = history.items[0].digest;
  const first = history.items[history.items.length - 1];
  return {
    projects: '/',
    'new-project': '/projects/new',
    overview: '/p/demo',
    streams: '/p/demo/streams',
    'streams-none': '/p/demo/streams?q=nothing-of-that-name',
    'streams-new': '/p/demo/streams/new',
    stream: '/p/demo/streams/httpd-base',
    'stream-history': '/p/demo/streams/httpd-base/history',
    'stream-used-by': '/p/demo/streams/httpd-base/used-by',
    'stream-imports': '/p/demo/streams/busybox/imports',
    'import-rule-new': '/p/demo/streams/busybox/import-rules/new',
    'import-rule-edit': `/p/demo/streams/busybox/import-rules/${await rule()}/edit`,
    'stream-settings': '/p/demo/streams/httpd-base/settings',
    'stream-deleted-tags': '/p/demo/streams/httpd-base/deleted-tags',
    'tag-add': '/p/demo/streams/httpd-base/add-tag',
    'tag-edit': '/p/demo/streams/busybox/tags/latest/edit',
    'tag-used-by': '/p/demo/streams/httpd-base/tags/latest/used-by',
    'tag-delete': '/p/demo/streams/busybox/tags/latest/delete',
    tag: '/p/demo/streams/httpd-base/tags/latest',
    'tag-imported': '/p/demo/streams/busybox/tags/latest',
    rollback: `/p/demo/streams/httpd-base/tags/latest/rollback?to=${first.sequence}`,
    image: `/p/demo/streams/httpd-base/images/${digest}`,
    'image-packages': `/p/demo/streams/httpd-base/images/${digest}/packages`,
    compare: `/p/demo/streams/httpd-base/compare?from=${first.digest}&to=${digest}`,
    builds: '/p/demo/builds',
    'builds-new': '/p/demo/builds/new',
    build: '/p/demo/builds/httpd-base',
    'build-edit': '/p/demo/builds/httpd-base/edit',
    'build-start-with': '/p/demo/builds/httpd-base/start-with',
    'build-delete': '/p/demo/builds/httpd-base/delete',
    run: '/p/demo/builds/httpd-base/runs/1',
    apps: '/p/demo/apps',
    'apps-new': '/p/demo/apps/new',
    app: '/p/demo/apps/app-a',
    'app-edit': '/p/demo/apps/app-a/edit',
    'app-rollback': '/p/demo/apps/app-a/rollback?to=1',
    'app-delete': '/p/demo/apps/app-a/delete',
    graph: '/p/demo/graph',
    cascades: '/p/demo/cascades',
    cascade: '/p/demo/cascades/1',
    'cascade-cancel': '/p/demo/cascades/1/cancel',
    imports: '/p/demo/imports',
    activity: '/p/demo/activity',
    settings: '/p/demo/settings',
    freezes: '/p/demo/freezes',
    notices: '/p/demo/notices',
    'notices-new': '/p/demo/notices/new',
    notice: '/p/demo/notices/chat',
    'notice-edit': '/p/demo/notices/chat/edit',
    'notice-delivery': `/p/demo/notices/chat/deliveries/${await delivery()}`,
    'streams-then': `/p/demo/streams?as-of=${moment()}`,
    'stream-then': `/p/demo/streams/httpd-base?as-of=${moment()}`,
    'tag-then': `/p/demo/streams/httpd-base/tags/latest?as-of=${moment()}`,
    'apps-then': `/p/demo/apps?as-of=${moment()}`,
    tokens: '/tokens',
    search: '/search?q=httpd',
  };
}

/** What is wrong with a page, after pictures of it at each width and in each theme. */
async function faults(page: Page, name: string, route: string, status = 200): Promise<string[]> {
  const failures: string[] = [];
  for (const size of SIZES) {
    await page.setViewportSize(size);
    for (const theme of THEMES) {
      await page.emulateMedia({ colorScheme: theme });
      const answer = await page.goto(`${weir().url}${route}`);
      const where = `${name} ${size.width} ${theme}`;
      if (answer?.status() !== status) failures.push(`${where}: ${answer?.status()}`);
      await page.screenshot({ path: `screenshots/${name}-${size.width}-${theme}.png`, fullPage: true });
      const text = await page.locator('body').innerText();
      for (const slip of ['undefined', '{{', '&&', '[object']) {
        if (text.includes(slip)) failures.push(`${where}: the text has "${slip}"`);
      }
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      if (wide > 1) failures.push(`${where}: ${wide} px too wide`);
      // The rules look at the same elements at both widths; the colours differ by theme.
      if (size.width !== 1280) continue;
      const found = await new AxeBuilder({ page }).setLegacyMode(true).analyze();
      for (const violation of found.violations) {
        if (['serious', 'critical'].includes(violation.impact ?? '')) {
          failures.push(`${where}: ${violation.id} at ${violation.nodes[0].target.join(' ')}`);
        }
      }
    }
  }
  return failures;
}

/** An import rule about a repository in a registry that does not answer, which was asked. */
async function rule(): Promise<string> {
  const rules = '/weir/v1/projects/demo/streams/busybox/import-rules';
  if ((await api('GET', rules)).items.length === 0) {
    await api('POST', rules, { name: 'versions', repository: 'localhost:9/library/busybox', patternKind: 'semver', pattern: '1.*', limit: 5 });
  }
  for (let tries = 0; ; tries += 1) {
    if ((await api('GET', `${rules}/versions`)).listing.outcome !== 'new') return 'versions';
    if (tries === 300) throw new Error('the repository was not asked for its tags');
    await new Promise((next) => setTimeout(next, 100));
  }
}

/** The last second that is over. */
function moment(): string {
  return new Date(Date.now() - 1000).toISOString().replace(/\.\d+Z$/, 'Z');
}

/** A target of notices at an address where nobody answers, and a notice that was tried to be delivered there. */
async function delivery(): Promise<string> {
  const notices = '/weir/v1/projects/demo/notices';
  const targets = await api('GET', notices);
  if (targets.items.length === 0) {
    await api('POST', notices, { name: 'chat', url: 'http://localhost:9/hooks/weir', kinds: targets.kinds });
    await api('POST', `${notices}/chat/test`, {});
  }
  for (let tries = 0; ; tries += 1) {
    const [newest] = (await api('GET', `${notices}/chat/deliveries`)).items;
    if (newest?.attempts > 0) return newest.id;
    if (tries === 100) throw new Error('nothing was tried to be delivered');
    await new Promise((next) => setTimeout(next, 100));
  }
}

test('the import of the demo has brought its image', async () => {
  const history = await api('GET', '/weir/v1/projects/demo/streams/busybox/tags/latest/history');
  expect(history.items.map((row: { kind: string }) => row.kind)).toEqual(['import']);
});

test('a rollback page has chosen the row that it shows', async ({ page }) => {
  await signIn(page);
  const history = await api('GET', '/weir/v1/projects/demo/streams/httpd-base/tags/latest/history');
  const first = history.items[history.items.length - 1];
  await page.goto(`${weir().url}/p/demo/streams/httpd-base/tags/latest/rollback?to=${first.sequence}`);
  await expect(page.locator('select[name="to"]')).toHaveValue(String(first.sequence));
  await page.goto(`${weir().url}/p/demo/apps/app-a/rollback?to=1`);
  await expect(page.locator('select[name="to"]')).toHaveValue('1');
});

test('every page reads well at both widths and in both themes', async ({ page }) => {
  test.setTimeout(900_000);
  await signIn(page);
  await buildsEnd();
  const failures: string[] = [];
  for (const [name, route] of Object.entries(await routes())) failures.push(...(await faults(page, name, route)));
  expect(failures).toEqual([]);
});

test('so does the page to sign in on', async ({ page }) => {
  expect(await faults(page, 'sign-in', '/login')).toEqual([]);
});

test('so does the page of site admins', async ({ page }) => {
  await signIn(page, 'admin', weir().adminPassword);
  expect(await faults(page, 'registries', '/imports/registries')).toEqual([]);
});

// On a page of its own: the browser remarks on every answer that is no 200.
test('so does the page that is not there', async ({ browser }) => {
  const page = await browser.newPage();
  await signIn(page);
  expect(await faults(page, 'not-found', '/p/demo/no-such-page', 404)).toEqual([]);
  await page.close();
});

test('a first visit is small and asks nobody else', async ({ page }) => {
  const urls: string[] = [];
  let bytes = 0;
  const session = await page.context().newCDPSession(page);
  await session.send('Network.enable');
  session.on('Network.loadingFinished', (event) => (bytes += event.encodedDataLength));
  page.on('request', (request) => urls.push(request.url()));
  await page.goto(`${weir().url}/login`, { waitUntil: 'networkidle' });
  expect(urls.filter((url) => !url.startsWith(weir().url) && !url.startsWith('data:'))).toEqual([]);
  expect(bytes).toBeLessThanOrEqual(300_000);
});
