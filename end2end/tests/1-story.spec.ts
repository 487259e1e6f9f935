// The main job, in a browser and on real containers: a base image changes, what is built on it follows, and going back stays.
import { api, bothServe, builds, buildsEnd, expect, pushBase, signIn, test, version, weir } from '../support';

const TAG = '/p/demo/streams/httpd-base/tags/latest';

test('start a build, watch it arrive, go back, undo, go back again, resume', async ({ page }) => {
  await signIn(page);
  const first = await bothServe(() => true);
  const before = { base: await builds('httpd-base'), a: await builds('app-a'), b: await builds('app-b') };

  await page.goto(`${weir().url}/p/demo/builds`);
  await page.getByRole('link', { name: 'httpd-base', exact: true }).first().click();
  await page.getByRole('button', { name: 'Start build' }).first().click();

  await page.goto(`${weir().url}/p/demo/builds/httpd-base/runs/${before.base + 1}`);
  const log = page.locator('#log');
  await expect(log).toContainText('httpd-base', { timeout: 60_000 });
  await expect(page.locator('h1')).toContainText('Complete', { timeout: 90_000 });

  const second = await bothServe((served) => served !== first);
  await buildsEnd();
  expect(await builds('httpd-base')).toBe(before.base + 1);
  expect(await builds('app-a'), 'app-a is built again once').toBe(before.a + 1);
  expect(await builds('app-b'), 'app-b is built again once').toBe(before.b + 1);

  await page.goto(`${weir().url}${TAG}`);
  const row = page.getByRole('row').filter({ hasText: `httpd-base #${before.base + 1}` });
  await expect(row).toContainText('Current');
  await expect(row.getByRole('link', { name: /cascade/ })).toBeVisible();

  await page.getByRole('button', { name: 'Roll back to #1', exact: true }).click();
  const banner = page.getByRole('region', { name: 'Held' });
  await expect(banner).toContainText(`Held by ${weir().user}`);
  expect(await bothServe((served) => served === first)).toBe(first);

  await buildsEnd();
  await page.goto(`${weir().url}${TAG}`);
  await banner.getByRole('button', { name: 'Undo' }).click();
  await expect(banner).toHaveCount(0);
  await bothServe((served) => served === second);

  await page.getByRole('button', { name: 'Roll back to #1', exact: true }).click();
  await expect(banner).toBeVisible();
  await bothServe((served) => served === first);
  await buildsEnd();

  await pushBase('story');
  await expect.poll(() => builds('httpd-base')).toBe(before.base + 2);
  await buildsEnd();
  expect([await version('app-a'), await version('app-b')], 'what is held stays').toEqual([first, first]);
  await page.goto(`${weir().url}${TAG}`);
  await expect(banner).toContainText('1 newer waiting');
  await banner.getByRole('button', { name: 'Resume' }).click();
  await expect(banner).toHaveCount(0);
  await bothServe((served) => served !== first && served !== second);
});

test('an app goes back by itself and follows again when resumed', async ({ page }) => {
  await signIn(page);
  await buildsEnd();
  const now = await bothServe(() => true);
  await page.goto(`${weir().url}/p/demo/apps/app-a`);
  await page.getByRole('button', { name: /^Roll back/ }).last().click();
  await expect(page.getByText(/Held by/).first()).toBeVisible();
  await expect.poll(() => version('app-a'), { timeout: 90_000 }).not.toBe(now);
  expect(await version('app-b')).toBe(now);
  await page.getByRole('button', { name: 'Resume' }).first().click();
  await bothServe((served) => served === now);
});

test('an open page shows what happens without being reloaded', async ({ page }) => {
  await signIn(page);
  await buildsEnd();
  const number = (await builds('httpd-base')) + 1;
  await page.goto(`${weir().url}/p/demo/builds`);
  const row = page.getByRole('row').filter({ has: page.getByRole('link', { name: 'httpd-base', exact: true }) });
  await api('POST', '/apis/build.openshift.io/v1/namespaces/demo/buildconfigs/httpd-base/instantiate', {
    kind: 'BuildRequest', apiVersion: 'build.openshift.io/v1', metadata: { name: 'httpd-base' },
  });
  await expect(row).toContainText(`#${number}`, { timeout: 10_000 });
  await expect(row).toContainText(/Running|Complete/, { timeout: 30_000 });
  await buildsEnd();
});

test('the log of a running build moves by itself', async ({ page }) => {
  const configs = '/apis/build.openshift.io/v1/namespaces/demo/buildconfigs';
  const counting = 'for n in 1 2 3 4 5 6 7 8; do echo "says $n of 8"; sleep 1; done';
  await api('POST', configs, {
    metadata: { name: 'counting' },
    spec: {
      source: { dockerfile: `FROM httpd-base:latest\nRUN ${counting}\n` },
      strategy: { dockerStrategy: {} },
      triggers: [],
      output: { to: { kind: 'ImageStreamTag', name: 'counting:latest' } },
    },
  });
  await signIn(page);
  await page.goto(`${weir().url}/p/demo/builds/counting`);
  await page.getByRole('button', { name: 'Start build' }).first().click();
  await page.goto(`${weir().url}/p/demo/builds/counting/runs/1`);
  // The line itself, not the instruction that prints it.
  const said = (n: number) => page.locator('#log').getByText(`says ${n} of 8`, { exact: true });
  await expect(said(2)).toHaveCount(1, { timeout: 60_000 });
  await expect(said(8)).toHaveCount(0);
  const began = await page.evaluate(() => performance.timeOrigin);
  await expect(said(8)).toHaveCount(1, { timeout: 30_000 });
  await expect(page.locator('h1')).toContainText('Complete', { timeout: 60_000 });
  expect(await page.evaluate(() => performance.timeOrigin), 'it was not loaded again').toBe(began);
  await api('DELETE', `${configs}/counting`);
});
