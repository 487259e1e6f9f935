// What every spec uses: a page whose console must stay empty, signing in, and asking the containers.
import { test as base, expect, Page } from '@playwright/test';
import type { Running } from './server';

export const weir = (): Running => JSON.parse(process.env.WEIR_E2E ?? '{}') as Running;

export const test = base.extend<{ silent: void }>({
  /** Fails the test when the browser's console said anything. */
  silent: [
    async ({ page, javaScriptEnabled }, use) => {
      const said: string[] = [];
      // Without script nobody uses what was preloaded for the script; the browser remarks on that.
      const isPreload = (text: string) => javaScriptEnabled === false && text.includes('was preloaded using link preload');
      // Containers that come and go change this machine's network interfaces: the browser breaks off what it was loading and asks again.
      const isRemark = (text: string) => isPreload(text) || text.includes('net::ERR_NETWORK_CHANGED');
      page.on('console', (message) => {
        if (!isRemark(message.text())) said.push(`${message.type()}: ${message.text()}`);
      });
      page.on('pageerror', (error) => said.push(`exception: ${error.message}`));
      await use();
      expect(said, 'the console of the browser is empty').toEqual([]);
    },
    { auto: true },
  ],
});

export { expect };

export async function signIn(page: Page, user = weir().user, password = weir().password): Promise<void> {
  await page.goto(`${weir().url}/login`);
  await page.getByLabel('User name').fill(user);
  await page.getByLabel('Password').fill(password);
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

/** Waits until both apps' containers serve the same version, one that `wanted` accepts, and gives it. */
export async function bothServe(wanted: (version: string) => boolean): Promise<string> {
  let seen: string[] = [];
  await expect
    .poll(async () => {
      seen = await Promise.all([version('app-a'), version('app-b')]);
      return seen[0] !== '' && seen[0] === seen[1] && wanted(seen[0]);
    }, { timeout: 120_000, message: 'both apps serve the version that is wanted' })
    .toBe(true);
  return seen[0];
}

/** How many builds a config has had. */
export async function builds(config: string): Promise<number> {
  const found = await api('GET', `/apis/build.openshift.io/v1/namespaces/demo/buildconfigs/${config}`);
  return found.status.lastVersion;
}

/** Waits until no build of the demo is queued or running. */
export async function buildsEnd(): Promise<void> {
  await expect
    .poll(async () => {
      const list = await api('GET', '/apis/build.openshift.io/v1/namespaces/demo/builds');
      return list.items.filter((build: any) => ['New', 'Pending', 'Running'].includes(build.status.phase)).length;
    }, { timeout: 120_000 })
    .toBe(0);
}

/** Pushes a new image to `demo/base:latest`: the present one with another annotation, so that its digest is new. */
export async function pushBase(note: string): Promise<void> {
  const url = `${weir().url}/v2/demo/base/manifests/latest`;
  const authorization = `Basic ${Buffer.from(`${weir().user}:${weir().token}`).toString('base64')}`;
  const type = 'application/vnd.oci.image.manifest.v1+json';
  const present = await fetch(url, { headers: { authorization, accept: type } });
  const manifest = (await present.json()) as any;
  manifest.annotations = { ...manifest.annotations, note };
  const pushed = await fetch(url, { method: 'PUT', headers: { authorization, 'content-type': type }, body: JSON.stringify(manifest) });
  if (pushed.status !== 201) throw new Error(`pushing base: ${pushed.status} ${await pushed.text()}`);
}
