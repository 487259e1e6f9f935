// What every spec uses: a page whose console must stay empty, signing in, and asking the containers.
import { test as base, expect, Page } from '@playwright/test';
import type { Running } from './server';

export const weir = (): Running => JSON.parse(process.env.WEIR_E2E ?? '{}') as Running;

export const test = base.extend<{ silent: void }>({
  /** Fails the test when the browser's console said anything. */
  silent: [
    async ({ page }, use) => {
      const said: string[] = [];
      page.on('console', (message) => said.push(`${message.type()}: ${message.text()}`));
      page.on('pageerror', (error) => said.push(`exception: ${error.message}`));
      await use();
      expect(said, 'the console of the browser is empty').toEqual([]);
    },
    { auto: true },
  ],
});

export { expect };

export async function signIn(page: Page): Promise<void> {
  await page.goto(`${weir().url}/login`);
  await page.getByLabel('User').fill(weir().user);
  await page.getByLabel('Password').fill(weir().password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page).toHaveURL(`${weir().url}/`);
}

/** What an app's container says of the httpd-base it was built on; empty while it does not answer. */
export async function version(app: string): Promise<string> {
  try {
    const answer = await fetch(`${weir().apps[app]}version`);
    return answer.ok ? (await answer.text()).trim() : '';
  } catch {
    return '';
  }
}

/** Calls the REST door as the demo's user. */
export async function api(method: string, path: string, body?: unknown): Promise<any> {
  const response = await fetch(`${weir().url}${path}`, {
    method,
    headers: { authorization: `Bearer ${weir().token}`, 'content-type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return response.json();
}
