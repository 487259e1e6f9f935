// Every action of the story once more, with JavaScript switched off.
import { bothServe, builds, buildsEnd, expect, signIn, test, weir } from '../support';

test.use({ javaScriptEnabled: false });

test('start, roll back, explain, undo, hold and resume are plain forms', async ({ page }) => {
  await signIn(page);
  await buildsEnd();
  const started = (await builds('httpd-base')) + 1;
  await page.goto(`${weir().url}/p/demo/builds/httpd-base`);
  await page.getByRole('button', { name: 'Start build' }).first().click();
  await expect.poll(() => builds('httpd-base')).toBe(started);
  await page.goto(`${weir().url}/p/demo/builds/httpd-base/runs/${started}`);
  await expect(page.locator('h1')).toContainText(`httpd-base #${started}`);
  await buildsEnd();
  await page.reload();
  await expect(page.locator('#log')).toContainText('FROM');

  await page.goto(`${weir().url}/p/demo/streams/httpd-base/tags/latest`);
  await page.getByRole('button', { name: /^Roll back to #/ }).first().click();
  const banner = page.getByRole('region', { name: 'Held' });
  await expect(banner).toBeVisible();
  await banner.getByLabel(/reason/i).fill('a look without script');
  await banner.getByRole('button', { name: /reason/i }).click();
  await expect(banner).toContainText('a look without script');
  await banner.getByRole('button', { name: 'Undo' }).click();
  await expect(banner).toHaveCount(0);
  await page.getByRole('button', { name: 'Hold', exact: true }).click();
  await expect(banner).toBeVisible();
  await banner.getByRole('button', { name: 'Resume' }).click();
  await expect(banner).toHaveCount(0);

  await page.getByRole('link', { name: 'Roll back…' }).first().click();
  await expect(page.getByRole('heading', { level: 1 })).toContainText('Roll back httpd-base:latest?');

  await page.goto(`${weir().url}/p/demo/streams/busybox/tags/latest`);
  await page.getByRole('button', { name: 'Check now' }).first().click();
  await expect(page.locator('h1')).toContainText('busybox:latest');
  await buildsEnd();
  await bothServe(() => true);
});

test('a build is cancelled by a form', async ({ page }) => {
  await signIn(page);
  await buildsEnd();
  const number = (await builds('httpd-base')) + 1;
  await page.goto(`${weir().url}/p/demo/builds/httpd-base`);
  await page.getByRole('button', { name: 'Start build' }).first().click();
  await page.goto(`${weir().url}/p/demo/builds/httpd-base/runs/${number}`);
  const cancel = page.getByRole('button', { name: 'Cancel' }).first();
  // A quick machine may be done before the page is there.
  if (await cancel.isVisible()) await cancel.click();
  await buildsEnd();
  await page.goto(`${weir().url}/p/demo/builds/httpd-base/runs/${number}`);
  await expect(page.getByText(/Cancelled|Complete/).first()).toBeVisible();
});
