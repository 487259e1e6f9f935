// Every action of the story once more, with JavaScript switched off.
import { api, bothServe, builds, buildsEnd, expect, signIn, test, version, weir } from '../support';

test.use({ javaScriptEnabled: false });

test('start, roll back, explain, undo, hold and resume are plain forms', async ({ page }) => {
  await signIn(page);
  await buildsEnd();
  const first = await bothServe(() => true);
  const started = (await builds('httpd-base')) + 1;
  await page.goto(`${weir().url}/p/demo/builds/httpd-base`);
  await page.getByRole('button', { name: 'Start build' }).first().click();
  await expect.poll(() => builds('httpd-base')).toBe(started);
  await page.goto(`${weir().url}/p/demo/builds/httpd-base/runs/${started}`);
  await expect(page.locator('h1')).toContainText(`httpd-base #${started}`);
  await buildsEnd();
  await page.reload();
  await expect(page.locator('#log')).toContainText('FROM');
  const second = await bothServe((served) => served !== first);

  await page.goto(`${weir().url}/p/demo/streams/httpd-base/tags/latest`);
  await page.getByRole('button', { name: /^Roll back to #/ }).first().click();
  const banner = page.getByRole('region', { name: 'Held' });
  await expect(banner).toBeVisible();
  await banner.getByLabel(/reason/i).fill('a look without script');
  await banner.getByRole('button', { name: /reason/i }).click();
  await expect(banner).toContainText('a look without script');
  await bothServe((served) => served === first);
  await buildsEnd();
  await banner.getByRole('button', { name: 'Undo' }).click();
  await expect(banner).toHaveCount(0);
  await bothServe((served) => served === second);
  await page.getByRole('button', { name: 'Hold', exact: true }).click();
  await expect(banner).toBeVisible();
  await banner.getByRole('button', { name: 'Resume' }).click();
  await expect(banner).toHaveCount(0);

  await page.getByRole('link', { name: 'Roll back…' }).first().click();
  await expect(page.getByRole('heading', { level: 1 })).toContainText('Roll back httpd-base:latest?');
  await expect(page.getByText('All its blobs are here')).toBeVisible();
  await page.getByLabel('Put what is built on it back to what it had then').check();
  await page.getByLabel('Reason').fill('by the form');
  await page.getByRole('button', { name: 'Roll back', exact: true }).click();
  await expect(banner).toContainText('by the form');
  await bothServe((served) => served === first);
  await buildsEnd();
  await banner.getByRole('button', { name: 'Undo' }).click();
  await expect(banner).toHaveCount(0);
  await bothServe((served) => served === second);

  await page.goto(`${weir().url}/p/demo/apps/app-a`);
  await page.getByRole('button', { name: /^Roll back/ }).last().click();
  await expect(page.getByText(/Held by/).first()).toBeVisible();
  await expect.poll(() => version('app-a'), { timeout: 90_000 }).not.toBe(second);
  await page.getByRole('button', { name: 'Resume' }).first().click();
  await bothServe((served) => served === second);

  await page.goto(`${weir().url}/p/demo/streams/busybox/tags/latest`);
  await page.getByRole('button', { name: 'Check now' }).first().click();
  await expect(page.locator('h1')).toContainText('busybox:latest');
  await buildsEnd();
});

test('a build is cancelled by a form', async ({ page }) => {
  const configs = '/apis/build.openshift.io/v1/namespaces/demo/buildconfigs';
  await api('POST', configs, {
    metadata: { name: 'slow' },
    spec: {
      source: { dockerfile: 'FROM httpd-base:latest\nRUN echo it sleeps && sleep 600\n' },
      strategy: { dockerStrategy: {} },
      triggers: [],
      output: { to: { kind: 'ImageStreamTag', name: 'slow:latest' } },
    },
  });
  await signIn(page);
  await page.goto(`${weir().url}/p/demo/builds/slow`);
  await page.getByRole('button', { name: 'Start build' }).first().click();
  const run = `${weir().url}/p/demo/builds/slow/runs/1`;
  await expect
    .poll(async () => {
      await page.goto(run);
      return page.locator('#log').textContent();
    }, { timeout: 60_000 })
    .toContain('it sleeps');
  await page.getByRole('button', { name: 'Cancel' }).first().click();
  await buildsEnd();
  await page.goto(run);
  await expect(page.locator('h1')).toContainText('slow #1');
  await expect(page.locator('h1')).toContainText('Cancelled');
  await expect(page.locator('#log')).toContainText('The build was stopped.');
  const build = await api('GET', '/apis/build.openshift.io/v1/namespaces/demo/builds/slow-1');
  expect(build.status.phase).toBe('Cancelled');
  await api('DELETE', `${configs}/slow`);
});
